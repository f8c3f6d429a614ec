#include "api/validate/admission_expressions.h"
#include "api/custom/custom.h"

#include <algorithm>

#include "api/cel/authorizer.h"
#include "api/structural.h"
#include "api/validate/rules.h"

namespace api {
namespace {

using rules::View;

// int-or-string is what a schema has for "any type".
constexpr char kRequestSchema[] = R"({"type": "object", "properties": {
  "kind": {"type": "object", "properties": {"group": {"type": "string"}, "version": {"type": "string"}, "kind": {"type": "string"}}},
  "requestKind": {"type": "object", "properties": {"group": {"type": "string"}, "version": {"type": "string"}, "kind": {"type": "string"}}},
  "resource": {"type": "object", "properties": {"group": {"type": "string"}, "version": {"type": "string"}, "resource": {"type": "string"}}},
  "requestResource": {"type": "object", "properties": {"group": {"type": "string"}, "version": {"type": "string"}, "resource": {"type": "string"}}},
  "subResource": {"type": "string"}, "requestSubResource": {"type": "string"},
  "name": {"type": "string"}, "namespace": {"type": "string"}, "operation": {"type": "string"}, "dryRun": {"type": "boolean"},
  "userInfo": {"type": "object", "properties": {"username": {"type": "string"}, "uid": {"type": "string"},
    "groups": {"type": "array", "items": {"type": "string"}},
    "extra": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}}},
  "options": {"x-kubernetes-int-or-string": true}}})";

class Compiler {
 public:
  explicit Compiler(FieldErrors& errors) : errors_(errors) {}

  // An expression of one of the wanted types; null with an error otherwise.
  std::shared_ptr<const cel::Program> one(const View& text, const std::vector<cel::Variable>& variables,
                                          std::initializer_list<cel::Kind> wanted, const char* not_wanted) {
    auto program = cel::compile(text.text(), variables);
    if (!program.ok()) return invalid(text, kNotCompiled + program.error().reason);
    cel::Kind kind = (*program)->type()->kind;
    bool fits = kind == cel::Kind::dyn || wanted.size() == 0;
    for (cel::Kind one : wanted) fits |= one == kind;
    return fits ? *program : invalid(text, not_wanted);
  }

  // What a policy does to an object: one Object, or a list of JSONPatch.
  std::shared_ptr<const cel::Program> change(const View& text, const std::vector<cel::Variable>& variables,
                                             bool json_patch) {
    auto program = cel::compile(text.text(), variables, cel::Constructors::kPatches);
    if (!program.ok()) return invalid(text, kNotCompiled + program.error().reason);
    const cel::Type& type = *(*program)->type();
    if (!json_patch) return type.text() == "Object" ? *program : invalid(text, "must evaluate to Object");
    const bool fits = type.kind == cel::Kind::list &&
                      (type.element->kind == cel::Kind::dyn || type.element->text() == "JSONPatch");
    return fits ? *program : invalid(text, "must evaluate to list(JSONPatch)");
  }

 private:
  static constexpr const char* kNotCompiled = "compilation failed: ";
  std::shared_ptr<const cel::Program> invalid(const View& text, std::string why) {
    errors_.push_back({FieldError::Type::invalid, text.path(), rules::text_of(text.text()), std::move(why)});
    return nullptr;
  }
  FieldErrors& errors_;
};

std::vector<MatchCondition> match_conditions(Compiler& compiler, const View& list,
                                             const std::vector<cel::Variable>& variables) {
  std::vector<MatchCondition> out;
  list.each([&](const View& in) {
    out.push_back({std::string(in["name"].text()), std::string(in["expression"].text()),
                   compiler.one(in["expression"], variables, {cel::Kind::boolean}, "must evaluate to bool")});
  });
  return out;
}

}  // namespace

const Structural& admission_request_schema() {
  static const Structural schema = compile_structural(base::parse_json(kRequestSchema).value()).value();
  return schema;
}

std::vector<cel::Variable> admission_variables(const ExpressionScope& scope) {
  cel::TypeRef any = cel::simple(cel::Kind::dyn);
  // A name that no expression can write stands for what this scope does not have.
  return {{"object", any},
          {"oldObject", any},
          {"request", cel::type_of(admission_request_schema(), false)},
          {scope.params ? "params" : " ", any},
          {scope.namespace_object ? "namespaceObject" : " ", any},
          {"authorizer", cel::authorizer_type()},
          {"authorizer.requestResource", cel::resource_check_type()}};
}

std::vector<MatchCondition> compile_match_conditions(const json::value* list,
                                                     const std::vector<cel::Variable>& variables) {
  FieldErrors ignored;
  Compiler compiler(ignored);
  return match_conditions(compiler, View(list, "matchConditions"), variables);
}

PolicyExpressions compile_policy(const json::value& policy) {
  PolicyExpressions out;
  Compiler compiler(out.errors);
  View spec = View(&policy)["spec"];
  ExpressionScope scope{spec["paramKind"].has(), true};
  out.declared = admission_variables(scope);
  std::vector<cel::Variable> before_variables = out.declared;
  spec["variables"].each([&](const View& in) {
    std::string name(in["name"].text());
    auto program = compiler.one(in["expression"], out.declared, {}, "");
    out.declared.push_back({"variables." + name, program ? program->type() : cel::simple(cel::Kind::dyn)});
    out.variables.push_back({name, std::string(in["expression"].text()), std::move(program)});
  });
  out.match_conditions = match_conditions(compiler, spec["matchConditions"], before_variables);
  spec["validations"].each([&](const View& in) {
    PolicyExpressions::Validation& made = out.validations.emplace_back();
    made.expression = in["expression"].text();
    made.message = in["message"].text();
    made.reason = in["reason"].text();
    if (!in["expression"].filled()) return;
    made.program =
        compiler.one(in["expression"], out.declared, {cel::Kind::boolean}, "must evaluate to bool");
    if (in["messageExpression"].filled())
      made.message_program =
          compiler.one(in["messageExpression"], out.declared, {cel::Kind::string}, "must evaluate to string");
  });
  spec["auditAnnotations"].each([&](const View& in) {
    out.audit_annotations.push_back(
        {std::string(in["key"].text()), std::string(in["valueExpression"].text()),
         compiler.one(in["valueExpression"], out.declared, {cel::Kind::string, cel::Kind::null},
                      "must evaluate to one of [string null_type]")});
  });
  spec["mutations"].each([&](const View& in) {
    PolicyExpressions::Mutation& made = out.mutations.emplace_back();
    made.json_patch = in["patchType"].text() == "JSONPatch";
    View expression = in[made.json_patch ? "jsonPatch" : "applyConfiguration"]["expression"];
    made.expression = expression.text();
    if (expression.text().find_first_not_of(" \t\r\n") != std::string_view::npos)
      made.program = compiler.change(expression, out.declared, made.json_patch);
  });
  return out;
}

}  // namespace api
