// See conntrack.h. ctnetlink messages: linux/netfilter/nfnetlink_conntrack.h.
#include "proxy/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "proxy/nft_message.h"
#include "proxy/nft_socket.h"

namespace proxy {
namespace {

constexpr uint16_t kConntrack = NFNL_SUBSYS_CTNETLINK << 8;

struct Tuple {
  Ip source, destination;
  uint8_t protocol = 0;
  uint16_t source_port = 0, destination_port = 0;
};
Tuple parse_tuple(std::string_view bytes) {
  auto ip = [](std::string_view data) {
    uint32_t value = 0;
    if (data.size() == 4) std::memcpy(&value, data.data(), 4);
    return Ip::v4(ntohl(value));
  };
  auto port = [](std::string_view data) {
    uint16_t value = 0;
    if (data.size() == 2) std::memcpy(&value, data.data(), 2);
    return ntohs(value);
  };
  std::string_view addresses = find_attribute(bytes, CTA_TUPLE_IP);
  std::string_view proto = find_attribute(bytes, CTA_TUPLE_PROTO);
  std::string_view number = find_attribute(proto, CTA_PROTO_NUM);
  return {ip(find_attribute(addresses, CTA_IP_V4_SRC)), ip(find_attribute(addresses, CTA_IP_V4_DST)),
          static_cast<uint8_t>(number.empty() ? 0 : number[0]),
          port(find_attribute(proto, CTA_PROTO_SRC_PORT)), port(find_attribute(proto, CTA_PROTO_DST_PORT))};
}

}  // namespace

base::Result<size_t> remove_stale_udp(const std::set<Key>& services,
                                      const std::function<bool(const Key&, Ip, uint16_t)>& is_valid) {
  if (services.empty()) return size_t{0};
  base::UniqueFd fd = TRY(open_netfilter());
  std::vector<std::pair<std::string, std::string>> stale;  // original tuple, zone
  base::Status read;
  // A list that changed meanwhile may have missed an entry that moved.
  for (int attempt = 0; attempt < 3; ++attempt) {
    NetlinkBatch list;
    list.begin(kConntrack | IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_INET);
    list.end();
    stale.clear();
    read = dump_netfilter(fd.get(), list.bytes(), "list connections", [&](const char* at, size_t size) {
      std::string_view original = find_attribute({at, size}, CTA_TUPLE_ORIG);
      Tuple from = parse_tuple(original), back = parse_tuple(find_attribute({at, size}, CTA_TUPLE_REPLY));
      Key service{from.destination, from.protocol, from.destination_port};
      if (from.protocol != IPPROTO_UDP || !services.count(service)) return;
      if (is_valid(service, back.source, back.source_port)) return;
      stale.emplace_back(original, find_attribute({at, size}, CTA_ZONE));
    });
    if (read.ok() || read.error().kind != base::Kind::kConflict) break;
  }
  if (!read.ok()) return read.error();
  for (const auto& [tuple, zone] : stale) {
    NetlinkBatch remove;
    remove.begin(kConntrack | IPCTNL_MSG_CT_DELETE, NLM_F_ACK, AF_INET);
    remove.attributes().put(CTA_TUPLE_ORIG | NLA_F_NESTED, tuple);
    if (!zone.empty()) remove.attributes().put(CTA_ZONE, zone);
    remove.end();
    auto failures = TRY(send_netfilter(fd.get(), remove.bytes(), "remove connection"));
    if (!failures.empty() && failures[0].error != ENOENT)
      return base::sys::error_from_errno(failures[0].error, "remove UDP connection");
  }
  return stale.size();
}

}  // namespace proxy
