// Rules of ConfigMaps, Secrets, Nodes, Leases and Events.
#include <set>

#include "api/validate/rules.h"
#include "base/base64.h"

namespace api::rules {
namespace {

constexpr size_t kMaxData = 1u << 20;

const json::object* map_of(const json::value& object, const char* name) {
  const json::value* value = base::find(object, name);
  return value ? value->if_object() : nullptr;
}
void immutable_data(Errors& e, const json::value& after, const json::value& before,
                    std::initializer_list<const char*> names) {
  if (!base::as_bool(base::find(before, "immutable"))) return;
  if (!base::as_bool(base::find(after, "immutable")))
    e.forbidden("immutable", "field is immutable when `immutable` is set");
  for (const char* name : names) {
    const json::value* had = base::find(before, name);
    const json::value* have = base::find(after, name);
    bool same = had && have ? *had == *have : had == have;
    if (!same) e.forbidden(name, "field is immutable when `immutable` is set");
  }
}

}  // namespace

void config_map(Errors& e, const json::value& after, const json::value* before) {
  size_t total = 0;
  const json::object* data = map_of(after, "data");
  const json::object* binary = map_of(after, "binaryData");
  if (data)
    for (const auto& item : *data) total += base::as_string(&item.value()).size();
  if (binary)
    for (const auto& item : *binary) {
      total += base::as_string(&item.value()).size() / 4 * 3;
      std::string key(item.key());
      if (data && data->contains(item.key()))
        e.invalid("data[" + key + "]", key, "duplicate of key present in binaryData");
    }
  if (total > kMaxData) e.too_long("[]", kMaxData);  // Go's name of the whole object
  if (before) immutable_data(e, after, *before, {"data", "binaryData"});
}

void secret(Errors& e, const json::value& after, const json::value* before) {
  const json::object* data = map_of(after, "data");
  size_t total = 0;
  if (data)
    for (const auto& item : *data) total += base::as_string(&item.value()).size() / 4 * 3;
  if (total > kMaxData) e.too_long("data", kMaxData);
  std::string_view type = base::string_at(after, "type");
  auto need = [&](const char* key) {
    if (!data || !data->contains(key)) e.required(std::string("data[") + key + "]");
  };
  auto need_json = [&](const char* key) {
    need(key);
    if (!data || !data->contains(key)) return;
    auto text = base::base64_decode(base::as_string(data->if_contains(key)));
    if (!text || !base::parse_json(*text).ok())
      e.invalid(std::string("data[") + key + "]", std::string_view("<secret contents redacted>"), "not JSON");
  };
  if (type == "kubernetes.io/tls") need("tls.crt"), need("tls.key");
  else if (type == "kubernetes.io/dockerconfigjson") need_json(".dockerconfigjson");
  else if (type == "kubernetes.io/dockercfg") need_json(".dockercfg");
  else if (type == "kubernetes.io/ssh-auth") need("ssh-privatekey");
  else if (type == "kubernetes.io/basic-auth") {
    if (!data || (!data->contains("username") && !data->contains("password")))
      need("username"), need("password");
  } else if (type == "kubernetes.io/service-account-token" &&
             base::string_at(after, "metadata", "annotations", "kubernetes.io/service-account.name")
                 .empty()) {
    e.required("metadata.annotations[kubernetes.io/service-account.name]");
  }
  if (!before) return;
  if (std::string_view was = base::string_at(*before, "type"); !was.empty() && was != type)
    e.invalid("type", type, "field is immutable");
  immutable_data(e, after, *before, {"data"});
}

void node(Errors& e, const json::value& after, const json::value* before) {
  Node object;
  if (!read(e, after, &object) || !object.spec) return;
  std::set<std::string> seen;
  for (size_t i = 0; i < object.spec->taints.size(); ++i) {
    const Taint& taint = object.spec->taints[i];
    std::string where = at("spec.taints", i);
    if (!taint.key.empty()) e.all(where + ".key", taint.key, check_qualified_name(taint.key));
    e.all(where + ".value", taint.value, check_label_value(taint.value));
    if (!seen.insert(taint.key + ":" + taint.effect).second) e.duplicate(where, encode(taint));
  }
  if (!before) return;
  if (std::string_view was = base::string_at(*before, "spec", "podCIDR");
      !was.empty() && was != object.spec->pod_cidr)
    e.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
  if (std::string_view was = base::string_at(*before, "spec", "providerID");
      !was.empty() && was != object.spec->provider_id)
    e.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid");
}

void lease(Errors& e, const json::value& after) {
  Lease object;
  if (!read(e, after, &object) || !object.spec) return;
  if (object.spec->lease_duration_seconds && *object.spec->lease_duration_seconds <= 0)
    e.invalid("spec.leaseDurationSeconds", *object.spec->lease_duration_seconds, "must be greater than 0");
  if (object.spec->lease_transitions && *object.spec->lease_transitions < 0)
    e.invalid("spec.leaseTransitions", *object.spec->lease_transitions, "must be greater than or equal to 0");
}

void event(Errors& e, const json::value& after) {
  std::string_view about = base::string_at(after, "involvedObject", "namespace");
  std::string_view ns = base::string_at(after, "metadata", "namespace");
  if (about.empty() ? ns != "default" && ns != "kube-system" : about != ns)
    e.invalid("involvedObject.namespace", about, "does not match event.namespace");
}

}  // namespace api::rules
