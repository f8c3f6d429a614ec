// See policer.h.
#include "proxy/policer.h"

#include <malloc.h>
#include <sys/epoll.h>

#include <algorithm>

#include "base/log.h"
#include "netns/netns.h"
#include "proxy/conntrack.h"

namespace proxy {
namespace {

using namespace std::chrono_literals;
using Change = api::Informer::Change;
constexpr auto kPolicyGather = 1ms;  // a Pod's link and its object come close together
constexpr auto kFirstPolicyRetry = 50ms;
constexpr auto kLastPolicyRetry = 30s;
constexpr auto kBetweenSweeps = 1s;  // Pods come and go; connections may be many
const api::Resource kPolicies{"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"};

std::string name_at(const base::json::value& object, bool namespaced = true) {
  std::string name(base::string_at(object, "metadata", "name"));
  return namespaced ? std::string(base::string_at(object, "metadata", "namespace")) + "/" + name : name;
}

}  // namespace

Policer::Policer(base::Loop& loop, std::shared_ptr<api::Transport> transport, const std::string& table,
                 std::string node_name)
    : loop_(loop), transport_(std::move(transport)), name_(table_name(table)), nft_({name_, {}, {}, {}}),
      node_name_(std::move(node_name)) {
  table_.set_node(node_name_, std::nullopt);
}

base::Status Policer::open() { return nft_.open(); }

void Policer::start() {
  interference_ = loop_.watch(nft_.watch_fd(), EPOLLIN, [this](uint32_t) { on_interference(); });
  policies_ = std::make_unique<api::Informer>(
      loop_, *transport_, api::Informer::Options{kPolicies, "", "", ""},
      [this](Change change, const base::json::value& object) {
        if (change == Change::kDeleted) table_.remove_policy(name_at(object));
        else table_.set_policy(policy_from(object));
        if (policies_synced_) schedule(kPolicyGather);
      },
      [this] {
        policies_synced_ = true;
        schedule(0ms);
      });
  policies_->start();
}

void Policer::set_node(const Node& node) {
  if (node.name != node_name_) return;
  node_ = node;
  table_.set_node(node_name_, node.pod_cidr);
  schedule(kPolicyGather);
}

void Policer::follow() {
  if (pods_) return;
  base::log::info("{} NetworkPolicies: following Pods and Namespaces", table_.policies());
  auto watched = netns::watch_links();
  if (watched.ok()) {
    links_fd_ = std::move(watched).value();
    links_ = loop_.watch(links_fd_.get(), EPOLLIN, [this](uint32_t) {
      netns::drain_links(links_fd_.get());
      links_changed_ = true;
      schedule(kPolicyGather);
    });
  } else {
    // Without news every round looks itself.
    base::log::warning("{}", watched.error().message());
  }
  links_changed_ = true;
  namespaces_ = std::make_unique<api::Informer>(
      loop_, *transport_, api::Informer::Options{api::resources::namespaces, "", "", ""},
      [this](Change change, const base::json::value& object) {
        table_.set_namespace(name_at(object, false),
                             change == Change::kDeleted ? std::nullopt : std::optional(labels_from(object)));
        schedule(kPolicyGather);
      },
      [this] {
        namespaces_synced_ = true;
        schedule(0ms);
      });
  pods_ = std::make_unique<api::Informer>(
      loop_, *transport_, api::Informer::Options{api::resources::pods, "", "", ""},
      [this](Change change, const base::json::value& object) {
        table_.set_pod(name_at(object), change == Change::kDeleted ? std::nullopt : policy_pod_from(object));
        schedule(kPolicyGather);
      },
      [this] {
        pods_synced_ = true;
        schedule(0ms);
      });
  namespaces_->start();
  pods_->start();
}

// Nobody isolates anybody any more: back to no cost at all.
void Policer::forget() {
  pods_.reset();
  namespaces_.reset();
  links_.cancel();
  links_fd_.reset();
  sweep_.cancel();
  pods_synced_ = namespaces_synced_ = false;
  table_.forget_pods();
  ::malloc_trim(0);
  counters_.denied_connections = 0;
}

// The first of several wishes counts.
void Policer::schedule(base::Duration delay) {
  const auto due = std::chrono::steady_clock::now() + delay;
  if (next_.active() && next_due_ <= due) return;
  next_due_ = due;
  next_ = loop_.after(delay, [this] { round(); });
}

void Policer::round() {
  if (!policies_synced_) return;
  base::Status status = converge();
  if (status.ok()) {
    counters_.last_error.clear();
    failed_in_a_row_ = 0;
    return;
  }
  ++counters_.failures;
  counters_.last_error = status.error().message();
  auto delay =
      std::min<base::Duration>(kFirstPolicyRetry * (1 << std::min(failed_in_a_row_++, 12)), kLastPolicyRetry);
  base::log::warning("{}; again in {} ms", counters_.last_error,
                     std::chrono::duration_cast<std::chrono::milliseconds>(delay).count());
  reload_ = true;  // what the kernel has is not known
  schedule(delay);
}

base::Status Policer::converge() {
  if (table_.empty()) {
    if (checked_ && !in_force_ && !closed_) return {};
    TRY(nft_.remove_table());
    checked_ = true;
    if (in_force_) base::log::info("no NetworkPolicy any more: removed table ip {}", name_);
    in_force_ = closed_ = reload_ = false;
    forget();
    return {};
  }
  follow();
  if (!ready()) {
    // What an earlier life left stays until all is known. Where there is nothing, as after the host's start,
    // nobody is let through meanwhile that would be judged by nothing.
    if (checked_ || !node_.pod_cidr) return {};
    if (!TRY(netns::nft_table_exists(name_))) {
      PolicyTable nobody;
      nobody.set_node(node_name_, node_.pod_cidr);
      (void)nobody.converge();
      TRY(nft_.load(nobody.text(name_)));
      closed_ = true;
    }
    checked_ = true;
    return {};
  }
  checked_ = true;
  if (links_changed_ || !links_fd_) TRY(read_links());
  PolicyTable::Changes changes = table_.converge();
  ++counters_.rounds;
  if (changes.structure || reload_ || !in_force_) {
    TRY(nft_.load(table_.text(name_)));
    ++counters_.loads;
    base::log::info("loaded table ip {}: {} policies, {} elements", name_, table_.policies(),
                    table_.elements());
    in_force_ = true;
    ::malloc_trim(0);  // the list of all Pods
    reload_ = closed_ = false;
    sweep_.cancel();
    sweep();
    return {};
  }
  if (changes.actions.empty()) return {};
  TRY(nft_.send(encode(name_, changes.actions),
                [&](size_t action) { return changes.actions[action].text(); }));
  counters_.actions += changes.actions.size();
  if (base::log::enabled(base::log::Level::kDebug))
    for (const PolicyAction& action : changes.actions) base::log::debug("{}", action.text());
  if (changes.takes_away || counters_.denied_connections > 0) sweep_soon();
  return {};
}

base::Status Policer::read_links() {
  std::map<std::string, Ip> links;
  for (netns::PodAddress& pod : TRY(netns::pod_links())) links.emplace(std::move(pod.host_name), pod.address);
  links_changed_ = false;
  table_.set_links(std::move(links));
  return {};
}

void Policer::sweep_soon() {
  if (sweep_.active()) return;
  const auto wait = swept_ + kBetweenSweeps - std::chrono::steady_clock::now();
  sweep_ = loop_.after(std::max<base::Duration>(wait, 0ms), [this] { sweep(); });
}

// Established connections as the policies of now say.
void Policer::sweep() {
  std::set<Ip> own;  // the node itself reaches its Pods
  for (const auto* list : {&node_.addresses, &node_.other_addresses})
    for (const std::string& text : *list)
      if (auto ip = Ip::parse_v4(text)) own.insert(*ip);
  own.insert(node_.pod_cidr->first().plus(1));  // the bridge's
  auto judged = judge_connections([&](const Packet& packet) {
    return own.contains(packet.source) || own.contains(packet.destination) || table_.allows(packet);
  });
  swept_ = std::chrono::steady_clock::now();
  ++counters_.sweeps;
  if (!judged.ok()) {
    base::log::warning("{}; again in 1000 ms", judged.error().message());
    return sweep_soon();
  }
  if (judged->changed)
    base::log::info("{} established connections judged anew, {} are denied", judged->changed, judged->denied);
  counters_.denied_connections = judged->denied;
}

void Policer::on_interference() {
  // Our own removal of the table is told, too.
  if (nft_.read_interference() == Nftables::Interference::kNone || !in_force_) return;
  ++counters_.interferences;
  base::log::warning("somebody else changed our nftables table ip {}; loading it anew", name_);
  reload_ = true;
  schedule(kPolicyGather);
}

}  // namespace proxy
