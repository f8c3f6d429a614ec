#include "kubelet/node/access.h"

#include <openssl/sha.h>

#include <algorithm>

#include "base/json_lists.h"
#include "base/log.h"

namespace kubelet {

namespace http = base::http;
namespace json = base::json;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

// KubeletConfiguration's defaults: authentication.webhook.cacheTTL, authorization.webhook.cache*TTL.
constexpr auto kLoginTime = minutes(2), kAllowedTime = minutes(5);
constexpr auto kRefusedTime = seconds(30);
constexpr size_t kMaxKept = 4096, kMaxAsking = 64, kMaxTokenBytes = 16 << 10, kMaxWaiting = 256;

bool is_below(std::string_view path, std::string_view root) {
  return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

std::string digest(std::string_view text) {
  unsigned char bytes[SHA256_DIGEST_LENGTH];
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), bytes);
  return {reinterpret_cast<const char*>(bytes), sizeof bytes};
}

// The old ones first; all of them when that frees nothing: strangers may fill it.
template <typename Map>
void make_room(Map& kept) {
  if (kept.size() < kMaxKept) return;
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(kept, [&](const auto& one) { return one.second.until <= now; });
  if (kept.size() >= kMaxKept) kept.clear();
}

const api::Resource kTokenReviews{"authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false};
const api::Resource kAccessReviews{"authorization.k8s.io", "v1", "subjectaccessreviews",
                                   "SubjectAccessReview", false};

void refuse(const std::shared_ptr<http::Exchange>& exchange, int status, std::string text) {
  http::Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  exchange->respond(status, std::move(headers), std::move(text));
}

}  // namespace

std::string_view access_verb(std::string_view method) {
  static constexpr std::pair<std::string_view, std::string_view> kVerbs[] = {
      {"POST", "create"}, {"GET", "get"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
  for (const auto& [name, verb] : kVerbs)
    if (name == method) return verb;
  return "";
}

std::vector<std::string_view> access_parts(std::string_view path) {
  static constexpr std::pair<std::string_view, std::string_view> kOwn[] = {
      {"/stats", "stats"},           {"/metrics", "metrics"}, {"/logs", "log"},   {"/spec", "spec"},
      {"/checkpoint", "checkpoint"}, {"/statusz", "statusz"}, {"/flagz", "flagz"}};
  for (const auto& [root, part] : kOwn)
    if (is_below(path, root)) return {part};
  static constexpr std::pair<std::string_view, std::string_view> kOrProxy[] = {
      {"/pods", "pods"}, {"/runningpods", "pods"}, {"/healthz", "healthz"}, {"/configz", "configz"}};
  for (const auto& [root, part] : kOrProxy)
    if (is_below(path, root)) return {part, "proxy"};
  return {"proxy"};
}

void Access::check(const std::shared_ptr<http::Exchange>& exchange, std::function<void()> allowed) {
  const http::Request& request = exchange->request();
  if (request.peer.has_certificate) {
    User user{
        .name = request.peer.common_name, .uid = "", .groups = request.peer.organizations, .extra = nullptr};
    user.groups.emplace_back("system:authenticated");
    return decide(exchange, std::move(user), 0, std::move(allowed));
  }
  std::string_view token = request.headers.get("Authorization");
  if (token.size() < 7 || strncasecmp(token.data(), "bearer ", 7) != 0)
    return refuse(exchange, 401, "Unauthorized");
  token.remove_prefix(7);
  while (token.starts_with(' ')) token.remove_prefix(1);
  if (token.empty() || token.size() > kMaxTokenBytes) return refuse(exchange, 401, "Unauthorized");
  identify(token, [this, exchange, allowed = std::move(allowed)](base::Result<Login> login) {
    if (!login.ok()) {
      if (login.error().kind == base::Kind::kExhausted)
        return refuse(exchange, 429, "Too many logins are being checked");
      base::log::warning("check a token: {}", login.error().message());
      return refuse(exchange, 401, "Unauthorized");
    }
    if (!login->known) return refuse(exchange, 401, "Unauthorized");
    decide(exchange, login->user, 0, allowed);
  });
}

void Access::identify(std::string_view token, LoginDone done) {
  std::string key = digest(token);
  const auto now = std::chrono::steady_clock::now();
  if (auto it = logins_.find(key); it != logins_.end() && it->second.until > now) return done(it->second);
  auto asking = asking_logins_.find(key);
  if (asking == asking_logins_.end() ? asking_logins_.size() >= kMaxAsking
                                     : asking->second.size() >= kMaxWaiting)
    return done(base::make_error(base::Kind::kExhausted, "check token", {}, "too many are being checked"));
  auto& waiting = asking_logins_[key];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  client_.create(kTokenReviews, "",
                 json::object{{"apiVersion", "authentication.k8s.io/v1"},
                              {"kind", "TokenReview"},
                              {"spec", json::object{{"token", token}}}},
                 [this, key, weak = std::weak_ptr(alive_)](base::Result<json::value> review) {
                   if (!weak.lock()) return;
                   auto waiting = std::move(asking_logins_[key]);
                   asking_logins_.erase(key);
                   base::Result<Login> result = Login{};
                   if (!review.ok()) {
                     result = review.error();
                   } else {
                     Login login;
                     login.until = std::chrono::steady_clock::now() + kLoginTime;
                     login.known = base::as_bool(base::find_path(*review, "status", "authenticated"));
                     if (const json::value* user = base::find_path(*review, "status", "user")) {
                       login.user.name = base::string_at(*user, "username");
                       login.user.uid = base::string_at(*user, "uid");
                       for (const auto& group : base::list_at(*user, "groups"))
                         login.user.groups.emplace_back(base::as_string(&group));
                       if (const json::value* extra = base::find(*user, "extra"); extra && extra->is_object())
                         login.user.extra = *extra;
                     }
                     login.known &= !login.user.name.empty();
                     make_room(logins_);
                     logins_[key] = login;
                     result = std::move(login);
                   }
                   for (const auto& one : waiting) one(result);
                 });
}

void Access::may(const User& user, std::string_view verb, std::string_view part, VerdictDone done) {
  // What the API server answers for everything (its own requests, and no review of them in a circle).
  if (std::find(user.groups.begin(), user.groups.end(), "system:masters") != user.groups.end())
    return done(true);
  json::array groups;
  for (const auto& group : user.groups) groups.emplace_back(group);
  json::object spec{{"user", user.name},
                    {"groups", std::move(groups)},
                    {"resourceAttributes", json::object{{"verb", verb},
                                                        {"version", "v1"},
                                                        {"resource", "nodes"},
                                                        {"subresource", part},
                                                        {"name", node_name_}}}};
  if (!user.uid.empty()) spec["uid"] = user.uid;
  if (user.extra.is_object()) spec["extra"] = user.extra;
  std::string key = digest(base::to_json(spec));
  const auto now = std::chrono::steady_clock::now();
  if (auto it = verdicts_.find(key); it != verdicts_.end() && it->second.until > now)
    return done(it->second.allowed);
  auto asking = asking_verdicts_.find(key);
  if (asking == asking_verdicts_.end() ? asking_verdicts_.size() >= kMaxAsking
                                       : asking->second.size() >= kMaxWaiting)
    return done(base::make_error(base::Kind::kExhausted, "check access", {}, "too many are being checked"));
  auto& waiting = asking_verdicts_[key];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  client_.create(kAccessReviews, "",
                 json::object{{"apiVersion", "authorization.k8s.io/v1"},
                              {"kind", "SubjectAccessReview"},
                              {"spec", std::move(spec)}},
                 [this, key, weak = std::weak_ptr(alive_)](base::Result<json::value> review) {
                   if (!weak.lock()) return;
                   auto waiting = std::move(asking_verdicts_[key]);
                   asking_verdicts_.erase(key);
                   base::Result<bool> result = false;
                   if (!review.ok()) {
                     result = review.error();
                   } else {
                     Verdict verdict;
                     verdict.allowed = base::as_bool(base::find_path(*review, "status", "allowed")) &&
                                       !base::as_bool(base::find_path(*review, "status", "denied"));
                     verdict.until =
                         std::chrono::steady_clock::now() +
                         (verdict.allowed ? base::Duration(kAllowedTime) : base::Duration(kRefusedTime));
                     make_room(verdicts_);
                     verdicts_[key] = verdict;
                     result = verdict.allowed;
                   }
                   for (const auto& one : waiting) one(result);
                 });
}

void Access::decide(std::shared_ptr<http::Exchange> exchange, User user, size_t part,
                    std::function<void()> allowed) {
  const std::string verb(access_verb(exchange->request().method));
  const auto parts = access_parts(exchange->request().path());
  std::string shown;
  for (const auto& one : parts) shown += (shown.empty() ? "" : " ") + std::string(one);
  const std::string who =
      "(user=" + user.name + ", verb=" + verb + ", resource=nodes, subresource(s)=[" + shown + "])";
  if (part == parts.size()) return refuse(exchange, 403, "Forbidden " + who);
  may(user, verb, parts[part],
      [this, exchange, user, part, allowed = std::move(allowed), who](base::Result<bool> result) {
        if (!result.ok()) {
          if (result.error().kind == base::Kind::kExhausted)
            return refuse(exchange, 429, "Too many requests are being checked");
          base::log::warning("check access {}: {}", who, result.error().message());
          return refuse(exchange, 500, "Authorization error " + who);
        }
        if (*result) return allowed();
        decide(exchange, user, part + 1, allowed);
      });
}

}  // namespace kubelet
