#include "master/auth/rbac_controller.h"

#include "base/log.h"
#include "master/auth/rbac_defaults.h"

namespace master {

namespace json = base::json;
using base::string_at;

namespace {

api::Resource resource_of(const json::value& object) {
  std::string kind(string_at(object, "kind")), plural = kind + "s";
  for (char& c : plural) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return {std::string(kRbacGroup), "v1", plural, kind, !kind.starts_with("Cluster")};
}
User aggregation_account() {
  return {"system:serviceaccount:kube-system:clusterrole-aggregation-controller",
          {"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}};
}

}  // namespace

RbacController::RbacController(Registry& registry)
    : registry_(registry),
      defaults_(registry.transport({"system:apiserver", {"system:masters"}}), "kube-apiserver"),
      aggregation_(registry.transport(aggregation_account()), "kube-apiserver"),
      cluster_roles_(registry.cache(kRbacGroup, "clusterroles")) {}
RbacController::~RbacController() {
  if (listener_) cluster_roles_.unsubscribe(listener_);
}

// Aggregation begins when the controller's own right to it is there.
void RbacController::start(std::function<void()> done) {
  done_ = std::move(done);
  pending_ = 1;
  for (const json::value& wanted : default_rbac_objects()) ensure(wanted);
  finished(nullptr, {});
}

void RbacController::ensure(const json::value& wanted) {
  api::Resource resource = resource_of(wanted);
  std::string ns(string_at(wanted, "metadata", "namespace")), name(string_at(wanted, "metadata", "name"));
  auto written = [this, wanted](base::Result<json::value> result) {
    finished(wanted, result.ok() ? base::Status() : base::Status(result.error()));
  };
  ObjectRef current = registry_.cache(kRbacGroup, resource.plural).find(object_key(ns, name));
  if (!current) {
    ++pending_;
    return defaults_.create(resource, ns, wanted, written);
  }
  json::value stored = parse_object(*current->text);
  if (!reconcile_default(wanted, stored)) return;
  ++pending_;
  defaults_.update(resource, ns, name, std::move(stored), written);
}

void RbacController::finished(const json::value& wanted, const base::Status& status) {
  if (!status.ok())
    base::log::error("default {} {}: {}", string_at(wanted, "kind"), string_at(wanted, "metadata", "name"),
                     status.error().message());
  if (--pending_ > 0 || !done_) return;
  listener_ = cluster_roles_.subscribe([this](const WatchEvent&) {
    if (std::exchange(aggregation_due_, true)) return;
    registry_.loop().post([this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) aggregate();
    });
  });
  aggregate();
  std::exchange(done_, nullptr)();
}

void RbacController::aggregate() {
  aggregation_due_ = false;
  std::vector<json::value> roles;
  for (const auto& [key, object] : cluster_roles_.objects()) roles.push_back(parse_object(*object->text));
  for (const json::value& role : roles) {
    const json::value* rule = base::find(role, "aggregationRule");
    if (!rule || !rule->is_object()) continue;
    std::vector<PolicyRule> rules = aggregated_rules(role, roles);
    if (rules == read_rules(base::find(role, "rules"))) continue;
    // Applied, so that the rules alone are the controller's; tools know the conflict with its name. The uid
    // keeps a role that is gone from being made again.
    std::string name(string_at(role, "metadata", "name"));
    json::value applied =
        json::object{{"apiVersion", std::string(kRbacGroup) + "/v1"},
                     {"kind", "ClusterRole"},
                     {"metadata", json::object{{"name", name}, {"uid", string_at(role, "metadata", "uid")}}},
                     {"rules", to_json(rules)}};
    aggregation_.call(
        "PATCH",
        resource_of(role).path("", name) + "?fieldManager=clusterrole-aggregation-controller&force=true",
        "application/apply-patch+yaml", base::to_json(applied), [name](base::Result<json::value> result) {
          if (!result.ok() && result.error().kind != base::Kind::kConflict)
            base::log::warning("aggregate ClusterRole {}: {}", name, result.error().message());
        });
  }
}

}  // namespace master
