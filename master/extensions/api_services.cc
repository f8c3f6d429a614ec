#include "master/extensions/api_services.h"

#include "base/log.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

namespace {

// Keys of the queue beside names: a look at everything, and the ConfigMap.
const std::string kAll = "*", kAuthentication = "authentication";
constexpr std::string_view kAuthenticationMap = "kube-system/extension-apiserver-authentication";

}  // namespace

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
  ObjectRef found = registry_.cache(kApiServices.group, kApiServices.plural).find(object_key("", name));
  const json::value object = found ? parse_object(*found->text) : json::value();
  const std::string version = name.substr(0, name.find('.')), group = name.substr(name.find('.') + 1);
  const ServedVersion served = observe(group, version);
  const ApiServiceStep step = plan_api_service(served, read_api_service(object));
  base::log::debug("api service {}: {}", name, text_of(step));
  if (step == ApiServiceStep::kFollow)
    if (auto remote = read_remote(object)) return aggregator_.follow(name, object, std::move(*remote));
  aggregator_.drop(name);
  auto done = [this, name](const base::Result<json::value>& result) { conclude(name, result); };
  switch (step) {
    case ApiServiceStep::kFollow:
    case ApiServiceStep::kLeave: return queue_.succeeded(name);
    case ApiServiceStep::kRemove: return client_.remove(kApiServices, "", name, nullptr, done);
    case ApiServiceStep::kMarkLocal: return mark_local(name, object);
    case ApiServiceStep::kCreate: break;
  }
  client_.create(kApiServices, "", api_service_of(group, version, served.custom),
                 [this, name, done](base::Result<json::value> made) {
                   if (!made.ok()) return done(made);
                   mark_local(name, *made);
                 });
}

ServedVersion ApiServices::observe(std::string_view group, std::string_view version) const {
  ServedVersion out;
  for (const ResourcePtr& row : registry_.resources().all()) {
    if (!row->served || row->group != group || row->version != version) continue;
    out.served = true;
    out.custom |= row->type->custom != nullptr;
    out.yields |= row->yields;
  }
  return out;
}

void ApiServices::mark_local(const std::string& name, const json::value& object) {
  json::value updated =
      with_availability(object, {true, "Local", "Local APIServices are always available"}, base::wall_now());
  if (updated.is_null()) return queue_.succeeded(name);
  client_.update(
      kApiServices, "", name, std::move(updated),
      [this, name](const base::Result<json::value>& result) { conclude(name, result); }, "status");
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
