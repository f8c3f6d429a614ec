// What the master does about one Node: conditions and taints of a node that went silent or came
// back, its Pod CIDR, and when which of its Pods must leave. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "master/controllers/nodes.h"

namespace master::controllers {

struct NodePlan {
  std::optional<json::array> conditions;     // all of them, to publish
  std::optional<std::vector<Taint>> taints;  // all of them
  std::string pod_cidr;                      // to assign; empty: leave
  bool went_silent = false;                  // just now: its Pods are not ready any more
  std::string text() const;
};
// `silent`: neither lease nor Ready condition was renewed within the grace period.
// `may_be_emptied`: it may get the taint that evicts, or keep it (node_zones.h).
NodePlan plan_node(const Node& node, bool silent, bool may_be_emptied, const std::string& free_cidr,
                   base::Time now);

// The lowest /`mask` of `cluster_cidr` that is not in `used`; empty when there is none.
std::string allocate_cidr(const std::string& cluster_cidr, int mask, const std::set<std::string>& used);

// When a Pod must leave a node with these taints; nothing: it may stay.
std::optional<base::Time> eviction_time(const std::vector<Toleration>& tolerations,
                                        const std::vector<Taint>& taints, base::Time now);
// Whether it has the taint already that a node gets which does not answer.
bool has_no_execute_of_ours(const Node& node);

}  // namespace master::controllers
