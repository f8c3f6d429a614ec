// Rules of StatefulSets, DaemonSets and ControllerRevisions, and what all Pod templates share.
#include <algorithm>

#include "api/selector.h"
#include "api/validate/rules.h"

namespace api::rules {

void pod_template(Errors& e, const View& pods) {
  PodTemplateSpec read_pods;
  if (!read(e, pods.shown(), &read_pods)) return;
  if (!read_pods.spec) return e.required(pods["spec"]["containers"].path());
  pod_spec(e, pods["spec"].path(), *read_pods.spec);
}

void template_matches(Errors& e, const View& selector, const View& pods) {
  LabelSelector parsed;
  if (!read(e, selector.shown(), &parsed)) return;
  size_t before = e.list.size();
  label_selector(e, selector.path(), parsed);
  auto made = selector_of(parsed);
  if (!made.ok()) {
    if (before == e.list.size()) e.invalid(selector.path(), selector.shown(), "invalid label selector");
    return;
  }
  View labels = pods["metadata"]["labels"];
  std::map<std::string, std::string> have;
  labels.each_entry([&](std::string_view key, const View& value) { have.emplace(key, value.text()); });
  if (!made->everything() && !made->matches(have))
    e.invalid(labels.path(), labels.shown(), "`selector` does not match template `labels`");
}

void always_restarted(Errors& e, const View& pods, std::string_view kind) {
  View restart = pods["spec"]["restartPolicy"], deadline = pods["spec"]["activeDeadlineSeconds"];
  if (restart.filled() && restart.text() != "Always")
    e.not_supported(restart.path(), restart.text(), {"Always"});
  if (deadline.has())
    e.forbidden(deadline.path(), "activeDeadlineSeconds in " + std::string(kind) + " is not Supported");
}

namespace {

// The template with its claims as volumes, which is what the Pods get.
json::value with_claims(const View& spec) {
  json::value pods = spec["template"].shown();
  if (!pods.is_object() || !spec["volumeClaimTemplates"].size()) return pods;
  json::value& volumes = base::object_at(pods.get_object(), "spec")["volumes"];
  if (!volumes.is_array()) volumes = json::array();
  spec["volumeClaimTemplates"].each([&](const View& claim) {
    std::string_view name = claim["metadata"]["name"].text();
    for (const json::value& volume : volumes.get_array())
      if (base::string_at(volume, "name") == name) return;
    volumes.get_array().push_back(json::object{{"name", name}, {"emptyDir", json::object()}});
  });
  return pods;
}

void set_template(Errors& e, const View& spec, std::string_view kind, std::string_view lower) {
  View selector = spec["selector"], pods = spec["template"];
  if (selector.has()) {  // absent: its table says "required"
    if (!selector["matchLabels"].filled() && !selector["matchExpressions"].filled())
      e.invalid(selector.path(), selector.shown(), "empty selector is invalid for " + std::string(lower));
    template_matches(e, selector, pods);
  }
  if (!pods.has()) return;
  json::value whole = with_claims(spec);
  pod_template(e, View(&whole, pods.path()));
  always_restarted(e, pods, kind);
}

}  // namespace

void stateful_set(Errors& e, const json::value& after, const json::value* before) {
  View spec = View(&after)["spec"], management = spec["podManagementPolicy"],
       strategy = spec["updateStrategy"];
  std::string_view policy = management.text(), type = strategy["type"].text();
  if (policy.empty()) e.required(management.path());
  else if (policy != "OrderedReady" && policy != "Parallel")
    e.invalid(management.path(), policy, "must be 'OrderedReady' or 'Parallel'");
  View rolling = strategy["rollingUpdate"];
  if (type.empty()) {
    e.required(strategy.path());
  } else if (type == "OnDelete") {
    if (rolling.has())
      e.invalid(rolling.path(), rolling.shown(), "only allowed for updateStrategy 'RollingUpdate'");
  } else if (type == "RollingUpdate") {
    non_negative(e, rolling["partition"]);
    if (View gone = rolling["maxUnavailable"]; gone.has() && int_or_percent(e, gone, true) == 0)
      e.invalid(gone.path(), gone.shown(), "cannot be 0");
  } else {
    e.invalid(strategy.path(), strategy.shown(), "must be 'RollingUpdate' or 'OnDelete'");
  }
  for (const char* name : {"replicas", "minReadySeconds", "revisionHistoryLimit"})
    non_negative(e, spec[name]);
  non_negative(e, spec["ordinals"]["start"]);
  View keeps = spec["persistentVolumeClaimRetentionPolicy"];
  for (const char* name : {"whenDeleted", "whenScaled"}) one_of(e, keeps[name], {"Delete", "Retain"});
  set_template(e, spec, "StatefulSet", "statefulset");
  if (!before) return;
  json::value now = spec.shown(), was = View(before)["spec"].shown();
  for (json::value* each : {&now, &was})
    if (each->is_object())
      for (const char* name : {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                               "persistentVolumeClaimRetentionPolicy", "minReadySeconds"})
        each->get_object().erase(name);
  if (now != was)
    e.forbidden(
        "spec",
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', "
        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
}
void stateful_set_status(Errors& e, const json::value& after, const json::value&) {
  View status = View(&after)["status"];
  for (const char* name : {"replicas", "readyReplicas", "currentReplicas", "updatedReplicas",
                           "availableReplicas", "observedGeneration", "collisionCount"})
    non_negative(e, status[name]);
  for (const char* name : {"readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"})
    if (status[name].number() > status["replicas"].number())
      e.invalid(status[name].path(), status[name].number(), "cannot be greater than status.replicas");
  if (status["availableReplicas"].number() > status["readyReplicas"].number())
    e.invalid(status["availableReplicas"].path(), status["availableReplicas"].number(),
              "cannot be greater than status.readyReplicas");
}

void daemon_set(Errors& e, const json::value& after, const json::value* before) {
  View spec = View(&after)["spec"], strategy = spec["updateStrategy"], rolling = strategy["rollingUpdate"];
  set_template(e, spec, "DaemonSet", "daemonset");
  for (const char* name : {"minReadySeconds", "revisionHistoryLimit"}) non_negative(e, spec[name]);
  one_of(e, strategy["type"], {"OnDelete", "RollingUpdate"});
  if (strategy["type"].text() == "RollingUpdate") {
    if (!rolling.has()) e.required(rolling.path());
    int64_t gone = int_or_percent(e, rolling["maxUnavailable"], true),
            more = int_or_percent(e, rolling["maxSurge"], true);
    if (rolling.has() && gone > 0 && more > 0)
      e.invalid(rolling["maxSurge"].path(), rolling["maxSurge"].shown(),
                "may not be set when maxUnavailable is non-zero");
    if (rolling.has() && gone == 0 && more == 0)
      e.required(rolling["maxUnavailable"].path(), "cannot be 0 when maxSurge is 0");
  }
  if (before) immutable(e, spec["selector"], View(before)["spec"]["selector"]);
}
void daemon_set_status(Errors& e, const json::value& after, const json::value&) {
  View status = View(&after)["status"];
  for (const char* name : {"currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled",
                           "numberReady", "observedGeneration", "updatedNumberScheduled", "numberAvailable",
                           "numberUnavailable", "collisionCount"})
    non_negative(e, status[name]);
}

void controller_revision(Errors& e, const json::value& after, const json::value* before) {
  View object(&after);
  if (!object["data"].has()) e.required("data", "data is mandatory");
  non_negative(e, object["revision"]);
  if (before) immutable(e, object["data"], View(before)["data"]);
}

void pod_template_object(Errors& e, const json::value& after, const json::value*) {
  View pods = View(&after)["template"];
  if (pods.has()) pod_template(e, pods);
}

}  // namespace api::rules
