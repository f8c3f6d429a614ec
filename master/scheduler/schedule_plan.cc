#include "master/scheduler/schedule_plan.h"

#include <algorithm>

namespace master::scheduler {

Filters::Filters(const Question& question, const std::string& pod) : question_(question), pod_(pod) {
  int row = 0;
  for (const Rule& rule : rules()) {
    if (rule.filter && !question.profile.without.count(rule.name))
      if (auto filter = rule.filter(question)) filters_.emplace_back(row, std::move(filter));
    ++row;
  }
}
Refusal Filters::refuses_as_is(const Node& node, int* rule) const {
  for (const auto& [row, filter] : filters_)
    if (Refusal refusal = filter->refuses(node)) {
      if (rule) *rule = row;
      return refusal;
    }
  return {};
}
void Filters::move(const Ask& pod, bool terminating, const Node& node, int sign) {
  for (auto& [row, filter] : filters_) filter->move(pod, terminating, node, sign);
}
Refusal Filters::refuses(const Node& node, int* rule) const {
  if (const auto* nominated = question_.picture.nominated_for(node.name)) {
    std::vector<const Ask*> expected;
    for (const auto& [key, one] : *nominated)
      if (key != pod_ && one.ask->priority >= question_.ask.priority) expected.push_back(one.ask.get());
    if (!expected.empty()) {
      Node full = node;
      Filters then(question_, pod_);
      for (const Ask* ask : expected) {
        full.count(*ask, 1);
        then.move(*ask, false, full, 1);
      }
      if (Refusal refusal = then.refuses_as_is(full, rule)) return refusal;
    }
  }
  return refuses_as_is(node, rule);
}

size_t nodes_to_find(size_t nodes, int percentage) {
  constexpr size_t kLeast = 100, kLeastPercentage = 5;
  if (nodes < kLeast || percentage >= 100) return nodes;
  size_t part = static_cast<size_t>(std::max(0, percentage));
  if (part == 0) part = std::max(kLeastPercentage, 50 - std::min<size_t>(50, nodes / 125));
  return std::max(kLeast, nodes * part / 100);
}
std::string unavailable(size_t nodes, const std::map<std::string, int>& reasons) {
  std::vector<std::string> parts;
  for (const auto& [reason, count] : reasons) parts.push_back(fmt::format("{} {}", count, reason));
  std::sort(parts.begin(), parts.end());  // as texts, so that messages repeat exactly
  std::string out = fmt::format("0/{} nodes are available: ", nodes);
  for (size_t i = 0; i < parts.size(); ++i) out += (i ? ", " : "") + parts[i];
  return out + ".";
}

namespace {

const Node* best_of(const Question& question, const std::vector<const Node*>& left, size_t tie) {
  if (left.size() == 1) return left[0];
  std::vector<int64_t> sums(left.size(), 0), scores(left.size());
  for (const Rule& rule : rules()) {
    if (!rule.scorer) continue;
    auto at = question.profile.weights.find(rule.name);
    const int weight = at == question.profile.weights.end() ? rule.weight : at->second;
    if (!weight) continue;
    auto scorer = rule.scorer(question, left);
    if (!scorer) continue;
    for (size_t i = 0; i < left.size(); ++i) scores[i] = scorer->score(*left[i]);
    scorer->normalise(left, scores);
    for (size_t i = 0; i < left.size(); ++i) sums[i] += weight * scores[i];
  }
  const int64_t most = *std::max_element(sums.begin(), sums.end());
  tie %= static_cast<size_t>(std::count(sums.begin(), sums.end(), most));
  for (size_t i = 0;; ++i)
    if (sums[i] == most && tie-- == 0) return left[i];
}

}  // namespace

Choice choose(const Ask& ask, const std::string& pod, const Picture& picture, const Profile& profile,
              size_t start, size_t tie) {
  Choice out;
  const std::vector<const Node*>* nodes = &picture.order();
  const size_t all = nodes->size();
  if (all == 0) {
    out.message = "no nodes available to schedule pods";
    return out;
  }
  const Question question{ask, picture, profile};
  for (size_t row = 0; row < rules().size(); ++row) {
    const Rule& rule = rules()[row];
    if (!rule.blocks || profile.without.count(rule.name)) continue;
    const std::string why = rule.blocks(question);
    if (why.empty()) continue;
    out.message = fmt::format("0/{} nodes are available: {}.", all, why);
    out.refused_by = 1u << row;
    for (const Node* node : *nodes) out.refused.emplace_back(node, true);
    return out;
  }
  const Filters filters(question, pod);
  // The room that was made for it, if it is there by now.
  if (const Nominated* nominated = picture.nominated(pod))
    if (const Node* node = picture.node(nominated->node); node && !filters.refuses(*node)) {
      out.node = node->name;
      return out;
    }
  std::vector<const Node*> named;
  if (ask.named_nodes) {
    for (const std::string& name : *ask.named_nodes)
      if (const Node* node = picture.node(name)) named.push_back(node);
    nodes = &named;
  }
  const size_t enough = nodes_to_find(nodes->size(), profile.percentage_of_nodes_to_score);
  std::vector<const Node*> left;
  std::map<std::string, int> reasons;
  for (; out.looked_at < nodes->size() && left.size() < enough; ++out.looked_at) {
    const Node* node = (*nodes)[(start + out.looked_at) % nodes->size()];
    int row = 0;
    Refusal refusal = filters.refuses(*node, &row);
    if (!refusal) {
      left.push_back(node);
      continue;
    }
    out.refused_by |= 1u << row;
    out.refused.emplace_back(node, refusal.for_good);
    for (const std::string& reason : refusal.reasons) ++reasons[reason];
  }
  if (!left.empty()) {
    out.node = best_of(question, left, tie)->name;
    out.refused_by = 0;
    out.refused.clear();
    return out;
  }
  if (nodes == &named && named.size() < all) {
    reasons["node(s) didn't satisfy plugin(s) [NodeAffinity]"] = static_cast<int>(all - named.size());
    out.refused_by |= 1u << static_cast<unsigned>(rule("NodeAffinity") - rules().data());
  }
  out.message = unavailable(all, reasons);
  return out;
}

}  // namespace master::scheduler
