#include "master/scheduler/schedule_plan.h"

#include <cmath>

namespace master::scheduler {

bool matches(const NodeTerm& term, const Node& node) {
  return controllers::matches(term, node.labels, node.name);
}

std::vector<std::string> filter_node(const Ask& ask, const Node& node) {
  auto tolerated = [&](const Taint& taint) {
    for (const Toleration& toleration : ask.tolerations)
      if (controllers::tolerates(toleration, taint)) return true;
    return false;
  };
  if (node.unschedulable && !tolerated({"node.kubernetes.io/unschedulable", "", "NoSchedule", ""}))
    return {"node(s) were unschedulable"};
  for (const Taint& taint : node.taints)
    if ((taint.effect == "NoSchedule" || taint.effect == "NoExecute") && !tolerated(taint))
      return {fmt::format("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value)};
  bool affine = true;
  for (const auto& [key, value] : ask.node_selector) {
    auto at = node.labels.find(key);
    affine &= at != node.labels.end() && at->second == value;
  }
  if (ask.node_required) {
    bool any = false;
    for (const NodeTerm& term : *ask.node_required) any |= matches(term, node);
    affine &= any;
  }
  if (!affine) return {"node(s) didn't match Pod's node affinity/selector"};
  for (const HostPort& wanted : ask.host_ports)
    for (const HostPort& taken : node.host_ports)
      if (wanted.conflicts(taken)) return {"node(s) didn't have free ports for the requested pod ports"};
  std::vector<std::string> short_of;
  if (node.pods + 1 > node.max_pods) short_of.push_back("Too many pods");
  auto fits = [&](const char* name, int64_t want, int64_t used, int64_t all) {
    if (want > 0 && want > all - used) short_of.push_back(fmt::format("Insufficient {}", name));
  };
  fits("cpu", ask.requests.cpu_milli, node.used.cpu_milli, node.allocatable.cpu_milli);
  fits("memory", ask.requests.memory, node.used.memory, node.allocatable.memory);
  fits("ephemeral-storage", ask.requests.ephemeral, node.used.ephemeral, node.allocatable.ephemeral);
  for (const auto& [name, want] : ask.requests.extended) {
    auto amount = [&name = name](const Resources& in) {
      auto at = in.extended.find(name);
      return at == in.extended.end() ? 0 : at->second;
    };
    fits(name.c_str(), want, amount(node.used), amount(node.allocatable));
  }
  return short_of;
}

static bool selects(const PodTerm& term, const Ask& pod) {
  return (term.namespaces.empty() || term.namespaces.count(pod.ns)) && term.pods.matches(pod.labels);
}
PodRules::PodRules(const Ask& ask, const Picture& picture) {
  auto value_of = [&](const std::string& node, const std::string& key) -> const std::string* {
    auto at = picture.nodes.find(node);
    if (at == picture.nodes.end()) return nullptr;
    auto label = at->second.labels.find(key);
    return label == at->second.labels.end() ? nullptr : &label->second;
  };
  for (const std::string& key : picture.with_anti_affinity) {
    const Placed& other = picture.placed.at(key);
    for (const PodTerm& term : other.ask->anti_affinity)
      if (selects(term, ask))
        if (const std::string* value = value_of(other.node, term.topology_key))
          forbidden_[term.topology_key].insert(*value);
  }
  for (const PodTerm& term : ask.affinity) affinity_.push_back({term.topology_key, {}});
  for (const PodTerm& term : ask.anti_affinity) anti_.push_back({term.topology_key, {}});
  for (const SpreadConstraint& constraint : ask.spread)
    spread_.push_back(
        {{constraint.topology_key, {}}, constraint.max_skew, 0, constraint.pods.matches(ask.labels)});
  if (affinity_.empty() && anti_.empty() && spread_.empty()) return;

  self_matches_all_ = true;
  for (const PodTerm& term : ask.affinity) self_matches_all_ &= selects(term, ask);
  for (const auto& [key, node] : picture.nodes)
    for (Spread& spread : spread_)
      if (auto at = node.labels.find(spread.domain.key); at != node.labels.end()) {
        NodeTerm none;  // domains count only where the Pod may go by its own node affinity
        bool eligible = true;
        for (const auto& [k, v] : ask.node_selector) {
          auto own = node.labels.find(k);
          eligible &= own != node.labels.end() && own->second == v;
        }
        if (ask.node_required) {
          bool any = false;
          for (const NodeTerm& term : *ask.node_required) any |= matches(term, node);
          eligible &= any;
        }
        if (eligible) spread.domain.counts.try_emplace(at->second, 0);
      }
  for (const auto& [key, other] : picture.placed) {
    auto count = [&](Domain& domain) {
      if (const std::string* value = value_of(other.node, domain.key)) {
        ++domain.counts[*value];
        return true;
      }
      return false;
    };
    // Affinity terms hold together: a Pod counts when it matches all of them.
    bool all_terms = !ask.affinity.empty();
    for (const PodTerm& term : ask.affinity) all_terms &= selects(term, *other.ask);
    if (all_terms)
      for (Domain& domain : affinity_) any_affinity_match_ |= count(domain);
    for (size_t i = 0; i < anti_.size(); ++i)
      if (selects(ask.anti_affinity[i], *other.ask)) count(anti_[i]);
    for (size_t i = 0; i < spread_.size(); ++i)
      if (other.ask->ns == ask.ns && ask.spread[i].pods.matches(other.ask->labels)) {
        const std::string* value = value_of(other.node, spread_[i].domain.key);
        if (value && spread_[i].domain.counts.count(*value)) ++spread_[i].domain.counts[*value];
      }
  }
  for (Spread& spread : spread_) {
    spread.least = spread.domain.counts.empty() ? 0 : INT32_MAX;
    for (const auto& [value, count] : spread.domain.counts) spread.least = std::min(spread.least, count);
  }
}

std::string PodRules::filter(const Node& node) const {
  auto value_of = [&](const std::string& key) -> const std::string* {
    auto at = node.labels.find(key);
    return at == node.labels.end() ? nullptr : &at->second;
  };
  for (const Spread& spread : spread_) {
    const std::string* value = value_of(spread.domain.key);
    if (!value) return "node(s) didn't match pod topology spread constraints (missing required label)";
    auto at = spread.domain.counts.find(*value);
    int count = at == spread.domain.counts.end() ? 0 : at->second;
    if (count + (spread.self ? 1 : 0) - spread.least > spread.max_skew)
      return "node(s) didn't match pod topology spread constraints";
  }
  for (const Domain& domain : affinity_) {
    const std::string* value = value_of(domain.key);
    auto at = value ? domain.counts.find(*value) : domain.counts.end();
    bool found = at != domain.counts.end() && at->second > 0;
    // The first Pod of a group that wants to be together has nobody to join yet.
    if (!found && !(value && self_matches_all_ && !any_affinity_match_))
      return "node(s) didn't match pod affinity rules";
  }
  for (const Domain& domain : anti_) {
    const std::string* value = value_of(domain.key);
    if (value && domain.counts.count(*value)) return "node(s) didn't match pod anti-affinity rules";
  }
  for (const auto& [key, values] : forbidden_)
    if (const std::string* value = value_of(key); value && values.count(*value))
      return "node(s) didn't satisfy existing pods anti-affinity rules";
  return {};
}

namespace {
// Each score is 0..100; the weights are those of Kubernetes' default profile.
double least_allocated(const Ask& ask, const Node& node) {
  auto free = [](int64_t want, int64_t used, int64_t all) {
    return all <= 0 || used + want > all
               ? 0.0
               : 100.0 * static_cast<double>(all - used - want) / static_cast<double>(all);
  };
  return (free(ask.score_requests.cpu_milli, node.score_used.cpu_milli, node.allocatable.cpu_milli) +
          free(ask.score_requests.memory, node.score_used.memory, node.allocatable.memory)) /
         2;
}
double balanced(const Ask& ask, const Node& node) {
  auto part = [](int64_t want, int64_t used, int64_t all) {
    return all <= 0 ? 1.0 : std::min(1.0, static_cast<double>(used + want) / static_cast<double>(all));
  };
  double cpu = part(ask.requests.cpu_milli, node.used.cpu_milli, node.allocatable.cpu_milli);
  double memory = part(ask.requests.memory, node.used.memory, node.allocatable.memory);
  return 100 * (1 - std::abs(cpu - memory) / 2);
}
}  // namespace

Choice choose(const Ask& ask, const std::string& owner_uid, size_t tie, const Picture& picture) {
  if (picture.nodes.empty()) return {"", "no nodes available to schedule pods"};
  PodRules rules(ask, picture);
  std::map<std::string, int> reasons;
  struct Candidate {
    const Node* node;
    double preferred = 0, untolerated = 0, owned = 0;
  };
  std::vector<Candidate> candidates;
  double most_preferred = 0, most_untolerated = 0, most_owned = 0;
  for (const auto& [name, node] : picture.nodes) {
    std::vector<std::string> why = filter_node(ask, node);
    if (why.empty())
      if (std::string between = rules.filter(node); !between.empty()) why.push_back(std::move(between));
    for (const std::string& reason : why) ++reasons[reason];
    if (!why.empty()) continue;
    Candidate candidate{&node};
    for (const NodeTerm& term : ask.node_preferred)
      if (matches(term, node)) candidate.preferred += term.weight;
    for (const Taint& taint : node.taints) {
      if (taint.effect != "PreferNoSchedule") continue;
      bool tolerated = false;
      for (const Toleration& toleration : ask.tolerations)
        tolerated |= controllers::tolerates(toleration, taint);
      candidate.untolerated += !tolerated;
    }
    if (auto at = node.per_owner.find(owner_uid); !owner_uid.empty() && at != node.per_owner.end())
      candidate.owned = at->second;
    most_preferred = std::max(most_preferred, candidate.preferred);
    most_untolerated = std::max(most_untolerated, candidate.untolerated);
    most_owned = std::max(most_owned, candidate.owned);
    candidates.push_back(candidate);
  }
  if (candidates.empty()) {
    std::vector<std::string> parts;
    for (const auto& [reason, count] : reasons) parts.push_back(fmt::format("{} {}", count, reason));
    std::sort(parts.begin(), parts.end());  // as Kubernetes does, so that messages repeat exactly
    std::string message = fmt::format("0/{} nodes are available: ", picture.nodes.size());
    for (size_t i = 0; i < parts.size(); ++i) message += (i ? ", " : "") + parts[i];
    return {"", message + "."};
  }
  std::vector<const Node*> best;
  double best_score = -1;
  for (const Candidate& candidate : candidates) {
    double score = least_allocated(ask, *candidate.node) + balanced(ask, *candidate.node);
    if (most_preferred > 0) score += 2 * 100 * candidate.preferred / most_preferred;
    score += 3 * (most_untolerated > 0 ? 100 * (1 - candidate.untolerated / most_untolerated) : 100);
    score += 2 * (most_owned > 0 ? 100 * (1 - candidate.owned / most_owned) : 100);
    score = std::round(score * 1000);
    if (score > best_score) {
      best.clear();
      best_score = score;
    }
    if (score == best_score) best.push_back(candidate.node);
  }
  return {best[tie % best.size()]->name, ""};
}

}  // namespace master::scheduler
