// Addresses, networks and URLs, as Kubernetes' libraries have them.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "api/cel/functions.h"

namespace api::cel {
namespace {

using C = Context&;
using A = const Value*;

struct Ip : Opaque {
  std::array<unsigned char, 16> bytes{};  // a v4 address is in the first four
  int family = 4;
  std::string_view type_name() const override { return "net.IP"; }
  bool equals(const Opaque& other) const override {
    const auto& ip = static_cast<const Ip&>(other);
    return family == ip.family && bytes == ip.bytes;
  }
  size_t size() const { return family == 4 ? 4 : 16; }
  std::string text() const {
    char buffer[INET6_ADDRSTRLEN];
    ::inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes.data(), buffer, sizeof buffer);
    return buffer;
  }
};
struct Cidr : Opaque {
  Ip ip;
  int prefix = 0;
  std::string_view type_name() const override { return "net.CIDR"; }
  bool equals(const Opaque& other) const override {
    const auto& cidr = static_cast<const Cidr&>(other);
    return prefix == cidr.prefix && ip.equals(cidr.ip);
  }
  Ip masked() const {
    Ip out = ip;
    for (size_t bit = static_cast<size_t>(prefix); bit < out.size() * 8; ++bit)
      out.bytes[bit / 8] &= static_cast<unsigned char>(~(0x80u >> bit % 8));
    return out;
  }
  bool contains(const Ip& address) const {
    if (address.family != ip.family) return false;
    Cidr other = *this;
    other.ip = address;
    return masked().equals(other.masked());
  }
};

// Neither zones nor addresses of v4 inside of v6, nor leading zeros.
bool parse_ip(std::string_view text, Ip* out, std::string* why) {
  std::string copy(text);
  if (copy.find('%') != copy.npos) return *why = "IP address with zone value is not allowed", false;
  if (copy.find('\0') == copy.npos && ::inet_pton(AF_INET, copy.c_str(), out->bytes.data()) == 1)
    return out->family = 4, true;
  if (copy.find('\0') == copy.npos && ::inet_pton(AF_INET6, copy.c_str(), out->bytes.data()) == 1) {
    static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (std::memcmp(out->bytes.data(), kMapped, sizeof kMapped) == 0)
      return *why = "IPv4-mapped IPv6 address is not allowed", false;
    return out->family = 6, true;
  }
  *why = "IP Address '" + copy + "' parse error during conversion from string: ParseAddr(\"" + copy +
         "\"): unable to parse IP";
  return false;
}
bool parse_cidr(std::string_view text, Cidr* out, std::string* why) {
  size_t slash = text.rfind('/');
  std::string_view digits = slash == text.npos ? std::string_view() : text.substr(slash + 1);
  auto end = std::from_chars(digits.data(), digits.data() + digits.size(), out->prefix);
  bool number = !digits.empty() && end.ec == std::errc() && end.ptr == digits.data() + digits.size() &&
                (digits.size() == 1 || digits[0] != '0');
  if (number && parse_ip(text.substr(0, slash), &out->ip, why) && out->prefix >= 0 &&
      static_cast<size_t>(out->prefix) <= out->ip.size() * 8)
    return true;
  *why = "network address parse error during conversion from string: netip.ParsePrefix(\"" +
         std::string(text) + "\"): no valid prefix";
  return false;
}

bool to_ip(C c, const Node&, A a, size_t, Value* out) {
  auto made = std::make_shared<Ip>();
  std::string why;
  return parse_ip(a[0].text, made.get(), &why) ? give(out, of_opaque(std::move(made)))
                                               : c.fail(std::move(why));
}
bool is_ip(C, const Node&, A a, size_t, Value* out) {
  Ip made;
  std::string why;
  return give(out, Value::of(parse_ip(a[0].text, &made, &why)));
}
bool ip_is_canonical(C c, const Node&, A a, size_t, Value* out) {
  Ip made;
  std::string why;
  return parse_ip(a[0].text, &made, &why) ? give(out, Value::of(made.text() == a[0].text))
                                          : c.fail(std::move(why));
}
const Ip& ip_of(const Value& in) { return *opaque_as<Ip>(in); }
const Cidr& cidr_of(const Value& in) { return *opaque_as<Cidr>(in); }
bool family(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(int64_t{ip_of(a[0]).family}));
}
bool ip_text(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of_text(ip_of(a[0]).text()));
}
bool unspecified(C, const Node&, A a, size_t, Value* out) {
  const auto& b = ip_of(a[0]).bytes;
  return give(out, Value::of(std::all_of(b.begin(), b.end(), [](unsigned char one) { return one == 0; })));
}
bool loopback(C, const Node&, A a, size_t, Value* out) {
  const Ip& ip = ip_of(a[0]);
  bool six = std::all_of(ip.bytes.begin(), ip.bytes.end() - 1, [](unsigned char one) { return one == 0; }) &&
             ip.bytes[15] == 1;
  return give(out, Value::of(ip.family == 4 ? ip.bytes[0] == 127 : six));
}
bool link_local_multicast(C, const Node&, A a, size_t, Value* out) {
  const Ip& ip = ip_of(a[0]);
  const auto& b = ip.bytes;
  return give(out, Value::of(ip.family == 4 ? b[0] == 224 && b[1] == 0 && b[2] == 0
                                            : b[0] == 0xff && (b[1] & 0x0f) == 2));
}
bool link_local_unicast(C, const Node&, A a, size_t, Value* out) {
  const Ip& ip = ip_of(a[0]);
  const auto& b = ip.bytes;
  return give(out,
              Value::of(ip.family == 4 ? b[0] == 169 && b[1] == 254 : b[0] == 0xfe && (b[1] & 0xc0) == 0x80));
}
bool global_unicast(C, const Node&, A a, size_t, Value* out) {
  const Ip& ip = ip_of(a[0]);
  const auto& b = ip.bytes;
  bool zero = std::all_of(b.begin(), b.end(), [](unsigned char one) { return one == 0; });
  bool broadcast = b[0] == 255 && b[1] == 255 && b[2] == 255 && b[3] == 255;
  bool four =
      !zero && b[0] != 127 && !(b[0] >= 224 && b[0] < 240) && !(b[0] == 169 && b[1] == 254) && !broadcast;
  bool one = std::all_of(b.begin(), b.end() - 1, [](unsigned char byte) { return byte == 0; }) && b[15] == 1;
  bool six = !zero && !one && b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
  return give(out, Value::of(ip.family == 4 ? four : six));
}
bool to_cidr(C c, const Node&, A a, size_t, Value* out) {
  auto made = std::make_shared<Cidr>();
  std::string why;
  return parse_cidr(a[0].text, made.get(), &why) ? give(out, of_opaque(std::move(made)))
                                                 : c.fail(std::move(why));
}
bool is_cidr(C, const Node&, A a, size_t, Value* out) {
  Cidr made;
  std::string why;
  return give(out, Value::of(parse_cidr(a[0].text, &made, &why)));
}
bool cidr_has_ip(C c, const Node&, A a, size_t, Value* out) {
  Ip ip;
  std::string why;
  if (a[1].kind == Kind::opaque) ip = ip_of(a[1]);
  else if (!parse_ip(a[1].text, &ip, &why)) return c.fail(std::move(why));
  return give(out, Value::of(cidr_of(a[0]).contains(ip)));
}
bool cidr_has_cidr(C c, const Node&, A a, size_t, Value* out) {
  Cidr other;
  std::string why;
  if (a[1].kind == Kind::opaque) other = cidr_of(a[1]);
  else if (!parse_cidr(a[1].text, &other, &why)) return c.fail(std::move(why));
  const Cidr& mine = cidr_of(a[0]);
  return give(out, Value::of(mine.prefix <= other.prefix && mine.contains(other.ip)));
}
bool cidr_ip(C, const Node&, A a, size_t, Value* out) {
  return give(out, of_opaque(std::make_shared<Ip>(cidr_of(a[0]).ip)));
}
bool cidr_masked(C, const Node&, A a, size_t, Value* out) {
  auto made = std::make_shared<Cidr>(cidr_of(a[0]));
  made->ip = made->masked();
  return give(out, of_opaque(std::move(made)));
}
bool cidr_prefix(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(int64_t{cidr_of(a[0]).prefix}));
}
bool cidr_text(C, const Node&, A a, size_t, Value* out) {
  const Cidr& cidr = cidr_of(a[0]);
  return give(out, Value::of_text(cidr.ip.text() + "/" + std::to_string(cidr.prefix)));
}

// ---- URLs ----------------------------------------------------------------------------------------
struct Url : Opaque {
  std::string whole, scheme, host, path, query;
  std::string_view type_name() const override { return "kubernetes.URL"; }
  bool equals(const Opaque& other) const override { return whole == static_cast<const Url&>(other).whole; }
  // host is "[::1]:80", "example.com:80".
  std::string name() const {
    if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
    return host.substr(0, host.rfind(':'));
  }
  std::string port() const {
    size_t colon = host.rfind(':'), bracket = host.rfind(']');
    return colon == host.npos || (bracket != host.npos && colon < bracket) ? "" : host.substr(colon + 1);
  }
};
int hex(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}
bool unescape(std::string_view text, bool plus, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size() || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) return false;
      *out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      *out += plus && text[i] == '+' ? ' ' : text[i];
    }
  }
  return true;
}
// As net/url's ParseRequestURI: an absolute URL, or a path that begins with a slash.
bool parse_url(std::string_view text, Url* out) {
  for (unsigned char c : text)
    if (c <= 0x20 || c == 0x7f) return false;
  out->whole = text;
  std::string_view rest = text;
  if (rest.empty()) return false;
  if (rest[0] != '/') {
    size_t colon = rest.find(':');
    if (colon == rest.npos || colon == 0 || !std::isalpha(static_cast<unsigned char>(rest[0]))) return false;
    for (char c : rest.substr(0, colon))
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '+' && c != '-' && c != '.') return false;
    out->scheme = rest.substr(0, colon);
    std::transform(out->scheme.begin(), out->scheme.end(), out->scheme.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    rest.remove_prefix(colon + 1);
    if (!rest.starts_with("//") && !rest.starts_with('/')) return false;  // opaque
  }
  if (size_t mark = rest.find('?'); mark != rest.npos) {
    out->query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  if (!out->scheme.empty() && rest.starts_with("//")) {
    rest.remove_prefix(2);
    size_t slash = std::min(rest.find('/'), rest.size());
    std::string_view authority = rest.substr(0, slash);
    rest.remove_prefix(slash);
    if (size_t user = authority.rfind('@'); user != authority.npos) authority.remove_prefix(user + 1);
    std::string_view name = authority;
    if (name.starts_with('[')) {
      size_t close = name.rfind(']');
      Ip ip;
      std::string why;
      if (close == name.npos || !parse_ip(name.substr(1, close - 1), &ip, &why) || ip.family != 6)
        return false;
      name.remove_prefix(close + 1);
      if (!name.empty() && name[0] != ':') return false;
    } else if (std::count(name.begin(), name.end(), ':') > 1 ||
               name.find_first_of(" <>\"{}|\\^`[]") != name.npos) {
      return false;
    }
    if (size_t colon = name.rfind(':');
        colon != name.npos && name.find_first_not_of("0123456789", colon + 1) != name.npos)
      return false;
    if (!unescape(authority, false, &out->host)) return false;
  }
  return unescape(rest, false, &out->path);
}
bool to_url(C c, const Node&, A a, size_t, Value* out) {
  auto made = std::make_shared<Url>();
  if (!c.charge(tenth(a[0].text.size()))) return false;
  return parse_url(a[0].text, made.get()) ? give(out, of_opaque(std::move(made)))
                                          : c.fail("URL parse error during conversion from string: parse " +
                                                   shown(a[0]) + ": invalid URI for request");
}
bool is_url(C c, const Node&, A a, size_t, Value* out) {
  Url made;
  return c.charge(tenth(a[0].text.size())) && give(out, Value::of(parse_url(a[0].text, &made)));
}
const Url& url_of(const Value& in) { return *opaque_as<Url>(in); }
bool url_scheme(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of_text(url_of(a[0]).scheme));
}
bool url_host(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of_text(url_of(a[0]).host));
}
bool url_name(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of_text(url_of(a[0]).name()));
}
bool url_port(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of_text(url_of(a[0]).port()));
}
bool url_path(C, const Node&, A a, size_t, Value* out) {
  std::string escaped;  // as net/url's EscapedPath
  for (unsigned char c : url_of(a[0]).path) {
    bool plain = std::isalnum(c) || std::strchr("-_.~$&+,/:;=@!'()*", c);
    if (plain && c) escaped += static_cast<char>(c);
    else escaped += fmt::format("%{:02X}", c);
  }
  return give(out, Value::of_text(std::move(escaped)));
}
bool url_query(C, const Node&, A a, size_t, Value* out) {
  std::vector<std::pair<std::string, std::vector<Value>>> found;
  std::string_view rest = url_of(a[0]).query;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('&'), rest.size());
    std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::string key, value;
    size_t equals = std::min(pair.find('='), pair.size());
    if (pair.empty() || pair.find(';') != pair.npos || !unescape(pair.substr(0, equals), true, &key) ||
        !unescape(pair.substr(std::min(equals + 1, pair.size())), true, &value))
      continue;
    auto at = std::find_if(found.begin(), found.end(), [&](const auto& one) { return one.first == key; });
    if (at == found.end()) at = found.insert(found.end(), {key, {}});
    at->second.push_back(Value::of_text(std::move(value)));
  }
  std::vector<std::pair<Value, Value>> entries;
  for (auto& [key, values] : found)
    entries.emplace_back(Value::of_text(key), Value::of_list(std::move(values)));
  return give(out, Value::of_map(std::move(entries)));
}

constexpr Row kNetRows[] = {
    {"ip(string) net.IP", to_ip},
    {"isIP(string) bool", is_ip},
    {"ip.isCanonical(string) bool", ip_is_canonical},
    {"net.IP.family() int", family},
    {"net.IP.isUnspecified() bool", unspecified},
    {"net.IP.isLoopback() bool", loopback},
    {"net.IP.isLinkLocalMulticast() bool", link_local_multicast},
    {"net.IP.isLinkLocalUnicast() bool", link_local_unicast},
    {"net.IP.isGlobalUnicast() bool", global_unicast},
    {"string(net.IP) string", ip_text},
    {"cidr(string) net.CIDR", to_cidr},
    {"isCIDR(string) bool", is_cidr},
    {"net.CIDR.containsIP(net.IP) bool", cidr_has_ip},
    {"net.CIDR.containsIP(string) bool", cidr_has_ip},
    {"net.CIDR.containsCIDR(net.CIDR) bool", cidr_has_cidr},
    {"net.CIDR.containsCIDR(string) bool", cidr_has_cidr},
    {"net.CIDR.ip() net.IP", cidr_ip},
    {"net.CIDR.masked() net.CIDR", cidr_masked},
    {"net.CIDR.prefixLength() int", cidr_prefix},
    {"string(net.CIDR) string", cidr_text},
    {"url(string) kubernetes.URL", to_url},
    {"isURL(string) bool", is_url},
    {"kubernetes.URL.getScheme() string", url_scheme},
    {"kubernetes.URL.getHost() string", url_host},
    {"kubernetes.URL.getHostname() string", url_name},
    {"kubernetes.URL.getPort() string", url_port},
    {"kubernetes.URL.getEscapedPath() string", url_path},
    {"kubernetes.URL.getQuery() map(string, list(string))", url_query},
};

}  // namespace

std::span<const Row> net_functions() { return kNetRows; }

}  // namespace api::cel
