#include "master/controllers/role_aggregation_controller.h"

namespace master::controllers {

namespace {
// By this name tools know whose the rules are.
constexpr const char* kApplied = "?fieldManager=clusterrole-aggregation-controller&force=true";
}  // namespace

RoleAggregationController::RoleAggregationController(Hub& hub)
    : hub_(hub), account_(hub.account("clusterrole-aggregation-controller")),
      roles_(hub.follow<ClusterRole>(kClusterRoles)),
      reconciler_(hub, {&roles_}, [this](const std::string& name, Reconciler::Finish finish) {
        sync(name, std::move(finish));
      }) {
  roles_.on_change([this](const auto& before, const auto& after) {
    const ClusterRole& role = after ? *after : *before;
    if (after && after->aggregated) aggregated_.insert(role.meta.name);
    else aggregated_.erase(role.meta.name);
    if (!after) reconciler_.gate.forget(role.meta.name);
    if (before && after && !after->aggregated && before->labels == after->labels &&
        before->rules == after->rules)
      return;
    for (const std::string& name : aggregated_) reconciler_.add(name);
  });
}

void RoleAggregationController::sync(const std::string& name, Reconciler::Finish finish) {
  auto role = roles_.get(name);
  if (!role) return finish(Reconciler::Outcome::kDone);
  const RoleAggregationPlan plan = plan_aggregation(*role, roles_.all());
  if (!plan.rules) return finish(Reconciler::Outcome::kDone);
  account_.client.call("PATCH", kClusterRoles.path("", name) + kApplied, "application/apply-patch+yaml",
                       base::to_json(applied_role(*role, *plan.rules)),
                       [this, name, finish](base::Result<json::value> applied) {
                         if (applied.ok())
                           reconciler_.gate.wrote(name, roles_, revision_of(*applied), hub_.now());
                         const bool fine = applied.ok() || applied.error().kind == base::Kind::kNotFound;
                         Reconciler::end("ClusterRole", name,
                                         fine ? base::Status() : base::Status(applied.error()), finish);
                       });
}

}  // namespace master::controllers
