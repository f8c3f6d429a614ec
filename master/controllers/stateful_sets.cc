#include "master/controllers/stateful_sets.h"

#include <algorithm>

#include "base/json_lists.h"
#include "base/number.h"
#include "master/controllers/revisions.h"
#include "master/controllers/workloads.h"

namespace master::controllers {
using base::as_int;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

const api::Resource kStatefulSets = {"apps", "v1", "statefulsets", "StatefulSet", true};

int64_t StatefulSet::ordinal_of(std::string_view pod) const {
  if (!pod.starts_with(meta.name)) return -1;
  pod.remove_prefix(meta.name.size());
  if (pod.size() < 2 || pod[0] != '-') return -1;
  pod.remove_prefix(1);
  const auto ordinal = base::parse_number<int64_t>(pod, 0);
  return ordinal && std::to_string(*ordinal) == pod ? *ordinal : -1;  // "web-01" is another's
}

Store<StatefulSet>::Reader StatefulSet::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const StatefulSet> {
    auto set = std::make_shared<StatefulSet>();
    set->meta = read_meta(object);
    set->annotations = read_labels(find_path(object, "metadata", "annotations"));
    set->status = copy_of(find(object, "status"));
    const json::value* spec = find(object, "spec");
    if (!spec) return set;
    set->selector = label_selector(find(*spec, "selector"));
    set->match_labels = base::map_at(find_path(*spec, "selector", "matchLabels"));
    set->pod_template = copy_of(find(*spec, "template"));
    set->claim_templates = list_at(*spec, "volumeClaimTemplates");
    set->service = string_at(*spec, "serviceName");
    // All are int32 of the API; kept wider, so that no sum of them can overflow.
    auto number = [](const json::value* value, int64_t otherwise) {
      return std::clamp<int64_t>(value && value->is_number() ? as_int(value) : otherwise, 0, INT32_MAX);
    };
    set->replicas = number(find(*spec, "replicas"), 1);
    set->start = number(find_path(*spec, "ordinals", "start"), 0);
    set->partition = number(find_path(*spec, "updateStrategy", "rollingUpdate", "partition"), 0);
    set->max_unavailable = copy_of(find_path(*spec, "updateStrategy", "rollingUpdate", "maxUnavailable"));
    set->on_delete = string_at(*spec, "updateStrategy", "type") == "OnDelete";
    set->parallel = string_at(*spec, "podManagementPolicy") == "Parallel";
    set->min_ready_seconds = static_cast<int>(number(find(*spec, "minReadySeconds"), 0));
    if (const json::value* limit = find(*spec, "revisionHistoryLimit"); limit && limit->is_number())
      set->revision_history_limit = static_cast<int>(number(limit, 0));
    const json::value* keeps = find(*spec, "persistentVolumeClaimRetentionPolicy");
    set->delete_claims_with_set = keeps && string_at(*keeps, "whenDeleted") == "Delete";
    set->delete_claims_with_pod = keeps && string_at(*keeps, "whenScaled") == "Delete";
    return set;
  };
}

std::string claim_name(const StatefulSet& set, const json::value& claim_template, int64_t ordinal) {
  return fmt::format("{}-{}-{}", string_at(claim_template, "metadata", "name"), set.meta.name, ordinal);
}
json::object claim_of_set(const StatefulSet& set, const json::value& claim_template, int64_t ordinal) {
  json::object claim = claim_template.is_object() ? claim_template.get_object() : json::object();
  claim["apiVersion"] = "v1";
  claim["kind"] = "PersistentVolumeClaim";
  claim.erase("status");
  json::object& meta = base::object_at(claim, "metadata");
  meta["name"] = claim_name(set, claim_template, ordinal);
  meta["namespace"] = set.meta.ns;
  json::object& labels = base::object_at(meta, "labels");
  for (const auto& item : set.match_labels) labels[item.key()] = item.value();
  return claim;
}

json::object pod_of_stateful_set(const StatefulSet& set, const json::value& pod_template,
                                 const std::string& revision, int64_t ordinal) {
  json::object pod = pod_of_template(
      pod_template, set.meta.ns, controller_reference("apps/v1", "StatefulSet", set.meta.name, set.meta.uid));
  const std::string name = set.pod_name(ordinal);
  json::object& meta = base::object_at(pod, "metadata");
  meta["name"] = name;
  json::object& labels = base::object_at(meta, "labels");
  labels[kPodNameLabel] = name;
  labels[kPodIndexLabel] = std::to_string(ordinal);
  labels[kRevisionHash] = revision;
  json::object& spec = base::object_at(pod, "spec");
  spec["hostname"] = name;
  if (!set.service.empty()) spec["subdomain"] = set.service;
  else spec.erase("subdomain");
  if (set.claim_templates.empty()) return pod;
  json::array volumes;
  for (const json::value& claim : set.claim_templates)
    volumes.push_back(
        json::object{{"name", string_at(claim, "metadata", "name")},
                     {"persistentVolumeClaim", {{"claimName", claim_name(set, claim, ordinal)}}}});
  const json::value* given = spec.if_contains("volumes");
  for (const json::value& volume : list_at(given)) {
    const bool replaced =
        std::any_of(set.claim_templates.begin(), set.claim_templates.end(), [&](const json::value& claim) {
          return string_at(claim, "metadata", "name") == string_at(volume, "name");
        });
    if (!replaced) volumes.push_back(volume);
  }
  spec["volumes"] = std::move(volumes);
  return pod;
}

}  // namespace master::controllers
