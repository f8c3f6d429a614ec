// DefaultStorageClass and DefaultIngressClass: claims and Ingresses that name no class get the one
// that is annotated as the default; of several, the newest.
#pragma once

#include "master/admission.h"

namespace master {

class ApiServer;

class DefaultClass final : public AdmissionPlugin {
 public:
  enum class Kind : uint8_t { kStorage, kIngress };
  DefaultClass(ApiServer& server, Kind kind) : server_(server), kind_(kind) {}
  std::string_view name() const override {
    return kind_ == Kind::kStorage ? "DefaultStorageClass" : "DefaultIngressClass";
  }
  base::json::value mutate(AdmissionAttributes& attributes) override;

 private:
  ApiServer& server_;
  Kind kind_;
};

}  // namespace master
