#include "master/controllers/daemon_set_controller.h"

#include "base/log.h"

namespace master::controllers {

constexpr const char* kDaemonComponent = "daemonset-controller";

// One pass over one DaemonSet: what was seen, the plan, and what acting on it met.
struct DaemonSetController::Round {
  std::string key;
  DaemonSetView view;
  PodOwner::Owner as_owner;
  DaemonSetPlan plan;
  Reconciler::Finish finish;
  base::Status failure;
};

DaemonSetController::DaemonSetController(Hub& hub)
    : hub_(hub), account_(hub.account("daemon-set-controller")), sets_(hub.follow<DaemonSet>(kDaemonSets)),
      nodes_(hub.follow<Node>(api::resources::nodes)), pods_(hub.follow<Pod>(api::resources::pods)),
      revisions_(hub.follow<Revision>(kControllerRevisions)),
      reconciler_(
          hub, {&sets_, &nodes_, &pods_, &revisions_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }),
      status_(hub, account_, kDaemonSets, sets_, reconciler_),
      pods_owner_(hub, account_, pods_, reconciler_, kDaemonComponent),
      keeper_(hub, account_, revisions_, reconciler_) {
  sets_.on_change([this](const auto& before, const auto& after) {
    const std::string key = (after ? after : before)->meta.key();
    reconciler_.add(key);
    if (after) return;
    reconciler_.gate.forget(key);
    failed_.erase(before->meta.uid);
  });
  nodes_.on_change([this](const auto& before, const auto& after) { node_changed(before, after); });
  pods_.on_change([this](const auto& before, const auto& after) { pod_changed(before, after); });
  revisions_.on_change([this](const auto& before, const auto& after) {
    for (const auto& revision : {before, after})
      if (revision)
        RevisionKeeper::owners_of(*revision, "DaemonSet", sets_,
                                  [this](const std::string& key) { reconciler_.add(key); });
  });
}

void DaemonSetController::pod_changed(const std::shared_ptr<const Pod>& before,
                                      const std::shared_ptr<const Pod>& after) {
  for (const auto& pod : {before, after}) {
    if (!pod) continue;
    if (!pod->owner_uid.empty()) {
      if (pod->owner_kind == "DaemonSet") reconciler_.add(key_of(pod->meta.ns, pod->owner_name));
      continue;
    }
    for (const auto& set : sets_.in_namespace(pod->meta.ns))
      if (set->selector.matches(pod->shape->labels)) reconciler_.add(set->meta.key());
  }
}

// A node's status changes often, and where Pods may be seldom.
void DaemonSetController::node_changed(const std::shared_ptr<const Node>& before,
                                       const std::shared_ptr<const Node>& after) {
  if (before && after && before->labels == after->labels && before->taints == after->taints) return;
  for (const auto& [key, set] : sets_.all()) {
    const Placement was = before ? placement(*set, *before) : Placement{};
    const Placement is = after ? placement(*set, *after) : Placement{};
    if (was != is) reconciler_.add(key);
  }
}

void DaemonSetController::sync(const std::string& key, Reconciler::Finish finish) {
  auto set = sets_.get(key);
  if (!set || set->meta.deleting) return finish(Reconciler::Outcome::kDone);
  auto round = std::make_shared<Round>();
  round->key = key;
  round->view.set = set;
  for (const auto& [name, node] : nodes_.all()) round->view.nodes.push_back(node);
  for (const std::string& term : {owned_by(set->meta.uid), orphans_of(set->meta.ns)}) {
    auto pods = pods_.find(term);
    round->view.pods.insert(round->view.pods.end(), pods.begin(), pods.end());
    auto revisions = revisions_.find(term);
    round->view.revisions.insert(round->view.revisions.end(), revisions.begin(), revisions.end());
  }
  if (auto at = failed_.find(set->meta.uid); at != failed_.end()) round->view.failed = at->second;
  round->as_owner = {key, {"apps/v1", "DaemonSet", set->meta.ns, set->meta.name, set->meta.uid}};
  round->plan = plan_daemon_set(round->view, hub_.now());
  round->finish = std::move(finish);
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("DaemonSet {}: {}", key, round->plan.text());
  if (round->plan.again) reconciler_.add_after(key, *round->plan.again + std::chrono::milliseconds(1));
  std::vector<Step> steps;
  for (const std::string& pod : round->plan.adopt) steps.push_back(pods_owner_.take(round->as_owner, pod));
  for (const std::string& pod : round->plan.release)
    steps.push_back(pods_owner_.release(round->as_owner, pod));
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) return end(*round, std::move(status));
    if (round->plan.revisions.settled()) return change_pods(round);
    settle_revisions(round);
  });
}

void DaemonSetController::settle_revisions(std::shared_ptr<Round> round) {
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

void DaemonSetController::change_pods(std::shared_ptr<Round> round) {
  const DaemonSet& set = *round->view.set;
  account_.events.record(round->as_owner.ref, round->plan.events, kDaemonComponent);
  for (const std::string& node : round->plan.failed)
    note_failed_daemon(failed_[set.meta.uid], node,
                       base::as_int(base::find(set.status, "observedGeneration")), hub_.now());
  pods_owner_.remove(round->as_owner, round->plan.remove, [this, round](base::Status removed) {
    round->failure = std::move(removed);
    std::vector<json::object> bodies;
    for (const std::string& node : round->plan.create)
      bodies.push_back(pod_of_daemon_set(*round->view.set, node, round->plan.hash));
    pods_owner_.create(round->as_owner, std::move(bodies), [this, round](base::Status created) {
      if (round->failure.ok()) round->failure = std::move(created);
      trim_history(round);
    });
  });
}

void DaemonSetController::trim_history(std::shared_ptr<Round> round) {
  std::vector<Step> steps;
  for (const std::string& name : round->plan.forget) steps.push_back(keeper_.remove(round->as_owner, name));
  all(std::move(steps), [this, round](base::Status status) {
    if (round->failure.ok()) round->failure = std::move(status);
    publish(round);
  });
}

void DaemonSetController::publish(std::shared_ptr<Round> round) {
  if (!round->plan.status_changed) return end(*round, {});
  status_.write(round->view.set->meta, round->plan.status, [this, round](base::Status written) {
    if (is_gone(written)) return round->finish(Reconciler::Outcome::kDone);
    end(*round, std::move(written));
  });
}

void DaemonSetController::end(Round& round, base::Status status) {
  Reconciler::end("DaemonSet", round.key, status.ok() ? round.failure : status, round.finish);
}

}  // namespace master::controllers
