#include "master/controllers/pod_gc.h"

#include "base/log.h"

namespace master::controllers {
using namespace std::chrono_literals;
using Outcome = Reconciler::Outcome;

namespace {
constexpr size_t kBatch = 100;
constexpr const char* kSurplus = "finished Pods";
// Written, or nothing to write to.
base::Status settled(const base::Result<json::value>& result) {
  if (result.ok() || result.error().kind == base::Kind::kNotFound) return {};
  return result.error();
}
}  // namespace

PodGc::PodGc(Hub& hub)
    : hub_(hub), pods_(hub.follow<Pod>(api::resources::pods)),
      nodes_(hub.follow<Node>(api::resources::nodes)), account_(hub.account("pod-garbage-collector")),
      surplus_(hub, {&pods_},
               [this](const std::string&, Reconciler::Finish finish) {
                 tasks_.start(remove_surplus(std::move(finish)));
               }),
      ending_(hub, {&pods_, &nodes_},
              [this](const std::string& key, Reconciler::Finish finish) {
                tasks_.start(judge(key, std::move(finish)));
              }),
      nodes_gone_(hub, {&pods_, &nodes_}, [this](const std::string& node, Reconciler::Finish finish) {
        tasks_.start(bury(node, std::move(finish)));
      }) {
  pods_.on_change([this](const auto& before, const auto& after) {
    if (after && after->meta.deleting) ending_.add(after->meta.key());
    if (after && !after->node.empty() && (!before || before->node.empty()) && !nodes_.get(after->node))
      nodes_gone_.add(after->node);
    auto counts = [](const Pod& pod) { return pod.finished() && !pod.meta.deleting; };
    auto place = [](const Pod& pod) { return FinishedPod{!pod.evicted, pod.meta.created, pod.meta.key()}; };
    if (before && counts(*before)) finished_.erase(place(*before));
    if (after && counts(*after)) finished_.insert(place(*after));
    if (finished_.size() > static_cast<size_t>(hub_.options.terminated_pod_threshold)) surplus_.add(kSurplus);
  });
  nodes_.on_change([this](const auto& before, const auto& after) {
    if (!after) return nodes_gone_.add(before->meta.name);
    if (is_out_of_service(*after))
      for (const auto& pod : pods_.find(on_node(after->meta.name)))
        if (pod->meta.deleting) ending_.add(pod->meta.key());
  });
}

base::Task<> PodGc::remove_surplus(Reconciler::Finish finish) {
  const size_t threshold = static_cast<size_t>(hub_.options.terminated_pod_threshold);
  bool failed = false;
  for (const std::string& key : surplus_pods(finished_, threshold, kBatch)) {
    auto pod = pods_.get(key);
    if (!pod) continue;
    const base::Status removed = co_await remove(pod);
    if (removed.ok()) {
      surplus_.gate.deleted(
          kSurplus,
          [this, pod] {
            auto now = pods_.get(pod->meta.key());
            return !now || now->meta.uid != pod->meta.uid || now->meta.deleting;
          },
          hub_.now());
      continue;
    }
    base::log::warning("remove finished Pod {}: {}", key, removed.error().message());
    failed = true;
  }
  if (!failed && finished_.size() > threshold) surplus_.add(kSurplus);
  finish(failed ? Outcome::kRetry : Outcome::kDone);
}

base::Task<> PodGc::judge(std::string key, Reconciler::Finish finish) {
  base::Status ended;
  if (auto pod = pods_.get(key)) {
    auto node = nodes_.get(pod->node);
    ended = co_await end(pod, judge_pod(*pod, node.get(), false));
  }
  if (!ended.ok()) base::log::warning("Pod {}: {}", key, ended.error().message());
  finish(ended.ok() ? Outcome::kDone : Outcome::kRetry);
}

// Pods of a node that the cache does not have. It may register again right away, and our cache may be behind:
// wait, then ask the API server.
base::Task<> PodGc::bury(std::string node, Reconciler::Finish finish) {
  if (nodes_.get(node) || pods_.find(on_node(node)).empty()) {
    missing_since_.erase(node);
    finish(Outcome::kDone);
    co_return;
  }
  const base::Steady since = missing_since_.try_emplace(node, base::steady_now()).first->second;
  const base::Duration left = since + hub_.options.node_quarantine - base::steady_now();
  if (left > base::Duration::zero()) {
    nodes_gone_.add_after(node, std::max<base::Duration>(left, 10ms));
    finish(Outcome::kDone);
    co_return;
  }
  auto asked = co_await base::later<base::Result<json::value>>(
      [&](auto done) { account_.client.get(api::resources::nodes, "", node, done); });
  if (asked.ok() || asked.error().kind != base::Kind::kNotFound) {
    finish(Outcome::kRetry);
    co_return;
  }
  const auto pods = pods_.find(on_node(node));
  base::log::info("Node {} is gone: removing its {} Pods", node, pods.size());
  bool failed = false;
  for (const auto& pod : pods) {
    const base::Status ended = co_await end(pod, judge_pod(*pod, nullptr, true));
    if (ended.ok()) continue;
    base::log::warning("Pod {}: {}", pod->meta.key(), ended.error().message());
    failed = true;
  }
  if (!failed) missing_since_.erase(node);
  finish(failed ? Outcome::kRetry : Outcome::kDone);
}

base::Task<base::Status> PodGc::end(std::shared_ptr<const Pod> pod, PodVerdict verdict) {
  if (verdict.what == PodVerdict::What::kStays) co_return {};
  if (!pod->finished()) {
    json::object status{{"phase", "Failed"}};
    if (!verdict.disruption.empty())
      status["conditions"] = json::array{json::object{{"type", "DisruptionTarget"},
                                                      {"status", "True"},
                                                      {"reason", "DeletionByPodGC"},
                                                      {"message", verdict.disruption},
                                                      {"lastTransitionTime", base::format_time(hub_.now())}}};
    auto written = co_await base::later<base::Result<json::value>>([&](auto done) {
      account_.client.patch(
          api::resources::pods, pod->meta.ns, pod->meta.name, "strategic-merge",
          json::object{{"metadata", {{"uid", pod->meta.uid}}}, {"status", std::move(status)}}, done,
          "status");
    });
    if (written.ok()) ending_.gate.wrote(pod->meta.key(), pods_, revision_of(*written), hub_.now());
    if (base::Status failed = settled(written); !failed.ok()) co_return failed;
  }
  if (verdict.what == PodVerdict::What::kGoes) co_return co_await remove(pod);
  co_return {};
}

base::Task<base::Status> PodGc::remove(std::shared_ptr<const Pod> pod) {
  auto removed = co_await base::later<base::Result<json::value>>([&](auto done) {
    account_.client.remove(
        api::resources::pods, pod->meta.ns, pod->meta.name,
        json::object{{"preconditions", {{"uid", pod->meta.uid}}}, {"gracePeriodSeconds", 0}}, done);
  });
  // A conflict: another Pod has its name now.
  if (!removed.ok() && removed.error().kind == base::Kind::kConflict) co_return {};
  co_return settled(removed);
}

}  // namespace master::controllers
