#include "master/strategy.h"

#include <sys/random.h>

#include "api/quantity.h"
#include "master/custom_resource_plan.h"

namespace master {

namespace json = base::json;

namespace {

json::object& object_in(json::value& object, std::string_view key) {
  return base::object_at(object.get_object(), key);
}

bool is(const ResourceInfo& resource, std::string_view plural) { return plural == resource.plural; }

void copy_member(const json::object& from, json::object& to, std::string_view key) {
  if (const json::value* value = from.if_contains(key)) to[key] = *value;
  else to.erase(key);
}

}  // namespace

std::string new_uid() {
  unsigned char bytes[16];
  SAMPAN_CHECK(::getrandom(bytes, sizeof bytes, 0) == static_cast<ssize_t>(sizeof bytes));
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);  // RFC 4122, version 4
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  static const char* digits = "0123456789abcdef";
  std::string out;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += digits[bytes[i] >> 4];
    out += digits[bytes[i] & 15];
  }
  return out;
}
std::string random_suffix() {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";  // no vowels: no words
  unsigned char bytes[5];
  SAMPAN_CHECK(::getrandom(bytes, sizeof bytes, 0) == static_cast<ssize_t>(sizeof bytes));
  std::string out;
  for (unsigned char byte : bytes) out += kAlphabet[byte % kAlphabet.size()];
  return out;
}

void stamp_new(json::object& metadata, base::Time now) {
  metadata["uid"] = new_uid();
  metadata["creationTimestamp"] = base::format_time(now);
  for (const char* owned : {"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"})
    metadata.erase(owned);
}

std::string qos_class(const json::value& pod) {
  bool any = false, guaranteed = true;
  const json::value* spec = base::find(pod, "spec");
  for (const char* list : {"initContainers", "containers"}) {
    const json::value* containers = spec ? base::find(*spec, list) : nullptr;
    if (!containers || !containers->is_array()) continue;
    for (const json::value& container : containers->get_array()) {
      for (const char* name : {"cpu", "memory"}) {
        std::string_view limit = base::string_at(container, "resources", "limits", name);
        std::string_view request = base::string_at(container, "resources", "requests", name);
        auto is_set = [](std::string_view q) { return !q.empty() && q != "0"; };
        any |= is_set(limit) || is_set(request);
        guaranteed &= is_set(limit) && (request.empty() || request == limit);
      }
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

void prepare_create(const ResourceInfo& resource, json::value& object) {
  if (resource.type->custom) return prepare_custom_create(resource.has_status, object);
  if (resource.is("apiextensions.k8s.io", "customresourcedefinitions")) return prepare_definition_create(object);
  json::object& root = object.get_object();
  if (resource.has_status) root.erase("status");
  if (resource.has_scale || is(resource, "pods")) object_in(object, "metadata")["generation"] = 1;
  if (is(resource, "pods")) {
    json::object& spec = object_in(object, "spec");
    if (base::as_string(spec.if_contains("serviceAccountName")).empty()) spec["serviceAccountName"] = "default";
    spec["serviceAccount"] = spec["serviceAccountName"];  // its older name, which reads show as well
    root["status"] = json::object{{"phase", "Pending"}, {"qosClass", qos_class(object)}};
  } else if (is(resource, "namespaces")) {
    root["status"] = json::object{{"phase", "Active"}};
  } else if (is(resource, "services")) {
    root["status"] = json::object{{"loadBalancer", json::object()}};
  } else if (is(resource, "replicationcontrollers") || is(resource, "replicasets")) {
    root["status"] = json::object{{"replicas", 0}};
  } else if (resource.has_status) {
    root["status"] = json::object();
  }
}

void prepare_update(const ResourceInfo& resource, std::string_view subresource, const json::value& current,
                    json::value& updated) {
  if (resource.type->custom) return prepare_custom_update(resource.has_status, subresource, current, updated);
  const json::object& old = current.get_object();
  json::object& fresh = updated.get_object();
  if (subresource == "status" || subresource == "approval") {
    // Only the status is taken (its conditions alone, of an approval), and who wrote what.
    json::value status = fresh.contains("status") ? fresh["status"] : json::value(json::object());
    json::value managers;
    if (const json::value* sent = base::find_path(updated, "metadata", "managedFields")) managers = *sent;
    updated = current;
    if (subresource == "status") {
      updated.get_object()["status"] = std::move(status);
    } else {
      const json::value* conditions = base::find(status, "conditions");
      object_in(updated, "status")["conditions"] = conditions ? *conditions : json::value(json::array());
    }
    if (managers.is_array()) object_in(updated, "metadata")["managedFields"] = std::move(managers);
    return;
  }
  json::object& metadata = object_in(updated, "metadata");
  const json::object& old_metadata = current.at("metadata").get_object();
  for (const char* owned : {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
                            "generation", "generateName", "namespace", "name"})
    copy_member(old_metadata, metadata, owned);
  if (resource.has_status) copy_member(old, fresh, "status");
  if (is(resource, "namespaces"))  // only /finalize takes these away
    if (const json::value* spec = old.if_contains("spec"); spec && spec->is_object())
      copy_member(spec->get_object(), object_in(updated, "spec"), "finalizers");
  if (const json::value* generation = old_metadata.if_contains("generation")) {
    const json::value *before = old.if_contains("spec"), *after = fresh.if_contains("spec");
    if (before && after && *before != *after) metadata["generation"] = base::as_int(generation) + 1;
  }
  if (resource.is("apiextensions.k8s.io", "customresourcedefinitions")) prepare_definition_update(current, updated);
}

int64_t grace_seconds(const ResourceInfo& resource, const json::value& object, int64_t asked) {
  if (!is(resource, "pods")) return 0;
  std::string_view phase = base::string_at(object, "status", "phase");
  // Nobody runs it: nothing to wait for.
  if (base::string_at(object, "spec", "nodeName").empty() || phase == "Failed" || phase == "Succeeded") return 0;
  if (asked >= 0) return asked;
  return base::as_int(base::find_path(object, "spec", "terminationGracePeriodSeconds"), 30);
}

}  // namespace master
