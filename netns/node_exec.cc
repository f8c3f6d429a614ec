// Reads and changes the node's own links, addresses and routes over netlink, and the forwarding
// switches of its namespace. Never touches a route of another protocol number.
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netlink/attr.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "netns/netlink.h"
#include "netns/netns.h"
#include "netns/port_pins.h"

namespace netns {
namespace {

constexpr const char* kForwarding = "/proc/sys/net/ipv4/ip_forward";
std::string redirects_path(const std::string& link) {
  return "/proc/sys/net/ipv4/conf/" + link + "/send_redirects";
}
bool is_off(const std::string& path) {
  auto text = base::sys::read_file(path);
  return text.ok() && *text == "0\n";
}

base::Ip ipv4_of(nlattr* attribute) { return base::Ip::v4(ntohl(nla_get_u32(attribute))); }

base::Result<std::vector<std::string>> addresses_of(int fd, int index) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  std::vector<std::string> found;
  TRY(dump(fd, make_message(RTM_GETADDR, 0, header), "list addresses", [&](nlmsghdr* answer) {
    auto* info = static_cast<ifaddrmsg*>(nlmsg_data(answer));
    nlattr* local = nlmsg_find_attr(answer, sizeof *info, IFA_LOCAL);
    if (static_cast<int>(info->ifa_index) == index && local)
      found.push_back(base::Cidr{ipv4_of(local), info->ifa_prefixlen}.text());
  }));
  return found;
}

base::Result<std::map<std::string, std::string>> our_routes(int fd) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  std::map<std::string, std::string> found;
  TRY(dump(fd, make_message(RTM_GETROUTE, 0, header), "list routes", [&](nlmsghdr* answer) {
    auto* info = static_cast<rtmsg*>(nlmsg_data(answer));
    nlattr* to = nlmsg_find_attr(answer, sizeof *info, RTA_DST);
    nlattr* via = nlmsg_find_attr(answer, sizeof *info, RTA_GATEWAY);
    if (info->rtm_protocol == kRouteProtocol && to && via)
      found[base::Cidr{ipv4_of(to), info->rtm_dst_len}.text()] = ipv4_of(via).text();
  }));
  return found;
}

base::Result<Message> address_message(int type, int flags, int index, const std::string& address) {
  auto cidr = base::Cidr::parse_v4(address);
  if (!cidr)
    return base::make_error(base::Kind::kInvalid, "parse address", address, "not an IPv4 address",
                            "write it as 10.244.0.1/24");
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = static_cast<uint8_t>(cidr->prefix);
  header.ifa_index = static_cast<uint32_t>(index);
  Message message = make_message(type, flags, header);
  put_ipv4(message, IFA_LOCAL, cidr->address);
  put_ipv4(message, IFA_ADDRESS, cidr->address);
  return message;
}

base::Result<Message> route_message(int type, int flags, const std::string& to, const std::string& via,
                                    int index) {
  auto cidr = base::Cidr::parse_v4(to);
  auto gateway = base::Ip::parse_v4(via);
  if (!cidr || (!via.empty() && !gateway))
    return base::make_error(base::Kind::kInvalid, "parse route", to + " via " + via, "not an IPv4 route",
                            "write it as 10.244.1.0/24 via 192.0.2.12");
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_dst_len = static_cast<uint8_t>(cidr->prefix);
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = kRouteProtocol;
  header.rtm_type = type == RTM_DELROUTE ? RTN_UNSPEC : RTN_UNICAST;
  header.rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE
                     : via.empty()        ? RT_SCOPE_LINK
                                          : RT_SCOPE_UNIVERSE;
  Message message = make_message(type, flags, header);
  put_ipv4(message, RTA_DST, cidr->first());
  if (!via.empty()) put_ipv4(message, RTA_GATEWAY, *gateway);
  if (index > 0) put_u32(message, RTA_OIF, static_cast<uint32_t>(index));
  return message;
}

Message new_link(const std::string& name, const char* kind) {
  Message message = make_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  put_string(message, IFLA_IFNAME, name);
  nlattr* info = nla_nest_start(message.get(), IFLA_LINKINFO);
  put_string(message, IFLA_INFO_KIND, kind);
  nla_nest_end(message.get(), info);
  return message;
}
Message link_up(const std::string& name) {
  ifinfomsg header{};
  header.ifi_flags = header.ifi_change = IFF_UP;
  Message message = make_message(RTM_NEWLINK, 0, header);
  put_string(message, IFLA_IFNAME, name);
  return message;
}

base::Result<int> index_of(int fd, const std::string& name) {
  auto link = TRY(find_link(fd, name));
  if (!link)
    return base::make_error(base::Kind::kNotFound, "find link", name, "no such link",
                            "it is made by the next round");
  return link->index;
}

base::Status act_one(int fd, const Action& action) {
  using Kind = Action::Kind;
  Batch batch;
  switch (action.kind) {
    case Kind::kAddBridge: {
      Message message = new_link(action.subject, "bridge");
      uint8_t mac[6];
      if (std::sscanf(action.value.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2],
                      &mac[3], &mac[4], &mac[5]) != 6)
        return base::make_error(base::Kind::kInvalid, "add bridge", action.subject,
                                "'" + action.value + "' is no link address");
      SAMPAN_CHECK(nla_put(message.get(), IFLA_ADDRESS, sizeof mac, mac) == 0);
      batch.add(std::move(message), "add bridge", action.subject, {EEXIST});
      break;
    }
    case Kind::kSetMtu: {
      Message message = make_message(RTM_NEWLINK, 0, ifinfomsg{});
      put_string(message, IFLA_IFNAME, action.subject);
      put_u32(message, IFLA_MTU, static_cast<uint32_t>(std::stoul(action.value)));
      batch.add(std::move(message), "set MTU " + action.value, action.subject);
      break;
    }
    case Kind::kUp: batch.add(link_up(action.subject), "bring up link", action.subject); break;
    case Kind::kAddAddress:
      batch.add(TRY(address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, TRY(index_of(fd, action.subject)),
                                    action.value)),
                "add address " + action.value, action.subject, {EEXIST});
      break;
    case Kind::kRemoveAddress:
      batch.add(TRY(address_message(RTM_DELADDR, 0, TRY(index_of(fd, action.subject)), action.value)),
                "remove address " + action.value, action.subject, {EADDRNOTAVAIL});
      break;
    case Kind::kAddRoute:
      batch.add(
          TRY(route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, action.subject, action.value, 0)),
          "add route via " + action.value, action.subject);
      break;
    case Kind::kRemoveRoute:
      batch.add(TRY(route_message(RTM_DELROUTE, 0, action.subject, "", 0)), "remove route", action.subject,
                {ESRCH});
      break;
    case Kind::kEnableForwarding: return base::sys::write_control(kForwarding, "1");
    case Kind::kDisableRedirects:
      // The kernel sends them when either switch is on; other links keep their own (1 by default).
      TRY(base::sys::write_control(redirects_path("all"), "0"));
      return base::sys::write_control(redirects_path(action.subject), "0");
    case Kind::kPinPorts: return pin_ports(fd);
  }
  return batch.run(fd);
}

}  // namespace

base::Result<Observed> observe(const std::string& bridge) {
  base::UniqueFd fd = TRY(open_netlink());
  Observed observed;
  if (auto link = TRY(find_link(fd.get(), bridge))) {
    observed.bridge_exists = true;
    observed.bridge_up = link->up;
    observed.bridge_mtu = link->mtu;
    observed.bridge_addresses = TRY(addresses_of(fd.get(), link->index));
    observed.redirects_off = is_off(redirects_path("all")) && is_off(redirects_path(bridge));
  }
  observed.routes = TRY(our_routes(fd.get()));
  std::string forwarding = TRY(base::sys::read_file(kForwarding));
  observed.forwarding = forwarding == "1\n";
  observed.ports_pinned = TRY(ports_pinned(fd.get()));
  return observed;
}

base::Status act(const NodeNetwork&, const std::vector<Action>& actions) {
  base::UniqueFd fd = TRY(open_netlink());
  for (const Action& action : actions) TRY(act_one(fd.get(), action));
  return {};
}

base::Result<std::optional<AddressedLink>> link_with_address(base::Ip address) {
  base::UniqueFd fd = TRY(open_netlink());
  std::optional<AddressedLink> found;
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  TRY(dump(fd.get(), make_message(RTM_GETADDR, 0, header), "list addresses", [&](nlmsghdr* answer) {
    auto* info = static_cast<ifaddrmsg*>(nlmsg_data(answer));
    nlattr* local = nlmsg_find_attr(answer, sizeof *info, IFA_LOCAL);
    if (local && ipv4_of(local) == address) found = AddressedLink{static_cast<int>(info->ifa_index), {}};
  }));
  if (!found) return found;
  bool has_mac = false;
  TRY(dump(fd.get(), make_message(RTM_GETLINK, 0, ifinfomsg{}), "list links", [&](nlmsghdr* answer) {
    auto* info = static_cast<ifinfomsg*>(nlmsg_data(answer));
    nlattr* mac = nlmsg_find_attr(answer, sizeof *info, IFLA_ADDRESS);
    if (info->ifi_index != found->index || !mac || nla_len(mac) != 6) return;
    std::memcpy(found->mac.data(), nla_data(mac), 6);
    has_mac = true;
  }));
  return has_mac ? found : std::optional<AddressedLink>();
}

base::Status remove_link(const std::string& name) {
  base::UniqueFd fd = TRY(open_netlink());
  return delete_link(fd.get(), name);
}
base::Status remove_bridge(const std::string& bridge) { return remove_link(bridge); }

base::Status ensure_dummy_link(const DummyLink& link) {
  base::UniqueFd fd = TRY(open_netlink());
  Batch make;
  make.add(new_link(link.name, "dummy"), "add dummy link", link.name, {EEXIST});
  base::Status made = make.run(fd.get());
  if (!made.ok()) {
    if (made.error().errno_value != EOPNOTSUPP) return made;
    // A kernel without the dummy driver: a bridge without ports holds addresses as well.
    Batch bridge;
    bridge.add(new_link(link.name, "bridge"), "add bridge as dummy link", link.name, {EEXIST});
    TRY(bridge.run(fd.get()));
  }
  Batch up;
  up.add(link_up(link.name), "bring up link", link.name);
  TRY(up.run(fd.get()));
  int index = TRY(index_of(fd.get(), link.name));
  Batch fill;
  for (const std::string& address : link.addresses)
    fill.add(TRY(address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address)),
             "add address " + address, link.name, {EEXIST});
  for (const std::string& route : link.routes)
    fill.add(TRY(route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route, "", index)),
             "add route to " + route, link.name);
  return fill.run(fd.get());
}

}  // namespace netns
