#include "master/extensions/api_services.h"

#include <map>

#include "base/log.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

namespace {

// Keys of the queue beside names: a look at everything, and the ConfigMap.
const std::string kAll = "*", kAuthentication = "authentication";
constexpr std::string_view kAuthenticationMap = "kube-system/extension-apiserver-authentication";
constexpr std::string_view kManaged = "kube-aggregator.kubernetes.io/automanaged";

}  // namespace

int64_t group_priority(std::string_view group) {
  static const std::map<std::string_view, int64_t> kPriorities = {{"", 18000},
                                                                  {"apps", 17800},
                                                                  {"events.k8s.io", 17750},
                                                                  {"authentication.k8s.io", 17700},
                                                                  {"authorization.k8s.io", 17600},
                                                                  {"autoscaling", 17500},
                                                                  {"batch", 17400},
                                                                  {"certificates.k8s.io", 17300},
                                                                  {"networking.k8s.io", 17200},
                                                                  {"policy", 17100},
                                                                  {"rbac.authorization.k8s.io", 17000},
                                                                  {"storage.k8s.io", 16800},
                                                                  {"apiextensions.k8s.io", 16700},
                                                                  {"admissionregistration.k8s.io", 16700},
                                                                  {"scheduling.k8s.io", 16600},
                                                                  {"coordination.k8s.io", 16500},
                                                                  {"node.k8s.io", 16300},
                                                                  {"discovery.k8s.io", 16200},
                                                                  {"flowcontrol.apiserver.k8s.io", 16100},
                                                                  {"resource.k8s.io", 15900}};
  auto it = kPriorities.find(group);
  return it == kPriorities.end() ? 1000 : it->second;
}

int64_t version_priority(std::string_view group, std::string_view version, bool custom) {
  return group.empty() ? 1 : custom ? 100 : version == "v2" ? 30 : 15;
}

json::object api_service_of(std::string_view group, std::string_view version, bool custom) {
  json::object labels;
  labels[kManaged] = custom ? "true" : "onstart";
  json::object spec{{"groupPriorityMinimum", group_priority(group)},
                    {"versionPriority", version_priority(group, version, custom)},
                    {"version", version}};
  if (!group.empty()) spec["group"] = group;
  return {{"apiVersion", "apiregistration.k8s.io/v1"},
          {"kind", "APIService"},
          {"metadata", json::object{{"name", std::string(version) + "." + std::string(group)},
                                    {"labels", std::move(labels)}}},
          {"spec", std::move(spec)}};
}

ApiServices::ApiServices(Registry& registry, FrontProxy front_proxy, base::metrics::Registry& metrics)
    : registry_(registry), front_proxy_(std::move(front_proxy)),
      transport_(registry.transport({"system:apiserver", {"system:masters"}})),
      client_(transport_, "kube-apiserver"), queue_(
                                                 registry.loop(),
                                                 [this](const std::string& name) {
                                                   if (name == kAll) sync();
                                                   else if (name == kAuthentication) publish_authentication();
                                                   else reconcile(name);
                                                 },
                                                 std::chrono::seconds(30)),
      aggregator_(registry, front_proxy_, metrics, client_, queue_) {
  registry_.resources().on_change([this] { queue_.add(kAll); });
  services_listener_ =
      registry_.cache(kApiServices.group, kApiServices.plural).subscribe([this](const WatchEvent& event) {
        queue_.add(std::string(event.object->name()));
      });
  queue_.add(kAll);
  if (front_proxy_.ca_pem.empty()) return;
  maps_listener_ = registry_.cache("", "configmaps").subscribe([this](const WatchEvent& event) {
    if (event.object->key == kAuthenticationMap) queue_.add(kAuthentication);
  });
  queue_.add(kAuthentication);
}
ApiServices::~ApiServices() {
  registry_.resources().on_change({});
  registry_.cache(kApiServices.group, kApiServices.plural).unsubscribe(services_listener_);
  if (maps_listener_) registry_.cache("", "configmaps").unsubscribe(maps_listener_);
}

void ApiServices::conclude(const std::string& name, const base::Result<json::value>& result) {
  if (result.ok() || result.error().kind == base::Kind::kExists ||
      result.error().kind == base::Kind::kNotFound)
    return queue_.succeeded(name);
  if (result.error().kind != base::Kind::kConflict)
    base::log::warning("api service {}: {}", name, result.error().message());
  queue_.failed(name);
}

// Makes one APIService what it should be: there and Available while its group version is served here,
// followed by the aggregator while it is served behind a Service.
void ApiServices::reconcile(const std::string& name) {
  std::string version = name.substr(0, name.find('.')), group = name.substr(name.find('.') + 1);
  bool served = false, custom = false, yields = false;
  for (const ResourcePtr& row : registry_.resources().all()) {
    if (!row->served || row->group != group || row->version != version) continue;
    served = true;
    custom |= row->type->custom != nullptr;
    yields |= row->yields;
  }
  ObjectRef found = registry_.cache(kApiServices.group, kApiServices.plural).find(object_key("", name));
  json::value object = found ? parse_object(*found->text) : json::value();
  if (found && (!served || yields))
    if (auto remote = read_remote(object)) return aggregator_.follow(name, object, std::move(*remote));
  aggregator_.drop(name);
  auto done = [this, name](const base::Result<json::value>& result) { conclude(name, result); };
  if (!found && (!served || yields)) return queue_.succeeded(name);
  if (!served && base::string_at(object, "metadata", "labels", kManaged) == "true")
    return client_.remove(kApiServices, "", name, nullptr, done);
  auto set_status = [this, name, done](const json::value& made) {
    json::value updated =
        with_availability(made, {true, "Local", "Local APIServices are always available"}, base::wall_now());
    if (updated.is_null()) return queue_.succeeded(name);
    client_.update(kApiServices, "", name, std::move(updated), done, "status");
  };
  if (found) return set_status(object);
  client_.create(kApiServices, "", api_service_of(group, version, custom),
                 [done, set_status](base::Result<json::value> made) {
                   if (!made.ok()) return done(made);
                   set_status(*made);
                 });
}

// Whom an API server behind an APIService shall trust; there whatever happens to it.
void ApiServices::publish_authentication() {
  json::object wanted = authentication_config_map(front_proxy_.client_ca_pem, front_proxy_.ca_pem);
  auto done = [this](const base::Result<json::value>& result) {
    if (result.ok()) return queue_.succeeded(kAuthentication);
    queue_.failed(kAuthentication);  // at the first start its namespace is not there yet
  };
  ObjectRef found = registry_.cache("", "configmaps").find(kAuthenticationMap);
  if (!found) return client_.create(api::resources::config_maps, "kube-system", std::move(wanted), done);
  json::value object = parse_object(*found->text);
  const json::value* data = base::find(object, "data");
  if (data && *data == wanted["data"]) return queue_.succeeded(kAuthentication);
  object.get_object()["data"] = wanted["data"];
  client_.update(api::resources::config_maps, "kube-system", "extension-apiserver-authentication",
                 std::move(object), done);
}

void ApiServices::sync() {
  for (const auto& [group, version] : registry_.resources().group_versions())
    queue_.add(version + "." + group);
  for (const auto& [key, service] : registry_.cache("apiregistration.k8s.io", "apiservices").objects())
    queue_.add(std::string(service->name()));
}

}  // namespace master
