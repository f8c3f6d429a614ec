#include "master/controllers/stateful_set_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "master/controllers/workloads.h"

namespace master::controllers {
using base::as_int;
using base::find;
using base::string_at;

namespace {

// A Pod that fails as soon as it is made is not made again faster than this.
constexpr base::Duration kFailedStatefulPodStays = std::chrono::seconds(2);

class StatefulPlanner {
 public:
  StatefulPlanner(const StatefulSetView& view, base::Time now)
      : view_(view), set_(*view.set), now_(now), min_ready_(std::chrono::seconds(set_.min_ready_seconds)) {}

  StatefulSetPlan run() {
    if (set_.meta.deleting) return std::move(plan_);
    claim_pods();
    plan_.revisions =
        plan_revisions({set_.meta, "StatefulSet", set_.selector, set_.pod_template, set_.annotations,
                        as_int(find(set_.status, "collisionCount")), "controller.kubernetes.io/hash"},
                       view_.revisions);
    if (!plan_.revisions.settled()) return std::move(plan_);
    find_current();
    if (tend_replicas() && tend_condemned() && !set_.on_delete) update();
    trim_history();
    publish();
    return std::move(plan_);
  }

 private:
  void claim_pods() {
    for (const auto& pod : view_.pods) {
      const int64_t ordinal = set_.ordinal_of(pod->meta.name);
      const bool match = ordinal >= 0 && set_.selector.matches(pod->shape->labels);
      if (pod->owner_uid == set_.meta.uid) {
        if (!match) {
          plan_.release.push_back(pod->meta.name);
          continue;
        }
      } else if (pod->owner_uid.empty() && match && !pod->meta.deleting) {
        plan_.adopt.push_back(pod->meta.name);
      } else {
        continue;
      }
      (set_.in_range(ordinal) ? replicas_ : condemned_)[ordinal] = pod.get();
    }
    std::sort(plan_.adopt.begin(), plan_.adopt.end());
    std::sort(plan_.release.begin(), plan_.release.end());
  }
  void find_current() {
    newest_ = plan_.revisions.newest;
    current_ = newest_;
    const std::string_view name = string_at(set_.status, "currentRevision");
    for (const Revision* revision : plan_.revisions.old)
      if (revision->meta.name == name) current_ = revision;
    if (plan_.revisions.same.contains(name)) current_ = newest_;
  }

  static std::string_view revision_of_pod(const Pod& pod) { return label(pod.shape->labels, kRevisionHash); }
  bool updated(const Pod& pod) const { return plan_.revisions.same.contains(revision_of_pod(pod)); }
  bool is_current(const Pod& pod) const {
    return current_ == newest_ ? updated(pod) : revision_of_pod(pod) == current_->meta.name;
  }
  static bool ready(const Pod& pod) { return pod.phase == "Running" && pod.ready; }
  bool available(const Pod& pod) {
    if (!ready(pod)) return false;
    const base::Duration left = pod.ready_since + min_ready_ - now_;
    if (min_ready_.count() == 0 || left.count() <= 0) return true;
    look_again(left);
    return false;
  }
  bool serves(const Pod& pod) { return available(pod) && !pod.meta.deleting; }
  void look_again(base::Duration after) { plan_.again = plan_.again ? std::min(*plan_.again, after) : after; }
  bool full() const { return plan_.create.size() + plan_.remove.size() >= kStatefulBurst; }
  void remove(const Pod& pod) {
    if (!full() && removed_.insert(pod.meta.name).second) plan_.remove.push_back(pod.meta.name);
  }

  // Makes what is missing and replaces what ended. False: something has to happen first.
  bool tend_replicas() {
    for (int64_t ordinal = set_.start; set_.in_range(ordinal) && !full(); ++ordinal) {
      auto at = replicas_.find(ordinal);
      const bool go_on = at == replicas_.end() ? create(ordinal) : tend(ordinal, *at->second);
      if (!go_on && !set_.parallel) return false;
    }
    return !full();
  }
  bool create(int64_t ordinal) {
    const std::string name = set_.pod_name(ordinal);
    if (!ready_claims(ordinal, name)) return false;
    if (auto at = view_.left.find(name); at != view_.left.end()) {
      const base::Duration rest = at->second + kNameRests - now_;
      if (rest.count() > 0 && rest <= kNameRests) {
        look_again(rest);
        return false;
      }
    }
    const Revision& from = !set_.on_delete && ordinal < set_.start + set_.partition ? *current_ : *newest_;
    json::object body = pod_of_stateful_set(
        set_, from.pod_template.is_object() ? from.pod_template : set_.pod_template, from.meta.name, ordinal);
    // By a selector over what the controller itself sets: it would be let go as soon as it is made.
    if (!set_.selector.matches(read_labels(find(body.at("metadata"), "labels")))) {
      plan_.events.push_back(
          {"Warning", "FailedCreate",
           fmt::format("create Pod {} in StatefulSet {} failed error: the selector does not match the labels "
                       "that it would have",
                       name, set_.meta.name)});
      return false;
    }
    plan_.create.push_back({name, std::move(body)});
    return false;
  }
  bool tend(int64_t ordinal, const Pod& pod) {
    if (pod.finished()) {
      const base::Duration left = pod.meta.created + kFailedStatefulPodStays - now_;
      if (left.count() > 0 && left <= kFailedStatefulPodStays) look_again(left);
      else if (!pod.meta.deleting) remove(pod);
      return false;  // its name is free when it is gone
    }
    if (pod.phase == "Pending") make_claims(ordinal, pod.meta.name);
    if (pod.meta.deleting || !available(pod)) {
      if (!set_.parallel) return false;
    }
    if (!pod.meta.deleting && (label(pod.shape->labels, kPodNameLabel) != pod.meta.name))
      plan_.relabel.push_back({pod.meta.name, ordinal});
    own_claims(ordinal, pod.meta.name, pod.meta.uid);
    return true;
  }

  // Pods beyond the size go, the last first: in order, one at a time and none while another is ill.
  bool tend_condemned() {
    for (auto at = condemned_.rbegin(); at != condemned_.rend(); ++at)
      own_claims(at->first, at->second->meta.name, at->second->meta.uid);
    const Pod* first_ill = nullptr;
    for (const auto& [ordinal, pod] : condemned_)
      if (!serves(*pod) && !first_ill) first_ill = pod;
    for (auto at = condemned_.rbegin(); at != condemned_.rend(); ++at) {
      const Pod& pod = *at->second;
      if (set_.parallel) {
        if (!pod.meta.deleting) remove(pod);
        continue;
      }
      // What has ended will not get well, so it is not waited for.
      if (pod.meta.deleting || (!available(pod) && !pod.finished() && &pod != first_ill)) return false;
      remove(pod);
      return false;
    }
    return !full();
  }

  // From the last down to the partition, as many at once as may be missing.
  void update() {
    const int64_t allowed =
        std::max<int64_t>(1, scaled(set_.max_unavailable, set_.replicas, false).value_or(1));
    int64_t missing = set_.replicas - static_cast<int64_t>(replicas_.size());
    std::vector<const Pod*> ill, well;  // old ones that may go
    for (auto at = replicas_.rbegin(); at != replicas_.rend(); ++at) {
      const Pod& pod = *at->second;
      const bool serving = serves(pod) && !removed_.contains(pod.meta.name);
      missing += !serving;
      if (at->first < set_.start + set_.partition || updated(pod) || pod.meta.deleting ||
          removed_.contains(pod.meta.name))
        continue;
      (serving ? well : ill).push_back(&pod);
    }
    // In parallel what does not serve anyway is replaced whatever else is missing, or a template that cannot
    // work would never be mended. In order nothing is touched while anything is ill.
    if (set_.parallel)
      for (const Pod* pod : ill) replace(*pod);
    for (const Pod* pod : well) {
      if (missing >= allowed) break;
      replace(*pod);
      ++missing;
    }
  }
  void replace(const Pod& pod) {
    remove(pod);
    if (removed_.contains(pod.meta.name)) replaced_.insert(pod.meta.name);
  }

  // ---- claims

  // Whether the claims of a Pod that is to be made are there or can be made.
  bool ready_claims(int64_t ordinal, const std::string& pod) {
    for (const json::value& one : set_.claim_templates) {
      const std::string name = claim_name(set_, one, ordinal);
      auto claim = view_.claim(name);
      if (!claim) continue;
      if (claim->meta.deleting) {
        plan_.events.push_back(
            {"Warning", "FailedCreate",
             fmt::format("create Pod {} in StatefulSet {} failed error: pvc {} is being deleted", pod,
                         set_.meta.name, name)});
        return false;
      }
      // It goes with a Pod that was here before: the new one waits for a new claim.
      if (set_.delete_claims_with_pod)
        for (const OwnerRef& owner : claim->owners)
          if (names_pod(owner, pod)) return false;
    }
    make_claims(ordinal, pod);
    own_claims(ordinal, pod, "");
    return true;
  }
  void make_claims(int64_t ordinal, const std::string& pod) {
    for (const json::value& one : set_.claim_templates) {
      const std::string name = claim_name(set_, one, ordinal);
      if (view_.claim(name)) continue;
      json::object body = claim_of_set(set_, one, ordinal);
      if (set_.delete_claims_with_set && set_.in_range(ordinal)) {
        json::value& owners = base::object_at(body, "metadata")["ownerReferences"];
        if (!owners.is_array()) owners = json::array();
        owners.get_array().push_back(own_reference());
      }
      plan_.claims.push_back({name, pod, std::move(body)});
    }
  }
  json::object own_reference() const {
    return controller_reference("apps/v1", "StatefulSet", set_.meta.name, set_.meta.uid);
  }
  bool names_set(const OwnerRef& owner) const {
    return owner.api_version == "apps/v1" && owner.kind == "StatefulSet" && owner.name == set_.meta.name;
  }
  static bool names_pod(const OwnerRef& owner, const std::string& pod) {
    return owner.api_version == "v1" && owner.kind == "Pod" && owner.name == pod;
  }
  // Whose the claims of a Pod are, as the retention policy says: the set's if they go with it, the Pod's if
  // they go with a Pod that is beyond the size.
  void own_claims(int64_t ordinal, const std::string& pod, const std::string& pod_uid) {
    const bool by_pod = set_.delete_claims_with_pod && !set_.in_range(ordinal);
    const bool by_set = set_.delete_claims_with_set && !by_pod;
    const bool any_policy = set_.delete_claims_with_pod || set_.delete_claims_with_set;
    for (const json::value& one : set_.claim_templates) {
      auto claim = view_.claim(claim_name(set_, one, ordinal));
      if (!claim || claim->meta.deleting) continue;
      bool stale = false, strange = false, loose = false, has_set = false, has_pod = false;
      json::array others;
      for (const OwnerRef& owner : claim->owners) {
        const bool ours = names_set(owner), pods = names_pod(owner, pod);
        stale |= (ours && owner.uid != set_.meta.uid) || (pods && owner.uid != pod_uid);
        has_set |= owner.uid == set_.meta.uid;
        has_pod |= !pod_uid.empty() && owner.uid == pod_uid;
        loose |= (ours || pods) && !owner.controller;
        strange |= any_policy && !ours && !pods && owner.controller;
        if (ours || pods) continue;
        json::object kept{{"apiVersion", owner.api_version},
                          {"kind", owner.kind},
                          {"name", owner.name},
                          {"uid", owner.uid}};
        if (owner.controller) kept["controller"] = true;
        if (owner.block) kept["blockOwnerDeletion"] = true;
        others.push_back(std::move(kept));
      }
      if (stale) continue;  // of one before us: the garbage collector's
      if (strange ? !has_set && !has_pod : !loose && has_set == by_set && has_pod == by_pod) continue;
      if (strange)
        plan_.events.push_back(
            {"Warning", "ConflictingController",
             fmt::format("PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a manging "
                         "controller, the retention policy is ignored for this claim",
                         claim->meta.name)});
      else if (by_set) others.push_back(own_reference());
      else if (by_pod) others.push_back(controller_reference("v1", "Pod", pod, pod_uid));
      plan_.owners.push_back({claim->meta.name, claim->meta.revision, std::move(others)});
    }
  }

  // ---- history and status

  void trim_history() {
    if (!set_.revision_history_limit) return;
    std::set<std::string_view> alive{current_->meta.name, newest_->meta.name};
    for (const auto* group : {&replicas_, &condemned_})
      for (const auto& [ordinal, pod] : *group) alive.insert(revision_of_pod(*pod));
    std::vector<const Revision*> history;
    for (const Revision* revision : plan_.revisions.old)
      if (!alive.contains(revision->meta.name)) history.push_back(revision);
    for (size_t i = 0; i + static_cast<size_t>(*set_.revision_history_limit) < history.size(); ++i)
      if (!history[i]->meta.deleting) plan_.forget.push_back(history[i]->meta.name);
  }

  void publish() {
    int64_t total = 0, is_ready = 0, is_available = 0, of_current = 0, of_newest = 0;
    for (const auto* group : {&replicas_, &condemned_})
      for (const auto& [ordinal, pod] : *group) {
        ++total;
        is_ready += ready(*pod);
        is_available += available(*pod);
        if (pod->meta.deleting || replaced_.contains(pod->meta.name)) continue;
        of_current += is_current(*pod);
        of_newest += updated(*pod);
      }
    const Revision* current = current_;
    if (!set_.on_delete && of_newest == set_.replicas && is_ready == set_.replicas &&
        total == set_.replicas) {
      current = newest_;  // the update is over
      of_current = of_newest;
    }
    number("replicas", total, true);
    number("availableReplicas", is_available, true);
    number("readyReplicas", is_ready);
    number("currentReplicas", of_current);
    number("updatedReplicas", of_newest);
    number("observedGeneration",
           std::max(set_.meta.generation, as_int(find(set_.status, "observedGeneration"))));
    number("collisionCount", as_int(find(set_.status, "collisionCount")), true);
    for (const auto& [key, revision] : {std::pair{"currentRevision", current}, {"updateRevision", newest_}}) {
      plan_.status[key] = revision->meta.name;
      plan_.status_changed |= string_at(set_.status, key) != revision->meta.name;
    }
  }
  void number(const char* key, int64_t value, bool keep_zero = false) {
    const json::value* before = find(set_.status, key);
    if (value || keep_zero) plan_.status[key] = value;
    else if (before) plan_.status[key] = nullptr;
    plan_.status_changed |= as_int(before) != value || (keep_zero && !before);
  }

  const StatefulSetView& view_;
  const StatefulSet& set_;
  const base::Time now_;
  const base::Duration min_ready_;
  std::map<int64_t, const Pod*> replicas_, condemned_;  // by ordinal: within the size, and beyond it
  const Revision *current_ = nullptr, *newest_ = nullptr;
  std::set<std::string> removed_, replaced_;  // Pod names; the latter for an update
  StatefulSetPlan plan_;
};

}  // namespace

StatefulSetPlan plan_stateful_set(const StatefulSetView& view, base::Time now) {
  return StatefulPlanner(view, now).run();
}

std::string StatefulSetPlan::text() const {
  std::string out;
  for (const std::string& name : adopt) out += fmt::format("adopt {}\n", name);
  for (const std::string& name : release) out += fmt::format("release {}\n", name);
  out += revisions.text();
  for (const NewClaim& one : claims) out += fmt::format("claim {} for {}\n", one.name, one.pod);
  for (const Create& one : create) {
    const json::value body(one.body);
    out += fmt::format("create {} of {}\n", one.name, string_at(body, "metadata", "labels", kRevisionHash));
  }
  for (const Owners& one : owners) {
    out += fmt::format("claim {} is of", one.claim);
    for (const json::value& owner : one.references)
      out += fmt::format(" {}/{}", string_at(owner, "kind"), string_at(owner, "name"));
    out += "\n";
  }
  for (const Relabel& one : relabel) out += fmt::format("relabel {}\n", one.pod);
  for (const std::string& name : remove) out += fmt::format("delete {}\n", name);
  for (const std::string& name : forget) out += fmt::format("forget {}\n", name);
  for (const PlanEvent& event : events) out += fmt::format("event {} {}\n", event.type, event.reason);
  if (status_changed) {
    out += "status";
    for (const auto& [key, shown] : {std::pair{"replicas", "replicas"},
                                     {"readyReplicas", "ready"},
                                     {"availableReplicas", "available"},
                                     {"currentReplicas", "current"},
                                     {"updatedReplicas", "updated"}})
      if (const json::value* value = status.if_contains(key); value && value->is_number() && as_int(value))
        out += fmt::format(" {}={}", shown, as_int(value));
    const json::value all(status);
    out += fmt::format(" {} -> {}\n", string_at(all, "currentRevision"), string_at(all, "updateRevision"));
  }
  if (again)
    out +=
        fmt::format("again in {}ms\n", std::chrono::duration_cast<std::chrono::milliseconds>(*again).count());
  return out;
}

}  // namespace master::controllers
