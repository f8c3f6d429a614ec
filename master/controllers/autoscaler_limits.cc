#include "master/controllers/autoscaler_limits.h"

#include <algorithm>
#include <cmath>

namespace master::controllers {
namespace {

constexpr int kUpLimit = 4;  // without a behaviour: to the double, or to this

using Entries = std::vector<ScalingMemory::Entry>;

int64_t changed_since(const Entries& entries, base::Time since) {
  int64_t sum = 0;
  for (const ScalingMemory::Entry& entry : entries)
    if (entry.at > since) sum += entry.count;
  return sum;
}
int64_t longest_period(const ScalingRules& rules) {
  int64_t longest = 0;
  for (const ScalingRules::Policy& policy : rules.policies)
    longest = std::max(longest, policy.period_seconds);
  return longest;
}

// Windows: of what was recommended within each, the least counts upwards and the most downwards.
void stabilize(const Autoscaler& autoscaler, int current, int wanted, ScalingMemory& memory, base::Time now,
               LimitedScale& out) {
  const base::Time up_since = now - std::chrono::seconds(autoscaler.up.window_seconds),
                   down_since = now - std::chrono::seconds(autoscaler.down.window_seconds);
  int up = wanted, down = wanted;
  for (const ScalingMemory::Entry& entry : memory.recommendations) {
    if (entry.at > up_since) up = std::min(up, entry.count);
    if (entry.at > down_since) down = std::max(down, entry.count);
  }
  std::erase_if(memory.recommendations, [&](const ScalingMemory::Entry& entry) {
    return entry.at <= up_since && entry.at <= down_since;
  });
  memory.recommendations.push_back({now, wanted});
  out.replicas = std::max(wanted, down);  // without a behaviour the window holds for both directions
  if (autoscaler.has_behavior) out.replicas = std::min(std::max(current, up), down);
  if (out.replicas == wanted) {
    out.able_reason = "ReadyForNewScale";
    out.able_message = "recommended size matches current size";
  } else if (out.replicas > wanted) {
    out.able_reason = "ScaleDownStabilized";
    out.able_message =
        "recent recommendations were higher than current one, applying the highest recent recommendation";
  } else {
    out.able_reason = "ScaleUpStabilized";
    out.able_message =
        "recent recommendations were lower than current one, applying the lowest recent recommendation";
  }
}

int clamped(double value) { return static_cast<int>(std::clamp(value, 0.0, 2147483647.0)); }

// As far as the policies let it go in one direction: of several the one that allows most, or least.
int speed_limit(const ScalingRules& rules, bool up, int current, const ScalingMemory& memory,
                base::Time now) {
  if (rules.select == ScalingRules::Select::kDisabled) return current;
  const bool wants_far = rules.select == ScalingRules::Select::kMax;
  std::optional<int> limit;
  for (const ScalingRules::Policy& policy : rules.policies) {
    const base::Time since = now - std::chrono::seconds(policy.period_seconds);
    const double began = static_cast<double>(current - changed_since(memory.added, since) +
                                             changed_since(memory.removed, since));
    const double value = static_cast<double>(policy.value),
                 change = policy.percent ? began * value / 100 : value;
    const int to = up ? clamped(std::ceil(began + change - 1e-9)) : clamped(began - change + 1e-9);
    if (!limit || (up ? to > *limit : to < *limit) == wants_far) limit = to;
  }
  return limit.value_or(current);
}

void bound(int to, const char* reason, const char* message, LimitedScale& out) {
  out.replicas = to;
  out.limited = true;
  out.limited_reason = reason;
  out.limited_message = message;
}

}  // namespace

LimitedScale limit_scale(const Autoscaler& autoscaler, int current, int wanted, ScalingMemory& memory,
                         base::Time now) {
  LimitedScale out;
  stabilize(autoscaler, current, wanted, memory, now, out);
  out.limited_reason = "DesiredWithinRange";
  out.limited_message = "the desired count is within the acceptable range";
  const int least = autoscaler.min_replicas, most = autoscaler.max_replicas;
  if (!autoscaler.has_behavior) {
    const int fastest = std::max(2 * std::min(current, INT32_MAX / 2), kUpLimit);
    if (out.replicas < least)
      bound(least, "TooFewReplicas", "the desired replica count is less than the minimum replica count", out);
    else if (out.replicas > std::min(most, fastest)) {
      if (most > fastest)
        bound(fastest, "ScaleUpLimit",
              "the desired replica count is increasing faster than the maximum scale rate", out);
      else
        bound(most, "TooManyReplicas", "the desired replica count is more than the maximum replica count",
              out);
    }
    return out;
  }
  if (out.replicas > current) {
    const int fastest = std::max(speed_limit(autoscaler.up, true, current, memory, now), current);
    if (out.replicas > std::min(most, fastest)) {
      if (most > fastest)
        bound(fastest, "ScaleUpLimit",
              "the desired replica count is increasing faster than the maximum scale rate", out);
      else
        bound(most, "TooManyReplicas", "the desired replica count is more than the maximum replica count",
              out);
    }
  } else if (out.replicas < current) {
    const int fastest = std::min(speed_limit(autoscaler.down, false, current, memory, now), current);
    if (out.replicas < std::max(least, fastest)) {
      if (least < fastest)
        bound(fastest, "ScaleDownLimit",
              "the desired replica count is decreasing faster than the maximum scale rate", out);
      else
        bound(least, "TooFewReplicas", "the desired replica count is less than the minimum replica count",
              out);
    }
  }
  return out;
}

void remember_change(const Autoscaler& autoscaler, int before, int after, ScalingMemory& memory,
                     base::Time now) {
  if (after > before) memory.added.push_back({now, after - before});
  if (after < before) memory.removed.push_back({now, before - after});
  const int64_t longest = std::max(longest_period(autoscaler.up), longest_period(autoscaler.down));
  for (Entries* entries : {&memory.added, &memory.removed})
    std::erase_if(*entries, [&](const ScalingMemory::Entry& entry) {
      return entry.at <= now - std::chrono::seconds(longest);
    });
}

}  // namespace master::controllers
