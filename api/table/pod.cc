// One word and two counts that sum up a Pod: STATUS, READY and RESTARTS as kubectl's users know
// them.
#include "api/table/cells.h"

namespace api::table {
namespace {

using base::as_bool;
using base::as_int;
using base::find_path;
using base::string_at;

const json::array& list_of_part(const json::value& pod, const char* part, const char* name) {
  static const json::array kNone;
  const json::value* list = find_path(pod, part, name);
  return list && list->is_array() ? list->get_array() : kNone;
}
bool condition_true(const json::value& pod, std::string_view type) {
  for (const json::value& c : list_of_part(pod, "status", "conditions"))
    if (string_at(c, "type") == type) return string_at(c, "status") == "True";
  return false;
}

struct Restarts {
  int64_t count = 0;
  std::string_view last;  // RFC 3339 in UTC: text order is time order
  void add(const json::value& status) {
    count += as_int(base::find(status, "restartCount"));
    std::string_view at = string_at(status, "lastState", "terminated", "finishedAt");
    if (at > last) last = at;
  }
};

std::string exit_text(const json::value& terminated) {
  if (int64_t signal = as_int(base::find(terminated, "signal"))) return "Signal:" + std::to_string(signal);
  return "ExitCode:" + std::to_string(as_int(base::find(terminated, "exitCode")));
}

struct Summary {
  std::string reason;
  int64_t ready = 0, total = 0;
  Restarts restarts;
};

// The first init container that is not done says what the Pod waits for. True when there is one.
bool initializing(const json::value& pod, Summary& out, Restarts& sidecars) {
  const json::array& specs = list_of_part(pod, "spec", "initContainers");
  auto restartable = [&](std::string_view name) {
    for (const json::value& spec : specs)
      if (string_at(spec, "name") == name) return string_at(spec, "restartPolicy") == "Always";
    return false;
  };
  size_t index = 0;
  for (const json::value& status : list_of_part(pod, "status", "initContainerStatuses")) {
    size_t i = index++;
    out.restarts.add(status);
    bool sidecar = restartable(string_at(status, "name"));
    if (sidecar) sidecars.add(status);
    const json::value* terminated = find_path(status, "state", "terminated");
    if (terminated && as_int(base::find(*terminated, "exitCode")) == 0) continue;
    if (sidecar && as_bool(base::find(status, "started"))) {
      if (as_bool(base::find(status, "ready"))) ++out.ready;
      continue;
    }
    std::string_view waiting = string_at(status, "state", "waiting", "reason");
    if (terminated) {
      std::string_view why = string_at(*terminated, "reason");
      out.reason = "Init:" + (why.empty() ? exit_text(*terminated) : std::string(why));
    } else if (!waiting.empty() && waiting != "PodInitializing") {
      out.reason = "Init:" + std::string(waiting);
    } else {
      out.reason = "Init:" + std::to_string(i) + "/" + std::to_string(specs.size());
    }
    return true;
  }
  return false;
}

void main_containers(const json::value& pod, Summary& out) {
  bool running = false;
  const json::array& statuses = list_of_part(pod, "status", "containerStatuses");
  for (size_t i = statuses.size(); i-- > 0;) {
    const json::value& status = statuses[i];
    out.restarts.add(status);
    std::string_view waiting = string_at(status, "state", "waiting", "reason");
    const json::value* terminated = find_path(status, "state", "terminated");
    if (!waiting.empty()) {
      out.reason = waiting;
    } else if (terminated) {
      std::string_view why = string_at(*terminated, "reason");
      out.reason = why.empty() ? exit_text(*terminated) : std::string(why);
    } else if (as_bool(base::find(status, "ready")) && find_path(status, "state", "running")) {
      running = true;
      ++out.ready;
    }
  }
  if (out.reason == "Completed" && running)
    out.reason = condition_true(pod, "Ready") ? "Running" : "NotReady";
}

Summary summarize(const json::value& pod) {
  Summary out;
  std::string_view phase = string_at(pod, "status", "phase"),
                   status_reason = string_at(pod, "status", "reason");
  out.reason = status_reason.empty() ? phase : status_reason;
  for (const json::value& c : list_of_part(pod, "status", "conditions"))
    if (string_at(c, "type") == "PodScheduled" && string_at(c, "reason") == "SchedulingGated")
      out.reason = "SchedulingGated";
  out.total = static_cast<int64_t>(list_of_part(pod, "spec", "containers").size());
  for (const json::value& spec : list_of_part(pod, "spec", "initContainers"))
    if (string_at(spec, "restartPolicy") == "Always") ++out.total;
  Restarts sidecars;
  if (!initializing(pod, out, sidecars) || condition_true(pod, "Initialized")) {
    out.restarts = sidecars;
    main_containers(pod, out);
  }
  if (!string_at(pod, "metadata", "deletionTimestamp").empty()) {
    if (status_reason == "NodeLost") out.reason = "Unknown";
    else if (phase != "Succeeded" && phase != "Failed") out.reason = "Terminating";
  }
  return out;
}

}  // namespace

json::array pod_cells(const json::value& pod, base::Time now) {
  Summary summary = summarize(pod);
  std::string restarts = std::to_string(summary.restarts.count);
  if (summary.restarts.count && !summary.restarts.last.empty())
    restarts += " (" + human_age(summary.restarts.last, now) + " ago)";
  auto or_none = [](std::string_view text) {
    return json::value(text.empty() ? std::string_view("<none>") : text);
  };
  std::string gates;
  if (const json::array& list = list_of_part(pod, "spec", "readinessGates"); !list.empty()) {
    int64_t held = 0;
    for (const json::value& gate : list) held += condition_true(pod, string_at(gate, "conditionType"));
    gates = std::to_string(held) + "/" + std::to_string(list.size());
  }
  return {json::value(string_at(pod, "metadata", "name")),
          json::value(std::to_string(summary.ready) + "/" + std::to_string(summary.total)),
          json::value(summary.reason),
          json::value(restarts),
          json::value(human_age(string_at(pod, "metadata", "creationTimestamp"), now)),
          or_none(string_at(pod, "status", "podIP")),
          or_none(string_at(pod, "spec", "nodeName")),
          or_none(string_at(pod, "status", "nominatedNodeName")),
          or_none(gates)};
}

}  // namespace api::table
