// Functions as rows: a signature as text, and what computes it. Private to api/cel.
//   {"string.startsWith(string) bool", starts_with}     a member function
//   {"_+_(list(A), list(A)) list(A)", …}                 A, B: any type, the same at each place
// Types are written bool, int, uint, double, string, bytes, timestamp, duration, null, type, dyn,
// list(T), map(K, V), optional(T), object (any object or map), or the name of an opaque type.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/cel/ast.h"

namespace api::cel {

// What a running expression may still spend, and why it stopped.
struct Context {
  uint64_t budget = 0, spent = 0;
  bool exhausted = false;  // no operator absorbs that
  std::string error;

  bool fail(std::string why) {
    error = std::move(why);
    return false;
  }
  // One unit is about one step; texts and lists cost a tenth of their length.
  bool charge(uint64_t cost) {
    spent += cost;
    if (spent <= budget) return true;
    exhausted = true;
    return fail("operation cancelled: actual cost limit exceeded");
  }
};
// `call` has the compiled pattern of a literal.
using Function = bool (*)(Context& context, const Node& call, const Value* args, size_t count, Value* out);

// What rows return with, and what going through a text costs.
inline bool give(Value* out, Value in) {
  *out = std::move(in);
  return true;
}
inline uint64_t tenth(size_t size) { return size / 10 + 1; }

struct Row {
  const char* signature;
  Function function;
};
struct Overload {
  std::string name;
  bool member = false;
  std::vector<TypeRef> args;
  TypeRef result;
  Function function = nullptr;
};
// Those of a name, in the order of the rows; empty: there is no such function.
std::span<const Overload> overloads_of(std::string_view name, bool member);
// Whether a value may stand where `wanted` is asked for.
bool accepts(const Type& wanted, const Value& value);

// The libraries: one table each.
std::span<const Row> core_functions();
std::span<const Row> text_functions();
std::span<const Row> time_functions();
std::span<const Row> list_functions();
std::span<const Row> net_functions();
std::span<const Row> kubernetes_functions();
std::span<const Row> authorizer_functions();

// The pattern of a call: the literal's, or compiled now; null with an error when it is none.
std::shared_ptr<const re2::RE2> pattern_of(Context& context, const Node& call, std::string_view text);
std::shared_ptr<const re2::RE2> compile_pattern(std::string_view text);

}  // namespace api::cel
