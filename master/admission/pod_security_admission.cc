#include "master/admission/pod_security_admission.h"

#include <algorithm>
#include <map>

#include "api/status.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

namespace {
constexpr size_t kMaxExisting = 3000;  // Pods that are looked at when a namespace becomes stricter
}

const json::value* pod_template_of(const ResourceInfo& resource, const json::value& object) {
  if (resource.is("", "podtemplates")) return base::find(object, "template");
  if (resource.is("batch", "cronjobs"))
    return base::find_path(object, "spec", "jobTemplate", "spec", "template");
  bool workload = resource.is("", "replicationcontrollers") || resource.is("batch", "jobs") ||
                  (resource.group == "apps" && resource.plural != "controllerrevisions");
  return workload ? base::find_path(object, "spec", "template") : nullptr;
}

PodSecurityPolicy PodSecurity::policy_of(std::string_view ns) const {
  ObjectRef object = registry_.cache("", "namespaces").find(object_key("", ns));
  if (!object || object->text->find("pod-security.kubernetes.io/") == std::string::npos) return {};
  return read_pod_security(base::find_path(parse_object(*object->text), "metadata", "labels"));
}

json::value PodSecurity::validate(AdmissionAttributes& attributes) {
  if (attributes.operation != Operation::kCreate && attributes.operation != Operation::kUpdate)
    return nullptr;
  if (attributes.is("", "namespaces"))
    return attributes.subresource.empty() ? check_namespace(attributes) : json::value();
  if (attributes.is("", "pods")) return check_pod(attributes);
  const json::value* pods =
      attributes.subresource.empty() ? pod_template_of(*attributes.resource, attributes.object) : nullptr;
  if (!pods) return nullptr;
  tell(attributes, policy_of(attributes.ns), *pods, true);
  return nullptr;
}

// What the labels `audit` and `warn` ask for.
void PodSecurity::tell(AdmissionAttributes& attributes, const PodSecurityPolicy& policy,
                       const json::value& pod, bool warn) {
  auto said = [&](const PodSecurityLevel& level) {
    auto found = violations(level, pod);
    return found.empty() ? std::string()
                         : "would violate PodSecurity \"" + level.text() + "\": " + detail_text(found);
  };
  if (attributes.request->audit_annotations)
    if (std::string text = said(policy.audit); !text.empty())
      attributes.request->annotate("pod-security.kubernetes.io/audit-violations", std::move(text));
  if (!warn) return;
  if (std::string text = said(policy.warn); !text.empty())
    attributes.request->warnings.push_back(std::move(text));
}

json::value PodSecurity::check_pod(AdmissionAttributes& attributes) {
  if (!attributes.subresource.empty() && attributes.subresource != "ephemeralcontainers" &&
      attributes.subresource != "resize")
    return nullptr;
  PodSecurityPolicy policy = policy_of(attributes.ns);
  attributes.request->annotate("pod-security.kubernetes.io/enforce-policy", policy.enforce.text());
  if (policy == PodSecurityPolicy()) return nullptr;
  if (attributes.operation == Operation::kUpdate) {  // what cannot make a difference is not judged again
    const json::value *now = base::find(attributes.object, "spec"), *was = base::find(attributes.old, "spec");
    if (now && was && *now == *was) return nullptr;
  }
  auto enforced = violations(policy.enforce, attributes.object);
  tell(attributes, policy, attributes.object, enforced.empty());  // no warning beside a refusal
  if (!enforced.empty())
    return api::forbidden(attributes.resource->named(), attributes.name,
                          "violates PodSecurity \"" + policy.enforce.text() + "\": " + detail_text(enforced));
  return nullptr;
}

json::value PodSecurity::check_namespace(AdmissionAttributes& attributes) {
  const json::value* labels = base::find_path(attributes.object, "metadata", "labels");
  api::FieldErrors errors;
  for (const BadLabel& bad : check_pod_security_labels(labels))
    errors.push_back({api::FieldError::Type::invalid, "metadata.labels[" + bad.label + "]",
                      base::to_json(json::value(bad.value)), bad.why});
  if (!errors.empty()) return api::invalid("", "Namespace", attributes.name, errors);
  if (attributes.operation != Operation::kUpdate) return nullptr;
  PodSecurityLevel now = read_pod_security(labels).enforce;
  PodSecurityLevel was = read_pod_security(base::find_path(attributes.old, "metadata", "labels")).enforce;
  if (now != was && now.level >= was.level) warn_of_existing(attributes, now);
  return nullptr;
}

void PodSecurity::warn_of_existing(AdmissionAttributes& attributes, const PodSecurityLevel& level) {
  struct Seen {
    std::string pod;
    size_t more = 0;
  };
  std::map<std::string, Seen> by_reason;
  size_t looked = 0, total = 0;
  auto [it, end] = registry_.cache("", "pods").range(attributes.name);
  for (; it != end; ++it) {
    if (++total > kMaxExisting) continue;
    ++looked;
    auto found = violations(level, parse_object(*it->second->text));
    if (found.empty()) continue;
    auto [seen, is_new] = by_reason.emplace(reason_text(found), Seen{std::string(it->second->name()), 0});
    if (!is_new) ++seen->second.more;
  }
  std::vector<std::string>& warnings = attributes.request->warnings;
  if (looked < total)
    warnings.push_back("new PodSecurity enforce level only checked against the first " +
                       std::to_string(looked) + " of " + std::to_string(total) + " existing pods");
  if (by_reason.empty()) return;
  warnings.push_back("existing pods in namespace \"" + attributes.name +
                     "\" violate the new PodSecurity enforce level \"" + level.text() + "\"");
  std::vector<std::string> lines;
  for (const auto& [reason, seen] : by_reason)
    lines.push_back(seen.pod +
                    (seen.more == 0   ? ""
                     : seen.more == 1 ? " (and 1 other pod)"
                                      : " (and " + std::to_string(seen.more) + " other pods)") +
                    ": " + reason);
  std::sort(lines.begin(), lines.end());
  warnings.insert(warnings.end(), lines.begin(), lines.end());
}

}  // namespace master
