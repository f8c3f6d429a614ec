// Batches of rtnetlink messages: built with libnl, sent in one send(2) on an fd of the caller, each
// answer matched to the message it belongs to. Private to netns/. Never enters a namespace: which
// one is meant follows from the socket.
#pragma once

#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace netns {

struct MessageFree {
  void operator()(nl_msg* message) const { nlmsg_free(message); }
};
using Message = std::unique_ptr<nl_msg, MessageFree>;

// A message of `type` with the fixed header `header` (ifinfomsg, ifaddrmsg, rtmsg…).
template <typename Header>
Message make_message(int type, int flags, const Header& header) {
  Message message(nlmsg_alloc_simple(type, NLM_F_REQUEST | flags));
  SAMPAN_CHECK(message != nullptr);
  SAMPAN_CHECK(nlmsg_append(message.get(), const_cast<Header*>(&header), sizeof header, NLMSG_ALIGNTO) == 0);
  return message;
}
void put_u8(Message& message, int attribute, uint8_t value);
void put_u32(Message& message, int attribute, uint32_t value);
void put_ipv4(Message& message, int attribute, base::Ip address);
void put_string(Message& message, int attribute, const std::string& value);

base::Result<base::UniqueFd> open_netlink();  // NETLINK_ROUTE in the calling thread's namespace

class Batch {
 public:
  // `operation` and `subject` name the message in an error; errnos in `accepted` count as success.
  void add(Message message, std::string operation, std::string subject, std::set<int> accepted = {});
  // Sends all in one datagram. The kernel runs every message even when one fails; the first
  // failure is returned.
  base::Status run(int netlink_fd);

 private:
  struct Entry {
    std::string operation, subject;
    std::set<int> accepted;
  };
  std::string bytes_;
  std::vector<Entry> entries_;
};

// One dump request: calls `each` for every answer.
base::Status dump(int netlink_fd, Message request, const std::string& operation,
                  const std::function<void(nlmsghdr*)>& each);

struct Link {
  int index = 0;
  bool up = false;
  int mtu = 0;
};
// nullopt when no such link exists.
base::Result<std::optional<Link>> find_link(int netlink_fd, const std::string& name);
base::Status delete_link(int netlink_fd, const std::string& name);  // absent is fine

}  // namespace netns
