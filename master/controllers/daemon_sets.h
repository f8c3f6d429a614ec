// What controllers keep of a DaemonSet, and where its Pods may be. Read straight from JSON. Shapes of
// apps/v1.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/node_terms.h"
#include "master/controllers/nodes.h"

namespace master::controllers {

extern const api::Resource kDaemonSets;

struct DaemonSet {
  Meta meta;
  Labels annotations;
  Selector selector;
  json::value pod_template, max_surge, max_unavailable, status;
  // Of the template's spec:
  NodeFilter nodes;
  std::vector<Toleration> tolerations;  // with those that every daemon Pod has
  std::string node_name;
  int min_ready_seconds = 0;
  std::optional<int> revision_history_limit;
  bool on_delete = false;

  static Store<DaemonSet>::Reader reader(const api::Resource& resource);
};

// Whether a Pod may be started on the node, and whether one that is there may stay.
struct Placement {
  bool start = false, stay = false;
  bool operator==(const Placement&) const = default;
};
Placement placement(const DaemonSet& set, const Node& node);

// The body of the Pod for a node. `hash` is that of the revision.
json::object pod_of_daemon_set(const DaemonSet& set, const std::string& node, const std::string& hash);

}  // namespace master::controllers
