#include "api/local_volumes.h"

#include <fmt/format.h>

#include <cstdint>

namespace api::local_volumes {

std::string node_label(std::string_view node) {
  constexpr size_t kMaxLabel = 63, kHash = 16;
  if (node.size() <= kMaxLabel) return std::string(node);
  uint64_t hash = 14695981039346656037u;  // FNV-1a: the same in every process and version
  for (char c : node) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return fmt::format("{}-{:016x}", node.substr(0, kMaxLabel - kHash - 1), hash);
}

}  // namespace api::local_volumes
