// The links of Pods, told by rtnetlink's notifications; see netns.h.
#include <sys/socket.h>

#include <cerrno>

#include "base/sys.h"
#include "netns/netlink.h"
#include "netns/netns.h"
#include "netns/port_pins.h"

namespace netns {

base::Result<std::vector<PodAddress>> pod_links() {
  base::UniqueFd fd = TRY(open_netlink());
  std::vector<PodAddress> out;
  for (PortPin& pin : TRY(pinned_links(fd.get()))) out.push_back({std::move(pin.link), pin.address});
  return out;
}

base::Result<base::UniqueFd> watch_links() {
  base::UniqueFd fd = TRY(open_netlink());
  sockaddr_nl groups{};
  groups.nl_family = AF_NETLINK;
  groups.nl_groups = RTMGRP_LINK;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&groups), sizeof groups) != 0)
    return base::sys::last_error("listen to links");
  return fd;
}

// What was lost (ENOBUFS) is found by who lists the links after this.
void drain_links(int fd) {
  char buffer[8 << 10];
  while (::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS || errno == EINTR) {
  }
}

}  // namespace netns
