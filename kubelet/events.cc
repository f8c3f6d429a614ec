// Aggregation and sending of events. Bounded in memory: kMaxKnown keys, then the oldest goes.
#include "kubelet/events.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace kubelet {

namespace {
constexpr size_t kMaxKnown = 2000;
// client-go's spam filter: a burst of 25 for one object, then one in five minutes.
constexpr double kBurst = 25, kPerSecond = 1.0 / 300;
}  // namespace

void Events::emit(const EventSubject& subject, bool warning, std::string reason, std::string message) {
  if (message.size() > 1024) message.resize(1024);
  const base::Time now = base::wall_now();
  const std::string key = subject.uid + "/" + subject.container + "/" + reason + "/" + message;
  auto it = known_.find(key);
  if (it == known_.end()) {
    if (order_.size() >= kMaxKnown) {
      known_.erase(order_.front());
      bodies_.erase(order_.front());
      budgets_.clear();
      order_.pop_front();
    }
    auto [budget, fresh] = budgets_.try_emplace(subject.uid, kBurst, now);
    auto& [left, since] = budget->second;
    left = std::min(kBurst, left + kPerSecond * std::chrono::duration<double>(now - since).count());
    since = now;
    if (left < 1) return;
    left -= 1;
    Known known;
    known.ns = subject.ns.empty() ? "default" : subject.ns;
    // client-go's form: name.<hex of the time>.
    known.name = subject.name + "." + fmt::format("{:x}", now.time_since_epoch().count());
    known.first = now;
    base::json::object involved{{"kind", subject.kind}, {"name", subject.name}, {"uid", subject.uid}, {"apiVersion", "v1"}};
    if (!subject.ns.empty()) involved["namespace"] = subject.ns;
    if (!subject.container.empty())
      involved["fieldPath"] = std::string(subject.init ? "spec.initContainers{" : "spec.containers{") + subject.container + "}";
    bodies_[key] = base::json::object{
        {"apiVersion", "v1"}, {"kind", "Event"},
        {"metadata", base::json::object{{"name", known.name}, {"namespace", known.ns}}},
        {"involvedObject", std::move(involved)}, {"reason", reason}, {"message", message},
        {"type", warning ? "Warning" : "Normal"},
        {"source", base::json::object{{"component", "kubelet"}, {"host", node_name_}}},
        {"reportingComponent", "kubelet"}, {"reportingInstance", node_name_},
        {"firstTimestamp", base::format_time(now)}};
    it = known_.emplace(key, std::move(known)).first;
    order_.push_back(key);
  }
  ++it->second.count;
  if (!it->second.dirty) {
    it->second.dirty = true;
    pending_.push_back(key);
  }
  // Not at once: the Pod's status, which somebody waits for, goes first.
  if (!timer_.active()) timer_ = loop_.after(std::chrono::milliseconds(30), [this] { flush(); });
}

void Events::flush() {
  auto pending = std::move(pending_);
  pending_.clear();
  for (const auto& key : pending) send(key);
}

void Events::send(const std::string& key) {
  auto it = known_.find(key);
  if (it == known_.end() || it->second.creating) return;
  Known& known = it->second;
  known.dirty = false;
  const std::string now = base::format_time(base::wall_now());
  if (auto body = bodies_.find(key); body != bodies_.end()) {
    base::json::object object = std::move(body->second);
    bodies_.erase(body);
    object["count"] = known.count;
    object["lastTimestamp"] = now;
    known.creating = true;
    client_.create(api::resources::events, known.ns, std::move(object), [this, key](base::Result<base::json::value> result) {
      auto found = known_.find(key);
      if (found == known_.end()) return;
      found->second.creating = false;
      if (!result.ok()) {
        // Lost: an event is worth no retry of its own, the next one like it starts afresh.
        known_.erase(found);
        std::erase(order_, key);
      } else if (found->second.dirty) {
        send(key);
      }
    });
    return;
  }
  client_.patch(api::resources::events, known.ns, known.name, "merge",
                base::json::object{{"count", known.count}, {"lastTimestamp", now}},
                [this, key](base::Result<base::json::value> result) {
                  if (result.ok()) return;
                  known_.erase(key);   // expired there: the next one is a new event
                  std::erase(order_, key);
                });
}

}  // namespace kubelet
