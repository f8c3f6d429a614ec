// Names, escapes and status texts of HTTP messages, and the copy between two streams. No I/O.
#include "base/http/http.h"

#include <strings.h>

namespace base::http {
namespace {
bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}
int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
// A broken escape stays as it is when `strict` is off.
bool decode(std::string_view text, bool plus_is_space, bool strict, std::string* out) {
  out->reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
        out->push_back(static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2])));
        i += 2;
        continue;
      }
      if (strict) return false;
    }
    out->push_back(text[i] == '+' && plus_is_space ? ' ' : text[i]);
  }
  return true;
}
}  // namespace

void append_safe(std::string& out, std::string_view text) {
  for (char c : text) out.push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
}
bool starts_with_nocase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && same(text.substr(0, prefix.size()), prefix);
}

// Not inline: GCC 12 sees overflows in string literals moved through here that are none.
void Headers::add(std::string name, std::string value) {
  list.emplace_back(std::move(name), std::move(value));
}
void Headers::set(std::string_view name, std::string value) {
  bool placed = false;
  std::erase_if(list, [&](auto& entry) {
    if (!same(entry.first, name)) return false;
    if (placed) return true;
    entry.second = std::move(value);
    placed = true;
    return false;
  });
  if (!placed) list.emplace_back(std::string(name), std::move(value));
}
std::string_view Headers::get(std::string_view name) const {
  for (const auto& [key, value] : list)
    if (same(key, name)) return value;
  return {};
}
bool Headers::has_token(std::string_view name, std::string_view token) const {
  for (const auto& [key, value] : list) {
    if (!same(key, name)) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      size_t comma = rest.find(',');
      std::string_view item = rest.substr(0, comma);
      rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
      while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
      while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
      if (same(item, token)) return true;
    }
  }
  return false;
}

std::string_view Request::path() const { return std::string_view(target).substr(0, target.find('?')); }
std::string_view Request::query() const {
  size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view{} : std::string_view(target).substr(mark + 1);
}

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty()) {
    size_t end = query.find('&');
    std::string_view item = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
    if (item.empty()) continue;
    size_t equals = item.find('=');
    auto& [key, value] = pairs.emplace_back();
    decode(item.substr(0, equals), true, false, &key);
    if (equals != std::string_view::npos) decode(item.substr(equals + 1), true, false, &value);
  }
  return pairs;
}
std::string escape(std::string_view text) {
  static const char digits[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned char c : text) {
    // The unreserved characters of RFC 3986.
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
        c == '_' || c == '~') {
      out.push_back(static_cast<char>(c));
    } else {
      out += {'%', digits[c >> 4], digits[c & 15]};
    }
  }
  return out;
}
Result<std::string> unescape(std::string_view text) {
  std::string out;
  if (!decode(text, false, true, &out))
    return make_error(Kind::kInvalid, "decode URL", std::string(text), "bad % escape");
  return out;
}

std::string_view status_text(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Request Entity Too Large";
    case 415: return "Unsupported Media Type";
    case 416: return "Requested Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Entity";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return status < 400 ? "OK" : "Error";
  }
}

namespace {
constexpr size_t kSpliceHigh = 256 << 10;  // queued bytes at which the other side is not read

struct Splice {
  std::unique_ptr<ByteStream> end[2];
};
void join(const std::shared_ptr<Splice>& both, int from) {
  int to = 1 - from;
  both->end[from]->on_data(
      [both, from, to](std::string_view data) {
        if (!both->end[to]) return;
        both->end[to]->write(std::string(data));
        if (both->end[to]->queued_bytes() > kSpliceHigh) both->end[from]->pause(true);
      },
      [both, from, to](Status) {
        // What was read is still written; finish() outlives the stream.
        if (both->end[to]) both->end[to]->finish();
        auto a = std::move(both->end[from]);
        auto b = std::move(both->end[to]);
      });
  if (!both->end[to]) return;
  both->end[to]->on_drain([both, from] {
    if (both->end[from]) both->end[from]->pause(false);
  });
}
}  // namespace

void splice(std::unique_ptr<ByteStream> a, std::unique_ptr<ByteStream> b) {
  auto both = std::make_shared<Splice>();
  both->end[0] = std::move(a);
  both->end[1] = std::move(b);
  join(both, 0);
  if (both->end[1]) join(both, 1);
}

}  // namespace base::http
