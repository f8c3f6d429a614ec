// Which node answers for the address of a load balancer: pure. Every node's proxy decides the same from the
// same values: the live one of the greatest hash of node and address (rendezvous hashing: when one goes, only
// its addresses move). Who lives is told by Leases, and counted in our own: one is dead when three of ours
// came back through the watch and none of its. So a master or a watch that stalls is nobody's death, no clock
// of another node counts, and while nothing is heard everything stays as it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "proxy/service_plan.h"

namespace proxy {

class Heartbeats {
 public:
  explicit Heartbeats(std::string self) : self_(std::move(self)) {}
  // A Lease as it is now: what it was renewed with, whatever that is; `released`: its node wants no address.
  // True when it may matter to who lives.
  bool heard(const std::string& node, const std::string& renewed, bool released);
  std::set<std::string> live() const;
  size_t known() const { return nodes_.size(); }  // the dead too
  uint64_t own_beats() const { return beats_; }
  static constexpr uint64_t kMissed = 3;

 private:
  struct Node {
    std::string renewed;
    uint64_t at = 0;  // our own beats then
    bool released = false;
  };
  std::string self_;
  uint64_t beats_ = 0;
  std::map<std::string, Node> nodes_;
};

// How long between two heartbeats: with many announcers longer, since each hears all others'.
std::chrono::milliseconds heartbeat_period(size_t announcers);

// An address and the nodes that may answer for it; nothing: any.
using Announced = std::map<base::Ip, std::optional<std::set<std::string>>>;
// Of one Service.
Announced announced_by(const Service& service, const std::vector<const EndpointSlice*>& slices);
std::optional<std::string> announcer_of(base::Ip address, const std::optional<std::set<std::string>>& among,
                                        const std::set<std::string>& live);
std::set<base::Ip> plan_announcements(const Announced& wanted, const std::set<std::string>& live,
                                      const std::string& self);

}  // namespace proxy
