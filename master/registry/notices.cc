#include "master/registry/notices.h"

namespace master {
namespace {

struct Deprecated {
  std::string_view group, plural, said;
};
constexpr Deprecated kDeprecated[] = {
    {"", "componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"},
    {"", "endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"},
};

// The row goes when the controller comes.
struct Idle {
  std::string_view group, plural;
};
// clang-format off
constexpr Idle kIdle[] = {
    {"networking.k8s.io", "ipaddresses"},
    {"networking.k8s.io", "servicecidrs"},
    {"node.k8s.io", "runtimeclasses"},
    {"resource.k8s.io", "deviceclasses"},
    {"resource.k8s.io", "resourceclaims"},
    {"resource.k8s.io", "resourceclaimtemplates"},
    {"resource.k8s.io", "resourceslices"},
    {"storage.k8s.io", "csidrivers"},
    {"storage.k8s.io", "csinodes"},
    {"storage.k8s.io", "csistoragecapacities"},
    {"storage.k8s.io", "volumeattachments"},
    {"storage.k8s.io", "volumeattributesclasses"},
};
// clang-format on

}  // namespace

std::string_view deprecation_of(const ResourceInfo& resource) {
  for (const Deprecated& row : kDeprecated)
    if (resource.is(row.group, row.plural)) return row.said;
  return {};
}
std::string idle_notice(const ResourceInfo& resource) {
  for (const Idle& row : kIdle)
    if (resource.is(row.group, row.plural))
      return "this version of Sampan has no controller for " + resource.kind +
             ": the object is stored, and nothing acts on it";
  return {};
}

}  // namespace master
