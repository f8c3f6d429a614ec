#include "master/controllers/replica_controller.h"

#include "base/log.h"

namespace master::controllers {
using base::find;
using base::find_path;

// One pass over one owner: the plan, and what acting on it met.
struct ReplicaController::Round {
  std::string key;
  Owner owner;
  PodOwner::Owner as_owner;
  ReplicaPlan plan;
  Reconciler::Finish finish;
  base::Status failure;
  std::string failure_reason;
};

ReplicaController::ReplicaController(Hub& hub, const api::Resource& resource)
    : hub_(hub),
      account_(hub.account(resource.group.empty() ? "replication-controller" : "replicaset-controller")),
      owners_(hub.follow<ReplicaOwner>(resource)), pods_(hub.follow<Pod>(api::resources::pods)),
      resource_(resource), reconciler_(hub, {&owners_, &pods_},
                                       [this](const std::string& key, Reconciler::Finish finish) {
                                         sync(key, std::move(finish));
                                       }),
      status_(hub, account_, resource_, owners_, reconciler_),
      pods_owner_(hub, account_, pods_, reconciler_,
                  resource.group.empty() ? "replication-controller" : "replicaset-controller") {
  owners_.on_change([this](const Owner& before, const Owner& after) {
    const Owner& owner = after ? after : before;
    reconciler_.add(owner->meta.key());
    // Its orphans may be somebody else's now.
    if (!after) reconciler_.gate.forget(owner->meta.key());
  });
  pods_.on_change([this](const auto& before, const auto& after) { pod_changed(before, after); });
}

void ReplicaController::pod_changed(const std::shared_ptr<const Pod>& before,
                                    const std::shared_ptr<const Pod>& after) {
  for (const auto& pod : {before, after}) {
    if (!pod) continue;
    if (!pod->owner_uid.empty()) {
      if (pod->owner_kind == resource_.kind) reconciler_.add(key_of(pod->meta.ns, pod->owner_name));
      continue;
    }
    for (const Owner& owner : owners_.in_namespace(pod->meta.ns))
      if (owner->selector.matches(pod->shape->labels)) reconciler_.add(owner->meta.key());
  }
}

void ReplicaController::sync(const std::string& key, Reconciler::Finish finish) {
  Owner owner = owners_.get(key);
  if (!owner) return finish(Reconciler::Outcome::kDone);
  auto pods = pods_.find(owned_by(owner->meta.uid));
  auto orphans = pods_.find(orphans_of(owner->meta.ns));
  pods.insert(pods.end(), orphans.begin(), orphans.end());
  auto round = std::make_shared<Round>();
  round->key = key;
  round->owner = owner;
  round->as_owner = {key,
                     {owner->api_version, owner->kind, owner->meta.ns, owner->meta.name, owner->meta.uid}};
  round->plan = plan_replicas(*owner, pods, hub_.now());
  round->finish = std::move(finish);
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("{} {}: {}", owner->kind, key, round->plan.text());
  if (round->plan.again) reconciler_.add_after(key, *round->plan.again + std::chrono::milliseconds(1));
  claim(std::move(round));
}

void ReplicaController::claim(std::shared_ptr<Round> round) {
  std::vector<Step> steps;
  for (const std::string& pod : round->plan.adopt) steps.push_back(pods_owner_.take(round->as_owner, pod));
  for (const std::string& pod : round->plan.release)
    steps.push_back(pods_owner_.release(round->as_owner, pod));
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) {  // counting on a Pod that is not ours could make too few: look again
      base::log::warning("{} {}: {}", round->owner->kind, round->key, status.error().message());
      return round->finish(Reconciler::Outcome::kRetry);
    }
    change_size(round);
  });
}

void ReplicaController::change_size(std::shared_ptr<Round> round) {
  auto then = [this, round](const char* reason) {
    return [this, round, reason](base::Status status) {
      if (!status.ok()) {
        round->failure = std::move(status);
        round->failure_reason = reason;
      }
      publish(round);
    };
  };
  if (round->plan.create > 0) {
    std::vector<json::object> bodies;
    for (int i = 0; i < round->plan.create; ++i) bodies.push_back(pod_from_template(*round->owner));
    return pods_owner_.create(round->as_owner, std::move(bodies), then("FailedCreate"));
  }
  pods_owner_.remove(round->as_owner, round->plan.remove, then("FailedDelete"));
}

void ReplicaController::publish(std::shared_ptr<Round> round) {
  const ReplicaOwner& owner = *round->owner;
  const ReplicaStatus& status = round->plan.status;
  json::array conditions;
  if (const json::value* list = find(owner.status, "conditions"); list && list->is_array())
    conditions = list->get_array();
  bool changed = read_replica_status(owner.status) != status || !find(owner.status, "replicas");
  if (!round->failure.ok()) {
    // Told once while it lasts: the message names a Pod that never was, each time another one, and what is
    // written wakes us, past the back-off.
    const json::object* told = find_condition(conditions, "ReplicaFailure");
    if (!told || base::as_string(told->if_contains("reason")) != round->failure_reason)
      changed |= set_condition(conditions, "ReplicaFailure", "True", round->failure_reason,
                               round->failure.error().message(), hub_.now());
  } else if (find_condition(conditions, "ReplicaFailure")) {
    remove_condition(conditions, "ReplicaFailure");
    changed = true;
  }
  auto finish = [this, round](base::Status written) {
    if (!written.ok() && written.error().kind != base::Kind::kNotFound) {
      base::log::warning("{} {}: {}", round->owner->kind, round->key, written.error().message());
      return round->finish(Reconciler::Outcome::kRetry);
    }
    // A failed create is tried again with back-off; nothing else would wake us.
    round->finish(round->failure.ok() ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
  };
  if (!changed) return finish({});
  json::object body{{"replicas", status.replicas},
                    {"fullyLabeledReplicas", status.fully_labeled},
                    {"readyReplicas", status.ready},
                    {"availableReplicas", status.available},
                    {"observedGeneration", status.observed_generation},
                    {"conditions", std::move(conditions)}};
  for (const char* key : {"fullyLabeledReplicas", "readyReplicas", "availableReplicas"})
    if (body[key].as_int64() == 0) body[key] = nullptr;
  if (body["conditions"].as_array().empty()) body["conditions"] = nullptr;
  status_.write(owner.meta, std::move(body), finish);
}

}  // namespace master::controllers
