// Names and types of a parsed expression. Private to api/cel.
#pragma once

#include <string>
#include <vector>

#include "api/cel/ast.h"
#include "api/cel/cel.h"

namespace api::cel {

struct Checked {
  std::vector<std::string> errors;  // as located() writes them
  std::vector<bool> uses;           // of the variables
  size_t slots = 0;                 // of variables, macros' included
};
Checked check(Node& root, std::string_view text, const std::vector<Variable>& variables,
              Constructors constructors);

}  // namespace api::cel
