// See netlink.h. Answers are read from the same socket; rtnetlink works inside send(2), so that
// they are there when it returns and no wait is needed.
#include "netns/netlink.h"

#include <net/if.h>
#include <netlink/attr.h>

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace netns {
namespace {

// Shared by the daemon's threads, each on a socket of its own.
uint32_t next_sequence() {
  static std::atomic<uint32_t> sequence{static_cast<uint32_t>(::getpid()) << 12};
  return ++sequence;
}

base::Status send_bytes(int fd, const std::string& bytes) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent =
      ::sendto(fd, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  if (sent < 0) return base::sys::last_error("send netlink");
  SAMPAN_CHECK(static_cast<size_t>(sent) == bytes.size());
  return {};
}

// Reads answers until `take` says it has them all.
base::Status receive(int fd, const std::function<base::Result<bool>(nlmsghdr*)>& take) {
  std::vector<char> buffer(64 << 10);
  for (;;) {
    ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::sys::last_error("receive netlink");
    int left = static_cast<int>(n);
    for (auto* at = reinterpret_cast<nlmsghdr*>(buffer.data()); nlmsg_ok(at, left);
         at = nlmsg_next(at, &left)) {
      if (TRY(take(at))) return {};
    }
  }
}

}  // namespace

void put_u8(Message& message, int attribute, uint8_t value) {
  SAMPAN_CHECK(nla_put_u8(message.get(), attribute, value) == 0);
}
void put_u32(Message& message, int attribute, uint32_t value) {
  SAMPAN_CHECK(nla_put_u32(message.get(), attribute, value) == 0);
}
void put_ipv4(Message& message, int attribute, base::Ip address) {
  put_u32(message, attribute, __builtin_bswap32(address.v4_bits()));
}
void put_string(Message& message, int attribute, const std::string& value) {
  SAMPAN_CHECK(nla_put_string(message.get(), attribute, value.c_str()) == 0);
}

base::Result<base::UniqueFd> open_netlink() {
  base::UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return base::sys::last_error("open netlink socket");
  return fd;
}

void Batch::add(Message message, std::string operation, std::string subject, std::set<int> accepted) {
  nlmsghdr* header = nlmsg_hdr(message.get());
  header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  bytes_.append(reinterpret_cast<char*>(header), header->nlmsg_len);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  entries_.push_back({std::move(operation), std::move(subject), std::move(accepted)});
}

base::Status Batch::run(int netlink_fd) {
  if (entries_.empty()) return {};
  std::vector<uint32_t> sequences;
  for (size_t at = 0; at < bytes_.size();) {
    auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data() + at);
    header->nlmsg_seq = next_sequence();
    sequences.push_back(header->nlmsg_seq);
    at += NLMSG_ALIGN(header->nlmsg_len);
  }
  TRY(send_bytes(netlink_fd, bytes_));
  std::optional<base::Error> first;
  size_t answered = 0;
  TRY(receive(netlink_fd, [&](nlmsghdr* answer) -> base::Result<bool> {
    auto it = std::find(sequences.begin(), sequences.end(), answer->nlmsg_seq);
    if (answer->nlmsg_type != NLMSG_ERROR || it == sequences.end()) return false;
    const Entry& entry = entries_[static_cast<size_t>(it - sequences.begin())];
    int error = -static_cast<nlmsgerr*>(nlmsg_data(answer))->error;
    if (error != 0 && !entry.accepted.count(error) && !first)
      first = base::sys::error_from_errno(error, entry.operation, entry.subject);
    return ++answered == sequences.size();
  }));
  if (first) return *std::move(first);
  return {};
}

base::Status dump(int netlink_fd, Message request, const std::string& operation,
                  const std::function<void(nlmsghdr*)>& each) {
  nlmsghdr* header = nlmsg_hdr(request.get());
  header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
  header->nlmsg_seq = next_sequence();
  TRY(send_bytes(netlink_fd, std::string(reinterpret_cast<char*>(header), header->nlmsg_len)));
  return receive(netlink_fd, [&](nlmsghdr* answer) -> base::Result<bool> {
    if (answer->nlmsg_seq != header->nlmsg_seq) return false;
    if (answer->nlmsg_type == NLMSG_DONE) return true;
    if (answer->nlmsg_type == NLMSG_ERROR)
      return base::sys::error_from_errno(-static_cast<nlmsgerr*>(nlmsg_data(answer))->error, operation);
    each(answer);
    return false;
  });
}

base::Result<std::optional<Link>> find_link(int netlink_fd, const std::string& name) {
  Message request = make_message(RTM_GETLINK, 0, ifinfomsg{});
  put_string(request, IFLA_IFNAME, name);
  nlmsghdr* header = nlmsg_hdr(request.get());
  header->nlmsg_seq = next_sequence();
  TRY(send_bytes(netlink_fd, std::string(reinterpret_cast<char*>(header), header->nlmsg_len)));
  std::optional<Link> found;
  TRY(receive(netlink_fd, [&](nlmsghdr* answer) -> base::Result<bool> {
    if (answer->nlmsg_seq != header->nlmsg_seq) return false;
    if (answer->nlmsg_type == NLMSG_ERROR) {
      int error = -static_cast<nlmsgerr*>(nlmsg_data(answer))->error;
      if (error == ENODEV) return true;
      return base::sys::error_from_errno(error, "find link", name);
    }
    auto* info = static_cast<ifinfomsg*>(nlmsg_data(answer));
    nlattr* mtu = nlmsg_find_attr(answer, sizeof *info, IFLA_MTU);
    found =
        Link{info->ifi_index, (info->ifi_flags & IFF_UP) != 0, mtu ? static_cast<int>(nla_get_u32(mtu)) : 0};
    return true;
  }));
  return found;
}

base::Status delete_link(int netlink_fd, const std::string& name) {
  Message request = make_message(RTM_DELLINK, 0, ifinfomsg{});
  put_string(request, IFLA_IFNAME, name);
  Batch batch;
  batch.add(std::move(request), "delete link", name, {ENODEV});
  return batch.run(netlink_fd);
}

}  // namespace netns
