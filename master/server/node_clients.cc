#include "master/server/node_clients.h"

#include "api/status.h"
#include "base/ip.h"

namespace master {

namespace json = base::json;
using base::http::Client;

Client* NodeClients::find(const std::string& node, json::value* refusal) {
  ObjectRef object = registry_.cache("", "nodes").find(object_key("", node));
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
  if (!base::Ip::parse(address)) address.clear();
  if (port < 1 || port > 65535) port = 10250;
  if (address.empty() || !context_) {
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
    slot.client = std::make_unique<Client>(registry_.loop(), context_, options);
  }
  return slot.client.get();
}

const std::string& NodeClients::endpoint(const std::string& node) const {
  static const std::string kNone;
  auto it = nodes_.find(node);
  return it == nodes_.end() ? kNone : it->second.endpoint;
}

void NodeClients::pause(uint64_t id, bool paused) {
  if (auto call = calls_.find(id); call != calls_.end()) call->second->pause(paused);
}

std::function<void()> NodeClients::forget(uint64_t id, std::shared_ptr<void> with) {
  return
      [this, id, with = std::move(with)] { registry_.loop().post([this, id, with] { calls_.erase(id); }); };
}

}  // namespace master
