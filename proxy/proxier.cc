// See proxier.h.
#include "proxy/proxier.h"

#include <netinet/in.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "proxy/conntrack.h"

namespace proxy {
namespace {

using namespace std::chrono_literals;
constexpr auto kGather = 2ms;       // events of one change come close together
constexpr auto kSlowResync = 5min;  // the net below: somebody changed our table by hand
constexpr auto kFirstRetry = 50ms;
constexpr auto kLastRetry = 30s;

}  // namespace

Proxier::Proxier(base::Loop& loop, Nftables& nft, std::string node_name, Reserved reserved)
    : loop_(loop), nft_(nft), reserved_(std::move(reserved)) {
  node_.name = std::move(node_name);
}

void Proxier::set_service(Service service) {
  std::string key = service.ns + "/" + service.name;
  cluster_.set_service(std::move(service));
  touch(key);
}
void Proxier::remove_service(const std::string& ns, const std::string& name) {
  cluster_.remove_service(ns, name);
  touch(ns + "/" + name);
}
void Proxier::set_slice(EndpointSlice slice) { follow_api(cluster_.set_slice(std::move(slice))); }
void Proxier::remove_slice(const std::string& ns, const std::string& name) {
  follow_api(cluster_.remove_slice(ns, name));
}
void Proxier::set_pod(const std::string& ns, const std::string& name, std::optional<LocalPod> pod) {
  const std::string key = "pod " + ns + "/" + name;
  if (!pod && !pods_.erase(key)) return;
  if (pod) pods_[key] = std::move(*pod);
  touch(key);
}
void Proxier::set_node(Node node) {
  if (node.name != node_.name || node == node_) return;
  node_ = std::move(node);
  touch_all();
}
// Where the API server is, no other Service may be.
void Proxier::follow_api(const std::set<std::string>& changed) {
  for (const std::string& key : changed) touch(key);
  constexpr const char* kApi = "default/kubernetes";
  if (!changed.contains(kApi)) return;
  std::set<std::pair<Ip, uint16_t>> api;
  for (const EndpointSlice* slice : cluster_.slices(kApi))
    for (const Endpoint& endpoint : slice->endpoints)
      for (const std::string& text : endpoint.addresses)
        for (const EndpointPort& port : slice->ports)
          if (auto ip = Ip::parse_v4(text)) api.insert({*ip, port.port});
  if (api == reserved_.api) return;
  reserved_.api = std::move(api);
  touch_all();
}
void Proxier::touch_all() {
  for (const auto& [key, service] : cluster_.services()) touch(key);
  for (const auto& [key, pod] : pods_) touch(key);
}
void Proxier::start() {
  started_ = true;
  interference_ = loop_.watch(nft_.watch_fd(), EPOLLIN, [this](uint32_t) { on_interference(); });
  schedule(0ms);
}
void Proxier::resync() {
  resync_ = true;
  schedule(0ms);
}

void Proxier::touch(const std::string& key) {
  if (on_touch) on_touch(key);
  dirty_.insert(key);
  if (!next_.active()) schedule(kGather);
}
void Proxier::schedule(base::Duration delay) {
  if (started_) next_ = loop_.after(delay, [this] { round(); });
}

void Proxier::round() {
  auto begin = std::chrono::steady_clock::now();
  base::Status status = converge();
  counters_.last_round_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ++counters_.rounds;
  if (status.ok()) {
    counters_.last_error.clear();
    failed_in_a_row_ = 0;
    if (on_first_success) std::exchange(on_first_success, nullptr)();
    slow_ = loop_.after(kSlowResync, [this] { resync(); });
    return;
  }
  ++counters_.failures;
  counters_.last_error = status.error().message();
  auto delay = std::min<base::Duration>(kFirstRetry * (1 << std::min(failed_in_a_row_, 12)), kLastRetry);
  // Rules that changed while we read them are no news; they are read again.
  if (status.error().kind == base::Kind::kConflict && failed_in_a_row_ < 3)
    base::log::debug("{}; again", counters_.last_error);
  else
    base::log::warning("{}; again in {} ms", counters_.last_error,
                       std::chrono::duration_cast<std::chrono::milliseconds>(delay).count());
  ++failed_in_a_row_;
  resync_ = true;
  schedule(delay);
}

base::Status Proxier::converge() {
  std::vector<Action> planned;
  std::set<std::string> dirty;
  dirty.swap(dirty_);
  for (const std::string& key : dirty) {
    if (auto pod = pods_.find(key); pod != pods_.end() || key.starts_with("pod ")) {
      auto changed = pod == pods_.end()
                         ? table_.set(key, {})
                         : table_.set(key, elements_of(pod->second, node_, reserved_), pod->second.rank());
      planned.insert(planned.end(), changed.begin(), changed.end());
      continue;
    }
    const Service* service = cluster_.service(key);
    auto changed =
        table_.set(key, service ? elements_of(*service, cluster_.slices(key), node_, reserved_) : Elements(),
                   service ? service->rank() : std::string());
    planned.insert(planned.end(), changed.begin(), changed.end());
  }
  // What a repair finds in place already counts as changed: who did it may not have come this far.
  note(planned);
  std::vector<Action> done;
  if (resync_) {
    done = TRY(repair());
    resync_ = rebuild_ = false;
  } else {
    TRY(nft_.act(planned));
    done.swap(planned);
  }
  if (!done.empty()) base::log::info("{} changes for {} Services", done.size(), dirty.size());
  if (base::log::enabled(base::log::Level::kDebug))
    for (const Action& action : done) base::log::debug("{}", action.text());
  counters_.actions += done.size();
  note(done);
  return clean_connections();
}

// Reads the kernel's table and makes it ours.
base::Result<std::vector<Action>> Proxier::repair() {
  if (rebuild_ || !TRY(nft_.has_skeleton())) {
    TRY(nft_.load_skeleton());
    ++counters_.skeletons;
    base::log::info("loaded the rules of the table");
  }
  Observed observed = TRY(nft_.observe());
  std::vector<Action> actions = table_.reconcile(observed);
  TRY(nft_.act(actions, nft_.observed_generation()));
  return actions;
}

void Proxier::on_interference() {
  auto found = nft_.read_interference();
  if (found == Nftables::Interference::kNone) return;
  ++counters_.interferences;
  base::log::warning("somebody else changed {} of our nftables table; repairing",
                     found == Nftables::Interference::kRules ? "rules" : "elements");
  rebuild_ |= found == Nftables::Interference::kRules;
  resync_ = true;
  schedule(kGather);
}

void Proxier::note(const std::vector<Action>& actions) {
  for (const Action& action : actions) {
    if (action.kind == Action::Kind::kAddClass) continue;
    const Element& e = action.element;
    if (e.key.protocol == IPPROTO_UDP) stale_udp_.insert(e.key);
    stale_affinity_ |= action.kind == Action::Kind::kDelete &&
                       (e.set == Set::kEndpointsSticky || e.set == Set::kEndpointsLocalSticky);
  }
}
base::Status Proxier::clean_connections() {
  auto valid = [this](const Key& key, Ip ip, uint16_t port) { return leads_to(key, ip, port); };
  if (stale_affinity_) TRY(nft_.purge_affinity(valid));
  stale_affinity_ = false;
  size_t removed = TRY(remove_stale_udp(stale_udp_, valid));
  stale_udp_.clear();
  counters_.stale_udp += removed;
  if (removed) base::log::info("removed {} UDP connections of endpoints that are gone", removed);
  return {};
}

bool Proxier::leads_to(const Key& key, Ip ip, uint16_t port) const {
  bool is_service = false;
  for (Set set : {Set::kServices, Set::kExternalLocal}) {
    const Value* value = table_.find({set, 0, key, 0});
    if (!value || value->kind != Value::Kind::kClass) continue;
    is_service = true;
    for (uint16_t i = 0; i < value->to.count; ++i) {
      const Value* endpoint = table_.find({endpoint_set(value->to), value->to.count, key, i});
      if (endpoint && endpoint->ip == ip && endpoint->port == port) return true;
    }
  }
  // No Service any more: what was never rewritten is not ours.
  return !is_service && ip == key.ip && port == key.port;
}

}  // namespace proxy
