// Events as kubectl describe shows them: one object per (object, reason, message), counted when it
// repeats, and a token bucket per object so that a failing loop cannot flood the store.
// Best effort: an event that cannot be written is dropped.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/client/client.h"
#include "base/clock.h"

namespace master::controllers {

struct ObjectRef {
  std::string api_version, kind, ns, name, uid;
};

// An Event that a plan asks for: "Normal" or "Warning", a word, a sentence.
struct PlanEvent {
  std::string type, reason, message;
};

// What the API server answered, as Events and conditions repeat it: without the request, the code and the
// way.
std::string answered(const base::Error& error);

class EventRecorder {
 public:
  EventRecorder(api::Client& client, std::string component, std::function<base::Time()> now);
  // `type` is "Normal" or "Warning". `component` overrides the recorder's for this event.
  void record(const ObjectRef& about, std::string_view type, std::string_view reason,
              std::string_view message, std::string_view component = {});
  void record(const ObjectRef& about, const std::vector<PlanEvent>& events, std::string_view component = {}) {
    for (const PlanEvent& event : events) record(about, event.type, event.reason, event.message, component);
  }

 private:
  struct Seen {
    std::string ns, name;
    int count = 0;
    base::Time last{};
  };
  struct Bucket {
    double tokens;
    base::Time at;
  };
  bool allowed(const std::string& uid, base::Time now);
  api::Client& client_;
  std::string component_;
  std::function<base::Time()> now_;
  std::unordered_map<std::string, Seen> seen_;
  std::unordered_map<std::string, Bucket> buckets_;
  uint64_t next_ = 0;
};

}  // namespace master::controllers
