// Which Pod without a node is tried next, and which wait for what: active (by priority, then age), in
// back-off after a failure, or unschedulable until something changes that a rule which refused it takes for
// help. A plain value; time comes in. Pods in back-off are taken before their time while nothing is active,
// but those whose binding failed: as kube-scheduler since 1.33.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>

#include "base/clock.h"
#include "master/scheduler/picture.h"

namespace master::scheduler {

class Queue {
 public:
  static constexpr base::Duration kFlush = std::chrono::minutes(5);
  explicit Queue(base::Duration first_backoff = std::chrono::seconds(1),
                 base::Duration last_backoff = std::chrono::seconds(10))
      : first_backoff_(first_backoff), last_backoff_(last_backoff) {}

  // New, or changed in what it asks for: it is tried at once. The failures of one that was known stay.
  void add(const std::string& pod, std::shared_ptr<const Ask> ask);
  void remove(const std::string& pod);
  bool knows(const std::string& pod) const { return entries_.count(pod) > 0; }
  // The next to try, which is then neither here nor there until one of the calls below.
  std::optional<std::string> take(base::Time now);
  // It fits nowhere; `refused_by` are bits of rules().
  void unschedulable(const std::string& pod, uint32_t refused_by, base::Time now);
  void failed(const std::string& pod, base::Time now);  // its binding, by no fault of its own
  // Something changed: those that it may help are to be tried once their back-off is over.
  void changed(const Change& change, base::Time now);
  void activate(const std::string& pod);  // no matter what it waits for
  // When take() would have something again; nothing: only after a change.
  std::optional<base::Time> due() const;
  size_t active() const { return active_.size(); }
  std::string text(base::Time now) const;  // one line a Pod, for tests

 private:
  enum class State { kActive, kTaken, kBackoff, kFailed, kUnschedulable };
  using Place = std::tuple<int64_t, uint64_t, std::string>;
  struct Entry {
    std::shared_ptr<const Ask> ask;
    uint64_t order = 0;
    int failures = 0;
    State state = State::kActive;
    uint32_t refused_by = 0;
    base::Time since{}, until{};
  };
  static Place place(const std::string& pod, const Entry& entry) {
    return {-int64_t{entry.ask->priority}, entry.order, pod};
  }
  void leave(const std::string& pod, Entry& entry);
  void enter(const std::string& pod, Entry& entry, State state);
  void flush(base::Time now);
  base::Duration backoff(int failures) const;

  std::unordered_map<std::string, Entry> entries_;
  std::set<Place> active_;
  std::set<std::pair<base::Time, std::string>> backoff_, failed_, unschedulable_;
  // The unschedulable by what decides whether a change helps them: one answer for many.
  std::map<std::pair<std::shared_ptr<const Ask>, uint32_t>, std::set<std::string>> alike_;
  uint64_t next_order_ = 0;
  base::Duration first_backoff_, last_backoff_;
};

}  // namespace master::scheduler
