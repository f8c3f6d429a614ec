#include "master/registry/strategy.h"

#include <algorithm>
#include <map>
#include <set>

#include "api/defaults.h"
#include "api/validate/validate.h"
#include "base/json_lists.h"
#include "base/number.h"
#include "base/random.h"
#include "base/uuid.h"
#include "master/registry/custom_strategy.h"
#include "master/registry/service_strategy.h"
#include "master/registry/service_update.h"

namespace master {

namespace json = base::json;

namespace {

json::object& object_in(json::value& object, std::string_view key) {
  return base::object_at(object.get_object(), key);
}

void create_pod(json::value& pod) {
  json::object& spec = object_in(pod, "spec");
  if (base::as_string(spec.if_contains("serviceAccountName")).empty()) spec["serviceAccountName"] = "default";
  spec["serviceAccount"] = spec["serviceAccountName"];  // its older name, which reads show as well
}

// A Job's Pods carry its uid, so that no two Jobs ever select each other's.
void create_job(json::value& job) {
  json::object& spec = object_in(job, "spec");
  if (base::as_bool(spec.if_contains("manualSelector"))) return;
  std::string uid(base::string_at(job, "metadata", "uid")), name(base::string_at(job, "metadata", "name"));
  json::object& labels = base::object_at(spec, "template", "metadata", "labels");
  for (const auto& [key, value] :
       {std::pair<const char*, std::string>{"batch.kubernetes.io/controller-uid", uid},
        {"batch.kubernetes.io/job-name", name},
        {"controller-uid", uid},
        {"job-name", name}})
    if (!labels.contains(key)) labels[key] = value;
  json::object& selector = base::object_at(spec, "selector", "matchLabels");
  if (!selector.contains("batch.kubernetes.io/controller-uid"))
    selector["batch.kubernetes.io/controller-uid"] = uid;
}

// How often a DaemonSet's template has changed, by an annotation that nobody else sets; its Pods bear the
// number.
constexpr const char* kTemplateGeneration = "deprecated.daemonset.template.generation";
int64_t template_generation(const json::value& daemon_set) {
  return base::parse_number<int64_t>(
             base::string_at(daemon_set, "metadata", "annotations", kTemplateGeneration))
      .value_or(0);
}
void create_daemon_set(json::value& set) {
  const int64_t given = std::max<int64_t>(1, template_generation(set));
  base::object_at(set.get_object(), "metadata", "annotations")[kTemplateGeneration] = std::to_string(given);
}
void update_daemon_set(const json::value& current, json::value& updated) {
  const json::value *was = base::find_path(current, "spec", "template"),
                    *is = base::find_path(updated, "spec", "template");
  int64_t generation = std::max<int64_t>(1, template_generation(current));
  if ((was && is && *was != *is) || !was != !is) generation += generation < INT64_MAX;
  base::object_at(updated.get_object(), "metadata", "annotations")[kTemplateGeneration] =
      std::to_string(generation);
}

// Only /finalize takes these away.
void update_namespace(const json::value& current, json::value& updated) {
  if (const json::value* spec = base::find(current, "spec"); spec && spec->is_object())
    base::copy_member(spec->get_object(), object_in(updated, "spec"), "finalizers");
}

void set_qos_class(json::value& pod) { object_in(pod, "status")["qosClass"] = api::qos_class(pod); }

void terminate_namespace(json::value& object) { object_in(object, "status")["phase"] = "Terminating"; }
bool has_spec_finalizers(const json::value& object) {
  return !base::list_at(base::find_path(object, "spec", "finalizers")).empty();
}

// A definition waits until its instances are gone.
void keep_definition(json::value& definition) {
  json::object& metadata = object_in(definition, "metadata");
  if (metadata.contains("deletionTimestamp")) return;
  json::value& list = metadata["finalizers"];
  if (!list.is_array()) list = json::array();
  for (const json::value& item : list.get_array())
    if (base::as_string(&item) == kCleanupFinalizer) return;
  list.get_array().push_back(json::value(kCleanupFinalizer));
}

constexpr const char* kAllMetadata[] = {"labels", "annotations", "finalizers",
                                        "ownerReferences"};  // ResetObjectMetaForStatus()
constexpr const char* kLabels[] = {"labels"};
constexpr const char* kOwners[] = {"ownerReferences"};  // which old kubelets spoiled

const Strategy& builtin_strategy(const ResourceInfo& resource) {
  constexpr Strategy kCounted{true};
  static const std::map<std::string_view, Strategy> kRows = {
      {"namespaces",
       {.new_status = R"({"phase":"Active"})",
        .update = update_namespace,
        .begin_deletion = terminate_namespace,
        .waits = has_spec_finalizers}},
      {"configmaps", {.checks_large = true}},
      {"secrets", {.checks_large = true}},
      {"customresourcedefinitions.apiextensions.k8s.io", {.begin_deletion = keep_definition}},
      {"nodes", {false, nullptr, nullptr, nullptr, true}},
      {"persistentvolumeclaims", {false, R"({"phase":"Pending"})"}},
      {"persistentvolumes", {false, R"({"phase":"Pending"})"}},
      {"pods",
       {.counts_generation = true,
        .new_status = R"({"phase":"Pending"})",
        .create = create_pod,
        .kept_by_status = kOwners,
        .admitted = set_qos_class,
        .answers_deleted = true}},
      {"podtemplates", kCounted},
      {"events", {.dependents = Dependents::kUnsupported}},
      {"replicationcontrollers",
       {.counts_generation = true, .new_status = R"({"replicas":0})", .dependents = Dependents::kOrphan}},
      {"services",
       {.new_status = R"({"loadBalancer":{}})",
        .update = clear_load_balancer,
        .loaded = load_service_addresses,
        .take = take_service_addresses,
        .retake = retake_service_addresses,
        .hold = hold_service_addresses}},
      {"daemonsets.apps",
       {true,
        R"({"currentNumberScheduled":0,"desiredNumberScheduled":0,"numberMisscheduled":0,"numberReady":0})",
        create_daemon_set, update_daemon_set}},
      {"deployments.apps", {.counts_generation = true, .kept_by_status = kLabels}},
      {"replicasets.apps", {true, R"({"replicas":0})"}},
      {"statefulsets.apps", {true, R"({"replicas":0,"availableReplicas":0})"}},
      {"horizontalpodautoscalers.autoscaling", {false, R"({"desiredReplicas":0})"}},
      {"cronjobs.batch", kCounted},
      {"jobs.batch", {.counts_generation = true, .create = create_job, .dependents = Dependents::kOrphan}},
      {"endpointslices.discovery.k8s.io", kCounted},
      {"flowschemas.flowcontrol.apiserver.k8s.io",
       {.counts_generation = true, .kept_by_status = kAllMetadata}},
      {"prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
       {.counts_generation = true, .kept_by_status = kAllMetadata}},
      {"apiservices.apiregistration.k8s.io", {.kept_by_status = kAllMetadata}},
      {"resourceclaims.resource.k8s.io", {.kept_by_status = kAllMetadata}},
      {"ingressclasses.networking.k8s.io", kCounted},
      {"ingresses.networking.k8s.io", {true, R"({"loadBalancer":{}})"}},
      {"networkpolicies.networking.k8s.io", kCounted},
      {"poddisruptionbudgets.policy",
       {true, R"({"currentHealthy":0,"desiredHealthy":0,"disruptionsAllowed":0,"expectedPods":0})"}},
      {"deviceclasses.resource.k8s.io", kCounted},
      {"resourceslices.resource.k8s.io", kCounted},
      {"priorityclasses.scheduling.k8s.io", kCounted},
      {"csidrivers.storage.k8s.io", kCounted},
      {"volumeattachments.storage.k8s.io",
       {.new_status = R"({"attached":false})", .kept_by_status = kAllMetadata}},
      {"mutatingadmissionpolicies.admissionregistration.k8s.io", kCounted},
      {"mutatingadmissionpolicybindings.admissionregistration.k8s.io", kCounted},
      {"mutatingwebhookconfigurations.admissionregistration.k8s.io", kCounted},
      {"validatingadmissionpolicies.admissionregistration.k8s.io",
       {.counts_generation = true, .kept_by_status = kAllMetadata}},
      {"validatingadmissionpolicybindings.admissionregistration.k8s.io", kCounted},
      {"validatingwebhookconfigurations.admissionregistration.k8s.io", kCounted},
  };
  auto row = kRows.find(resource.qualified());
  return row == kRows.end() ? kNoStrategy : row->second;
}

// Of every update.
constexpr const char* kOwnedMetadata[] = {
    "uid",        "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generation", "generateName",      "namespace",         "name"};

// The metadata of an object after a write to its /status that brought `sent`. What is equal stays in its
// place, so that a write which changes nothing is seen to be one.
json::object status_metadata(const json::object& current, const json::object& sent,
                             std::span<const char* const> kept) {
  json::object out = current;
  for (const char* member : kAllMetadata) {
    if (std::find_if(kept.begin(), kept.end(),
                     [&](const char* one) { return std::string_view(one) == member; }) != kept.end())
      continue;
    const json::value *now = sent.if_contains(member), *was = current.if_contains(member);
    if (!now || now->is_null()) out.erase(member);
    else if (!was || *was != *now) out[member] = *now;
  }
  // Not sent, it stays: only an empty list takes it away.
  if (const json::value* managers = sent.if_contains("managedFields"); managers && managers->is_array())
    out["managedFields"] = *managers;
  return out;
}

// Whether anything differs but metadata and status.
bool content_changed(const json::value& before, const json::value& after) {
  auto content = [](std::string_view key) {
    return key != "apiVersion" && key != "kind" && key != "metadata" && key != "status";
  };
  for (const auto& item : before.get_object())
    if (content({item.key().data(), item.key().size()}))
      if (const json::value* now = after.get_object().if_contains(item.key()); !now || *now != item.value())
        return true;
  for (const auto& item : after.get_object())
    if (content({item.key().data(), item.key().size()}) && !before.get_object().contains(item.key()))
      return true;
  return false;
}

// The spec of a running Pod with what one of its subresources may set, taken from `sent`.
json::value pod_part(std::string_view subresource, const json::value& current, const json::value& sent) {
  const json::value* stored = base::find(current, "spec");
  json::value spec = stored && stored->is_object() ? *stored : json::value(json::object());
  const json::value* wanted = base::find(sent, "spec");
  if (!wanted) return spec;
  if (subresource == "ephemeralcontainers") {
    base::copy_member(wanted->is_object() ? wanted->get_object() : json::object(), spec.get_object(),
                      "ephemeralContainers");
    return spec;
  }
  for (const char* kind : {"containers", "initContainers"}) {
    json::value* list = spec.get_object().if_contains(kind);
    const json::value* sent_list = base::find(*wanted, kind);
    if (!list || !list->is_array() || !sent_list || !sent_list->is_array()) continue;
    for (json::value& container : list->get_array())
      for (const json::value& other : sent_list->get_array())
        if (other.is_object() && base::string_at(other, "name") == base::string_at(container, "name"))
          for (const char* member : {"resources", "resizePolicy"})
            base::copy_member(other.get_object(), container.get_object(), member);
  }
  return spec;
}

}  // namespace

const Strategy kNoStrategy;
const Strategy& strategy_of(const ResourceInfo& resource) {
  return resource.type && resource.type->custom ? kNoStrategy : builtin_strategy(resource);
}

std::string random_suffix() {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";  // no vowels: no words
  unsigned char bytes[5];
  base::random_bytes(bytes, sizeof bytes);
  std::string out;
  for (unsigned char byte : bytes) out += kAlphabet[byte % kAlphabet.size()];
  return out;
}

void stamp_new(json::object& metadata, base::Time now) {
  metadata["uid"] = base::new_uuid();
  metadata["creationTimestamp"] = base::format_time(now);
  for (const char* owned :
       {"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"})
    metadata.erase(owned);
}

void prepare_create(const ResourceInfo& resource, json::value& object) {
  if (resource.type->custom) return prepare_custom_create(resource.has_status, object);
  if (resource.is("apiextensions.k8s.io", "customresourcedefinitions"))
    return prepare_definition_create(object);
  const Strategy& own = *resource.strategy;
  json::object& root = object.get_object();
  if (resource.has_status && !own.keeps_status) {
    root.erase("status");
    root["status"] = own.new_status ? base::parse_json(own.new_status).value() : json::value(json::object());
  }
  if (own.counts_generation) object_in(object, "metadata")["generation"] = 1;
  if (own.create) own.create(object);
}

void prepare_update(const ResourceInfo& resource, std::string_view subresource, const json::value& current,
                    json::value& updated) {
  if (resource.type->custom) return prepare_custom_update(resource.has_status, subresource, current, updated);
  const json::object& old = current.get_object();
  json::object& fresh = updated.get_object();
  const json::object& old_metadata = current.at("metadata").get_object();
  if (subresource == "status" || subresource == "approval") {
    // The status (its conditions alone, of an approval) and metadata are taken.
    json::value status = fresh.contains("status") ? std::move(fresh["status"]) : json::value(json::object());
    json::object metadata =
        status_metadata(old_metadata, object_in(updated, "metadata"), resource.strategy->kept_by_status);
    updated = current;
    if (subresource == "status") {
      updated.get_object()["status"] = std::move(status);
    } else {
      const json::value* conditions = base::find(status, "conditions");
      object_in(updated, "status")["conditions"] = conditions ? *conditions : json::value(json::array());
    }
    updated.get_object()["metadata"] = std::move(metadata);
    return;
  }
  if (resource.is("", "pods") && (subresource == "ephemeralcontainers" || subresource == "resize")) {
    json::value spec = pod_part(subresource, current, updated);
    json::value sent_metadata = updated.at("metadata");
    updated = current;
    updated.get_object()["spec"] = std::move(spec);
    if (const json::value* managers = base::find(sent_metadata, "managedFields"))
      object_in(updated, "metadata")["managedFields"] = *managers;
    if (content_changed(current, updated))
      object_in(updated, "metadata")["generation"] =
          base::as_int(base::find_path(current, "metadata", "generation")) + 1;
    return;
  }
  json::object& metadata = object_in(updated, "metadata");
  for (const char* owned : kOwnedMetadata) base::copy_member(old_metadata, metadata, owned);
  if (resource.has_status) base::copy_member(old, fresh, "status");
  if (const Strategy& own = *resource.strategy; own.update) own.update(current, updated);
  if (const json::value* generation = old_metadata.if_contains("generation"))
    if (content_changed(current, updated))
      object_in(updated, "metadata")["generation"] = base::as_int(generation) + 1;
  if (resource.is("apiextensions.k8s.io", "customresourcedefinitions"))
    prepare_definition_update(current, updated);
}

bool needs_version(const ResourceInfo& resource) {
  static const std::set<std::string_view> kKinds = {
      "apiservices.apiregistration.k8s.io",
      "csidrivers.storage.k8s.io",
      "csinodes.storage.k8s.io",
      "csistoragecapacities.storage.k8s.io",
      "customresourcedefinitions.apiextensions.k8s.io",
      "leases.coordination.k8s.io",
      "mutatingadmissionpolicies.admissionregistration.k8s.io",
      "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
      "mutatingwebhookconfigurations.admissionregistration.k8s.io",
      "poddisruptionbudgets.policy",
      "runtimeclasses.node.k8s.io",
      "validatingadmissionpolicies.admissionregistration.k8s.io",
      "validatingadmissionpolicybindings.admissionregistration.k8s.io",
      "validatingwebhookconfigurations.admissionregistration.k8s.io",
      "volumeattachments.storage.k8s.io"};
  return resource.type->custom || kKinds.contains(resource.qualified());
}

std::span<const char* const> kept_by_status(const ResourceInfo& resource) {
  return resource.type->custom ? std::span<const char* const>(kAllMetadata)
                               : resource.strategy->kept_by_status;
}

Dependents default_dependents(const ResourceInfo& resource) {
  return resource.type && resource.type->custom ? Dependents::kDelete
                                                : resource.stored().strategy->dependents;
}

void set_deletion_finalizers(Dependents by_default, const json::value& options, json::object& metadata) {
  constexpr std::string_view kOrphan = "orphan", kForeground = "foregroundDeletion";
  json::array kept;
  bool had_orphan = false, had_foreground = false;
  if (const json::value* list = metadata.if_contains("finalizers"); list && list->is_array())
    for (const json::value& item : list->get_array()) {
      std::string_view name = base::as_string(&item);
      had_orphan |= name == kOrphan;
      had_foreground |= name == kForeground;
      if (name != kOrphan && name != kForeground) kept.push_back(item);
    }
  bool orphan = false, foreground = false;
  if (by_default != Dependents::kUnsupported) {
    const json::value* orphans = base::find(options, "orphanDependents");
    std::string_view policy = base::string_at(options, "propagationPolicy");
    if (orphans && orphans->is_bool()) orphan = orphans->get_bool();
    else if (!policy.empty()) orphan = policy == "Orphan", foreground = policy == "Foreground";
    else if (had_orphan) orphan = true;
    else if (had_foreground) foreground = true;
    else orphan = by_default == Dependents::kOrphan;
  }
  if (orphan) kept.push_back(json::value(kOrphan));
  if (foreground) kept.push_back(json::value(kForeground));
  if (kept.empty()) metadata.erase("finalizers");
  else metadata["finalizers"] = std::move(kept);
}

int64_t grace_seconds(const ResourceInfo& resource, const json::value& object, int64_t asked) {
  if (!resource.is("", "pods")) return 0;
  std::string_view phase = base::string_at(object, "status", "phase");
  // Nobody runs it: nothing to wait for.
  if (base::string_at(object, "spec", "nodeName").empty() || phase == "Failed" || phase == "Succeeded")
    return 0;
  if (asked >= 0) return asked;
  return base::as_int(base::find_path(object, "spec", "terminationGracePeriodSeconds"), 30);
}

}  // namespace master
