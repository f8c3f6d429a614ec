// Keeps each Service's Endpoints and EndpointSlices. Knows per Service which Pods are members, so
// that a Pod's change costs its own Services only. Never touches Services without a selector (their
// Endpoints are the user's, or the master's own `kubernetes`).
#pragma once

#include <map>
#include <set>
#include <string>

#include "master/controllers/endpoints_plan.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {

class EndpointsController {
 public:
  explicit EndpointsController(Hub& hub);

 private:
  void service_changed(const std::shared_ptr<const Service>& before, const std::shared_ptr<const Service>& after);
  void pod_changed(const std::shared_ptr<const Pod>& before, const std::shared_ptr<const Pod>& after);
  void sync(const std::string& key, Reconciler::Finish finish);
  Step write_endpoints(const std::string& key, const Service& service, const Pods& pods);
  void write_slices(const std::string& key, const Service& service, const Pods& pods, std::vector<Step>& steps);

  Hub& hub_;
  std::map<std::string, std::set<std::string>> members_;  // Service key -> Pod keys
  Reconciler reconciler_;
};

}  // namespace master::controllers
