// NamespaceLifecycle: nothing is created in a namespace that is absent or going, and the namespaces
// that the cluster itself needs stay. Source: kube-apiserver's plugin of that name.
#pragma once

#include "master/registry/admission.h"

namespace master {

class Registry;

class NamespaceLifecycle final : public AdmissionPlugin {
 public:
  explicit NamespaceLifecycle(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "NamespaceLifecycle"; }
  base::json::value mutate(AdmissionAttributes& attributes) override;  // creates: before anything else looks
  base::json::value validate(AdmissionAttributes& attributes) override;  // deletions of namespaces

 private:
  Registry& registry_;
};

}  // namespace master
