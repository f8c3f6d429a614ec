// Which node a Pod goes to, or why none. Pure: the same picture gives the same answer. Filters and
// their wording are those of Kubernetes' default plugins, in their order.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "master/scheduler/picture.h"

namespace master::scheduler {

struct Choice {
  std::string node;     // empty: none fits
  std::string message;  // then: "0/3 nodes are available: 3 Insufficient cpu."
};
// `tie` (a hash of the Pod's uid) decides between equals.
Choice choose(const Ask& ask, const std::string& owner_uid, size_t tie, const Picture& picture);

// Why this Pod can't be on this node as far as the node alone says; empty: it can.
std::vector<std::string> filter_node(const Ask& ask, const Node& node);
bool matches(const NodeTerm& term, const Node& node);

// The rules between Pods, prepared once per decision.
class PodRules {
 public:
  PodRules(const Ask& ask, const Picture& picture);
  std::string filter(const Node& node) const;  // empty: fine

 private:
  struct Domain {
    std::string key;
    std::map<std::string, int> counts;  // topology value -> matching Pods
  };
  bool self_matches_all_ = false, any_affinity_match_ = false;
  std::vector<Domain> affinity_, anti_;
  std::map<std::string, std::set<std::string>> forbidden_;  // by Pods that are already there
  struct Spread {
    Domain domain;
    int max_skew, least;
    bool self;
  };
  std::vector<Spread> spread_;
};

}  // namespace master::scheduler
