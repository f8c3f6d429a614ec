// Priority: a Pod gets its number and its preemption policy from its PriorityClass, or from the one
// that is the default of all. Source: kubernetes.io, "Pod Priority and Preemption".
#pragma once

#include "master/registry/admission.h"

namespace master {

class Registry;

constexpr int64_t kHighestUserPriority = 1000000000;

class Priority final : public AdmissionPlugin {
 public:
  explicit Priority(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "Priority"; }
  base::json::value mutate(AdmissionAttributes& attributes) override;    // Pods
  base::json::value validate(AdmissionAttributes& attributes) override;  // PriorityClasses

 private:
  struct Class {
    std::string name = {}, policy = "PreemptLowerPriority";
    int64_t value = 0;
  };
  static Class read_class(std::string name, const base::json::value& object);
  const Class& default_class();

  Registry& registry_;
  Class default_;
  int64_t default_read_at_ = -1;  // revision of the classes
};
// system-cluster-critical and system-node-critical: what every cluster has.
std::vector<base::json::object> system_priority_classes();

}  // namespace master
