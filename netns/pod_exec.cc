// One Pod's veth: the pair is born with its peer already inside the Pod's namespace, and what is in
// there is set through the socket that came from there. Never enters the namespace.
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/attr.h>

#include <cerrno>

#include "base/sys.h"
#include "netns/netlink.h"
#include "netns/netns.h"
#include "netns/port_pins.h"

namespace netns {
namespace {

constexpr const char* kPodLink = "eth0";

void put_mac(Message& message, base::Ip address) {
  const auto bytes = address.bytes();
  uint8_t mac[6] = {0x0a, 0x58, bytes[12], bytes[13], bytes[14], bytes[15]};
  SAMPAN_CHECK(nla_put(message.get(), IFLA_ADDRESS, sizeof mac, mac) == 0);
}

Message veth_message(const PodLink& link, base::Ip address, int bridge_index, int netns) {
  ifinfomsg up{};
  up.ifi_flags = up.ifi_change = IFF_UP;
  Message message = make_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, up);
  put_string(message, IFLA_IFNAME, link.host_name);
  put_u32(message, IFLA_MTU, static_cast<uint32_t>(link.mtu));
  put_u32(message, IFLA_MASTER, static_cast<uint32_t>(bridge_index));
  nlattr* info = nla_nest_start(message.get(), IFLA_LINKINFO);
  put_string(message, IFLA_INFO_KIND, "veth");
  nlattr* data = nla_nest_start(message.get(), IFLA_INFO_DATA);
  nlattr* peer = nla_nest_start(message.get(), VETH_INFO_PEER);
  // The peer can't be born up: the kernel opens it before it knows its other half (ENOTCONN).
  ifinfomsg down{};
  SAMPAN_CHECK(nlmsg_append(message.get(), &down, sizeof down, NLMSG_ALIGNTO) == 0);
  put_string(message, IFLA_IFNAME, kPodLink);
  put_u32(message, IFLA_MTU, static_cast<uint32_t>(link.mtu));
  put_mac(message, address);
  put_u32(message, IFLA_NET_NS_FD, static_cast<uint32_t>(netns));
  nla_nest_end(message.get(), peer);
  nla_nest_end(message.get(), data);
  nla_nest_end(message.get(), info);
  return message;
}

// By name and as a bridge port's own data, so that it fits into the batch that makes the link. The
// kernel takes an alias only for a link that exists.
Message port_message(const PodLink& link, base::Ip address) {
  Message message = make_message(RTM_NEWLINK, 0, ifinfomsg{});
  put_string(message, IFLA_IFNAME, link.host_name);
  put_string(message, IFLA_IFALIAS, pin_alias(address));
  nlattr* info = nla_nest_start(message.get(), IFLA_LINKINFO);
  put_string(message, IFLA_INFO_SLAVE_KIND, "bridge");
  nlattr* data = nla_nest_start(message.get(), IFLA_INFO_SLAVE_DATA);
  put_u8(message, IFLA_BRPORT_MODE, link.hairpin);
  nla_nest_end(message.get(), data);
  nla_nest_end(message.get(), info);
  return message;
}

base::Status make_veth(int fd, const PodLink& link, base::Ip address, int bridge_index, int netns) {
  Batch batch;
  batch.add(veth_message(link, address, bridge_index, netns), "make veth", link.host_name);
  batch.add(port_message(link, address), "set hairpin mode", link.host_name);
  return batch.run(fd);
}

base::Status check_addresses(const PodLink& link) {
  if (link.address.is_v4() && link.gateway.is_v4() && link.prefix >= 1 && link.prefix <= 32) return {};
  return base::make_error(base::Kind::kInvalid, "configure Pod network", link.host_name,
                          "address " + base::Cidr{link.address, link.prefix}.text() + " or gateway " +
                              link.gateway.text() + " is not IPv4");
}

base::Status configure_pod(const PodLink& link, int pod_netlink, int eth0) {
  Batch batch;
  for (int index : {1, eth0}) {  // lo is always 1
    ifinfomsg up{};
    up.ifi_index = index;
    up.ifi_flags = up.ifi_change = IFF_UP;
    batch.add(make_message(RTM_NEWLINK, 0, up), "bring up link", index == 1 ? "lo" : kPodLink);
  }
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = static_cast<uint8_t>(link.prefix);
  header.ifa_index = static_cast<uint32_t>(eth0);
  Message add = make_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header);
  put_ipv4(add, IFA_LOCAL, link.address);
  put_ipv4(add, IFA_ADDRESS, link.address);
  put_ipv4(add, IFA_BROADCAST, link.address.last_of(link.prefix));
  put_u32(add, IFA_FLAGS, IFA_F_NOPREFIXROUTE);
  batch.add(std::move(add), "add address " + link.address.text(), kPodLink, {EEXIST});

  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_protocol = RTPROT_BOOT;
  route.rtm_type = RTN_UNICAST;
  route.rtm_scope = RT_SCOPE_LINK;
  route.rtm_dst_len = 32;
  Message on_link = make_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
  put_ipv4(on_link, RTA_DST, link.gateway);
  put_ipv4(on_link, RTA_PREFSRC, link.address);
  put_u32(on_link, RTA_OIF, static_cast<uint32_t>(eth0));
  batch.add(std::move(on_link), "add route to gateway " + link.gateway.text(), kPodLink);
  route.rtm_scope = RT_SCOPE_UNIVERSE;
  route.rtm_dst_len = 0;
  Message otherwise = make_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
  put_ipv4(otherwise, RTA_GATEWAY, link.gateway);
  put_ipv4(otherwise, RTA_PREFSRC, link.address);
  put_u32(otherwise, RTA_OIF, static_cast<uint32_t>(eth0));
  batch.add(std::move(otherwise), "add default route via " + link.gateway.text(), kPodLink);
  return batch.run(pod_netlink);
}

}  // namespace

base::Status attach_pod(const PodLink& link, int netns, int pod_netlink) {
  base::UniqueFd fd = TRY(open_netlink());
  auto bridge = TRY(find_link(fd.get(), link.bridge));
  if (!bridge)
    return base::make_error(base::Kind::kNotFound, "attach Pod", link.host_name, "no bridge " + link.bridge,
                            "the node's network is set up first");
  TRY(check_addresses(link));
  TRY(pin_port(fd.get(), {link.host_name, link.address}));
  base::Status made = make_veth(fd.get(), link, link.address, bridge->index, netns);
  if (!made.ok() && made.error().errno_value != EEXIST) return made;
  auto eth0 = TRY(find_link(pod_netlink, kPodLink));
  if (!made.ok() && !eth0) {
    // The name is taken by a pair whose other end is elsewhere: a dead Pod's.
    TRY(delete_link(fd.get(), link.host_name));
    TRY(make_veth(fd.get(), link, link.address, bridge->index, netns));
    eth0 = TRY(find_link(pod_netlink, kPodLink));
  }
  if (!eth0)
    return base::make_error(base::Kind::kConflict, "attach Pod", link.host_name,
                            "eth0 did not appear in the Pod's namespace",
                            "the netlink socket must come from that namespace");
  TRY(configure_pod(link, pod_netlink, eth0->index));
  // The host's end got its carrier when eth0 came up; the bridge forwards only once the kernel's
  // link watch has run. Asking for the link runs it (since 6.8), else the Pod's first ARP request
  // could be lost, and with it a second.
  TRY(find_link(fd.get(), link.host_name));
  return {};
}

base::Status detach_pod(const std::string& host_name) {
  TRY(remove_link(host_name));
  return unpin_port(host_name);  // last: as long as there is a link, its port is pinned
}

base::Result<std::optional<std::string>> pod_address(int pod_netlink) {
  auto eth0 = TRY(find_link(pod_netlink, kPodLink));
  if (!eth0) return std::optional<std::string>();
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  std::optional<std::string> found;
  TRY(dump(pod_netlink, make_message(RTM_GETADDR, 0, header), "list Pod addresses", [&](nlmsghdr* answer) {
    auto* info = static_cast<ifaddrmsg*>(nlmsg_data(answer));
    nlattr* local = nlmsg_find_attr(answer, sizeof *info, IFA_LOCAL);
    if (static_cast<int>(info->ifa_index) == eth0->index && local && !found)
      found = base::Ip::v4(ntohl(nla_get_u32(local))).text();
  }));
  return found;
}

}  // namespace netns
