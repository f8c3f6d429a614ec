#include "master/scheduler/preemption_plan.h"

#include <algorithm>
#include <tuple>

namespace master::scheduler {
namespace {

// Whether `a` is worth more: by priority, then by how long it runs.
bool more_important(const Placed* a, const Placed* b) {
  return std::tuple(-int64_t{a->ask->priority}, a->started, std::string_view(a->key)) <
         std::tuple(-int64_t{b->ask->priority}, b->started, std::string_view(b->key));
}
// Which of `pods`, in their order, could not go without breaking a budget.
std::vector<char> violating(const std::vector<const Placed*>& pods,
                            const std::map<std::string, Budget>& budgets) {
  std::vector<char> out(pods.size(), 0);
  std::map<const Budget*, int> allowed;
  for (size_t i = 0; i < pods.size(); ++i) {
    const Ask& ask = *pods[i]->ask;
    if (ask.labels.empty()) continue;
    const std::string name = controllers::split_key(pods[i]->key).second;
    for (const auto& [key, budget] : budgets) {
      if (budget.ns != ask.ns || !budget.pods.matches(ask.labels) || budget.disrupted.count(name)) continue;
      if (--allowed.try_emplace(&budget, budget.allowed).first->second < 0) out[i] = 1;
    }
  }
  return out;
}

struct Candidate {
  const Node* node;
  std::vector<const Placed*> victims;
  int violations = 0;
};
// The Pods of one node that must go, or why that does not do.
Refusal select_victims(const Question& question, const std::string& pod, const Node& node, Candidate& out) {
  std::vector<const Placed*> lower;
  for (const Placed* other : node.here)
    if (other->ask->priority < question.ask.priority) lower.push_back(other);
  if (lower.empty()) return {{"No preemption victims found for incoming pod"}, true};
  Node then = node;
  Filters filters(question, pod);
  // Pods that were promised the node and are not less important have it.
  if (const auto* nominated = question.picture.nominated_for(node.name))
    for (const auto& [key, one] : *nominated)
      if (key != pod && one.ask->priority >= question.ask.priority) {
        then.count(*one.ask, 1);
        filters.move(*one.ask, false, then, 1);
      }
  auto move = [&](const Placed* other, int sign) {
    then.count(*other->ask, sign);
    filters.move(*other->ask, other->terminating, then, sign);
  };
  for (const Placed* other : lower) move(other, -1);
  if (Refusal refusal = filters.refuses_as_is(then)) return refusal;
  // Spared are those whose end would break a budget first, then the others, the important ones before the
  // less so.
  std::sort(lower.begin(), lower.end(), more_important);
  const std::vector<char> broken = violating(lower, question.picture.budgets());
  out.node = &node;
  for (const char first : {1, 0})
    for (size_t i = 0; i < lower.size(); ++i) {
      if (broken[i] != first) continue;
      move(lower[i], 1);
      if (!filters.refuses_as_is(then)) continue;
      move(lower[i], -1);
      out.victims.push_back(lower[i]);
      out.violations += first;
    }
  std::sort(out.victims.begin(), out.victims.end(), more_important);
  return {};
}

// The smaller the better, in this order.
auto cost(const Candidate& one) {
  int64_t sum = 0;
  const int highest = one.victims[0]->ask->priority;
  base::Time earliest = base::Time::max();
  for (const Placed* victim : one.victims) {
    sum += int64_t{victim->ask->priority} + INT32_MAX + 1;
    if (victim->ask->priority == highest) earliest = std::min(earliest, victim->started);
  }
  // Of equals the node whose most important victims have run the shortest time.
  return std::tuple(one.violations, highest, sum, one.victims.size(), -earliest.time_since_epoch().count());
}

}  // namespace

Preemption plan_preemption(const Ask& ask, const std::string& pod, const Picture& picture,
                           const Profile& profile, const Choice& choice, size_t start) {
  Preemption out;
  if (ask.never_preempts) {
    out.message = "preemption: not eligible due to preemptionPolicy=Never.";
    out.keep_nomination = true;
    return out;
  }
  std::vector<const Node*> possible;
  std::set<std::string> hopeless;
  for (const auto& [node, for_good] : choice.refused)
    if (for_good) hopeless.insert(node->name);
    else possible.push_back(node);
  if (const Nominated* nominated = picture.nominated(pod); nominated && !hopeless.count(nominated->node))
    if (const Node* node = picture.node(nominated->node))
      for (const Placed* other : node->here)
        if (other->terminating && other->preempted && other->ask->priority < ask.priority) {
          out.message = "preemption: not eligible due to a terminating pod on the nominated node.";
          out.keep_nomination = true;
          return out;
        }
  // kube-scheduler's minCandidateNodesPercentage and minCandidateNodesAbsolute.
  const size_t enough = std::min(possible.size(), std::max<size_t>(100, possible.size() / 10));
  const Question question{ask, picture, profile};
  std::vector<Candidate> candidates;
  std::map<std::string, int> reasons;
  bool unbroken = false;
  for (size_t i = 0; i < possible.size() && !(candidates.size() >= enough && unbroken); ++i) {
    Candidate candidate{nullptr, {}, 0};
    const Node& node = *possible[(start + i) % possible.size()];
    if (Refusal refusal = select_victims(question, pod, node, candidate)) {
      for (const std::string& reason : refusal.reasons) ++reasons[reason];
    } else if (!candidate.victims.empty()) {
      unbroken |= candidate.violations == 0;
      candidates.push_back(std::move(candidate));
    }
  }
  if (candidates.empty()) {
    const size_t nodes = picture.nodes().size();
    if (nodes > possible.size())
      reasons["Preemption is not helpful for scheduling"] += static_cast<int>(nodes - possible.size());
    out.message = "preemption: " + unavailable(nodes, reasons);
    return out;
  }
  const Candidate& best = *std::min_element(candidates.begin(), candidates.end(),
                                            [](const auto& a, const auto& b) { return cost(a) < cost(b); });
  out.node = best.node->name;
  out.violations = best.violations;
  for (const Placed* victim : best.victims)
    out.victims.push_back({victim->key, victim->uid, victim->terminating});
  if (const auto* nominated = picture.nominated_for(out.node))
    for (const auto& [key, one] : *nominated)
      if (key != pod && one.ask->priority < ask.priority) out.denominated.push_back(key);
  return out;
}

std::string text(const Preemption& plan) {
  if (plan.node.empty()) return plan.message + (plan.keep_nomination ? " (nomination stands)" : "") + "\n";
  std::string out = fmt::format("nominate {}\n", plan.node);
  if (plan.violations) out += fmt::format("violates {}\n", plan.violations);
  for (const std::string& pod : plan.denominated) out += fmt::format("denominate {}\n", pod);
  for (const Preemption::Victim& victim : plan.victims)
    out += fmt::format("{} {}\n", victim.terminating ? "await" : "evict", victim.pod);
  return out;
}

}  // namespace master::scheduler
