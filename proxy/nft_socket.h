// A NETLINK_NETFILTER socket: dumps, and batches that answer with an error per message. Used by
// nftables and by connection tracking. Never waits: nfnetlink answers inside send(2).
#pragma once

#include <linux/netlink.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace proxy {

base::Result<base::UniqueFd> open_netfilter();
// A request with NLM_F_DUMP set; `each` gets every answer's attributes (behind nfgenmsg). kConflict
// when the kernel's tables changed in the middle.
base::Status dump_netfilter(int fd, const std::string& request, const std::string& operation,
                            const std::function<void(const char*, size_t)>& each);
struct NetlinkFailure {
  uint32_t sequence = 0;
  int error = 0;      // errno
  size_t offset = 0;  // of the attribute at fault in the message; 0 = unknown
  std::string text;   // the kernel's words, if any
};
// Sends and reads every answer that is there; the failures, in order.
base::Result<std::vector<NetlinkFailure>> send_netfilter(int fd, const std::string& bytes,
                                                         const std::string& operation);
// The next attribute of [at, end): type, payload; false at the end.
bool next_attribute(const char*& at, const char* end, uint16_t* type, std::string_view* data);
std::string_view find_attribute(std::string_view bytes,
                                uint16_t wanted);  // the first of that type; "" without

}  // namespace proxy
