// Aggregation and sending of events. Bounded in memory: kMaxKnown keys, then the oldest goes.
#include "kubelet/node/events.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "kubelet/node/utf8.h"

namespace kubelet {

namespace {
constexpr size_t kMaxKnown = 2000;
// See EventBudget.
constexpr auto kQuiet = std::chrono::milliseconds(30), kMostDelay = std::chrono::milliseconds(500);
constexpr double kBurst = 25, kPerSecond = 1.0 / 300;
}  // namespace

bool EventBudget::take(const std::string& uid, base::Time now) {
  auto it = left_.find(uid);
  if (it == left_.end()) {
    if (left_.size() >= kMaxObjects)
      left_.erase(std::min_element(left_.begin(), left_.end(), [](const auto& a, const auto& b) {
        return a.second.since < b.second.since;
      }));
    it = left_.emplace(uid, Left{kBurst, now}).first;
  }
  auto& [events, since] = it->second;
  events = std::min(kBurst, events + kPerSecond * std::chrono::duration<double>(now - since).count());
  since = now;
  if (events < 1) return false;
  events -= 1;
  return true;
}

void Events::emit(const EventSubject& subject, bool warning, std::string reason, std::string message) {
  message = first_bytes(message, 1024);
  const base::Time now = base::wall_now();
  const std::string key = subject.uid + "/" + subject.container + "/" + reason + "/" + message;
  auto it = known_.find(key);
  if (it == known_.end()) {
    if (order_.size() >= kMaxKnown) {
      known_.erase(order_.front());
      bodies_.erase(order_.front());
      order_.pop_front();
    }
    if (!budget_.take(subject.uid, now)) return;
    Known known;
    known.uid = subject.uid;
    known.ns = subject.ns.empty() ? "default" : subject.ns;
    // client-go's form: name.<hex of the time>.
    known.name = subject.name + "." + fmt::format("{:x}", now.time_since_epoch().count());
    known.first = now;
    base::json::object involved{
        {"kind", subject.kind}, {"name", subject.name}, {"uid", subject.uid}, {"apiVersion", "v1"}};
    if (!subject.ns.empty()) involved["namespace"] = subject.ns;
    if (!subject.container.empty())
      involved["fieldPath"] =
          std::string(subject.init ? "spec.initContainers{" : "spec.containers{") + subject.container + "}";
    bodies_[key] =
        base::json::object{{"apiVersion", "v1"},
                           {"kind", "Event"},
                           {"metadata", base::json::object{{"name", known.name}, {"namespace", known.ns}}},
                           {"involvedObject", std::move(involved)},
                           {"reason", reason},
                           {"message", message},
                           {"type", warning ? "Warning" : "Normal"},
                           {"source", base::json::object{{"component", "kubelet"}, {"host", node_name_}}},
                           {"reportingComponent", "kubelet"},
                           {"reportingInstance", node_name_},
                           {"firstTimestamp", base::format_time(now)}};
    it = known_.emplace(key, std::move(known)).first;
    order_.push_back(key);
  }
  // What is repeated too often is only counted; the count goes out with the next one that is sent.
  const bool repeated = ++it->second.count > 1;
  if (repeated && !it->second.dirty && !budget_.take(subject.uid, now)) return;
  if (!it->second.dirty) {
    it->second.dirty = true;
    pending_.push_back(key);
  }
  // Not at once: the Pods' statuses, which somebody waits for, go first. So they wait until nothing more is
  // said for a moment, but not for long.
  if (!timer_.active()) first_pending_ = now;
  if (!timer_.active() || now - first_pending_ < kMostDelay - kQuiet)
    timer_ = loop_.after(kQuiet, [this] { flush(); });
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
    client_.create(api::resources::events, known.ns, std::move(object),
                   [this, key](base::Result<base::json::value> result) {
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
                  known_.erase(key);  // expired there: the next one is a new event
                  std::erase(order_, key);
                });
}

}  // namespace kubelet
