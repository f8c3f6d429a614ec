// x-kubernetes-validations: compiling the CEL rules of a schema, and asking them of an object.
// Source of the rules: apiextensions-apiserver's schema/cel; kubernetes.io, "Validation rules".
#include <map>

#include "api/cel/cel.h"
#include "api/custom/custom.h"

namespace api {
namespace {

using Type_ = FieldError::Type;

std::string_view trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == text.npos ? std::string_view()
                            : text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// ---- compiling -------------------------------------------------------------------------------------
class RuleCompiler {
 public:
  FieldErrors errors;

  // `uncorrelatable`: below which list old and new items cannot be told apart; empty: nowhere.
  void walk(Structural& schema, bool resource, const std::string& path, const std::string& uncorrelatable) {
    if (!schema.rules_below) return;
    for (size_t i = 0; i < schema.rules.size(); ++i)
      compile(schema, schema.rules[i], resource, rules::at(path + ".x-kubernetes-validations", i),
              uncorrelatable);
    for (auto& p : schema.properties)
      walk(p.schema, p.schema.embedded, path + ".properties[" + p.name + "]", uncorrelatable);
    if (schema.additional)
      walk(*schema.additional, schema.additional->embedded, path + ".additionalProperties", uncorrelatable);
    if (schema.items)
      walk(*schema.items, schema.items->embedded, path + ".items",
           uncorrelatable.empty() && schema.list_type != "map" ? path : uncorrelatable);
  }

 private:
  void invalid(const std::string& field, std::string_view text, std::string why) {
    errors.push_back({Type_::invalid, field, rules::text_of(text), std::move(why)});
  }
  void compile(const Structural& schema, Structural::Rule& rule, bool resource, const std::string& path,
               const std::string& uncorrelatable) {
    cel::TypeRef self = cel::type_of(schema, resource);
    if (!self)
      return invalid(path + ".rule", rule.rule, "failed to convert to declType for CEL validation rules");
    std::vector<cel::Variable> variables = {
        {"self", self}, {"oldSelf", rule.optional_old_self ? cel::optional_of(self) : self}};
    auto program = cel::compile(rule.rule, variables);
    if (!program.ok())
      return invalid(path + ".rule", rule.rule, "compilation failed: " + program.error().reason);
    if ((*program)->type()->kind != cel::Kind::boolean && (*program)->type()->kind != cel::Kind::dyn)
      return invalid(path + ".rule", rule.rule, "cel expression must evaluate to a bool");
    bool transition = (*program)->uses(1);
    if (transition && !uncorrelatable.empty())
      return invalid(
          path + ".rule", rule.rule,
          "oldSelf cannot be used on the uncorrelatable portion of the schema within " + uncorrelatable);
    if (rule.optional_old_self && !transition)
      errors.push_back({Type_::invalid, path + ".optionalOldSelf", "true",
                        "may not be set if oldSelf is not used in rule"});
    rule.program = *program;
    if (rule.message_expression.empty()) return;
    auto message = cel::compile(rule.message_expression, variables);
    if (!message.ok())
      return invalid(path + ".messageExpression", rule.message_expression,
                     "messageExpression compilation failed: " + message.error().reason);
    if ((*message)->type()->kind != cel::Kind::string)
      return invalid(path + ".messageExpression", rule.message_expression,
                     "messageExpression must evaluate to a string");
    rule.message_program = *message;
  }
};

// ---- asking ----------------------------------------------------------------------------------------
class RuleChecker {
 public:
  FieldErrors errors;

  // `old` is the value that this one replaces, as far as the two can be told to belong together;
  // `unchanged` when this part or the last one above that has an old value is as it was.
  void walk(const Structural& schema, bool resource, const json::value& in, const json::value* old,
            bool unchanged, const std::string& path) {
    if (!schema.rules_below || in.is_null() || budget_ < 0) return;
    if (old) unchanged = *old == in;
    if (!schema.rules.empty())
      ask(schema, resource, in, old && !old->is_null() ? old : nullptr, unchanged, path);
    if (const auto* list = in.if_array(); list && schema.items) {
      const json::array* before = old ? old->if_array() : nullptr;
      std::map<std::string, const json::value*> by_key;
      if (before && schema.list_type == "map")
        for (const json::value& item : *before) by_key.emplace(key_of(schema, item), &item);
      for (size_t i = 0; i < list->size(); ++i) {
        auto found = by_key.empty() ? by_key.end() : by_key.find(key_of(schema, (*list)[i]));
        walk(*schema.items, schema.items->embedded, (*list)[i],
             found == by_key.end() ? nullptr : found->second, unchanged, rules::at(path, i));
      }
    } else if (const auto* map = in.if_object()) {
      for (const auto& member : *map) {
        std::string_view name(member.key().data(), member.key().size());
        const Structural* property = schema.property(name);
        const json::value* was = old ? base::find(*old, name) : nullptr;
        if (property)
          walk(*property, property->embedded, member.value(), was, unchanged,
               path.empty() ? std::string(name) : path + "." + std::string(name));
        else if (schema.additional)
          walk(*schema.additional, schema.additional->embedded, member.value(), was, unchanged,
               path + "[" + std::string(name) + "]");
      }
    }
  }

 private:
  static std::string key_of(const Structural& schema, const json::value& item) {
    std::string key;
    for (const std::string& name : schema.list_keys) {
      const json::value* found = base::find(item, name);
      key += (found ? base::to_json(*found) : "null") + ",";
    }
    return key;
  }
  static std::string called(const Structural::Rule& rule) {
    return std::string(trimmed(rule.message.empty() ? rule.rule : rule.message));
  }
  static const char* word(const Structural& schema, const json::value& in) {
    if (in.is_object()) return "object";
    if (in.is_array()) return "array";
    if (schema.kind == Structural::Kind::kNumber) return "number";
    return in.is_string() ? "string" : in.is_bool() ? "boolean" : "integer";
  }
  void out_of_budget(const std::string& path, const std::string& shown) {
    errors.push_back(
        {Type_::invalid, path, shown,
         "validation failed due to running out of cost budget, no further validation rules will be run"});
    budget_ = -1;
  }

  void ask(const Structural& schema, bool resource, const json::value& in, const json::value* old,
           bool unchanged, const std::string& path) {
    std::string field = path.empty() ? "<nil>" : path, type = "\"" + std::string(word(schema, in)) + "\"";
    cel::Value self = cel::Value::of_json(in, &schema, resource),
               old_self = old ? cel::Value::of_json(*old, &schema, resource) : cel::Value();
    for (const Structural::Rule& rule : schema.rules) {
      if (budget_ < 0) return;
      auto refuse = [&](std::string why) { errors.push_back({Type_::invalid, field, type, std::move(why)}); };
      if (!rule.program) {
        refuse("rule compile error: " + called(rule));
        continue;
      }
      bool transition = rule.program->uses(1);
      if (transition && !old && !rule.optional_old_self) continue;
      cel::Value before = rule.optional_old_self
                              ? cel::Value::of_optional(old ? std::optional(old_self) : std::nullopt)
                              : old_self;
      uint64_t cost = 0;
      auto verdict = rule.program->evaluate({self, before}, cel::kExpressionBudget, &cost);
      if (static_cast<int64_t>(cost) > budget_) return out_of_budget(field, type);
      budget_ -= static_cast<int64_t>(cost);
      if (!verdict.ok()) {
        const std::string& reason = verdict.error().reason;
        if (reason.starts_with("no such overload")) {
          refuse(
              "'" + reason +
              "': call arguments did not match a supported operator, function or macro signature for rule: " +
              called(rule));
        } else if (reason.starts_with("operation cancelled")) {
          refuse("'" + reason +
                 "': no further validation rules will be run due to call cost exceeds limit for rule: " +
                 called(rule));
          budget_ = -1;
        } else {
          refuse(reason + " evaluating rule: " + called(rule));
        }
        continue;
      }
      if (verdict->kind == cel::Kind::boolean && verdict->boolean) continue;
      if (unchanged && !transition) continue;  // was stored before the rule was there, and may stay
      failed(rule, in, field, path, {self, before});
    }
  }
  void failed(const Structural::Rule& rule, const json::value& in, const std::string& field,
              const std::string& path, const std::vector<cel::Value>& variables) {
    std::string detail = message_of(rule, variables);
    std::string where = field;
    if (!rule.field_path.empty())
      where = path.empty() && rule.field_path.starts_with('.') ? rule.field_path.substr(1)
                                                               : path + unquoted(rule.field_path);
    bool plain = !in.is_object() && !in.is_array();
    std::string shown = plain ? base::to_json(in) : "";
    if (rule.reason == "FieldValueForbidden")
      errors.push_back({Type_::forbidden, where, {}, std::move(detail)});
    else if (rule.reason == "FieldValueRequired")
      errors.push_back({Type_::required, where, {}, std::move(detail)});
    else if (rule.reason == "FieldValueDuplicate") errors.push_back({Type_::duplicate, where, shown, {}});
    else errors.push_back({Type_::invalid, where, shown, std::move(detail)});
  }
  // ".a['b']" as paths are printed: ".a[b]".
  static std::string unquoted(std::string_view path) {
    std::string out;
    for (char c : path)
      if (c != '\'') out += c;
    return out;
  }
  std::string message_of(const Structural::Rule& rule, const std::vector<cel::Value>& variables) {
    std::string fallback = rule.message.empty() ? "failed rule: " + called(rule) : called(rule);
    if (!rule.message_program) return fallback;
    uint64_t cost = 0;
    auto made = rule.message_program->evaluate(variables, cel::kExpressionBudget, &cost);
    if (static_cast<int64_t>(cost) > budget_) {
      budget_ = -1;
      return "messageExpression evaluation failed due to running out of cost budget, no further validation "
             "rules will be run";
    }
    budget_ -= static_cast<int64_t>(cost);
    if (!made.ok() || made->kind != cel::Kind::string) return fallback;
    std::string_view text = trimmed(made->text);
    constexpr size_t kMaxMessageBytes = 5 * 1024;
    return text.empty() || text.size() > kMaxMessageBytes || text.find('\n') != text.npos ? fallback
                                                                                          : std::string(text);
  }

  int64_t budget_ = cel::kObjectBudget;
};

}  // namespace

FieldErrors compile_rules(Structural& root, const std::string& path) {
  RuleCompiler compiler;
  compiler.walk(root, true, path, "");
  return std::move(compiler.errors);
}

FieldErrors validate_rules(const Structural& root, const json::value& object, const json::value* before) {
  RuleChecker checker;
  checker.walk(root, true, object, before, false, "");
  return std::move(checker.errors);
}

}  // namespace api
