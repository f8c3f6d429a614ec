// Text into tokens. Private to api/cel. Source: the lexis of the CEL language definition.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/cel/value.h"

namespace api::cel {

struct Token {
  enum class Kind : uint8_t { end, ident, literal, symbol } kind = Kind::end;
  uint32_t at = 0;
  std::string_view text;   // of idents and symbols
  Value literal;           // of numbers, strings and bytes
  bool negatable = false;  // 9223372036854775808: right only behind a minus
};

// False with a message and its place when the text is not CEL.
bool tokenize(std::string_view text, std::vector<Token>* out, std::string* error, uint32_t* at);

}  // namespace api::cel
