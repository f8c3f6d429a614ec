// EventKeeper: Events are bounded in number and age, so that a noisy Pod can't fill the disk. Armed
// only while there are Events: an idle cluster has no timer and writes nothing.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/loop.h"
#include "master/registry/object_cache.h"

namespace master {

struct EventLimits {
  size_t max_events = 5000;
  base::Duration max_age = std::chrono::hours(1);  // kube-apiserver's --event-ttl
};

class EventKeeper {
 public:
  // `remove` deletes the object of a key at its current revision; called on the loop's thread.
  EventKeeper(base::Loop& loop, ObjectCache& events, EventLimits limits,
              std::function<void(const ObjectRef&)> remove, std::function<base::Time()> now = base::wall_now);
  ~EventKeeper();
  void sweep();  // at start and by the timer

 private:
  void arm(base::Duration delay);
  base::Loop& loop_;
  ObjectCache& events_;
  const EventLimits limits_;
  std::function<void(const ObjectRef&)> remove_;
  std::function<base::Time()> now_;
  uint64_t listener_ = 0;
  base::Loop::Handle timer_;
};

// Pure: which of the events have to go, given when each was last written (nanoseconds by key).
std::vector<std::string> events_to_remove(const std::map<std::string, base::Time>& written,
                                          const EventLimits& limits, base::Time now);

}  // namespace master
