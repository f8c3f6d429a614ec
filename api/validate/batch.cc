// Rules of Jobs and CronJobs.
#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "api/cron.h"
#include "api/selector.h"
#include "api/validate/rules.h"

namespace api::rules {
namespace {

constexpr int64_t kMaxIndexedParallelism = 100000, kMaxIndexesWithoutLimit = 100000;

void failure_policy(Errors& e, const View& policy) {
  static const std::set<std::string_view> kStatuses = {"False", "True", "Unknown"};
  if (policy["rules"].size() > 20) e.too_many(policy["rules"].path(), policy["rules"].size(), 20);
  policy["rules"].each([&](const View& rule) {
    bool codes = rule["onExitCodes"].has(), conditions = rule["onPodConditions"].filled();
    if (codes && conditions)
      e.invalid(rule.path(), json::value("<truncated>"),
                "specifying both OnExitCodes and OnPodConditions is not supported");
    if (!codes && !conditions)
      e.invalid(rule.path(), json::value("<truncated>"),
                "specifying one of OnExitCodes and OnPodConditions is required");
    one_of(e, rule["action"], {"Count", "FailIndex", "FailJob", "Ignore"});
    if (codes) {
      View exit = rule["onExitCodes"], values = exit["values"];
      one_of(e, exit["operator"], {"In", "NotIn"});
      if (values.size() > 255) e.too_many(values.path(), values.size(), 255);
      int64_t last = INT64_MIN;
      bool sorted = true;
      std::set<int64_t> seen;
      values.each([&](const View& value) {
        if (value.number() == 0 && exit["operator"].text() == "In")
          e.invalid(value.path(), value.number(), "must not be 0 for the In operator");
        if (!seen.insert(value.number()).second) e.duplicate(value.path(), value.number());
        sorted &= value.number() >= last;
        last = value.number();
      });
      if (!sorted) e.invalid(values.path(), values.shown(), "must be ordered");
    }
    if (rule["onPodConditions"].size() > 20)
      e.too_many(rule["onPodConditions"].path(), rule["onPodConditions"].size(), 20);
    rule["onPodConditions"].each([&](const View& pattern) {
      if (pattern["type"].filled())
        e.all(pattern["type"].path(), pattern["type"].text(), check_qualified_name(pattern["type"].text()));
      one_of(e, pattern["status"], {"False", "True", "Unknown"});
    });
  });
}

void success_policy(Errors& e, const View& spec) {
  View policy = spec["successPolicy"];
  if (!policy.has()) return;
  if (spec["completionMode"].text() != "Indexed")
    e.invalid(policy.path(), policy.shown(), "requires indexed completion mode");
  if (policy["rules"].size() > 20) e.too_many(policy["rules"].path(), policy["rules"].size(), 20);
  policy["rules"].each([&](const View& rule) {
    if (!rule["succeededCount"].has() && !rule["succeededIndexes"].has())
      e.required(rule.path(), "at least one of succeededCount or succeededIndexes must be specified");
    non_negative(e, rule["succeededCount"]);
    if (rule["succeededCount"].number() > spec["completions"].number() && spec["completions"].has())
      e.invalid(rule["succeededCount"].path(), rule["succeededCount"].number(),
                "must be less than or equal to " + std::to_string(spec["completions"].number()) +
                    " (the number of specified completions)");
  });
}

void indexed(Errors& e, const View& spec) {
  View mode = spec["completionMode"], per_index = spec["backoffLimitPerIndex"],
       max_failed = spec["maxFailedIndexes"];
  one_of(e, mode, {"Indexed", "NonIndexed"});
  if (mode.text() == "Indexed") {
    if (!spec["completions"].has()) e.required(spec["completions"].path(), "when completion mode is Indexed");
    if (spec["parallelism"].number() > kMaxIndexedParallelism)
      e.invalid(spec["parallelism"].path(), spec["parallelism"].number(),
                "must be less than or equal to 100000 when completion mode is Indexed");
    if (per_index.has() && spec["completions"].number() > kMaxIndexesWithoutLimit && !max_failed.has())
      e.required(max_failed.path(), "must be specified when completions is above 100000");
  } else if (per_index.has()) {
    e.invalid(per_index.path(), per_index.number(), "requires indexed completion mode");
  }
  if (!max_failed.has()) return;
  if (!per_index.has()) e.required(per_index.path(), "when maxFailedIndexes is specified");
  if (spec["completions"].has() && max_failed.number() > spec["completions"].number())
    e.invalid(max_failed.path(), max_failed.number(), "must be less than or equal to completions");
}

void job_spec(Errors& e, const View& spec) {
  indexed(e, spec);
  View pods = spec["template"], restart = pods["spec"]["restartPolicy"];
  for (const char* name : {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
                           "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"})
    non_negative(e, spec[name]);
  if (View by = spec["managedBy"]; by.has()) {
    domain_prefixed_path(e, by);
    if (by.text().size() > 63) e.too_long(by.path(), 63);
  }
  if (View policy = spec["podFailurePolicy"]; policy.has()) {
    failure_policy(e, policy);
    if (restart.text() == "OnFailure")
      e.invalid(restart.path(), restart.text(),
                "only \"Never\" is supported when podFailurePolicy is specified");
  }
  success_policy(e, spec);
  if (View when = spec["podReplacementPolicy"]; when.filled()) {
    if (spec["podFailurePolicy"].has()) one_of(e, when, {"Failed"});
    else one_of(e, when, {"Failed", "TerminatingOrFailed"});
  }
  if (!pods.has()) return;
  pod_template(e, pods);
  if (restart.text() != "OnFailure" && restart.text() != "Never")
    e.required(restart.path(), "valid values: \"OnFailure\", \"Never\"");
}

// Labels that tie a Job's Pods to it, made by the registry unless the user chose the selector.
void generated_selector(Errors& e, const View& job) {
  View spec = job["spec"], labels = spec["template"]["metadata"]["labels"];
  if (spec["manualSelector"].flag() || !spec["selector"].has()) return;
  std::string uid(job["metadata"]["uid"].text()), name(job["metadata"]["name"].text());
  std::map<std::string, std::string> expected = {{"batch.kubernetes.io/controller-uid", uid},
                                                 {"controller-uid", uid},
                                                 {"batch.kubernetes.io/job-name", name},
                                                 {"job-name", name}};
  for (const auto& [key, value] : expected) {
    View label = labels[key];
    std::string at = labels.path() + "[" + key + "]";
    if (!label.has()) e.required(at, "must be '" + value + "'");
    else if (label.text() != value) e.invalid(at, label.text(), "must be '" + value + "'");
  }
  auto selector = selector_of_json(spec["selector"].get());
  if (selector.ok() && !selector->matches(expected))
    e.invalid(spec["selector"].path(), spec["selector"].shown(), "`selector` not auto-generated");
}

// What of a template may still change while a Job waits to be resumed: where its Pods may run.
json::value without_scheduling(const View& pods) {
  json::value copy = pods.shown();
  if (!copy.is_object()) return copy;
  json::object& spec = base::object_at(copy.get_object(), "spec");
  for (const char* name : {"affinity", "nodeSelector", "tolerations", "schedulingGates"}) spec.erase(name);
  json::object& metadata = base::object_at(copy.get_object(), "metadata");
  for (const char* name : {"annotations", "labels"}) metadata.erase(name);
  return copy;
}

void job_update(Errors& e, const View& spec, const View& old, const View& old_status) {
  bool both_indexed = spec["completionMode"].text() == "Indexed" && old["completionMode"].text() == "Indexed";
  if (!spec["completions"].same_as(old["completions"]) &&
      !(both_indexed && spec["completions"].has() &&
        spec["completions"].number() == spec["parallelism"].number()))
    e.invalid(spec["completions"].path(), spec["completions"].shown(),
              both_indexed ? "can only be modified in tandem with spec.parallelism" : "field is immutable");
  for (const char* name : {"selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex",
                           "managedBy", "successPolicy"})
    immutable(e, spec[name], old[name]);
  if (spec["template"].same_as(old["template"])) return;
  bool may_move = old["suspend"].flag() && old_status["startTime"].text().empty();
  if (!may_move || without_scheduling(spec["template"]) != without_scheduling(old["template"]))
    immutable(e, spec["template"], old["template"]);
}

}  // namespace

void job(Errors& e, const json::value& after, const json::value* before) {
  View object(&after), spec = object["spec"];
  generated_selector(e, object);
  job_spec(e, spec);
  if (!spec["selector"].has()) e.required(spec["selector"].path());
  else template_matches(e, spec["selector"], spec["template"]);
  if (before) job_update(e, spec, View(before)["spec"], View(before)["status"]);
}
void job_status(Errors& e, const json::value& after, const json::value&) {
  View status = View(&after)["status"];
  for (const char* name : {"active", "succeeded", "failed", "ready", "terminating"})
    non_negative(e, status[name]);
}

void cron_job(Errors& e, const json::value& after, const json::value*) {
  View object(&after), spec = object["spec"], schedule = spec["schedule"], zone = spec["timeZone"];
  std::string_view name = object["metadata"]["name"].text();
  if (name.size() > 52) e.invalid("metadata.name", name, "must be no more than 52 characters");
  if (schedule.filled()) {
    std::string_view text = schedule.text();
    if (text.find("TZ") != std::string_view::npos)
      e.invalid(schedule.path(), text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    else if (auto parsed = CronSchedule::parse(text); !parsed.ok())
      e.invalid(schedule.path(), text, parsed.error().reason);
  }
  if (zone.has()) {
    std::string lower(zone.text());
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (lower.empty()) e.invalid(zone.path(), zone.text(), "timeZone must be nil or non-empty string");
    else if (lower == "local")
      e.invalid(zone.path(), zone.text(),
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    else if (!TimeZone::find(zone.text()).ok())
      e.invalid(zone.path(), zone.text(), "unknown time zone " + std::string(zone.text()));
  }
  View job = spec["jobTemplate"]["spec"];
  job_spec(e, job);
  if (job["selector"].has())
    e.invalid(job["selector"].path(), job["selector"].shown(), "`selector` will be auto-generated");
  if (job["manualSelector"].flag()) e.not_supported(job["manualSelector"].path(), "true", {"nil", "false"});
}

}  // namespace api::rules
