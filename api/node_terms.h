// Terms of node selectors: requirements on a node's labels and fields (only metadata.name exists), as node
// affinity of Pods and of PersistentVolumes says them. Shared by whoever has to agree. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/selector.h"

namespace api {

struct NodeTerm {
  Selector labels, fields;
  bool empty = false;  // matches no node
  int weight = 0;      // preferred terms
  bool operator==(const NodeTerm&) const = default;
};
NodeTerm read_node_term(const json::value& term);
bool matches(const NodeTerm& term, const std::map<std::string, std::string>& labels, const std::string& node);

// A PersistentVolume's; none: every node.
std::vector<NodeTerm> volume_node_terms(const json::value& volume);
bool admits(const std::vector<NodeTerm>& terms, const std::map<std::string, std::string>& labels,
            const std::string& node);

}  // namespace api
