// PodSecurity: the Pod Security Standards that a namespace's labels ask for. Pods that violate what is
// enforced are refused; Pods and workloads that violate what is only warned of get a warning.
// Decisions: pod_security.h. Source: kubernetes.io, "Pod Security Admission".
#pragma once

#include "master/admission/pod_security.h"
#include "master/registry/admission.h"

namespace master {

class Registry;

class PodSecurity final : public AdmissionPlugin {
 public:
  explicit PodSecurity(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "PodSecurity"; }
  base::json::value validate(AdmissionAttributes& attributes) override;

 private:
  base::json::value check_namespace(AdmissionAttributes& attributes);
  base::json::value check_pod(AdmissionAttributes& attributes);
  static void tell(AdmissionAttributes& attributes, const PodSecurityPolicy& policy,
                   const base::json::value& pod, bool warn);
  PodSecurityPolicy policy_of(std::string_view ns) const;
  void warn_of_existing(AdmissionAttributes& attributes, const PodSecurityLevel& level);

  Registry& registry_;
};
// The Pod template of a workload, null for everything else.
const base::json::value* pod_template_of(const ResourceInfo& resource, const base::json::value& object);

}  // namespace master
