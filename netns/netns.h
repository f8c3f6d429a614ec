// The one header of netns/: the node's bridge, routes and the Pods' veths, over netlink. A Pod's
// namespace is made by sampan-pod; what is in it is set through a netlink socket that sampan-pod
// opened there, so no thread of a daemon ever enters a namespace. IPv4 now.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace netns {

// ---- addresses (pure) ---------------------------------------------------------------------
// Hands out Pod addresses of one node's CIDR: the network, the gateway (first address) and the
// broadcast are never given; a freed address comes back last, so that a stale peer meets nobody.
class AddressPool {
 public:
  // kInvalid: it has no address for a Pod (/31, /32), or is wider than anybody's network (below /8).
  static base::Result<AddressPool> of(base::Cidr cidr);
  base::Result<base::Ip> allocate();       // kExhausted names the CIDR
  base::Status reserve(base::Ip address);  // found in use at start
  void release(base::Ip address);
  base::Ip gateway() const;
  size_t used() const;

 private:
  explicit AddressPool(base::Cidr cidr);
  base::Cidr cidr_;
  base::Ip first_, last_, next_;
  std::set<base::Ip> used_;
};

// ---- the node's network: observe, plan, act -------------------------------------------------
struct NodeNetwork {  // desired
  std::string bridge = "sampan0";
  base::Cidr pod_cidr;  // the bridge gets its first address
  int mtu = 1500;
  std::map<std::string, std::string> routes;  // other nodes: "10.244.1.0/24" -> "192.0.2.12"
};
struct Observed {
  bool bridge_exists = false, bridge_up = false;
  int bridge_mtu = 0;
  std::vector<std::string> bridge_addresses;  // "10.244.0.1/24"
  std::map<std::string, std::string> routes;  // ours alone: those with protocol kRouteProtocol
  bool forwarding = false;
  // No ICMP redirects out of the bridge: a Pod told to send to its neighbour directly would bypass
  // this node's connection tracking, and with it the way back through a Service.
  bool redirects_off = false;
  bool ports_pinned = true;  // no Pod can send in another's name (port_pins.h)
};
struct Action {
  enum class Kind {
    kAddBridge,
    kSetMtu,
    kUp,
    kAddAddress,
    kRemoveAddress,
    kAddRoute,
    kRemoveRoute,
    kEnableForwarding,
    kDisableRedirects,
    kPinPorts
  } kind;
  std::string subject, value;
  std::string text() const;  // "add-route 10.244.1.0/24 via 192.0.2.12"
};
constexpr int kRouteProtocol = 83;  // rtm_protocol of our routes; see /etc/iproute2/rt_protos
base::Result<Observed> observe(const std::string& bridge);
std::vector<Action> plan(const NodeNetwork& desired, const Observed& observed);
base::Status act(const NodeNetwork& desired, const std::vector<Action>& actions);
base::Status remove_bridge(const std::string& bridge);  // absent is fine

// ---- one Pod --------------------------------------------------------------------------------
struct PodLink {
  std::string host_name;  // "veth" + 11 characters derived from the Pod's uid
  std::string bridge = "sampan0";
  base::Ip address;
  int prefix = 24;  // of the node's Pod CIDR
  base::Ip gateway;
  int mtu = 1500;
  bool hairpin = true;  // a Pod may reach itself through its Service
};
std::string host_link_name(std::string_view pod_uid);
// Makes the veth pair (peer "eth0" born inside `netns`), attaches it, sets the address and the
// default route through `pod_netlink`, brings both ends and lo up. The Pod reaches everything,
// its neighbours too, through the gateway: what a Service rewrote must pass this node's connection
// tracking both ways, without br_netfilter. Idempotent.
base::Status attach_pod(const PodLink& link, int netns, int pod_netlink);
base::Status detach_pod(const std::string& host_name);  // absent is fine
// A frame to another Pod's link, or to a group of links, is dropped: one Pod reaches another through this
// node's routes and rules alone.
struct PodAddress {
  std::string host_name;
  base::Ip address;
};
// The Pods whose links are here, with the addresses that these are pinned to: known before anything runs in
// the Pod. From the calling thread's namespace.
base::Result<std::vector<PodAddress>> pod_links();
// Readable when a link came, changed or went; drain_links() then makes it unreadable again.
base::Result<base::UniqueFd> watch_links();
void drain_links(int fd);
base::Result<std::optional<std::string>> pod_address(int pod_netlink);  // eth0's, if any

// ---- addresses of the node itself -----------------------------------------------------------
struct DummyLink {                     // the DNS server's address, the route to Services
  std::string name;                    // "sampan-dns"
  std::vector<std::string> addresses;  // "10.96.0.10/32"
  std::vector<std::string> routes;     // "10.96.0.0/16": so that local sockets find a route
};
// Makes the link if it is absent and adds what it lacks. Idempotent.
base::Status ensure_dummy_link(const DummyLink& link);
base::Status remove_link(const std::string& name);  // absent is fine

// The link with an address of the node, for who talks on it below IP.
struct AddressedLink {
  int index = 0;
  std::array<uint8_t, 6> mac{};
};
base::Result<std::optional<AddressedLink>> link_with_address(base::Ip address);

// ---- nftables -------------------------------------------------------------------------------
// In the family ip of the calling thread's namespace. Cheap: one message.
base::Result<bool> nft_table_exists(const std::string& name);

}  // namespace netns
