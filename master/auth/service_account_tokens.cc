#include "master/auth/service_account_tokens.h"

#include <algorithm>

#include "base/base64.h"
#include "base/sys.h"
#include "base/uuid.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;
using base::find;
using base::find_path;
using base::Result;
using base::string_at;

namespace {

constexpr size_t kMaxChecked = 4096;
constexpr std::string_view kLegacyIssuer = "kubernetes/serviceaccount", kClaims = "kubernetes.io";
// An object may be deleted while its Pod still stops: that long its token is good.
constexpr auto kAfterDeletion = std::chrono::seconds(60);

int64_t unix_seconds(base::Time time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

base::Error denied_token(std::string why) {
  return base::make_error(base::Kind::kDenied, "check service account token", "", std::move(why));
}

json::object reference_to(const TokenClaims::Named& object) {
  return {{"name", object.name}, {"uid", object.uid}};
}

User account_user(const std::string& ns, const std::string& name, const std::string& uid) {
  return {"system:serviceaccount:" + ns + ":" + name,
          {"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"},
          uid};
}

}  // namespace

Result<std::vector<jws::Key>> load_or_make_account_keys(const std::string& dir, std::string_view algorithm) {
  std::string signs = dir + "/sa.key";
  auto read = [](const std::string& path) -> Result<jws::Key> {
    return TRY_WRAP(jws::Key::read(TRY(base::sys::read_file(path))), "read the service accounts' key", path);
  };
  bool makes = !base::sys::exists(signs);
  if (!makes) {
    jws::Key key = TRY(read(signs));
    makes = key.algorithm() != algorithm;
    // Kept before it is replaced, so that no moment's end takes the tokens along that it signed.
    if (makes)
      TRY(base::sys::write_file_atomic(dir + (algorithm == "RS256" ? "/sa-es256.key" : "/sa-rs256.key"),
                                       TRY(base::sys::read_file(signs)), 0600));
  }
  if (makes) TRY(base::sys::write_file_atomic(signs, TRY(jws::Key::make(algorithm)), 0600));
  std::vector<jws::Key> keys;
  for (const char* name : {"sa.key", "sa-old.key", "sa-es256.key", "sa-rs256.key"}) {
    std::string path = dir + "/" + name;
    if (!base::sys::exists(path)) continue;
    jws::Key key = TRY(read(path));
    bool known =
        std::any_of(keys.begin(), keys.end(), [&](const jws::Key& one) { return one.id() == key.id(); });
    if (!known) keys.push_back(std::move(key));
  }
  return keys;
}

namespace {
TokenKeys with_audiences(TokenKeys keys) {
  if (keys.audiences.empty()) keys.audiences = {keys.issuer};
  return keys;
}
}  // namespace

ServiceAccountTokens::ServiceAccountTokens(TokenKeys keys, const ObjectCache& accounts,
                                           const ObjectCache& pods, const ObjectCache& secrets,
                                           const ObjectCache& nodes, std::function<base::Time()> now)
    : keys_(with_audiences(std::move(keys))), accounts_(accounts), pods_(pods), secrets_(secrets),
      nodes_(nodes), now_(std::move(now)) {}

Result<std::string> ServiceAccountTokens::issue(const TokenClaims& claims) const {
  if (keys_.keys.empty()) return denied_token("this server has no key for tokens");
  int64_t now = unix_seconds(now_());
  json::object own{{"namespace", claims.ns}};
  if (claims.node) own["node"] = reference_to(*claims.node);
  if (claims.pod) own["pod"] = reference_to(*claims.pod);
  if (claims.secret) own["secret"] = reference_to(*claims.secret);
  own["serviceaccount"] = reference_to(claims.account);
  if (claims.warn_after_seconds > 0) own["warnafter"] = now + claims.warn_after_seconds;
  json::object payload{{"aud", json::value_from(claims.audiences)},
                       {"exp", now + claims.seconds},
                       {"iat", now},
                       {"iss", keys_.issuer},
                       {"jti", base::new_uuid()},
                       {kClaims, std::move(own)},
                       {"nbf", now},
                       {"sub", "system:serviceaccount:" + claims.ns + ":" + claims.account.name}};
  return keys_.keys[0].sign(json::serialize(payload));
}

Result<std::string> ServiceAccountTokens::issue_for_secret(const std::string& ns,
                                                           const TokenClaims::Named& account,
                                                           const std::string& secret) const {
  if (keys_.keys.empty()) return denied_token("this server has no key for tokens");
  json::object payload{{"iss", kLegacyIssuer},
                       {"kubernetes.io/serviceaccount/namespace", ns},
                       {"kubernetes.io/serviceaccount/secret.name", secret},
                       {"kubernetes.io/serviceaccount/service-account.name", account.name},
                       {"kubernetes.io/serviceaccount/service-account.uid", account.uid},
                       {"sub", "system:serviceaccount:" + ns + ":" + account.name}};
  return keys_.keys[0].sign(json::serialize(payload));
}

Result<ServiceAccountTokens::Checked> ServiceAccountTokens::read_legacy(const std::string& token,
                                                                        const json::value& claims) const {
  auto claim = [&](std::string_view key) {
    return std::string(string_at(claims, "kubernetes.io/serviceaccount/" + std::string(key)));
  };
  std::string ns = claim("namespace"), secret = claim("secret.name"), name = claim("service-account.name"),
              uid = claim("service-account.uid");
  if (ns.empty() || secret.empty() || name.empty() || uid.empty()) return denied_token("claims are missing");
  ObjectRef object = secrets_.find(object_key(ns, secret));
  if (!object) return denied_token("its Secret is gone");
  json::value parsed = parse_object(*object->text);
  // Only the token that the Secret holds now: who takes it out of the Secret revokes it.
  if (base::base64_decode(string_at(parsed, "data", "token")) != token)
    return denied_token("its Secret holds another token");
  Checked out;
  out.identity = {account_user(ns, name, uid), keys_.audiences};
  out.bound = {{&accounts_, object_key(ns, name), uid, "service account", nullptr},
               {&secrets_, object->key, std::string(string_at(parsed, "metadata", "uid")), "secret", object}};
  return out;
}

Result<ServiceAccountTokens::Checked> ServiceAccountTokens::read(const std::string& token) const {
  json::value claims = TRY(jws::peek(token));
  std::string_view issuer = string_at(claims, "iss");
  bool former = std::find(keys_.former_issuers.begin(), keys_.former_issuers.end(), issuer) !=
                keys_.former_issuers.end();
  if (issuer != keys_.issuer && !former && issuer != kLegacyIssuer)
    return base::make_error(base::Kind::kInvalid, "check service account token", "", "another issuer's");
  TRY(jws::verify(token, keys_.keys));
  if (issuer == kLegacyIssuer) return read_legacy(token, claims);
  const json::value* own = find(claims, kClaims);
  if (!own) return denied_token("claims are missing");
  Checked out;
  std::string ns(string_at(*own, "namespace")), name(string_at(*own, "serviceaccount", "name")),
      uid(string_at(*own, "serviceaccount", "uid"));
  if (string_at(claims, "sub") != "system:serviceaccount:" + ns + ":" + name || uid.empty())
    return denied_token("claims do not fit each other");
  out.expires = base::as_int(find(claims, "exp"));
  out.not_before = base::as_int(find(claims, "nbf"));
  if (out.expires <= 0) return denied_token("it has no end");
  User& user = out.identity.user;
  user = account_user(ns, name, uid);
  user.extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + std::string(string_at(claims, "jti"))};
  if (const json::value* list = find(claims, "aud"); list && list->is_array())
    for (const json::value& item : list->get_array())
      out.identity.audiences.emplace_back(base::as_string(&item));
  out.bound.push_back({&accounts_, object_key(ns, name), uid, "service account", nullptr});
  auto bind = [&](const char* kind, const ObjectCache& cache, std::string_view in, bool must_exist) {
    std::string object_name(string_at(*own, kind, "name")), object_uid(string_at(*own, kind, "uid"));
    if (object_name.empty()) return;
    if (must_exist) out.bound.push_back({&cache, object_key(in, object_name), object_uid, kind, nullptr});
    if (cache.find(object_key(in, object_name)) == nullptr && !must_exist) return;
    std::string prefix = "authentication.kubernetes.io/" + std::string(kind);
    user.extra[prefix + "-name"] = {object_name};
    user.extra[prefix + "-uid"] = {object_uid};
  };
  bool pod = find(*own, "pod") != nullptr;
  bind("pod", pods_, ns, true);
  bind("secret", secrets_, ns, true);
  bind("node", nodes_, "", !pod);  // beside a Pod it tells where the Pod runs, no more
  user.extra.erase("authentication.kubernetes.io/secret-name");
  user.extra.erase("authentication.kubernetes.io/secret-uid");
  return out;
}

base::Status ServiceAccountTokens::still_valid(Checked& checked) const {
  base::Time now = now_();
  int64_t seconds = unix_seconds(now);
  if (checked.expires != 0 && seconds >= checked.expires) return denied_token("token has expired");
  if (seconds + 60 < checked.not_before) return denied_token("token is not valid yet");
  for (Bound& bound : checked.bound) {
    ObjectRef object = bound.cache->find(bound.key);
    if (!object) return denied_token("the " + bound.what + " it is bound to is gone");
    if (object == bound.seen) continue;
    json::value parsed = parse_object(*object->text);
    if (string_at(parsed, "metadata", "uid") != bound.uid)
      return denied_token("the " + bound.what + " it is bound to was replaced by another of the same name");
    if (auto deleted = base::parse_time(string_at(parsed, "metadata", "deletionTimestamp"))) {
      if (now > *deleted + kAfterDeletion)
        return denied_token("the " + bound.what + " it is bound to is being deleted");
      continue;  // looked at again the next time
    }
    if (bound.what == "secret" && checked.expires == 0)
      return denied_token("its Secret changed");  // read anew by check()
    bound.seen = object;
  }
  return {};
}

Result<ServiceAccountTokens::Identity> ServiceAccountTokens::check(const std::string& token) {
  if (auto it = checked_.find(token); it != checked_.end()) {
    if (auto status = still_valid(it->second); status.ok()) return it->second.identity;
    checked_.erase(it);
  }
  Checked checked = TRY(read(token));
  TRY(still_valid(checked));
  if (checked_.size() >= kMaxChecked) checked_.clear();
  return checked_.emplace(token, std::move(checked)).first->second.identity;
}

}  // namespace master
