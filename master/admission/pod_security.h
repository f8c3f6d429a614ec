// Pod Security Standards: what the levels baseline and restricted ask of a Pod, by version of the
// standards. Pure. Source: kubernetes.io, "Pod Security Standards"; words as kube-apiserver's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace master {

struct PodSecurityLevel {
  enum class Level : uint8_t { kPrivileged, kBaseline, kRestricted } level = Level::kPrivileged;
  int minor = -1;            // of 1.MINOR; -1: latest
  std::string text() const;  // "restricted:latest", "baseline:v1.24"
  bool operator==(const PodSecurityLevel&) const = default;
};
// From a namespace's labels pod-security.kubernetes.io/{enforce,audit,warn}[-version]. An enforce label
// that cannot be read counts as restricted, a version as latest.
struct PodSecurityPolicy {
  PodSecurityLevel enforce, audit, warn;
  bool operator==(const PodSecurityPolicy&) const = default;
};
PodSecurityPolicy read_pod_security(const base::json::value* labels);
// Labels that cannot be read: {label, value, what is wrong}.
struct BadLabel {
  std::string label, value, why;
};
std::vector<BadLabel> check_pod_security_labels(const base::json::value* labels);

struct Violation {
  std::string reason, detail;  // "privileged", "container \"c\" must not set securityContext.privileged=true"
};
// `pod` has metadata and spec: a Pod or a Pod template.
std::vector<Violation> violations(const PodSecurityLevel& level, const base::json::value& pod);
std::string detail_text(const std::vector<Violation>& all);  // "privileged (…), hostPort (…)"
std::string reason_text(const std::vector<Violation>& all);  // "privileged, hostPort"

}  // namespace master
