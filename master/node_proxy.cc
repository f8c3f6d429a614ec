// Logs, exec, attach and port-forward: passed on to the Pod's node byte for byte. What the streams
// mean is between the client and the kubelet.
#include <arpa/inet.h>

#include <algorithm>

#include "api/status.h"
#include "master/server.h"

namespace master {

namespace json = base::json;
using base::http::Client;

namespace {

// Headers of an upgrade that the other side must see.
constexpr const char* kUpgradeHeaders[] = {"Upgrade",
                                           "Connection",
                                           "Sec-WebSocket-Key",
                                           "Sec-WebSocket-Version",
                                           "Sec-WebSocket-Protocol",
                                           "Sec-WebSocket-Extensions",
                                           "Sec-WebSocket-Accept",
                                           "X-Stream-Protocol-Version"};

base::http::Headers upgrade_headers(const base::http::Headers& in) {
  base::http::Headers out;
  for (const auto& [name, value] : in.list)
    for (const char* wanted : kUpgradeHeaders)
      if (::strcasecmp(name.c_str(), wanted) == 0) out.add(name, value);
  return out;
}

// The container that the request means; empty and *refusal set when it is unclear.
std::string choose_container(const RequestInfo& request, const json::value& pod, json::value* refusal) {
  std::vector<std::string> names;
  std::string wanted(request.param("container"));
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"}) {
    const json::value* containers = base::find_path(pod, "spec", list);
    if (!containers || !containers->is_array()) continue;
    for (const json::value& container : containers->get_array()) {
      std::string name(base::string_at(container, "name"));
      if (name == wanted) return name;
      if (std::string_view(list) == "containers") names.push_back(name);
    }
  }
  if (wanted.empty() && names.size() == 1) return names[0];
  if (wanted.empty()) {
    // The author's word, but for one of the Pod's: it becomes a part of the URL at the kubelet.
    std::string annotated(
        base::string_at(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container"));
    if (std::find(names.begin(), names.end(), annotated) != names.end()) return annotated;
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
    *refusal = api::bad_request("a container name must be specified for pod " + request.name +
                                ", choose one of: [" + all + "]");
  } else {
    *refusal = api::bad_request("container " + wanted + " is not valid for pod " + request.name);
  }
  return {};
}

}  // namespace

Client* ApiServer::node_client(const std::string& node, json::value* refusal) {
  ObjectRef object = cache("", "nodes").find(object_key("", node));
  if (!object) {
    *refusal = api::internal_error("the Pod's node \"" + node + "\" is not registered");
    return nullptr;
  }
  json::value parsed = parse_object(*object->text);
  std::string address;
  if (const json::value* list = base::find_path(parsed, "status", "addresses"); list && list->is_array())
    for (const json::value& item : list->get_array())
      if (base::string_at(item, "type") == "InternalIP" && address.empty())
        address = base::string_at(item, "address");
  int port = static_cast<int>(
      base::as_int(base::find_path(parsed, "status", "daemonEndpoints", "kubeletEndpoint", "Port"), 10250));
  // What a node says of itself: an address, not a socket of this host, nor a name that would be waited for.
  unsigned char bytes[16];
  if (::inet_pton(AF_INET, address.c_str(), bytes) != 1 && ::inet_pton(AF_INET6, address.c_str(), bytes) != 1)
    address.clear();
  if (port < 1 || port > 65535) port = 10250;
  if (address.empty() || !options_.node_client) {
    *refusal =
        api::unavailable("node \"" + node + "\" has no InternalIP in its status: is its kubelet running?");
    return nullptr;
  }
  Node& slot = nodes_[node];
  std::string endpoint = address + ":" + std::to_string(port);
  if (!slot.client || slot.endpoint != endpoint) {
    slot.endpoint = endpoint;
    Client::Options options;
    options.host = address;
    options.port = port;
    slot.client = std::make_unique<Client>(loop_, options_.node_client, options);
  }
  return slot.client.get();
}

void ApiServer::pod_stream(RequestPtr request) {
  ObjectRef object = cache(*request->resource).find(object_key(request->ns, request->name));
  if (!object) return request->reply_status(api::not_found({"", "pods"}, request->name));
  json::value pod = parse_object(*object->text);
  json::value refusal;
  std::string container;
  if (request->subresource != "portforward") {
    container = choose_container(*request, pod, &refusal);
    if (!refusal.is_null()) return request->reply_status(refusal);
  }
  std::string node(base::string_at(pod, "spec", "nodeName"));
  if (node.empty())
    return request->reply_status(api::bad_request("pod " + request->name + " does not have a host assigned"));
  Client* client = node_client(node, &refusal);
  if (!client) return request->reply_status(refusal);

  std::string uid(base::string_at(pod, "metadata", "uid"));
  std::string target, query;
  auto add = [&](std::string_view key, std::string_view value) {
    query += (query.empty() ? "?" : "&") + base::http::escape(key) + "=" + base::http::escape(value);
  };
  bool log = request->subresource == "log";
  for (const auto& [key, value] : request->query) {
    if (key == "container") continue;
    bool on = is_true(value);
    // The kubelet's own names for these, since the first Kubernetes.
    if (key == "stdin" && !log) {
      if (on) add("input", "1");
    } else if (key == "stdout" && !log) {
      if (on) add("output", "1");
    } else if (key == "stderr" && !log) {
      if (on) add("error", "1");
    } else if (key == "tty") {
      if (on) add("tty", "1");
    } else if (key == "follow" || key == "previous" || key == "timestamps") add(key, on ? "true" : "false");
    else add(key, value);
  }
  const std::string pod_path =
      "/" + base::http::escape(request->ns) + "/" + base::http::escape(request->name);
  if (log) target = "/containerLogs" + pod_path + "/" + base::http::escape(container);
  else if (request->subresource == "portforward")
    target = "/portForward" + pod_path + "/" + base::http::escape(uid);
  else
    target = "/" + request->subresource + pod_path + "/" + base::http::escape(uid) + "/" +
             base::http::escape(container);

  base::http::Request onward;
  onward.method = request->http().method;
  onward.target = target + query;
  uint64_t id = next_call_++;
  auto forget = [this, id] { loop_.post([this, id] { calls_.erase(id); }); };
  auto unreachable = [node](const base::Error& error) {
    return api::make_status(502, "BadGateway", "node \"" + node + "\": " + error.message());
  };
  if (log) {
    auto started = std::make_shared<bool>(false);
    auto exchange = request->exchange;
    exchange->on_close(forget);
    calls_[id] = client->stream(
        std::move(onward),
        [exchange, started](const base::http::Response& head) {
          *started = true;
          base::http::Headers headers;
          std::string_view type = head.headers.get("Content-Type");
          headers.add("Content-Type", type.empty() ? "text/plain" : std::string(type));
          exchange->start(head.status, std::move(headers));
        },
        [exchange](std::string_view data) { exchange->write(base::http::bytes(std::string(data))); },
        [request, started, forget, unreachable](base::Status status) {
          if (*started) request->exchange->finish();
          else if (!status.ok()) request->reply_status(unreachable(status.error()));
          forget();
        });
    return;
  }
  if (request->http().headers.get("Upgrade").empty())
    return request->reply_status(api::bad_request("Upgrade request required"));
  onward.headers = upgrade_headers(request->http().headers);
  request->exchange->on_close(forget);
  calls_[id] = client->upgrade(
      std::move(onward), [request, forget, unreachable](base::Result<Client::Upgraded> result) {
        forget();
        if (!result.ok()) return request->reply_status(unreachable(result.error()));
        if (!result->stream) {
          base::http::Headers headers;
          headers.add("Content-Type", std::string(result->response.headers.get("Content-Type")));
          return request->exchange->respond(result->response.status, std::move(headers),
                                            std::move(result->response.body));
        }
        auto near = request->exchange->upgrade(upgrade_headers(result->response.headers));
        if (near) base::http::splice(std::move(near), std::move(result->stream));
      });
}

}  // namespace master
