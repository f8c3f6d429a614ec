#include "master/registry/event_keeper.h"

#include <algorithm>

namespace master {

namespace {
// Removing in steps keeps the number of sweeps, and so of writes, small.
constexpr auto kSweepInterval = std::chrono::minutes(10);

base::Time last_written(const StoredObject& event, base::Time fallback) {
  auto parsed = base::parse_json(*event.text);
  if (!parsed.ok()) return fallback;
  for (const char* field : {"lastTimestamp", "eventTime", "firstTimestamp"})
    if (auto time = base::parse_time(base::string_at(*parsed, field))) return *time;
  return base::parse_time(base::string_at(*parsed, "metadata", "creationTimestamp")).value_or(fallback);
}
}  // namespace

std::vector<std::string> events_to_remove(const std::map<std::string, base::Time>& written,
                                          const EventLimits& limits, base::Time now) {
  std::vector<std::pair<base::Time, std::string>> left;
  std::vector<std::string> out;
  for (const auto& [key, time] : written) {
    if (now - time > limits.max_age) out.push_back(key);
    else left.emplace_back(time, key);
  }
  if (left.size() > limits.max_events) {
    std::sort(left.begin(), left.end());
    for (size_t i = 0; i < left.size() - limits.max_events; ++i) out.push_back(left[i].second);
  }
  return out;
}

EventKeeper::EventKeeper(base::Loop& loop, ObjectCache& events, EventLimits limits,
                         std::function<void(const ObjectRef&)> remove, std::function<base::Time()> now)
    : loop_(loop), events_(events), limits_(limits), remove_(std::move(remove)), now_(std::move(now)) {
  listener_ = events_.subscribe([this](const WatchEvent& event) {
    if (event.type == WatchEvent::Type::kDeleted) return;
    // A flood is cut soon, but not inside the write that made it.
    if (events_.objects().size() > limits_.max_events + limits_.max_events / 10) arm(base::Duration::zero());
    else if (!timer_.active()) arm(kSweepInterval);
  });
}
EventKeeper::~EventKeeper() { events_.unsubscribe(listener_); }

void EventKeeper::arm(base::Duration delay) {
  timer_ = loop_.after(delay, [this] { sweep(); });
}

void EventKeeper::sweep() {
  base::Time now = now_();
  std::map<std::string, base::Time> written;
  for (const auto& [key, object] : events_.objects()) written.emplace(key, last_written(*object, now));
  std::vector<std::string> gone = events_to_remove(written, limits_, now);
  for (const std::string& key : gone)
    if (ObjectRef object = events_.find(key)) remove_(object);
  if (written.size() > gone.size()) arm(kSweepInterval);
}

}  // namespace master
