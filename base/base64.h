// Base64 (RFC 4648): padded as JSON's []byte fields carry it, and the form of URLs. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace base {

std::string base64_encode(std::string_view bytes);
// Line ends are skipped, as Go does; anything else that is not base64 is nullopt.
std::optional<std::string> base64_decode(std::string_view text);
// Where Go's decoder stops in a text that is no base64 ("illegal base64 data at input byte 4"); nothing when
// it is one.
std::optional<size_t> base64_error(std::string_view text);

// '-' and '_' for '+' and '/', and no padding, as in tokens (RFC 7515).
std::string base64url_encode(std::string_view bytes);
std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace base
