// PersistentVolumeClaimResize: only a bound claim can ask for more, and only of a class that allows it.
#pragma once

#include "master/registry/admission.h"

namespace master {

class Registry;

class ClaimResize final : public AdmissionPlugin {
 public:
  explicit ClaimResize(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "PersistentVolumeClaimResize"; }
  base::json::value validate(AdmissionAttributes& attributes) override;

 private:
  Registry& registry_;
};

}  // namespace master
