// nodes/NAME/proxy, pods/NAME/proxy and services/NAME/proxy: requests to what runs in the cluster, by
// way of the kubelet of its node, since nothing but a node reaches a Pod's address.
#include "api/status.h"
#include "base/http_forward.h"
#include "base/json_lists.h"
#include "master/server.h"
#include "master/service_endpoint.h"

namespace master {

namespace json = base::json;
using base::list_at;

namespace {

// "https:web:8080": scheme and port may be left out.
struct ProxyName {
  std::string scheme, name, port;
};
ProxyName split_name(const std::string& text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == ':') parts.emplace_back();
    else parts.back() += c;
  }
  if (parts.size() == 3) return {parts[0], parts[1], parts[2]};
  if (parts.size() == 2) return {"", parts[0], parts[1]};
  return {"", text, ""};
}
// What stands behind …/proxy, as it was sent: "/", "/metrics?x=1".
std::string behind_proxy(const RequestInfo& request) {
  std::string_view path = request.http().path(), query = request.http().query();
  for (int segments = request.resource->namespaced ? 7 : 5; segments > 0 && !path.empty(); --segments) {
    size_t slash = path.find('/', 1);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash);
  }
  std::string out = path.empty() ? "/" : std::string(path);
  if (!query.empty()) out.append("?").append(query);
  return out;
}

}  // namespace

void ApiServer::proxy(RequestPtr request) {
  std::string target = behind_proxy(*request);
  if (request->resource->is("", "nodes")) return proxy_to_node(request, request->name, std::move(target));
  ProxyName wanted = split_name(request->name);
  if (!wanted.scheme.empty() && wanted.scheme != "http")
    return request->reply_status(
        api::bad_request("invalid proxy scheme \"" + wanted.scheme + "\": only http is passed on"));
  if (request->resource->is("", "services"))
    return proxy_to_service(request, wanted.name, wanted.port, std::move(target));
  ObjectRef object = cache("", "pods").find(object_key(request->ns, wanted.name));
  if (!object) return request->reply_status(api::not_found({"", "pods"}, wanted.name));
  json::value pod = parse_object(*object->text);
  if (wanted.port.empty()) {
    wanted.port = "80";
    for (const json::value& container : list_at(base::find_path(pod, "spec", "containers")))
      if (const json::array& ports = list_at(base::find(container, "ports")); !ports.empty()) {
        wanted.port = std::to_string(base::as_int(base::find(ports[0], "containerPort")));
        break;
      }
  }
  if (wanted.port.size() > 5 || wanted.port.find_first_not_of("0123456789") != std::string::npos)
    return request->reply_status(
        api::bad_request("invalid port \"" + wanted.port + "\" of pod " + wanted.name));
  std::string node(base::string_at(pod, "spec", "nodeName"));
  if (node.empty())
    return request->reply_status(api::bad_request("pod " + wanted.name + " does not have a host assigned"));
  proxy_to_node(request, node, "/podProxy/" + request->ns + "/" + wanted.name + "/" + wanted.port + target);
}

void ApiServer::proxy_to_service(RequestPtr request, const std::string& name, std::string port,
                                 std::string target) {
  ServiceLookup found = look_up_service(*this, request->ns, name, port);
  if (found.reason == "ServiceNotFound") return request->reply_status(api::not_found({"", "services"}, name));
  std::erase_if(found.endpoints, [](const ServiceEndpoint& one) { return one.pod.empty(); });
  if (found.endpoints.empty())
    return request->reply_status(api::unavailable(found.text(name, "\"" + port + "\"")));
  const ServiceEndpoint& chosen = found.endpoints[next_call_ % found.endpoints.size()];
  proxy_to_node(request, chosen.node,
                "/podProxy/" + request->ns + "/" + chosen.pod + "/" + std::to_string(chosen.port) + target);
}

void ApiServer::proxy_to_node(RequestPtr request, const std::string& node, std::string target) {
  json::value refusal;
  base::http::Client* client = node_client(node, &refusal);
  if (!client) return request->reply_status(refusal);
  uint64_t id = next_call_++;
  auto forget = [this, id] { loop_.post([this, id] { calls_.erase(id); }); };
  request->exchange->on_close(forget);
  calls_[id] =
      base::http::forward(*client, request->exchange, std::move(target),
                          [request, node, forget](base::Status status, bool answered) {
                            if (!status.ok() && !answered)
                              request->reply_status(api::unavailable("error trying to reach node \"" + node +
                                                                     "\": " + status.error().message()));
                            forget();
                          });
}

}  // namespace master
