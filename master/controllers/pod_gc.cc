#include "master/controllers/pod_gc.h"

#include "base/log.h"

namespace master::controllers {

// Deleted before it had a node, and held.
static bool is_unscheduled(const Pod& pod) {
  return pod.meta.deleting && pod.node.empty() && !pod.finished();
}

PodGc::PodGc(Hub& hub)
    : hub_(hub), pods_(hub.follow<Pod>(api::resources::pods)), account_(hub.account("pod-garbage-collector")),
      reconciler_(hub, {&pods_},
                  [this](const std::string&, Reconciler::Finish finish) { sync(std::move(finish)); }),
      unscheduled_(hub, {&pods_}, [this](const std::string& key, Reconciler::Finish finish) {
        sync_unscheduled(key, std::move(finish));
      }) {
  pods_.on_change([this](const auto& before, const auto& after) {
    if (after && is_unscheduled(*after)) unscheduled_.add(after->meta.key());
    auto counts = [](const Pod& pod) { return pod.finished() && !pod.meta.deleting; };
    if (before && counts(*before)) finished_.erase({before->meta.created, before->meta.key()});
    if (after && counts(*after)) finished_.insert({after->meta.created, after->meta.key()});
    if (finished_.size() > static_cast<size_t>(hub_.options.terminated_pod_threshold))
      reconciler_.add("finished Pods");
  });
}

void PodGc::sync(Reconciler::Finish finish) {
  constexpr size_t kBatch = 100;
  const size_t keep = static_cast<size_t>(hub_.options.terminated_pod_threshold);
  std::vector<Step> steps;
  auto at = finished_.begin();
  for (size_t left = finished_.size(); left > keep && steps.size() < kBatch; --left, ++at) {
    auto pod = pods_.get(at->second);
    if (!pod) continue;
    steps.push_back([this, pod](auto done) {
      account_.client.remove(
          api::resources::pods, pod->meta.ns, pod->meta.name,
          json::object{{"preconditions", {{"uid", pod->meta.uid}}}, {"gracePeriodSeconds", 0}},
          [this, pod, done](base::Result<json::value> result) {
            const bool gone = result.ok() || result.error().kind == base::Kind::kNotFound;
            if (!gone) return done(base::Status(result.error()));
            reconciler_.gate.deleted(
                "finished Pods",
                [this, pod] {
                  auto now = pods_.get(pod->meta.key());
                  return !now || now->meta.uid != pod->meta.uid || now->meta.deleting;
                },
                hub_.now());
            done({});
          });
    });
  }
  const bool more = finished_.size() > keep + steps.size();
  all(std::move(steps), [this, finish, more](base::Status status) {
    if (!status.ok()) base::log::warning("remove finished Pods: {}", status.error().message());
    if (more && status.ok()) reconciler_.add("finished Pods");
    finish(status.ok() ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
  });
}

void PodGc::sync_unscheduled(const std::string& key, Reconciler::Finish finish) {
  auto pod = pods_.get(key);
  if (!pod || !is_unscheduled(*pod)) return finish(Reconciler::Outcome::kDone);
  account_.client.patch(
      api::resources::pods, pod->meta.ns, pod->meta.name, "strategic-merge",
      json::object{{"metadata", {{"uid", pod->meta.uid}}}, {"status", {{"phase", "Failed"}}}},
      [this, key, finish](base::Result<json::value> result) {
        if (result.ok()) unscheduled_.gate.wrote(key, pods_, revision_of(*result), hub_.now());
        const bool done = result.ok() || result.error().kind == base::Kind::kNotFound;
        if (!done) base::log::warning("Pod {}: {}", key, result.error().message());
        finish(done ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
      },
      "status");
}

}  // namespace master::controllers
