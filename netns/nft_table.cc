// Whether a table of nftables is there: one request, where the `nft` program would read them all.
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/sys.h"
#include "netns/netlink.h"
#include "netns/netns.h"

namespace netns {

base::Result<bool> nft_table_exists(const std::string& name) {
  base::UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd) return base::sys::last_error("open netlink socket");
  nfgenmsg header{};
  header.nfgen_family = AF_INET;  // NFPROTO_IPV4
  Message message = make_message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, 0, header);
  put_string(message, NFTA_TABLE_NAME, name);
  Batch batch;
  batch.add(std::move(message), "look for nftables table", name);
  base::Status found = batch.run(fd.get());
  if (found.ok()) return true;
  if (found.error().errno_value == ENOENT) return false;
  return found.error();
}

}  // namespace netns
