// Priority: a Pod gets its number and its preemption policy from its PriorityClass, or from the one
// that is the default of all. Source: kubernetes.io, "Pod Priority and Preemption".
#pragma once

#include "master/admission.h"

namespace master {

class ApiServer;

constexpr int64_t kHighestUserPriority = 1000000000;

class Priority final : public AdmissionPlugin {
 public:
  explicit Priority(ApiServer& server) : server_(server) {}
  std::string_view name() const override { return "Priority"; }
  base::json::value mutate(AdmissionAttributes& attributes) override;    // Pods
  base::json::value validate(AdmissionAttributes& attributes) override;  // PriorityClasses

 private:
  ApiServer& server_;
};
// system-cluster-critical and system-node-critical: what every cluster has.
std::vector<base::json::object> system_priority_classes();

}  // namespace master
