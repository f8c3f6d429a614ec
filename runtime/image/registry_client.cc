#include "runtime/image/registry_client.h"

#include <algorithm>

#include "base/base64.h"
#include "base/json.h"
#include "runtime/image/digest.h"
#include "runtime/image/manifest.h"
#include "runtime/image/tar.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;

std::string header(const HttpResponse& response, const std::string& name) {
  auto found = response.headers.find(name);
  return found == response.headers.end() ? std::string() : found->second;
}

std::string url_escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                 c == '_' || c == '.' || c == '~';
    if (plain) out += c;
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// "MANIFEST_UNKNOWN: manifest unknown" out of {"errors":[{"code":…,"message":…}]}.
std::string registry_error(std::string_view body) {
  auto value = base::parse_json(body);
  if (!value.ok()) return {};
  const base::json::value* errors = base::find(*value, "errors");
  if (!errors || !errors->is_array() || errors->get_array().empty()) return {};
  const base::json::value& first = errors->get_array()[0];
  std::string code = printable(base::string_at(first, "code")),
              message = printable(base::string_at(first, "message"));
  return code + (code.empty() || message.empty() ? "" : ": ") + message;
}

constexpr int kMaxRetryAfterSeconds = 60;

}  // namespace

void RegistryClient::wait_until_asked_again(std::chrono::milliseconds pause) {
  // There is no event to wait for.
  auto wait = std::max<std::chrono::milliseconds>(pause, std::chrono::seconds(retry_after_s_.exchange(0)));
  timespec time{wait.count() / 1000, wait.count() % 1000 * 1'000'000};
  ::nanosleep(&time, nullptr);
}

RegistryClient::RegistryClient(const Registries& registries, Registries::Endpoint endpoint, std::string path)
    : registries_(registries), endpoint_(std::move(endpoint)), path_(std::move(path)) {}

base::Error RegistryClient::refusal(const HttpResponse& response, const std::string& what) const {
  std::string reason = "HTTP " + std::to_string(response.status);
  if (std::string text = registry_error(response.body); !text.empty()) reason += ", " + text;
  auto error = [&](Kind kind, std::string hint) {
    return make_error(kind, "fetch " + what + " from", endpoint_.host, reason, std::move(hint));
  };
  bool has_credentials = !endpoint_.settings.username.empty();
  switch (response.status) {
    case 401:
    case 403:
      return error(Kind::kDenied, has_credentials
                                      ? "check that this login may pull it, and its password"
                                      : "it is private or does not exist: give username and password in the "
                                        "registries file or an image pull secret");
    case 404: return error(Kind::kNotFound, "check the name and the tag");
    case 416: return error(Kind::kInvalid, "");
    case 429: return error(Kind::kUnavailable, "the registry limits the rate: try again later or log in");
    default:
      if (response.status >= 500)
        return error(Kind::kUnavailable, "the registry has a problem: try again later");
      return error(Kind::kInternal, "");
  }
}

base::Result<std::string> RegistryClient::fetch_token(HttpClient& http, const Challenge& challenge) {
  auto parameter = [&](const char* name) {
    auto found = challenge.parameters.find(name);
    return found == challenge.parameters.end() ? std::string() : found->second;
  };
  std::string realm = parameter("realm");
  bool secure = realm.starts_with("https://");
  if (!secure && !(realm.starts_with("http://") && endpoint_.settings.plain_http))
    return make_error(Kind::kDenied, "ask for a token from", printable(realm),
                      "the registry speaks TLS, its token service would not",
                      "have the registry's realm corrected");
  std::string scope = parameter("scope");
  if (scope.empty()) scope = "repository:" + path_ + ":pull";
  HttpRequest request;
  request.url = realm + (realm.find('?') == std::string::npos ? "?" : "&") + "scope=" + url_escape(scope);
  if (std::string service = parameter("service"); !service.empty())
    request.url += "&service=" + url_escape(service);
  size_t host_at = realm.find("://") + 3;
  std::string host = realm.substr(host_at, realm.find_first_of("/?", host_at) - host_at);
  // The token service of a registry often is the registry: then its CA is the same.
  RegistrySettings settings = registries_.settings(host);
  if (settings.ca_file.empty()) settings.ca_file = endpoint_.settings.ca_file;
  settings.insecure |= endpoint_.settings.insecure;
  request.tls = &settings;
  request.max_body_bytes = 1u << 20;
  const RegistrySettings& login = endpoint_.settings;
  if (!login.username.empty())
    request.headers.push_back("Authorization: Basic " +
                              base::base64_encode(login.username + ":" + login.password));
  HttpResponse response = TRY(http.get(request));
  if (response.status != 200) return refusal(response, "a token for " + path_);
  auto value = TRY_WRAP(base::parse_json(response.body), "ask for a token from", printable(realm));
  std::string token(base::string_at(value, "token"));
  if (token.empty()) token = base::string_at(value, "access_token");
  if (token.empty() || token.find_first_of("\r\n") != std::string::npos)
    return make_error(Kind::kDenied, "ask for a token from", printable(realm), "the answer has none");
  return "Bearer " + token;
}

base::Result<std::string> RegistryClient::authorize(HttpClient& http, const HttpResponse& response,
                                                    const std::string& what) {
  std::vector<Challenge> challenges = parse_challenges(header(response, "www-authenticate"));
  for (const Challenge& challenge : challenges)
    if (challenge.scheme == "bearer") return fetch_token(http, challenge);
  const RegistrySettings& login = endpoint_.settings;
  for (const Challenge& challenge : challenges)
    if (challenge.scheme == "basic" && !login.username.empty())
      return "Basic " + base::base64_encode(login.username + ":" + login.password);
  return refusal(response, what);
}

base::Result<HttpResponse> RegistryClient::get(HttpClient& http, HttpRequest request,
                                               const std::string& what) {
  request.tls = &endpoint_.settings;
  const size_t plain_headers = request.headers.size();
  std::string used;
  {
    std::lock_guard hold(mutex_);
    used = authorization_;
  }
  // Twice at most: what a refused request asks for is brought once (a token may have expired).
  for (bool again = false;; again = true) {
    request.headers.resize(plain_headers);
    if (!used.empty()) request.headers.push_back("Authorization: " + used);
    HttpResponse response = TRY(http.get(request));
    busy_ = response.status == 429 || response.status == 503;
    // A date is left alone: few send one, and clocks differ.
    if (busy_)
      retry_after_s_ =
          std::clamp(std::atoi(header(response, "retry-after").c_str()), 0, kMaxRetryAfterSeconds);
    if (response.status == 200 || response.status == 206) return response;
    if (response.status != 401 || again) return refusal(response, what);
    std::string fresh = TRY(authorize(http, response, what));
    if (fresh == used) return refusal(response, what);
    used = fresh;
    std::lock_guard hold(mutex_);
    authorization_ = fresh;
  }
}

base::Result<RegistryClient::Fetched> RegistryClient::manifest(HttpClient& http,
                                                               const std::string& reference) {
  std::string what = path_ + (is_digest(reference) ? "@" : ":") + reference;
  HttpRequest request;
  request.url = endpoint_.url + "/v2/" + path_ + "/manifests/" + reference;
  request.max_body_bytes = kMaxManifestBytes;
  request.headers = {"Accept: " + std::string(media::kOciIndex) + ", " + std::string(media::kDockerList) +
                     ", " + std::string(media::kOciManifest) + ", " + std::string(media::kDockerManifest)};
  HttpResponse response = TRY(get(http, std::move(request), what));
  Fetched out{std::move(response.body), {}};
  out.digest = sha256_digest(out.text);
  std::string wanted = is_digest(reference) ? reference : header(response, "docker-content-digest");
  if (is_digest(wanted) && wanted != out.digest)
    return make_error(
        Kind::kCorrupt, "fetch " + what + " from", endpoint_.host,
        "its content is " + out.digest + (is_digest(reference) ? "" : ", the registry announced " + wanted),
        "the registry or something on the way is broken: do not use this image");
  return out;
}

base::Status RegistryClient::blob(HttpClient& http, const std::string& digest, uint64_t from_byte,
                                  const std::function<base::Status(int, std::string_view)>& sink,
                                  const std::atomic<bool>* stop) {
  HttpRequest request;
  request.url = endpoint_.url + "/v2/" + path_ + "/blobs/" + digest;
  request.from_byte = from_byte;
  request.sink = sink;
  request.stop = stop;
  TRY(get(http, std::move(request), path_ + "@" + digest));
  return {};
}

}  // namespace runtime
