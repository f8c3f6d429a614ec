// StorageObjectInUseProtection: a new claim or volume carries the finalizer that keeps it while it is in use.
#pragma once

#include "master/registry/admission.h"

namespace master {

class StorageProtection final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "StorageObjectInUseProtection"; }
  base::json::value mutate(AdmissionAttributes& attributes) override;
};

}  // namespace master
