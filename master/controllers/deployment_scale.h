// The arithmetic of a rolling update over working copies of ReplicaSets: how far the new one may
// grow, how far the old ones shrink, and how a change of size is shared in the middle of a rollout.
// Pure; part of deployment_plan.
#pragma once

#include <charconv>
#include <vector>

#include "master/controllers/deployment_plan.h"

namespace master::controllers {

// A ReplicaSet while the plan is made: `replicas` is what its spec will say.
struct WorkingSet {
  const ReplicaOwner* rs = nullptr;
  int replicas = 0, available = 0, current = 0, ready = 0;
  bool touch = false;  // write it even if only annotations differ
};
struct Sizes {
  std::vector<WorkingSet*> old_sets;  // oldest first
  WorkingSet* current = nullptr;      // may be null
  int desired = 0;
  Fences fences;
  bool rolling = true;

  std::vector<WorkingSet*> all() const;
  int total() const;
  int max_unavailable() const;
  // What a new ReplicaSet starts or goes on with.
  int new_size() const;
  bool grow_or_shrink_new();  // true: changed something
  bool shrink_old();          // the rolling update's second half
  bool stop_old();            // Recreate
  void scale();               // spec.replicas changed, or paused: proportional
};
// The whole annotation as a number; `fallback` where it is absent, none, or out of range.
template <typename Number>
Number annotation_number(const ReplicaOwner& rs, const char* name, Number fallback) {
  auto at = rs.annotations.find(name);
  if (at == rs.annotations.end()) return fallback;
  Number value = fallback;
  const char* end = at->second.data() + at->second.size();
  auto [stop, error] = std::from_chars(at->second.data(), end, value);
  return error == std::errc() && stop == end ? value : fallback;
}

constexpr const char* kDesired = "deployment.kubernetes.io/desired-replicas";
constexpr const char* kMax = "deployment.kubernetes.io/max-replicas";

}  // namespace master::controllers
