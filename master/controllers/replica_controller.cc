#include "master/controllers/replica_controller.h"

#include "base/log.h"

namespace master::controllers {
using base::find;
using base::find_path;
using base::string_at;

// One pass over one owner: the plan, and what acting on it met.
struct ReplicaController::Round {
  std::string key;
  Owner owner;
  ReplicaPlan plan;
  Reconciler::Finish finish;
  base::Status failure;
  std::string failure_reason;
};

ReplicaController::ReplicaController(Hub& hub, Store<ReplicaOwner>& owners, api::Resource resource)
    : hub_(hub), account_(hub.account(resource.group.empty() ? "replication-controller" : "replicaset-controller")), owners_(owners), resource_(std::move(resource)),
      reconciler_(hub, [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }) {
  owners_.on_change([this](const Owner& before, const Owner& after) {
    const Owner& owner = after ? after : before;
    reconciler_.add(owner->meta.key());
    // Its orphans may be somebody else's now.
    if (!after) reconciler_.gate.forget(owner->meta.key());
  });
  hub_.pods.on_change([this](const auto& before, const auto& after) { pod_changed(before, after); });
}

void ReplicaController::pod_changed(const std::shared_ptr<const Pod>& before, const std::shared_ptr<const Pod>& after) {
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

ObjectRef ReplicaController::ref(const ReplicaOwner& owner) const {
  return {owner.api_version, owner.kind, owner.meta.ns, owner.meta.name, owner.meta.uid};
}

void ReplicaController::sync(const std::string& key, Reconciler::Finish finish) {
  Owner owner = owners_.get(key);
  if (!owner) return finish(Reconciler::Outcome::kDone);
  auto pods = hub_.pods.find(owned_by(owner->meta.uid));
  auto orphans = hub_.pods.find(orphans_of(owner->meta.ns));
  pods.insert(pods.end(), orphans.begin(), orphans.end());
  auto round = std::make_shared<Round>();
  round->key = key;
  round->owner = owner;
  round->plan = plan_replicas(*owner, pods, hub_.now());
  round->finish = std::move(finish);
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("{} {}: {}", owner->kind, key, round->plan.text());
  if (round->plan.again) reconciler_.add_after(key, *round->plan.again + std::chrono::milliseconds(1));
  claim(std::move(round));
}

void ReplicaController::claim(std::shared_ptr<Round> round) {
  std::vector<Step> steps;
  for (bool adopt : {true, false})
    for (const std::string& pod : adopt ? round->plan.adopt : round->plan.release)
      steps.push_back([this, round, pod, adopt](auto done) { own(round, pod, adopt, std::move(done)); });
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) {  // counting on a Pod that is not ours could make too few: look again
      base::log::warning("{} {}: {}", round->owner->kind, round->key, status.error().message());
      return round->finish(Reconciler::Outcome::kRetry);
    }
    if (round->plan.create > 0) create_batch(round, 1);
    else remove_surplus(round);
  });
}

void ReplicaController::own(std::shared_ptr<Round> round, const std::string& name, bool adopt,
                            std::function<void(base::Status)> done) {
  auto pod = hub_.pods.get(key_of(round->owner->meta.ns, name));
  if (!pod) return done({});
  const ReplicaOwner& owner = *round->owner;
  // The uid in the patch makes it fail when the Pod is not the one we saw.
  json::object meta{{"uid", pod->meta.uid}};
  if (adopt) {
    meta["ownerReferences"] = json::array{pod_from_template(owner)["metadata"].at("ownerReferences").at(0)};
  } else {
    meta["ownerReferences"] = json::array{json::object{{"$patch", "delete"}, {"uid", owner.meta.uid}}};
  }
  account_.client.patch(api::resources::pods, owner.meta.ns, name, "strategic-merge",
                    json::object{{"metadata", std::move(meta)}},
                    [this, round, name, done](base::Result<json::value> result) {
                      if (!result.ok()) {
                        auto kind = result.error().kind;
                        if (kind == base::Kind::kNotFound) return done({});
                        return done(base::wrap(result.error(), "take or release Pod", name));
                      }
                      reconciler_.gate.wrote(round->key, hub_.pods, revision_of(*result), hub_.now());
                      done({});
                    });
}

// 1, 2, 4, …: a template that cannot work costs one request, not five hundred.
void ReplicaController::create_batch(std::shared_ptr<Round> round, int size) {
  size = std::min(size, round->plan.create);
  if (size <= 0 || !round->failure.ok()) return publish(round);
  round->plan.create -= size;
  std::vector<Step> steps;
  for (int i = 0; i < size; ++i) steps.push_back([this, round](auto done) { create_one(round, std::move(done)); });
  all(std::move(steps), [this, round, size](base::Status status) {
    if (!status.ok()) {
      round->failure = std::move(status);
      round->failure_reason = "FailedCreate";
    }
    create_batch(round, size * 2);
  });
}

void ReplicaController::create_one(std::shared_ptr<Round> round, std::function<void(base::Status)> done) {
  const ReplicaOwner& owner = *round->owner;
  account_.client.create(
      api::resources::pods, owner.meta.ns, pod_from_template(owner), [this, round, done](base::Result<json::value> result) {
        if (!result.ok()) {
          account_.events.record(ref(*round->owner), "Warning", "FailedCreate",
                             fmt::format("Error creating: {}", result.error().message()),
                             round->owner->kind == "ReplicaSet" ? "replicaset-controller" : "replication-controller");
          return done(result.error());
        }
        reconciler_.gate.wrote(round->key, hub_.pods, revision_of(*result), hub_.now());
        account_.events.record(ref(*round->owner), "Normal", "SuccessfulCreate",
                           fmt::format("Created pod: {}", string_at(*result, "metadata", "name")),
                           round->owner->kind == "ReplicaSet" ? "replicaset-controller" : "replication-controller");
        done({});
      });
}

void ReplicaController::remove_surplus(std::shared_ptr<Round> round) {
  std::vector<Step> steps;
  for (const std::string& name : round->plan.remove)
    steps.push_back([this, round, name](auto done) { remove_one(round, name, std::move(done)); });
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) {
      round->failure = std::move(status);
      round->failure_reason = "FailedDelete";
    }
    publish(round);
  });
}

void ReplicaController::remove_one(std::shared_ptr<Round> round, const std::string& name,
                                   std::function<void(base::Status)> done) {
  const std::string ns = round->owner->meta.ns;
  auto pod = hub_.pods.get(key_of(ns, name));
  if (!pod) return done({});
  account_.client.remove(
      api::resources::pods, ns, name, json::object{{"preconditions", {{"uid", pod->meta.uid}}}},
      [this, round, name, pod, done](base::Result<json::value> result) {
        const bool gone = !result.ok() && result.error().kind == base::Kind::kNotFound;
        const char* component = round->owner->kind == "ReplicaSet" ? "replicaset-controller" : "replication-controller";
        if (!result.ok() && !gone) {
          account_.events.record(ref(*round->owner), "Warning", "FailedDelete",
                             fmt::format("Error deleting: {}", result.error().message()), component);
          return done(result.error());
        }
        reconciler_.gate.deleted(
            round->key,
            [this, pod] {
              auto now = hub_.pods.get(pod->meta.key());
              return !now || now->meta.uid != pod->meta.uid || now->meta.deleting;
            },
            hub_.now());
        if (!gone)
          account_.events.record(ref(*round->owner), "Normal", "SuccessfulDelete", fmt::format("Deleted pod: {}", name), component);
        done({});
      });
}

void ReplicaController::publish(std::shared_ptr<Round> round) {
  const ReplicaOwner& owner = *round->owner;
  const ReplicaStatus& status = round->plan.status;
  json::array conditions;
  if (const json::value* list = find(owner.status, "conditions"); list && list->is_array()) conditions = list->get_array();
  bool changed = read_replica_status(owner.status) != status || !find(owner.status, "replicas");
  if (!round->failure.ok()) {
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
  json::object body{{"replicas", status.replicas},           {"fullyLabeledReplicas", status.fully_labeled},
                    {"readyReplicas", status.ready},         {"availableReplicas", status.available},
                    {"observedGeneration", status.observed_generation}, {"conditions", std::move(conditions)}};
  for (const char* key : {"fullyLabeledReplicas", "readyReplicas", "availableReplicas"})
    if (body[key].as_int64() == 0) body[key] = nullptr;
  if (body["conditions"].as_array().empty()) body["conditions"] = nullptr;
  account_.client.patch(
      resource_, owner.meta.ns, owner.meta.name, "merge",
      json::object{{"metadata", {{"uid", owner.meta.uid}}}, {"status", std::move(body)}},
      [this, round, finish](base::Result<json::value> result) {
        if (!result.ok()) return finish(result.error());
        reconciler_.gate.wrote(round->key, owners_, revision_of(*result), hub_.now());
        finish({});
      },
      "status");
}

}  // namespace master::controllers
