#include "master/controllers/secrets.h"

namespace master::controllers {
using base::string_at;

Store<Secret>::Reader Secret::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const Secret> {
    auto secret = std::make_shared<Secret>();
    secret->meta = read_meta(object);
    secret->is_token = string_at(object, "type") == "kubernetes.io/service-account-token";
    if (!secret->is_token) return secret;
    secret->account = string_at(object, "metadata", "annotations", "kubernetes.io/service-account.name");
    secret->account_uid = string_at(object, "metadata", "annotations", "kubernetes.io/service-account.uid");
    secret->has_token = !string_at(object, "data", "token").empty();
    secret->has_ca = !string_at(object, "data", "ca.crt").empty();
    secret->has_namespace = !string_at(object, "data", "namespace").empty();
    return secret;
  };
}
std::vector<std::string> Secret::terms(const Secret& secret) {
  if (!secret.is_token) return {};
  return {key_of(secret.meta.ns, secret.account)};
}

}  // namespace master::controllers
