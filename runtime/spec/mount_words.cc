#include "runtime/spec/mount_words.h"

#include <sys/mount.h>

#include <vector>

namespace runtime {

std::string clean_path(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string_view part = path.substr(0, slash);
    path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (std::string_view part : parts) out.append("/").append(part);
  return out.empty() ? "/" : out;
}

namespace {
struct Propagation {
  const char* name;
  uint64_t flags;
};
constexpr Propagation kPropagations[] = {
    {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
    {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
    {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
    {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC}};
}  // namespace

uint64_t propagation_flags(std::string_view name) {
  for (const Propagation& p : kPropagations)
    if (name == p.name) return p.flags;
  return 0;
}
std::string propagation_name(uint64_t flags) {
  for (const Propagation& p : kPropagations)
    if (flags == p.flags) return p.name;
  return "";
}

}  // namespace runtime
