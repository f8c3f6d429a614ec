#include "api/text_formats.h"

#include <re2/re2.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/base64.h"
#include "base/clock.h"
#include "base/ip.h"

namespace api {

bool is_ipv4(std::string_view text) { return base::Ip::parse_v4(text).has_value(); }
bool is_ipv6(std::string_view text) { return base::Ip::parse_v6(text).has_value(); }
bool is_ip(std::string_view text) { return is_ipv4(text) || is_ipv6(text); }

namespace {

using Check = bool (*)(std::string_view);

bool matches(std::string_view text, const re2::RE2& expression) {
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), expression);
}
bool uuid(std::string_view text) {
  static const re2::RE2 kForm("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}");
  return matches(text, kForm);
}
bool uuid_of(std::string_view text, char version) {
  if (!uuid(text)) return false;
  std::string digits(text);
  std::erase(digits, '-');
  return digits[12] == version;
}
bool date(std::string_view text) {
  static const re2::RE2 kForm("[0-9]{4}-[0-9]{2}-[0-9]{2}");
  return matches(text, kForm) && base::parse_time(std::string(text) + "T00:00:00Z").has_value();
}
bool cidr(std::string_view text) {
  size_t slash = text.rfind('/');
  if (slash == text.npos) return false;
  std::string_view address = text.substr(0, slash), bits = text.substr(slash + 1);
  if (bits.empty() || bits.size() > 3 || !std::all_of(bits.begin(), bits.end(), ::isdigit)) return false;
  int count = std::atoi(std::string(bits).c_str());
  return (is_ipv4(address) && count <= 32) || (is_ipv6(address) && count <= 128);
}
bool duration(std::string_view text) {
  static const re2::RE2 kGo("[-+]?((\\d+(\\.\\d*)?|\\.\\d+)(ns|us|µs|μs|ms|s|m|h))+|0");
  static const re2::RE2 kWords(
      "(?i)(\\d+\\s*(ns|nano|nanosecond|us|µs|micro|microsecond|ms|milli|millisecond|s|sec|second|m|min|"
      "minute|h|hr|hour|d|day|w|wk|week)s?\\s*)+");
  return matches(text, kGo) || matches(text, kWords);
}
bool host(std::string_view text) {
  static const re2::RE2 kForm("(?i)([a-z0-9]([a-z0-9-]*[a-z0-9])?)(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\\.?");
  return text.size() <= 255 && matches(text, kForm);
}
bool email(std::string_view text) {
  size_t at = text.rfind('@');
  return at != text.npos && at != 0 && text.find_first_of(" \t\r\n<>") == text.npos &&
         host(text.substr(at + 1));
}
bool uri(std::string_view text) {
  static const re2::RE2 kForm("([a-zA-Z][a-zA-Z0-9+.-]*:[^\\s]*|/[^\\s]*)");
  return matches(text, kForm);
}
bool mac(std::string_view text) {
  static const re2::RE2 kForm(
      "(?i)[0-9a-f]{2}([:-][0-9a-f]{2}){5}([:-][0-9a-f]{2}){0,14}|[0-9a-f]{4}(\\.[0-9a-f]{4}){2,9}");
  return matches(text, kForm);
}
bool hex_color(std::string_view text) {
  static const re2::RE2 kForm("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})");
  return matches(text, kForm);
}
bool object_id(std::string_view text) {
  static const re2::RE2 kForm("[0-9a-fA-F]{24}");
  return matches(text, kForm);
}

const std::map<std::string_view, Check>& checks() {
  static const std::map<std::string_view, Check> all = {
      {"date-time", [](std::string_view t) { return base::parse_time(t).has_value(); }},
      {"datetime", [](std::string_view t) { return base::parse_time(t).has_value(); }},
      {"date", date},
      {"duration", duration},
      {"uuid", uuid},
      {"uuid3", [](std::string_view t) { return uuid_of(t, '3'); }},
      {"uuid4", [](std::string_view t) { return uuid_of(t, '4'); }},
      {"uuid5", [](std::string_view t) { return uuid_of(t, '5'); }},
      {"ipv4", [](std::string_view t) { return is_ipv4(t); }},
      {"ipv6", [](std::string_view t) { return is_ipv6(t); }},
      {"cidr", cidr},
      {"mac", mac},
      {"email", email},
      {"hostname", host},
      {"uri", uri},
      {"byte", [](std::string_view t) { return base::base64_decode(t).has_value(); }},
      {"password", [](std::string_view) { return true; }},
      {"hexcolor", hex_color},
      {"bsonobjectid", object_id},
  };
  return all;
}

}  // namespace

bool has_format(std::string_view format, std::string_view text) {
  auto it = checks().find(format);
  return it == checks().end() || it->second(text);
}

bool is_known_format(std::string_view format) {
  std::string name(format);
  std::erase(name, '-');  // go-openapi compares names without them
  constexpr std::string_view kUnchecked[] = {"isbn", "isbn10",   "isbn13",       "creditcard",
                                             "ssn",  "rgbcolor", "k8sshortname", "k8slongname"};
  return checks().contains(name) ||
         std::find(std::begin(kUnchecked), std::end(kUnchecked), name) != std::end(kUnchecked);
}

}  // namespace api
