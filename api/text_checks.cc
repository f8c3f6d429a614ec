#include "api/text_checks.h"

#include <algorithm>

namespace api {
namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool lower_digit(char c) { return lower(c) || digit(c); }
bool alnum(char c) { return lower_digit(c) || (c >= 'A' && c <= 'Z'); }

bool is_label(std::string_view v) {
  return !v.empty() && lower_digit(v.front()) && lower_digit(v.back()) &&
         std::all_of(v.begin(), v.end(), [](char c) { return lower_digit(c) || c == '-'; });
}
bool is_qualified_part(std::string_view v) {
  return !v.empty() && alnum(v.front()) && alnum(v.back()) &&
         std::all_of(v.begin(), v.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}
std::string too_long(size_t limit) { return "must be no more than " + std::to_string(limit) + " characters"; }

constexpr char kLabelForm[] =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr char kSubdomainForm[] =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr char kDns1035Form[] =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr char kQualifiedForm[] =
    " must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr char kLabelValueForm[] =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

}  // namespace

std::vector<std::string> check_dns1123_label(std::string_view value) {
  std::vector<std::string> out;
  if (value.size() > 63) out.push_back(too_long(63));
  if (!is_label(value)) out.push_back(kLabelForm);
  return out;
}
std::vector<std::string> check_dns1123_subdomain(std::string_view value) {
  std::vector<std::string> out;
  if (value.size() > 253) out.push_back(too_long(253));
  bool right = true;
  for (std::string_view rest = value; right;) {
    size_t dot = rest.find('.');
    right = is_label(rest.substr(0, dot));
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  if (!right) out.push_back(kSubdomainForm);
  return out;
}
std::vector<std::string> check_wildcard_subdomain(std::string_view value) {
  std::vector<std::string> out;
  if (value.size() > 253) out.push_back(too_long(253));
  if (!value.starts_with("*.") || !check_dns1123_subdomain(value.substr(2)).empty())
    out.push_back(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
        "consist of lower case "
        "alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
        "regex used for "
        "validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
  return out;
}
std::vector<std::string> check_dns1035_label(std::string_view value) {
  std::vector<std::string> out;
  if (value.size() > 63) out.push_back(too_long(63));
  if (!is_label(value) || !lower(value.front())) out.push_back(kDns1035Form);
  return out;
}
std::vector<std::string> check_qualified_name(std::string_view value) {
  std::vector<std::string> out;
  std::string_view name = value;
  if (size_t slash = value.find('/'); slash != std::string_view::npos) {
    std::string_view prefix = value.substr(0, slash);
    name = value.substr(slash + 1);
    if (name.find('/') != std::string_view::npos)
      return {std::string("a qualified name") + kQualifiedForm +
              " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"};
    if (prefix.empty()) out.push_back("prefix part must be non-empty");
    else
      for (const auto& wrong : check_dns1123_subdomain(prefix)) out.push_back("prefix part " + wrong);
  }
  if (name.empty()) out.push_back("name part must be non-empty");
  else if (name.size() > 63) out.push_back("name part " + too_long(63));
  if (!is_qualified_part(name)) out.push_back(std::string("name part") + kQualifiedForm);
  return out;
}
std::vector<std::string> check_label_value(std::string_view value) {
  std::vector<std::string> out;
  if (value.size() > 63) out.push_back(too_long(63));
  if (!value.empty() && !is_qualified_part(value)) out.push_back(kLabelValueForm);
  return out;
}
std::vector<std::string> check_port_name(std::string_view value) {
  std::vector<std::string> out;
  if (value.size() > 15) out.push_back(too_long(15));
  if (value.empty() ||
      !std::all_of(value.begin(), value.end(), [](char c) { return lower_digit(c) || c == '-'; }))
    out.push_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!std::any_of(value.begin(), value.end(), lower))
    out.push_back("must contain at least one letter (a-z)");
  if (value.find("--") != std::string_view::npos) out.push_back("must not contain consecutive hyphens");
  if (!value.empty() && (value.front() == '-' || value.back() == '-'))
    out.push_back("must not begin or end with a hyphen");
  return out;
}
std::vector<std::string> check_path_segment(std::string_view value) {
  std::vector<std::string> out;
  if (value == "." || value == "..") out.push_back("may not be '" + std::string(value) + "'");
  for (char c : {'/', '%'})
    if (value.find(c) != std::string_view::npos) out.push_back(std::string("may not contain '") + c + "'");
  return out;
}

}  // namespace api
