// PodSecurity: the three levels of the Pod Security Standards (privileged, baseline, restricted), chosen
// per namespace by its labels pod-security.kubernetes.io/enforce and /warn; always the newest version.
// Source: kubernetes.io, "Pod Security Standards", "Pod Security Admission".
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "master/admission.h"
#include "master/object_cache.h"

namespace master {

std::unique_ptr<AdmissionPlugin> make_pod_security(const ObjectCache& namespaces);

// What `level` ("baseline", "restricted"; all else allows everything) forbids in a Pod, a sentence a
// control in Kubernetes' words. Pure.
std::vector<std::string> pod_security_violations(std::string_view level, const base::json::value& pod);

}  // namespace master
