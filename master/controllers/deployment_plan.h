// What a Deployment does next: which ReplicaSet is its current one, how far each is scaled, what
// history goes, and the status to publish. Pure; numbers and words are those of Kubernetes'
// deployment controller, which kubectl rollout reads.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "master/controllers/workloads.h"

namespace master::controllers {

constexpr const char* kHashLabel = "pod-template-hash";
constexpr const char* kRevision = "deployment.kubernetes.io/revision";
// "true": a roll-out whose deadline passed goes back to the newest revision that still serves.
constexpr const char* kRollback = "sampan.io/rollback-on-deadline";

struct DeploymentPlan {
  struct Change {
    std::string name;
    json::object patch;    // merge patch of the ReplicaSet, bound to the revision we saw
    int from = 0, to = 0;  // spec.replicas
  };
  std::vector<std::string> adopt, release;  // ReplicaSets; then nothing else happens this round
  std::optional<json::object> create;       // the new ReplicaSet
  std::vector<Change> changes;
  std::vector<std::string> remove;  // history past its limit
  std::string revision;             // annotation to set on the Deployment; empty: leave
  struct Rollback {
    std::string revision;
    json::value pod_template;
  };
  std::optional<Rollback> rollback;  // the Deployment's new template; then its Pods are left as they are
  json::object status;
  bool status_changed = false;
  std::optional<base::Duration> again;
  std::string text() const;
};
struct DeploymentView {
  std::shared_ptr<const Deployment> deployment;
  // Its own ReplicaSets and the namespace's orphans.
  std::vector<std::shared_ptr<const ReplicaOwner>> replica_sets;
  std::set<std::string> running_pods_of;  // uids of ReplicaSets with Pods that are not finished
};
DeploymentPlan plan_deployment(const DeploymentView& view, base::Time now);

struct Fences {
  int surge = 0, unavailable = 0;
};
// maxSurge rounds up, maxUnavailable down; both zero would never move, so one may be unavailable.
Fences resolve_fences(const json::value& max_surge, const json::value& max_unavailable, int desired);
std::string template_hash(const json::value& pod_template, int collisions);
bool same_template(const json::value& a, const json::value& b);  // but for the hash label

}  // namespace master::controllers
