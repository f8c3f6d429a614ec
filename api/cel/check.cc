#include "api/cel/check.h"

#include <re2/re2.h>

#include <algorithm>
#include <map>
#include <utility>

#include "api/cel/functions.h"

namespace api::cel {
namespace {

using Bound = std::map<std::string, TypeRef, std::less<>>;  // what A and B of a signature stand for

bool is_dyn(const TypeRef& type) { return type->kind == Kind::dyn; }

// Whether `have` may stand where `wanted` is asked for; binds parameters.
bool fits(const TypeRef& wanted, const TypeRef& have, Bound& bound) {
  if (wanted->kind == Kind::parameter) {
    auto [at, fresh] = bound.try_emplace(wanted->name, have);
    if (fresh) return true;
    if (is_dyn(at->second)) return at->second = have, true;
    return fits(at->second, have, bound);
  }
  if (is_dyn(wanted) || is_dyn(have)) return true;
  if (have->kind == Kind::null)
    return wanted->kind == Kind::null || wanted->kind == Kind::object || wanted->kind == Kind::opaque ||
           wanted->kind == Kind::timestamp || wanted->kind == Kind::duration ||
           wanted->kind == Kind::optional;
  if (wanted->kind == Kind::null) return fits(have, wanted, bound);
  if (wanted->kind == Kind::object && !wanted->schema)
    return have->kind == Kind::object || have->kind == Kind::map;
  if (wanted->kind != have->kind) return false;
  switch (wanted->kind) {
    case Kind::list:
    case Kind::optional: return fits(wanted->element, have->element, bound);
    case Kind::map: return fits(wanted->key, have->key, bound) && fits(wanted->element, have->element, bound);
    case Kind::object: return wanted->schema == have->schema;
    case Kind::opaque: return wanted->name == have->name;
    default: return true;
  }
}
TypeRef resolved(const TypeRef& type, const Bound& bound) {
  switch (type->kind) {
    case Kind::parameter: {
      auto found = bound.find(type->name);
      return found == bound.end() ? simple(Kind::dyn) : found->second;
    }
    case Kind::list: return list_of(resolved(type->element, bound));
    case Kind::optional: return optional_of(resolved(type->element, bound));
    case Kind::map: return map_of(resolved(type->key, bound), resolved(type->element, bound));
    default: return type;
  }
}

class Checker {
 public:
  Checker(std::string_view text, const std::vector<Variable>& variables, Constructors constructors)
      : text_(text), constructors_(constructors) {
    for (const Variable& one : variables)
      scope_.push_back({one.name, one.type, static_cast<int>(scope_.size())});
    declared_ = scope_.size();
    out.slots = declared_;
    out.uses.resize(declared_);
  }
  void run(Node& node) {
    (void)visit(node);
    std::stable_sort(errors_.begin(), errors_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& error : errors_) out.errors.push_back(std::move(error.second));
  }
  Checked out;

 private:
  struct Named {
    std::string name;
    TypeRef type;
    int slot;
  };

  TypeRef fail(const Node& node, const std::string& message) {
    errors_.emplace_back(node.at, located(text_, node.at, message));
    return simple(Kind::dyn);
  }
  void expect(const Node& node, const TypeRef& wanted, const TypeRef& have) {
    Bound bound;
    if (!fits(wanted, have, bound))
      fail(node, "expected type '" + wanted->text() + "' but found '" + have->text() + "'");
  }
  TypeRef visit(Node& node) { return node.type = type_of_node(node); }

  TypeRef type_of_node(Node& node) {
    switch (node.op) {
      case Op::literal: return type_of(node.literal);
      case Op::ident: return ident(node);
      case Op::select:
      case Op::test:
      case Op::optional_select: return select(node);
      case Op::both:
      case Op::either:
        for (auto& part : node.args) expect(*part, simple(Kind::boolean), visit(*part));
        return simple(Kind::boolean);
      case Op::choose: return choose(node);
      case Op::list: return list(node);
      case Op::map: return map(node);
      case Op::construct: return construct(node);
      case Op::macro: return macro(node);
      case Op::call: return call(node);
    }
    return simple(Kind::dyn);
  }

  TypeRef ident(Node& node) {
    static const std::map<std::string_view, std::string_view> kTypes = {
        {"bool", "bool"},           {"int", "int"},     {"uint", "uint"}, {"double", "double"},
        {"string", "string"},       {"bytes", "bytes"}, {"list", "list"}, {"map", "map"},
        {"null_type", "null_type"}, {"type", "type"}};
    for (size_t i = scope_.size(); i-- > 0;)
      if (scope_[i].name == node.name) {
        node.slot = scope_[i].slot;
        if (i < declared_) out.uses[i] = true;
        return scope_[i].type;
      }
    if (auto type = kTypes.find(node.name); type != kTypes.end()) {
      node.op = Op::literal;
      node.literal = Value::of_type(type->second);
      return simple(Kind::type);
    }
    return fail(node, "undeclared reference to '" + node.name + "' (in container '')");
  }

  TypeRef select(Node& node) {
    if (node.op == Op::select) {  // a type's name with dots
      std::string whole = dotted(node);
      if (whole == "google.protobuf.Timestamp" || whole == "google.protobuf.Duration") {
        node.op = Op::literal;
        node.literal = Value::of_type(whole);
        node.args.clear();
        return simple(Kind::type);
      }
      // A variable that is declared with its dots, such as variables.foo.
      if (!whole.empty() && named(whole)) {
        node.op = Op::ident;
        node.name = std::move(whole);
        node.args.clear();
        return ident(node);
      }
    }
    TypeRef target = visit(*node.args[0]), from = target;
    bool optional = node.op == Op::optional_select;
    if (target->kind == Kind::optional) {
      node.on_optional = optional = true;
      from = target->element;
    }
    auto result = [&](TypeRef type) {
      if (node.op == Op::test) return simple(Kind::boolean);
      return optional ? optional_of(std::move(type)) : type;
    };
    switch (from->kind) {
      case Kind::dyn: node.on_optional = true; return result(simple(Kind::dyn));
      case Kind::map: return result(from->element);
      case Kind::object: {
        if (!from->schema) return result(simple(Kind::dyn));
        auto field = field_of(*from, node.name);
        if (!field) return fail(node, "undefined field '" + node.name + "'");
        node.property = field->property;
        return result(field->type);
      }
      default: return fail(node, "type '" + from->text() + "' does not support field selection");
    }
  }
  static std::string dotted(const Node& node) {
    if (node.op == Op::ident) return node.name;
    if (node.op != Op::select) return "";
    std::string left = dotted(*node.args[0]);
    return left.empty() ? "" : left + "." + node.name;
  }

  TypeRef choose(Node& node) {
    expect(*node.args[0], simple(Kind::boolean), visit(*node.args[0]));
    TypeRef yes = visit(*node.args[1]), no = visit(*node.args[2]);
    Bound bound;
    if (!fits(yes, no, bound))
      return fail(node, "found no matching overload for '_?_:_' applied to '(bool, " + yes->text() + ", " +
                            no->text() + ")'");
    return is_dyn(yes) || yes->kind == Kind::null ? no : is_dyn(no) ? no : yes;
  }
  // All of one type, as Kubernetes asks of literals.
  TypeRef joined(const Node& node, const TypeRef& so_far, TypeRef next) {
    if (!so_far) return next;
    if (!is_dyn(so_far) && !is_dyn(next)) expect(node, so_far, next);
    return is_dyn(so_far) ? so_far : is_dyn(next) ? next : so_far;
  }
  TypeRef element(Node& node, bool optional) {
    TypeRef type = visit(node);
    if (!optional) return type;
    expect(node, optional_of(simple(Kind::dyn)), type);
    return type->kind == Kind::optional ? type->element : simple(Kind::dyn);
  }
  TypeRef list(Node& node) {
    TypeRef item;
    bool mixed = std::exchange(mixed_, false);
    for (size_t i = 0; i < node.args.size(); ++i)
      item = mixed ? (visit(*node.args[i]), simple(Kind::dyn))
                   : joined(*node.args[i], item, element(*node.args[i], node.optional[i]));
    return list_of(item ? item : simple(Kind::dyn));
  }
  TypeRef map(Node& node) {
    TypeRef key, value;
    for (size_t i = 0; i + 1 < node.args.size(); i += 2) {
      key = joined(*node.args[i], key, visit(*node.args[i]));
      value = joined(*node.args[i + 1], value, element(*node.args[i + 1], node.optional[i / 2]));
    }
    return map_of(key ? key : simple(Kind::dyn), value ? value : simple(Kind::dyn));
  }

  // Fields of an Object may be any: what is made of it is held against the schema where it is applied.
  TypeRef construct(Node& node) {
    const bool patch = node.name == "JSONPatch",
               known = patch || node.name == "Object" || node.name.starts_with("Object.");
    for (size_t i = 0; i < node.args.size(); ++i) {
      TypeRef type = element(*node.args[i], node.optional[i]);
      if (!patch || node.fields[i] == "value") continue;
      if (node.fields[i] == "op" || node.fields[i] == "path" || node.fields[i] == "from")
        expect(*node.args[i], simple(Kind::string), type);
      else fail(node, "undefined field '" + node.fields[i] + "'");
    }
    if (constructors_ == Constructors::kNone || !known)
      return fail(node, "undeclared reference to '" + node.name + "' (in container '')");
    return opaque(node.name);
  }

  TypeRef macro(Node& node) {
    TypeRef range = visit(*node.args[0]), first, second;
    switch (node.macro) {
      case Macro::bind: first = range; break;
      case Macro::opt_map:
      case Macro::opt_flat_map:
        expect(*node.args[0], optional_of(simple(Kind::dyn)), range);
        first = range->kind == Kind::optional ? range->element : simple(Kind::dyn);
        break;
      default:
        if (range->kind == Kind::list)
          first = node.two ? simple(Kind::integer) : range->element, second = range->element;
        else if (range->kind == Kind::map) first = range->key, second = range->element;
        else if (is_dyn(range)) first = second = simple(Kind::dyn);
        else
          return fail(*node.args[0],
                      "expression of type '" + range->text() +
                          "' cannot be range of a comprehension (must be list, map, or dynamic)");
    }
    node.slot = static_cast<int>(out.slots);
    size_t mark = scope_.size();
    scope_.push_back({node.first, first, node.slot});
    ++out.slots;
    if (node.two) {
      scope_.push_back({node.second, second, node.slot + 1});
      ++out.slots;
    }
    TypeRef last;
    for (size_t i = 1; i < node.args.size(); ++i) {
      last = visit(*node.args[i]);
      bool condition = node.macro == Macro::all || node.macro == Macro::exists ||
                       node.macro == Macro::exists_one || node.macro == Macro::filter ||
                       i + 1 < node.args.size();
      if (condition) expect(*node.args[i], simple(Kind::boolean), last);
    }
    scope_.resize(mark);
    switch (node.macro) {
      case Macro::all:
      case Macro::exists:
      case Macro::exists_one: return simple(Kind::boolean);
      case Macro::map:
      case Macro::transform_list: return list_of(last);
      case Macro::filter: return list_of(first);
      case Macro::transform_map: return map_of(first, last);
      case Macro::transform_map_entry:
        expect(*node.args.back(), map_of(simple(Kind::dyn), simple(Kind::dyn)), last);
        return last;
      case Macro::bind: return last;
      case Macro::opt_map: return optional_of(last);
      case Macro::opt_flat_map: expect(*node.args.back(), optional_of(simple(Kind::dyn)), last); return last;
      case Macro::sort_by: return range;
    }
    return simple(Kind::dyn);
  }

  TypeRef call(Node& node) {
    // A function of a namespace: math.least(…). A variable of that name hides it.
    if (node.member && node.args[0]->op == Op::ident && !named(node.args[0]->name)) {
      std::string whole = node.args[0]->name + "." + node.name;
      if (!overloads_of(whole, false).empty()) {
        node.name = whole;
        node.member = false;
        node.args.erase(node.args.begin());
      }
    }
    std::vector<TypeRef> types;
    for (auto& one : node.args) {
      mixed_ = node.member && node.name == "format" &&
               one->op == Op::list;  // what is formatted may be of any types
      types.push_back(visit(*one));
      mixed_ = false;
    }
    auto known = overloads_of(node.name, node.member);
    if (known.empty()) return fail(node, "undeclared reference to '" + node.name + "' (in container '')");
    TypeRef result;
    for (const Overload& overload : known) {
      if (overload.args.size() != types.size()) continue;
      Bound bound;
      bool right = true;
      for (size_t i = 0; i < types.size() && right; ++i) right = fits(overload.args[i], types[i], bound);
      if (!right) continue;
      node.overloads.push_back(&overload);
      TypeRef one = resolved(overload.result, bound);
      result = !result || result->text() == one->text() ? one : simple(Kind::dyn);
    }
    if (node.overloads.empty()) {
      std::string shown_types;
      for (size_t i = node.member ? 1 : 0; i < types.size(); ++i)
        shown_types += (shown_types.empty() ? "" : ", ") + types[i]->text();
      return fail(node, "found no matching overload for '" + node.name + "' applied to '" +
                            (node.member ? types[0]->text() + "." : std::string()) + "(" + shown_types +
                            ")'");
    }
    return pattern(node), result;
  }
  // A literal pattern is compiled once, and a wrong one is the definition's error.
  void pattern(Node& node) {
    if (node.name != "matches" && node.name != "find" && node.name != "findAll") return;
    if (node.args.size() < 2 || node.args[1]->op != Op::literal || node.args[1]->literal.kind != Kind::string)
      return;
    node.pattern = compile_pattern(node.args[1]->literal.text);
    if (!node.pattern->ok()) fail(*node.args[1], "invalid matches argument");
  }
  bool named(std::string_view name) const {
    for (const Named& one : scope_)
      if (one.name == name) return true;
    return false;
  }

  std::string_view text_;
  std::vector<std::pair<uint32_t, std::string>> errors_;
  bool mixed_ = false;
  std::vector<Named> scope_;
  size_t declared_ = 0;
  Constructors constructors_;
};

}  // namespace

Checked check(Node& root, std::string_view text, const std::vector<Variable>& variables,
              Constructors constructors) {
  Checker checker(text, variables, constructors);
  checker.run(root);
  return std::move(checker.out);
}

}  // namespace api::cel
