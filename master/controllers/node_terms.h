// Which nodes a Pod may be on by what it says of nodes alone: nodeSelector and required node affinity, over
// labels and over fields (only metadata.name exists). Shared by the scheduler and the DaemonSet controller,
// who must agree. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/objects.h"

namespace master::controllers {

struct NodeTerm {
  Selector labels, fields;
  bool empty = false;  // matches no node
  int weight = 0;      // preferred terms
  bool operator==(const NodeTerm&) const = default;
};
NodeTerm read_node_term(const json::value& term);
bool matches(const NodeTerm& term, const Labels& labels, const std::string& node);

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
