// NodeResourcesFit with its three strategies, NodeResourcesBalancedAllocation, ImageLocality.
#include <algorithm>
#include <cmath>

#include "master/scheduler/rule.h"

namespace master::scheduler {
namespace {

int64_t amount_of(const Resources& in, std::string_view name) {
  if (name == "cpu") return in.cpu_milli;
  if (name == "memory") return in.memory;
  if (name == "ephemeral-storage") return in.ephemeral;
  auto at = in.extended.find(std::string(name));
  return at == in.extended.end() ? 0 : at->second;
}
bool fits(int64_t want, int64_t used, int64_t all) {
  int64_t free = 0;
  return want <= 0 || (!__builtin_sub_overflow(all, used, &free) && want <= free);
}
// What is asked for that `free` lacks, in kube-scheduler's order.
template <typename Short>
void each_short(const Resources& want, const Resources& used, const Resources& all, Short&& is_short) {
  auto check = [&](std::string_view name, int64_t wanted, int64_t taken, int64_t offered) {
    if (!fits(wanted, taken, offered)) is_short(name, wanted > offered);
  };
  check("cpu", want.cpu_milli, used.cpu_milli, all.cpu_milli);
  check("memory", want.memory, used.memory, all.memory);
  check("ephemeral-storage", want.ephemeral, used.ephemeral, all.ephemeral);
  for (const auto& [name, wanted] : want.extended)
    check(name, wanted, amount_of(used, name), amount_of(all, name));
}

struct FitFilter : Filter {
  explicit FitFilter(const Ask& ask_in) : ask(ask_in) {}
  Refusal refuses(const Node& node) const override {
    Refusal out;
    if (node.pods + 1 > node.max_pods) out.reasons.emplace_back("Too many pods");
    each_short(ask.requests, node.used, node.allocatable, [&](std::string_view name, bool never) {
      out.reasons.push_back(fmt::format("Insufficient {}", name));
      out.for_good |= never;
    });
    return out;
  }
  const Ask& ask;
};

// Between the points of a shape on a line; before the first and behind the last, flat.
int64_t on_shape(const std::vector<std::pair<int, int>>& shape, int64_t at) {
  if (shape.empty()) return 0;
  if (at <= shape[0].first) return shape[0].second;
  for (size_t i = 1; i < shape.size(); ++i) {
    const auto [x0, y0] = shape[i - 1];
    const auto [x1, y1] = shape[i];
    if (at <= x1 && x1 > x0) return y0 + (y1 - y0) * (at - x0) / (x1 - x0);
  }
  return shape.back().second;
}
int64_t share_of(int64_t part, int64_t whole) {  // in percent
  return static_cast<int64_t>(static_cast<__int128>(part) * 100 / whole);
}
struct FitScorer : Scorer {
  FitScorer(const Ask& ask_in, const Fit& fit_in) : ask(ask_in), fit(fit_in) {
    for (auto [utilization, score] : fit.shape) shape.emplace_back(utilization, score * 10);
  }
  int64_t score(const Node& node) const override {
    int64_t sum = 0, weights = 0;
    for (const auto& [name, weight] : fit.resources) {
      const bool native = name == "cpu" || name == "memory";
      const int64_t all = amount_of(node.allocatable, name), want = amount_of(ask.score_requests, name);
      if (all == 0 || (!native && want == 0)) continue;
      int64_t used = 0;
      if (__builtin_add_overflow(amount_of(node.score_used, name), want, &used)) continue;
      sum += weight * one(std::max<int64_t>(used, 0), all);
      weights += weight;
    }
    return weights ? sum / weights : 0;
  }
  int64_t one(int64_t used, int64_t all) const {
    switch (fit.strategy) {
      case Fit::Strategy::kLeastAllocated: return used > all ? 0 : share_of(all - used, all);
      case Fit::Strategy::kMostAllocated: return share_of(std::min(used, all), all);
      case Fit::Strategy::kRequestedToCapacityRatio:
        return on_shape(shape, used > all ? 100 : share_of(used, all));
    }
    return 0;
  }
  const Ask& ask;
  const Fit& fit;
  std::vector<std::pair<int, int>> shape;
};
struct BalancedScorer : Scorer {
  explicit BalancedScorer(const Ask& ask_in) : ask(ask_in) {}
  int64_t score(const Node& node) const override {
    auto part = [](int64_t want, int64_t used, int64_t all) {
      return std::min(1.0,
                      (static_cast<double>(used) + static_cast<double>(want)) / static_cast<double>(all));
    };
    if (node.allocatable.cpu_milli == 0 || node.allocatable.memory == 0) return 100;
    const double cpu = part(ask.requests.cpu_milli, node.used.cpu_milli, node.allocatable.cpu_milli);
    const double memory = part(ask.requests.memory, node.used.memory, node.allocatable.memory);
    return static_cast<int64_t>((1 - std::abs(cpu - memory) / 2) * 100);
  }
  const Ask& ask;
};

constexpr int64_t kMiB = 1 << 20, kLeastImage = 23 * kMiB, kMostImage = 1000 * kMiB;
struct ImageScorer : Scorer {
  ImageScorer(const Ask& ask_in, const Picture& picture)
      : ask(ask_in), nodes(static_cast<double>(picture.nodes().size())) {
    for (const std::string& image : ask.images) spread.push_back(picture.nodes_with_image(image) / nodes);
  }
  int64_t score(const Node& node) const override {
    int64_t sum = 0;
    for (size_t i = 0; i < ask.images.size(); ++i)
      if (auto at = node.images.find(ask.images[i]); at != node.images.end())
        sum += static_cast<int64_t>(static_cast<double>(at->second) * spread[i]);
    const int64_t most = kMostImage * std::max<int64_t>(1, static_cast<int64_t>(ask.images.size()));
    return 100 * (std::clamp(sum, kLeastImage, most) - kLeastImage) / (most - kLeastImage);
  }
  const Ask& ask;
  double nodes;
  std::vector<double> spread;  // which part of all nodes has the image
};

}  // namespace

const Rule node_resources_fit_rule = {
    "NodeResourcesFit",
    [](const Question& q) -> std::unique_ptr<Filter> { return std::make_unique<FitFilter>(q.ask); },
    [](const Question& q, std::span<const Node* const>) -> std::unique_ptr<Scorer> {
      return std::make_unique<FitScorer>(q.ask, q.profile.fit);
    },
    1,
    [](const Ask& ask, const Change& change) {
      if (change.what & Change::kPodRemoved) return true;  // each holds a Pod's place at least
      if (!(change.what & (Change::kNodeAdded | Change::kNodeAllocatable))) return false;
      bool enough = change.node->max_pods > 0;
      each_short(ask.requests, {}, change.node->allocatable, [&](std::string_view, bool) { enough = false; });
      return enough;
    }};

const Rule node_resources_balanced_allocation_rule = {
    "NodeResourcesBalancedAllocation", nullptr,
    [](const Question& q, std::span<const Node* const>) -> std::unique_ptr<Scorer> {
      if (!q.ask.requests.cpu_milli && !q.ask.requests.memory) return nullptr;
      return std::make_unique<BalancedScorer>(q.ask);
    },
    1, nullptr};

const Rule image_locality_rule = {
    "ImageLocality", nullptr,
    [](const Question& q, std::span<const Node* const>) -> std::unique_ptr<Scorer> {
      bool anywhere = false;
      for (const std::string& image : q.ask.images) anywhere |= q.picture.nodes_with_image(image) > 0;
      if (!anywhere) return nullptr;
      return std::make_unique<ImageScorer>(q.ask, q.picture);
    },
    1, nullptr};

}  // namespace master::scheduler
