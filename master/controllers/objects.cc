// Reading projections from JSON. Absent or wrongly typed members read as empty: the API server
// validated what it stored, and a controller must survive anything else.
#include "master/controllers/objects.h"

#include <algorithm>
#include <charconv>

#include "master/controllers/jobs.h"
#include "master/controllers/node_terms.h"
#include "master/controllers/volumes.h"

namespace master::controllers {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

std::string key_of(std::string_view ns, std::string_view name) {
  if (ns.empty()) return std::string(name);
  std::string key;
  key.reserve(ns.size() + name.size() + 1);
  return key.append(ns).append("/").append(name);
}
std::pair<std::string, std::string> split_key(std::string_view key) {
  size_t slash = key.find('/');
  if (slash == key.npos) return {"", std::string(key)};
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

uint64_t revision_of(const json::value& object) {
  std::string_view text = string_at(object, "metadata", "resourceVersion");
  uint64_t revision = 0;
  std::from_chars(text.data(), text.data() + text.size(), revision);
  return revision;
}

Meta read_meta(const json::value& object) {
  Meta meta;
  const json::value* in = find(object, "metadata");
  if (!in) return meta;
  meta.ns = as_string(find(*in, "namespace"));
  meta.name = as_string(find(*in, "name"));
  meta.uid = as_string(find(*in, "uid"));
  meta.revision = revision_of(object);
  meta.generation = as_int(find(*in, "generation"));
  meta.created = read_time(as_string(find(*in, "creationTimestamp"))).value_or(base::Time{});
  meta.deleting = !as_string(find(*in, "deletionTimestamp")).empty();
  return meta;
}

std::optional<base::Time> read_time(std::string_view text) {
  constexpr base::Duration kFarthest = std::chrono::hours(24 * 365 * 200);
  const auto time = base::parse_time(text);
  if (!time) return std::nullopt;
  return base::Time(std::clamp<base::Duration>(time->time_since_epoch(), -kFarthest, kFarthest));
}
base::Duration seconds_of(int64_t seconds) {
  return std::chrono::seconds(std::clamp<int64_t>(seconds, INT32_MIN, INT32_MAX));
}

std::vector<OwnerRef> read_owners(const json::value& object) {
  std::vector<OwnerRef> owners;
  const json::value* list = find_path(object, "metadata", "ownerReferences");
  if (!list || !list->is_array()) return owners;
  for (const json::value& item : list->get_array()) {
    owners.push_back({std::string(string_at(item, "apiVersion")), std::string(string_at(item, "kind")),
                      std::string(string_at(item, "name")), std::string(string_at(item, "uid")),
                      as_bool(find(item, "controller")), as_bool(find(item, "blockOwnerDeletion"))});
  }
  return owners;
}
OwnerRef controller_owner(const json::value& object) {
  for (OwnerRef& owner : read_owners(object))
    if (owner.controller) return std::move(owner);
  return {};
}

Labels read_labels(const json::value* in) {
  Labels labels;
  if (!in || !in->is_object()) return labels;
  for (const auto& item : in->get_object()) labels.emplace(item.key(), as_string(&item.value()));
  return labels;
}
std::string_view label(const Labels& labels, const std::string& key) {
  auto at = labels.find(key);
  return at == labels.end() ? std::string_view() : std::string_view(at->second);
}

Selector map_selector(const json::value* map) {
  Selector selector = api::selector_of(read_labels(map));
  selector.nothing |= selector.requirements.empty();
  return selector;
}
Selector label_selector(const json::value* in) {
  auto selector = api::selector_of_json(in);
  Selector nothing;
  nothing.nothing = true;
  if (!selector.ok() || selector->requirements.empty()) return nothing;
  return *selector;
}

bool tolerates(const Toleration& toleration, const Taint& taint) {
  if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
  if (!toleration.key.empty() && toleration.key != taint.key) return false;
  if (toleration.op == "Exists") return true;
  if (toleration.key.empty()) return false;  // an empty key goes with Exists only
  return toleration.value == taint.value;
}
std::vector<Toleration> read_tolerations(const json::value* list) {
  std::vector<Toleration> out;
  if (!list || !list->is_array()) return out;
  for (const json::value& item : list->get_array()) {
    Toleration t{std::string(string_at(item, "key")),
                 std::string(string_at(item, "operator")),
                 std::string(string_at(item, "value")),
                 std::string(string_at(item, "effect")),
                 {}};
    if (const json::value* seconds = find(item, "tolerationSeconds"); seconds && seconds->is_number())
      t.seconds = as_int(seconds);
    out.push_back(std::move(t));
  }
  return out;
}
std::vector<Taint> read_taints(const json::value* list) {
  std::vector<Taint> out;
  if (!list || !list->is_array()) return out;
  for (const json::value& item : list->get_array())
    out.push_back({std::string(string_at(item, "key")), std::string(string_at(item, "value")),
                   std::string(string_at(item, "effect")), std::string(string_at(item, "timeAdded"))});
  return out;
}

static PodShape read_shape(const json::value& object) {
  PodShape shape;
  shape.labels = read_labels(find_path(object, "metadata", "labels"));
  std::string_view cost =
      string_at(object, "metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost");
  std::from_chars(cost.data(), cost.data() + cost.size(), shape.deletion_cost);
  shape.owner_api_version = controller_owner(object).api_version;
  const json::value* spec = find(object, "spec");
  if (!spec) return shape;
  shape.tolerations = read_tolerations(find(*spec, "tolerations"));
  shape.restart_policy = string_at(*spec, "restartPolicy");
  shape.hostname = string_at(*spec, "hostname");
  shape.subdomain = string_at(*spec, "subdomain");
  auto ports_of = [&](const json::value& container) {
    const json::value* ports = find(container, "ports");
    if (!ports || !ports->is_array()) return;
    for (const json::value& port : ports->get_array()) {
      if (string_at(port, "name").empty()) continue;
      std::string_view protocol = string_at(port, "protocol");
      shape.ports.push_back({std::string(string_at(port, "name")),
                             std::string(protocol.empty() ? "TCP" : protocol),
                             static_cast<int>(as_int(find(port, "containerPort")))});
    }
  };
  if (const json::value* list = find(*spec, "containers"); list && list->is_array())
    for (const json::value& container : list->get_array()) ports_of(container);
  if (const json::value* list = find(*spec, "initContainers"); list && list->is_array())
    for (const json::value& container : list->get_array())
      if (string_at(container, "restartPolicy") == "Always") ports_of(container);  // a sidecar
  return shape;
}
static std::string shape_text(const PodShape& shape) {
  std::string text;
  auto put = [&text](std::string_view part) { text.append(part).push_back('\0'); };
  for (const auto& [key, value] : shape.labels) put(key), put(value);
  put("/");
  for (const NamedPort& port : shape.ports)
    put(port.name), put(port.protocol), put(std::to_string(port.port));
  put("/");
  for (const Toleration& t : shape.tolerations)
    put(t.key), put(t.op), put(t.value), put(t.effect), put(t.seconds ? std::to_string(*t.seconds) : "-");
  put("/");
  put(shape.restart_policy), put(shape.hostname), put(shape.subdomain), put(shape.owner_api_version),
      put(std::to_string(shape.deletion_cost));
  return text;
}

std::string owned_by(std::string_view uid) { return fmt::format("owner:{}", uid); }
std::string orphans_of(std::string_view ns) { return fmt::format("orphans:{}", ns); }
std::string on_node(std::string_view node) { return fmt::format("node:{}", node); }

std::function<std::shared_ptr<const Pod>(const json::value&)> Pod::reader(const api::Resource&) {
  return [shapes = std::make_shared<PodReader>()](const json::value& object) { return shapes->read(object); };
}
std::vector<std::string> Pod::terms(const Pod& pod) {
  std::vector<std::string> terms{pod.owner_uid.empty() ? orphans_of(pod.meta.ns) : owned_by(pod.owner_uid)};
  if (!pod.node.empty()) terms.push_back(on_node(pod.node));
  if (pod.volumes)
    for (const std::string& claim : pod.volumes->claims) terms.push_back(using_claim(pod.meta.ns, claim));
  return terms;
}

std::shared_ptr<const Pod> PodReader::read(const json::value& object) {
  auto pod = std::make_shared<Pod>();
  pod->meta = read_meta(object);
  PodShape shape = read_shape(object);
  std::weak_ptr<const PodShape>& known = shapes_[shape_text(shape)];
  if (!(pod->shape = known.lock())) known = pod->shape = std::make_shared<const PodShape>(std::move(shape));
  if (shapes_.size() > sweep_at_) {
    std::erase_if(shapes_, [](const auto& item) { return item.second.expired(); });
    sweep_at_ = std::max<size_t>(1024, 2 * shapes_.size());
  }
  OwnerRef owner = controller_owner(object);
  pod->owner_uid = owner.uid;
  pod->owner_kind = owner.kind;
  pod->owner_name = owner.name;
  pod->node = string_at(object, "spec", "nodeName");
  if (const json::value* spec = find(object, "spec"); spec && pod->node.empty())
    pod->named_node = node_by_affinity(*spec);
  if (pod->meta.deleting)
    pod->deletion_at = read_time(string_at(object, "metadata", "deletionTimestamp")).value_or(base::Time{});
  pod->job = read_job_pod(object);
  pod->volumes = read_pod_volumes(object);
  const json::value* status = find(object, "status");
  if (!status) return pod;
  pod->phase = string_at(*status, "phase");
  pod->evicted = string_at(*status, "reason") == "Evicted";
  if (const json::value* list = find(*status, "podIPs"); list && list->is_array())
    for (const json::value& item : list->get_array())
      if (!string_at(item, "ip").empty()) pod->ips.emplace_back(string_at(item, "ip"));
  if (pod->ips.empty() && !string_at(*status, "podIP").empty())
    pod->ips.emplace_back(string_at(*status, "podIP"));
  if (const json::value* list = find(*status, "conditions"); list && list->is_array())
    if (const json::object* ready = find_condition(list->get_array(), "Ready")) {
      pod->ready = as_string(ready->if_contains("status")) == "True";
      pod->ready_since =
          read_time(as_string(ready->if_contains("lastTransitionTime"))).value_or(base::Time{});
    }
  if (const json::value* list = find(*status, "containerStatuses"); list && list->is_array())
    for (const json::value& item : list->get_array())
      pod->restarts = std::max(pod->restarts, static_cast<int>(as_int(find(item, "restartCount"))));
  return pod;
}

std::optional<int64_t> scaled(const json::value& int_or_percent, int64_t total, bool round_up) {
  if (int_or_percent.is_number()) return as_int(&int_or_percent);
  std::string_view text = as_string(&int_or_percent);
  if (!text.ends_with('%')) return std::nullopt;
  int64_t percent = 0;
  const char* end = text.data() + text.size() - 1;
  auto [stop, error] = std::from_chars(text.data(), end, percent);
  if (error != std::errc() || stop != end || percent < 0 || percent > INT32_MAX || total < 0 ||
      total > INT32_MAX)
    return std::nullopt;
  return (percent * total + (round_up ? 99 : 0)) / 100;
}

const json::object* find_condition(const json::array& conditions, std::string_view type) {
  for (const json::value& item : conditions)
    if (item.is_object() && string_at(item, "type") == type) return &item.get_object();
  return nullptr;
}
bool set_condition(json::array& conditions, std::string_view type, std::string_view status,
                   std::string_view reason, std::string_view message, base::Time now,
                   bool extra_update_time) {
  const std::string time = base::format_time(now);
  json::object* at = const_cast<json::object*>(find_condition(conditions, type));
  if (!at) {
    conditions.push_back(json::object{{"type", type}});
    at = &conditions.back().get_object();
  }
  bool same_status = as_string(at->if_contains("status")) == status;
  bool same = same_status && as_string(at->if_contains("reason")) == reason &&
              as_string(at->if_contains("message")) == message;
  if (same) return false;
  (*at)["status"] = status;
  (*at)["reason"] = reason;
  (*at)["message"] = message;
  if (!same_status) (*at)["lastTransitionTime"] = time;
  if (extra_update_time) (*at)["lastUpdateTime"] = time;
  return true;
}
void remove_condition(json::array& conditions, std::string_view type) {
  for (auto at = conditions.begin(); at != conditions.end();)
    at = string_at(*at, "type") == type ? conditions.erase(at) : at + 1;
}

}  // namespace master::controllers
