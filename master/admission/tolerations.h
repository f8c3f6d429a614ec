// DefaultTolerationSeconds: a Pod stays five minutes on a node that is not ready or unreachable,
// unless it says otherwise.
#pragma once

#include "master/registry/admission.h"

namespace master {

void add_default_tolerations(base::json::value& pod);

class DefaultTolerationSeconds final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "DefaultTolerationSeconds"; }
  base::json::value mutate(AdmissionAttributes& attributes) override {
    if (attributes.is("", "pods") && attributes.operation == Operation::kCreate &&
        attributes.subresource.empty())
      add_default_tolerations(attributes.object);
    return nullptr;
  }
};

}  // namespace master
