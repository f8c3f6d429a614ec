// What objects count for in ResourceQuotas, and whether one more fits. Pure.
// Source: kubernetes.io, "Resource Quotas"; refusals as kube-apiserver's.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/quantity.h"
#include "base/json.h"
#include "master/registry/resource.h"

namespace master {

using Usage =
    std::map<std::string, api::Quantity, std::less<>>;  // "pods", "requests.cpu", "count/jobs.batch"
Usage& operator+=(Usage& into, const Usage& other);
Usage& operator-=(Usage& into, const Usage& other);

// Everything that one object counts for, under all the names a quota may use for it.
Usage usage_of(const ResourceInfo& resource, const base::json::value& object);

struct Quota {
  std::string name;
  Usage hard;
  base::json::value spec;
};
Quota read_quota(const base::json::value& object);
// Whether a quota's scopes take the object in.
bool in_scope(const Quota& quota, const ResourceInfo& resource, const base::json::value& object);
// Of a usage, what the quota limits.
Usage limited(const Quota& quota, const Usage& usage);
// "exceeded quota: q, requested: …, used: …, limited: …", or "" when `wanted` more fits.
std::string exceeded(const Quota& quota, const Usage& used, const Usage& wanted);
// "failed quota: q: must specify …", or "" when a Pod's containers say what the quota limits.
std::string unspecified(const Quota& quota, const ResourceInfo& resource, const base::json::value& object);
// status of the quota.
base::json::value quota_status(const Quota& quota, const Usage& used);
// The resources that a quota counts: {"", "pods"}, {"batch", "jobs"}.
std::vector<std::pair<std::string, std::string>> counted_resources(const Quota& quota);

}  // namespace master
