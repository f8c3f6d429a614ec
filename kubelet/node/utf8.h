// Text that came from a container or a file, made fit for JSON and for the limits of the API. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kubelet {

// Bytes that are no UTF-8 become U+FFFD: JSON can't carry them, and the status would never arrive.
std::string valid_utf8(std::string_view text);
// The first `bytes` of valid UTF-8, cut between characters.
std::string_view first_bytes(std::string_view text, size_t bytes);

}  // namespace kubelet
