#include "master/admission/service_endpoint.h"

#include <random>

#include "base/json_lists.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;
using base::list_at;

namespace {

void add_ready(const json::value& slice, std::string_view port_name, std::vector<ServiceEndpoint>& out) {
  for (const json::value& port : list_at(base::find(slice, "ports"))) {
    if (base::string_at(port, "name") != port_name) continue;
    int number = static_cast<int>(base::as_int(base::find(port, "port")));
    for (const json::value& endpoint : list_at(base::find(slice, "endpoints"))) {
      if (!base::as_bool(base::find_path(endpoint, "conditions", "ready"), true)) continue;
      bool is_pod = base::string_at(endpoint, "targetRef", "kind") == "Pod";
      for (const json::value& address : list_at(base::find(endpoint, "addresses")))
        out.push_back(
            {std::string(base::as_string(&address)), number,
             std::string(base::string_at(endpoint, "nodeName")),
             std::string(is_pod ? base::string_at(endpoint, "targetRef", "name") : std::string_view())});
    }
  }
}

}  // namespace

std::string ServiceLookup::text(std::string_view service, std::string_view port) const {
  std::string quoted = "service \"" + std::string(service) + "\"";
  if (reason == "ServiceNotFound") return quoted + " not found";
  if (reason == "ServicePortError") return "no service port " + std::string(port) + " found for " + quoted;
  return "no endpoints available for " + quoted;
}

const ServiceEndpoint& any_of(const std::vector<ServiceEndpoint>& endpoints) {
  SAMPAN_CHECK(!endpoints.empty());
  static std::minstd_rand random{std::random_device()()};
  return endpoints[std::uniform_int_distribution<size_t>(0, endpoints.size() - 1)(random)];
}

ServiceLookup look_up_service(Registry& registry, const std::string& ns, const std::string& service,
                              std::string_view port) {
  ServiceLookup out;
  ObjectRef found = registry.cache("", "services").find(object_key(ns, service));
  if (!found) {
    out.reason = "ServiceNotFound";
    return out;
  }
  bool has_port = port.empty();
  json::value object = parse_object(*found->text);
  for (const json::value& one : list_at(base::find_path(object, "spec", "ports"))) {
    if (std::to_string(base::as_int(base::find(one, "port"))) != port && base::string_at(one, "name") != port)
      continue;
    out.port_name = base::string_at(one, "name");
    has_port = true;
    break;
  }
  if (!has_port) {
    out.reason = "ServicePortError";
    return out;
  }
  out.reason = "EndpointsNotFound";
  auto [it, end] = registry.cache("discovery.k8s.io", "endpointslices").range(ns);
  for (; it != end; ++it) {
    auto label = it->second->labels.find("kubernetes.io/service-name");
    if (label == it->second->labels.end() || label->second != service) continue;
    out.reason = "MissingEndpoints";
    add_ready(parse_object(*it->second->text), out.port_name, out.endpoints);
  }
  if (!out.endpoints.empty()) out.reason = "";
  return out;
}

}  // namespace master
