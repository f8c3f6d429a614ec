#include "runtime/spec/capabilities.h"

#include <sys/capability.h>

#include <cctype>
#include <string>

namespace runtime {

int capability_number(std::string_view name) {
  if (!name.starts_with("CAP_") || name.size() > 40) return -1;
  cap_value_t value;
  std::string lower(name);
  if (cap_from_name(lower.c_str(), &value) != 0) return -1;
  return value <= last_capability() ? value : -1;
}
std::string capability_name(int number) {
  char* name = cap_to_name(number);
  std::string out = name ? name : "";
  if (name) cap_free(name);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}
int last_capability() {
  static const int last = cap_max_bits() - 1;
  return last;
}

}  // namespace runtime
