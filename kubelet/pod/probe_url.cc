#include "kubelet/pod/probe_url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

namespace kubelet {

namespace {

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_one_of(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

void put_escaped(std::string& out, char c) { out += fmt::format("%{:02X}", static_cast<unsigned char>(c)); }

// RFC 3986 pchar and '/', which stand as they are; `keep_escapes`: so does "%41".
std::string escaped(std::string_view text, std::string_view also, bool keep_escapes) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_alnum(c) || is_one_of(c, "-._~!$&'()*+,;=:@/") || is_one_of(c, also)) out += c;
    else if (c == '%' && keep_escapes) out += c;
    else put_escaped(out, c);
  }
  return out;
}
bool has_bad_escape(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] == '%' && (i + 2 >= text.size() || !is_hex(text[i + 1]) || !is_hex(text[i + 2]))) return true;
  return false;
}
// "http:…" has one, "a/b:c" and "1:2" have none.
size_t scheme_length(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ':') return i;
    const bool letter = is_alnum(text[i]) && (text[i] < '0' || text[i] > '9');
    if (!letter && (i == 0 || !(is_alnum(text[i]) || is_one_of(text[i], "+-.")))) return 0;
  }
  return 0;
}
std::string rooted(std::string path) { return path.starts_with('/') ? path : "/" + path; }

// Path and query of what stands behind the host of a URL.
std::string target_of(std::string_view text) {
  text = text.substr(0, text.find('#'));
  const size_t question = text.find('?');
  const std::string path = rooted(escaped(text.substr(0, question), "[]", true));
  if (question == std::string_view::npos) return path;
  std::string query = escaped(text.substr(question + 1), "?[]{}|\\^`\"<>", true);
  return path + "?" + query;
}

// "name", "name:80", "[::1]:80"; false for what is none.
bool split_authority(std::string_view text, std::string* host, int* port) {
  if (size_t at = text.rfind('@'); at != std::string_view::npos) text.remove_prefix(at + 1);
  std::string_view name = text, digits;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return false;
    name = text.substr(1, end - 1);
    digits = text.substr(end + 1);
    if (!digits.empty() && digits[0] != ':') return false;
  } else if (size_t colon = text.find(':'); colon != std::string_view::npos) {
    name = text.substr(0, colon);
    digits = text.substr(colon);
  }
  if (!digits.empty()) digits.remove_prefix(1);
  if (!digits.empty()) {
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *port);
    if (error != std::errc() || end != digits.data() + digits.size() || *port < 1 || *port > 65535)
      return false;
  }
  *host = name;
  return !name.empty();
}
bool is_host(std::string_view host) {
  in6_addr address;
  if (host.find(':') != std::string_view::npos)
    return ::inet_pton(AF_INET6, std::string(host).c_str(), &address) == 1;
  return !host.empty() &&
         std::all_of(host.begin(), host.end(), [](char c) { return is_alnum(c) || is_one_of(c, "-._~"); });
}

// What Go prints with %q, so that an event has no line break of a stranger.
std::string go_quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (is_control(c))
      out += c == '\n'   ? "\\n"
             : c == '\r' ? "\\r"
             : c == '\t' ? "\\t"
                         : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else out += c;
  }
  return out + "\"";
}
base::Error bad_url(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "make request", {}, std::move(reason));
}

// "x-CUSTOM" is "X-Custom" on the wire, as Go writes it.
std::string canonical(std::string name) {
  bool start = true;
  for (char& c : name) {
    if (start && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    else if (!start && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    start = c == '-';
  }
  return name;
}
bool is_token(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(),
                                      [](char c) { return is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~"); });
}
std::string trimmed_value(std::string_view text) {
  while (!text.empty() && is_one_of(text.front(), " \t")) text.remove_prefix(1);
  while (!text.empty() && is_one_of(text.back(), " \t")) text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

std::string ProbeUrl::host_header() const {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}
std::string ProbeUrl::text() const { return (tls ? "https://" : "http://") + host_header() + target; }

base::Result<ProbeUrl> probe_url(bool tls, const std::string& host, int port, std::string_view path) {
  if (!is_host(host)) return bad_url("invalid host " + go_quoted(host));
  ProbeUrl out{.tls = tls, .host = host, .port = port, .target = "/", .absolute = false};
  const std::string_view before_query = path.substr(0, path.find_first_of("?#"));
  const size_t scheme = scheme_length(path);
  const std::string_view first_segment = path.substr(0, path.find('/'));
  if (std::any_of(path.begin(), path.end(), is_control) || has_bad_escape(before_query) ||
      (scheme == 0 && first_segment.find(':') != std::string_view::npos)) {
    // No URL: a path, question marks and all.
    out.target = rooted(escaped(path, "", false));
    return out;
  }
  if (scheme != 0) path.remove_prefix(scheme + 1);
  if (path.starts_with("//")) {  // it names a host, which is not asked
    path.remove_prefix(2);
    const size_t end = path.find_first_of("/?#");
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
  }
  out.target = target_of(path);
  return out;
}

base::Result<ProbeUrl> redirect_url(const ProbeUrl& from, std::string_view location) {
  auto fail = [&](const std::string& why) {
    return bad_url("failed to parse Location header " + go_quoted(location) + ": " + why);
  };
  if (std::any_of(location.begin(), location.end(), is_control))
    return fail("net/url: invalid control character in URL");
  if (has_bad_escape(location.substr(0, location.find_first_of("?#")))) return fail("invalid URL escape");
  ProbeUrl out = from;
  out.absolute = false;
  std::string_view rest = location;
  if (const size_t scheme = scheme_length(rest); scheme != 0) {
    std::string name(rest.substr(0, scheme));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (name != "http" && name != "https") return bad_url("unsupported protocol scheme " + go_quoted(name));
    out.tls = name == "https";
    out.absolute = true;
    rest.remove_prefix(scheme + 1);
    if (!rest.starts_with("//")) return bad_url("http: no Host in request URL");
  }
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    const size_t end = std::min(rest.find_first_of("/?#"), rest.size());
    out.port = out.tls ? 443 : 80;
    if (!split_authority(rest.substr(0, end), &out.host, &out.port) || !is_host(out.host))
      return fail("invalid host");
    out.target = target_of(rest.substr(end));
    return out;
  }
  const std::string path = from.target.substr(0, from.target.find('?'));
  if (rest.empty() || rest[0] == '#') return out;
  if (rest[0] == '?') out.target = path + target_of(rest).substr(1);
  else if (rest[0] == '/') out.target = target_of(rest);
  else out.target = target_of(path.substr(0, path.rfind('/') + 1) + std::string(rest));
  // RFC 3986 section 5.2.4: no "." and ".." segments go out.
  const size_t question = out.target.find('?');
  const std::string query = question == std::string::npos ? "" : out.target.substr(question);
  std::string clean;
  std::string_view left = std::string_view(out.target).substr(0, question);
  while (!left.empty()) {
    left.remove_prefix(1);  // '/'
    const size_t end = std::min(left.find('/'), left.size());
    const std::string_view segment = left.substr(0, end);
    const bool last = end == left.size();
    if (segment == "..") clean.erase(std::min(clean.rfind('/'), clean.size()));
    else if (segment != ".") clean += "/" + std::string(segment);
    if (last && (segment == "." || segment == "..")) clean += '/';
    left.remove_prefix(end);
  }
  out.target = (clean.empty() ? "/" : clean) + query;
  return out;
}

base::Result<HeaderList> probe_headers(const ProbeUrl& url, const HeaderList& given,
                                       std::string_view purpose) {
  HeaderList out;
  std::string host = url.host_header();
  bool agent = false, accept = false, close = false, host_given = false;
  for (const auto& [name, value] : given) {
    if (!is_token(name)) return bad_url("net/http: invalid header field name " + go_quoted(name));
    const std::string key = canonical(name), text = trimmed_value(value);
    if (std::any_of(text.begin(), text.end(), [](char c) { return is_control(c) && c != '\t'; }))
      return bad_url("net/http: invalid header field value for " + go_quoted(key));
    if (key == "Host") {
      if (std::exchange(host_given, true) || text.empty()) continue;
      if (!std::all_of(text.begin(), text.end(),
                       [](char c) { return is_alnum(c) || is_one_of(c, "!$%&'()*+,-.:;=@[]_~"); }))
        return bad_url("http: invalid Host header");
      host = text;
      continue;
    }
    // The client counts the body itself; there is none.
    if (key == "Content-Length" || key == "Transfer-Encoding" || key == "Trailer") continue;
    if (key == "User-Agent" && std::exchange(agent, true)) continue;
    if (key == "Accept") accept = true;
    if (key == "Connection") close = true;
    // Given and empty: these two are not sent at all.
    if (text.empty() && (key == "User-Agent" || key == "Accept")) continue;
    out.emplace_back(key, text);
  }
  out.insert(out.begin(), {"Host", host});
  if (!agent) out.emplace_back("User-Agent", "kube-" + std::string(purpose) + "/1.36");
  if (!accept) out.emplace_back("Accept", "*/*");
  if (!close) out.emplace_back("Connection", "close");
  return out;
}

}  // namespace kubelet
