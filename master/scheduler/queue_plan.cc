#include "master/scheduler/queue_plan.h"

#include <algorithm>

#include "master/scheduler/rule.h"

namespace master::scheduler {

base::Duration Queue::backoff(int failures) const {
  base::Duration out = first_backoff_;
  for (int i = 1; i < failures && out < last_backoff_; ++i) out *= 2;
  return std::min(out, last_backoff_);
}
void Queue::leave(const std::string& pod, Entry& entry) {
  switch (entry.state) {
    case State::kActive: active_.erase(place(pod, entry)); break;
    case State::kBackoff: backoff_.erase({entry.until, pod}); break;
    case State::kFailed: failed_.erase({entry.until, pod}); break;
    case State::kUnschedulable: {
      unschedulable_.erase({entry.since, pod});
      auto at = alike_.find({entry.ask, entry.refused_by});
      at->second.erase(pod);
      if (at->second.empty()) alike_.erase(at);
      break;
    }
    case State::kTaken: break;
  }
}
void Queue::enter(const std::string& pod, Entry& entry, State state) {
  leave(pod, entry);
  entry.state = state;
  switch (state) {
    case State::kActive: active_.insert(place(pod, entry)); break;
    case State::kBackoff: backoff_.insert({entry.until, pod}); break;
    case State::kFailed: failed_.insert({entry.until, pod}); break;
    case State::kUnschedulable:
      unschedulable_.insert({entry.since, pod});
      alike_[{entry.ask, entry.refused_by}].insert(pod);
      break;
    case State::kTaken: break;
  }
}
void Queue::add(const std::string& pod, std::shared_ptr<const Ask> ask) {
  auto [at, fresh] = entries_.try_emplace(pod);
  Entry& entry = at->second;
  if (fresh) entry.order = next_order_++, entry.state = State::kTaken;
  leave(pod, entry);
  entry.state = State::kTaken;
  entry.ask = std::move(ask);
  enter(pod, entry, State::kActive);
}
void Queue::remove(const std::string& pod) {
  auto at = entries_.find(pod);
  if (at == entries_.end()) return;
  leave(pod, at->second);
  entries_.erase(at);
}
void Queue::flush(base::Time now) {
  auto move = [&](auto& from, base::Duration after) {
    while (!from.empty() && from.begin()->first + after <= now) {
      const std::string pod = from.begin()->second;
      enter(pod, entries_.at(pod), State::kActive);
    }
  };
  move(backoff_, {});
  move(failed_, {});
  move(unschedulable_, kFlush);
}
std::optional<std::string> Queue::take(base::Time now) {
  flush(now);
  std::string pod;
  if (!active_.empty()) pod = std::get<2>(*active_.begin());
  else if (!backoff_.empty()) pod = backoff_.begin()->second;
  else return {};
  enter(pod, entries_.at(pod), State::kTaken);
  return pod;
}
void Queue::unschedulable(const std::string& pod, uint32_t refused_by, base::Time now) {
  auto at = entries_.find(pod);
  if (at == entries_.end()) return;
  Entry& entry = at->second;
  leave(pod, entry);
  entry.state = State::kTaken;
  ++entry.failures;
  entry.refused_by = refused_by;
  entry.since = now;
  entry.until = now + backoff(entry.failures);
  enter(pod, entry, State::kUnschedulable);
}
void Queue::failed(const std::string& pod, base::Time now) {
  auto at = entries_.find(pod);
  if (at == entries_.end()) return;
  Entry& entry = at->second;
  leave(pod, entry);
  entry.state = State::kTaken;
  ++entry.failures;
  entry.until = now + backoff(entry.failures);
  enter(pod, entry, State::kFailed);
}
void Queue::changed(const Change& change, base::Time now) {
  std::vector<std::string> helped;
  for (const auto& [what, pods] : alike_) {
    const auto& [ask, refused_by] = what;
    // Without a rule to blame there was no node at all.
    bool helps = !refused_by && (change.what & Change::kNodeAdded);
    size_t row = 0;
    for (const Rule& rule : rules()) {
      if (refused_by & (1u << row)) helps |= rule.helps && rule.helps(*ask, change);
      ++row;
    }
    if (helps) helped.insert(helped.end(), pods.begin(), pods.end());
  }
  for (const std::string& pod : helped) {
    Entry& entry = entries_.at(pod);
    enter(pod, entry, entry.until <= now ? State::kActive : State::kBackoff);
  }
}
void Queue::activate(const std::string& pod) {
  auto at = entries_.find(pod);
  if (at != entries_.end() && at->second.state != State::kTaken) enter(pod, at->second, State::kActive);
}
std::optional<base::Time> Queue::due() const {
  if (!active_.empty() || !backoff_.empty()) return base::Time{};
  std::optional<base::Time> out;
  if (!failed_.empty()) out = failed_.begin()->first;
  if (!unschedulable_.empty()) {
    const base::Time flush = unschedulable_.begin()->first + kFlush;
    out = out ? std::min(*out, flush) : flush;
  }
  return out;
}
std::string Queue::text(base::Time now) const {
  std::set<std::string> lines;
  auto seconds = [&](base::Time at) {
    return std::chrono::duration_cast<std::chrono::seconds>(at - now).count();
  };
  for (const auto& [pod, entry] : entries_) switch (entry.state) {
      case State::kActive: lines.insert(fmt::format("{} active", pod)); break;
      case State::kTaken: lines.insert(fmt::format("{} taken", pod)); break;
      case State::kBackoff: lines.insert(fmt::format("{} backoff {}s", pod, seconds(entry.until))); break;
      case State::kFailed: lines.insert(fmt::format("{} failed {}s", pod, seconds(entry.until))); break;
      case State::kUnschedulable: lines.insert(fmt::format("{} unschedulable", pod)); break;
    }
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

}  // namespace master::scheduler
