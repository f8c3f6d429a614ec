// Lists and sets: Kubernetes' own (isSorted, sum, min, max, indexOf), the lists extension, sets and math.
#include <algorithm>
#include <cmath>

#include "api/cel/functions.h"

namespace api::cel {
namespace {

using C = Context&;
using A = const Value*;

bool is_sorted(C c, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[0]);
  if (!c.charge(count)) return false;
  for (size_t i = 1; i < count; ++i) {
    int order = compare(item_at(a[0], i - 1), item_at(a[0], i));
    if (order == 2) return c.fail("no such overload");
    if (order > 0) return give(out, Value::of(false));
  }
  return give(out, Value::of(true));
}
bool sum(C c, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[0]);
  if (!c.charge(count)) return false;
  if (count == 0) return give(out, Value::of(int64_t{0}));
  Value total = item_at(a[0], 0);
  for (size_t i = 1; i < count; ++i) {
    Value one = item_at(a[0], i);
    if (one.kind != total.kind) return c.fail("no such overload");
    bool over = false;
    switch (one.kind) {
      case Kind::integer: over = __builtin_add_overflow(total.integer, one.integer, &total.integer); break;
      case Kind::duration: over = __builtin_add_overflow(total.integer, one.integer, &total.integer); break;
      case Kind::uinteger:
        over = __builtin_add_overflow(total.uinteger, one.uinteger, &total.uinteger);
        break;
      case Kind::real: total.real += one.real; break;
      default: return c.fail("no such overload");
    }
    if (over) return c.fail("integer overflow");
  }
  return give(out, std::move(total));
}
template <int Wanted>
bool extreme(C c, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[0]);
  if (!c.charge(count)) return false;
  if (count == 0) return c.fail(Wanted < 0 ? "min called on empty list" : "max called on empty list");
  Value best = item_at(a[0], 0);
  for (size_t i = 1; i < count; ++i) {
    Value one = item_at(a[0], i);
    int order = compare(one, best);
    if (order == 2) return c.fail("no such overload");
    if (order == Wanted) best = std::move(one);
  }
  return give(out, std::move(best));
}
bool list_index_of(C c, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[0]);
  if (!c.charge(count)) return false;
  for (size_t i = 0; i < count; ++i)
    if (equal(item_at(a[0], i), a[1])) return give(out, Value::of(static_cast<int64_t>(i)));
  return give(out, Value::of(int64_t{-1}));
}
bool list_last_index_of(C c, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[0]);
  if (!c.charge(count)) return false;
  for (size_t i = count; i-- > 0;)
    if (equal(item_at(a[0], i), a[1])) return give(out, Value::of(static_cast<int64_t>(i)));
  return give(out, Value::of(int64_t{-1}));
}
bool slice(C c, const Node&, A a, size_t, Value* out) {
  int64_t count = static_cast<int64_t>(size_of(a[0])), begin = a[1].integer, end = a[2].integer;
  if (begin < 0 || end < 0)
    return c.fail("cannot slice(" + std::to_string(begin) + ", " + std::to_string(end) +
                  "), negative indexes not supported");
  if (begin > end)
    return c.fail("cannot slice(" + std::to_string(begin) + ", " + std::to_string(end) +
                  "), start index must be less than or equal to end index");
  if (end > count)
    return c.fail("cannot slice(" + std::to_string(begin) + ", " + std::to_string(end) +
                  "), list is length " + std::to_string(count));
  if (!c.charge(static_cast<uint64_t>(end - begin) + 1)) return false;
  std::vector<Value> items;
  for (int64_t i = begin; i < end; ++i) items.push_back(item_at(a[0], static_cast<size_t>(i)));
  return give(out, Value::of_list(std::move(items)));
}
bool flatten_into(C c, const Value& list, int64_t depth, std::vector<Value>& items) {
  for (size_t i = 0; i < size_of(list); ++i) {
    if (!c.charge(1)) return false;
    Value one = item_at(list, i);
    if (one.kind == Kind::list && depth > 0) {
      if (!flatten_into(c, one, depth - 1, items)) return false;
    } else {
      items.push_back(std::move(one));
    }
  }
  return true;
}
bool flatten(C c, const Node&, A a, size_t n, Value* out) {
  int64_t depth = n > 1 ? a[1].integer : 1;
  if (depth < 0) return c.fail("level must be non-negative");
  std::vector<Value> items;
  return flatten_into(c, a[0], std::min<int64_t>(depth, 1000), items) &&
         give(out, Value::of_list(std::move(items)));
}
bool distinct(C c, const Node&, A a, size_t, Value* out) {
  std::vector<Value> items;
  for (size_t i = 0; i < size_of(a[0]); ++i) {
    Value one = item_at(a[0], i);
    if (!c.charge(items.size() + 1)) return false;
    if (std::none_of(items.begin(), items.end(), [&](const Value& have) { return equal(have, one); }))
      items.push_back(std::move(one));
  }
  return give(out, Value::of_list(std::move(items)));
}
bool reverse_list(C c, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[0]);
  if (!c.charge(count)) return false;
  std::vector<Value> items;
  for (size_t i = count; i-- > 0;) items.push_back(item_at(a[0], i));
  return give(out, Value::of_list(std::move(items)));
}
bool sort(C c, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[0]);
  if (!c.charge(count * 4)) return false;
  std::vector<Value> items;
  for (size_t i = 0; i < count; ++i) {
    items.push_back(item_at(a[0], i));
    if (compare(items[0], items[i]) == 2) return c.fail("no such overload");
  }
  std::stable_sort(items.begin(), items.end(),
                   [](const Value& x, const Value& y) { return compare(x, y) == -1; });
  return give(out, Value::of_list(std::move(items)));
}
bool range(C c, const Node&, A a, size_t, Value* out) {
  if (a[0].integer < 0) return give(out, Value::of_list({}));
  if (!c.charge(static_cast<uint64_t>(a[0].integer))) return false;
  std::vector<Value> items;
  for (int64_t i = 0; i < a[0].integer; ++i) items.push_back(Value::of(i));
  return give(out, Value::of_list(std::move(items)));
}
bool first(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of_optional(size_of(a[0]) ? std::optional<Value>(item_at(a[0], 0)) : std::nullopt));
}
bool last(C, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[0]);
  return give(out, Value::of_optional(count ? std::optional<Value>(item_at(a[0], count - 1)) : std::nullopt));
}

// ---- sets ----------------------------------------------------------------------------------------
bool has(const Value& list, const Value& item) {
  for (size_t i = 0; i < size_of(list); ++i)
    if (equal(item_at(list, i), item)) return true;
  return false;
}
bool contains_all(const Value& list, const Value& other) {
  for (size_t i = 0; i < size_of(other); ++i)
    if (!has(list, item_at(other, i))) return false;
  return true;
}
bool pair_cost(C c, A a) { return c.charge(size_of(a[0]) * size_of(a[1]) + 1); }
bool set_contains(C c, const Node&, A a, size_t, Value* out) {
  return pair_cost(c, a) && give(out, Value::of(contains_all(a[0], a[1])));
}
bool equivalent(C c, const Node&, A a, size_t, Value* out) {
  return pair_cost(c, a) && give(out, Value::of(contains_all(a[0], a[1]) && contains_all(a[1], a[0])));
}
bool intersects(C c, const Node&, A a, size_t, Value* out) {
  if (!pair_cost(c, a)) return false;
  for (size_t i = 0; i < size_of(a[0]); ++i)
    if (has(a[1], item_at(a[0], i))) return give(out, Value::of(true));
  return give(out, Value::of(false));
}

constexpr Row kListsRows[] = {
    {"list(A).isSorted() bool", is_sorted},
    {"list(A).sum() A", sum},
    {"list(A).min() A", extreme<-1>},
    {"list(A).max() A", extreme<1>},
    {"list(A).indexOf(A) int", list_index_of},
    {"list(A).lastIndexOf(A) int", list_last_index_of},
    {"list(A).slice(int, int) list(A)", slice},
    {"list(A).flatten() list(dyn)", flatten},
    {"list(A).flatten(int) list(dyn)", flatten},
    {"list(A).distinct() list(A)", distinct},
    {"list(A).reverse() list(A)", reverse_list},
    {"list(A).sort() list(A)", sort},
    {"list(A).first() optional(A)", first},
    {"list(A).last() optional(A)", last},
    {"lists.range(int) list(int)", range},
    {"sets.contains(list(A), list(A)) bool", set_contains},
    {"sets.equivalent(list(A), list(A)) bool", equivalent},
    {"sets.intersects(list(A), list(A)) bool", intersects},
};

}  // namespace

std::span<const Row> list_functions() { return kListsRows; }

}  // namespace api::cel
