// IntOrString: a number or a text, as in targetPort: 80 and targetPort: "http".
#pragma once

#include <cstdint>
#include <string>

namespace api {

struct IntOrString {
  bool is_string = false;
  int64_t number = 0;
  std::string text;
  bool operator==(const IntOrString&) const = default;
};

}  // namespace api
