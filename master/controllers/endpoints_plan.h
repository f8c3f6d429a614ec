// From a Service and its Pods to the subsets of its Endpoints and to changes of its EndpointSlices.
// Pure. Slices keep their endpoints where they are, so that one Pod's change rewrites one slice.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "master/controllers/services.h"

namespace master::controllers {

constexpr size_t kMaxEndpointsPerSlice = 100;
constexpr size_t kMaxEndpointsAddresses = 1000;  // of v1 Endpoints; more are cut, and annotated so

using Pods = std::vector<std::shared_ptr<const Pod>>;
// The whole desired Endpoints object.
json::object plan_endpoints(const Service& service, const Pods& pods);

struct SlicePlan {
  std::vector<json::object> create, update;
  std::vector<std::string> remove;  // names
  std::string text() const;
};
// `zone_of` a node; `slices`: those we own of this Service.
SlicePlan plan_slices(const Service& service, const Pods& pods,
                      const std::vector<std::shared_ptr<const Whole>>& slices,
                      const std::function<std::string(const std::string& node)>& zone_of);
// The slices of an Endpoints object that a user keeps for a Service without a selector.
SlicePlan plan_mirror(const Whole& endpoints, const std::vector<std::shared_ptr<const Whole>>& slices);
constexpr const char* kSliceController = "endpointslice-controller.k8s.io";
constexpr const char* kSliceMirror = "endpointslicemirroring-controller.k8s.io";
// Whether what matters of an object (labels, ports, addresses…) is the same.
bool same_endpoints(const json::value& stored, const json::object& desired);

}  // namespace master::controllers
