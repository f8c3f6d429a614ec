// Logs, exec, attach and port-forward: passed on to the Pod's node byte for byte. What the streams
// mean is between the client and the kubelet.
#include <charconv>

#include "api/status.h"
#include "base/http/feed.h"
#include "base/json_lists.h"
#include "master/server/handlers.h"
#include "master/server/node_clients.h"
#include "master/server/server.h"

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
std::string choose_container(const RequestInfo& request, std::string_view wanted, const json::value& pod,
                             json::value* refusal) {
  std::string all, only;
  size_t count = 0;  // of the containers proper: one alone is meant by no name
  for (const char* list : {"initContainers", "containers", "ephemeralContainers"})
    for (const json::value& container : base::list_at(base::find_path(pod, "spec", list))) {
      std::string name(base::string_at(container, "name"));
      if (name == wanted) return name;
      all += (all.empty() ? "" : " ") + name;
      if (std::string_view(list) == "containers" && ++count == 1) only = name;
    }
  if (wanted.empty() && count == 1) return only;
  *refusal =
      wanted.empty()
          ? api::bad_request("a container name must be specified for pod " + request.name +
                             ", choose one of: [" + all + "]")
          : api::bad_request("container " + std::string(wanted) + " is not valid for pod " + request.name);
  return {};
}

// PodLogOptions as kube-apiserver takes them; null or the Status that refuses.
json::value check_log_options(const RequestInfo& request) {
  using Type = api::FieldError::Type;
  api::FieldErrors errors;
  for (const auto& [name, least] :
       {std::pair{"tailLines", int64_t{0}}, {"limitBytes", int64_t{1}}, {"sinceSeconds", int64_t{1}}}) {
    std::string_view text = request.param(name);
    if (text.empty()) continue;
    int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      return api::bad_request(
          "strconv.ParseInt: parsing " + base::to_json(json::value(text)) + ": " +
          (error == std::errc::result_out_of_range ? "value out of range" : "invalid syntax"));
    if (value < least)
      errors.push_back({Type::invalid, name, std::to_string(value),
                        least == 0 ? "must be greater than or equal to 0" : "must be greater than 0"});
  }
  if (!request.param("sinceSeconds").empty() && !request.param("sinceTime").empty())
    errors = {{Type::forbidden, "", "", "at most one of `sinceTime` or `sinceSeconds` may be specified"}};
  if (std::string_view stream = request.param("stream");
      !stream.empty() && stream != "All" && stream != "Stdout" && stream != "Stderr")
    errors.push_back({Type::not_supported, "stream", base::to_json(json::value(stream)),
                      "supported values: \"All\", \"Stderr\", \"Stdout\""});
  return errors.empty() ? json::value(nullptr) : api::invalid("", "PodLogOptions", request.name, errors);
}

void pod_stream(ApiServer& server, RequestPtr request, const json::value& options) {
  NodeClients& nodes = server.nodes();
  bool log = request->subresource == "log";
  if (json::value refusal = log ? check_log_options(*request) : json::value(); !refusal.is_null())
    return request->reply_status(refusal);
  ObjectRef object = request->resource->objects->find(object_key(request->ns, request->name));
  if (!object) return request->reply_status(api::not_found({"", "pods"}, request->name));
  json::value pod = parse_object(*object->text);
  json::value refusal;
  std::string container;
  if (request->subresource != "portforward") {
    container = choose_container(
        *request, log ? request->param("container") : base::string_at(options, "container"), pod, &refusal);
    if (!refusal.is_null()) return request->reply_status(refusal);
  }
  std::string node(base::string_at(pod, "spec", "nodeName"));
  if (node.empty() && log)
    return request->exchange->respond(204, {}, std::string());  // nothing was written yet
  if (node.empty())
    return request->reply_status(api::bad_request("pod " + request->name + " does not have a host assigned"));
  Client* client = nodes.find(node, &refusal);
  if (!client) return request->reply_status(refusal);

  std::string uid(base::string_at(pod, "metadata", "uid"));
  std::string target, query;
  auto add = [&](std::string_view key, std::string_view value) {
    query += (query.empty() ? "?" : "&") + base::http::escape(key) + "=" + base::http::escape(value);
  };
  if (log) {
    for (const char* flag : {"follow", "previous", "timestamps"})
      if (request->flag(flag)) add(flag, "true");
    for (const char* option : {"limitBytes", "sinceSeconds", "sinceTime", "stream", "tailLines"})
      for (const auto& [key, value] : request->query)
        if (key == option) add(key, value);
  } else {
    // The kubelet's own names for these, since the first Kubernetes.
    for (const auto& [option, name] :
         {std::pair{"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}})
      if (base::as_bool(base::find(options, option))) add(name, "1");
    for (const json::value& word : base::list_at(base::find(options, "command")))
      add("command", base::as_string(&word));
    for (const json::value& port : base::list_at(base::find(options, "ports")))
      add("port", std::to_string(base::as_int(&port)));
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
  uint64_t id = nodes.next_call();
  auto forget = nodes.forget(id);
  // In the words that clients look for: kube-apiserver passes on what Go's HTTP client said.
  std::string trying =
      log ? "Get \"https://" + nodes.endpoint(node) + onward.target + "\": " : "error dialing backend: ";
  auto unreachable = [trying](const base::Error& error) {
    return api::make_status(500, "", trying + error.message());
  };
  if (log) {
    auto started = std::make_shared<bool>(false);
    auto exchange = request->exchange;
    exchange->on_close(forget);
    auto pause = [&nodes, id](bool paused) { nodes.pause(id, paused); };  // read as it is taken
    exchange->on_drain([pause] { pause(false); });
    nodes.keep(id, client->stream(
                       std::move(onward),
                       [exchange, started](const base::http::Response& head) {
                         *started = true;
                         base::http::Headers headers;
                         std::string_view type = head.headers.get("Content-Type");
                         headers.add("Content-Type", type.empty() ? "text/plain" : std::string(type));
                         exchange->start(head.status, std::move(headers));
                       },
                       [exchange, pause](std::string_view data) {
                         exchange->write(base::http::bytes(std::string(data)));
                         if (exchange->queued_bytes() >= base::http::kFedBytes) pause(true);
                       },
                       [request, started, forget, unreachable](base::Status status) {
                         if (*started) request->exchange->finish();
                         else if (!status.ok()) request->reply_status(unreachable(status.error()));
                         forget();
                       }));
    return;
  }
  if (request->http().headers.get("Upgrade").empty())
    return request->reply_status(api::bad_request("Upgrade request required"));
  onward.headers = upgrade_headers(request->http().headers);
  request->exchange->on_close(forget);
  nodes.keep(id, client->upgrade(std::move(onward), [request, forget,
                                                     unreachable](base::Result<Client::Upgraded> result) {
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
  }));
}

}  // namespace

void add_stream_handlers(ApiServer& server) {
  for (const char* stream : {"attach", "exec", "portforward"})
    server.handle_with("", "pods", stream, [&server](RequestPtr request) {
      admit_connect(server, request, [&server, request](const json::value& admitted) {
        pod_stream(server, request, admitted);
      });
    });
  server.handle_with("", "pods", "log",
                     [&server](RequestPtr request) { pod_stream(server, std::move(request), nullptr); });
}

}  // namespace master
