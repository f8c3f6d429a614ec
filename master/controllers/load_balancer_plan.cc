// Messages are MetalLB's where it has one.
#include "master/controllers/load_balancer_plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

#include "base/printable.h"

namespace master::controllers {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  while (!text.empty() && kBlank.find(text.front()) != text.npos) text.remove_prefix(1);
  while (!text.empty() && kBlank.find(text.back()) != text.npos) text.remove_suffix(1);
  return text;
}
// What a user wrote, as it may stand in a message: whole and on one line.
std::string shown(std::string_view text) { return base::printable_line(text, 80); }
std::optional<AddressRange> read_range(std::string_view text) {
  if (auto cidr = base::Cidr::parse_v4(text)) return AddressRange{cidr->first(), cidr->last()};
  size_t dash = text.find('-');
  if (dash == text.npos) return std::nullopt;
  auto first = base::Ip::parse_v4(trimmed(text.substr(0, dash))),
       last = base::Ip::parse_v4(trimmed(text.substr(dash + 1)));
  if (!first || !last || *last < *first) return std::nullopt;
  return AddressRange{*first, *last};
}
std::string text_of(const AddressRange& range) { return range.first.text() + "-" + range.last.text(); }
bool overlap(const AddressRange& a, const AddressRange& b) { return a.first <= b.last && b.first <= a.last; }

// No host's address in it: those would be refused by every proxy.
bool is_for_hosts(const AddressRange& range) {
  for (const char* none : {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"}) {
    auto cidr = *base::Cidr::parse_v4(none);
    if (overlap(range, {cidr.first(), cidr.last()})) return false;
  }
  return true;
}

// Ranges that lie apart, by their first address: an overlap is found beside where a range would stand.
template <typename Of>
class Apart {
 public:
  const std::pair<AddressRange, Of>* overlapping(const AddressRange& range) const {
    auto after = ranges_.upper_bound(range.last);
    if (after == ranges_.begin()) return nullptr;
    --after;
    return overlap(after->second.first, range) ? &after->second : nullptr;
  }
  void add(const AddressRange& range, Of of) {
    ranges_.emplace(range.first, std::pair(range, std::move(of)));
  }

 private:
  std::map<base::Ip, std::pair<AddressRange, Of>> ranges_;
};

// The pool that `text` describes, or why there is none.
std::optional<AddressPool> read_pool(const std::string& name, std::string_view text, std::string* why) {
  AddressPool pool{name, {}, true};
  Apart<bool> seen;
  constexpr std::string_view kAutoAssign = "auto-assign:";
  while (!text.empty()) {
    size_t end = text.find_first_of(",\n");
    std::string_view word = trimmed(text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    if (word.empty() || word.starts_with('#')) continue;
    if (word.starts_with(kAutoAssign)) {
      std::string_view value = trimmed(word.substr(kAutoAssign.size()));
      if (value != "true" && value != "false")
        return *why = fmt::format("auto-assign is true or false, not \"{}\"", shown(value)), std::nullopt;
      pool.auto_assign = value == "true";
      continue;
    }
    auto range = read_range(word);
    if (!range)
      return *why = fmt::format(
                 "\"{}\" is no range of IPv4 addresses: write it as 192.0.2.10-192.0.2.50 or "
                 "198.51.100.0/28",
                 shown(word)),
             std::nullopt;
    if (!is_for_hosts(*range))
      return *why = fmt::format("{} has addresses that no host may have", text_of(*range)), std::nullopt;
    if (auto other = seen.overlapping(*range))
      return *why =
                 fmt::format("{} overlaps with {} of the same pool", text_of(*range), text_of(other->first)),
             std::nullopt;
    seen.add(*range, true);
    pool.ranges.push_back(*range);
  }
  if (pool.ranges.empty()) return *why = "it has no addresses", std::nullopt;
  std::sort(pool.ranges.begin(), pool.ranges.end(),
            [](const AddressRange& a, const AddressRange& b) { return a.first < b.first; });
  return pool;
}

using Port = std::pair<std::string, int>;  // protocol, number
std::set<Port> ports_of(const Service& service) {
  std::set<Port> ports;
  for (const ServicePort& port : service.ports) ports.insert({port.protocol, port.port});
  return ports;
}

// Who has an address, and by which terms others may have it too.
struct Holders {
  std::string share, backend;
  std::map<Port, std::string> ports;  // -> Service
  std::set<std::string> services;
};

class FromPools {
 public:
  explicit FromPools(const BalancerWorld& world) : pools_(world.pools->pools) {
    for (const BalancerNode& node : world.nodes)
      for (const std::string& text : node.own)
        if (auto ip = base::Ip::parse_v4(text)) nodes_.insert(*ip);
    for (size_t i = 0; i < pools_.size(); ++i)
      for (const AddressRange& range : pools_[i].ranges) ranges_.emplace_back(range, i);
    std::sort(ranges_.begin(), ranges_.end(),
              [](const auto& a, const auto& b) { return a.first.first < b.first.first; });
  }

  // What the Service has, if it may keep it. Goes before all give().
  bool keep(const Service& service) {
    const Balancer& b = *service.balancer;
    if (b.condition_reason != kFromPool || b.ingress.size() != 1) return false;
    auto ip = base::Ip::parse_v4(b.ingress[0]);
    const AddressPool* pool = ip ? pool_of(*ip) : nullptr;
    std::string why;
    auto wanted = requested(service, &why);
    if (!pool || !why.empty() || (wanted && *wanted != *ip) || (!b.pool.empty() && b.pool != pool->name) ||
        !refusal(service, *ip).empty())
      return false;
    hold(service, *ip);
    return true;
  }
  // An address, or "" and why there is none.
  std::string give(const Service& service, std::string* why) {
    const Balancer& b = *service.balancer;
    auto wanted = requested(service, why);
    if (!why->empty()) return {};
    if (wanted) {
      const AddressPool* pool = pool_of(*wanted);
      if (!pool) return *why = fmt::format("[\"{}\"] is not allowed in config", wanted->text()), "";
      if (!b.pool.empty() && b.pool != pool->name)
        return *why = fmt::format(
                   "requested loadBalancer IP(s) [\"{}\"] is not compatible with requested "
                   "address pool {}",
                   wanted->text(), shown(b.pool)),
               "";
      if (nodes_.contains(*wanted))
        return *why = fmt::format("[\"{}\"] is an address of a node", wanted->text()), "";
      if (*why = refusal(service, *wanted); !why->empty()) return {};
      hold(service, *wanted);
      return wanted->text();
    }
    if (!b.pool.empty()) {
      auto pool = std::lower_bound(pools_.begin(), pools_.end(), b.pool,
                                   [](const auto& p, const std::string& name) { return p.name < name; });
      if (pool == pools_.end() || pool->name != b.pool)
        return *why = fmt::format("unknown pool \"{}\"", shown(b.pool)), "";
      if (auto ip = take(service, *pool)) return ip->text();
      return *why = fmt::format("no available IPs in pool \"{}\"", pool->name), "";
    }
    if (auto ip = take_of_any(service)) return ip->text();
    return *why = "no available IPs", "";
  }
  std::string name_of_pool(const std::string& ip) const { return pool_of(*base::Ip::parse_v4(ip))->name; }

 private:
  const AddressPool* pool_of(base::Ip ip) const {
    auto after = std::upper_bound(ranges_.begin(), ranges_.end(), ip,
                                  [](base::Ip at, const auto& range) { return at < range.first.first; });
    if (after == ranges_.begin() || std::prev(after)->first.last < ip) return nullptr;
    return &pools_[std::prev(after)->second];
  }
  static std::optional<base::Ip> requested(const Service& service, std::string* why) {
    const Balancer& b = *service.balancer;
    if (b.requested.empty()) return std::nullopt;
    auto ip = base::Ip::parse_v4(b.requested[0]);
    if (!ip) *why = fmt::format("invalid requested loadBalancer IP \"{}\"", shown(b.requested[0]));
    else if (b.requested.size() > 1) *why = "more than one loadBalancer IP of one family is requested";
    return ip;
  }
  // Why the Service may not have the address beside those who have it; "" when it may.
  std::string refusal(const Service& service, base::Ip ip) const {
    auto held = holders_.find(ip);
    if (held == holders_.end()) return {};
    const Holders& others = held->second;
    const Balancer& b = *service.balancer;
    if (others.share.empty() || b.share != others.share || b.backend != others.backend)
      // One of them: all of them would be much, and another text with each that comes or goes.
      return fmt::format("can't change sharing key for \"{}\", address also in use by {}", service.meta.key(),
                         *others.services.begin());
    for (const Port& port : ports_of(service))
      if (others.ports.contains(port))
        return fmt::format("port {}/{} is already in use on \"{}\"", port.first, port.second, ip.text());
    return {};
  }
  void hold(const Service& service, base::Ip ip) {
    const Balancer& b = *service.balancer;
    Holders& holders = holders_[ip];
    holders.share = b.share;
    holders.backend = b.backend;
    holders.services.insert(service.meta.key());
    for (const Port& port : ports_of(service)) holders.ports.emplace(port, service.meta.key());
    if (!b.share.empty()) shared_[b.share].insert(ip);
  }
  std::optional<base::Ip> take(const Service& service, const AddressPool& pool) {
    if (auto at = shared_.find(service.balancer->share); at != shared_.end())
      for (base::Ip ip : at->second)
        if (pool.contains(ip) && refusal(service, ip).empty()) return hold(service, ip), ip;
    if (auto ip = next_free(pool)) return hold(service, *ip), ip;
    return std::nullopt;
  }
  // Of the first pool that has one, shared before free.
  std::optional<base::Ip> take_of_any(const Service& service) {
    while (open_ < pools_.size() && !(pools_[open_].auto_assign && next_free(pools_[open_]))) ++open_;
    const AddressPool* first = open_ < pools_.size() ? &pools_[open_] : nullptr;
    std::optional<base::Ip> ip;
    if (auto at = shared_.find(service.balancer->share); at != shared_.end())
      for (base::Ip one : at->second) {
        const AddressPool* of = pool_of(one);  // pools lie in one array: earlier is less
        const bool earlier = !first || (ip ? of < first : of <= first);
        if (of && of->auto_assign && earlier && refusal(service, one).empty()) {
          ip = one;
          first = of;
        }
      }
    if (!ip && first) ip = next_free(*first);
    if (ip) hold(service, *ip);
    return ip;
  }
  // What is taken stays so for the whole plan: each address is looked at once.
  std::optional<base::Ip> next_free(const AddressPool& pool) {
    auto& [range, next] = cursors_.try_emplace(&pool, 0, pool.ranges[0].first).first->second;
    while (range < pool.ranges.size()) {
      if (!holders_.contains(next) && !nodes_.contains(next)) return next;
      if (next != pool.ranges[range].last) next = next.plus(1);
      else if (++range < pool.ranges.size()) next = pool.ranges[range].first;
    }
    return std::nullopt;
  }

  const std::vector<AddressPool>& pools_;
  std::set<base::Ip> nodes_;
  std::map<base::Ip, Holders> holders_;
  std::map<std::string, std::set<base::Ip>> shared_;
  std::map<const AddressPool*, std::pair<size_t, base::Ip>> cursors_;
  std::vector<std::pair<AddressRange, size_t>> ranges_;  // all, sorted, with the number of the pool
  size_t open_ = 0;                                      // no pool before it has a free address
};

// Where hosts are reached by those who mend them: no Service on the nodes' own addresses takes it away.
constexpr int kSshPort = 22;

// On the nodes' own addresses a port is one Service's.
class OnNodes {
 public:
  explicit OnNodes(const BalancerWorld& world) : world_(world) {}
  void keep(const Service& service) {
    if (service.balancer->condition_reason != kFromNodes || !refusal(service).empty()) return;
    for (const Port& port : ports_of(service)) holders_[port] = service.meta.key();
  }
  BalancerOutcome give(const Service& service) {
    const std::string key = service.meta.key();
    if (std::string why = refusal(service); !why.empty()) return {{}, kFailed, failed(key, why)};
    for (const Port& port : ports_of(service)) holders_[port] = key;
    BalancerOutcome out{{}, kFromNodes, "addresses of the nodes"};
    auto ready = world_.ready_on.find(key);
    for (const BalancerNode& node : world_.nodes)
      if (node.usable &&
          (!service.balancer->local || (ready != world_.ready_on.end() && ready->second.contains(node.name))))
        out.ips.insert(out.ips.end(), node.addresses.begin(), node.addresses.end());
    std::sort(out.ips.begin(), out.ips.end());
    out.ips.erase(std::unique(out.ips.begin(), out.ips.end()), out.ips.end());
    return out;
  }
  static std::string failed(const std::string& key, const std::string& why) {
    return fmt::format("Failed to allocate IP for \"{}\": {}", key, why);
  }

 private:
  std::string refusal(const Service& service) const {
    const Balancer& b = *service.balancer;
    if (!b.requested.empty() || !b.pool.empty())
      return "there is no address pool: ConfigMap kube-system/sampan-address-pools is where they are";
    for (const Port& port : ports_of(service)) {
      if (auto at = holders_.find(port); at != holders_.end() && at->second != service.meta.key())
        return fmt::format("port {}/{} of the nodes is already in use by {}", port.first, port.second,
                           at->second);
      if (port.first == "TCP" && world_.node_ports_in_use.contains(port.second))
        return fmt::format("port TCP/{} of the nodes is already in use by the node agent", port.second);
      if (port.first == "TCP" && port.second == kSshPort)
        return fmt::format("port TCP/{} of the nodes is their SSH server's: an address pool has others",
                           kSshPort);
    }
    return {};
  }
  const BalancerWorld& world_;
  std::map<Port, std::string> holders_;
};

}  // namespace

bool AddressPool::contains(base::Ip ip) const {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), ip,
                                [](base::Ip at, const AddressRange& range) { return at < range.first; });
  return after != ranges.begin() && ip <= std::prev(after)->last;
}

AddressPools read_pools(const std::map<std::string, std::string>& data,
                        const std::vector<base::Cidr>& taken) {
  AddressPools out;
  Apart<std::string> used;  // by which pool
  for (const auto& [name, text] : data) {
    std::string why;
    auto pool = read_pool(name, text, &why);
    for (size_t i = 0; pool && why.empty() && i < pool->ranges.size(); ++i) {
      const AddressRange& range = pool->ranges[i];
      for (const base::Cidr& cidr : taken)
        if (overlap(range, {cidr.first(), cidr.last()}))
          why = fmt::format("{} overlaps with {} of the cluster itself", text_of(range), cidr.text());
      if (auto other = used.overlapping(range))
        why = fmt::format("{} overlaps with {} of pool \"{}\"", text_of(range), text_of(other->first),
                          other->second);
    }
    if (pool && why.empty()) {
      for (const AddressRange& range : pool->ranges) used.add(range, name);
      out.pools.push_back(std::move(*pool));
    } else {
      out.errors.push_back(fmt::format("pool \"{}\" is not used: {}", name, why));
    }
  }
  return out;
}

std::string BalancerOutcome::text() const {
  return fmt::format("{}{}{} {}", fmt::join(ips, ","), ips.empty() ? "" : " ", reason, message);
}

std::map<std::string, BalancerOutcome> plan_load_balancers(const BalancerWorld& world) {
  std::map<std::string, BalancerOutcome> out;
  std::vector<const Service*> mine, wanting;
  for (const auto& service : world.services) {
    if (!service->balancer) continue;
    const Balancer& b = *service->balancer;
    // One that is going away keeps what it has until it is gone, and gets nothing new.
    if (b.served && (!service->meta.deleting || !b.ingress.empty())) mine.push_back(service.get());
    else if (!b.condition_reason.empty()) out[service->meta.key()] = {};  // was ours
  }
  std::sort(mine.begin(), mine.end(), [](const Service* a, const Service* b) {
    return std::tie(a->meta.created, a->meta.uid) < std::tie(b->meta.created, b->meta.uid);
  });
  if (world.pools) {
    FromPools from(world);
    auto given = [&](const Service& service, std::string ip) {
      std::string pool = from.name_of_pool(ip);
      out[service.meta.key()] = {{std::move(ip)}, kFromPool, "pool " + pool};
    };
    for (const Service* service : mine)
      if (from.keep(*service)) given(*service, service->balancer->ingress[0]);
      else wanting.push_back(service);
    // Who comes later may take an address that who came before can share; and who has it stands in the
    // reasons of those who don't.
    for (bool again = true; again;) {
      again = false;
      std::vector<const Service*> left;
      for (const Service* service : wanting) {
        std::string why, ip = from.give(*service, &why);
        if (ip.empty()) {
          left.push_back(service);
          out[service->meta.key()] = {{}, kFailed, OnNodes::failed(service->meta.key(), why)};
        } else {
          given(*service, std::move(ip));
          again = true;
        }
      }
      wanting = std::move(left);
    }
    return out;
  }
  OnNodes on(world);
  for (const Service* service : mine) on.keep(*service);  // who has its ports, before who wants them
  for (const Service* service : mine) out[service->meta.key()] = on.give(*service);
  return out;
}

}  // namespace master::controllers
