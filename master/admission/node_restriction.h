// NodeRestriction: a node writes its own Node and Lease, the status of its own Pods, and asks for
// tokens of its own Pods and for its own certificates; labels and taints by which work is steered to nodes
// are not its to set, nor owners that would have its Node collected. Source: kubernetes.io, "Admission
// Control in Kubernetes", NodeRestriction.
#pragma once

#include <memory>

#include "master/admission/token_audience.h"
#include "master/registry/admission.h"
#include "master/registry/object_cache.h"

namespace master {

class Authorizer;

// All must outlive it.
std::unique_ptr<AdmissionPlugin> make_node_restriction(const ObjectCache& pods, const ObjectCache& nodes,
                                                       AudienceCaches audiences,
                                                       const Authorizer& authorizer);

// Labels that differ between two label maps (null: none) and that no node may change, sorted.
std::vector<std::string> labels_not_for_nodes(const base::json::value* before,
                                              const base::json::value* after);

}  // namespace master
