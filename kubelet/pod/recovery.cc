// See the header. Nothing here asks anybody.
#include "kubelet/pod/recovery.h"

#include "kubelet/pod/plan.h"

namespace kubelet {

namespace {

// A reboot took the record: what the API remembers of restarts goes on from there.
void remember(const api::ContainerStatus& status, Time now, PodObserved& out) {
  const bool ran = status.state && (status.state->running || status.state->terminated);
  if (status.restart_count == 0 && !ran) return;
  ContainerSeen& seen = out.containers[status.name];
  seen.attempt = status.restart_count;
  seen.run = Run::kExited;
  seen.exit.reason = "ContainerStatusUnknown";
  seen.exit.message = "The container could not be located when the pod was started again";
  seen.exit.code = 137;
  seen.exit.finished_at = now;
  if (status.state && status.state->terminated) {
    const auto& end = *status.state->terminated;
    seen.exit.code = end.exit_code;
    seen.exit.reason = end.reason;
    seen.exit.message = end.message;
    if (auto t = base::parse_time(end.started_at)) seen.exit.started_at = *t;
    if (auto t = base::parse_time(end.finished_at)) seen.exit.finished_at = *t;
  }
  seen.image_id = status.image_id;
  seen.sandbox = -1;
}

// Half made or half removed: to be done again, whichever it was.
void take_up(PodObserved& seen) {
  seen.recovered =
      seen.sandbox.step == Step::kBusy || seen.sandbox.step == Step::kDone ? Step::kNone : Step::kDone;
  if (seen.volumes.directory.step == Step::kBusy) seen.volumes.directory.step = Step::kFailed;
  for (auto& [name, volume] : seen.volumes.each)
    if (volume.step == Step::kBusy) volume.step = Step::kFailed;
  seen.volumes.outdated = true;
  for (auto& [name, c] : seen.containers) {
    // A hook that was under way is run again: at least once, as Kubernetes promises.
    if (c.post_start == Step::kBusy) c.post_start = Step::kNone;
    if (c.pre_stop == Step::kBusy) c.pre_stop = Step::kNone;
  }
}

}  // namespace

PodObserved seen_at_start(const api::Pod& pod, std::optional<PodObserved> record, Time now) {
  PodObserved out;
  if (record) {
    out = std::move(*record);
    take_up(out);
  } else if (pod.status && pod.status->phase != "Succeeded" && pod.status->phase != "Failed") {
    for (const auto* list : {&pod.status->init_container_statuses, &pod.status->container_statuses})
      for (const auto& status : *list) remember(status, now, out);
  }
  if (out.first_seen == Time{}) {
    out.first_seen = now;
    if (pod.status)
      if (auto time = base::parse_time(pod.status->start_time)) out.first_seen = *time;
  }
  return out;
}

std::vector<Adoption> plan_adoption(const api::Pod& pod, const PodObserved& seen,
                                    const std::vector<runtime::ContainerState>& states, Time now) {
  std::map<std::string, const runtime::ContainerState*> by_id;
  for (const auto& state : states) by_id[state.id] = &state;
  std::vector<Adoption> out;
  using Kind = Adoption::Kind;
  for (const auto& [name, c] : seen.containers) {
    if (c.leaving >= 0 && !by_id.contains(container_id(pod, name, c.leaving)))
      out.push_back({.kind = Kind::kOldRemoved, .container = name, .attempt = c.leaving});
    if (c.attempt < 0) continue;
    auto it = by_id.find(container_id(pod, name, c.attempt));
    if (it != by_id.end()) {
      const bool exited = it->second->phase == runtime::Phase::kExited;
      if (exited || it->second->phase == runtime::Phase::kRunning)
        out.push_back({.kind = exited ? Kind::kExited : Kind::kRuns,
                       .container = name,
                       .attempt = c.attempt,
                       .state = *it->second});
    } else if (c.run == Run::kStarting) {
      out.push_back({.kind = Kind::kNotBegun, .container = name, .attempt = c.attempt});
    } else if (c.run == Run::kExited) {
      out.push_back({.kind = Kind::kRemoved, .container = name, .attempt = c.attempt});
    } else if (c.run == Run::kRunning) {
      runtime::ContainerState state;
      state.exit_code = 137;
      state.started_at = c.started_at;
      state.finished_at = now;
      out.push_back({.kind = Kind::kVanished, .container = name, .attempt = c.attempt, .state = state});
    }
  }
  return out;
}

std::string Adoption::text() const {
  const std::string who = container + " attempt " + std::to_string(attempt) + " ";
  switch (kind) {
    case Kind::kRuns: return who + "runs";
    case Kind::kExited: return who + "exited " + std::to_string(state.exit_code);
    case Kind::kVanished: return who + "vanished";
    case Kind::kNotBegun: return who + "was not begun";
    case Kind::kRemoved:
    case Kind::kOldRemoved: return who + "is removed";
  }
  return "?";
}

}  // namespace kubelet
