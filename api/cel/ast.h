// An expression as a tree: what the parser makes, the checker completes and the evaluator walks.
// Private to api/cel.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cel/value.h"
#include "base/result.h"

namespace re2 {
class RE2;
}

namespace api::cel {

struct Overload;

enum class Op : uint8_t {
  literal,
  ident,
  select,
  test /* has(a.b) */,
  optional_select,
  call,
  both /* && */,
  either /* || */,
  choose /* ?: */,
  list,
  map,
  construct /* Object.spec{a: 1} */,
  macro,
};
enum class Macro : uint8_t {
  all,
  exists,
  exists_one,
  map,
  filter,
  transform_list,
  transform_map,
  transform_map_entry,
  bind,
  opt_map,
  opt_flat_map,
  sort_by,
};

struct Node {
  Op op = Op::literal;
  Macro macro = Macro::all;
  bool member = false;  // of a call: args[0] is the target
  bool two = false;     // of a macro: with index or key beside the item
  uint32_t at = 0;      // in the text, for messages
  uint32_t depth = 1;
  Value literal;
  std::string name;  // of idents, fields, functions and what is constructed
  // Calls: target and arguments. Macros: range, then what is asked of each item: {range, [filter,] result}.
  // Maps: key, value, key, value.
  std::vector<std::unique_ptr<Node>> args;
  std::vector<std::string> fields;  // of what is constructed, one an argument
  std::vector<bool> optional;       // of lists, maps and what is constructed: entry written with '?'
  std::string first, second;        // variables of a macro
  // ---- completed by the checker
  TypeRef type;
  int slot = -1;              // of idents; of a macro's first variable, the second's is the next
  std::string_view property;  // of a typed object's field; empty: by `name`
  bool on_optional = false;   // of a select: the operand may be an optional
  std::vector<const Overload*> overloads;
  std::shared_ptr<const re2::RE2> pattern;  // of matches(), find() and the like with a literal
};
using NodePtr = std::unique_ptr<Node>;

constexpr size_t kMaxTextBytes = 100'000, kMaxDepth = 250, kMaxNodes = 50'000;

// The error's reason is cel-go's: "ERROR: <input>:1:3: Syntax error: …", the line and a mark below it.
base::Result<NodePtr> parse(std::string_view text);
std::string located(std::string_view text, uint32_t at, const std::string& message);

}  // namespace api::cel
