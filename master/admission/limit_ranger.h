// LimitRanger: the LimitRanges of a namespace give containers default requests and limits, and bound
// what containers, Pods and claims may ask for.
// Source: kubernetes.io, "Limit Ranges"; refusals as kube-apiserver's.
#pragma once

#include <string>
#include <vector>

#include "master/registry/admission.h"

namespace master {

class Registry;

// Pure parts. Fills what the containers of `pod` leave out, and notes it in an annotation.
void apply_limit_defaults(const base::json::value& limit_range, base::json::value& pod);
// What a Pod (or, for items of type PersistentVolumeClaim, a claim) asks too much or too little.
std::vector<std::string> check_limits(const base::json::value& limit_range, const base::json::value& object,
                                      bool is_claim);

class LimitRanger final : public AdmissionPlugin {
 public:
  explicit LimitRanger(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "LimitRanger"; }
  base::json::value mutate(AdmissionAttributes& attributes) override;
  base::json::value validate(AdmissionAttributes& attributes) override;

 private:
  std::vector<base::json::value> ranges(const AdmissionAttributes& attributes) const;
  Registry& registry_;
};

}  // namespace master
