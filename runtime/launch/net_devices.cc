// linux.netDevices over rtnetlink(7): two short conversations, one in our network namespace and one
// in the container's. Owns no state; sends nothing but netlink messages.
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "base/sys.h"
#include "runtime/launch/parent.h"

namespace runtime {
namespace {

namespace sys = base::sys;

class Request {
 public:
  Request(uint16_t type, uint16_t flags) {
    header()->nlmsg_len = NLMSG_HDRLEN;
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
  }
  template <typename T>
  void body(const T& value) {
    std::memcpy(buffer_ + header()->nlmsg_len, &value, sizeof value);
    header()->nlmsg_len += NLMSG_ALIGN(sizeof value);
  }
  void attribute(uint16_t type, const void* data, size_t size) {
    auto* a = reinterpret_cast<rtattr*>(buffer_ + header()->nlmsg_len);
    a->rta_type = type;
    a->rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
    std::memcpy(RTA_DATA(a), data, size);
    header()->nlmsg_len += RTA_ALIGN(a->rta_len);
  }
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_); }
  const void* data() const { return buffer_; }

 private:
  alignas(nlmsghdr) char buffer_[1024] = {};
};

base::Result<base::UniqueFd> netlink() {
  base::UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd.valid()) return sys::last_error("socket", "NETLINK_ROUTE");
  return fd;
}
// Sends and reads the answers up to the acknowledgement or the end of the dump.
base::Status talk(int socket, Request& request, const std::function<void(const nlmsghdr*)>& each = {}) {
  if (::send(socket, request.data(), request.header()->nlmsg_len, 0) < 0)
    return sys::last_error("send", "netlink");
  for (;;) {
    alignas(nlmsghdr) char buffer[32768];
    ssize_t n = ::recv(socket, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::last_error("recv", "netlink");
    auto left = static_cast<unsigned>(n);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return {};
      if (message->nlmsg_type == NLMSG_ERROR) {
        int error = -static_cast<nlmsgerr*>(NLMSG_DATA(message))->error;
        if (error == 0) return {};
        return sys::error_from_errno(error, "netlink");
      }
      if (each) each(message);
    }
  }
}

struct Address {
  ifaddrmsg header;
  std::vector<std::pair<uint16_t, std::string>> attributes;
};
base::Result<std::vector<Address>> permanent_addresses(int socket, int index) {
  std::vector<Address> out;
  Request request(RTM_GETADDR, NLM_F_DUMP);
  request.body(ifaddrmsg{});
  TRY(talk(socket, request, [&](const nlmsghdr* message) {
    auto* header = static_cast<ifaddrmsg*>(NLMSG_DATA(message));
    if (header->ifa_index != static_cast<unsigned>(index) || header->ifa_scope != RT_SCOPE_UNIVERSE) return;
    Address address{*header, {}};
    uint32_t flags = header->ifa_flags;
    auto left = static_cast<int>(IFA_PAYLOAD(message));
    for (auto* a = IFA_RTA(header); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
      if (a->rta_type == IFA_FLAGS) std::memcpy(&flags, RTA_DATA(a), sizeof flags);
      if (a->rta_type == IFA_LOCAL || a->rta_type == IFA_ADDRESS || a->rta_type == IFA_BROADCAST)
        address.attributes.emplace_back(a->rta_type,
                                        std::string(static_cast<char*>(RTA_DATA(a)), RTA_PAYLOAD(a)));
    }
    if (flags & IFA_F_PERMANENT) out.push_back(std::move(address));
  }));
  return out;
}

// The device by its index or, when that was taken in the new namespace, the one we moved: the
// kernel tells its name.
base::Status set_up(int socket, int index, const std::vector<Address>& addresses) {
  for (const Address& address : addresses) {
    Request add(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
    ifaddrmsg header = address.header;
    header.ifa_index = static_cast<unsigned>(index);
    add.body(header);
    for (const auto& [type, value] : address.attributes) add.attribute(type, value.data(), value.size());
    TRY(talk(socket, add));
  }
  Request up(RTM_NEWLINK, NLM_F_ACK);
  ifinfomsg link{};
  link.ifi_index = index;
  link.ifi_flags = link.ifi_change = IFF_UP;
  up.body(link);
  return talk(socket, up);
}

}  // namespace

base::Status move_net_device(const std::string& host_name, const std::string& name, int network_namespace) {
  unsigned index = ::if_nametoindex(host_name.c_str());
  if (index == 0) return sys::last_error("find network device", host_name);
  base::UniqueFd here = TRY(netlink());
  std::vector<Address> addresses = TRY(permanent_addresses(here.get(), static_cast<int>(index)));

  // A socket belongs to the namespace it was made in.
  base::UniqueFd own = TRY(sys::open("/proc/self/ns/net", O_RDONLY));
  if (::setns(network_namespace, CLONE_NEWNET) != 0) return sys::last_error("setns", "network namespace");
  auto there = netlink();
  bool taken = name.find('%') == std::string::npos && ::if_nametoindex(name.c_str()) != 0;
  SAMPAN_CHECK(::setns(own.get(), CLONE_NEWNET) == 0);
  base::UniqueFd inside = TRY(std::move(there));
  if (taken)
    return base::make_error(base::Kind::kExists, "move network device", name,
                            "the container has one of that name");

  Request move(RTM_NEWLINK, NLM_F_ACK);
  ifinfomsg link{};
  link.ifi_index = static_cast<int>(index);
  link.ifi_change = IFF_UP;  // down: a device that is up can't be renamed
  move.body(link);
  move.attribute(IFLA_NET_NS_FD, &network_namespace, sizeof network_namespace);
  move.attribute(IFLA_IFNAME, name.c_str(), name.size() + 1);
  // It keeps its index where that is free there, and gets this one where not.
  constexpr uint16_t kNewIndex = 49;  // IFLA_NEW_IFINDEX, kernel 5.11
  int wanted = static_cast<int>(index);
  Request with_index = move;
  with_index.attribute(kNewIndex, &wanted, sizeof wanted);
  auto moved = talk(here.get(), with_index);
  for (int attempt = 0; !moved.ok() && moved.error().errno_value == EBUSY && attempt < 64; ++attempt) {
    wanted = 100'000 + static_cast<int>(index) + attempt;
    Request other = move;
    other.attribute(kNewIndex, &wanted, sizeof wanted);
    moved = talk(here.get(), other);
  }
  if (!moved.ok()) return base::wrap(std::move(moved).error(), "move network device", host_name);
  return set_up(inside.get(), wanted, addresses);
}

}  // namespace runtime
