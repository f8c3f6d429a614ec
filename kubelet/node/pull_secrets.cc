#include "kubelet/node/pull_secrets.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <openssl/sha.h>

#include <algorithm>

#include "base/base64.h"
#include "base/json.h"

namespace kubelet {

namespace json = base::json;

namespace {

constexpr std::string_view kDockerHub = "index.docker.io";

base::Error bad_secret(const SecretRef& secret, std::string where) {
  return base::make_error(base::Kind::kInvalid, "read image pull secret", secret.ns + "/" + secret.name,
                          std::move(where));
}

std::string hash_of(std::string_view username, std::string_view password) {
  const std::string text = base::to_json(json::object{{"username", username}, {"password", password}});
  unsigned char bytes[SHA256_DIGEST_LENGTH];
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), bytes);
  std::string out;
  for (unsigned char b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

struct Place {
  std::string host, port, path;
};
Place place_of(std::string_view text) {
  Place out;
  const size_t slash = std::min(text.find('/'), text.size());
  out.path = text.substr(slash);
  std::string_view authority = text.substr(0, slash);
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  const size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos) {
    out.port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
  }
  out.host = authority;
  return out;
}
// "https://index.docker.io/v1/" is "index.docker.io", "https://quay.io/v2/team" is "quay.io/team".
std::string place_key(std::string_view text) {
  for (std::string_view scheme : {"https://", "http://"})
    if (text.starts_with(scheme)) text.remove_prefix(scheme.size());
  text = text.substr(0, text.find_first_of("?#"));
  const size_t slash = std::min(text.find('/'), text.size());
  std::string_view host = text.substr(0, slash), path = text.substr(slash);
  if (path.starts_with("/v1/") || path.starts_with("/v2/")) path.remove_prefix(3);
  return std::string(host) + (path == "/" ? "" : std::string(path));
}
std::vector<std::string> parts_of(std::string_view host) {
  std::vector<std::string> out;
  for (;;) {
    const size_t dot = host.find('.');
    out.emplace_back(host.substr(0, dot));
    if (dot == std::string_view::npos) return out;
    host.remove_prefix(dot + 1);
  }
}
bool matches(std::string_view place, std::string_view repository) {
  const Place glob = place_of(place), target = place_of(repository);
  if (glob.port != target.port || !target.path.starts_with(glob.path)) return false;
  const auto want = parts_of(glob.host), have = parts_of(target.host);
  return std::equal(want.begin(), want.end(), have.begin(), have.end(), [](const auto& a, const auto& b) {
    return ::fnmatch(a.c_str(), b.c_str(), FNM_PATHNAME) == 0;
  });
}

}  // namespace

base::Status PullKeyring::add(const SecretRef& secret, const std::string& type,
                              const std::map<std::string, std::string>& data) {
  const bool config = type == "kubernetes.io/dockerconfigjson";
  if (!config && type != "kubernetes.io/dockercfg") return {};  // of another kind: it has none
  const char* key = config ? ".dockerconfigjson" : ".dockercfg";
  auto text = data.find(key);
  if (text == data.end() || text->second.empty()) return {};
  auto value = base::parse_json(text->second);
  if (!value.ok()) return bad_secret(secret, std::string(key) + " is no JSON");
  const json::value* places = config ? base::find(*value, "auths") : &*value;
  if (!places || places->is_null()) return {};
  if (!places->is_object())
    return bad_secret(secret, std::string(key) + (config ? ".auths" : "") + " is no object");
  for (const auto& [name, item] : places->get_object()) {
    if (!item.is_object()) return bad_secret(secret, std::string(key) + " has an entry that is no object");
    PullCredential credential;
    credential.username = base::string_at(item, "username");
    credential.password = base::string_at(item, "password");
    credential.secret = secret;
    if (std::string packed(base::string_at(item, "auth")); !packed.empty()) {
      while (packed.size() % 4 != 0) packed += '=';  // some write it without
      auto plain = base::base64_decode(packed);
      const size_t colon = plain ? plain->find(':') : std::string::npos;
      if (colon == std::string::npos)
        return bad_secret(secret,
                          std::string(key) +
                              ": unable to parse auth field, must be formatted as base64(username:password)");
      credential.username = plain->substr(0, colon);
      credential.password = plain->substr(colon + 1);
    }
    credential.hash = hash_of(credential.username, credential.password);
    by_place_[place_key(std::string_view(name))].push_back(std::move(credential));
  }
  return {};
}

std::vector<PullCredential> PullKeyring::find(std::string_view repository) const {
  std::vector<PullCredential> out;
  for (const auto& [place, credentials] : by_place_)
    if (matches(place, repository)) out.insert(out.end(), credentials.begin(), credentials.end());
  if (!out.empty()) return out;
  // Docker's hub goes by several names.
  const std::string_view host = repository.substr(0, repository.find('/'));
  if (auto hub = by_place_.find(std::string(kDockerHub));
      hub != by_place_.end() && (host == "docker.io" || host == kDockerHub))
    return hub->second;
  return out;
}

std::string repository_of(std::string_view image) {
  image = image.substr(0, image.find('@'));
  const size_t slash = image.rfind('/'), colon = image.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash))
    image = image.substr(0, colon);
  return std::string(image);
}

}  // namespace kubelet
