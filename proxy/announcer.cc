// See announcer.h.
#include "proxy/announcer.h"

#include "base/log.h"

namespace proxy {
namespace {

using namespace std::chrono_literals;
constexpr const char* kLeaseNamespace = "kube-system";
constexpr const char* kLeaseLabel = "sampan.io/announcer";
constexpr int kLeaseSeconds = 1;  // the least that the API knows; what counts is in announce_plan.h
constexpr auto kGatherTouches = 2ms;
// A switch or a host that was busy hears it at the latest by the third.
constexpr base::Duration kRepeats[] = {100ms, 900ms};
constexpr auto kOutOfTouch = 1s;

std::string lease_name(const std::string& node) { return "sampan-announcer-" + node; }

}  // namespace

Announcer::Announcer(base::Loop& loop, std::shared_ptr<api::Transport> transport, const Cluster& cluster,
                     std::string node_name)
    : loop_(loop), client_(std::move(transport), "sampan-proxy"), cluster_(cluster),
      node_name_(std::move(node_name)), heartbeats_(node_name_), arp_(loop, [this](base::Ip ip) {
        // Who is out of touch with the master does not argue with who is in.
        if (std::chrono::steady_clock::now() - last_own_ < kOutOfTouch) return;
        base::log::warning(
            "another node has {}, and the master has not heard of this one for a second: "
            "no longer announced",
            ip.text());
        yielded_.insert(ip);
        schedule();
      }) {}

void Announcer::touch(const std::string& key) {
  const Service* service = cluster_.service(key);
  Announced now = service ? announced_by(*service, cluster_.slices(key)) : Announced();
  auto had = by_service_.find(key);
  if (had == by_service_.end() ? now.empty() : had->second == now) return;
  if (now.empty()) by_service_.erase(had);
  else by_service_[key] = std::move(now);
  wanted_.clear();
  for (const auto& [service_key, addresses] : by_service_)
    for (const auto& [ip, among] : addresses) {
      // Those who share an address have the same Pods, or any node does.
      auto [at, is_new] = wanted_.try_emplace(ip, among);
      if (!is_new && at->second && among) at->second->insert(among->begin(), among->end());
      else if (!is_new && among) at->second = among;
    }
  schedule();
}
void Announcer::set_node(const Node& node) {
  if (node.name != node_name_) return;
  auto ip = node.addresses.empty() ? std::nullopt : base::Ip::parse_v4(node.addresses[0]);
  const bool changed = willing_ != node.announces || (ip && *ip != node_ip_);
  willing_ = node.announces;
  node_uid_ = node.uid;
  if (ip && *ip != node_ip_) {
    node_ip_ = *ip;
    arp_.close();
  }
  if (changed) schedule();
}
void Announcer::start() {
  started_ = true;
  schedule();
}
void Announcer::schedule() {
  if (started_ && !soon_.active()) soon_ = loop_.after(kGatherTouches, [this] { plan(); });
}

void Announcer::plan() {
  if (wanted_.empty()) {
    leases_.reset();
    beat_.cancel();
    again_.cancel();
    arp_.close();
    mine_.clear();
    return;
  }
  if (!leases_) watch_leases();
  if (!beat_.active()) beat();
  std::set<base::Ip> mine = plan_announcements(wanted_, heartbeats_.live(), node_name_);
  for (base::Ip ip : yielded_) mine.erase(ip);
  if (mine == mine_ && (mine.empty() || arp_.is_open())) return;
  std::map<base::Ip, int> fresh;
  const bool was_open = arp_.is_open();
  if (!mine.empty() && !was_open) open_link();
  for (base::Ip ip : mine)
    if (!mine_.contains(ip) || !was_open) fresh[ip] = 0;
  for (base::Ip ip : mine_)
    if (!mine.contains(ip)) base::log::info("no longer announcing {}", ip.text());
  mine_ = std::move(mine);
  arp_.set(mine_);
  for (const auto& [ip, round] : fresh) base::log::info("announcing {}", ip.text());
  if (!fresh.empty()) announce_again(std::move(fresh));
}
void Announcer::announce_again(std::map<base::Ip, int> rounds) {
  if (!arp_.is_open()) return;
  std::map<base::Ip, int> left;
  int round = 0;
  for (const auto& [ip, done] : rounds) {
    if (!mine_.contains(ip)) continue;
    if (auto status = arp_.announce(ip); !status.ok()) {
      base::log::warning("{}", status.error().message());
      return arp_.close();
    }
    round = done;
    if (done < static_cast<int>(std::size(kRepeats))) left[ip] = done + 1;
  }
  if (!left.empty())
    again_ = loop_.after(kRepeats[round], [this, left = std::move(left)] { announce_again(left); });
}

// The link that has the node's address: what clients beside it reach.
void Announcer::open_link() {
  auto link = netns::link_with_address(node_ip_);
  base::Status status;
  if (!link.ok()) status = link.error();
  else if (!*link)
    status = base::make_error(base::Kind::kNotFound, "find link", node_ip_.text(), "no link has this address",
                              "it is the node's InternalIP: see --node-ip of its kubelet");
  else status = arp_.open((*link)->index, (*link)->mac);
  if (!status.ok()) base::log::warning("announce load balancers: {}", status.error().message());
}

void Announcer::watch_leases() {
  leases_ = std::make_unique<api::Informer>(
      loop_, client_.transport(),
      api::Informer::Options{api::resources::leases, kLeaseNamespace, std::string(kLeaseLabel) + "=true", ""},
      [this](api::Informer::Change change, const base::json::value& object) {
        // One that vanished with the master's memory comes back, or falls silent.
        if (change == api::Informer::Change::kDeleted) return;
        std::string_view name = base::string_at(object, "metadata", "name");
        constexpr std::string_view kPrefix = "sampan-announcer-";
        if (!name.starts_with(kPrefix)) return;
        const std::string node(name.substr(kPrefix.size()));
        if (node == node_name_) {
          const auto now = std::chrono::steady_clock::now();
          // Others may have had our addresses meanwhile, and the link may know them there.
          if (now - last_own_ > kOutOfTouch) {
            std::map<base::Ip, int> again;
            for (base::Ip ip : mine_) again[ip] = 0;
            if (!again.empty()) announce_again(std::move(again));
          }
          last_own_ = now;
          yielded_.clear();
        }
        if (heartbeats_.heard(node, std::string(base::string_at(object, "spec", "renewTime")),
                              base::string_at(object, "spec", "holderIdentity") != node))
          schedule();
      });
  leases_->start();
}
void Announcer::beat() {
  beat_ = loop_.after(heartbeat_period(heartbeats_.known()), [this] { beat(); });
  if (!renewing_) renew();
  if (!mine_.empty() && !arp_.is_open()) plan();
}
base::json::value Announcer::holder() const {
  return willing_ ? base::json::value(node_name_) : base::json::value();
}
void Announcer::renew() {
  renewing_ = true;
  client_.patch(
      api::resources::leases, kLeaseNamespace, lease_name(node_name_), "merge",
      base::json::object{
          {"spec", {{"holderIdentity", holder()}, {"renewTime", base::format_micro_time(base::wall_now())}}}},
      [this](base::Result<base::json::value> result) {
        renewing_ = false;
        if (!result.ok() && result.error().kind == base::Kind::kNotFound) create();
        else if (!result.ok()) base::log::debug("renew Lease: {}", result.error().message());
      });
}
void Announcer::create() {
  renewing_ = true;
  base::json::object metadata{{"name", lease_name(node_name_)}, {"labels", {{kLeaseLabel, "true"}}}};
  if (!node_uid_.empty())  // goes with its node
    metadata["ownerReferences"] = base::json::array{
        base::json::object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node_name_}, {"uid", node_uid_}}};
  client_.create(api::resources::leases, kLeaseNamespace,
                 base::json::object{{"apiVersion", "coordination.k8s.io/v1"},
                                    {"kind", "Lease"},
                                    {"metadata", std::move(metadata)},
                                    {"spec",
                                     {{"holderIdentity", holder()},
                                      {"leaseDurationSeconds", kLeaseSeconds},
                                      {"renewTime", base::format_micro_time(base::wall_now())}}}},
                 [this](base::Result<base::json::value> result) {
                   renewing_ = false;
                   if (!result.ok())
                     base::log::warning("make the Lease of this announcer: {}", result.error().message());
                 });
}

}  // namespace proxy
