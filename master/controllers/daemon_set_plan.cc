#include "master/controllers/daemon_set_plan.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace master::controllers {
using base::as_int;
using base::find;

namespace {

// Where a Pod is, or will be.
const std::string& place_of(const Pod& pod) { return pod.node.empty() ? pod.named_node : pod.node; }

class DaemonPlanner {
 public:
  DaemonPlanner(const DaemonSetView& view, base::Time now)
      : view_(view), set_(*view.set), now_(now), min_ready_(std::chrono::seconds(set_.min_ready_seconds)) {}

  DaemonSetPlan run() {
    if (set_.meta.deleting) return std::move(plan_);
    claim();
    plan_.revisions =
        plan_revisions({set_.meta, "DaemonSet", set_.selector, set_.pod_template, set_.annotations,
                        as_int(find(set_.status, "collisionCount")), kRevisionHash},
                       view_.revisions);
    if (!plan_.revisions.settled()) return std::move(plan_);
    plan_.hash = hash_of(*plan_.revisions.newest);
    for (const Revision* revision : same()) hashes_.insert(hash_of(*revision));
    observe_nodes();
    manage();
    if (plan_.create.empty() && plan_.remove.empty() && !set_.on_delete) update();
    refuse_strays();
    cut(plan_.create), cut(plan_.remove);
    trim_history();
    publish();
    return std::move(plan_);
  }

 private:
  // The Pods of one node, and whether they should be there.
  struct Place {
    Placement allowed;
    bool exists = false;            // the node does
    std::vector<const Pod*> pods;   // oldest first; without those that ended and are deleted
    std::vector<const Pod*> alive;  // of them, those that are not being deleted
  };

  static std::string hash_of(const Revision& revision) {
    auto at = revision.labels.find(kRevisionHash);
    return at == revision.labels.end() ? revision.meta.name : at->second;
  }
  std::vector<const Revision*> same() const {
    std::vector<const Revision*> out;
    for (const auto& revision : view_.revisions)
      if (plan_.revisions.same.contains(revision->meta.name)) out.push_back(revision.get());
    return out;
  }
  // By a selector over what the controller itself sets, a Pod would be let go as soon as it is made.
  void refuse_strays() {
    if (plan_.create.empty()) return;
    const json::value body(pod_of_daemon_set(set_, "", plan_.hash));
    if (set_.selector.matches(read_labels(base::find_path(body, "metadata", "labels")))) return;
    plan_.create.clear();
    plan_.events.push_back(
        {"Warning", "FailedCreate",
         "Error creating: the selector does not match the labels that the Pods would have"});
  }
  void claim() {
    for (const auto& pod : view_.pods) {
      const bool match = set_.selector.matches(pod->shape->labels);
      if (pod->owner_uid == set_.meta.uid) {
        if (match) mine_.push_back(pod.get());
        else plan_.release.push_back(pod->meta.name);
      } else if (pod->owner_uid.empty() && match && !pod->meta.deleting) {
        plan_.adopt.push_back(pod->meta.name);
        mine_.push_back(pod.get());
      }
    }
    std::sort(plan_.adopt.begin(), plan_.adopt.end());
    std::sort(plan_.release.begin(), plan_.release.end());
    std::sort(mine_.begin(), mine_.end(), [](const Pod* a, const Pod* b) {
      return std::make_tuple(a->node.empty(), a->meta.created, a->meta.name) <
             std::make_tuple(b->node.empty(), b->meta.created, b->meta.name);
    });
  }
  void observe_nodes() {
    for (const auto& node : view_.nodes) {
      Place& place = places_[node->meta.name];
      place.exists = true;
      place.allowed = placement(set_, *node);
      desired_ += place.allowed.start;
    }
    for (const Pod* pod : mine_) {
      const std::string& where = place_of(*pod);
      if (where.empty() || (pod->meta.deleting && pod->finished())) continue;  // nothing is left to be done
      Place& place = places_[where];
      place.pods.push_back(pod);
      if (!pod->meta.deleting) place.alive.push_back(pod);
    }
  }

  bool updated(const Pod& pod) const {
    auto at = pod.shape->labels.find(kRevisionHash);
    return at != pod.shape->labels.end() && hashes_.contains(at->second);
  }
  bool available(const Pod& pod) {
    if (!pod.ready) return false;
    const base::Duration left = pod.ready_since + min_ready_ - now_;
    if (min_ready_.count() == 0 || left.count() <= 0) return true;
    look_again(left);
    return false;
  }
  void look_again(base::Duration after) { plan_.again = plan_.again ? std::min(*plan_.again, after) : after; }
  int fence(const json::value& value, int otherwise) const {
    return static_cast<int>(
        std::clamp<int64_t>(scaled(value, desired_, true).value_or(otherwise), 0, INT32_MAX));
  }

  // One Pod on each node that should have one, none where none may stay, no failed ones.
  void manage() {
    const bool surging = fence(set_.max_surge, 0) > 0 && !set_.on_delete;
    for (auto& [node, place] : places_) {
      if (!place.exists) {  // what has a node goes with it; what has none would wait for ever
        for (const Pod* pod : place.alive)
          if (pod->node.empty()) plan_.remove.push_back(pod->meta.name);
      } else if (place.allowed.start && place.pods.empty()) {
        plan_.create.push_back(node);
      } else if (place.allowed.stay) {
        tend(node, place, surging);
      } else {
        for (const Pod* pod : place.alive) plan_.remove.push_back(pod->meta.name);
      }
    }
  }
  void tend(const std::string& node, const Place& place, bool surging) {
    std::vector<const Pod*> running;
    for (const Pod* pod : place.alive) {
      if (!pod->finished()) {
        running.push_back(pod);
      } else if (pod->phase == "Failed") {
        remove_failed(node, *pod);
      } else {
        plan_.events.push_back(
            {"Normal", "SucceededDaemonPod",
             fmt::format("Found succeeded daemon pod {}/{} on node {}, will try to delete it", pod->meta.ns,
                         pod->meta.name, node)});
        plan_.remove.push_back(pod->meta.name);
      }
    }
    if (!surging) {
      for (size_t i = 1; i < running.size(); ++i) plan_.remove.push_back(running[i]->meta.name);
    } else if (running.empty()) {
      // At least one that is not being deleted, and none beside a failed one that waits for its time.
      if (place.allowed.start && place.alive.empty()) plan_.create.push_back(node);
    } else if (running.size() > 1) {
      keep_two(running);
    }
  }
  // What a failed Pod failed of may be the node's refusal: each next one stays longer.
  void remove_failed(const std::string& node, const Pod& pod) {
    auto last = view_.failed.find(node);
    if (last != view_.failed.end() && last->second.generation == observed() && now_ >= last->second.at) {
      const base::Duration left = last->second.at + last->second.delay - now_;
      if (left.count() > 0) return look_again(left);
    }
    plan_.events.push_back({"Warning", "FailedDaemonPod",
                            fmt::format("Found failed daemon pod {}/{} on node {}, will try to kill it",
                                        pod.meta.ns, pod.meta.name, node)});
    plan_.remove.push_back(pod.meta.name);
    if (plan_.failed.empty() || plan_.failed.back() != node) plan_.failed.push_back(node);
  }
  int64_t observed() const { return as_int(find(set_.status, "observedGeneration")); }
  // An old Pod stays beside a new one as long as it serves and the new one does not.
  void keep_two(const std::vector<const Pod*>& running) {
    const Pod *fresh = nullptr, *old = nullptr;
    for (const Pod* pod : running) {
      const Pod*& kept = updated(*pod) ? fresh : old;
      if (kept) plan_.remove.push_back(pod->meta.name);
      else kept = pod;
    }
    if (fresh && old && (!old->ready || available(*fresh))) plan_.remove.push_back(old->meta.name);
  }

  // The old and the new Pod of a node; more of one kind are for manage() to prune.
  struct Pair {
    const Pod *fresh = nullptr, *old = nullptr;
    bool clear = true;
  };
  Pair pair_of(const Place& place) const {
    Pair pair;
    for (const Pod* pod : place.alive) {
      const Pod*& one = updated(*pod) ? pair.fresh : pair.old;
      if (one) return {nullptr, nullptr, false};
      one = pod;
    }
    return pair;
  }

  void update() {
    const int surge = fence(set_.max_surge, 0);
    int unavailable = fence(set_.max_unavailable, 1);
    if (surge == 0 && unavailable == 0) unavailable = 1;
    if (surge > 0) update_by_surge(surge);
    else update_in_place(unavailable);
  }
  bool counts(const Place& place) const { return place.allowed.start || !place.pods.empty(); }

  // Old Pods go as long as no more nodes than allowed are without an available one; those that do not serve
  // anyway go at once.
  void update_in_place(int allowed) {
    int missing = 0;
    std::vector<std::string> candidates;
    for (const auto& [node, place] : places_) {
      if (!counts(place)) continue;
      const Pair pair = pair_of(place);
      if (!pair.clear || (pair.old != nullptr) == (pair.fresh != nullptr)) {
        ++missing;  // manage() will make or prune
      } else if (pair.fresh) {
        missing += !available(*pair.fresh);
      } else if (!available(*pair.old)) {
        ++missing;
        // A failed one waits for its time.
        if (!pair.old->finished()) plan_.remove.push_back(pair.old->meta.name);
      } else {
        candidates.push_back(pair.old->meta.name);
      }
    }
    for (const std::string& name : candidates) {
      if (missing >= allowed) break;
      plan_.remove.push_back(name);
      ++missing;
    }
  }

  // New Pods come beside the old ones, which go when their successor is available.
  void update_by_surge(int allowed) {
    int surging = 0, serving = 0;
    std::vector<std::string> candidates, unwanted;
    for (const auto& [node, place] : places_) {
      if (!counts(place)) continue;
      const Pair pair = pair_of(place);
      if (!pair.clear) {
        ++surging;
        continue;
      }
      const Pod* shown = pair.old ? pair.old : pair.fresh;
      const bool serves = shown && available(*shown);
      serving += serves;
      if (!pair.old) continue;
      if (pair.fresh) {
        if (available(*pair.fresh)) plan_.remove.push_back(pair.old->meta.name);
        else ++surging;
      } else if (!place.allowed.start) {
        if (!serves) plan_.remove.push_back(pair.old->meta.name);
        else unwanted.push_back(pair.old->meta.name);
      } else if (!serves) {
        if (!pair.old->finished()) plan_.create.push_back(node);
      } else {
        candidates.push_back(node);
      }
    }
    // With a surge all nodes are expected to be served: where the Pod may no longer be, it goes when as many
    // serve elsewhere.
    for (const std::string& name : unwanted) {
      if (serving <= desired_) break;
      plan_.remove.push_back(name);
      --serving;
    }
    for (const std::string& node : candidates) {
      if (surging >= allowed) break;
      plan_.create.push_back(node);
      ++surging;
    }
  }

  static void cut(std::vector<std::string>& list) { list.resize(std::min(list.size(), kDaemonBurst)); }

  void trim_history() {
    if (!set_.revision_history_limit) return;
    std::set<std::string_view> alive;
    for (const Pod* pod : mine_)
      if (auto at = pod->shape->labels.find(kRevisionHash); at != pod->shape->labels.end())
        alive.insert(at->second);
    auto surplus = static_cast<int64_t>(plan_.revisions.old.size()) - *set_.revision_history_limit;
    for (const Revision* revision : plan_.revisions.old) {
      if (surplus <= 0) break;
      if (alive.contains(hash_of(*revision))) continue;
      if (!revision->meta.deleting) plan_.forget.push_back(revision->meta.name);
      --surplus;
    }
  }

  void publish() {
    int current = 0, misscheduled = 0, ready = 0, with_new = 0, serving = 0;
    for (const auto& [node, place] : places_) {
      if (!place.exists || place.pods.empty()) continue;
      if (!place.allowed.start) {
        ++misscheduled;
        continue;
      }
      ++current;
      const Pod& oldest = *place.pods.front();
      ready += oldest.ready;
      serving += available(oldest);
      with_new += updated(oldest);
    }
    number("currentNumberScheduled", current, true);
    number("desiredNumberScheduled", desired_, true);
    number("numberMisscheduled", misscheduled, true);
    number("numberReady", ready, true);
    number("updatedNumberScheduled", with_new);
    number("numberAvailable", serving);
    number("numberUnavailable", desired_ - serving);
    number("observedGeneration", std::max(set_.meta.generation, observed()));
  }
  void number(const char* key, int64_t value, bool keep_zero = false) {
    const json::value* before = find(set_.status, key);
    if (value || keep_zero) plan_.status[key] = value;
    else if (before) plan_.status[key] = nullptr;
    plan_.status_changed |= as_int(before) != value || (keep_zero && !before);
  }

  const DaemonSetView& view_;
  const DaemonSet& set_;
  const base::Time now_;
  const base::Duration min_ready_;
  std::vector<const Pod*> mine_;  // scheduled ones first, then by age
  std::set<std::string> hashes_;  // of the newest template
  std::map<std::string, Place> places_;
  int desired_ = 0;
  DaemonSetPlan plan_;
};

}  // namespace

void note_failed_daemon(FailedDaemons& failed, const std::string& node, int64_t generation, base::Time now) {
  FailedDaemon& last = failed[node];
  const bool fresh = last.delay.count() == 0 || last.generation != generation || now < last.at ||
                     now - last.at > 2 * kFailedDaemonMaxBackoff;
  last.delay = fresh ? kFailedDaemonBackoff : std::min(last.delay * 2, kFailedDaemonMaxBackoff);
  last.at = now;
  last.generation = generation;
}

DaemonSetPlan plan_daemon_set(const DaemonSetView& view, base::Time now) {
  return DaemonPlanner(view, now).run();
}

std::string DaemonSetPlan::text() const {
  std::string out;
  for (const std::string& name : adopt) out += fmt::format("adopt {}\n", name);
  for (const std::string& name : release) out += fmt::format("release {}\n", name);
  out += revisions.text();
  for (const std::string& name : remove) out += fmt::format("delete {}\n", name);
  for (const std::string& node : create) out += fmt::format("create on {}\n", node);
  for (const std::string& node : failed) out += fmt::format("failed on {}\n", node);
  for (const std::string& name : forget) out += fmt::format("forget {}\n", name);
  for (const PlanEvent& event : events) out += fmt::format("event {} {}\n", event.type, event.reason);
  if (status_changed) {
    out += "status";
    for (const auto& [key, shown] : {std::pair{"desiredNumberScheduled", "desired"},
                                     {"currentNumberScheduled", "current"},
                                     {"numberMisscheduled", "misscheduled"},
                                     {"numberReady", "ready"},
                                     {"updatedNumberScheduled", "updated"},
                                     {"numberAvailable", "available"},
                                     {"numberUnavailable", "unavailable"}})
      if (const json::value* value = status.if_contains(key); value && value->is_number() && as_int(value))
        out += fmt::format(" {}={}", shown, as_int(value));
    out += "\n";
  }
  if (again)
    out +=
        fmt::format("again in {}ms\n", std::chrono::duration_cast<std::chrono::milliseconds>(*again).count());
  return out;
}

}  // namespace master::controllers
