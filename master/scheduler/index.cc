#include "master/scheduler/index.h"

#include <algorithm>
#include <set>

namespace master::scheduler {
namespace {

constexpr const char* kAnyPod = "*";
constexpr const char* kHostname = "kubernetes.io/hostname";
constexpr const char* kZone = "topology.kubernetes.io/zone";

std::string label_bucket(const std::string& key, const std::string& value) { return "l" + key + "=" + value; }
// The bucket in which a selector lies: one label that it requires.
std::string bucket_of(const Selector& selector) {
  for (const Selector::Requirement& one : selector.requirements)
    if (one.op == Selector::Op::kIn && one.values.size() == 1) return label_bucket(one.key, one.values[0]);
  return kAnyPod;
}
std::string bucket_of(const PodQuery& query) {
  if (!query.owner_uid.empty()) return "o" + query.owner_uid;
  for (const PodTerm& term : query.all)
    if (std::string bucket = bucket_of(term.pods); bucket != kAnyPod) return bucket;
  return kAnyPod;
}
// The buckets in which selectors lie that may mean the Pod.
template <typename Visit>
void each_bucket(const Ask& pod, Visit&& visit) {
  visit(std::string(kAnyPod));
  if (!pod.owner_uid.empty()) visit("o" + pod.owner_uid);
  for (const auto& [key, value] : pod.labels) visit(label_bucket(key, value));
}
void mix(size_t& hash, size_t more) { hash = (hash ^ more) * 0x9E3779B97F4A7C15u; }
void mix_map(size_t& hash, const std::map<std::string, std::string>& map) {
  const std::hash<std::string> text;
  for (const auto& [key, value] : map) mix(hash, text(key)), mix(hash, text(value));
}
void bump(std::unordered_map<int, int>& counts, int key, int more) {
  auto at = counts.try_emplace(key, 0).first;
  if ((at->second += more) == 0) counts.erase(at);
}
PodTerm bare(PodTerm term) {
  term.topology_key.clear();
  term.weight = 0;
  return term;
}

}  // namespace

int Topology::number(const std::string& value) {
  return numbers.try_emplace(value, static_cast<int>(numbers.size())).first->second;
}
void Topology::see(const Node& node) {
  const auto slot = static_cast<size_t>(node.slot);
  if (of_slot.size() <= slot) of_slot.resize(slot + 1, -1);
  const std::string* value = node.label(key);
  of_slot[slot] = value ? number(*value) : -1;
}

bool Eligibility::same(const Eligibility& other) const {
  return nodes == other.nodes && by_taints == other.by_taints && tolerations == other.tolerations &&
         keys == other.keys;
}
bool Eligibility::admits(const Node& node) const {
  for (const std::string& key : keys)
    if (!node.label(key)) return false;
  if (by_taints)
    for (const Taint& taint : node.taints) {
      if (taint.effect != "NoSchedule" && taint.effect != "NoExecute") continue;
      bool tolerated = false;
      for (const Toleration& toleration : tolerations) tolerated |= controllers::tolerates(toleration, taint);
      if (!tolerated) return false;
    }
  return nodes.admits(node.labels, node.name);
}

void Domain::add(int value, int more) {
  auto at = counts.try_emplace(value, 0).first;
  auto step = [this](int count, int by) {
    if (count == 0) return;
    auto place = values_by_count.try_emplace(count, 0).first;
    if ((place->second += by) == 0) values_by_count.erase(place);
  };
  step(at->second, -1);
  at->second += more;
  step(at->second, 1);
  if (at->second == 0) counts.erase(at);
}
int Domain::least(int min_domains, const std::map<int, int>& changes) const {
  if (static_cast<int64_t>(region->nodes.size()) < min_domains) return 0;
  // Values whose own count changes are left out first, then looked at as they would be.
  int changed_least = INT32_MAX, known_changed = 0;
  std::map<int, int> without;
  for (const auto& [value, by] : changes) {
    if (!region->nodes.count(value)) continue;
    ++known_changed;
    changed_least = std::min(changed_least, count(value) + by);
    if (int now = count(value)) ++without[now];
  }
  const auto others = static_cast<int64_t>(region->nodes.size()) - known_changed;
  if (others == 0) return known_changed ? std::max(0, changed_least) : 0;
  int64_t nonzero = static_cast<int64_t>(counts.size());
  for (const auto& [at, values] : without) nonzero -= values;
  if (nonzero < others) return 0;
  for (const auto& [at, values] : values_by_count) {
    auto gone = without.find(at);
    if (values > (gone == without.end() ? 0 : gone->second)) return std::min(at, changed_least);
  }
  return std::max(0, changed_least);
}

size_t Index::ByValue::hash(const Ask& ask) {
  size_t hash = std::hash<std::string>()(ask.ns);
  mix_map(hash, ask.labels);
  mix(hash, static_cast<size_t>(ask.requests.cpu_milli));
  mix(hash, static_cast<size_t>(ask.requests.memory));
  mix(hash, static_cast<size_t>(ask.priority));
  mix(hash, std::hash<std::string>()(ask.owner_uid));
  mix_map(hash, ask.nodes.selector);
  if (ask.named_nodes)  // a DaemonSet's Pods differ in this alone
    for (const std::string& node : *ask.named_nodes) mix(hash, std::hash<std::string>()(node));
  return hash;
}

Kind& Index::kind(const Ask& ask) {
  auto at = kinds_.find(ask);
  return at != kinds_.end() ? *at->second : kind(std::make_shared<const Ask>(ask));
}
Kind& Index::kind(const std::shared_ptr<const Ask>& ask) {
  auto at = kinds_.find(ask);
  if (at != kinds_.end()) return *at->second;
  if (kinds_.size() >= sweep_at_) {
    sweep();
    sweep_at_ = std::max<size_t>(1024, 2 * kinds_.size());
  }
  auto made = std::make_unique<Kind>();
  made->ask = ask;
  return *kinds_.emplace(ask, std::move(made)).first->second;
}
void Index::group(Kind& kind) {
  kind.grouped = true;
  each_bucket(*kind.ask, [&](const std::string& bucket) { kinds_by_label_[bucket].push_back(&kind); });
  join_sets(kind);
  auto hold = [&](Held::About about, const std::vector<PodTerm>& terms) {
    for (const PodTerm& term : terms) kind.holds.push_back(held(about, term));
  };
  hold(Held::About::kApart, kind.ask->anti_affinity);
  hold(Held::About::kTogether, kind.ask->affinity);
  hold(Held::About::kRatherTogether, kind.ask->preferred_affinity);
  hold(Held::About::kRatherApart, kind.ask->preferred_anti_affinity);
}
void Index::join_sets(Kind& kind) {
  kind.in.clear();
  each_bucket(*kind.ask, [&](const std::string& bucket) {
    if (auto sets = sets_.find(bucket); sets != sets_.end())
      for (const auto& set : sets->second)
        if (matches(set->query, *kind.ask)) kind.in.push_back(set.get());
  });
}
void Index::add(PodSet& set, int slot, int more) {
  if (!more) return;
  bump(set.per_slot, slot, more);
  set.total += more;
  for (const auto& domain : set.domains)
    if (int value = domain->region->value(slot); value >= 0) domain->add(value, more);
}
void Index::count(Kind& kind, int slot, bool terminating, int sign) {
  if (!kind.grouped) group(kind);
  auto at = kind.per_slot.try_emplace(slot, std::array<int, 2>{}).first;
  at->second[terminating] += sign;
  if (at->second == std::array<int, 2>{}) kind.per_slot.erase(at);
  for (PodSet* set : kind.in)
    if (!terminating || !set->query.living) add(*set, slot, sign);
  for (const auto& held : kind.holds)
    if (int value = held->topology->value(slot); value >= 0) bump(held->counts, value, sign);
}

void Index::leave(const Node& node) {
  for (const auto& [key, region] : regions_)
    if (int value = region->value(node.slot); value >= 0) bump(region->nodes, value, -1);
  const auto slot = static_cast<size_t>(node.slot);
  for (const auto& [key, topology] : topologies_)
    if (slot < topology->of_slot.size()) topology->of_slot[slot] = -1;
  for (const auto& [key, list] : eligibilities_)
    for (const auto& eligibility : list)
      if (slot < eligibility->of_slot.size()) eligibility->of_slot[slot] = 0;
}
void Index::enter(const Node& node) {
  const auto slot = static_cast<size_t>(node.slot);
  for (const auto& [key, topology] : topologies_) topology->see(node);
  for (const auto& [key, list] : eligibilities_)
    for (const auto& eligibility : list) {
      if (eligibility->of_slot.size() <= slot) eligibility->of_slot.resize(slot + 1, 0);
      eligibility->of_slot[slot] = eligibility->admits(node);
    }
  for (const auto& [key, region] : regions_)
    if (int value = region->value(node.slot); value >= 0) bump(region->nodes, value, 1);
}
void Index::set_namespace(const std::string& name, Labels labels) {
  Labels& known = namespaces_[name];
  const bool same = known == labels;
  known = std::move(labels);
  if (known.empty()) namespaces_.erase(name);  // what no selector but an empty one finds
  if (same) return;
  for (const auto& [ask, kind] : kinds_) {
    if (ask->ns != name) continue;
    if (kind->asked) kind->asked.reset();  // whether it is one of those it asks for
    if (!kind->grouped) continue;
    auto all = [&](int sign) {
      for (const auto& [slot, pods] : kind->per_slot)
        for (PodSet* set : kind->in) add(*set, slot, sign * (pods[0] + (set->query.living ? 0 : pods[1])));
    };
    all(-1);
    join_sets(*kind);
    all(1);
  }
}

bool Index::selects(const PodTerm& term, const Ask& pod) const {
  if (!term.pods.matches(pod.labels)) return false;
  if (term.namespaces.count(pod.ns)) return true;
  if (!term.namespace_selector) return false;
  static const Labels kNone;
  auto at = namespaces_.find(pod.ns);
  return term.namespace_selector->matches(at == namespaces_.end() ? kNone : at->second);
}
bool Index::matches(const PodQuery& query, const Ask& pod) const {
  if (!query.owner_uid.empty()) return pod.owner_uid == query.owner_uid && pod.ns == query.ns;
  for (const PodTerm& term : query.all)
    if (!selects(term, pod)) return false;
  return true;
}
std::vector<const Held*> Index::held_about(const Ask& pod) const {
  std::vector<const Held*> out;
  if (held_.empty()) return out;
  each_bucket(pod, [&](const std::string& bucket) {
    if (auto list = held_.find(bucket); list != held_.end())
      for (const auto& held : list->second)
        if (!held->counts.empty() && selects(held->term, pod)) out.push_back(held.get());
  });
  return out;
}

std::shared_ptr<Topology> Index::topology(const std::string& key) {
  std::shared_ptr<Topology>& out = topologies_[key];
  if (out) return out;
  out = std::make_shared<Topology>();
  out->key = key;
  for (const auto& [name, node] : nodes_) out->see(node);
  return out;
}
std::shared_ptr<Eligibility> Index::eligibility(Eligibility wanted) {
  size_t hash = wanted.by_taints;
  mix_map(hash, wanted.nodes.selector);
  for (const std::string& key : wanted.keys) mix(hash, std::hash<std::string>()(key));
  auto& list = eligibilities_[hash];
  for (const auto& known : list)
    if (known->same(wanted)) return known;
  auto out = std::make_shared<Eligibility>(std::move(wanted));
  for (const auto& [name, node] : nodes_) {
    const auto slot = static_cast<size_t>(node.slot);
    if (out->of_slot.size() <= slot) out->of_slot.resize(slot + 1, 0);
    out->of_slot[slot] = out->admits(node);
  }
  list.push_back(out);
  return out;
}
std::shared_ptr<Region> Index::region(const std::string& key, Eligibility wanted) {
  auto topology = this->topology(key);
  auto eligibility = this->eligibility(std::move(wanted));
  std::shared_ptr<Region>& out = regions_[{topology.get(), eligibility.get()}];
  if (out) return out;
  out = std::make_shared<Region>();
  out->topology = std::move(topology);
  out->eligibility = std::move(eligibility);
  for (const auto& [name, node] : nodes_)
    if (int value = out->value(node.slot); value >= 0) bump(out->nodes, value, 1);
  return out;
}
std::shared_ptr<PodSet> Index::set(PodQuery query) {
  const std::string bucket = bucket_of(query);
  auto& list = sets_[bucket];
  for (const auto& known : list)
    if (known->query == query) return known;
  auto out = std::make_shared<PodSet>();
  out->query = std::move(query);
  list.push_back(out);
  if (auto kinds = kinds_by_label_.find(bucket); kinds != kinds_by_label_.end())
    for (Kind* kind : kinds->second)
      if (matches(out->query, *kind->ask)) {
        kind->in.push_back(out.get());
        for (const auto& [slot, pods] : kind->per_slot)
          add(*out, slot, pods[0] + (out->query.living ? 0 : pods[1]));
      }
  return out;
}
Asked::Count Index::counted(PodQuery query, const std::string& key, Eligibility wanted, const Ask& ask) {
  Asked::Count out{set(std::move(query)), {}, false};
  out.self = matches(out.pods->query, ask);
  auto where = region(key, std::move(wanted));
  for (const auto& domain : out.pods->domains)
    if (domain->region == where) return out.domain = domain, out;
  out.domain = std::make_shared<Domain>();
  out.domain->region = std::move(where);
  for (const auto& [slot, pods] : out.pods->per_slot)
    if (int value = out.domain->region->value(slot); value >= 0) out.domain->add(value, pods);
  out.pods->domains.push_back(out.domain);
  return out;
}
std::shared_ptr<Held> Index::held(Held::About about, const PodTerm& term) {
  auto& list = held_[bucket_of(term.pods)];
  for (const auto& known : list)
    if (known->about == about && known->term == term) return known;
  auto out = std::make_shared<Held>(Held{about, term, topology(term.topology_key), {}});
  list.push_back(out);
  return out;
}

const Asked& Index::asked(const Ask& ask) {
  Kind& kind = this->kind(ask);
  if (kind.asked) return *kind.asked;
  kind.asked = std::make_unique<Asked>();
  Asked& out = *kind.asked;
  if (!ask.affinity.empty()) {
    // Required terms hold together: a Pod counts when all of them select it.
    PodQuery all;
    for (const PodTerm& term : ask.affinity) all.all.push_back(bare(term));
    for (const PodTerm& term : ask.affinity) out.affinity.push_back(counted(all, term.topology_key, {}, ask));
    out.self_matches_affinity = out.affinity[0].self;
  }
  auto each = [&](const std::vector<PodTerm>& terms, std::vector<Asked::Count>& counts) {
    for (const PodTerm& term : terms)
      counts.push_back(counted({{bare(term)}, {}, {}, false}, term.topology_key, {}, ask));
  };
  each(ask.anti_affinity, out.anti_affinity);
  each(ask.preferred_affinity, out.preferred_affinity);
  each(ask.preferred_anti_affinity, out.preferred_anti_affinity);
  for (const SpreadConstraint& one : ask.spread) {
    Eligibility who;
    if (one.honour_affinity) who.nodes = ask.nodes;
    who.by_taints = one.honour_taints;
    if (one.honour_taints) who.tolerations = ask.tolerations;
    // A node counts when it has the keys of all constraints of the same strictness.
    for (const SpreadConstraint& other : ask.spread)
      if (other.hard == one.hard) who.keys.push_back(other.topology_key);
    std::sort(who.keys.begin(), who.keys.end());
    PodTerm term{one.pods, {ask.ns}, {}, {}, 0};
    out.spread.push_back(counted({{std::move(term)}, {}, {}, true}, one.topology_key, std::move(who), ask));
  }
  if (ask.spread.empty() && !ask.owner_uid.empty())
    for (const char* key : {kHostname, kZone}) {
      Eligibility who;
      who.nodes = ask.nodes;
      out.default_spread.push_back(counted({{}, ask.ns, ask.owner_uid, true}, key, std::move(who), ask));
    }
  return out;
}

// Forgets Asks that no Pod has, then what only they asked for.
void Index::sweep() {
  std::unordered_set<const Kind*> dead;
  for (const auto& [ask, kind] : kinds_)
    if (kind->per_slot.empty() && ask.use_count() <= 2) dead.insert(kind.get());  // the map's and the Kind's
  for (auto& [bucket, list] : kinds_by_label_)
    std::erase_if(list, [&](const Kind* kind) { return dead.count(kind) > 0; });
  std::erase_if(kinds_, [&](const auto& item) { return dead.count(item.second.get()) > 0; });
  std::unordered_set<const PodSet*> unasked;
  for (auto& [bucket, list] : sets_)
    for (const auto& set : list) {
      if (set.use_count() == 1) unasked.insert(set.get());
      else std::erase_if(set->domains, [](const auto& domain) { return domain.use_count() == 1; });
    }
  for (const auto& [ask, kind] : kinds_)
    std::erase_if(kind->in, [&](const PodSet* set) { return unasked.count(set) > 0; });
  auto alone = [](const auto& item) { return item.use_count() == 1; };
  for (auto& [bucket, list] : sets_) std::erase_if(list, alone);
  for (auto& [bucket, list] : held_) std::erase_if(list, alone);
  std::erase_if(regions_, [](const auto& item) { return item.second.use_count() == 1; });
  for (auto& [hash, list] : eligibilities_) std::erase_if(list, alone);
  std::erase_if(topologies_, [](const auto& item) { return item.second.use_count() == 1; });
  auto empty = [](const auto& item) { return item.second.empty(); };
  std::erase_if(kinds_by_label_, empty);
  std::erase_if(sets_, empty);
  std::erase_if(held_, empty);
  std::erase_if(eligibilities_, empty);
}

std::string Index::text() const {
  std::set<std::string> lines;
  auto name = [](const Topology& topology, int value) {
    for (const auto& [text, number] : topology.numbers)
      if (number == value) return text;
    return std::string("?");
  };
  auto term_text = [](const PodTerm& term) {
    std::string out = "[" + (term.pods.nothing ? "nothing" : term.pods.text());
    for (const std::string& ns : term.namespaces) out += " in " + ns;
    return out + (term.namespace_selector ? " in any of " + term.namespace_selector->text() : "") + "]";
  };
  for (const auto& [bucket, list] : sets_)
    for (const auto& set : list) {
      std::string who = set->query.owner_uid + (set->query.living ? " living" : "");
      for (const PodTerm& term : set->query.all) who += " " + term_text(term);
      lines.insert(fmt::format("{}: {}", who, set->total));
      for (const auto& [node_name, node] : nodes_)
        if (int pods = set->on(node.slot)) lines.insert(fmt::format("{} on {}: {}", who, node_name, pods));
      for (const auto& domain : set->domains) {
        const Region& region = *domain->region;
        std::string where = region.topology->key;
        for (const auto& [key, value] : region.eligibility->nodes.selector) where += " " + key + "=" + value;
        if (region.eligibility->by_taints) where += " tolerated";
        for (const auto& [value, nodes] : region.nodes)
          lines.insert(fmt::format("{} by {} {}: {} on {} nodes, least {}", who, where,
                                   name(*region.topology, value), domain->count(value), nodes,
                                   domain->least(1)));
      }
    }
  for (const auto& [bucket, list] : held_)
    for (const auto& held : list)
      for (const auto& [value, pods] : held->counts)
        lines.insert(fmt::format("held {} {}*{} by {} {}: {}", static_cast<int>(held->about),
                                 held->term.weight, term_text(held->term), held->topology->key,
                                 name(*held->topology, value), pods));
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

}  // namespace master::scheduler
