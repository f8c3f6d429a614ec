// See port_pins.h. Elements are changed by one batch of netlink messages, so that a Pod's start does
// not wait for the nft program. Messages: linux/netfilter/nf_tables.h.
#include "netns/port_pins.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>

#include "base/process.h"
#include "base/sys.h"
#include "netns/netlink.h"
#include "netns/netns.h"

namespace netns {
namespace {

constexpr const char* kTable = "sampan_ports";
constexpr const char* kChain = "from_pods";
constexpr std::string_view kAlias = "sampan-pod ";
constexpr uint16_t kNftables = NFNL_SUBSYS_NFTABLES << 8;

// An IPv4 packet or ARP message of the pinned address from the pinned link address, and nothing else:
// Pods have no IPv6 address. Loopback addresses are no destination of a wire, also where the host
// routes them (route_localnet, for ports published on 127.0.0.1). Nor is another Pod's link, nor a group of
// links: Pods reach each other through the node's routes and rules alone. (Isolated ports would do as much,
// but where bridged packets pass iptables, as Docker has it, a Service's packet is sent from port to port by
// the bridge itself.)
constexpr const char* kRules = R"(
  chain from_pods {
    type filter hook prerouting priority -300; policy accept;
    iifname != @ports accept
    ether type ip ether daddr @links drop
    ether type ip ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop
    ether type ip ip daddr 127.0.0.0/8 drop
    ether type ip iifname . ether saddr . ip saddr @ADDRESSES accept
    ether type arp arp htype 1 arp hlen 6 arp plen 4 iifname . ether saddr . arp saddr ip @ADDRESSES iifname . arp saddr ether . arp saddr ip @ADDRESSES accept
    drop
  }
)";
constexpr size_t kRuleCount = 7;
// The set bears the version of the rules in its name, so that pinning a port under others' fails.
std::string addresses_set() {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char* c = kRules; *c; ++c) hash = (hash ^ static_cast<unsigned char>(*c)) * 0x100000001b3;
  return fmt::format("addresses_{:08x}", hash & 0xffffffff);
}

base::Result<base::UniqueFd> open_netfilter() {
  base::UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd) return base::sys::last_error("open netlink socket");
  timeval limit{5, 0};  // the kernel answers within send(2): only a lost answer would be waited for
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}
Message nft_message(int type, int flags) {
  nfgenmsg header{};
  header.nfgen_family = NFPROTO_BRIDGE;
  return make_message(kNftables | type, flags, header);
}
void put_data(nl_msg* message, int attribute, const std::string& bytes) {
  SAMPAN_CHECK(nla_put(message, attribute, static_cast<int>(bytes.size()), bytes.data()) == 0);
}
Message elements_message(int type, const std::string& set, const std::vector<std::string>& keys) {
  Message message = nft_message(type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
  put_string(message, NFTA_SET_ELEM_LIST_TABLE, kTable);
  put_string(message, NFTA_SET_ELEM_LIST_SET, set);
  nlattr* list = nla_nest_start(message.get(), NFTA_SET_ELEM_LIST_ELEMENTS);
  for (const std::string& key : keys) {
    nlattr* element = nla_nest_start(message.get(), NFTA_LIST_ELEM);
    nlattr* at = nla_nest_start(message.get(), NFTA_SET_ELEM_KEY);
    put_data(message.get(), NFTA_DATA_VALUE, key);
    nla_nest_end(message.get(), at);
    nla_nest_end(message.get(), element);
  }
  nla_nest_end(message.get(), list);
  return message;
}
std::string port_key(const std::string& link) {
  std::string key = link;
  key.resize(IFNAMSIZ);
  return key;
}
// Every part of a concatenation takes whole 32-bit words.
std::string address_key(const PortPin& pin) {
  uint32_t ip = htonl(pin.address.v4_bits());
  std::string key = port_key(pin.link) + std::string("\x0a\x58", 2);
  key.append(reinterpret_cast<char*>(&ip), 4).append(2, '\0').append(reinterpret_cast<char*>(&ip), 4);
  return key;
}

// Of the Pod's link, in an element's key.
std::string_view mac_of(std::string_view address_key) { return address_key.substr(IFNAMSIZ, 6); }

// One transaction; the first failure is returned.
base::Status transact(int fd, std::vector<Message> messages, const std::string& operation,
                      const std::string& subject) {
  std::string bytes;
  auto add = [&](Message message, bool ack) {
    nlmsghdr* header = nlmsg_hdr(message.get());
    if (ack) header->nlmsg_flags |= NLM_F_ACK;
    bytes.append(reinterpret_cast<char*>(header), header->nlmsg_len);
    bytes.resize(NLMSG_ALIGN(bytes.size()));
  };
  nfgenmsg batch{};
  batch.res_id = htons(NFNL_SUBSYS_NFTABLES);
  add(make_message(NFNL_MSG_BATCH_BEGIN, 0, batch), false);
  size_t left = messages.size();
  for (Message& message : messages) add(std::move(message), true);
  add(make_message(NFNL_MSG_BATCH_END, 0, batch), false);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0)
    return base::sys::last_error(operation, subject);
  std::vector<char> buffer(16 << 10);
  int error = 0;
  while (left > 0 && error == 0) {
    ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::sys::last_error(operation, subject);
    int size = static_cast<int>(n);
    for (auto* at = reinterpret_cast<nlmsghdr*>(buffer.data()); nlmsg_ok(at, size);
         at = nlmsg_next(at, &size)) {
      if (at->nlmsg_type != NLMSG_ERROR) continue;
      if (left > 0) --left;
      if (int failed = -static_cast<nlmsgerr*>(nlmsg_data(at))->error; failed != 0 && error == 0)
        error = failed;
    }
  }
  if (error == 0) return {};
  // Each message of a refused batch has an answer; they are there already, and not the next batch's.
  while (::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) {
  }
  return base::sys::error_from_errno(error, operation, subject);
}

}  // namespace

std::string pod_mac(base::Ip address) {
  const uint32_t bits = address.v4_bits();
  return fmt::format("0a:58:{:02x}:{:02x}:{:02x}:{:02x}", bits >> 24, bits >> 16 & 255, bits >> 8 & 255,
                     bits & 255);
}
std::string pin_alias(base::Ip address) { return std::string(kAlias) + address.text(); }
std::optional<base::Ip> parse_pin_alias(const std::string& alias) {
  if (!alias.starts_with(kAlias)) return std::nullopt;
  return base::Ip::parse_v4(std::string_view(alias).substr(kAlias.size()));
}

std::string pins_text(const std::vector<PortPin>& pins, bool replace) {
  std::string ports, addresses, links;
  for (const PortPin& pin : pins) {
    const char* comma = ports.empty() ? "" : ", ";
    ports += fmt::format("{}\"{}\"", comma, pin.link);
    links += comma + pod_mac(pin.address);
    addresses += fmt::format("{}\"{}\" . {} . {}", comma, pin.link, pod_mac(pin.address), pin.address.text());
  }
  auto elements = [](const std::string& list) {
    return list.empty() ? std::string() : " elements = { " + list + " }";
  };
  const std::string name = addresses_set(), word = "ADDRESSES";
  std::string rules = kRules;
  for (size_t at = 0; (at = rules.find(word)) != std::string::npos;) rules.replace(at, word.size(), name);
  return fmt::format(fmt::runtime(std::string(replace ? "add table bridge {0}\ndelete table bridge {0}\n"
                                                      : "create table bridge {0}\n") +
                                  "table bridge {0} {{\n"
                                  "  set ports {{ type ifname;{1} }}\n  set links {{ type ether_addr;{5} "
                                  "}}\n  set {2} {{ type ifname . ether_addr "
                                  ". ipv4_addr;{3} }}{4}}}\n"),
                     kTable, elements(ports), name, elements(addresses), rules, elements(links));
}

base::Result<std::vector<PortPin>> pinned_links(int netlink_fd) {
  std::vector<PortPin> pins;
  TRY(dump(netlink_fd, make_message(RTM_GETLINK, 0, ifinfomsg{}), "list links", [&](nlmsghdr* answer) {
    nlattr* name = nlmsg_find_attr(answer, sizeof(ifinfomsg), IFLA_IFNAME);
    nlattr* alias = nlmsg_find_attr(answer, sizeof(ifinfomsg), IFLA_IFALIAS);
    if (!name || !alias) return;
    if (auto address = parse_pin_alias(nla_get_string(alias)))
      pins.push_back({nla_get_string(name), *address});
  }));
  return pins;
}

namespace {

// Who replaces the table reads the links' aliases first: nobody of this process pins meanwhile.
std::mutex changing;

// The keys of a set; nullopt when there is no such set, or no nftables for bridges.
base::Result<std::optional<std::set<std::string>>> keys_of(int fd, const std::string& set) {
  Message list = nft_message(NFT_MSG_GETSETELEM, 0);
  put_string(list, NFTA_SET_ELEM_LIST_TABLE, kTable);
  put_string(list, NFTA_SET_ELEM_LIST_SET, set);
  std::set<std::string> keys;
  base::Status read = dump(fd, std::move(list), "list pinned bridge ports", [&](nlmsghdr* answer) {
    nlattr* elements = nlmsg_find_attr(answer, sizeof(nfgenmsg), NFTA_SET_ELEM_LIST_ELEMENTS);
    if (!elements) return;
    nlattr* element;
    int left;
    nla_for_each_nested(element, elements, left) {
      nlattr *key = nla_find(static_cast<nlattr*>(nla_data(element)), nla_len(element), NFTA_SET_ELEM_KEY),
             *value = nullptr;
      if (key) value = nla_find(static_cast<nlattr*>(nla_data(key)), nla_len(key), NFTA_DATA_VALUE);
      if (value) keys.emplace(static_cast<char*>(nla_data(value)), static_cast<size_t>(nla_len(value)));
    }
  });
  if (read.ok()) return std::optional(std::move(keys));
  if (read.error().errno_value == ENOENT || read.error().errno_value == EOPNOTSUPP)
    return std::optional<std::set<std::string>>();
  return read.error();
}

base::Result<size_t> rules_loaded(int fd) {
  Message list = nft_message(NFT_MSG_GETRULE, 0);
  put_string(list, NFTA_RULE_TABLE, kTable);
  put_string(list, NFTA_RULE_CHAIN, kChain);
  size_t rules = 0;
  base::Status read = dump(fd, std::move(list), "list rules of bridge ports", [&](nlmsghdr*) { ++rules; });
  if (read.ok() || read.error().errno_value == ENOENT) return rules;
  return read.error();
}

base::Status load_pins(int netlink_fd, bool replace) {
  const std::vector<PortPin> pins = TRY(pinned_links(netlink_fd));
  auto output = TRY_WRAP(base::run_command({"nft", "-f", "-"}, pins_text(pins, replace)),
                         "load nftables table bridge", kTable);
  bool there = !replace && output.err.find("File exists") != std::string::npos;
  if (output.status.code == 0 || there) return {};
  return base::make_error(base::Kind::kUnsupported, "load nftables table bridge", kTable,
                          output.err.substr(0, output.err.find('\n')),
                          "the kernel needs CONFIG_NF_TABLES_BRIDGE");
}

}  // namespace

base::Result<bool> ports_pinned(int netlink_fd) {
  const std::vector<PortPin> pins = TRY(pinned_links(netlink_fd));
  if (pins.empty()) return true;
  base::UniqueFd fd = TRY(open_netfilter());
  const auto addresses = TRY(keys_of(fd.get(), addresses_set())), ports = TRY(keys_of(fd.get(), "ports")),
             links = TRY(keys_of(fd.get(), "links"));
  if (!addresses || !ports || !links || TRY(rules_loaded(fd.get())) != kRuleCount) return false;
  return std::all_of(pins.begin(), pins.end(), [&](const PortPin& pin) {
    const std::string key = address_key(pin);
    return addresses->count(key) > 0 && ports->count(port_key(pin.link)) > 0 &&
           links->count(std::string(mac_of(key))) > 0;
  });
}

base::Status pin_ports(int netlink_fd) {
  std::lock_guard lock(changing);
  return load_pins(netlink_fd, true);
}

base::Status pin_port(int netlink_fd, const PortPin& pin) {
  base::UniqueFd fd = TRY(open_netfilter());
  auto pin_it = [&] {
    std::vector<Message> messages;
    messages.push_back(elements_message(NFT_MSG_NEWSETELEM, addresses_set(), {address_key(pin)}));
    messages.push_back(elements_message(NFT_MSG_NEWSETELEM, "ports", {port_key(pin.link)}));
    messages.push_back(
        elements_message(NFT_MSG_NEWSETELEM, "links", {std::string(mac_of(address_key(pin)))}));
    return transact(fd.get(), std::move(messages), "pin bridge port to " + pin.address.text(), pin.link);
  };
  std::lock_guard lock(changing);
  base::Status pinned = pin_it();
  // One that another process made meanwhile holds what he pinned before his link had its alias: only a
  // table of other rules is replaced.
  for (bool replace : {false, true}) {
    if (pinned.ok() || (pinned.error().errno_value != ENOENT && pinned.error().errno_value != EOPNOTSUPP))
      break;
    TRY(load_pins(netlink_fd, replace));  // says what the kernel lacks
    pinned = pin_it();
  }
  return pinned;
}

base::Status unpin_port(const std::string& link) {
  base::UniqueFd fd = TRY(open_netfilter());
  const std::string port = port_key(link);
  auto found = TRY(keys_of(fd.get(), addresses_set()));
  if (!found) return {};
  std::set<std::string> links = TRY(keys_of(fd.get(), "links")).value_or(std::set<std::string>());
  std::vector<std::string> keys;
  for (auto at = found->lower_bound(port); at != found->end() && at->starts_with(port); ++at)
    keys.push_back(*at);
  // What stands in the set may be a stranger's, so there may be any number: a message holds a page.
  constexpr size_t kKeysPerMessage = 32;
  for (size_t first = 0; first < keys.size(); first += kKeysPerMessage) {
    const auto from = keys.begin() + static_cast<ptrdiff_t>(first);
    const auto to = keys.begin() + static_cast<ptrdiff_t>(std::min(first + kKeysPerMessage, keys.size()));
    std::vector<Message> messages;
    if (first == 0) messages.push_back(elements_message(NFT_MSG_DELSETELEM, "ports", {port}));
    messages.push_back(elements_message(NFT_MSG_DELSETELEM, addresses_set(), {from, to}));
    std::set<std::string> here;
    for (auto key = from; key != to; ++key)
      if (links.erase(std::string(mac_of(*key))) > 0) here.insert(std::string(mac_of(*key)));
    if (!here.empty())
      messages.push_back(elements_message(NFT_MSG_DELSETELEM, "links", {here.begin(), here.end()}));
    base::Status done = transact(fd.get(), std::move(messages), "unpin bridge port", link);
    if (!done.ok() && done.error().errno_value != ENOENT) return done;  // else another was faster
  }
  return {};
}

}  // namespace netns
