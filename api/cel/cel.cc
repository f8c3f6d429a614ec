// Compiling, and the walk that evaluates. Errors of `&&`, `||`, all() and exists() are absorbed where
// the other side decides, in whichever order: that is CEL's rule.
#include "api/cel/cel.h"

#include <algorithm>

#include "api/cel/check.h"
#include "api/cel/constructed.h"
#include "api/cel/functions.h"

namespace api::cel {
namespace {

class Evaluator {
 public:
  Evaluator(const std::vector<Value>& variables, size_t slots, uint64_t budget) {
    context.budget = budget;
    frame_ = variables;
    frame_.resize(slots);
  }
  Context context;

  bool run(const Node& node, Value* out) {
    switch (node.op) {
      case Op::literal: return *out = node.literal, true;
      case Op::ident: return ident(frame_[static_cast<size_t>(node.slot)], out) && context.charge(1);
      case Op::select:
      case Op::test:
      case Op::optional_select: return context.charge(1) && select(node, out);
      case Op::both: return junction(node, false, out);
      case Op::either: return junction(node, true, out);
      case Op::choose: {
        Value condition;
        if (!run(*node.args[0], &condition)) return false;
        if (condition.kind != Kind::boolean) return context.fail("no such overload");
        return run(*node.args[condition.boolean ? 1 : 2], out);
      }
      case Op::call: return call(node, out);
      case Op::list: return list(node, out);
      case Op::map: return map(node, out);
      case Op::construct: return construct(node, out);
      case Op::macro: return macro(node, out);
    }
    return context.fail("unknown expression");
  }

 private:
  bool ident(const Value& in, Value* out) {
    if (in.kind != Kind::parameter) return *out = in, true;
    uint64_t cost = 0;
    std::string error;
    const auto* lazy = static_cast<const Lazy*>(in.heap.get());
    bool right = lazy->get(context.budget - context.spent, &cost, out, &error);
    return context.charge(cost) && (right || context.fail(std::move(error)));
  }
  bool select(const Node& node, Value* out) {
    Value target;
    if (!run(*node.args[0], &target)) return false;
    bool optional = node.op == Op::optional_select;
    if (target.kind == Kind::optional && node.on_optional) {
      const Value* in = inside(target);
      if (!in) return *out = node.op == Op::test ? Value::of(false) : target, true;
      Value inner = *in;
      target = std::move(inner);
      optional = true;
    }
    if (target.kind != Kind::map) return context.fail("no such overload");
    std::string_view name = node.property.empty() ? std::string_view(node.name) : node.property;
    Value found;
    bool has = find_key(target, Value::of_view(name), &found);
    if (node.op == Op::test) return *out = Value::of(has), true;
    if (optional)
      return *out = Value::of_optional(has ? std::optional<Value>(std::move(found)) : std::nullopt), true;
    if (!has) return context.fail("no such key: " + std::string(name));
    *out = std::move(found);
    return true;
  }
  bool junction(const Node& node, bool decides, Value* out) {
    std::string error;
    for (const auto& part : node.args) {
      if (!run(*part, out)) {
        if (context.exhausted) return false;
        if (error.empty()) error = context.error;
      } else if (out->kind != Kind::boolean) {
        if (error.empty()) error = "no such overload";
      } else if (out->boolean == decides) {
        return true;
      }
    }
    if (!error.empty()) return context.fail(std::move(error));
    *out = Value::of(!decides);
    return true;
  }
  bool call(const Node& node, Value* out) {
    Value few[4];
    std::vector<Value> many;
    Value* args = few;
    if (node.args.size() > 4) many.resize(node.args.size()), args = many.data();
    for (size_t i = 0; i < node.args.size(); ++i)
      if (!run(*node.args[i], &args[i])) return false;
    if (!context.charge(1)) return false;
    for (const Overload* overload : node.overloads) {
      bool right = true;
      for (size_t i = 0; i < node.args.size() && right; ++i) right = accepts(*overload->args[i], args[i]);
      if (right) return overload->function(context, node, args, node.args.size(), out);
    }
    return context.fail("no such overload");
  }
  // An entry with '?' is there when its optional is; false on an error.
  bool entry(const Node& node, bool optional, std::optional<Value>* out) {
    Value value;
    if (!run(node, &value)) return false;
    if (!optional) return *out = std::move(value), true;
    if (value.kind != Kind::optional) return context.fail("no such overload");
    if (const Value* in = inside(value)) *out = *in;
    return true;
  }
  bool list(const Node& node, Value* out) {
    std::vector<Value> items;
    for (size_t i = 0; i < node.args.size(); ++i) {
      std::optional<Value> item;
      if (!entry(*node.args[i], node.optional[i], &item)) return false;
      if (item) items.push_back(std::move(*item));
    }
    *out = Value::of_list(std::move(items));
    return context.charge(10);
  }
  bool map(const Node& node, Value* out) {
    std::vector<std::pair<Value, Value>> entries;
    for (size_t i = 0; i + 1 < node.args.size(); i += 2) {
      Value key;
      std::optional<Value> value;
      if (!run(*node.args[i], &key) || !entry(*node.args[i + 1], node.optional[i / 2], &value)) return false;
      if (key.kind != Kind::string && key.kind != Kind::integer && key.kind != Kind::uinteger &&
          key.kind != Kind::boolean)
        return context.fail("unsupported key type");
      if (value) entries.emplace_back(std::move(key), std::move(*value));
    }
    size_t count = entries.size();
    *out = Value::of_map(std::move(entries));
    if (size_of(*out) != count) return context.fail("Failed with repeated key");
    return context.charge(30);
  }

  bool construct(const Node& node, Value* out) {
    auto made = std::make_shared<Constructed>();
    made->name = node.name;
    for (size_t i = 0; i < node.args.size(); ++i) {
      std::optional<Value> value;
      if (!entry(*node.args[i], node.optional[i], &value)) return false;
      if (value) made->fields[node.fields[i]] = std::move(*value);
    }
    *out = of_opaque(std::move(made));
    return context.charge(40);
  }

  // Calls `each(item)` with the variables set, until it returns false.
  template <typename Each>
  bool over(const Node& node, const Value& range, Each each) {
    Value& first = frame_[static_cast<size_t>(node.slot)];
    Value* second = node.two ? &frame_[static_cast<size_t>(node.slot) + 1] : nullptr;
    if (range.kind == Kind::list) {
      size_t count = size_of(range);
      for (size_t i = 0; i < count; ++i) {
        if (!context.charge(1)) return false;
        Value item = item_at(range, i);
        if (second) first = Value::of(static_cast<int64_t>(i)), *second = std::move(item);
        else first = std::move(item);
        if (!each()) break;
      }
      return true;
    }
    if (range.kind != Kind::map) return context.fail("no such overload");
    bool charged = true;
    each_entry(range, [&](const Value& key, const Value& value) {
      charged = context.charge(1);
      first = key;
      if (second) *second = value;
      return charged && each();
    });
    return charged;
  }
  bool macro(const Node& node, Value* out) {
    Value range;
    if (!run(*node.args[0], &range)) return false;
    switch (node.macro) {
      case Macro::bind:
        frame_[static_cast<size_t>(node.slot)] = std::move(range);
        return run(*node.args[1], out);
      case Macro::opt_map:
      case Macro::opt_flat_map: {
        if (range.kind != Kind::optional) return context.fail("no such overload");
        const Value* in = inside(range);
        if (!in) return *out = std::move(range), true;
        frame_[static_cast<size_t>(node.slot)] = *in;
        if (!run(*node.args[1], out)) return false;
        if (node.macro == Macro::opt_map) *out = Value::of_optional(std::move(*out));
        return true;
      }
      case Macro::all:
      case Macro::exists: return quantified(node, range, node.macro == Macro::exists, out);
      case Macro::exists_one: {
        int64_t count = 0;
        if (!collect(node, range, [&] { return ++count, true; })) return false;
        *out = Value::of(count == 1);
        return true;
      }
      case Macro::sort_by: return sorted(node, range, out);
      case Macro::transform_map:
      case Macro::transform_map_entry: return mapped(node, range, out);
      default: return listed(node, range, out);
    }
  }
  bool quantified(const Node& node, const Value& range, bool decides, Value* out) {
    std::string error;
    bool decided = false;
    bool whole = over(node, range, [&] {
      Value verdict;
      if (!run(*node.args[1], &verdict)) {
        if (error.empty()) error = context.error;
        return !context.exhausted;
      }
      if (verdict.kind != Kind::boolean) {
        if (error.empty()) error = "no such overload";
        return true;
      }
      decided = verdict.boolean == decides;
      return !decided;
    });
    if (!whole || context.exhausted) return false;
    if (!decided && !error.empty()) return context.fail(std::move(error));
    *out = Value::of(decided == decides);
    return true;
  }
  // Calls `take` for each item that the condition, if there is one, lets through.
  template <typename Take>
  bool collect(const Node& node, const Value& range, Take take) {
    bool conditional = node.args.size() > 2 || node.macro == Macro::filter || node.macro == Macro::exists_one,
         right = true;
    bool whole = over(node, range, [&] {
      if (conditional) {
        Value verdict;
        right = run(*node.args[1], &verdict) &&
                (verdict.kind == Kind::boolean || context.fail("no such overload"));
        if (!right) return false;
        if (!verdict.boolean) return true;
      }
      return right = take();
    });
    return whole && right;
  }
  bool listed(const Node& node, const Value& range, Value* out) {
    std::vector<Value> items;
    bool right = collect(node, range, [&] {
      Value item;
      if (node.macro == Macro::filter) item = frame_[static_cast<size_t>(node.slot)];
      else if (!run(*node.args.back(), &item)) return false;
      items.push_back(std::move(item));
      return true;
    });
    if (right) *out = Value::of_list(std::move(items));
    return right;
  }
  bool mapped(const Node& node, const Value& range, Value* out) {
    std::vector<std::pair<Value, Value>> entries;
    bool right = collect(node, range, [&] {
      Value value;
      if (!run(*node.args.back(), &value)) return false;
      if (node.macro == Macro::transform_map)
        entries.emplace_back(frame_[static_cast<size_t>(node.slot)], std::move(value));
      else if (value.kind != Kind::map) return context.fail("no such overload");
      else
        each_entry(value, [&](const Value& k, const Value& v) { return entries.emplace_back(k, v), true; });
      return true;
    });
    if (!right) return false;
    size_t count = entries.size();
    *out = Value::of_map(std::move(entries));
    return size_of(*out) == count || context.fail("insert failed: key already exists");
  }
  bool sorted(const Node& node, const Value& range, Value* out) {
    std::vector<std::pair<Value, Value>> keyed;
    bool right = collect(node, range, [&] {
      Value key;
      if (!run(*node.args[1], &key)) return false;
      keyed.emplace_back(std::move(key), frame_[static_cast<size_t>(node.slot)]);
      return true;
    });
    if (!right) return false;
    for (const auto& one : keyed)
      if (compare(one.first, keyed[0].first) == 2) return context.fail("no such overload");
    std::stable_sort(keyed.begin(), keyed.end(),
                     [](const auto& a, const auto& b) { return compare(a.first, b.first) == -1; });
    std::vector<Value> items;
    for (auto& one : keyed) items.push_back(std::move(one.second));
    *out = Value::of_list(std::move(items));
    return true;
  }

  std::vector<Value> frame_;
};

}  // namespace

Program::Program() = default;
Program::~Program() = default;

base::Result<std::shared_ptr<const Program>> compile(std::string_view text,
                                                     const std::vector<Variable>& variables,
                                                     Constructors constructors) {
  std::shared_ptr<Program> out(new Program());
  out->root_ = TRY(parse(text));
  Checked checked = check(*out->root_, text, variables, constructors);
  if (!checked.errors.empty()) {
    std::string all;
    for (const std::string& one : checked.errors) all += (all.empty() ? "" : "\n") + one;
    return base::make_error(base::Kind::kInvalid, "compile", "", std::move(all));
  }
  out->type_ = out->root_->type;
  out->uses_ = std::move(checked.uses);
  out->slots_ = checked.slots;
  return std::shared_ptr<const Program>(std::move(out));
}

base::Result<Value> Program::evaluate(const std::vector<Value>& variables, uint64_t budget,
                                      uint64_t* cost) const {
  Evaluator evaluator(variables, slots_, budget);
  Value out;
  bool right = evaluator.run(*root_, &out);
  *cost = evaluator.context.spent;
  if (!right)
    return base::make_error(base::Kind::kInvalid, "evaluate", "", std::move(evaluator.context.error));
  return out;
}

}  // namespace api::cel
