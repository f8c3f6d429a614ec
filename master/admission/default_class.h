// DefaultStorageClass and DefaultIngressClass: claims and Ingresses that name no class get the one
// that is annotated as the default; of several, the newest.
#pragma once

#include "master/registry/admission.h"

namespace master {

class Registry;

class DefaultClass final : public AdmissionPlugin {
 public:
  enum class Kind : uint8_t { kStorage, kIngress };
  DefaultClass(Registry& registry, Kind kind) : registry_(registry), kind_(kind) {}
  std::string_view name() const override {
    return kind_ == Kind::kStorage ? "DefaultStorageClass" : "DefaultIngressClass";
  }
  base::json::value mutate(AdmissionAttributes& attributes) override;

 private:
  Registry& registry_;
  Kind kind_;
};

}  // namespace master
