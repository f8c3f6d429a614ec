// InterPodAffinity: required and preferred terms of the Pod about those that are there, and theirs about it.
#include <algorithm>

#include "master/scheduler/rule.h"

namespace master::scheduler {
namespace {

struct AffinityFilter : Filter {
  explicit AffinityFilter(const Question& q)
      : ask(q.ask), index(q.picture.index()), asked(index.asked(q.ask)),
        affinity_changes(asked.affinity.size()), anti_changes(asked.anti_affinity.size()) {
    for (const Held* held : index.held_about(ask))
      if (held->about == Held::About::kApart) apart.push_back(held);
  }
  bool empty() const { return asked.affinity.empty() && asked.anti_affinity.empty() && apart.empty(); }

  Refusal refuses(const Node& node) const override {
    if (!together(node)) return {{"node(s) didn't match pod affinity rules"}, true};
    for (size_t i = 0; i < asked.anti_affinity.size(); ++i)
      if (pods(asked.anti_affinity[i], anti_changes[i], node) > 0)
        return {{"node(s) didn't match pod anti-affinity rules"}, false};
    if (unwelcome(node)) return {{"node(s) didn't satisfy existing pods anti-affinity rules"}, false};
    return {};
  }
  void move(const Ask& pod, bool, const Node& node, int sign) override {
    auto change = [&](const std::vector<Asked::Count>& counts, std::vector<std::map<int, int>>& changes) {
      for (size_t i = 0; i < counts.size(); ++i)
        if (int value = counts[i].domain->region->value(node.slot);
            value >= 0 && index.matches(counts[i].pods->query, pod))
          changes[i][value] += sign;
    };
    change(asked.affinity, affinity_changes);
    change(asked.anti_affinity, anti_changes);
    for (const PodTerm& term : pod.anti_affinity)
      if (const std::string* value = node.label(term.topology_key); value && index.selects(term, ask))
        apart_changes[term.topology_key][*value] += sign;
  }

 private:
  static int pods(const Asked::Count& count, const std::map<int, int>& changes, const Node& node) {
    const int value = count.domain->region->value(node.slot);
    if (value < 0) return 0;
    auto changed = changes.find(value);
    return count.domain->count(value) + (changed == changes.end() ? 0 : changed->second);
  }
  bool together(const Node& node) const {
    bool all = true;
    for (size_t i = 0; i < asked.affinity.size(); ++i) {
      if (asked.affinity[i].domain->region->value(node.slot) < 0) return false;
      all &= pods(asked.affinity[i], affinity_changes[i], node) > 0;
    }
    if (all) return true;
    // The first Pod of a group that wants to be together has nobody to join yet.
    return asked.self_matches_affinity && nobody_anywhere();
  }
  bool nobody_anywhere() const {
    for (size_t i = 0; i < asked.affinity.size(); ++i) {
      const Domain& domain = *asked.affinity[i].domain;
      size_t gone = 0;
      for (const auto& [value, by] : affinity_changes[i]) {
        if (domain.count(value) + by > 0) return false;
        gone += domain.counts.count(value);
      }
      if (domain.counts.size() > gone) return false;
    }
    return true;
  }
  bool unwelcome(const Node& node) const {
    if (apart_changes.empty()) {
      for (const Held* held : apart)
        if (int value = held->topology->value(node.slot); value >= 0 && held->counts.count(value))
          return true;
      return false;
    }
    std::map<std::string, int> by_key;
    for (const Held* held : apart)
      if (auto at = held->counts.find(held->topology->value(node.slot)); at != held->counts.end())
        by_key[held->topology->key] += at->second;
    for (const auto& [key, values] : apart_changes)
      if (const std::string* value = node.label(key))
        if (auto at = values.find(*value); at != values.end()) by_key[key] += at->second;
    return std::any_of(by_key.begin(), by_key.end(), [](const auto& item) { return item.second > 0; });
  }

  const Ask& ask;
  Index& index;
  const Asked& asked;
  std::vector<const Held*> apart;
  std::vector<std::map<int, int>> affinity_changes, anti_changes;   // by value
  std::map<std::string, std::map<std::string, int>> apart_changes;  // by key and value
};

struct AffinityScorer : Scorer {
  explicit AffinityScorer(const Question& q) {
    const Asked& asked = q.picture.index().asked(q.ask);
    auto own = [&](const std::vector<PodTerm>& terms, const std::vector<Asked::Count>& counts, int sign) {
      for (size_t i = 0; i < terms.size(); ++i)
        if (!counts[i].domain->counts.empty())
          parts.push_back(
              {counts[i].domain->region->topology.get(), &counts[i].domain->counts, sign * terms[i].weight});
    };
    own(q.ask.preferred_affinity, asked.preferred_affinity, 1);
    own(q.ask.preferred_anti_affinity, asked.preferred_anti_affinity, -1);
    for (const Held* held : q.picture.index().held_about(q.ask)) {
      const int weight = held->about == Held::About::kTogether         ? q.profile.hard_pod_affinity_weight
                         : held->about == Held::About::kRatherTogether ? held->term.weight
                         : held->about == Held::About::kRatherApart    ? -held->term.weight
                                                                       : 0;
      if (weight) parts.push_back({held->topology.get(), &held->counts, weight});
    }
  }
  int64_t score(const Node& node) const override {
    int64_t sum = 0;
    for (const Part& part : parts)
      if (auto at = part.counts->find(part.topology->value(node.slot)); at != part.counts->end())
        sum += static_cast<int64_t>(part.weight) * at->second;
    return sum;
  }
  void normalise(std::span<const Node* const>, std::vector<int64_t>& scores) const override {
    if (scores.empty()) return;
    const auto [least, most] = std::minmax_element(scores.begin(), scores.end());
    const int64_t low = *least, range = *most - *least;
    for (int64_t& score : scores) score = range > 0 ? 100 * (score - low) / range : 0;
  }
  struct Part {
    const Topology* topology;
    const std::unordered_map<int, int>* counts;
    int weight;
  };
  std::vector<Part> parts;
};

}  // namespace

const Rule inter_pod_affinity_rule = {
    "InterPodAffinity",
    [](const Question& q) -> std::unique_ptr<Filter> {
      auto filter = std::make_unique<AffinityFilter>(q);
      // Nominated Pods may have terms of their own, which only a what-if knows.
      if (filter->empty() && !q.picture.anybody_nominated()) return nullptr;
      return filter;
    },
    [](const Question& q, std::span<const Node* const>) -> std::unique_ptr<Scorer> {
      auto scorer = std::make_unique<AffinityScorer>(q);
      if (scorer->parts.empty()) return nullptr;
      return scorer;
    },
    2,
    [](const Ask& ask, const Change& change) {
      if (change.what & (Change::kNodeAdded | Change::kNodeLabels | Change::kNamespaceLabels)) return true;
      auto any = [&](const std::vector<PodTerm>& terms) {
        for (const PodTerm& term : terms)
          if (term.pods.matches(change.pod->labels)) return true;
        return false;
      };
      if (change.what & Change::kPodLabels) return true;
      if (change.what & Change::kPodPlaced) return any(ask.affinity);
      if (change.what & Change::kPodRemoved)
        return !change.pod->anti_affinity.empty() || any(ask.anti_affinity);
      return false;
    }};

}  // namespace master::scheduler
