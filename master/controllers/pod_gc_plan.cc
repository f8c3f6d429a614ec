#include "master/controllers/pod_gc_plan.h"

namespace master::controllers {

std::vector<std::string> surplus_pods(const std::set<FinishedPod>& finished, size_t threshold, size_t limit) {
  std::vector<std::string> out;
  auto at = finished.begin();
  for (size_t left = finished.size(); left > threshold && out.size() < limit; --left, ++at)
    out.push_back(at->key);
  return out;
}

bool is_out_of_service(const Node& node) {
  if (is_ready(node)) return false;
  for (const Taint& taint : node.taints)
    if (taint.key == "node.kubernetes.io/out-of-service") return true;
  return false;
}

PodVerdict judge_pod(const Pod& pod, const Node* node, bool node_is_gone) {
  using What = PodVerdict::What;
  if (pod.node.empty()) return {pod.meta.deleting && !pod.finished() ? What::kFails : What::kStays, ""};
  if (node_is_gone) return {What::kGoes, "PodGC: node no longer exists"};
  if (pod.meta.deleting && node && is_out_of_service(*node)) return {What::kGoes, ""};
  return {};
}

}  // namespace master::controllers
