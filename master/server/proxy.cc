// nodes/NAME/proxy, pods/NAME/proxy and services/NAME/proxy: requests to what runs in the cluster, by
// way of the kubelet of its node, since nothing but a node reaches a Pod's address.

#include "api/status.h"
#include "base/http/forward.h"
#include "base/ip.h"
#include "base/json_lists.h"
#include "base/tls_unverified.h"
#include "master/admission/service_endpoint.h"
#include "master/server/handlers.h"
#include "master/server/node_clients.h"
#include "master/server/proxy_answer.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;
using base::list_at;

namespace {

// "https:web:8080": scheme and port may be left out.
struct ProxyName {
  std::string scheme, name, port;
  bool valid = false;
};
ProxyName split_name(const std::string& text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == ':') parts.emplace_back();
    else parts.back() += c;
  }
  ProxyName out;
  if (parts.size() > 3) return out;
  if (parts.size() == 3) out.scheme = parts[0];
  out.name = parts.size() == 3 ? parts[1] : parts[0];
  if (parts.size() > 1) out.port = parts.back();
  out.valid = !out.name.empty() && (out.scheme.empty() || out.scheme == "http" || out.scheme == "https");
  return out;
}
// How the path of a request is divided: what stands before …/proxy, that included, and behind it as it
// was sent, "" or "/metrics".
struct ProxyPath {
  std::string_view prefix, rest;
};
ProxyPath split_proxy_path(const RequestInfo& request) {
  std::string_view path = request.http().path(), rest = path;
  for (int segments = request.resource->namespaced ? 7 : 5; segments > 0 && !rest.empty(); --segments) {
    size_t slash = rest.find('/', 1);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  }
  return {path.substr(0, path.size() - rest.size()), rest};
}
bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789") == text.npos &&
         std::stoul(std::string(text)) - 1 < 65535;
}
// A node may claim any address: none that leads back to this host, or to its link.
bool may_be_reached(const std::string& address) {
  const auto ip = base::Ip::parse(address);
  if (!ip || (ip->is_v4() && address.find(':') != address.npos)) return false;
  return !ip->is_unspecified() && !ip->is_loopback() && !ip->is_link_local() && !ip->is_multicast() &&
         *ip != base::Ip::v4(UINT32_MAX);
}

// Where a proxied request goes: by way of a node's kubelet, or (`client` null) to the node itself.
struct ProxyTarget {
  std::string node, path;    // path: of the kubelet, up to what the client asked for
  std::string scheme, host;  // of the backend, "10.0.0.1:8080"
};

json::value find_node_target(ApiServer& server, const std::string& name, const std::string& scheme,
                             const std::string& port, ProxyTarget* out) {
  ObjectRef object = server.registry().cache("", "nodes").find(object_key("", name));
  if (!object) return api::not_found({"", "nodes"}, name);
  json::value refusal;
  if (!server.nodes().find(name, &refusal)) return refusal;
  const std::string& kubelet = server.nodes().endpoint(name);
  size_t colon = kubelet.rfind(':');
  out->node = name;
  if (port.empty() || port == kubelet.substr(colon + 1)) return nullptr;
  if (!is_port(port)) return api::bad_request("invalid port \"" + port + "\" of node " + name);
  std::string address = kubelet.substr(0, colon);
  if (!may_be_reached(address)) return api::bad_request("address not allowed");
  out->node.clear();
  out->scheme = scheme;
  out->host = address;
  out->host += ":" + port;
  return nullptr;
}

json::value find_pod_target(ApiServer& server, const std::string& ns, const std::string& name,
                            const std::string& scheme, std::string port, ProxyTarget* out) {
  ObjectRef object = server.registry().cache("", "pods").find(object_key(ns, name));
  if (!object) return api::not_found({"", "pods"}, name);
  json::value pod = parse_object(*object->text);
  if (port.empty()) {
    port = scheme == "https" ? "443" : "80";
    for (const json::value& container : list_at(base::find_path(pod, "spec", "containers")))
      if (const json::array& ports = list_at(base::find(container, "ports")); !ports.empty()) {
        port = std::to_string(base::as_int(base::find(ports[0], "containerPort")));
        break;
      }
  }
  if (!is_port(port)) return api::bad_request("invalid port \"" + port + "\" of pod " + name);
  out->node = base::string_at(pod, "spec", "nodeName");
  if (out->node.empty()) return api::bad_request("pod " + name + " does not have a host assigned");
  out->path = "/podProxy/" + base::http::escape(ns) + "/" + base::http::escape(name) + "/" +
              (scheme == "https" ? "https:" : "") + port;
  out->host = std::string(base::string_at(pod, "status", "podIP")) + ":" + port;
  return nullptr;
}

json::value find_service_target(ApiServer& server, const std::string& ns, const std::string& name,
                                const std::string& scheme, const std::string& port, ProxyTarget* out) {
  ServiceLookup found = look_up_service(server.registry(), ns, name, port);
  if (found.reason == "ServiceNotFound") return api::not_found({"", "services"}, name);
  std::erase_if(found.endpoints, [](const ServiceEndpoint& one) { return one.pod.empty(); });
  if (found.endpoints.empty()) return api::unavailable(found.text(name, port));
  const ServiceEndpoint& chosen = any_of(found.endpoints);
  out->node = chosen.node;
  out->path = "/podProxy/" + base::http::escape(ns) + "/" + base::http::escape(chosen.pod) + "/" +
              (scheme == "https" ? "https:" : "") + std::to_string(chosen.port);
  out->host = chosen.address + ":" + std::to_string(chosen.port);
  return nullptr;
}

void pass_on(ApiServer& server, RequestPtr request, ProxyTarget target) {
  const base::http::Request& http = request->http();
  ProxyPath path = split_proxy_path(*request);
  std::shared_ptr<base::http::Client> own;
  base::http::Client* client = nullptr;
  if (target.node.empty()) {
    size_t colon = target.host.rfind(':');
    base::http::Client::Options options;
    options.host = target.host.substr(0, colon);
    options.port = std::stoi(target.host.substr(colon + 1));
    std::shared_ptr<base::tls::Context> context;
    if (target.scheme == "https") {
      auto made = base::tls::unverified_client({});
      if (!made.ok()) return request->reply_status(api::internal_error(made.error().message()));
      context = std::move(*made);
    }
    own = std::make_shared<base::http::Client>(server.loop(), std::move(context), options);
    client = own.get();
  } else {
    json::value refusal;
    client = server.nodes().find(target.node, &refusal);
    if (!client) return request->reply_status(refusal);
    if (target.host.empty()) target.host = server.nodes().endpoint(target.node);
  }
  std::string onward = target.path + (path.rest.empty() ? "/" : std::string(path.rest));
  if (!http.query().empty()) onward.append("?").append(http.query());
  std::string client_host(http.headers.get("Host"));
  base::http::ForwardOptions options;
  options.change_headers = [&](base::http::Headers& headers) {
    headers.set("X-Forwarded-Uri", std::string(http.path()));
    if (!client_host.empty()) headers.set("Host", client_host);
  };
  options.change_answer = [at = ProxiedAt{std::string(path.prefix), target.host, client_host}](
                              base::http::Response& head) { return change_proxied(at, head); };
  uint64_t id = server.nodes().next_call();
  auto forget = server.nodes().forget(id, own);
  request->exchange->on_close(forget);
  server.nodes().keep(id, base::http::forward(
                              *client, request->exchange, std::move(onward),
                              [request, forget](base::Status status, bool answered) {
                                if (!status.ok() && !answered)
                                  request->reply_status(api::unavailable("error trying to reach service: " +
                                                                         status.error().message()));
                                forget();
                              },
                              options));
}

void proxy(ApiServer& server, RequestPtr request, const json::value& options) {
  // Pages link to what is beside them: an address without its last slash would lose a level.
  std::string_view method = request->http().method;
  bool upgrades = !request->http().headers.get("Upgrade").empty();
  if (base::string_at(options, "path").empty() && !upgrades && (method == "GET" || method == "HEAD")) {
    base::http::Headers headers;
    std::string_view query = request->http().query();
    headers.add("Location",
                std::string(request->http().path()) + "/" + (query.empty() ? "" : "?" + std::string(query)));
    return request->exchange->respond(301, std::move(headers), std::string());
  }
  const ResourceInfo& resource = *request->resource;
  ProxyName wanted = split_name(request->name);
  if (!wanted.valid)
    return request->reply_status(api::bad_request("invalid " + resource.singular + " request " +
                                                  base::to_json(json::value(request->name))));
  if (wanted.scheme.empty()) wanted.scheme = "http";
  json::value refusal;
  ProxyTarget target;
  if (resource.is("", "nodes"))
    refusal = find_node_target(server, wanted.name, wanted.scheme, wanted.port, &target);
  else if (resource.is("", "services"))
    refusal = find_service_target(server, request->ns, wanted.name, wanted.scheme, wanted.port, &target);
  else refusal = find_pod_target(server, request->ns, wanted.name, wanted.scheme, wanted.port, &target);
  if (!refusal.is_null()) return request->reply_status(refusal);
  pass_on(server, std::move(request), std::move(target));
}

}  // namespace

void add_proxy_handlers(ApiServer& server) {
  for (const char* plural : {"nodes", "pods", "services"})
    server.handle_with("", plural, "proxy", [&server](RequestPtr request) {
      admit_connect(server, request,
                    [&server, request](const json::value& admitted) { proxy(server, request, admitted); });
    });
}

}  // namespace master
