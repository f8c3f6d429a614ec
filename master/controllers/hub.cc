// Readers of each kind, and the wiring of informers to stores.
#include "master/controllers/hub.h"

#include <charconv>

namespace master::controllers {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

std::string owned_by(std::string_view uid) { return fmt::format("owner:{}", uid); }
std::string orphans_of(std::string_view ns) { return fmt::format("orphans:{}", ns); }
std::string on_node(std::string_view node) { return fmt::format("node:{}", node); }

namespace {
json::value copy(const json::value* value) { return value ? *value : json::value(); }
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
  owner->pod_template = copy(find_path(object, "spec", "template"));
  owner->selector = replication_controller ? map_selector(selector) : label_selector(selector);
  owner->annotations = read_annotations(object);
  owner->replicas = read_int(object, "replicas", 1);
  owner->min_ready_seconds = read_int(object, "minReadySeconds", 0);
  owner->status = copy(find(object, "status"));
  return owner;
}
std::shared_ptr<const Deployment> read_deployment(const json::value& object) {
  auto d = std::make_shared<Deployment>();
  d->meta = read_meta(object);
  d->annotations = read_annotations(object);
  d->selector_json = copy(find_path(object, "spec", "selector"));
  d->selector = label_selector(&d->selector_json);
  d->pod_template = copy(find_path(object, "spec", "template"));
  d->replicas = read_int(object, "replicas", 1);
  d->min_ready_seconds = read_int(object, "minReadySeconds", 0);
  d->progress_deadline_seconds = read_optional(object, "progressDeadlineSeconds");
  d->revision_history_limit = read_optional(object, "revisionHistoryLimit");
  d->paused = as_bool(find_path(object, "spec", "paused"));
  d->recreate = string_at(object, "spec", "strategy", "type") == "Recreate";
  d->max_surge = copy(find_path(object, "spec", "strategy", "rollingUpdate", "maxSurge"));
  d->max_unavailable = copy(find_path(object, "spec", "strategy", "rollingUpdate", "maxUnavailable"));
  d->status = copy(find(object, "status"));
  return d;
}
std::shared_ptr<const Service> read_service(const json::value& object) {
  auto s = std::make_shared<Service>();
  s->meta = read_meta(object);
  s->labels = read_labels(find_path(object, "metadata", "labels"));
  s->selector = map_selector(find_path(object, "spec", "selector"));
  s->external_name = string_at(object, "spec", "type") == "ExternalName";
  std::string_view cluster_ip = string_at(object, "spec", "clusterIP");
  s->headless = cluster_ip == "None";
  s->publish_not_ready = as_bool(find_path(object, "spec", "publishNotReadyAddresses"));
  if (const json::value* list = find_path(object, "spec", "ipFamilies"); list && list->is_array())
    for (const json::value& item : list->get_array()) s->families.emplace_back(as_string(&item));
  if (s->families.empty()) s->families.push_back(cluster_ip.find(':') != cluster_ip.npos ? "IPv6" : "IPv4");
  if (const json::value* list = find_path(object, "spec", "ports"); list && list->is_array()) {
    for (const json::value& item : list->get_array()) {
      ServicePort port;
      port.name = string_at(item, "name");
      port.protocol = string_at(item, "protocol");
      if (port.protocol.empty()) port.protocol = "TCP";
      port.app_protocol = string_at(item, "appProtocol");
      port.port = static_cast<int>(as_int(find(item, "port")));
      port.target_name = string_at(item, "targetPort");
      port.target = static_cast<int>(as_int(find(item, "targetPort"), port.port));
      if (port.target == 0) port.target = port.port;
      s->ports.push_back(std::move(port));
    }
  }
  return s;
}
std::shared_ptr<const Whole> read_whole(const json::value& object) {
  auto whole = std::make_shared<Whole>();
  whole->meta = read_meta(object);
  whole->labels = read_labels(find_path(object, "metadata", "labels"));
  whole->object = object;
  if (json::value* meta = whole->object.as_object().if_contains("metadata"); meta && meta->is_object())
    meta->get_object().erase("managedFields");
  return whole;
}
std::shared_ptr<const Node> read_node(const json::value& object) {
  auto node = std::make_shared<Node>();
  node->meta = read_meta(object);
  node->pod_cidr = string_at(object, "spec", "podCIDR");
  if (const json::value* list = find_path(object, "spec", "podCIDRs"); list && list->is_array())
    for (const json::value& item : list->get_array()) node->pod_cidrs.emplace_back(as_string(&item));
  node->zone = string_at(object, "metadata", "labels", "topology.kubernetes.io/zone");
  node->taints = read_taints(find_path(object, "spec", "taints"));
  node->unschedulable = as_bool(find_path(object, "spec", "unschedulable"));
  if (const json::value* list = find_path(object, "status", "conditions"); list && list->is_array())
    node->conditions = list->get_array();
  return node;
}
std::shared_ptr<const Lease> read_lease(const json::value& object) {
  return std::make_shared<Lease>(Lease{read_meta(object), std::string(string_at(object, "spec", "renewTime"))});
}
std::shared_ptr<const Namespace> read_namespace(const json::value& object) {
  auto ns = std::make_shared<Namespace>();
  ns->meta = read_meta(object);
  ns->phase = string_at(object, "status", "phase");
  if (const json::value* list = find_path(object, "spec", "finalizers"); list && list->is_array())
    for (const json::value& item : list->get_array()) ns->has_finalizer |= as_string(&item) == "kubernetes";
  return ns;
}
std::shared_ptr<const ConfigMap> read_config_map(const json::value& object) {
  auto map = std::make_shared<ConfigMap>();
  map->meta = read_meta(object);
  if (map->meta.name == "kube-root-ca.crt")
    map->ca_hash = std::hash<std::string_view>()(string_at(object, "data", "ca.crt"));
  return map;
}
std::vector<std::string> pod_terms(const Pod& pod) {
  std::vector<std::string> terms{pod.owner_uid.empty() ? orphans_of(pod.meta.ns) : owned_by(pod.owner_uid)};
  if (!pod.node.empty()) terms.push_back(on_node(pod.node));
  return terms;
}
std::vector<std::string> owner_terms(const ReplicaOwner& owner) {
  return {owner.controller.uid.empty() ? orphans_of(owner.meta.ns) : owned_by(owner.controller.uid)};
}
std::vector<std::string> slice_terms(const Whole& slice) {
  return {key_of(slice.meta.ns, label(slice.labels, "kubernetes.io/service-name"))};
}
}  // namespace

Hub::Hub(base::Loop& loop_in, std::shared_ptr<api::Transport> transport_in, const Options& options_in)
    : loop(loop_in),
      options(options_in),
      transport(std::move(transport_in)),
      pods([this](const json::value& object) { return pod_reader_.read(object); }, pod_terms),
      replication_controllers([](const json::value& o) { return read_replicas(o, true); }),
      replica_sets([](const json::value& o) { return read_replicas(o, false); }, owner_terms),
      deployments(read_deployment),
      services(read_service),
      endpoints(read_whole),
      slices(read_whole, slice_terms),
      nodes(read_node),
      leases(read_lease),
      namespaces(read_namespace),
      config_maps(read_config_map),
      service_accounts([](const json::value& o) {
        return std::make_shared<const ServiceAccount>(ServiceAccount{read_meta(o)});
      }) {
  namespace r = api::resources;
  add(r::namespaces, &namespaces);
  add(r::nodes, &nodes);
  add(r::deployments, &deployments);
  add(r::replica_sets, &replica_sets);
  add(r::replication_controllers, &replication_controllers);
  add(r::pods, &pods);
  add(r::services, &services);
  add(r::endpoints, &endpoints);
  add(r::endpoint_slices, &slices);
  add(r::leases, &leases);
  add(r::config_maps, &config_maps);
  add(r::service_accounts, &service_accounts);
  add(r::secrets, nullptr);  // metadata only, for the garbage collector
}
Hub::~Hub() = default;

Hub::Account& Hub::account(const std::string& name) {
  auto& account = accounts_[name];
  if (!account) account = std::make_unique<Account>(options.transport_of ? options.transport_of(name) : transport, options);
  return *account;
}

void Hub::add(const api::Resource& resource, StoreBase* store) {
  resources_.push_back(resource);
  sources_.push_back(std::make_unique<Source>(Source{store, false, false, nullptr}));
}

void Hub::on_any(std::function<void(const api::Resource&, api::Informer::Change, const json::value&)> handler) {
  any_.push_back(std::move(handler));
}

bool Hub::synced() const {
  for (const auto& source : sources_)
    if (!source->synced && !source->custom) return false;
  return true;
}

void Hub::start() {
  for (size_t i = 0; i < sources_.size(); ++i) start(i);
  api::Informer::Options of_definitions;
  of_definitions.resource = {"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};
  definitions_ = std::make_unique<api::Informer>(
      loop, *transport, of_definitions,
      [this](api::Informer::Change change, const json::value& object) { follow_definition(change, object); });
  definitions_->start();
}

void Hub::start(size_t index) {
  Source* source = sources_[index].get();
  const api::Resource& resource = resources_[index];
  api::Informer::Options informer_options;
  informer_options.resource = resource;
  source->informer = std::make_unique<api::Informer>(
      loop, *transport, informer_options,
      [this, source, &resource](api::Informer::Change change, const json::value& object) {
        if (source->store) source->store->apply(change, object);
        for (const auto& handler : any_) handler(resource, change, object);
      },
      [this, source] {
        source->synced = true;
        if (source->store) source->store->synced = true;
        for (const auto& handler : synced_handlers_) handler();
      });
  source->informer->start();
}

// Custom resources are owners and owned like any other kind.
void Hub::follow_definition(api::Informer::Change change, const json::value& definition) {
  api::Resource resource;
  std::string_view name = string_at(definition, "metadata", "name");
  resource.plural = name.substr(0, name.find('.'));  // all that a deletion tells
  resource.group = name.substr(std::min(name.find('.'), name.size() - 1) + 1);
  bool served = false;
  if (const json::value* conditions = find_path(definition, "status", "conditions");
      change == api::Informer::Change::kSet && conditions && conditions->is_array())
    for (const json::value& condition : conditions->get_array())
      served |= string_at(condition, "type") == "Established" && string_at(condition, "status") == "True";
  resource.kind = string_at(definition, "spec", "names", "kind");
  resource.namespaced = string_at(definition, "spec", "scope") == "Namespaced";
  if (const json::value* versions = find_path(definition, "spec", "versions"); versions && versions->is_array())
    // The stored one if it can be: no webhook has to convert it.
    for (bool stored : {true, false})
      for (const json::value& version : versions->get_array())
        if (resource.version.empty() && as_bool(find(version, "served")) && as_bool(find(version, "storage")) == stored)
          resource.version = string_at(version, "name");
  served &= !resource.version.empty();
  for (size_t i = 0; i < resources_.size(); ++i) {
    if (!sources_[i]->custom || resources_[i].plural != resource.plural || resources_[i].group != resource.group) continue;
    bool same = served && resources_[i].version == resource.version && resources_[i].namespaced == resource.namespaced;
    if (same && sources_[i]->informer) return;
    sources_[i]->informer.reset();
    if (!same) continue;
    return start(i);
  }
  if (!served) return;
  resources_.push_back(resource);
  sources_.push_back(std::make_unique<Source>(Source{nullptr, false, true, nullptr}));
  start(sources_.size() - 1);
}

}  // namespace master::controllers
