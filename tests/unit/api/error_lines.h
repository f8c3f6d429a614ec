// What validation found, one error a line.
#pragma once

#include <string>

#include "api/validate/validate.h"

namespace api {

inline std::string lines(const FieldErrors& errors) {
  std::string out;
  for (const FieldError& error : errors) out += (out.empty() ? "" : "\n") + error.message();
  return out;
}

}  // namespace api
