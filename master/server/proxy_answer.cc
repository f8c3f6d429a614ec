#include "master/server/proxy_answer.h"

#include <strings.h>
#include <zlib.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/result.h"

namespace master {

namespace {

constexpr size_t kMaxTag = 64 << 10;  // a longer one passes unchanged

char lower_letter(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool letter(char c) { return lower_letter(c) >= 'a' && lower_letter(c) <= 'z'; }
bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower_letter(c);
  return out;
}

// Go's path.Join: no empty, "." or ".." segments.
std::string below_prefix(std::string_view prefix, std::string_view path) {
  std::vector<std::string_view> kept;
  for (std::string_view rest : {prefix, path})
    for (size_t at = 0; at < rest.size();) {
      size_t end = std::min(rest.find('/', at), rest.size());
      std::string_view part = rest.substr(at, end - at);
      at = end + 1;
      if (part == "..") {
        if (!kept.empty()) kept.pop_back();
      } else if (!part.empty() && part != ".") {
        kept.push_back(part);
      }
    }
  std::string out;
  for (std::string_view part : kept) out.append("/").append(part);
  if (out.empty() || (path.ends_with('/') && !out.ends_with('/'))) out += '/';
  return out;
}

bool holds_link(const std::string& element, const std::string& attribute) {
  static const std::map<std::string, std::set<std::string>, std::less<>> kLinks = {
      {"a", {"href"}},
      {"applet", {"codebase"}},
      {"area", {"href"}},
      {"audio", {"src"}},
      {"base", {"href"}},
      {"blockquote", {"cite"}},
      {"body", {"background"}},
      {"button", {"formaction"}},
      {"command", {"icon"}},
      {"del", {"cite"}},
      {"embed", {"src"}},
      {"form", {"action"}},
      {"frame", {"longdesc", "src"}},
      {"head", {"profile"}},
      {"html", {"manifest"}},
      {"iframe", {"longdesc", "src"}},
      {"img", {"longdesc", "src", "usemap"}},
      {"input", {"src", "usemap", "formaction"}},
      {"ins", {"cite"}},
      {"link", {"href"}},
      {"object", {"classid", "codebase", "data", "usemap"}},
      {"q", {"cite"}},
      {"script", {"src"}},
      {"source", {"src"}},
      {"video", {"poster", "src"}}};
  auto it = kLinks.find(element);
  return it != kLinks.end() && it->second.contains(attribute);
}
bool holds_raw_text(std::string_view element) {
  for (std::string_view one :
       {"iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"})
    if (element == one) return true;
  return false;
}

// gzip or deflate in pieces. A broken stream yields nothing more.
class Inflater {
 public:
  Inflater() { SAMPAN_CHECK(inflateInit2(&z_, 15 + 32) == Z_OK); }  // 32: gzip and zlib by their heads
  ~Inflater() { inflateEnd(&z_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  std::string take(std::string_view piece) {
    std::string out;
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    z_.avail_in = static_cast<uInt>(piece.size());
    char buffer[16 << 10];
    do {
      if (over_) return out;
      z_.next_out = reinterpret_cast<Bytef*>(buffer);
      z_.avail_out = sizeof buffer;
      int result = inflate(&z_, Z_SYNC_FLUSH);
      out.append(buffer, sizeof buffer - z_.avail_out);
      if (result == Z_BUF_ERROR) return out;  // all of the piece is through
      over_ = result != Z_OK;
    } while (z_.avail_in > 0 || z_.avail_out == 0);
    return out;
  }

 private:
  z_stream z_{};
  bool over_ = false;
};

}  // namespace

std::string proxied_link(const ProxiedAt& at, std::string_view link) {
  if (std::any_of(link.begin(), link.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return std::string(link);
  std::string_view rest = link;
  // A scheme: letters, digits and "+-." before the first colon.
  size_t colon = 0;
  while (
      colon < rest.size() &&
      (letter(rest[colon]) || (colon > 0 && (rest[colon] == '+' || rest[colon] == '-' || rest[colon] == '.' ||
                                             (rest[colon] >= '0' && rest[colon] <= '9')))))
    ++colon;
  if (colon > 0 && colon < rest.size() && rest[colon] == ':') rest.remove_prefix(colon + 1);
  std::string_view host;
  if (rest.starts_with("//")) {
    host = rest.substr(2, rest.find_first_of("/?#", 2) - 2);
    rest.remove_prefix(2 + host.size());
  }
  std::string_view path = rest.substr(0, rest.find_first_of("?#")), tail = rest.substr(path.size());
  bool elsewhere = !host.empty() && host != at.backend_host && host != at.client_host;
  if (elsewhere || !path.starts_with('/')) return std::string(link);
  std::string out;
  if (!host.empty() && host == at.client_host) out = link.substr(0, link.size() - rest.size());
  out += path.starts_with(at.prefix) ? std::string(path) : below_prefix(at.prefix, path);
  return out.append(tail);
}

std::string LinkRewriter::take(std::string_view piece, bool last) {
  pending_ += piece;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    size_t done = step(rest, out, last);
    if (done == 0) break;
    rest.remove_prefix(done);
  }
  if (last) out += std::exchange(rest, {});
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

size_t LinkRewriter::step(std::string_view in, std::string& out, bool last) {
  auto pass = [&](size_t size) {
    out.append(in, 0, size);
    return size;
  };
  if (!raw_until_.empty()) {
    auto found = std::search(in.begin(), in.end(), raw_until_.begin(), raw_until_.end(),
                             [](char a, char b) { return lower_letter(a) == b; });
    if (found == in.end()) return in.size() < raw_until_.size() ? 0 : pass(in.size() - raw_until_.size() + 1);
    raw_until_.clear();
    if (found != in.begin()) return pass(static_cast<size_t>(found - in.begin()));
  }
  size_t open = in.find('<');
  if (open != 0) return pass(std::min(open, in.size()));
  if (in.size() < 2) return 0;
  if (letter(in[1])) {
    size_t done = start_tag(in, out);
    // No tag ends in what is here: all of it passes, so that nothing is looked at twice.
    return done == 0 && (last || in.size() > kMaxTag) ? pass(in.size()) : done;
  }
  if (in.size() < 4 && std::string_view("<!--").starts_with(in)) return 0;
  if (in.starts_with("<!--")) raw_until_ = "-->";
  return pass(1);
}

// The tag at the front of `in`, with its links changed.
size_t LinkRewriter::start_tag(std::string_view in, std::string& out) {
  size_t at = 1, copied = 0;
  auto until = [&](std::string_view ends) {
    size_t begin = at;
    while (at < in.size() && !blank(in[at]) && ends.find(in[at]) == ends.npos) ++at;
    return in.substr(begin, at - begin);
  };
  std::string tag, element = lowered(until("/>"));
  for (;;) {
    while (at < in.size() && (blank(in[at]) || in[at] == '/')) ++at;
    if (at >= in.size()) return 0;
    if (in[at] == '>') break;
    size_t before = at;
    std::string name = lowered(until("/>="));
    if (at == before) ++at;  // "=" where a name should stand
    while (at < in.size() && blank(in[at])) ++at;
    if (at >= in.size()) return 0;
    if (in[at] != '=') continue;
    ++at;
    while (at < in.size() && blank(in[at])) ++at;
    if (at >= in.size()) return 0;
    size_t begin = at, end;
    std::string_view value;
    if (in[at] == '"' || in[at] == '\'') {
      size_t close = in.find(in[at], at + 1);
      if (close == in.npos) return 0;
      value = in.substr(at + 1, close - at - 1);
      end = at = close + 1;
    } else {
      value = until(">");
      end = at;
    }
    if (!holds_link(element, name)) continue;
    std::string changed = proxied_link(at_, value);
    if (changed == value) continue;
    char quote = in[begin] == '\'' ? '\'' : '"';
    tag.append(in, copied, begin - copied).append(1, quote).append(changed).append(1, quote);
    copied = end;
  }
  ++at;
  tag.append(in, copied, at - copied);
  out += tag;
  if (holds_raw_text(element)) raw_until_ = "</" + element;
  return at;
}

std::function<std::string(std::string_view, bool)> change_proxied(const ProxiedAt& at,
                                                                  base::http::Response& head) {
  auto& list = head.headers.list;
  std::erase_if(list, [](const auto& header) {
    for (const char* name : {"Access-Control-Allow-Credentials", "Access-Control-Allow-Headers",
                             "Access-Control-Allow-Methods", "Access-Control-Allow-Origin"})
      if (::strcasecmp(header.first.c_str(), name) == 0) return true;
    return false;
  });
  if (std::string location(head.headers.get("Location")); !location.empty()) {
    head.headers.set("Location", proxied_link(at, location));
    return nullptr;
  }
  std::string_view type = head.headers.get("Content-Type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (type != "text/html") return nullptr;
  std::string encoding(head.headers.get("Content-Encoding"));
  auto rewriter = std::make_shared<LinkRewriter>(at);
  if (encoding.empty())
    return [rewriter](std::string_view piece, bool last) { return rewriter->take(piece, last); };
  if (encoding != "gzip" && encoding != "deflate") return nullptr;
  // It goes on plain, which every client takes.
  std::erase_if(
      list, [](const auto& header) { return ::strcasecmp(header.first.c_str(), "Content-Encoding") == 0; });
  auto inflater = std::make_shared<Inflater>();
  return [rewriter, inflater](std::string_view piece, bool last) {
    return rewriter->take(inflater->take(piece), last);
  };
}

}  // namespace master
