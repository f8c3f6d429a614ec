// Addresses, and the formats of strings that OpenAPI schemas of custom resources may ask for. Pure.
#pragma once

#include <string_view>

namespace api {

// Whether `text` is of `format` ("date-time", "ipv4", "uuid", …). True for formats that
// kube-apiserver does not check either.
bool has_format(std::string_view format, std::string_view text);
// Whether kube-apiserver knows the name of the format; about others it warns.
bool is_known_format(std::string_view format);

bool is_ipv4(std::string_view text);
bool is_ipv6(std::string_view text);
bool is_ip(std::string_view text);  // of either family

}  // namespace api
