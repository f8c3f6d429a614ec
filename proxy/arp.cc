// See arp.h.
#include "proxy/arp.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace proxy {
namespace {

constexpr Mac kEverybody = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr std::string_view kHead("\0\1\x08\0\6\4\0",
                                 7);  // Ethernet, IPv4, lengths, first half of the operation

base::Ip arp_ip_at(const char* bytes) {
  const auto* b = reinterpret_cast<const uint8_t*>(bytes);
  return base::Ip::v4(b[0], b[1], b[2], b[3]);
}
void append_ip(std::string& to, base::Ip ip) {
  const auto bytes = ip.bytes();
  to.append(reinterpret_cast<const char*>(bytes.data()) + 12, 4);
}

}  // namespace

std::optional<ArpMessage> parse_arp(std::string_view bytes) {
  // A frame is padded to its least size; what is in front is of fixed length.
  if (bytes.size() < kArpBytes || !bytes.starts_with(kHead) || (bytes[7] != 1 && bytes[7] != 2))
    return std::nullopt;
  ArpMessage out;
  out.is_request = bytes[7] == 1;
  std::memcpy(out.sender_mac.data(), bytes.data() + 8, 6);
  out.sender = arp_ip_at(bytes.data() + 14);
  std::memcpy(out.target_mac.data(), bytes.data() + 18, 6);
  out.target = arp_ip_at(bytes.data() + 24);
  return out;
}
std::string encode_arp(const ArpMessage& message) {
  std::string out(kHead);
  out += message.is_request ? '\1' : '\2';
  out.append(reinterpret_cast<const char*>(message.sender_mac.data()), 6);
  append_ip(out, message.sender);
  out.append(reinterpret_cast<const char*>(message.target_mac.data()), 6);
  append_ip(out, message.target);
  return out;
}
std::optional<ArpMessage> arp_answer(const ArpMessage& asked, const std::set<base::Ip>& addresses,
                                     const Mac& own) {
  // Who has the address announces it; he is not asking for it.
  if (!asked.is_request || asked.sender == asked.target || asked.sender_mac == own ||
      !addresses.contains(asked.target))
    return std::nullopt;
  return ArpMessage{false, own, asked.sender_mac, asked.target, asked.sender};
}
std::vector<ArpMessage> arp_announcement(base::Ip address, const Mac& own) {
  return {{true, own, {}, address, address}, {false, own, kEverybody, address, address}};
}

base::Status ArpResponder::open(int link_index, const Mac& own) {
  close();
  base::UniqueFd fd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::sys::last_error("open packet socket");
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ARP);
  at.sll_ifindex = link_index;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0)
    return base::sys::last_error("listen to ARP", "link " + std::to_string(link_index));
  fd_ = std::move(fd);
  link_index_ = link_index;
  own_ = own;
  watch_ = loop_.watch(fd_.get(), EPOLLIN, [this](uint32_t) { read(); });
  return {};
}
void ArpResponder::close() {
  watch_ = {};
  fd_ = {};
}

void ArpResponder::read() {
  char buffer[256];
  for (int i = 0; i < 256; ++i) {  // then others' turn
    sockaddr_ll from{};
    socklen_t size = sizeof from;
    ssize_t n = ::recvfrom(fd_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      if (errno != EAGAIN) close();  // the link went away or down: opened again by the next heartbeat
      return;
    }
    if (from.sll_pkttype == PACKET_OUTGOING) continue;
    auto message = parse_arp({buffer, static_cast<size_t>(n)});
    if (!message) continue;
    if (addresses_.contains(message->sender) && message->sender_mac != own_) claimed_(message->sender);
    if (auto answer = arp_answer(*message, addresses_, own_)) {
      ++answered_;
      base::ignore(send(*answer, message->sender_mac), "who asks asks again");
    }
  }
}
base::Status ArpResponder::send(const ArpMessage& message, const Mac& to) {
  if (!fd_)
    return base::make_error(base::Kind::kUnavailable, "send ARP", message.sender.text(), "the link is down");
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ARP);
  at.sll_ifindex = link_index_;
  at.sll_halen = 6;
  std::memcpy(at.sll_addr, to.data(), to.size());
  std::string bytes = encode_arp(message);
  if (::sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&at), sizeof at) < 0)
    return base::sys::last_error("send ARP", message.sender.text());
  return {};
}
base::Status ArpResponder::announce(base::Ip address) {
  for (const ArpMessage& message : arp_announcement(address, own_)) TRY(send(message, kEverybody));
  return {};
}

}  // namespace proxy
