// What every cluster has from its first start: the namespaces, the default roles, the class of local volumes,
// and the Service by which Pods find the API server. Level-triggered: checked at each start, written only
// where it differs.
#include "api/local_volumes.h"
#include "base/http/whole_answer.h"
#include "base/log.h"
#include "master/admission/priority.h"
#include "master/auth/rbac_bootstrap.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

namespace {

// A store that takes no write now may take it later.
constexpr auto kAgain = std::chrono::seconds(1);

// An exchange whose answer nobody waits for, but whose refusal is logged; `failed`: by the server itself.
class SelfExchange final : public base::http::WholeAnswerExchange {
 public:
  SelfExchange(base::http::Request request, std::function<void()> failed)
      : WholeAnswerExchange(std::move(request)), failed_(std::move(failed)) {}
  void respond(int status, base::http::Headers, std::vector<base::http::Bytes> body) override {
    if (status < 400) return;
    std::string text;
    for (const auto& part : body) text += *part;
    base::log::error("{} {}: {}", request().method, request().target, text);
    if (status >= 500) failed_();
  }

 private:
  const std::function<void()> failed_;
};

}  // namespace

// The parts of this process, which answer when it does; kept for old dashboards.
void ApiServer::load_component_statuses() {
  ResourceInfo& resource = *registry_.resources().find("", "v1", "componentstatuses");
  for (const char* name : {"controller-manager", "etcd-0", "scheduler"}) {
    json::value object =
        json::object{{"apiVersion", "v1"},
                     {"kind", "ComponentStatus"},
                     {"metadata", json::object{{"name", name}, {"creationTimestamp", nullptr}}},
                     {"conditions",
                      json::array{json::object{{"type", "Healthy"}, {"status", "True"}, {"message", "ok"}}}}};
    resource.objects->load(make_object(resource, object_key("", name), to_stored_text(object), 1));
  }
}

void ApiServer::write_own(std::string method, std::string target, const json::value& body) {
  base::http::Request http;
  http.method = method;
  http.target = target;
  http.headers.add("Content-Type", "application/json");
  http.body = base::to_json(body);
  auto request = std::make_shared<RequestInfo>();
  request->exchange = std::make_shared<SelfExchange>(std::move(http), [this, method, target, body] {
    std::erase_if(own_writes_, [](const base::Loop::Handle& timer) { return !timer.active(); });
    own_writes_.push_back(
        loop_.after(kAgain, [this, method, target, body] { write_own(method, target, body); }));
  });
  request->user = {"system:apiserver", {"system:masters"}};
  dispatch(std::move(request), true);
}

void ApiServer::bootstrap() {
  auto send = [this](std::string method, std::string target, const json::value& body) {
    write_own(std::move(method), std::move(target), body);
  };
  ObjectCache& namespaces = registry_.cache("", "namespaces");
  // Of a new cluster only: who takes it away, or has another by default, has decided.
  if (namespaces.objects().empty() &&
      !registry_.is_set_aside(
          record_key(*registry_.resources().find_stored("", "namespaces"), object_key("", "default"))))
    send(
        "POST", "/apis/storage.k8s.io/v1/storageclasses",
        json::object{
            {"metadata",
             {{"name", "local"}, {"annotations", {{"storageclass.kubernetes.io/is-default-class", "true"}}}}},
            {"provisioner", api::local_volumes::kProvisioner},
            {"reclaimPolicy", "Delete"},
            {"allowVolumeExpansion", true},
            {"volumeBindingMode", "WaitForFirstConsumer"},
        });
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"})
    if (!namespaces.find(object_key("", name)))
      send("POST", "/api/v1/namespaces", json::object{{"metadata", json::object{{"name", name}}}});
  for (auto [plural, objects] : {std::pair("prioritylevelconfigurations", FlowControl::default_levels()),
                                 std::pair("flowschemas", FlowControl::default_schemas())}) {
    ResourcePtr resource = registry_.resources().find_stored("flowcontrol.apiserver.k8s.io", plural);
    if (!resource) continue;
    for (const json::value& object : objects)
      if (!resource->objects->find(object_key("", base::string_at(object, "metadata", "name"))))
        send("POST", "/apis/flowcontrol.apiserver.k8s.io/v1/" + std::string(plural), object);
  }

  for (json::object& each : system_priority_classes())
    if (!registry_.cache("scheduling.k8s.io", "priorityclasses")
             .find(object_key("", base::string_at(json::value(each), "metadata", "name"))))
      send("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", each);

  // The rest needs the namespaces, which the first start is just writing, in this order.
  constexpr std::string_view kLast = "kube-node-lease";
  std::string ip = registry_.service_addresses().first_address();
  json::object labels{{"component", "apiserver"}, {"provider", "kubernetes"}};
  json::object service{
      {"metadata", json::object{{"name", "kubernetes"}, {"labels", labels}}},
      {"spec", json::object{{"clusterIP", ip},
                            {"ports", json::array{json::object{{"name", "https"},
                                                               {"port", 443},
                                                               {"protocol", "TCP"},
                                                               {"targetPort", options_.advertise_port}}}}}}};
  json::object port{{"name", "https"}, {"port", options_.advertise_port}, {"protocol", "TCP"}};
  json::object endpoints{
      {"metadata",
       json::object{{"name", "kubernetes"},
                    {"labels", json::object{{"endpointslice.kubernetes.io/skip-mirror", "true"}}}}},
      {"subsets",
       json::array{json::object{{"addresses", json::array{json::object{{"ip", options_.advertise_address}}}},
                                {"ports", json::array{port}}}}}};
  json::object slice{
      {"metadata", json::object{{"name", "kubernetes"},
                                {"labels", json::object{{"kubernetes.io/service-name", "kubernetes"}}}}},
      {"addressType", "IPv4"},
      {"endpoints",
       json::array{json::object{{"addresses", json::array{json::value(options_.advertise_address)}},
                                {"conditions", json::object{{"ready", true}}}}}},
      {"ports", json::array{port}}};
  auto ensure = [this, send](const char* group, const char* plural, std::string collection,
                             json::object object) {
    ObjectRef current = registry_.cache(group, plural).find(object_key("default", "kubernetes"));
    if (!current) return send("POST", collection, object);
    json::value stored = parse_object(*current->text);
    json::value merged = stored;
    for (const char* part : {"subsets", "endpoints", "ports"})
      if (object.contains(part)) merged.get_object()[part] = object[part];
    if (merged != stored) send("PUT", collection + "/kubernetes", merged);
  };
  // Endpoints may not be loopback addresses (Kubernetes' own rule): Pods could not reach one.
  bool reachable = !options_.advertise_address.starts_with("127.");
  if (!reachable)
    base::log::warning(
        "Pods can't reach the API server at {}: give --advertise-address an address of this host's network",
        options_.advertise_address);
  auto rest = [this, ensure, service, endpoints, slice, reachable] {
    rbac_bootstrap_ = std::make_unique<RbacBootstrap>(registry_);
    rbac_bootstrap_->start([this] { bootstrapped(); });
    ensure("", "services", "/api/v1/namespaces/default/services", service);
    if (!reachable) return;
    ensure("", "endpoints", "/api/v1/namespaces/default/endpoints", endpoints);
    ensure("discovery.k8s.io", "endpointslices",
           "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice);
  };
  if (namespaces.find(object_key("", kLast)) ||
      registry_.is_set_aside(
          record_key(*registry_.resources().find_stored("", "namespaces"), object_key("", kLast))))
    return rest();
  auto id = std::make_shared<uint64_t>(0);
  *id = namespaces.subscribe([this, id, rest, &namespaces](const WatchEvent& event) {
    if (event.object->name() != kLast || *id == 0) return;
    uint64_t mine = std::exchange(*id, 0);
    loop_.post([mine, rest, &namespaces] {
      namespaces.unsubscribe(mine);
      rest();
    });
  });
}

void ApiServer::bootstrapped() {
  bootstrapped_ = true;
  if (when_bootstrapped_) std::exchange(when_bootstrapped_, nullptr)();
}
void ApiServer::when_bootstrapped(std::function<void()> then) {
  if (bootstrapped_) return then();
  when_bootstrapped_ = std::move(then);
}

}  // namespace master
