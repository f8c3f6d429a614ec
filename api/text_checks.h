// How a name, a label and a port may look, in Kubernetes' sentences. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace api {

// Single checks; each returns the sentences that are wrong with `value`, none when it is right.
std::vector<std::string> check_dns1123_label(std::string_view value);
std::vector<std::string> check_dns1123_subdomain(std::string_view value);
std::vector<std::string> check_wildcard_subdomain(std::string_view value);  // "*.example.com"
std::vector<std::string> check_dns1035_label(std::string_view value);
std::vector<std::string> check_qualified_name(std::string_view value);  // a label's key
std::vector<std::string> check_label_value(std::string_view value);
std::vector<std::string> check_port_name(std::string_view value);
std::vector<std::string> check_path_segment(std::string_view value);

}  // namespace api
