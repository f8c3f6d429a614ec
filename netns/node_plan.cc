// What a node's network lacks, as an ordered list of actions: pure.
#include <fmt/core.h>

#include "netns/netns.h"
#include "netns/port_pins.h"

namespace netns {

std::string Action::text() const {
  switch (kind) {
    case Kind::kAddBridge: return "add-bridge " + subject + " " + value;
    case Kind::kSetMtu: return "set-mtu " + subject + " " + value;
    case Kind::kUp: return "up " + subject;
    case Kind::kAddAddress: return "add-address " + subject + " " + value;
    case Kind::kRemoveAddress: return "remove-address " + subject + " " + value;
    case Kind::kAddRoute: return "add-route " + subject + " via " + value;
    case Kind::kRemoveRoute: return "remove-route " + subject;
    case Kind::kEnableForwarding: return "enable-forwarding";
    case Kind::kDisableRedirects: return "disable-redirects " + subject;
    case Kind::kPinPorts: return "pin-ports";
  }
  return {};
}

// A bridge without an address of its own takes the lowest of its ports', and changes it as they come
// and go; Pods would go on sending to the old one until their neighbour entry is doubted.
static std::string bridge_mac(const base::Cidr& pod_cidr) { return pod_mac(pod_cidr.first().plus(1)); }

std::vector<Action> plan(const NodeNetwork& desired, const Observed& observed) {
  using Kind = Action::Kind;
  std::vector<Action> actions;
  auto add = [&](Kind kind, std::string subject, std::string value = {}) {
    actions.push_back({kind, std::move(subject), std::move(value)});
  };
  const std::string& bridge = desired.bridge;
  if (!observed.bridge_exists) add(Kind::kAddBridge, bridge, bridge_mac(desired.pod_cidr));
  if (observed.bridge_mtu != desired.mtu) add(Kind::kSetMtu, bridge, std::to_string(desired.mtu));
  if (!observed.redirects_off) add(Kind::kDisableRedirects, bridge);

  std::string address = base::Cidr{desired.pod_cidr.first().plus(1), desired.pod_cidr.prefix}.text();
  bool has_address = false;
  for (const std::string& have : observed.bridge_addresses) {
    if (have == address) has_address = true;
    else add(Kind::kRemoveAddress, bridge, have);  // the node was given another Pod CIDR
  }
  if (!has_address) add(Kind::kAddAddress, bridge, address);
  if (!observed.bridge_up) add(Kind::kUp, bridge);

  // Removals first, so that a route that moves to another node is free to be added.
  for (const auto& [to, via] : observed.routes) {
    auto want = desired.routes.find(to);
    if (want == desired.routes.end() || want->second != via) add(Kind::kRemoveRoute, to);
  }
  for (const auto& [to, via] : desired.routes) {
    auto have = observed.routes.find(to);
    if (have == observed.routes.end() || have->second != via) add(Kind::kAddRoute, to, via);
  }
  if (!observed.forwarding) add(Kind::kEnableForwarding, {});
  if (!observed.ports_pinned) add(Kind::kPinPorts, {});
  return actions;
}

}  // namespace netns
