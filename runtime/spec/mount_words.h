// Words of a config's mounts: clean paths, and propagation by name. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace runtime {

// Lexically clean absolute path: no "//", ".", ".." ("/../x" is "/x").
std::string clean_path(std::string_view path);
uint64_t propagation_flags(std::string_view name);  // "rslave" -> MS_SLAVE | MS_REC; 0 unknown
std::string propagation_name(uint64_t flags);

}  // namespace runtime
