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

// A list that changed meanwhile may have missed an entry that moved.
base::Status list_connections(int fd, const std::function<void()>& begin,
                              const std::function<void(std::string_view)>& each) {
  base::Status read;
  for (int attempt = 0; attempt < 3; ++attempt) {
    NetlinkBatch list;
    list.begin(kConntrack | IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_INET);
    list.end();
    begin();
    read = dump_netfilter(fd, list.bytes(), "list connections", [&](const char* at, size_t size) {
      each({at, size});
    });
    if (read.ok() || read.error().kind != base::Kind::kConflict) break;
  }
  return read;
}

}  // namespace

base::Result<size_t> remove_stale_udp(const std::set<Key>& services,
                                      const std::function<bool(const Key&, Ip, uint16_t)>& is_valid) {
  if (services.empty()) return size_t{0};
  base::UniqueFd fd = TRY(open_netfilter());
  std::vector<std::pair<std::string, std::string>> stale;  // original tuple, zone
  TRY(list_connections(
      fd.get(), [&] { stale.clear(); },
      [&](std::string_view entry) {
        std::string_view original = find_attribute(entry, CTA_TUPLE_ORIG);
        Tuple from = parse_tuple(original), back = parse_tuple(find_attribute(entry, CTA_TUPLE_REPLY));
        Key service{from.destination, from.protocol, from.destination_port};
        if (from.protocol != IPPROTO_UDP || !services.count(service)) return;
        if (is_valid(service, back.source, back.source_port)) return;
        stale.emplace_back(original, find_attribute(entry, CTA_ZONE));
      }));
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

base::Result<Judged> judge_connections(const std::function<bool(const Packet&)>& allows) {
  base::UniqueFd fd = TRY(open_netfilter());
  struct Change {
    std::string tuple, zone;
    bool deny;
  };
  std::vector<Change> changes;
  Judged out;
  TRY(list_connections(
      fd.get(), [&] { changes.clear(), out = {}; },
      [&](std::string_view entry) {
        std::string_view original = find_attribute(entry, CTA_TUPLE_ORIG);
        std::string_view mark = find_attribute(entry, CTA_MARK);
        Tuple from = parse_tuple(original), back = parse_tuple(find_attribute(entry, CTA_TUPLE_REPLY));
        uint32_t bits = 0;
        if (mark.size() == sizeof bits) std::memcpy(&bits, mark.data(), sizeof bits);
        const bool was = (ntohl(bits) & kDeniedConnection) != 0;
        const bool deny = !allows({from.source, back.source, from.protocol, back.source_port});
        out.denied += deny;
        if (deny != was)
          changes.push_back({std::string(original), std::string(find_attribute(entry, CTA_ZONE)), deny});
      }));
  out.changed = changes.size();
  for (const Change& change : changes) {
    NetlinkBatch batch;
    batch.begin(kConntrack | IPCTNL_MSG_CT_NEW, NLM_F_ACK, AF_INET);
    Attributes at = batch.attributes();
    at.put(CTA_TUPLE_ORIG | NLA_F_NESTED, change.tuple);
    if (!change.zone.empty()) at.put(CTA_ZONE, change.zone);
    at.put_u32(CTA_MARK, change.deny ? kDeniedConnection : 0);
    at.put_u32(CTA_MARK_MASK, kDeniedConnection);
    batch.end();
    auto failures = TRY(send_netfilter(fd.get(), batch.bytes(), "mark connection"));
    if (!failures.empty() && failures[0].error != ENOENT)
      return base::sys::error_from_errno(failures[0].error, "mark connection", {},
                                         "the kernel needs CONFIG_NF_CONNTRACK_MARK");
  }
  return out;
}

}  // namespace proxy
