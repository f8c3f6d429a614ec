// Which nodes a Pod may be on by what it says of nodes alone: nodeSelector and required node affinity. Shared
// by the scheduler and the DaemonSet controller, who must agree. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/node_terms.h"
#include "master/controllers/objects.h"

namespace master::controllers {

using api::matches;
using api::NodeTerm;
using api::read_node_term;

struct NodeFilter {
  std::map<std::string, std::string> selector;
  std::optional<std::vector<NodeTerm>> required;  // any of them
  bool admits(const Labels& labels, const std::string& node) const;
  bool operator==(const NodeFilter&) const = default;
};
NodeFilter read_node_filter(const json::value& pod_spec);

// The node that required affinity names: each DaemonSet's Pod has one. Empty: none, or more than one.
std::string node_by_affinity(const json::value& pod_spec);

}  // namespace master::controllers
