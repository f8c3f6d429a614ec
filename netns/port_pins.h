// Each Pod's bridge port is pinned to the Pod's link address and IPv4 address: whatever else comes out
// of it is dropped by nftables before the bridge learns from it or forwards it, raw sockets or not.
// What is pinned stands twice in the kernel: as set elements, and in the alias of the host's end of
// the veth, from which the table is made anew when it is not there: at the first Pod, after an
// upgrade that changed the rules, or when somebody flushed them. Thread-safe. Private to netns/.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace netns {

struct PortPin {
  std::string link;  // "vethabc…"
  base::Ip address;
};
base::Result<std::vector<PortPin>> pinned_links(int netlink_fd);  // all links with a Pod's alias
// 0a:58: and the address, as other network plugins have it.
std::string pod_mac(base::Ip address);
std::string pin_alias(base::Ip address);  // "sampan-pod 10.244.0.5"
std::optional<base::Ip> parse_pin_alias(const std::string& alias);

// The table of family bridge with all its elements, for `nft -f -`; fails when there is one, or replaces
// it. One for every bridge of a host: ports without a pin are others' and pass.
std::string pins_text(const std::vector<PortPin>& pins, bool replace);

// Loads the table when there is none of these rules; `netlink_fd` lists the links.
base::Status pin_port(int netlink_fd, const PortPin& pin);
base::Status unpin_port(const std::string& link);  // absent is fine

// Whether all links with a Pod's alias are pinned by the rules of today; true when there is none.
base::Result<bool> ports_pinned(int netlink_fd);
base::Status pin_ports(int netlink_fd);  // the table anew, from the links' aliases

}  // namespace netns
