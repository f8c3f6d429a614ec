#include "master/controllers/workloads.h"

namespace master::controllers {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

namespace {
std::map<std::string, std::string> read_annotations(const json::value& object) {
  std::map<std::string, std::string> out;
  if (const json::value* in = find_path(object, "metadata", "annotations"); in && in->is_object())
    for (const auto& item : in->get_object()) out.emplace(item.key(), as_string(&item.value()));
  return out;
}
int read_int(const json::value& object, const char* key, int fallback) {
  const json::value* spec = find(object, "spec");
  return spec ? static_cast<int>(as_int(find(*spec, key), fallback)) : fallback;
}
std::optional<int> read_optional(const json::value& object, const char* key) {
  const json::value* value = find_path(object, "spec", key);
  if (!value || !value->is_number()) return std::nullopt;
  return static_cast<int>(as_int(value));
}

std::shared_ptr<const ReplicaOwner> read_replicas(const json::value& object, bool replication_controller) {
  auto owner = std::make_shared<ReplicaOwner>();
  owner->meta = read_meta(object);
  owner->kind = replication_controller ? "ReplicationController" : "ReplicaSet";
  owner->api_version = replication_controller ? "v1" : "apps/v1";
  owner->controller = controller_owner(object);
  owner->labels = read_labels(find_path(object, "metadata", "labels"));
  const json::value* selector = find_path(object, "spec", "selector");
  owner->pod_template = copy_of(find_path(object, "spec", "template"));
  owner->selector = replication_controller ? map_selector(selector) : label_selector(selector);
  owner->annotations = read_annotations(object);
  owner->replicas = read_int(object, "replicas", 1);
  owner->min_ready_seconds = read_int(object, "minReadySeconds", 0);
  owner->status = copy_of(find(object, "status"));
  return owner;
}
std::shared_ptr<const Deployment> read_deployment(const json::value& object) {
  auto d = std::make_shared<Deployment>();
  d->meta = read_meta(object);
  d->annotations = read_annotations(object);
  d->selector_json = copy_of(find_path(object, "spec", "selector"));
  d->selector = label_selector(&d->selector_json);
  d->pod_template = copy_of(find_path(object, "spec", "template"));
  d->replicas = read_int(object, "replicas", 1);
  d->min_ready_seconds = read_int(object, "minReadySeconds", 0);
  d->progress_deadline_seconds = read_optional(object, "progressDeadlineSeconds");
  d->revision_history_limit = read_optional(object, "revisionHistoryLimit");
  d->paused = as_bool(find_path(object, "spec", "paused"));
  d->recreate = string_at(object, "spec", "strategy", "type") == "Recreate";
  d->max_surge = copy_of(find_path(object, "spec", "strategy", "rollingUpdate", "maxSurge"));
  d->max_unavailable = copy_of(find_path(object, "spec", "strategy", "rollingUpdate", "maxUnavailable"));
  d->status = copy_of(find(object, "status"));
  return d;
}
}  // namespace

json::object controller_reference(std::string_view api_version, std::string_view kind, std::string_view name,
                                  std::string_view uid) {
  return {{"apiVersion", api_version}, {"kind", kind}, {"name", name}, {"uid", uid}, {"controller", true},
          {"blockOwnerDeletion", true}};
}

json::object pod_of_template(const json::value& pod_template, std::string_view ns, json::object reference) {
  json::object meta{{"namespace", ns}};
  if (const json::value* from = find(pod_template, "metadata"))
    for (const char* key : {"labels", "annotations", "finalizers"})
      if (const json::value* value = find(*from, key); value && !value->is_null()) meta[key] = *value;
  meta["ownerReferences"] = json::array{std::move(reference)};
  json::object pod{{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", std::move(meta)}};
  if (const json::value* spec = find(pod_template, "spec"); spec && spec->is_object()) pod["spec"] = *spec;
  return pod;
}

Store<ReplicaOwner>::Reader ReplicaOwner::reader(const api::Resource& resource) {
  return [replication_controller = resource.kind == "ReplicationController"](const json::value& object) {
    return read_replicas(object, replication_controller);
  };
}
std::vector<std::string> ReplicaOwner::terms(const ReplicaOwner& owner) {
  return {owner.controller.uid.empty() ? orphans_of(owner.meta.ns) : owned_by(owner.controller.uid)};
}
Store<Deployment>::Reader Deployment::reader(const api::Resource&) { return read_deployment; }

}  // namespace master::controllers
