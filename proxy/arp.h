// ARP (RFC 826) for addresses that are nobody's on the link: what is answered is pure, and a raw socket on
// one link that answers. The addresses are on no link of the node: its own sockets, routes and choice of
// source addresses don't change, and with this process the answers end, so that another node's are not
// contradicted.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/loop.h"
#include "base/result.h"

namespace proxy {

using Mac = std::array<uint8_t, 6>;

struct ArpMessage {
  bool is_request = false;
  Mac sender_mac{}, target_mac{};
  base::Ip sender, target;
};
constexpr size_t kArpBytes = 28;
std::optional<ArpMessage> parse_arp(std::string_view bytes);  // Ethernet and IPv4 alone
std::string encode_arp(const ArpMessage& message);
// The answer of who has `addresses`, if it is one of them that is asked for.
std::optional<ArpMessage> arp_answer(const ArpMessage& asked, const std::set<base::Ip>& addresses,
                                     const Mac& own);
// What all on the link are to learn: as a request and as an answer, since hosts differ in which they take.
std::vector<ArpMessage> arp_announcement(base::Ip address, const Mac& own);

class ArpResponder {
 public:
  // `claimed`: another link address says that it has one of the addresses.
  ArpResponder(base::Loop& loop, std::function<void(base::Ip)> claimed)
      : loop_(loop), claimed_(std::move(claimed)) {}
  base::Status open(int link_index, const Mac& own);
  void close();
  bool is_open() const { return static_cast<bool>(fd_); }
  void set(std::set<base::Ip> addresses) { addresses_ = std::move(addresses); }
  base::Status announce(base::Ip address);
  uint64_t answered() const { return answered_; }

 private:
  void read();
  base::Status send(const ArpMessage& message, const Mac& to);

  base::Loop& loop_;
  std::function<void(base::Ip)> claimed_;
  std::set<base::Ip> addresses_;
  Mac own_{};
  int link_index_ = 0;
  uint64_t answered_ = 0;
  base::UniqueFd fd_;
  base::Loop::Handle watch_;
};

}  // namespace proxy
