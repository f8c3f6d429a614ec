// What a DaemonSet does next: on which nodes a Pod is missing, which Pods go, how far an update is, and what
// history goes. Pure. Who is replaced when is Kubernetes' daemon controller's rule; the counts are what
// kubectl rollout reads.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/daemon_sets.h"
#include "master/controllers/events.h"
#include "master/controllers/revisions.h"

namespace master::controllers {

constexpr size_t kDaemonBurst = 250;  // Pods created or deleted in one round, as in Kubernetes
constexpr base::Duration kFailedDaemonBackoff = std::chrono::seconds(1),
                         kFailedDaemonMaxBackoff = std::chrono::minutes(15);

// When a failed Pod of a node was last taken away, and how long the next one stays. Counts for one
// status.observedGeneration: a new template gets new chances.
struct FailedDaemon {
  base::Time at{};
  base::Duration delay{};
  int64_t generation = 0;
};
using FailedDaemons = std::map<std::string, FailedDaemon>;  // by node
void note_failed_daemon(FailedDaemons& failed, const std::string& node, int64_t generation, base::Time now);

struct DaemonSetView {
  std::shared_ptr<const DaemonSet> set;
  std::vector<std::shared_ptr<const Node>> nodes;
  std::vector<std::shared_ptr<const Pod>> pods;  // its own and the namespace's orphans
  Revisions revisions;                           // likewise
  FailedDaemons failed;
};

struct DaemonSetPlan {
  std::vector<std::string> adopt, release;  // Pod names
  RevisionPlan revisions;                   // not settled: nothing but this and those above happens
  std::string hash;                         // of new Pods
  std::vector<std::string> remove;          // Pod names
  std::vector<std::string> create;          // node names
  std::vector<std::string> failed;          // nodes whose failed Pod goes: to be noted
  std::vector<std::string> forget;          // old revisions past the limit
  std::vector<PlanEvent> events;
  json::object status;
  bool status_changed = false;
  std::optional<base::Duration> again;
  std::string text() const;
};
DaemonSetPlan plan_daemon_set(const DaemonSetView& view, base::Time now);

}  // namespace master::controllers
