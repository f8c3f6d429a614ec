// The ordered recipe of a Pod's life: sandbox and volumes, init containers, containers, probes,
// and the way down. Must never read a clock or touch the machine.
#include "kubelet/pod/plan.h"

#include <algorithm>

#include "api/defaults.h"
#include "api/validate/validate.h"

namespace kubelet {

namespace {

using std::chrono::seconds;

bool making_volumes(const VolumesSeen& volumes) {
  return volumes.directory.step == Step::kBusy || volumes.claims.step == Step::kBusy ||
         volumes.refresh.step == Step::kBusy ||
         std::any_of(volumes.each.begin(), volumes.each.end(),
                     [](const auto& named) { return named.second.step == Step::kBusy; });
}

class Planner {
 public:
  Planner(const api::Pod& pod, const PodObserved& seen, Time now)
      : pod_(pod), spec_(spec_of(pod)), seen_(seen), now_(now) {}

  Plan run() {
    if (seen_.recovered != Step::kDone) {
      plan_.unknown = true;
      if (seen_.recovered == Step::kNone) act({.kind = Action::Kind::kFindSandbox});
      return std::move(plan_);
    }
    // Two ways down: an end by itself or by the deadline keeps the object, a deletion removes it.
    const std::string terminal = terminal_phase(pod_, seen_, now_);
    if (is_terminating(pod_) || seen_.gone_from_api || !terminal.empty()) {
      tear_down();
    } else {
      bring_up();
    }
    return std::move(plan_);
  }

 private:
  void act(Action action) { plan_.actions.push_back(std::move(action)); }
  void wake(Time at) {
    if (!plan_.wake || at < *plan_.wake) plan_.wake = at;
  }
  const ContainerSeen& of(const api::Container& c) const {
    static const ContainerSeen none;
    auto it = seen_.containers.find(c.name);
    return it == seen_.containers.end() ? none : it->second;
  }

  void bring_up() {
    if (spec_.active_deadline_seconds) wake(seen_.first_seen + seconds(*spec_.active_deadline_seconds));
    const bool host_network = spec_.host_network.value_or(false);
    if (!seen_.network_ready && !host_network) return;
    // All that runs in it goes with it; what the Pod needs is started in the next one.
    if (seen_.sandbox.step == Step::kDone && (seen_.sandbox.stale || seen_.sandbox.stray)) {
      if (now_ < seen_.sandbox.stop_retry_at) return wake(seen_.sandbox.stop_retry_at);
      return act({.kind = Action::Kind::kStopSandbox});
    }
    sandbox_ = cleaned() && step(seen_.sandbox.step, seen_.sandbox.retry_at, Action::Kind::kStartSandbox);
    fetch_tokens(true);
    volumes_ = has_volumes(pod_, seen_);
    if (volumes_) refresh_volumes();
    else mount_volumes();

    bool initialized = true;
    for (const api::Container& c : spec_.init_containers) {
      if (is_sidecar(c)) {
        keep_running(c, true);
        initialized = has_started(c, of(c));
      } else if (!init_done(c)) {
        keep_running(c, true);
        initialized = false;
      } else {
        clean(c);
      }
      if (!initialized) break;
    }
    if (!initialized) return;
    for (const api::Container& c : spec_.containers) {
      keep_running(c, false);
      // As in Kubernetes the next container is not started before this one's postStart is over.
      const ContainerSeen& seen = of(c);
      if (c.lifecycle && c.lifecycle->post_start && seen.run != Run::kExited &&
          seen.post_start != Step::kDone)
        break;
    }
  }

  // Those that are held are renewed to the end: a Pod may need its token while it shuts down.
  void fetch_tokens(bool missing_too) {
    static const TokenSeen none;
    for (const TokenKey& key : tokens(pod_)) {
      auto it = seen_.tokens.find(key);
      const TokenSeen& token = it == seen_.tokens.end() ? none : it->second;
      if (token.asked || (!token.held && !missing_too)) continue;
      if (now_ < token.due) wake(token.due);
      else act({.kind = Action::Kind::kFetchToken, .token = key});
    }
  }

  // True when nothing of a sandbox before is left.
  bool cleaned() {
    const SandboxSeen& sandbox = seen_.sandbox;
    return step(sandbox.cleaned, sandbox.stop_retry_at, Action::Kind::kCleanSandbox);
  }
  // Each is made as soon as what it needs is known; those that are due go in one hop.
  void mount_volumes() {
    const VolumesSeen& volumes = seen_.volumes;
    // The directory's files name the address, which comes with the sandbox that is planned before.
    const bool address = spec_.host_network.value_or(false) || !seen_.sandbox.ip.empty() ||
                         (!plan_.actions.empty() && plan_.actions[0].kind == Action::Kind::kStartSandbox);
    if (volumes.removal.step == Step::kBusy || !address) return;
    bool due = volumes.directory.step != Step::kDone;
    if (due && !is_due(volumes.directory)) return;
    Action action{.kind = Action::Kind::kMountVolumes};
    for (const api::Volume& v : spec_.volumes) {
      static const VolumeSeen none;
      auto it = volumes.each.find(v.name);
      const VolumeSeen& volume = it == volumes.each.end() ? none : it->second;
      if (volume.step == Step::kDone || !has_needs(v) || !is_due(volume)) continue;
      action.volumes.push_back(v.name);
      due = true;
    }
    if (due) act(std::move(action));
  }
  bool is_due(const VolumeSeen& volume) {
    if (volume.step == Step::kBusy) return false;
    if (volume.step != Step::kFailed || now_ >= volume.retry_at) return true;
    wake(volume.retry_at);
    return false;
  }
  bool has_needs(const api::Volume& v) {
    const VolumeNeeds needs = needs_of(v);
    if (needs.claim && seen_.volumes.claims.step != Step::kDone) {
      const bool asked = std::any_of(plan_.actions.begin(), plan_.actions.end(),
                                     [](const Action& a) { return a.kind == Action::Kind::kFetchClaims; });
      if (!asked && is_due(seen_.volumes.claims)) act({.kind = Action::Kind::kFetchClaims});
      return false;
    }
    return (needs.objects.empty() || seen_.objects_loaded) &&
           std::all_of(needs.tokens.begin(), needs.tokens.end(), [&](const TokenKey& key) {
             auto it = seen_.tokens.find(key);
             return it != seen_.tokens.end() && it->second.held;
           });
  }
  // New contents of ConfigMaps, Secrets, labels and tokens reach the running containers. After a restart of
  // the kubelet tokens and objects are to be known first.
  void refresh_volumes() {
    if (!seen_.volumes.outdated || !seen_.objects_loaded ||
        std::none_of(spec_.volumes.begin(), spec_.volumes.end(), is_written))
      return;
    for (const TokenKey& key : tokens(pod_))
      if (auto it = seen_.tokens.find(key); it == seen_.tokens.end() || !it->second.held) return;
    if (is_due(seen_.volumes.refresh)) act({.kind = Action::Kind::kRefreshVolumes});
  }

  bool init_done(const api::Container& c) const {
    const ContainerSeen& seen = of(c);
    return seen.run == Run::kExited && seen.exit.code == 0 && seen.sandbox == seen_.sandbox.attempt;
  }

  bool step(Step step, Time retry_at, Action::Kind kind) {
    if (step == Step::kDone) return true;
    if (step == Step::kBusy) return false;
    if (step == Step::kFailed && now_ < retry_at) {
      wake(retry_at);
      return false;
    }
    act({.kind = kind});
    return false;
  }

  void keep_running(const api::Container& c, bool init) {
    const ContainerSeen& seen = of(c);
    switch (seen.run) {
      case Run::kStarting: return;
      case Run::kRunning: clean(c); return tend(c);
      case Run::kExited: {
        const bool again = should_restart(pod_, c, init, seen) || (init && seen.exit.code == 0);
        const Duration wait = again ? restart_wait(seen, now_) : Duration::zero();
        // One that starts again at once does not wait until the attempt before is removed.
        const bool at_once = again && wait == Duration::zero() && pull_policy(c) != "Always" &&
                             !seen.image.pulling && seen.image.reason.empty() && seen.config_error.empty() &&
                             seen.leaving < 0;
        if (!at_once) clean(c);
        if (!again || seen.removing || seen.leaving >= 0 || (seen.remains && !at_once)) return;
        if (wait > Duration::zero()) return wake(now_ + wait);
        return start(c, seen.attempt + 1);
      }
      case Run::kNone: return start(c, std::max(seen.attempt, 0));
    }
  }

  // Prepared while its sandbox is still being made: what is on disk does not need it.
  void start(const api::Container& c, int attempt) {
    if (!pull(c, attempt) || !volumes_) return;
    const ContainerSeen& seen = of(c);
    if (seen.prepared == Step::kBusy || !seen_.objects_loaded || !seen_.services_known) return;
    if (!seen.config_error.empty() && now_ < seen.config_failed_at + kConfigRetry)
      return wake(seen.config_failed_at + kConfigRetry);
    if (seen.prepared != Step::kDone || seen.prepared_attempt != attempt)
      return act({.kind = Action::Kind::kPrepare, .container = c.name, .attempt = attempt});
    if (!sandbox_) return;
    Action action{.kind = Action::Kind::kStart, .container = c.name, .attempt = attempt};
    if (attempt > 0 && seen.run == Run::kExited) {
      const bool forgotten = seen.backoff == Duration::zero() || now_ - seen.backoff_at > kBackoffForget;
      action.backoff = forgotten ? kBackoffFirst : std::min<Duration>(seen.backoff * 2, kBackoffMax);
    }
    act(std::move(action));
  }

  // True when the image is there for this attempt.
  bool pull(const api::Container& c, int attempt) {
    const ImageSeen& image = of(c).image;
    const std::string policy = pull_policy(c);
    const bool needed =
        policy == "Always" ? image.pulled_attempt < attempt || !image.present : !image.present;
    if (!needed) return true;
    if (image.pulling || image.looking) return false;
    if (!image.reason.empty()) {
      if (now_ < image.failed_at + kShowError) wake(image.failed_at + kShowError);
      if (now_ < image.failed_at + image.backoff) {
        wake(image.failed_at + image.backoff);
        return false;
      }
    }
    if (!seen_.pull_secrets_loaded || !seen_.images_known) return false;
    act({.kind = Action::Kind::kPull, .container = c.name, .attempt = attempt, .image = c.image});
    return false;
  }

  void tend(const api::Container& c) {
    const ContainerSeen& seen = of(c);
    if (seen.stopping) {
      probe_ready(c);
      return stop(c, seen.grace_seconds, {});
    }
    if (c.lifecycle && c.lifecycle->post_start) {
      if (seen.post_start == Step::kNone) act({.kind = Action::Kind::kPostStart, .container = c.name});
      if (seen.post_start == Step::kFailed) return stop(c, grace_of(pod_), "FailedPostStartHook");
      if (seen.post_start != Step::kDone) return;
    }
    if (c.startup_probe && seen.startup.verdict != ProbeSeen::Verdict::kSuccess) {
      if (seen.startup.verdict == ProbeSeen::Verdict::kFailure)
        return stop(c, probe_grace(*c.startup_probe),
                    "Container " + c.name + " failed startup probe, will be restarted");
      return probe(c, ProbeKind::kStartup, seen.startup);
    }
    if (c.liveness_probe) {
      if (seen.liveness.verdict == ProbeSeen::Verdict::kFailure)
        return stop(c, probe_grace(*c.liveness_probe),
                    "Container " + c.name + " failed liveness probe, will be restarted");
      probe(c, ProbeKind::kLiveness, seen.liveness);
    }
    if (c.readiness_probe) probe(c, ProbeKind::kReadiness, seen.readiness);
  }

  // Of a container on its way down, whose other probes are over.
  void probe_ready(const api::Container& c) {
    if (c.readiness_probe && has_started(c, of(c))) probe(c, ProbeKind::kReadiness, of(c).readiness);
  }

  int64_t probe_grace(const api::Probe& probe) const {
    return std::min(kForEverSeconds, probe.termination_grace_period_seconds.value_or(
                                         spec_.termination_grace_period_seconds.value_or(30)));
  }

  void probe(const api::Container& c, ProbeKind kind, const ProbeSeen& state) {
    if (state.in_flight) return;
    const api::Probe& probe = *probe_of(c, kind);
    Time due = of(c).started_at + seconds(probe.initial_delay_seconds.value_or(0));
    if (state.last_started != Time{})
      due = std::max(due, state.last_started + seconds(std::max(1, probe.period_seconds.value_or(10))));
    if (now_ < due) return wake(due);
    act({.kind = Action::Kind::kProbe, .container = c.name, .probe = kind});
  }

  void clean(const api::Container& c) {
    const ContainerSeen& seen = of(c);
    if (seen.removing) return;
    if (seen.leaving >= 0) act({.kind = Action::Kind::kRemove, .container = c.name, .attempt = seen.leaving});
    else if (seen.run == Run::kExited && seen.remains)
      act({.kind = Action::Kind::kRemove, .container = c.name, .attempt = seen.attempt});
  }

  // preStop, the stop signal, and SIGKILL when the grace period is over.
  void stop(const api::Container& c, int64_t grace_seconds, const std::string& why) {
    const ContainerSeen& seen = of(c);
    const bool hook = c.lifecycle && c.lifecycle->pre_stop && grace_seconds > 0;
    std::string signal =
        c.lifecycle && !c.lifecycle->stop_signal.empty() ? c.lifecycle->stop_signal : seen.stop_signal;
    if (signal.empty()) signal = "SIGTERM";
    Action action{.kind = Action::Kind::kSignal,
                  .container = c.name,
                  .signal = signal,
                  .grace_seconds = grace_seconds,
                  .why = why};
    if (!seen.stopping) {
      if (hook) action.kind = Action::Kind::kPreStop;
      else if (grace_seconds == 0) action.kind = Action::Kind::kKill;
      return act(std::move(action));
    }
    const Time end = seen.stop_at + seconds(std::min(seen.grace_seconds, grace_seconds));
    // A kubelet that was restarted meanwhile runs the hook again: at least once, as Kubernetes promises.
    if (hook && seen.pre_stop == Step::kNone && !seen.signalled && !seen.killed && now_ < end) {
      action.kind = Action::Kind::kPreStop;
      return act(std::move(action));
    }
    if (!seen.signalled && !seen.killed) {
      if (seen.pre_stop == Step::kBusy && now_ < end) return wake(end);
      return act(std::move(action));
    }
    if (seen.killed) return;
    // A container whose hook ate the grace period still gets 2 s after its signal.
    const Time kill_at =
        std::max(end, hook && seen.signalled_at != Time{} ? seen.signalled_at + seconds(2) : end);
    if (now_ < kill_at) return wake(kill_at);
    action.kind = Action::Kind::kKill;
    act(std::move(action));
  }

  // True when the container has no process any more.
  bool down(const api::Container& c, int64_t grace_seconds) {
    const ContainerSeen& seen = of(c);
    if (seen.run == Run::kRunning) {
      probe_ready(c);
      stop(c, grace_seconds, "Stopping container " + c.name);
    }
    return seen.run == Run::kNone || seen.run == Run::kExited;
  }

  void tear_down() {
    if (seen_.sandbox.step != Step::kNone) {
      fetch_tokens(false);
      if (has_volumes(pod_, seen_)) refresh_volumes();
    }
    const int64_t grace = seen_.gone_from_api && !is_terminating(pod_) ? 2 : grace_of(pod_);
    bool all_down = true;
    for (const api::Container& c : spec_.containers) all_down &= down(c, grace);
    for (const api::Container& c : spec_.init_containers)
      if (!is_sidecar(c)) all_down &= down(c, grace);
    // Sidecars go last, the last started one first.
    for (auto c = spec_.init_containers.rbegin(); all_down && c != spec_.init_containers.rend(); ++c)
      if (is_sidecar(*c)) all_down &= down(*c, grace);
    if (!all_down) return;
    if (seen_.sandbox.step == Step::kBusy || making_volumes(seen_.volumes) ||
        seen_.volumes.removal.step == Step::kBusy)
      return;
    if (seen_.sandbox.step == Step::kDone) {
      if (now_ < seen_.sandbox.stop_retry_at) return wake(seen_.sandbox.stop_retry_at);
      return act({.kind = Action::Kind::kStopSandbox});
    }
    if (!cleaned()) return;
    if (seen_.volumes.directory.step != Step::kNone) {
      if (is_due(seen_.volumes.removal)) act({.kind = Action::Kind::kUnmountVolumes});
      return;
    }
    if (seen_.gone_from_api || seen_.removed == Step::kDone) {
      plan_.finished = true;
      return;
    }
    if (!is_terminating(pod_) || seen_.removed == Step::kBusy) return;
    if (seen_.removed == Step::kFailed && now_ < seen_.remove_retry_at) return wake(seen_.remove_retry_at);
    act({.kind = Action::Kind::kDelete});
  }

  const api::Pod& pod_;
  const api::PodSpec& spec_;
  const PodObserved& seen_;
  const Time now_;
  bool sandbox_ = false, volumes_ = false;
  Plan plan_;
};

// On the way up: on the way down each word counts, since an endpoint or a successor waits for it.
bool in_motion(const api::Pod& pod, const PodObserved& seen, Time now) {
  if (is_terminating(pod) || seen.gone_from_api || !terminal_phase(pod, seen, now).empty()) return false;
  if (seen.sandbox.step == Step::kBusy || making_volumes(seen.volumes)) return true;
  return std::any_of(seen.containers.begin(), seen.containers.end(), [](const auto& named) {
    const ContainerSeen& c = named.second;
    return c.run == Run::kStarting || c.prepared == Step::kBusy || c.image.looking;
  });
}

}  // namespace

Plan plan_pod(const api::Pod& pod, const PodObserved& seen, const NodeFacts& node, Time now) {
  Plan plan = Planner(pod, seen, now).run();
  plan.status = pod_status(pod, seen, node, now);
  plan.in_motion = in_motion(pod, seen, now);
  return plan;
}

std::string Action::text() const {
  switch (kind) {
    case Kind::kFindSandbox: return "find-sandbox";
    case Kind::kCleanSandbox: return "clean-sandbox";
    case Kind::kStartSandbox: return "start-sandbox";
    case Kind::kFetchToken:
      return "fetch-token " + (token.audience.empty() ? "" : token.audience + " ") +
             std::to_string(token.expiration_seconds) + "s";
    case Kind::kFetchClaims: return "fetch-claims";
    case Kind::kMountVolumes: {
      std::string out = "mount-volumes";
      for (const auto& name : volumes) out += " " + name;
      return out;
    }
    case Kind::kRefreshVolumes: return "refresh-volumes";
    case Kind::kPull: return "pull " + image;
    case Kind::kPrepare: return "prepare " + container + " attempt " + std::to_string(attempt);
    case Kind::kStart: return "start " + container + " attempt " + std::to_string(attempt);
    case Kind::kPostStart: return "post-start " + container;
    case Kind::kProbe: return std::string("probe ") + container + " " + probe_name(probe);
    case Kind::kPreStop: return "pre-stop " + container + " grace " + std::to_string(grace_seconds);
    case Kind::kSignal:
      return "signal " + container + " " + signal + " grace " + std::to_string(grace_seconds);
    case Kind::kKill: return "kill " + container;
    case Kind::kRemove: return "remove " + container + " attempt " + std::to_string(attempt);
    case Kind::kStopSandbox: return "stop-sandbox";
    case Kind::kUnmountVolumes: return "unmount-volumes";
    case Kind::kDelete: return "delete-pod";
  }
  return "?";
}

const char* probe_name(ProbeKind kind) {
  return kind == ProbeKind::kStartup ? "startup" : kind == ProbeKind::kLiveness ? "liveness" : "readiness";
}

bool count_probe(const api::Probe& probe, ProbeKind kind, bool success, ProbeSeen& seen) {
  seen.streak = seen.last_success == success ? seen.streak + 1 : 1;
  seen.last_success = success;
  // Liveness and startup probes always need one success only (validated by the API server).
  const int needed = success ? (kind == ProbeKind::kReadiness ? probe.success_threshold.value_or(1) : 1)
                             : probe.failure_threshold.value_or(3);
  if (seen.streak < std::max(1, needed)) return false;
  const auto verdict = success ? ProbeSeen::Verdict::kSuccess : ProbeSeen::Verdict::kFailure;
  if (seen.verdict == verdict) return false;
  seen.verdict = verdict;
  return true;
}

bool is_terminating(const api::Pod& pod) { return !pod.metadata.deletion_timestamp.empty(); }

int64_t grace_of(const api::Pod& pod) {
  if (is_terminating(pod) && pod.metadata.deletion_grace_period_seconds)
    return std::clamp<int64_t>(*pod.metadata.deletion_grace_period_seconds, 0, kForEverSeconds);
  return std::clamp<int64_t>(spec_of(pod).termination_grace_period_seconds.value_or(30), 0, kForEverSeconds);
}

bool is_sidecar(const api::Container& container) { return container.restart_policy == "Always"; }

const api::Probe* probe_of(const api::Container& container, ProbeKind kind) {
  const auto& probe = kind == ProbeKind::kStartup    ? container.startup_probe
                      : kind == ProbeKind::kLiveness ? container.liveness_probe
                                                     : container.readiness_probe;
  return probe ? &*probe : nullptr;
}

std::string pull_policy(const api::Container& container) {
  if (!container.image_pull_policy.empty()) return container.image_pull_policy;
  if (container.image.find('@') != std::string::npos) return "IfNotPresent";
  const size_t slash = container.image.rfind('/');
  const size_t colon = container.image.find(':', slash == std::string::npos ? 0 : slash);
  return colon == std::string::npos || container.image.substr(colon) == ":latest" ? "Always" : "IfNotPresent";
}

bool has_started(const api::Container& container, const ContainerSeen& seen) {
  if (seen.run != Run::kRunning) return false;
  if (container.lifecycle && container.lifecycle->post_start && seen.post_start != Step::kDone) return false;
  return !container.startup_probe || seen.startup.verdict == ProbeSeen::Verdict::kSuccess;
}

bool is_ready(const api::Container& container, const ContainerSeen& seen) {
  // One that is told to end still serves, until its probe says no or it has ended (KEP-1672).
  if (!has_started(container, seen)) return false;
  return !container.readiness_probe || seen.readiness.verdict == ProbeSeen::Verdict::kSuccess;
}

bool should_restart(const api::Pod& pod, const api::Container& container, bool init,
                    const ContainerSeen& seen) {
  if (seen.run != Run::kExited) return false;
  std::string policy =
      container.restart_policy.empty() ? spec_of(pod).restart_policy : container.restart_policy;
  if (policy.empty()) policy = "Always";
  if (init && container.restart_policy.empty() && policy == "Always") policy = "OnFailure";
  return policy == "Always" || (policy == "OnFailure" && seen.exit.code != 0);
}

Duration retry_wait(int failures, Duration most) {
  return std::min<Duration>(seconds(1) * (1 << std::clamp(failures, 0, 20)), most);
}

Duration restart_wait(const ContainerSeen& seen, Time now) {
  if (seen.backoff == Duration::zero() || now - seen.backoff_at > kBackoffForget) return {};
  const Time due = seen.exit.finished_at + seen.backoff;
  return due > now ? due - now : Duration::zero();
}

bool has_volumes(const api::Pod& pod, const PodObserved& seen) {
  const auto& volumes = spec_of(pod).volumes;
  return seen.volumes.directory.step == Step::kDone &&
         std::all_of(volumes.begin(), volumes.end(), [&](const api::Volume& v) {
           auto it = seen.volumes.each.find(v.name);
           return it != seen.volumes.each.end() && it->second.step == Step::kDone;
         });
}

void contents_changed(const api::Pod& pod, PodObserved& seen, const TokenKey* token) {
  for (const api::Volume& v : spec_of(pod).volumes) {
    auto it = seen.volumes.each.find(v.name);
    if (!is_written(v) || it == seen.volumes.each.end() ||
        (it->second.step != Step::kDone && it->second.step != Step::kBusy))
      continue;
    const auto tokens = needs_of(v).tokens;
    seen.volumes.outdated |= !token || std::find(tokens.begin(), tokens.end(), *token) != tokens.end();
  }
}

bool is_initialized(const api::Pod& pod, const PodObserved& seen) {
  for (const auto& c : spec_of(pod).init_containers) {
    auto it = seen.containers.find(c.name);
    if (it == seen.containers.end()) return false;
    if (is_sidecar(c) ? !has_started(c, it->second)
                      : it->second.run != Run::kExited || it->second.exit.code != 0)
      return false;
  }
  return true;
}

bool deadline_passed(const api::Pod& pod, const PodObserved& seen, Time now) {
  const auto& deadline = spec_of(pod).active_deadline_seconds;
  return deadline && now >= seen.first_seen + seconds(*deadline);
}

std::string terminal_phase(const api::Pod& pod, const PodObserved& seen, Time now) {
  if (pod.status && (pod.status->phase == "Succeeded" || pod.status->phase == "Failed"))
    return pod.status->phase;
  auto find = [&](const api::Container& c) {
    auto it = seen.containers.find(c.name);
    return it == seen.containers.end() ? nullptr : &it->second;
  };
  for (const auto& c : spec_of(pod).init_containers) {
    const ContainerSeen* s = find(c);
    if (!is_sidecar(c) && s && s->run == Run::kExited && s->exit.code != 0 &&
        !should_restart(pod, c, true, *s))
      return "Failed";
  }
  bool all_over = !spec_of(pod).containers.empty(), failed = false;
  for (const auto& c : spec_of(pod).containers) {
    const ContainerSeen* s = find(c);
    if (!s || s->run != Run::kExited || should_restart(pod, c, false, *s)) {
      all_over = false;
      break;
    }
    failed |= s->exit.code != 0;
  }
  if (all_over) return failed ? "Failed" : "Succeeded";
  return deadline_passed(pod, seen, now) ? "Failed" : "";
}

std::string container_id(const api::Pod&, std::string_view name, int attempt) {
  return std::string(name) + "." + std::to_string(attempt);
}

std::string qos_class(const api::Pod& pod) {
  if (pod.status && !pod.status->qos_class.empty()) return pod.status->qos_class;  // the API server said it
  return api::qos_class(api::encode(pod));
}

}  // namespace kubelet
