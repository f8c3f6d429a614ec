// What controllers keep of a StatefulSet, and the names and bodies of what a set makes. Read straight from
// JSON. Shapes of apps/v1 and core/v1.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/store.h"
#include "master/controllers/volumes.h"

namespace master::controllers {

extern const api::Resource kStatefulSets;

constexpr const char* kPodNameLabel = "statefulset.kubernetes.io/pod-name";
constexpr const char* kPodIndexLabel = "apps.kubernetes.io/pod-index";

struct StatefulSet {
  Meta meta;
  Labels annotations;
  Selector selector;
  json::object match_labels;  // of the selector: its claims get them
  json::value pod_template, max_unavailable, status;
  json::array claim_templates;
  std::string service;
  int64_t replicas = 1, start = 0, partition = 0;
  int min_ready_seconds = 0;
  std::optional<int> revision_history_limit;
  bool parallel = false, on_delete = false;
  bool delete_claims_with_set = false, delete_claims_with_pod = false;  // whenDeleted, whenScaled

  bool in_range(int64_t ordinal) const { return ordinal >= start && ordinal - start < replicas; }
  std::string pod_name(int64_t ordinal) const { return meta.name + "-" + std::to_string(ordinal); }
  // The ordinal in a Pod's name; -1: no name of a Pod of this set.
  int64_t ordinal_of(std::string_view pod) const;

  static Store<StatefulSet>::Reader reader(const api::Resource& resource);
};

std::string claim_name(const StatefulSet& set, const json::value& claim_template, int64_t ordinal);
json::object claim_of_set(const StatefulSet& set, const json::value& claim_template, int64_t ordinal);
// `pod_template` is that of the revision with that name.
json::object pod_of_stateful_set(const StatefulSet& set, const json::value& pod_template,
                                 const std::string& revision, int64_t ordinal);

}  // namespace master::controllers
