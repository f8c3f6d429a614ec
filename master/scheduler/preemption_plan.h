// Whom to send away so that a Pod which fits nowhere fits on a node: Pods of lower priority, as few and as
// unimportant as do, against as few PodDisruptionBudgets as can be; or why nobody. Pure; as kube-scheduler's
// DefaultPreemption.
#pragma once

#include "master/scheduler/schedule_plan.h"

namespace master::scheduler {

struct Preemption {
  struct Victim {
    std::string pod, uid;
    bool terminating = false;  // on its way already
  };
  std::string node;                      // empty: none
  std::vector<Victim> victims;           // the most important first
  int violations = 0;                    // of budgets
  std::vector<std::string> denominated;  // less important Pods that had been promised the node
  std::string message;                   // without a node: "preemption: 0/3 nodes are available: …"
  bool keep_nomination = false;          // without a node: what was promised to the Pod stands
};
// `choice` is what the Pod was refused with.
Preemption plan_preemption(const Ask& ask, const std::string& pod, const Picture& picture,
                           const Profile& profile, const Choice& choice, size_t start = 0);
std::string text(const Preemption& plan);  // one line an action

}  // namespace master::scheduler
