#include "master/controllers/stateful_set_controller.h"

#include <set>

#include "base/log.h"

namespace master::controllers {

constexpr const char* kStatefulComponent = "statefulset-controller";
const PodEventWords kStatefulWords = {"create Pod {pod} in StatefulSet {owner} successful",
                                      "create Pod {pod} in StatefulSet {owner} failed error: {error}",
                                      "delete Pod {pod} in StatefulSet {owner} successful",
                                      "delete Pod {pod} in StatefulSet {owner} failed error: {error}"};

// One pass over one StatefulSet: what was seen, the plan, and what acting on it met.
struct StatefulSetController::Round {
  std::string key;
  StatefulSetView view;
  PodOwner::Owner as_owner;
  StatefulSetPlan plan;
  Reconciler::Finish finish;
  base::Status failure;
  std::set<std::string> without_claim;  // Pods that cannot be made yet
};

StatefulSetController::StatefulSetController(Hub& hub)
    : hub_(hub), account_(hub.account("statefulset-controller")),
      sets_(hub.follow<StatefulSet>(kStatefulSets)), pods_(hub.follow<Pod>(api::resources::pods)),
      claims_(hub.follow<Claim>(kPersistentVolumeClaims)),
      revisions_(hub.follow<Revision>(kControllerRevisions)),
      reconciler_(
          hub, {&sets_, &pods_, &claims_, &revisions_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }),
      status_(hub, account_, kStatefulSets, sets_, reconciler_),
      pods_owner_(hub, account_, pods_, reconciler_, kStatefulComponent, kStatefulWords),
      keeper_(hub, account_, revisions_, reconciler_) {
  sets_.on_change([this](const auto& before, const auto& after) {
    const std::string key = (after ? after : before)->meta.key();
    reconciler_.add(key);
    if (!after) reconciler_.gate.forget(key);
  });
  pods_.on_change([this](const auto& before, const auto& after) { pod_changed(before, after); });
  claims_.on_change([this](const auto& before, const auto& after) {
    const Claim& claim = after ? *after : *before;
    for (const auto& set : sets_.in_namespace(claim.meta.ns))
      if (!set->claim_templates.empty() && set->selector.matches(claim.labels))
        reconciler_.add(set->meta.key());
  });
  revisions_.on_change([this](const auto& before, const auto& after) {
    for (const auto& revision : {before, after})
      if (revision)
        RevisionKeeper::owners_of(*revision, "StatefulSet", sets_,
                                  [this](const std::string& key) { reconciler_.add(key); });
  });
}

void StatefulSetController::pod_changed(const std::shared_ptr<const Pod>& before,
                                        const std::shared_ptr<const Pod>& after) {
  if (!after && before->owner_kind == "StatefulSet") {
    std::erase_if(left_, [this](const auto& one) { return one.second + kNameRests < hub_.now(); });
    left_[before->meta.key()] = hub_.now();
  }
  for (const auto& pod : {before, after}) {
    if (!pod) continue;
    if (!pod->owner_uid.empty()) {
      if (pod->owner_kind == "StatefulSet") reconciler_.add(key_of(pod->meta.ns, pod->owner_name));
    }
    // Whoever holds the name of a Pod that a set would make: when it goes, the set's can come.
    for (const auto& set : sets_.in_namespace(pod->meta.ns))
      if (set->ordinal_of(pod->meta.name) >= 0 && set->meta.uid != pod->owner_uid)
        reconciler_.add(set->meta.key());
  }
}

void StatefulSetController::sync(const std::string& key, Reconciler::Finish finish) {
  auto set = sets_.get(key);
  if (!set || set->meta.deleting) return finish(Reconciler::Outcome::kDone);
  auto round = std::make_shared<Round>();
  round->key = key;
  round->view.set = set;
  round->view.claim = [this, ns = set->meta.ns](const std::string& name) {
    return claims_.get(key_of(ns, name));
  };
  for (const std::string& term : {owned_by(set->meta.uid), orphans_of(set->meta.ns)}) {
    auto pods = pods_.find(term);
    round->view.pods.insert(round->view.pods.end(), pods.begin(), pods.end());
    auto revisions = revisions_.find(term);
    round->view.revisions.insert(round->view.revisions.end(), revisions.begin(), revisions.end());
  }
  for (const auto& [pod, at] : left_)
    if (auto [ns, name] = split_key(pod); ns == set->meta.ns) round->view.left[name] = at;
  round->as_owner = {key, {"apps/v1", "StatefulSet", set->meta.ns, set->meta.name, set->meta.uid}};
  round->plan = plan_stateful_set(round->view, hub_.now());
  round->finish = std::move(finish);
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("StatefulSet {}: {}", key, round->plan.text());
  if (round->plan.again) reconciler_.add_after(key, *round->plan.again + std::chrono::milliseconds(1));
  std::vector<Step> steps;
  for (const std::string& pod : round->plan.adopt) steps.push_back(pods_owner_.take(round->as_owner, pod));
  for (const std::string& pod : round->plan.release)
    steps.push_back(pods_owner_.release(round->as_owner, pod));
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) return end(*round, std::move(status));
    if (round->plan.revisions.settled()) return make_claims(round);
    settle_revisions(round);
  });
}

void StatefulSetController::settle_revisions(std::shared_ptr<Round> round) {
  auto collided = [round] {
    const json::value& status = round->view.set->status;
    round->plan.status["collisionCount"] = base::as_int(base::find(status, "collisionCount")) + 1;
    round->plan.status_changed = true;
  };
  keeper_.settle(round->as_owner, round->plan.revisions, collided, [this, round](base::Status status) {
    round->failure = std::move(status);
    publish(round);  // what was made wakes us again
  });
}

void StatefulSetController::make_claims(std::shared_ptr<Round> round) {
  account_.events.record(round->as_owner.ref, round->plan.events, kStatefulComponent);
  std::vector<Step> steps;
  for (const StatefulSetPlan::NewClaim& claim : round->plan.claims) steps.push_back(make_claim(round, claim));
  all(std::move(steps), [this, round](base::Status status) {
    round->failure = std::move(status);
    make_pods(round);
  });
}

Step StatefulSetController::make_claim(std::shared_ptr<Round> round, const StatefulSetPlan::NewClaim& claim) {
  return [this, round, claim](PodOwner::Done done) {
    account_.client.create(
        kPersistentVolumeClaims, round->view.set->meta.ns, claim.body,
        [this, round, name = claim.name, pod = claim.pod, done](base::Result<json::value> result) {
          const ObjectRef& set = round->as_owner.ref;
          auto tell = [&](const char* type, const char* reason, const std::string& message) {
            account_.events.record(set, type, reason, message, kStatefulComponent);
          };
          if (result.ok()) {
            reconciler_.gate.wrote(round->key, claims_, revision_of(*result), hub_.now());
            tell("Normal", "SuccessfulCreate",
                 fmt::format("create Claim {} Pod {} in StatefulSet {} success", name, pod, set.name));
            return done({});
          }
          round->without_claim.insert(pod);
          const std::string why = answered(result.error());
          if (result.error().kind != base::Kind::kExists) {  // not seen yet: look again
            tell("Warning", "FailedCreate",
                 fmt::format("create Claim {} for Pod {} in StatefulSet {} failed error: {}", name, pod,
                             set.name, why));
            tell("Warning", "FailedCreate",
                 fmt::format("create Pod {} in StatefulSet {} failed error: failed to create PVC {}: {}", pod,
                             set.name, name, why));
          }
          done(base::wrap(result.error(), "create PersistentVolumeClaim", name));
        });
  };
}

void StatefulSetController::make_pods(std::shared_ptr<Round> round) {
  std::vector<json::object> bodies;
  for (StatefulSetPlan::Create& one : round->plan.create)
    if (!round->without_claim.contains(one.name)) bodies.push_back(std::move(one.body));
  pods_owner_.create(round->as_owner, std::move(bodies), [this, round](base::Status status) {
    if (round->failure.ok()) round->failure = std::move(status);
    if (!round->failure.ok()) return publish(round);  // nothing goes while something cannot come
    correct(round);
  });
}

// What is there, but not as it should be.
void StatefulSetController::correct(std::shared_ptr<Round> round) {
  std::vector<Step> steps;
  for (const StatefulSetPlan::Owners& owners : round->plan.owners) steps.push_back(own_claim(round, owners));
  for (const StatefulSetPlan::Relabel& one : round->plan.relabel) steps.push_back(relabel(round, one));
  all(std::move(steps), [this, round](base::Status status) {
    round->failure = std::move(status);
    if (!round->failure.ok()) return publish(round);  // a claim must be the Pod's before the Pod goes
    remove(round);
  });
}

Step StatefulSetController::own_claim(std::shared_ptr<Round> round, const StatefulSetPlan::Owners& owners) {
  return [this, round, owners](PodOwner::Done done) {
    account_.client.patch(
        kPersistentVolumeClaims, round->view.set->meta.ns, owners.claim, "merge",
        json::object{
            {"metadata",
             {{"resourceVersion", std::to_string(owners.revision)}, {"ownerReferences", owners.references}}}},
        [this, round, name = owners.claim, done](base::Result<json::value> result) {
          if (!result.ok()) {
            if (result.error().kind == base::Kind::kNotFound) return done({});
            return done(base::wrap(result.error(), "set the owners of PersistentVolumeClaim", name));
          }
          reconciler_.gate.wrote(round->key, claims_, revision_of(*result), hub_.now());
          done({});
        });
  };
}

Step StatefulSetController::relabel(std::shared_ptr<Round> round, const StatefulSetPlan::Relabel& one) {
  return [this, round, one](PodOwner::Done done) {
    auto pod = pods_.get(key_of(round->view.set->meta.ns, one.pod));
    if (!pod) return done({});
    account_.client.patch(
        api::resources::pods, pod->meta.ns, one.pod, "merge",
        json::object{
            {"metadata",
             {{"uid", pod->meta.uid},
              {"labels", {{kPodNameLabel, one.pod}, {kPodIndexLabel, std::to_string(one.ordinal)}}}}}},
        [this, round, name = one.pod, done](base::Result<json::value> result) {
          const ObjectRef& set = round->as_owner.ref;
          if (!result.ok()) {
            if (result.error().kind == base::Kind::kNotFound) return done({});
            account_.events.record(set, "Warning", "FailedUpdate",
                                   fmt::format("update Pod {} in StatefulSet {} failed error: {}", name,
                                               set.name, answered(result.error())),
                                   kStatefulComponent);
            return done(base::wrap(result.error(), "label Pod", name));
          }
          reconciler_.gate.wrote(round->key, pods_, revision_of(*result), hub_.now());
          account_.events.record(set, "Normal", "SuccessfulUpdate",
                                 fmt::format("update Pod {} in StatefulSet {} successful", name, set.name),
                                 kStatefulComponent);
          done({});
        });
  };
}

void StatefulSetController::remove(std::shared_ptr<Round> round) {
  pods_owner_.remove(round->as_owner, round->plan.remove, [this, round](base::Status removed) {
    round->failure = std::move(removed);
    std::vector<Step> steps;
    for (const std::string& name : round->plan.forget) steps.push_back(keeper_.remove(round->as_owner, name));
    all(std::move(steps), [this, round](base::Status status) {
      if (round->failure.ok()) round->failure = std::move(status);
      publish(round);
    });
  });
}

void StatefulSetController::publish(std::shared_ptr<Round> round) {
  if (!round->plan.status_changed) return end(*round, {});
  status_.write(round->view.set->meta, round->plan.status, [this, round](base::Status written) {
    if (is_gone(written)) return round->finish(Reconciler::Outcome::kDone);
    end(*round, std::move(written));
  });
}

void StatefulSetController::end(Round& round, base::Status status) {
  Reconciler::end("StatefulSet", round.key, status.ok() ? round.failure : status, round.finish);
}

}  // namespace master::controllers
