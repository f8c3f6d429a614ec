#include "runtime/image/reference.h"

namespace runtime {
namespace {

constexpr size_t kMaxRepository = 255;  // distribution/reference: NameTotalLengthMax
constexpr size_t kMaxTag = 128;
constexpr std::string_view kSha256 = "sha256:";

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_alnum(char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// [a-z0-9]+ joined by ".", "_", "__" or any number of "-".
bool is_path_component(std::string_view text) {
  size_t i = 0;
  if (text.empty() || !is_lower_alnum(text.front()) || !is_lower_alnum(text.back())) return false;
  while (i < text.size()) {
    if (is_lower_alnum(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && text[end] == text[i]) ++end;
    size_t run = end - i;
    bool allowed = text[i] == '-' || (text[i] == '.' && run == 1) || (text[i] == '_' && run <= 2);
    if (!allowed || end == text.size() || !is_lower_alnum(text[end])) return false;
    i = end;
  }
  return true;
}

bool is_domain(std::string_view text) {
  std::string_view host = text;
  if (!text.empty() && text.front() == '[') {  // an IPv6 address
    size_t close = text.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    for (char c : text.substr(1, close - 1))
      if (!is_digit(c) && c != ':' && c != '.' && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F'))
        return false;
    host = "x";
    text.remove_prefix(close + 1);
    if (text.empty()) return true;
    if (text.front() != ':') return false;
    text.remove_prefix(1);
  } else {
    size_t colon = text.find(':');
    host = text.substr(0, colon);
    if (colon == std::string_view::npos) text = "0";
    else text.remove_prefix(colon + 1);
  }
  if (text.empty() || text.size() > 5) return false;
  for (char c : text)
    if (!is_digit(c)) return false;
  if (host.empty()) return false;
  for (size_t at = 0; at <= host.size();) {
    size_t dot = std::min(host.find('.', at), host.size());
    std::string_view label = host.substr(at, dot - at);
    if (label.empty() || !is_alnum(label.front()) || !is_alnum(label.back())) return false;
    for (char c : label)
      if (!is_alnum(c) && c != '-') return false;
    at = dot + 1;
  }
  return true;
}

bool is_tag(std::string_view text) {
  if (text.empty() || text.size() > kMaxTag || (!is_alnum(text[0]) && text[0] != '_')) return false;
  for (char c : text)
    if (!is_alnum(c) && c != '_' && c != '.' && c != '-') return false;
  return true;
}

base::Error bad(std::string_view name, std::string reason, std::string hint = {}) {
  return base::make_error(base::Kind::kInvalid, "parse image name",
                          "'" + std::string(name.substr(0, 300)) + "'", std::move(reason), std::move(hint));
}

}  // namespace

bool is_digest(std::string_view text) {
  if (!text.starts_with(kSha256) || text.size() != kSha256.size() + 64) return false;
  for (char c : text.substr(kSha256.size()))
    if (!is_digit(c) && !(c >= 'a' && c <= 'f')) return false;
  return true;
}
std::string_view digest_hex(std::string_view digest) {
  SAMPAN_CHECK(is_digest(digest));
  return digest.substr(kSha256.size());
}

std::string ImageReference::text() const {
  std::string out = repository();
  if (!tag.empty()) out += ":" + tag;
  if (!digest.empty()) out += "@" + digest;
  return out;
}

base::Result<ImageReference> parse_image_reference(std::string_view name) {
  ImageReference reference;
  std::string_view rest = name;
  if (rest.empty()) return bad(name, "the name is empty");
  if (size_t at = rest.find('@'); at != std::string_view::npos) {
    std::string_view digest = rest.substr(at + 1);
    if (!is_digest(digest))
      return bad(name, "'" + std::string(digest.substr(0, 100)) + "' is no sha256 digest",
                 "write name@sha256:<64 hex digits>");
    reference.digest = digest;
    rest = rest.substr(0, at);
  }
  // A tag is what follows the last colon, unless a '/' comes after it (then it is a port).
  size_t colon = rest.rfind(':');
  if (colon != std::string_view::npos && rest.find('/', colon) == std::string_view::npos) {
    std::string_view tag = rest.substr(colon + 1);
    if (!is_tag(tag))
      return bad(name, "'" + std::string(tag.substr(0, 150)) + "' is no tag",
                 "a tag has letters, digits, '_', '.' and '-', at most 128");
    reference.tag = tag;
    rest = rest.substr(0, colon);
  }
  // The first component is a registry when it could not be part of a path.
  size_t slash = rest.find('/');
  std::string_view first = rest.substr(0, slash);
  bool has_upper = false;
  for (char c : first) has_upper |= c >= 'A' && c <= 'Z';
  if (slash != std::string_view::npos &&
      (first.find_first_of(".:[") != std::string_view::npos || first == "localhost" || has_upper)) {
    if (!is_domain(first)) return bad(name, "'" + std::string(first) + "' is no registry address");
    reference.domain = first;
    rest = rest.substr(slash + 1);
  } else {
    reference.domain = "docker.io";
  }
  if (reference.domain == "index.docker.io") reference.domain = "docker.io";
  if (rest.size() == 64 && rest.find_first_not_of("0123456789abcdef") == std::string_view::npos)
    return bad(name, "64 hex digits are an image id, not a name");
  for (size_t at = 0; at <= rest.size();) {
    size_t end = std::min(rest.find('/', at), rest.size());
    if (!is_path_component(rest.substr(at, end - at)))
      return bad(name, "'" + std::string(rest.substr(at, end - at)) + "' is no name component",
                 "use lower-case letters and digits, separated by '.', '_', '__' or '-'");
    at = end + 1;
  }
  reference.path = rest;
  if (reference.domain == "docker.io" && rest.find('/') == std::string_view::npos)
    reference.path.insert(0, "library/");
  if (reference.repository().size() > kMaxRepository) return bad(name, "longer than 255 characters");
  if (reference.tag.empty() && reference.digest.empty()) reference.tag = "latest";
  return reference;
}

}  // namespace runtime
