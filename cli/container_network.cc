#include "cli/container_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

#include "base/process.h"
#include "base/sys.h"
#include "cli/container_store.h"
#include "netns/netns.h"

namespace cli {

namespace sys = base::sys;
using base::Kind;
using base::make_error;

// ---- pure --------------------------------------------------------------------------------------

std::string nft_table(const Places& places) {
  // Of connections to the host's own addresses, those whose port is published go on to a container;
  // an address that was named stands before "every address". Connections from the host itself
  // to 127.0.0.1 leave with the bridge's address (route_localnet lets them out), and so do those of
  // a container to a published port of the same bridge, or the answer would not come back this way.
  // Neighbours on the bridge must not reach the host's loopback through route_localnet.
  return fmt::format(
      "table ip {0} {{\n"
      "  map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}\n"
      "  map published_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}\n"
      "  chain loopback {{\n"
      "    type filter hook prerouting priority raw; policy accept;\n"
      "    iifname \"{1}\" ip daddr 127.0.0.0/8 drop\n"
      "  }}\n"
      "  chain ports {{\n"
      "    dnat ip to ip daddr . meta l4proto . th dport map @published_at\n"
      "    dnat ip to meta l4proto . th dport map @published\n"
      "  }}\n"
      "  chain prerouting {{\n"
      "    type nat hook prerouting priority dstnat; policy accept;\n"
      "    meta l4proto {{ tcp, udp }} fib daddr type local jump ports\n"
      "  }}\n"
      "  chain output {{\n"
      "    type nat hook output priority -100; policy accept;\n"
      "    meta l4proto {{ tcp, udp }} fib daddr type local jump ports\n"
      "  }}\n"
      "  chain postrouting {{\n"
      "    type nat hook postrouting priority srcnat; policy accept;\n"
      "    oifname \"{1}\" ip saddr 127.0.0.0/8 masquerade\n"
      "    ip saddr {2} oifname != \"{1}\" masquerade\n"
      "    ip saddr {2} ip daddr {2} ct status dnat masquerade\n"
      "  }}\n"
      "}}\n",
      places.table(), places.bridge, places.subnet);
}

std::string nft_ports(const Places& places, const std::vector<Port>& ports, const std::string& address,
                      bool add) {
  std::string out;
  for (const Port& port : ports) {
    bool every = port.host_ip.empty() || port.host_ip == "0.0.0.0";
    std::string key = fmt::format("{}{} . {}", every ? "" : port.host_ip + " . ", port.protocol, port.host);
    out += fmt::format("{} element ip {} {} {{ {} : {} . {} }}\n", add ? "create" : "delete", places.table(),
                       every ? "published" : "published_at", key, address, port.container);
  }
  return out;
}

std::string resolv_conf(const std::string& host_text, const Record& record) {
  std::vector<std::string> servers = record.dns, others;
  bool own_search = !record.dns_search.empty(), own_options = !record.dns_options.empty();
  std::istringstream lines(host_text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string word, value;
    fields >> word >> value;
    if (word == "nameserver" && record.dns.empty() && !value.starts_with("127.") && value != "::1")
      servers.push_back(value);
    if ((word == "search" || word == "domain") && !own_search) others.push_back(line);
    if (word == "options" && !own_options) others.push_back(line);
  }
  std::string out;
  auto join = [&](const char* word, const std::vector<std::string>& list) {
    out += word;
    for (const std::string& item : list) out += " " + item;
    out += "\n";
  };
  if (own_search && record.dns_search[0] != ".") join("search", record.dns_search);
  for (const std::string& line : others) out += line + "\n";
  for (const std::string& server : servers) out += "nameserver " + server + "\n";
  if (own_options) join("options", record.dns_options);
  return out;
}

std::string hosts_file(const Record& record, const std::string& address, const std::string& gateway) {
  std::string out;
  for (const std::string& entry : record.hosts) {
    size_t colon = entry.find(':');
    std::string to = entry.substr(colon + 1);
    out += (to == "host-gateway" ? gateway : to) + "\t" + entry.substr(0, colon) + "\n";
  }
  out += "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  if (!gateway.empty()) out += gateway + "\thost.containers.internal host.docker.internal\n";
  if (!address.empty()) out += address + "\t" + record.hostname + " " + record.name + "\n";
  else if (!record.hostname.empty()) out += "127.0.1.1\t" + record.hostname + "\n";
  return out;
}

// ---- acts --------------------------------------------------------------------------------------

namespace {

base::Result<base::Cidr> subnet_of(const Places& places) {
  auto cidr = base::Cidr::parse_v4(places.subnet);
  if (cidr && cidr->prefix >= 8 && cidr->prefix <= 30) return *cidr;
  return make_error(Kind::kInvalid, "read --subnet", places.subnet, "not an IPv4 subnet of /8 to /30");
}

base::Status run_nft(const std::string& text, const std::string& operation, const std::string& subject) {
  auto output = TRY_WRAP(base::run_command({"nft", "-f", "-"}, text), operation, subject);
  if (output.status.code == 0) return {};
  bool taken = output.err.find("File exists") != std::string::npos;
  return make_error(taken ? Kind::kConflict : Kind::kUnsupported, operation, subject,
                    output.err.substr(0, output.err.find('\n')));
}

// What listens on the host would be hidden by the container: better said than found out.
base::Status check_port_is_free(const Port& port) {
  base::UniqueFd fd(::socket(AF_INET, (port.protocol == "udp" ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return sys::last_error("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port.host);
  if (!port.host_ip.empty() && ::inet_pton(AF_INET, port.host_ip.c_str(), &address.sin_addr) != 1)
    return make_error(Kind::kInvalid, "publish port", port.text(),
                      "'" + port.host_ip + "' is not an IPv4 address");
  int on = 1;
  // Connections that have ended are nobody's.
  if (port.protocol == "tcp") ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return {};
  base::Error error = sys::last_error("publish port", port.text());
  if (error.errno_value == EADDRINUSE) error.hint = "choose another one with -p";
  return error;
}

std::string network_lock(const Places& places) { return places.addresses() + "/.lock"; }
base::Result<base::UniqueFd> lock_network(const Places& places) {
  TRY(sys::mkdir_all(places.addresses(), 0700));
  TRY(sys::mkdir_all(places.ports(), 0700));
  base::UniqueFd lock = TRY(sys::open(network_lock(places), O_RDWR | O_CREAT, 0600));
  while (::flock(lock.get(), LOCK_EX) != 0)
    if (errno != EINTR) return sys::last_error("lock", network_lock(places));
  return lock;
}

// A claim is a link whose text is the owner's id; "" when nobody has it.
std::string owner_of(const std::string& claim) {
  char owner[128];
  ssize_t n = ::readlink(claim.c_str(), owner, sizeof owner);
  return n < 0 ? "" : std::string(owner, static_cast<size_t>(n));
}

std::string port_claim(const Places& places, const Port& port) {
  return fmt::format("{}/{}:{}:{}", places.ports(), port.protocol,
                     port.host_ip.empty() ? "0.0.0.0" : port.host_ip, port.host);
}
base::Status claim_port(const Places& places, const std::string& id, const Port& port) {
  std::string claim = port_claim(places, port), prefix = port.protocol + ":",
              suffix = ":" + std::to_string(port.host);
  for (const std::string& name : TRY(sys::list_dir(places.ports()))) {
    bool same = name.starts_with(prefix) && name.ends_with(suffix);
    std::string ip = same ? name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()) : "";
    bool every = port.host_ip.empty() || port.host_ip == "0.0.0.0" || ip == "0.0.0.0";
    if (!same || !(every || ip == port.host_ip)) continue;
    std::string owner = owner_of(places.ports() + "/" + name);
    // Of a container that is gone, or our own of a start that was cut off.
    if (owner == id || !sys::exists(places.container(owner))) {
      if (::unlink((places.ports() + "/" + name).c_str()) != 0) return sys::last_error("unlink", name);
      continue;
    }
    return make_error(Kind::kConflict, "publish port", port.text(),
                      "container " + short_id(owner) + " has it",
                      "choose another one with -p, or stop that container");
  }
  if (::symlink(id.c_str(), claim.c_str()) != 0) return sys::last_error("symlink", claim);
  return {};
}

}  // namespace

base::Result<std::string> gateway_address(const Places& places) {
  return TRY(netns::AddressPool::of(TRY(subnet_of(places)))).gateway().text();
}

base::Result<std::string> claim_address(const Places& places, const std::string& id) {
  base::Cidr subnet = TRY(subnet_of(places));
  base::UniqueFd lock = TRY(lock_network(places));
  netns::AddressPool pool = TRY(netns::AddressPool::of(subnet));
  // The lock's text is the address given last: a freed one comes back last.
  std::string last = TRY(sys::read_file(network_lock(places)));
  for (const std::string& name : TRY(sys::list_dir(places.addresses())))
    if (auto address = base::Ip::parse_v4(name))
      base::ignore(pool.reserve(*address), "of another subnet, before it was changed");
  std::string address;
  for (base::Ip next = base::Ip::parse_v4(last).value_or(base::Ip()).plus(1); address.empty();
       next = next.plus(1)) {
    bool round = !subnet.contains(next) || next == subnet.last();
    if (round) address = TRY(pool.allocate()).text();
    else if (pool.reserve(next).ok()) address = next.text();
  }
  std::string claim = places.addresses() + "/" + address;
  if (::symlink(id.c_str(), claim.c_str()) != 0) return sys::last_error("symlink", claim);
  if (::ftruncate(lock.get(), 0) != 0 || ::pwrite(lock.get(), address.data(), address.size(), 0) < 0)
    return sys::last_error("write", network_lock(places));
  return address;
}

base::Status release_address(const Places& places, const std::string& id, const std::string& address) {
  if (address.empty()) return {};
  std::string claim = places.addresses() + "/" + address;
  if (owner_of(claim) != id) return {};
  if (::unlink(claim.c_str()) != 0 && errno != ENOENT) return sys::last_error("unlink", claim);
  return {};
}

base::Status ensure_network(const Places& places) {
  netns::NodeNetwork desired;
  desired.bridge = places.bridge;
  desired.pod_cidr = TRY(subnet_of(places));
  base::UniqueFd lock = TRY(lock_network(places));
  TRY_WRAP(netns::act(desired, netns::plan(desired, TRY(netns::observe(places.bridge)))), "set up network",
           places.bridge);
  TRY(sys::write_control("/proc/sys/net/ipv4/conf/" + places.bridge + "/route_localnet", "1"));
  if (TRY(netns::nft_table_exists(places.table()))) return {};
  // With the ports of those that run: somebody may have flushed the rules under them.
  std::string text = nft_table(places);
  for (const std::string& claim : TRY(sys::list_dir(places.ports()))) {
    std::string owner = owner_of(places.ports() + "/" + claim);
    auto record = read_record(places, owner);
    State state = read_state(places, owner);
    if (!record.ok() || state.phase != State::Phase::kRunning || state.address.empty()) continue;
    for (const Port& port : record->ports)
      if (port_claim(places, port) == places.ports() + "/" + claim)
        text += nft_ports(places, {port}, state.address, true);
  }
  return run_nft(text, "load nftables table", places.table());
}

base::Status attach_network(const Places& places, const std::string& id, const std::string& address,
                            const runtime::Pod::Sandbox& sandbox) {
  netns::PodLink link;
  link.host_name = netns::host_link_name(id);
  link.bridge = places.bridge;
  const base::Cidr subnet = TRY(subnet_of(places));
  link.address = base::Ip::parse_v4(address).value_or(base::Ip());
  link.prefix = subnet.prefix;
  link.gateway = TRY(netns::AddressPool::of(subnet)).gateway();
  return netns::attach_pod(link, sandbox.netns.get(), sandbox.netlink.get());
}

base::Status publish_ports(const Places& places, const Record& record, const std::string& address) {
  if (record.ports.empty()) return {};
  {
    base::UniqueFd lock = TRY(lock_network(places));
    for (const Port& port : record.ports) TRY(claim_port(places, record.id, port));
  }
  for (const Port& port : record.ports) TRY(check_port_is_free(port));
  return run_nft(nft_ports(places, record.ports, address, true), "publish ports", address);
}

base::Status unpublish_ports(const Places& places, const Record& record, const std::string& address) {
  // One at a time: a start that was cut off mapped some of them only.
  for (const Port& port : record.ports) {
    std::string claim = port_claim(places, port);
    if (owner_of(claim) != record.id) continue;
    auto done = run_nft(nft_ports(places, {port}, address.empty() ? "0.0.0.0" : address, false),
                        "unpublish port", port.text());
    bool absent = !done.ok() && done.error().message().find("No such file") != std::string::npos;
    if (!done.ok() && !absent) return done;
    if (::unlink(claim.c_str()) != 0 && errno != ENOENT) return sys::last_error("unlink", claim);
  }
  return {};
}

base::Status detach_network(const Places& places, const Record& record, const State& state) {
  if (record.network != "bridge") return {};
  TRY(unpublish_ports(places, record, state.address));
  TRY(netns::detach_pod(netns::host_link_name(record.id)));
  return release_address(places, record.id, state.address);
}

}  // namespace cli
