#include "master/api_services.h"

#include <map>

#include "base/log.h"
#include "master/server.h"

namespace master {

namespace json = base::json;

namespace {

const api::Resource kServices{"apiregistration.k8s.io", "v1", "apiservices", "APIService", false};
const std::string kAll = "*";  // the key of a look at everything
constexpr std::string_view kManaged = "kube-aggregator.kubernetes.io/automanaged";

int64_t group_priority(std::string_view group) {
  static const std::map<std::string_view, int64_t> kPriorities = {
      {"", 18000}, {"apps", 17800}, {"events.k8s.io", 17750}, {"authentication.k8s.io", 17700}, {"authorization.k8s.io", 17600},
      {"autoscaling", 17500}, {"batch", 17400}, {"certificates.k8s.io", 17300}, {"networking.k8s.io", 17200}, {"policy", 17100},
      {"rbac.authorization.k8s.io", 17000}, {"storage.k8s.io", 16800}, {"apiextensions.k8s.io", 16700},
      {"admissionregistration.k8s.io", 16700}, {"scheduling.k8s.io", 16600}, {"coordination.k8s.io", 16500}, {"node.k8s.io", 16300},
      {"discovery.k8s.io", 16200}, {"flowcontrol.apiserver.k8s.io", 16100}, {"resource.k8s.io", 15900}};
  auto it = kPriorities.find(group);
  return it == kPriorities.end() ? 1000 : it->second;
}

}  // namespace

json::object api_service_of(std::string_view group, std::string_view version, bool custom) {
  json::object labels;
  labels[kManaged] = custom ? "true" : "onstart";
  json::object spec{{"groupPriorityMinimum", group_priority(group)},
                    {"versionPriority", group.empty() ? 1 : custom ? 100 : version == "v2" ? 30 : 15}, {"version", version}};
  if (!group.empty()) spec["group"] = group;
  json::object available{{"type", "Available"}, {"status", "True"}, {"reason", "Local"},
                         {"message", "Local APIServices are always available"}, {"lastTransitionTime", base::format_time(base::wall_now())}};
  return {{"apiVersion", "apiregistration.k8s.io/v1"}, {"kind", "APIService"},
          {"metadata", json::object{{"name", std::string(version) + "." + std::string(group)}, {"labels", std::move(labels)}}},
          {"spec", std::move(spec)}, {"status", json::object{{"conditions", json::array{std::move(available)}}}}};
}

// Makes one APIService what it should be: there and Available while its group version is served.
static void reconcile(ApiServer& server, api::Client& client, api::WorkQueue& queue, const std::string& name) {
  std::string version = name.substr(0, name.find('.')), group = name.substr(name.find('.') + 1);
  bool served = false, custom = false;
  for (const ResourcePtr& row : server.resources().all()) {
    if (!row->served || row->group != group || row->version != version) continue;
    served = true;
    custom |= row->type->custom != nullptr;
  }
  auto conclude = [&queue, name](const base::Result<json::value>& result) {
    if (result.ok() || result.error().kind == base::Kind::kExists || result.error().kind == base::Kind::kNotFound) return queue.succeeded(name);
    if (result.error().kind != base::Kind::kConflict) base::log::warning("api service {}: {}", name, result.error().message());
    queue.failed(name);
  };
  ObjectRef found = server.cache("apiregistration.k8s.io", "apiservices").find(object_key("", name));
  if (!served) {
    if (!found) return queue.succeeded(name);
    auto label = found->labels.find(std::string(kManaged));
    if (label != found->labels.end() && label->second == "true") client.remove(kServices, "", name, nullptr, conclude);
    return;
  }
  if (found && found->text->find("\"type\":\"Available\"") != std::string::npos) return queue.succeeded(name);
  json::object object = api_service_of(group, version, custom);
  auto set_status = [&client, name, conclude, status = object["status"]](base::Result<json::value> made) {
    if (!made.ok()) return conclude(made);
    made->get_object()["status"] = status;
    client.update(kServices, "", name, std::move(*made), conclude, "status");
  };
  if (!found) client.create(kServices, "", std::move(object), set_status);
  else set_status(json::parse(*found->text));
}

ApiServices::ApiServices(ApiServer& server)
    : server_(server), transport_(server.local_transport({"system:apiserver", {"system:masters"}})), client_(transport_, "sampan-api-services"),
      queue_(server.loop(), [this](const std::string& name) {
        if (name == kAll) sync();
        else reconcile(server_, client_, queue_, name);
      }) {
  server_.resources().on_change([this] { queue_.add(kAll); });
  queue_.add(kAll);
}
ApiServices::~ApiServices() { server_.resources().on_change({}); }

void ApiServices::sync() {
  for (const auto& [group, version] : server_.resources().group_versions()) queue_.add(version + "." + group);
  for (const auto& [key, service] : server_.cache("apiregistration.k8s.io", "apiservices").objects()) queue_.add(std::string(service->name()));
}

}  // namespace master
