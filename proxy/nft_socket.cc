// See nft_socket.h.
#include "proxy/nft_socket.h"

#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace proxy {
namespace {

base::Status send_all(int fd, const std::string& bytes, const std::string& operation) {
  // One transaction is one datagram, however large; SO_SNDBUFFORCE needs CAP_NET_ADMIN, as all this.
  int size = static_cast<int>(std::max<size_t>(bytes.size() * 2, 1 << 16));
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
    return base::sys::last_error(operation, "SO_SNDBUFFORCE", "run as root");
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0)
    return base::sys::last_error(operation, std::to_string(bytes.size()) + " bytes of netlink");
  return {};
}

}  // namespace

base::Result<base::UniqueFd> open_netfilter() {
  base::UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd) return base::sys::last_error("open netfilter socket");
  // A port number of its own: notifications skip sockets whose number is the sender's, which for
  // nftables is 0, as an unbound socket's is.
  sockaddr_nl any{};
  any.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0)
    return base::sys::last_error("bind netfilter socket");
  int on = 1, size = 64 << 20;  // of what a large load of another table tells; held only while it is unread
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  return fd;
}

bool next_attribute(const char*& at, const char* end, uint16_t* type, std::string_view* data) {
  if (end - at < static_cast<ptrdiff_t>(sizeof(nlattr))) return false;
  nlattr header;
  std::memcpy(&header, at, sizeof header);
  if (header.nla_len < sizeof header || header.nla_len > end - at) return false;
  *type = header.nla_type & NLA_TYPE_MASK;
  *data = {at + sizeof header, header.nla_len - sizeof header};
  at += std::min<ptrdiff_t>(NLA_ALIGN(header.nla_len), end - at);
  return true;
}
std::string_view find_attribute(std::string_view bytes, uint16_t wanted) {
  const char *at = bytes.data(), *end = at + bytes.size();
  uint16_t type;
  std::string_view data;
  while (next_attribute(at, end, &type, &data))
    if (type == wanted) return data;
  return {};
}

base::Status dump_netfilter(int fd, const std::string& request, const std::string& operation,
                            const std::function<void(const char*, size_t)>& each) {
  TRY(send_all(fd, request, operation));
  auto* sent = reinterpret_cast<const nlmsghdr*>(request.data());
  std::vector<char> buffer(256 << 10);
  bool interrupted = false;
  for (;;) {
    ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::sys::last_error(operation);
    auto left = static_cast<uint32_t>(n);
    for (auto* at = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(at, left);
         at = NLMSG_NEXT(at, left)) {
      if (at->nlmsg_seq != sent->nlmsg_seq) continue;
      interrupted |= (at->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (at->nlmsg_type == NLMSG_ERROR) {
        int error = -static_cast<nlmsgerr*>(NLMSG_DATA(at))->error;
        return error ? base::Status(base::sys::error_from_errno(error, operation)) : base::Status();
      }
      if (at->nlmsg_type == NLMSG_DONE) {
        if (interrupted)
          return base::make_error(base::Kind::kConflict, operation, {}, "changed while it was read");
        return {};
      }
      if (at->nlmsg_len < NLMSG_HDRLEN + sizeof(nfgenmsg)) continue;
      each(reinterpret_cast<char*>(at) + NLMSG_HDRLEN + sizeof(nfgenmsg),
           at->nlmsg_len - NLMSG_HDRLEN - sizeof(nfgenmsg));
      if (!(at->nlmsg_flags & NLM_F_MULTI) && !(sent->nlmsg_flags & NLM_F_DUMP)) return {};
    }
  }
}

base::Result<std::vector<NetlinkFailure>> send_netfilter(int fd, const std::string& bytes,
                                                         const std::string& operation) {
  TRY(send_all(fd, bytes, operation));
  std::vector<NetlinkFailure> failures;
  std::vector<char> buffer(64 << 10);
  for (;;) {
    ssize_t n = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return failures;
    if (n < 0) return base::sys::last_error(operation);  // ENOBUFS: more errors than fit
    auto left = static_cast<uint32_t>(n);
    for (auto* at = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(at, left);
         at = NLMSG_NEXT(at, left)) {
      if (at->nlmsg_type != NLMSG_ERROR) continue;
      auto* answer = static_cast<nlmsgerr*>(NLMSG_DATA(at));
      if (answer->error == 0) continue;
      NetlinkFailure failure{at->nlmsg_seq, -answer->error, 0, {}};
      if (at->nlmsg_flags & NLM_F_ACK_TLVS) {
        const char* from = reinterpret_cast<char*>(answer) + sizeof *answer;
        if (!(at->nlmsg_flags & NLM_F_CAPPED)) from += answer->msg.nlmsg_len - NLMSG_HDRLEN;
        const char* end = reinterpret_cast<char*>(at) + at->nlmsg_len;
        uint16_t type;
        std::string_view data;
        while (next_attribute(from, end, &type, &data)) {
          uint32_t offset = 0;
          if (type == NLMSGERR_ATTR_OFFS && data.size() == 4)
            std::memcpy(&offset, data.data(), 4), failure.offset = offset;
          if (type == NLMSGERR_ATTR_MSG) failure.text = data.substr(0, data.find('\0'));
        }
      }
      failures.push_back(std::move(failure));
    }
  }
}

}  // namespace proxy
