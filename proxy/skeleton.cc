// See skeleton.h.
#include "proxy/skeleton.h"

#include <fmt/core.h>

namespace proxy {
namespace {

// A Pod's datagrams and connections to the DNS server are counted before they take room in its sockets: one
// that floods it stops its own names only.
// A Pod's address means nothing beyond the cluster: what leaves it carries the node's.
// TCP is refused with a reset: ICMP errors are limited to one a second for each client (icmp(7)),
// and one that comes back while a local socket is in connect(2) counts only at the next SYN.
std::string body(const SkeletonConfig& c) {
  return fmt::format(R"(
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map external_local {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map blocked {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map affinity {{
    type ipv4_addr . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;
    flags dynamic,timeout; size 262144; timeout 10800s;
  }}
  set guarded {{ type ipv4_addr . inet_proto . inet_service; }}
  set sources {{ type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }}
  set hairpin {{ type ipv4_addr . ipv4_addr; }}
  set dns_clients {{ type ipv4_addr; flags dynamic,timeout; size 65536; timeout 10s; }}
  set dns_connections {{ type ipv4_addr; flags dynamic,timeout; size 65536; timeout 10s; }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }}
  chain from_outside {{ ip saddr != {0} meta mark set meta mark | {1:#x}; }}
  chain from_anywhere {{ meta mark set meta mark | {1:#x}; }}
  chain guard {{
    ip daddr . meta l4proto . th dport . ip saddr @sources accept
    drop
  }}
  chain guard_prerouting {{
    type filter hook prerouting priority -110; policy accept;
    ct state new ip daddr . meta l4proto . th dport @guarded goto guard
  }}
  chain guard_output {{
    type filter hook output priority -110; policy accept;
    ct state new ip daddr . meta l4proto . th dport @guarded goto guard
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    ip saddr != {0} ip daddr . meta l4proto . th dport vmap @external_local
    ip daddr . meta l4proto . th dport vmap @services
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    ip daddr . meta l4proto . th dport vmap @services
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr . ip daddr @hairpin ct status dnat masquerade
    meta mark & {1:#x} == {1:#x} meta mark set meta mark ^ {1:#x} masquerade
    ip saddr {0} ip daddr != {0} masquerade
  }}
  chain filter_input {{
    type filter hook input priority 0; policy accept;
    ip daddr {3} ip saddr {0} udp dport 53 update @dns_clients {{ ip saddr limit rate over 2000/second burst 2000 packets }} drop
    ip daddr {3} ip saddr {0} tcp dport 53 ct state new update @dns_connections {{ ip saddr limit rate over 500/second burst 500 packets }} drop
    ct state new ip daddr . meta l4proto . th dport vmap @blocked
  }}
  chain filter_forward {{
    type filter hook forward priority 0; policy accept;
    ct state new ip daddr . meta l4proto . th dport vmap @blocked
    ct state new ip daddr {2} goto refuse
  }}
  chain filter_output {{
    type filter hook output priority 0; policy accept;
    ct state new ip daddr . meta l4proto . th dport vmap @blocked
    ct state new ip daddr {2} ip daddr != {3} goto refuse
  }}
)",
                     c.cluster_cidr, kMasqueradeMark, c.service_cidr, c.cluster_dns);
}

}  // namespace

std::string skeleton_version(const SkeletonConfig& config) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (unsigned char c : body(config)) hash = (hash ^ c) * 0x100000001b3;
  return fmt::format("skeleton_{:016x}", hash);
}
std::string skeleton(const SkeletonConfig& config) {
  return fmt::format("add table ip {0}\ndelete table ip {0}\ntable ip {0} {{{1}  chain {2} {{ }}\n}}\n",
                     config.table, body(config), skeleton_version(config));
}

}  // namespace proxy
