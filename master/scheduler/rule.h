// A rule of the scheduler: what one of kube-scheduler's plugins says of a Pod and a node. All rules stand in
// one table (rules.cc), in the order in which a node is asked; a rule is its own file and its row there.
// Pure: from the picture to answers, prepared once a decision.
#pragma once

#include <span>

#include "master/scheduler/picture.h"

namespace master::scheduler {

// How full a node should be (NodeResourcesFit's scoringStrategy).
struct Fit {
  enum class Strategy { kLeastAllocated, kMostAllocated, kRequestedToCapacityRatio };
  Strategy strategy = Strategy::kLeastAllocated;
  std::vector<std::pair<std::string, int>> resources = {{"cpu", 1}, {"memory", 1}};  // with their weights
  std::vector<std::pair<int, int>>
      shape;  // utilization in percent to a score of 0 to 10; RequestedToCapacityRatio
};
struct Profile {
  std::string scheduler_name = "default-scheduler";
  int percentage_of_nodes_to_score = 0;  // 0: fewer the more there are
  std::map<std::string, int> weights;    // in place of the table's; 0: no score
  std::set<std::string> without;         // rules that do not filter
  Fit fit;
  int hard_pod_affinity_weight = 1;  // of a placed Pod's required terms in the score of another
};

struct Question {
  const Ask& ask;
  const Picture& picture;
  const Profile& profile;
};
struct Refusal {
  std::vector<std::string> reasons;  // empty: no refusal
  bool for_good = false;             // no matter which Pods go
  explicit operator bool() const { return !reasons.empty(); }
};
class Filter {
 public:
  virtual ~Filter() = default;
  virtual Refusal refuses(const Node& node) const = 0;
  // What if such a Pod came to `node` (1) or went (-1)? Only what was prepared changes; the node itself is
  // the caller's. It may stand in a what-if node, so rules look at its labels and slot alone.
  virtual void move(const Ask& /*pod*/, bool /*terminating*/, const Node& /*node*/, int /*sign*/) {}
};
class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual int64_t score(const Node& node) const = 0;
  // To 0..100, the scores of all nodes that are left.
  virtual void normalise(std::span<const Node* const> /*nodes*/, std::vector<int64_t>& /*scores*/) const {}
};
// As kube-scheduler's DefaultNormalizeScore.
void scale_scores(std::vector<int64_t>& scores, bool fewer_is_better);

struct Rule {
  const char* name;
  // Null: it has nothing to say of this Pod.
  std::unique_ptr<Filter> (*filter)(const Question&);
  std::unique_ptr<Scorer> (*scorer)(const Question&, std::span<const Node* const> left);
  int weight;
  // Whether a change may let in a Pod that this rule refused.
  bool (*helps)(const Ask& waiting, const Change& change);
  // Why the Pod can be nowhere, whatever the nodes are; empty: it may. Null: it never is so.
  std::string (*blocks)(const Question&) = nullptr;
};
std::span<const Rule> rules();
const Rule* rule(std::string_view name);

// The rules, each in its file.
extern const Rule node_unschedulable_rule, taint_toleration_rule, node_affinity_rule, node_ports_rule;
extern const Rule node_resources_fit_rule, node_resources_balanced_allocation_rule;
extern const Rule volume_restrictions_rule, node_volume_limits_rule, volume_binding_rule, volume_zone_rule;
extern const Rule pod_topology_spread_rule, inter_pod_affinity_rule, image_locality_rule;

}  // namespace master::scheduler
