#include "master/controllers/disruption_controller.h"

#include <algorithm>

#include "base/log.h"

namespace master::controllers {
using base::find_path;

namespace {
const api::Resource kBudgets{"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"};
constexpr const char* kComponent = "controllermanager";
// Pods become ready in dozens: one write for all of them, and still at once for people.
constexpr base::Duration kGatherPods = std::chrono::milliseconds(20);
}  // namespace

struct DisruptionController::Round {
  std::string key;
  BudgetView view;
  Reconciler::Finish finish;
  ObjectRef ref() const {
    const Meta& meta = view.budget->meta;
    return {"policy/v1", "PodDisruptionBudget", meta.ns, meta.name, meta.uid};
  }
};

DisruptionController::DisruptionController(Hub& hub)
    : hub_(hub), account_(hub.account("disruption-controller")),
      budgets_(hub.follow<DisruptionBudget>(kBudgets)), pods_(hub.follow<Pod>(api::resources::pods)),
      replication_controllers_(hub.follow<ReplicaOwner>(api::resources::replication_controllers)),
      replica_sets_(hub.follow<ReplicaOwner>(api::resources::replica_sets)),
      deployments_(hub.follow<Deployment>(api::resources::deployments)),
      reconciler_(
          hub, {&budgets_, &pods_, &replication_controllers_, &replica_sets_, &deployments_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }),
      status_(hub, account_, kBudgets, budgets_, reconciler_) {
  budgets_.on_change([this](const auto& before, const auto& after) {
    const std::string key = (after ? after : before)->meta.key();
    if (!after) reconciler_.gate.forget(key);
    reconciler_.add(key);
  });
  pods_.on_change([this](const auto& before, const auto& after) {
    if (before && after && before->shape == after->shape && before->ready == after->ready &&
        before->meta.deleting == after->meta.deleting && before->owner_uid == after->owner_uid)
      return;
    for (const auto& pod : {before, after})
      if (pod) wake(pod->meta.ns, pod->shape->labels);
  });
  // How many there should be hangs on the size of the Pods' owners: of all budgets of the namespace.
  auto sized = [this](const auto& before, const auto& after) {
    if (before && after && before->replicas == after->replicas) return;
    for (const auto& budget : budgets_.in_namespace((after ? after : before)->meta.ns))
      if (needs_sizes(*budget)) reconciler_.add_after(budget->meta.key(), kGatherPods);
  };
  replication_controllers_.on_change(sized);
  replica_sets_.on_change(sized);
  deployments_.on_change(sized);
}

void DisruptionController::wake(const std::string& ns, const Labels& labels) {
  for (const auto& budget : budgets_.in_namespace(ns)) {
    if (!budget->selector.matches(labels)) continue;
    if (reconciler_.ready()) reconciler_.add_after(budget->meta.key(), kGatherPods);
    else reconciler_.add(budget->meta.key());
  }
}

void DisruptionController::sync(const std::string& key, Reconciler::Finish finish) {
  auto budget = budgets_.get(key);
  if (!budget || budget->meta.deleting) return finish(Reconciler::Outcome::kDone);
  auto round = std::make_shared<Round>(Round{key, {budget, {}, {}}, std::move(finish)});
  for (const auto& pod : pods_.in_namespace(budget->meta.ns))
    if (budget->selector.matches(pod->shape->labels)) round->view.pods.push_back(pod);
  observe_sizes(std::move(round));
}

// The size of who controls the Pods: of a Deployment in place of its ReplicaSets, and of any other kind what
// its scale says.
void DisruptionController::observe_sizes(std::shared_ptr<Round> round) {
  std::vector<Step> steps;
  std::set<std::string> seen;
  if (needs_sizes(*round->view.budget))
    for (const auto& pod : round->view.pods) {
      if (pod->owner_uid.empty() || !seen.insert(pod->owner_uid).second) continue;
      const std::string key = key_of(pod->meta.ns, pod->owner_name);
      const bool set = pod->owner_kind == "ReplicaSet";
      if (!set && pod->owner_kind != "ReplicationController") {
        steps.push_back(ask_size(round, pod));
        continue;
      }
      auto owner = set ? replica_sets_.get(key) : replication_controllers_.get(key);
      if (!owner || owner->meta.uid != pod->owner_uid) continue;
      auto deployment = deployments_.get(key_of(pod->meta.ns, owner->controller.name));
      if (owner->controller.kind != "Deployment" || !deployment ||
          deployment->meta.uid != owner->controller.uid)
        round->view.sizes[pod->owner_uid] = owner->replicas;
      else  // once, however many ReplicaSets it has
        round->view.sizes[pod->owner_uid] =
            seen.insert(deployment->meta.uid).second ? deployment->replicas : 0;
    }
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) {
      base::log::warning("PodDisruptionBudget {}: {}", round->key, status.error().message());
      return round->finish(Reconciler::Outcome::kRetry);
    }
    publish(round);
  });
}

Step DisruptionController::ask_size(std::shared_ptr<Round> round, std::shared_ptr<const Pod> pod) {
  return [this, round, pod](auto done) {
    std::string_view version = pod->shape->owner_api_version;
    const size_t slash = version.find('/');
    const api::Resource* known =
        hub_.find(slash == version.npos ? std::string_view() : version.substr(0, slash), pod->owner_kind);
    if (!known) return done({});  // found no controllers, says the plan
    account_.client.call("GET", known->path(pod->meta.ns, pod->owner_name, "scale"), "", "",
                         [round, pod, done](base::Result<json::value> scale) {
                           if (!scale.ok()) {
                             const bool none = scale.error().kind == base::Kind::kNotFound;
                             return done(none ? base::Status() : base::Status(scale.error()));
                           }
                           round->view.sizes[pod->owner_uid] =
                               base::as_int(find_path(*scale, "spec", "replicas"));
                           done({});
                         });
  };
}

void DisruptionController::publish(std::shared_ptr<Round> round) {
  const DisruptionBudget& budget = *round->view.budget;
  BudgetPlan plan = plan_budget(round->view, hub_.now());
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("PodDisruptionBudget {}: {}", round->key, plan.text());
  if (plan.again) reconciler_.add_after(round->key, *plan.again + std::chrono::milliseconds(10));
  if (plan.changed && round->view.pods.empty())
    account_.events.record(round->ref(), "Normal", "NoPods", "No matching pods found", kComponent);
  if (plan.unmanaged)
    account_.events.record(round->ref(), "Warning", "UnmanagedPods",
                           fmt::format("Pods selected by this PodDisruptionBudget (selector: {}) were found "
                                       "to be unmanaged. As a result, the status of the PDB "
                                       "cannot be calculated correctly, which may result in undefined "
                                       "behavior. To account for these pods please set "
                                       "\".spec.minAvailable\" field of the PDB to an integer value.",
                                       budget.selector.text()),
                           kComponent);
  if (!plan.failure.empty())
    account_.events.record(round->ref(), "Warning", "CalculateExpectedPodCountFailed",
                           fmt::format("Failed to calculate the number of expected pods: {}", plan.failure),
                           kComponent);
  for (const auto& pod : round->view.pods)
    if (std::find(plan.not_deleted.begin(), plan.not_deleted.end(), pod->meta.name) != plan.not_deleted.end())
      account_.events.record(
          {"v1", "Pod", pod->meta.ns, pod->meta.name, pod->meta.uid}, "Warning", "NotDeleted",
          fmt::format("Pod was expected by PDB {} to be deleted but it wasn't", round->key), kComponent);
  if (!plan.changed) return round->finish(Reconciler::Outcome::kDone);
  json::object& granted = base::object_at(plan.status, "disruptedPods");
  if (const json::value* had = base::find(budget.status, "disruptedPods"); had && had->is_object())
    for (const auto& item : had->get_object())
      if (!granted.contains(item.key())) granted[item.key()] = nullptr;  // a merge patch takes it away
  if (granted.empty()) plan.status.erase("disruptedPods");
  // Bound to the revision that was judged: an eviction may have been granted meanwhile.
  status_.write(
      budget.meta, std::move(plan.status),
      [round](base::Status written) {
        if (is_gone(written)) return round->finish(Reconciler::Outcome::kDone);
        Reconciler::end("PodDisruptionBudget", round->key, written, round->finish);
      },
      StatusWriter::Bound::kRevision);
}

}  // namespace master::controllers
