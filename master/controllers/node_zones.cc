#include "master/controllers/node_zones.h"

namespace master::controllers {
using namespace std::chrono_literals;

std::optional<base::Duration> eviction_interval(const ZoneCounts& zone, bool all_failed) {
  constexpr base::Duration kOne = 10s, kOneOfMany = 100s;
  constexpr size_t kFew = 2, kLarge = 50;
  if (all_failed) return std::nullopt;
  // Of one or two, or of a whole zone among others that live, each may go.
  const size_t nodes = zone.ready + zone.not_ready;
  if (zone.ready == 0 || zone.not_ready <= kFew || zone.not_ready * 100 < nodes * 55) return kOne;
  if (nodes > kLarge) return kOneOfMany;
  return std::nullopt;
}

}  // namespace master::controllers
