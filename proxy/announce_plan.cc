// See announce_plan.h.
#include "proxy/announce_plan.h"

#include <algorithm>

namespace proxy {

bool Heartbeats::heard(const std::string& node, const std::string& renewed, bool released) {
  auto [at, is_new] = nodes_.try_emplace(node);
  Node& known = at->second;
  if (!is_new && known.renewed == renewed && known.released == released) return false;
  const bool changed = is_new || known.released != released || beats_ - known.at >= kMissed || node == self_;
  known.renewed = renewed;
  known.released = released;
  if (node == self_) ++beats_;
  known.at = beats_;
  return changed;
}
std::set<std::string> Heartbeats::live() const {
  std::set<std::string> out;
  for (const auto& [name, node] : nodes_)
    if (!node.released && beats_ - node.at < kMissed) out.insert(name);
  return out;
}

std::chrono::milliseconds heartbeat_period(size_t announcers) {
  constexpr size_t kAtOnce = 16;
  return std::chrono::milliseconds(200 * std::max<size_t>(1, (announcers + kAtOnce - 1) / kAtOnce));
}

Announced announced_by(const Service& service, const std::vector<const EndpointSlice*>& slices) {
  Announced out;
  if (service.announced_ips.empty() || !service.rules) return out;
  std::optional<std::set<std::string>> among;
  if (service.external_local) {
    // As traffic is sent: ready ones, and where there is none those that still serve.
    std::set<std::string> ready, ending;
    for (const EndpointSlice* slice : slices)
      for (const Endpoint& endpoint : slice->endpoints) {
        if (endpoint.node.empty()) continue;
        if (endpoint.ready) ready.insert(endpoint.node);
        else if (endpoint.serving && endpoint.terminating) ending.insert(endpoint.node);
      }
    among = ready.empty() ? std::move(ending) : std::move(ready);
  }
  for (const std::string& text : service.announced_ips)
    if (auto ip = base::Ip::parse_v4(text); ip && !is_special(*ip)) out[*ip] = among;
  return out;
}

namespace {
uint64_t weight(const std::string& node, base::Ip address) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, and splitmix64's end: names differ in their last letter
  for (unsigned char c : node) hash = (hash ^ c) * 0x100000001b3;
  hash ^= address.hash();
  hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
  return hash ^ hash >> 31;
}
}  // namespace

std::optional<std::string> announcer_of(base::Ip address, const std::optional<std::set<std::string>>& among,
                                        const std::set<std::string>& live) {
  std::optional<std::pair<uint64_t, std::string>> best;
  for (const std::string& node : live) {
    if (among && !among->contains(node)) continue;
    std::pair<uint64_t, std::string> one{weight(node, address), node};
    if (!best || *best < one) best = std::move(one);
  }
  return best ? std::optional(best->second) : std::nullopt;
}
std::set<base::Ip> plan_announcements(const Announced& wanted, const std::set<std::string>& live,
                                      const std::string& self) {
  std::set<base::Ip> mine;
  for (const auto& [address, among] : wanted)
    if (announcer_of(address, among, live) == self) mine.insert(address);
  return mine;
}

}  // namespace proxy
