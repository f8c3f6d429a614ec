#include "master/controllers/deployment_plan.h"

#include <deque>

#include "master/controllers/deployment_scale.h"
#include "master/controllers/replica_plan.h"
#include "master/controllers/template_hash.h"

namespace master::controllers {
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

namespace {
constexpr const char* kHistory = "deployment.kubernetes.io/revision-history";

json::value without_hash(const json::value& pod_template) {
  json::value copy = pod_template;
  if (!copy.is_object()) return json::object();
  json::object& labels = base::object_at(copy.get_object(), "metadata", "labels");
  labels.erase(kHashLabel);
  if (labels.empty()) copy.get_object()["metadata"].get_object().erase("labels");
  if (copy.get_object()["metadata"].get_object().empty()) copy.get_object().erase("metadata");
  return copy;
}
// 64 bits wide, as in Kubernetes: people and tools write it, too.
int64_t revision_number(const ReplicaOwner& rs) { return annotation_number<int64_t>(rs, kRevision, 0); }

bool copied(std::string_view annotation) {
  for (std::string_view skip : {"kubectl.kubernetes.io/last-applied-configuration", kRevision, kHistory,
                                kDesired, kMax, "deprecated.deployment.rollback.to"})
    if (annotation == skip) return false;
  return true;
}
}  // namespace

std::string template_hash(const json::value& pod_template, int collisions) {
  std::string text = canonical_text(without_hash(pod_template));
  if (collisions > 0) text += std::to_string(collisions);
  return safe_hash(text);
}
bool same_template(const json::value& a, const json::value& b) {
  return canonical_text(without_hash(a)) == canonical_text(without_hash(b));
}

namespace {
// One planning pass.
class Planner {
 public:
  Planner(const DeploymentView& view, base::Time now)
      : view_(view), d_(*view.deployment), now_(now),
        has_deadline_(d_.progress_deadline_seconds && *d_.progress_deadline_seconds != INT32_MAX) {}

  DeploymentPlan run() {
    if (claim()) return std::move(plan_);
    sizes_.desired = d_.replicas;
    sizes_.rolling = !d_.recreate;
    if (sizes_.rolling) sizes_.fences = resolve_fences(d_.max_surge, d_.max_unavailable, d_.replicas);
    if (const json::value* list = find(d_.status, "conditions"); list && list->is_array())
      conditions_ = list->get_array();
    bool progress = false;
    if (!d_.meta.deleting) {
      paused_conditions();
      if (sizes_.current) adopt_revision();
      if (d_.paused) {
        sizes_.scale();
        trim_history();
      } else if (scaling_event()) {
        sizes_.scale();
      } else {
        progress = true;
        if (roll_back()) {
        } else if (d_.recreate) {
          recreate();
        } else {
          roll();
        }
      }
    }
    publish_changes();
    publish_status(progress);
    return std::move(plan_);
  }

 private:
  bool claim() {
    std::vector<const ReplicaOwner*> mine;
    for (const auto& rs : view_.replica_sets) {
      const bool matches = d_.selector.matches(rs->labels);
      if (rs->controller.uid == d_.meta.uid) {
        if (matches) mine.push_back(rs.get());
        else if (!d_.meta.deleting) plan_.release.push_back(rs->meta.name);
      } else if (rs->controller.uid.empty() && matches && !rs->meta.deleting && !d_.meta.deleting) {
        plan_.adopt.push_back(rs->meta.name);
      }
    }
    if (!plan_.adopt.empty() || !plan_.release.empty()) return true;
    std::sort(mine.begin(), mine.end(), [](const ReplicaOwner* a, const ReplicaOwner* b) {
      return std::tie(a->meta.created, a->meta.name) < std::tie(b->meta.created, b->meta.name);
    });
    for (const ReplicaOwner* rs : mine) {
      auto count = [&](const char* key) { return static_cast<int>(as_int(find(rs->status, key))); };
      sets_.push_back(
          {rs, rs->replicas, count("availableReplicas"), count("replicas"), count("readyReplicas"), false});
      // Of several equal ones the oldest is the one, or two writers could alternate.
      if (!sizes_.current && same_template(rs->pod_template, d_.pod_template)) sizes_.current = &sets_.back();
      else sizes_.old_sets.push_back(&sets_.back());
    }
    return false;
  }

  void paused_conditions() {
    if (!has_deadline_) return;
    const json::object* progressing = find_condition(conditions_, "Progressing");
    const std::string_view reason = progressing ? as_string(progressing->if_contains("reason")) : "";
    if (reason == "ProgressDeadlineExceeded") return;
    if (d_.paused && reason != "DeploymentPaused")
      set_condition(conditions_, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now_,
                    true);
    else if (!d_.paused && reason == "DeploymentPaused")
      set_condition(conditions_, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now_,
                    true);
  }

  int64_t next_revision() const {
    int64_t newest = 0;
    for (const WorkingSet* set : sizes_.old_sets) newest = std::max(newest, revision_number(*set->rs));
    return newest == INT64_MAX ? newest : newest + 1;
  }
  // The current ReplicaSet carries the newest revision and the Deployment's annotations.
  void adopt_revision() {
    const ReplicaOwner& rs = *sizes_.current->rs;
    for (const auto& [key, value] : d_.annotations)
      if (auto at = rs.annotations.find(key);
          copied(key) && (at == rs.annotations.end() || at->second != value))
        new_annotations_[key] = value;
    const int64_t revision = next_revision();
    std::string is = rs.annotations.count(kRevision) ? rs.annotations.at(kRevision) : "";
    if (revision_number(rs) < revision) {
      new_annotations_[kRevision] = std::to_string(revision);
      if (!is.empty()) {
        std::string history = rs.annotations.count(kHistory) ? rs.annotations.at(kHistory) : "";
        new_annotations_[kHistory] = history.empty() ? is : history + "," + is;
      }
      is = std::to_string(revision);
    }
    set_revision(is);
    if (has_deadline_ && !find_condition(conditions_, "Progressing"))
      set_condition(conditions_, "Progressing", "True", "FoundNewReplicaSet",
                    fmt::format("Found new replica set \"{}\"", rs.meta.name), now_, true);
  }
  void set_revision(const std::string& revision) {
    auto at = d_.annotations.find(kRevision);
    if (at == d_.annotations.end() || at->second != revision) plan_.revision = revision;
  }

  bool scaling_event() const {
    for (const WorkingSet* set : sizes_.all())
      if (set->replicas > 0 && annotation_number<int>(*set->rs, kDesired, d_.replicas) != d_.replicas)
        return true;
    return false;
  }

  // Not before the deadline's condition was published, so that who waits for the roll-out sees it fail; not
  // from a revision that was current before, or two that both fail would take turns; and only to one with
  // Pods that serve.
  bool roll_back() {
    auto wish = d_.annotations.find(kRollback);
    if (wish == d_.annotations.end() || wish->second != "true" || !sizes_.current) return false;
    const json::object* progressing = find_condition(conditions_, "Progressing");
    if (!progressing || as_string(progressing->if_contains("reason")) != "ProgressDeadlineExceeded" ||
        as_int(find(d_.status, "observedGeneration")) < d_.meta.generation)
      return false;
    if (sizes_.current->rs->annotations.count(kHistory)) return false;
    const ReplicaOwner* best = nullptr;
    for (const WorkingSet* set : sizes_.old_sets)
      if (set->available > 0 && !set->rs->meta.deleting &&
          (!best || revision_number(*set->rs) > revision_number(*best)))
        best = set->rs;
    if (!best) return false;
    plan_.rollback = {std::to_string(revision_number(*best)), without_hash(best->pod_template)};
    return true;
  }

  void roll() {
    if (!sizes_.current) return create();
    if (sizes_.grow_or_shrink_new() || sizes_.shrink_old()) return;
    if (complete()) trim_history();
  }
  void recreate() {
    if (sizes_.stop_old()) return;
    for (const WorkingSet* set : sizes_.old_sets)
      if (view_.running_pods_of.count(set->rs->meta.uid)) return;  // none of the new before all of the old
    if (!sizes_.current) return create();
    if (!sizes_.grow_or_shrink_new() && complete()) trim_history();
  }

  json::object size_annotations() const {
    return {{kDesired, std::to_string(d_.replicas)},
            {kMax, std::to_string(d_.replicas + sizes_.fences.surge)}};
  }
  void create() {
    const std::string hash =
        template_hash(d_.pod_template, static_cast<int>(as_int(find(d_.status, "collisionCount"))));
    const std::string name = d_.meta.name + "-" + hash;
    json::value pod_template = d_.pod_template;
    if (!pod_template.is_object()) pod_template = json::object();
    base::object_at(pod_template.get_object(), "metadata", "labels")[kHashLabel] = hash;
    json::object annotations = size_annotations();
    for (const auto& [key, value] : d_.annotations)
      if (copied(key)) annotations[key] = value;
    annotations[kRevision] = std::to_string(next_revision());
    json::object selector = d_.selector_json.is_object() ? d_.selector_json.get_object() : json::object();
    base::object_at(selector, "matchLabels")[kHashLabel] = hash;
    json::object spec{{"replicas", sizes_.new_size()}, {"selector", std::move(selector)}};
    if (d_.min_ready_seconds) spec["minReadySeconds"] = d_.min_ready_seconds;
    json::object meta{{"name", name},
                      {"namespace", d_.meta.ns},
                      {"labels", pod_template.at("metadata").at("labels")},
                      {"annotations", std::move(annotations)},
                      {"ownerReferences", json::array{json::object{{"apiVersion", "apps/v1"},
                                                                   {"kind", "Deployment"},
                                                                   {"name", d_.meta.name},
                                                                   {"uid", d_.meta.uid},
                                                                   {"controller", true},
                                                                   {"blockOwnerDeletion", true}}}}};
    spec["template"] = std::move(pod_template);
    plan_.create = json::object{{"apiVersion", "apps/v1"},
                                {"kind", "ReplicaSet"},
                                {"metadata", std::move(meta)},
                                {"spec", std::move(spec)}};
    set_revision(std::to_string(next_revision()));
    if (has_deadline_)
      set_condition(conditions_, "Progressing", "True", "NewReplicaSetCreated",
                    fmt::format("Created new replica set \"{}\"", name), now_, true);
  }

  struct Counts {
    int replicas = 0, updated = 0, ready = 0, available = 0, unavailable = 0;
  };
  Counts counts() const {
    Counts c;
    int spec_total = 0;
    for (const WorkingSet* set : sizes_.all()) {
      c.replicas += set->current;
      c.ready += set->ready;
      c.available += set->available;
      spec_total += set->replicas;
    }
    c.updated = sizes_.current ? sizes_.current->current : 0;
    c.unavailable = std::max(0, spec_total - c.available);
    return c;
  }
  bool complete() const {
    const Counts c = counts();
    return c.updated == d_.replicas && c.replicas == d_.replicas && c.available == d_.replicas &&
           as_int(find(d_.status, "observedGeneration")) >= d_.meta.generation;
  }

  void trim_history() {
    if (!d_.revision_history_limit) return;
    std::vector<const WorkingSet*> old;
    for (const WorkingSet* set : sizes_.old_sets)
      if (!set->rs->meta.deleting) old.push_back(set);
    const int surplus = static_cast<int>(old.size()) - *d_.revision_history_limit;
    std::stable_sort(old.begin(), old.end(), [](const WorkingSet* a, const WorkingSet* b) {
      return revision_number(*a->rs) < revision_number(*b->rs);
    });
    for (int i = 0; i < surplus; ++i) {
      const ReplicaOwner& rs = *old[static_cast<size_t>(i)]->rs;
      if (old[static_cast<size_t>(i)]->current || old[static_cast<size_t>(i)]->replicas || rs.replicas ||
          rs.meta.generation > as_int(find(rs.status, "observedGeneration")))
        continue;
      plan_.remove.push_back(rs.meta.name);
    }
  }

  void publish_changes() {
    const json::object sizes = size_annotations();
    for (const WorkingSet* set : sizes_.all()) {
      const ReplicaOwner& rs = *set->rs;
      json::object annotations, spec;
      if (set == sizes_.current)
        for (const auto& [key, value] : new_annotations_) annotations[key] = value;
      if (set->replicas != rs.replicas) spec["replicas"] = set->replicas;
      if (set->replicas != rs.replicas || set->touch)
        for (const auto& item : sizes) {
          auto at = rs.annotations.find(std::string(item.key()));
          if (at == rs.annotations.end() || at->second != as_string(&item.value()))
            annotations[item.key()] = item.value();
        }
      if (set == sizes_.current && rs.min_ready_seconds != d_.min_ready_seconds)
        spec["minReadySeconds"] = d_.min_ready_seconds;
      if (annotations.empty() && spec.empty()) continue;
      json::object meta{{"resourceVersion", std::to_string(rs.meta.revision)}};
      if (!annotations.empty()) meta["annotations"] = std::move(annotations);
      json::object patch{{"metadata", std::move(meta)}};
      if (!spec.empty()) patch["spec"] = std::move(spec);
      plan_.changes.push_back({rs.meta.name, std::move(patch), rs.replicas, set->replicas});
    }
  }

  void publish_status(bool progress) {
    const Counts c = counts();
    const int64_t generation = d_.meta.generation;
    if (c.available >= d_.replicas - sizes_.max_unavailable())
      set_condition(conditions_, "Available", "True", "MinimumReplicasAvailable",
                    "Deployment has minimum availability.", now_, true);
    else
      set_condition(conditions_, "Available", "False", "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.", now_, true);
    if (progress) progress_condition(c);
    json::object& status = plan_.status;
    auto put = [&](const char* key, int value) {
      if (value) status[key] = value;
      else if (find(d_.status, key)) status[key] = nullptr;
      plan_.status_changed |= as_int(find(d_.status, key)) != value;
    };
    put("replicas", c.replicas);
    put("updatedReplicas", c.updated);
    put("readyReplicas", c.ready);
    put("availableReplicas", c.available);
    put("unavailableReplicas", c.unavailable);
    plan_.status_changed |= as_int(find(d_.status, "observedGeneration")) != generation;
    status["observedGeneration"] = generation;
    const json::value* before = find(d_.status, "conditions");
    plan_.status_changed |= !before || *before != json::value(conditions_);
    status["conditions"] = std::move(conditions_);
  }

  void progress_condition(const Counts& c) {
    if (!has_deadline_) return remove_condition(conditions_, "Progressing");
    const json::object* now_is = find_condition(conditions_, "Progressing");
    const std::string_view reason = now_is ? as_string(now_is->if_contains("reason")) : "";
    auto old = [&](const char* key) { return static_cast<int>(as_int(find(d_.status, key))); };
    const std::string who = sizes_.current ? fmt::format("ReplicaSet \"{}\"", sizes_.current->rs->meta.name)
                                           : fmt::format("Deployment \"{}\"", d_.meta.name);
    if (!(c.replicas == c.updated && reason == "NewReplicaSetAvailable")) {
      const bool done = c.updated == d_.replicas && c.replicas == d_.replicas && c.available == d_.replicas;
      const bool moved = c.updated > old("updatedReplicas") || c.ready > old("readyReplicas") ||
                         c.available > old("availableReplicas") ||
                         c.replicas - c.updated < old("replicas") - old("updatedReplicas");
      if (done) {
        set_condition(conditions_, "Progressing", "True", "NewReplicaSetAvailable",
                      who + " has successfully progressed.", now_, true);
      } else if (moved) {
        // Each step forward restarts the deadline: lastUpdateTime moves even if the words stay.
        json::value since = now_is && as_string(now_is->if_contains("status")) == "True"
                                ? now_is->at("lastTransitionTime")
                                : json::value(base::format_time(now_));
        remove_condition(conditions_, "Progressing");
        conditions_.push_back(json::object{{"type", "Progressing"},
                                           {"status", "True"},
                                           {"reason", "ReplicaSetUpdated"},
                                           {"message", who + " is progressing."},
                                           {"lastUpdateTime", base::format_time(now_)},
                                           {"lastTransitionTime", since}});
      } else if (now_is && reason != "NewReplicaSetAvailable" && reason != "ProgressDeadlineExceeded" &&
                 deadline_left(*now_is).count() <= 0) {
        set_condition(conditions_, "Progressing", "False", "ProgressDeadlineExceeded",
                      who + " has timed out progressing.", now_, true);
      }
    }
    failure_condition();
    now_is = find_condition(conditions_, "Progressing");
    if (!now_is) return;
    const std::string_view then = as_string(now_is->if_contains("reason"));
    if (then != "NewReplicaSetAvailable" && then != "ProgressDeadlineExceeded")
      plan_.again = std::max<base::Duration>(deadline_left(*now_is), std::chrono::seconds(1));
  }
  base::Duration deadline_left(const json::object& condition) const {
    auto updated = read_time(as_string(condition.if_contains("lastUpdateTime"))).value_or(now_);
    return updated + seconds_of(*d_.progress_deadline_seconds) - now_;
  }
  // A ReplicaSet that cannot make Pods shows on its Deployment.
  void failure_condition() {
    const json::object* failure = nullptr;
    for (const WorkingSet* set : sizes_.all())
      if (const json::value* list = find(set->rs->status, "conditions"); list && list->is_array())
        if (const json::object* found = find_condition(list->get_array(), "ReplicaFailure")) failure = found;
    if (failure)
      set_condition(conditions_, "ReplicaFailure", as_string(failure->if_contains("status")),
                    as_string(failure->if_contains("reason")), as_string(failure->if_contains("message")),
                    now_, true);
    else remove_condition(conditions_, "ReplicaFailure");
  }

  const DeploymentView& view_;
  const Deployment& d_;
  const base::Time now_;
  const bool has_deadline_;
  std::deque<WorkingSet> sets_;
  Sizes sizes_;
  json::array conditions_;
  std::map<std::string, std::string> new_annotations_;
  DeploymentPlan plan_;
};
}  // namespace

DeploymentPlan plan_deployment(const DeploymentView& view, base::Time now) {
  return Planner(view, now).run();
}

std::string DeploymentPlan::text() const {
  std::string out;
  for (const std::string& name : adopt) out += fmt::format("adopt {}\n", name);
  for (const std::string& name : release) out += fmt::format("release {}\n", name);
  if (create)
    out += fmt::format("create {} replicas={}\n", as_string(find(create->at("metadata"), "name")),
                       as_int(find(create->at("spec"), "replicas")));
  for (const Change& change : changes) {
    if (change.from != change.to)
      out += fmt::format("scale {} {} -> {}\n", change.name, change.from, change.to);
    else out += fmt::format("annotate {}\n", change.name);
  }
  for (const std::string& name : remove) out += fmt::format("delete {}\n", name);
  if (!revision.empty()) out += fmt::format("revision {}\n", revision);
  if (rollback)
    out += fmt::format("roll back to {}: {}\n", rollback->revision, base::to_json(rollback->pod_template));
  auto count = [&](const char* key) { return as_int(status.if_contains(key)); };
  if (status.contains("observedGeneration"))
    out += fmt::format("status replicas={} updated={} ready={} available={} unavailable={}",
                       count("replicas"), count("updatedReplicas"), count("readyReplicas"),
                       count("availableReplicas"), count("unavailableReplicas"));
  if (const json::value* list = status.if_contains("conditions"); list && list->is_array())
    for (const json::value& c : list->get_array())
      out += fmt::format(" {}={}/{}", string_at(c, "type"), string_at(c, "status"), string_at(c, "reason"));
  return out + "\n";
}

}  // namespace master::controllers
