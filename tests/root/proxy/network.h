// A node and its Pods in fresh network namespaces: the test process is the node, a Pod is a
// namespace with listening sockets that the test itself holds, so that nothing waits for anything.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/process.h"
#include "base/sys.h"
#include "netns/netns.h"

namespace proxy {

inline base::UniqueFd current_netns() {
  auto fd = base::sys::open("/proc/thread-self/ns/net", O_RDONLY);
  SAMPAN_CHECK(fd.ok());
  return std::move(fd).value();
}
class InNetns {
 public:
  explicit InNetns(const base::UniqueFd& netns) : back_(current_netns()) {
    SAMPAN_CHECK(::setns(netns.get(), CLONE_NEWNET) == 0);
  }
  ~InNetns() { SAMPAN_CHECK(::setns(back_.get(), CLONE_NEWNET) == 0); }

 private:
  base::UniqueFd back_;
};
inline std::string run(const std::vector<std::string>& argv) {
  auto output = base::run_command(argv);
  SAMPAN_CHECK(output.ok());
  EXPECT_EQ(output->status.code, 0) << argv[0] << ": " << output->err;
  return output->out;
}
inline void must(const base::Status& status) { ASSERT_TRUE(status.ok()) << status.error().message(); }

inline sockaddr_in endpoint(const std::string& ip, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  SAMPAN_CHECK(::inet_pton(AF_INET, ip.c_str(), &address.sin_addr) == 1);
  return address;
}
inline base::UniqueFd bound(int type, const std::string& ip, uint16_t port) {
  base::UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = endpoint(ip, port);
  SAMPAN_CHECK(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  if (type == SOCK_STREAM) SAMPAN_CHECK(::listen(fd.get(), 512) == 0);
  return fd;
}

struct Host {  // a Pod, a client, another node
  std::string ip;
  base::UniqueFd netns, netlink, tcp, udp;
};
struct Hit {
  int who = -1;        // index of the listener that got it; -1: nobody
  int error = 0;       // errno of connect
  std::string source;  // as the listener saw the client
  base::UniqueFd client, server;
};

class Network {
 public:
  Network() {
    SAMPAN_CHECK(::unshare(CLONE_NEWNET) == 0);
    netns::NodeNetwork node;
    node.pod_cidr = *base::Cidr::parse_v4("10.244.0.0/24");
    auto observed = netns::observe(node.bridge);
    SAMPAN_CHECK(observed.ok());
    must(netns::act(node, netns::plan(node, *observed)));
    must(netns::ensure_dummy_link({"sampan-dns", {"10.96.0.10/32"}, {"10.96.0.0/16"}}));
    run({"ip", "link", "set", "lo", "up"});
  }
  static base::UniqueFd new_netns(base::UniqueFd* netlink) {
    base::UniqueFd here = current_netns();
    SAMPAN_CHECK(::unshare(CLONE_NEWNET) == 0);
    base::UniqueFd made = current_netns();
    netlink->reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    SAMPAN_CHECK(::setns(here.get(), CLONE_NEWNET) == 0);
    return made;
  }
  Host pod(const std::string& ip, uint16_t port = 8080) {
    Host host;
    host.ip = ip;
    host.netns = new_netns(&host.netlink);
    must(netns::attach_pod(
        {netns::host_link_name(ip), "sampan0", *base::Ip::parse_v4(ip), 24, base::Ip::v4(10, 244, 0, 1)},
        host.netns.get(), host.netlink.get()));
    InNetns in(host.netns);
    host.tcp = bound(SOCK_STREAM, ip, port);
    host.udp = bound(SOCK_DGRAM, ip, port);
    return host;
  }
  // A machine outside: on a link of its own, the node is its gateway at `node_ip`.
  Host outside(const std::string& ip, const std::string& node_ip) {
    Host host;
    host.ip = ip;
    host.netns = new_netns(&host.netlink);
    std::string name = netns::host_link_name(ip);
    must(netns::attach_pod({name, "sampan0", *base::Ip::parse_v4(ip), 24, *base::Ip::parse_v4(node_ip)},
                           host.netns.get(), host.netlink.get()));
    run({"ip", "link", "set", name, "nomaster"});
    run({"ip", "addr", "add", node_ip + "/24", "dev", name});
    return host;
  }
};

inline std::string address_text(const sockaddr_in& address) {
  char text[INET_ADDRSTRLEN];
  return ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
}
// Connects from `client`'s namespace (null: the node) and finds out which of `hosts` it reached.
inline Hit connect_tcp(const Host* client, const std::string& ip, uint16_t port,
                       const std::vector<Host>& hosts, int timeout_ms = 2000) {
  Hit hit;
  {
    std::optional<InNetns> in;
    if (client) in.emplace(client->netns);
    hit.client.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    timeval limit{timeout_ms / 1000, timeout_ms % 1000 * 1000};
    ::setsockopt(hit.client.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in to = endpoint(ip, port);
    if (::connect(hit.client.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) hit.error = errno;
  }
  if (hit.error) return hit;
  std::vector<pollfd> listeners;
  for (const Host& host : hosts) listeners.push_back({host.tcp.get(), POLLIN, 0});
  // The client's side is established when the listener's last ACK may still be on its way.
  ::poll(listeners.data(), listeners.size(), 1000);
  for (size_t i = 0; i < listeners.size(); ++i) {
    if (!(listeners[i].revents & POLLIN)) continue;
    sockaddr_in from{};
    socklen_t size = sizeof from;
    hit.server.reset(::accept4(listeners[i].fd, reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
    hit.who = static_cast<int>(i);
    hit.source = address_text(from);
  }
  return hit;
}
// The same for a datagram; `client_fd` is a connected UDP socket.
inline base::UniqueFd udp_client(const Host& client, const std::string& ip, uint16_t port) {
  InNetns in(client.netns);
  base::UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in to = endpoint(ip, port);
  SAMPAN_CHECK(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  return fd;
}
inline Hit send_udp(int client_fd, const std::vector<Host>& hosts) {
  Hit hit;
  if (::send(client_fd, "x", 1, 0) != 1) hit.error = errno;
  std::vector<pollfd> sockets;
  for (const Host& host : hosts) sockets.push_back({host.udp.get(), POLLIN, 0});
  ::poll(sockets.data(), sockets.size(), hit.error ? 0 : 300);
  for (size_t i = 0; i < sockets.size(); ++i) {
    if (!(sockets[i].revents & POLLIN)) continue;
    sockaddr_in from{};
    socklen_t size = sizeof from;
    char data[16];
    SAMPAN_CHECK(::recvfrom(sockets[i].fd, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&from), &size) ==
                 1);
    hit.who = static_cast<int>(i);
    hit.source = address_text(from);
    // And back: the answer must come from the address that was asked.
    SAMPAN_CHECK(::sendto(sockets[i].fd, "y", 1, 0, reinterpret_cast<sockaddr*>(&from), size) == 1);
    pollfd answer{client_fd, POLLIN, 0};
    if (::poll(&answer, 1, 1000) != 1 || ::recv(client_fd, data, sizeof data, 0) != 1) hit.who = -2;
  }
  return hit;
}

}  // namespace proxy
