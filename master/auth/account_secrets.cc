#include "master/auth/account_secrets.h"

#include "base/base64.h"
#include "base/log.h"

namespace master {

namespace json = base::json;
using base::find_path;
using base::string_at;

namespace {
constexpr std::string_view kType = "kubernetes.io/service-account-token";
constexpr const char *kName = "kubernetes.io/service-account.name",
                     *kUid = "kubernetes.io/service-account.uid";
}  // namespace

AccountSecrets::AccountSecrets(Registry& registry, const ServiceAccountTokens& tokens, std::string ca_pem)
    : tokens_(tokens), ca_pem_(std::move(ca_pem)),
      client_(registry.transport({"system:kube-controller-manager", {"system:authenticated"}}),
              "kube-controller-manager"),
      secrets_(registry.cache("", "secrets")), accounts_(registry.cache("", "serviceaccounts")),
      queue_(registry.loop(), [this](const std::string& key) { sync(key); }) {
  for (const auto& [key, secret] : secrets_.objects()) look(*secret);
  secrets_listener_ = secrets_.subscribe([this](const WatchEvent& event) {
    if (event.type != WatchEvent::Type::kDeleted) look(*event.object);
  });
  accounts_listener_ = accounts_.subscribe([this](const WatchEvent& event) {
    if (event.type == WatchEvent::Type::kModified) return;
    auto [it, end] = secrets_.range(event.object->ns());
    for (; it != end; ++it) look(*it->second);
  });
}
AccountSecrets::~AccountSecrets() {
  secrets_.unsubscribe(secrets_listener_);
  accounts_.unsubscribe(accounts_listener_);
}

// fields[0] of a Secret is its type.
void AccountSecrets::look(const StoredObject& secret) {
  if (secret.fields[0] == kType) queue_.add(secret.key);
}

void AccountSecrets::sync(const std::string& key) {
  ObjectRef object = secrets_.find(key);
  if (!object) return;
  json::value secret = parse_object(*object->text);
  std::string ns(object->ns()), name(object->name()),
      account_name(string_at(secret, "metadata", "annotations", kName));
  if (find_path(secret, "metadata", "deletionTimestamp")) return;
  ObjectRef found = accounts_.find(object_key(ns, account_name));
  std::string uid(found ? string_at(parse_object(*found->text), "metadata", "uid") : std::string_view());
  std::string bound(string_at(secret, "metadata", "annotations", kUid));
  auto done = [this, key, name](base::Result<json::value> result) {
    if (result.ok() || result.error().kind == base::Kind::kNotFound) return queue_.succeeded(key);
    if (result.error().kind != base::Kind::kConflict)
      base::log::warning("token Secret {}: {}", key, result.error().message());
    queue_.failed(key);
  };
  if (!found || (!bound.empty() && bound != uid)) {
    // A new Secret may come before its account; what had a token loses its ground with the account.
    if (bound.empty()) return;
    json::object same{{"preconditions", json::object{{"uid", string_at(secret, "metadata", "uid")}}}};
    return client_.remove(api::resources::secrets, ns, name, std::move(same), done);
  }
  bool complete = !bound.empty();
  for (const char* part : {"token", "ca.crt", "namespace"})
    complete &= !string_at(secret, "data", part).empty();
  if (complete) return;
  json::object& root = secret.get_object();
  base::object_at(root, "metadata", "annotations")[kUid] = uid;
  json::object& data = base::object_at(root, "data");
  if (string_at(secret, "data", "token").empty()) {
    auto token = tokens_.issue_for_secret(ns, {account_name, uid}, name);
    if (!token.ok()) return base::log::error("token Secret {}: {}", key, token.error().message());
    data["token"] = base::base64_encode(*token);
  }
  data["ca.crt"] = base::base64_encode(ca_pem_);
  data["namespace"] = base::base64_encode(ns);
  client_.update(api::resources::secrets, ns, name, std::move(secret), done);
}

}  // namespace master
