// What a StatefulSet does next: which ordinals get a Pod, which Pod goes, which claims are missing or belong
// to somebody else now, and how far an update is. Pure. Never two Pods of one ordinal, since the name is the
// ordinal's; in order, one after the other, unless the set is Parallel. Order, counts and words are those of
// Kubernetes' StatefulSet controller (1.36, with maxUnavailable).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/events.h"
#include "master/controllers/revisions.h"
#include "master/controllers/stateful_sets.h"

namespace master::controllers {

// So long a name rests before a Pod has it again: `kubectl delete pod` asks for the Pod twice, a moment
// apart, by its name alone, and waits for whom it finds to go.
constexpr base::Duration kNameRests = std::chrono::milliseconds(200);
constexpr size_t kStatefulBurst = 500;  // Pods created or deleted in one round

struct StatefulSetView {
  std::shared_ptr<const StatefulSet> set;
  std::vector<std::shared_ptr<const Pod>> pods;  // its own and the namespace's orphans
  Revisions revisions;                           // likewise
  // A claim of the set's namespace by its name; null: there is none.
  std::function<std::shared_ptr<const Claim>(const std::string&)> claim;
  std::map<std::string, base::Time> left = {};  // when a Pod of this name was last seen to go
};

struct StatefulSetPlan {
  std::vector<std::string> adopt, release;  // Pod names
  RevisionPlan revisions;                   // not settled: nothing but this and those above happens
  struct NewClaim {
    std::string name, pod;
    json::object body;
  };
  std::vector<NewClaim> claims;  // before the Pods that need them
  struct Create {
    std::string name;
    json::object body;
  };
  std::vector<Create> create;
  struct Owners {  // of a claim: as the retention policy says
    std::string claim;
    uint64_t revision = 0;  // of the claim that was seen
    json::array references;
  };
  std::vector<Owners> owners;
  struct Relabel {
    std::string pod;
    int64_t ordinal = 0;
  };
  std::vector<Relabel> relabel;     // Pods that lost their identity's labels
  std::vector<std::string> remove;  // Pod names, in this order; after all of the above
  std::vector<std::string> forget;  // old revisions past the limit
  std::vector<PlanEvent> events;
  json::object status;
  bool status_changed = false;
  std::optional<base::Duration> again;
  std::string text() const;
};
StatefulSetPlan plan_stateful_set(const StatefulSetView& view, base::Time now);

}  // namespace master::controllers
