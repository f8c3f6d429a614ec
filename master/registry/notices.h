// What answers say of a kind in Warning headers, whatever the object. Pure.
#pragma once

#include <string>
#include <string_view>

#include "master/registry/resource.h"

namespace master {

// Of every answer about a kind that is deprecated, in kube-apiserver's words; "" for any other.
std::string_view deprecation_of(const ResourceInfo& resource);
// Of a write to a kind on which Kubernetes' own controllers, scheduler or kubelet act, and ours do not yet;
// "" for any other.
std::string idle_notice(const ResourceInfo& resource);

}  // namespace master
