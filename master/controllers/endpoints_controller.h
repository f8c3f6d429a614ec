// Keeps each Service's Endpoints and EndpointSlices. Knows per Service which Pods are members, so
// that a Pod's change costs its own Services only. Of a Service without a selector the Endpoints are
// the user's: they are mirrored into slices, never written.
#pragma once

#include <map>
#include <set>
#include <string>

#include "master/controllers/endpoints_plan.h"
#include "master/controllers/nodes.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {

class EndpointsController {
 public:
  explicit EndpointsController(Hub& hub);

 private:
  void service_changed(const std::shared_ptr<const Service>& before,
                       const std::shared_ptr<const Service>& after);
  void pod_changed(const std::shared_ptr<const Pod>& before, const std::shared_ptr<const Pod>& after);
  void sync(const std::string& key, Reconciler::Finish finish);
  Step write_endpoints(const std::string& key, const Service& service, const Pods& pods);
  void write_slices(const std::string& key, const Service& service, SlicePlan plan, std::vector<Step>& steps);
  std::vector<std::shared_ptr<const Whole>> slices_of(const std::string& key, const char* controller) const;
  std::function<std::string(const std::string&)> zone_of() const;

  Hub& hub_;
  Store<Service>& services_;
  Store<Whole>& endpoints_;
  Store<Whole>& slices_;
  Store<Pod>& pods_;
  Store<Node>& nodes_;
  Hub::Account &endpoints_account_, &slices_account_;
  std::map<std::string, std::set<std::string>> members_;  // Service key -> Pod keys
  Reconciler reconciler_;
};

}  // namespace master::controllers
