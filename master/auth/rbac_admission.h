// The rules for writing RBAC's own objects: what they must look like, and that nobody grants what he
// does not hold, unless he may escalate (roles) or bind (bindings).
// Source: kubernetes.io, "Privilege escalation prevention and bootstrapping".
#pragma once

#include <memory>

#include "master/auth/authorizer.h"
#include "master/registry/admission.h"

namespace master {

std::unique_ptr<AdmissionPlugin> make_rbac_admission(const Authorizer& authorizer);

}  // namespace master
