// The loop of one Pod: sync, record, status, recovery. What the actions do is in
// worker_sandbox.cc, worker_container.cc and worker_checks.cc.
#include "kubelet/pod/worker.h"

#include "base/log.h"
#include "kubelet/pod/recovery.h"

namespace kubelet {

namespace json = base::json;

namespace {

uint64_t version_of(const api::Pod& pod) {
  return std::strtoull(pod.metadata.resource_version.c_str(), nullptr, 10);
}

}  // namespace

PodWorker::PodWorker(Machine& machine, api::Pod pod, std::optional<PodObserved> record)
    : machine_(machine), pod_(std::move(pod)), had_record_(record.has_value()),
      seen_(seen_at_start(pod_, std::move(record), machine.now())) {}

PodWorker::~PodWorker() {
  if (runtime_) {
    runtime_->on_exit = nullptr;
    runtime_->on_lost = nullptr;
  }
}

void PodWorker::start() {
  seen_.network_ready = machine_.has_network();
  check_address();
  if (!is_terminating(pod_)) machine_.refer(uid(), pod_.metadata.namespace_, references(pod_));
  // A sampan-pod nobody wrote down: its record was damaged. It knows nothing we could go on from.
  if (!had_record_) {
    if (auto stray = machine_.connect_sandbox(uid()); stray.ok()) {
      base::log::warning("pod {}/{}: has a sampan-pod but no record: it is started anew",
                         pod_.metadata.namespace_, pod_.metadata.name);
      runtime_ = std::move(*stray);
      seen_.sandbox.step = Step::kDone;
      seen_.sandbox.stray = true;
    }
  }
  schedule();
}

void PodWorker::update(api::Pod pod) {
  if (version_of(pod) < version_of(pod_)) return;  // older than what our own write answered
  const bool meta_changed =
      pod.metadata.labels != pod_.metadata.labels || pod.metadata.annotations != pod_.metadata.annotations;
  pod_ = std::move(pod);
  if (meta_changed) {
    drop_prepared();
    contents_changed(pod_, seen_);
  }
  schedule();
}

void PodWorker::gone() {
  seen_.gone_from_api = true;
  schedule();
}

// The node's range may have become another one while the Pod lived: nobody reaches the old address.
void PodWorker::check_address() {
  if (!machine_.has_network() || seen_.sandbox.ip.empty() || machine_.in_range(seen_.sandbox.ip)) return;
  if (seen_.sandbox.step == Step::kNone || seen_.sandbox.step == Step::kFailed) seen_.sandbox.ip.clear();
  else seen_.sandbox.stale = true;
}

void PodWorker::look_again() {
  seen_.network_ready = machine_.has_network();
  check_address();
  schedule();
}

void PodWorker::objects_changed() {
  for (auto& [name, c] : seen_.containers) c.config_error.clear();
  drop_prepared();
  for (auto& [name, volume] : seen_.volumes.each) volume.retry_at = {};
  contents_changed(pod_, seen_);
  schedule();
}

void PodWorker::schedule() {
  if (scheduled_ || finished_) return;
  scheduled_ = true;
  machine_.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->sync();
  });
}

void PodWorker::sync() {
  scheduled_ = false;
  if (finished_) return;
  std::vector<Reference> pull_secrets;
  for (const auto& secret : spec_of(pod_).image_pull_secrets)
    if (!secret.name.empty()) pull_secrets.push_back({ObjectKind::kSecret, secret.name});
  seen_.pull_secrets_loaded = machine_.loaded(pod_.metadata.namespace_, pull_secrets);
  seen_.objects_loaded = machine_.loaded(pod_.metadata.namespace_, references(pod_));
  seen_.images_known = machine_.images_known();
  seen_.services_known = machine_.services(pod_.metadata.namespace_) != nullptr;
  std::string before;
  Plan plan;
  // Actions change what is observed at once (kBusy, kStarting), so the next plan may go further;
  // one that plans the same again waits for an answer from outside.
  for (int round = 0; round < 20; ++round) {
    plan = plan_pod(pod_, seen_, view().node, machine_.now());
    std::string text;
    for (const auto& action : plan.actions) text += action.text() + "; ";
    if (text.empty() || text == before) break;
    before = std::move(text);
    for (const auto& action : plan.actions) {
      machine_.acts(pod_, action);
      act(action);
    }
    if (scheduled_) scheduled_ = false;
  }
  base::ignore(save(), "nothing follows that a later start could not find out; it was logged");
  std::optional<Time> wake = publish(plan);
  if (plan.wake && (!wake || *plan.wake < *wake)) wake = plan.wake;
  wake_.reset();
  if (wake) {
    const Duration delay = std::max<Duration>(*wake - machine_.now(), std::chrono::milliseconds(1));
    wake_ = machine_.after(delay, [this] { sync(); });
  }
  if (plan.finished && !finished_) {
    finished_ = true;
    wake_.reset();
    stop_watch_.reset();
    machine_.refer(uid(), pod_.metadata.namespace_, {});
    if (on_finished) on_finished();
  }
}

bool PodWorker::on_the_way_down() const {
  return is_terminating(pod_) || seen_.gone_from_api || !terminal_phase(pod_, seen_, machine_.now()).empty();
}

void PodWorker::act(const Action& action) {
  using Kind = Action::Kind;
  switch (action.kind) {
    case Kind::kFindSandbox: return find_sandbox();
    case Kind::kCleanSandbox: return clean_sandbox();
    case Kind::kStartSandbox: return start_sandbox();
    case Kind::kFetchToken: return fetch_token(action.token);
    case Kind::kFetchClaims: return fetch_claims();
    case Kind::kMountVolumes: return mount_volumes(action);
    case Kind::kRefreshVolumes: return refresh_volumes();
    case Kind::kPull: return pull(action);
    case Kind::kPrepare: return prepare_container(action);
    case Kind::kStart: return start_container(action);
    case Kind::kPostStart: return run_hook(action, true);
    case Kind::kPreStop: return run_hook(action, false);
    case Kind::kProbe: return run_probe(action);
    case Kind::kSignal:
    case Kind::kKill: return signal_container(action);
    case Kind::kRemove: return remove_container(action);
    case Kind::kStopSandbox: return stop_sandbox();
    case Kind::kUnmountVolumes: return unmount_volumes();
    case Kind::kDelete: return delete_pod();
  }
}

base::Status PodWorker::save() {
  std::string text = base::to_json(encode_record(seen_));
  if (text == saved_) return {};
  if (auto status = machine_.save_record(uid(), text); !status.ok()) {
    base::log::error("pod {}: {}: a restart of the kubelet would not know its present state",
                     pod_.metadata.name, status.error().message());
    return base::wrap(std::move(status).error(), "write Pod record", uid());
  }
  saved_ = std::move(text);
  return {};
}

std::optional<Time> PodWorker::publish(const Plan& plan) {
  if (plan.unknown) return std::nullopt;
  // An event of its own when a container begins to wait for a restart.
  auto notice = [&](const std::vector<api::ContainerStatus>& list) {
    for (const auto& c : list) {
      const std::string reason = c.state && c.state->waiting ? c.state->waiting->reason : "";
      std::string& last = waiting_[c.name];
      if (reason != last && reason == "CrashLoopBackOff")
        event(true, "BackOff",
              "Back-off restarting failed container " + c.name + " in pod " + pod_.metadata.name + "_" +
                  pod_.metadata.namespace_ + "(" + uid() + ")",
              c.name);
      if (reason != last && reason == "ImagePullBackOff") {
        const api::Container* spec = find_container(pod_, c.name);
        event(false, "BackOff", "Back-off pulling image \"" + (spec ? spec->image : "") + "\"", c.name);
        event(true, "Failed", "Error: ImagePullBackOff", c.name);
      }
      last = reason;
    }
  };
  notice(plan.status.init_container_statuses);
  notice(plan.status.container_statuses);

  if (seen_.gone_from_api) return std::nullopt;
  json::value want = api::encode(plan.status);
  const json::value have = pod_.status ? api::encode(*pod_.status) : json::value(json::object());
  if (want == have || sent_.settled(have, want)) status_.since = {};
  else if (status_.since == Time{}) status_.since = machine_.now();
  const StatusStep step = plan_status(status_, plan.in_motion, machine_.now());
  if (!step.send) return step.wake;
  json::object patch{{"metadata", json::object{{"uid", uid()}}},
                     {"status", status_patch(api::type_of<api::PodStatus>(), have, want)}};
  status_.in_flight = true;
  machine_.patch_status(
      pod_, std::move(patch),
      once<base::Result<json::value>>(
          [want = std::move(want)](PodWorker& self, base::Result<json::value> result) {
            self.status_.in_flight = false;
            self.schedule();
            if (!result.ok()) return self.status_failed(result.error());
            self.status_backoff_.reset();
            self.status_.retry_at = {};
            auto pod = api::decode<api::Pod>(*result);
            if (!pod.ok() || pod->metadata.uid != self.uid()) return;
            self.sent_.answered(want, pod->status ? api::encode(*pod->status) : json::value(json::object()));
            self.update(std::move(*pod));
          }));
  return std::nullopt;
}

void PodWorker::status_failed(const base::Error& error) {
  status_.retry_at = machine_.now() + status_backoff_.next(error, std::chrono::steady_clock::now());
  // Deleted, or another one by now: the informer is about to say so.
  if (error.kind == base::Kind::kNotFound || error.kind == base::Kind::kConflict) return;
  base::log::warning("pod {}/{}: publish status: {}", pod_.metadata.namespace_, pod_.metadata.name,
                     error.message());
}

void PodWorker::delete_pod() {
  seen_.removed = Step::kBusy;
  machine_.remove_pod(pod_,
                      once<base::Result<json::value>>([](PodWorker& self, base::Result<json::value> result) {
                        const bool done = result.ok() || result.error().kind == base::Kind::kNotFound ||
                                          result.error().kind == base::Kind::kConflict;
                        self.seen_.removed = done ? Step::kDone : Step::kFailed;
                        if (!done) {
                          base::log::warning("pod {}/{}: final delete: {}", self.pod_.metadata.namespace_,
                                             self.pod_.metadata.name, result.error().message());
                          self.seen_.remove_retry_at = self.machine_.now() + std::chrono::seconds(1);
                        }
                        self.schedule();
                      }));
}

// ---- after a restart of the kubelet ----------------------------------------------------------

void PodWorker::find_sandbox() {
  seen_.recovered = Step::kBusy;
  auto pod = machine_.connect_sandbox(uid());
  if (!pod.ok()) {
    base::log::info("pod {}/{}: its sampan-pod is gone: {}", pod_.metadata.namespace_, pod_.metadata.name,
                    pod.error().message());
    return sandbox_lost();
  }
  runtime_ = std::move(*pod);
  // Exits of the time without us come with the list; on_exit is for what comes after it.
  runtime_->on_lost = [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->sandbox_lost();
  };
  runtime_->sandbox(once<base::Result<runtime::Pod::Sandbox>>(
      [](PodWorker& self, base::Result<runtime::Pod::Sandbox> sandbox) {
        if (!self.runtime_) return;
        if (!sandbox.ok()) return self.sandbox_lost();
        self.sandbox_fds_ = std::make_shared<runtime::Pod::Sandbox>(std::move(*sandbox));
        if (!spec_of(self.pod_).host_network.value_or(false)) {
          auto address = self.machine_.sandbox_address(*self.sandbox_fds_);
          if (address.ok() && !address->empty()) self.seen_.sandbox.ip = *address;
        }
        using States = std::vector<runtime::ContainerState>;
        self.runtime_->list(self.once<base::Result<States>>([](PodWorker& self, base::Result<States> list) {
          if (!self.runtime_ || self.seen_.recovered != Step::kBusy) return;
          if (!list.ok()) return self.sandbox_lost();
          // What execs and hooks start from was written down by the kubelet that started them.
          std::map<std::string, int> attempts;
          for (const auto& [name, c] : self.seen_.containers)
            if (c.attempt >= 0) attempts[name] = c.attempt;
          using Processes = std::map<std::string, json::value>;
          self.machine_.read_processes(
              self.uid(), std::move(attempts),
              self.once<Processes>([states = std::move(*list)](PodWorker& self, Processes processes) {
                if (!self.runtime_ || self.seen_.recovered != Step::kBusy) return;  // lost meanwhile
                self.processes_ = std::move(processes);
                self.adopt(states);
              }));
        }));
      }));
}

void PodWorker::adopt(const std::vector<runtime::ContainerState>& states) {
  for (const Adoption& found : plan_adoption(pod_, seen_, states, machine_.now())) {
    base::log::debug("pod {}/{}: {}", pod_.metadata.namespace_, pod_.metadata.name, found.text());
    ContainerSeen& c = of(found.container);
    switch (found.kind) {
      case Adoption::Kind::kRuns:
        c.run = Run::kRunning;
        c.started_at = found.state.started_at;
        break;
      case Adoption::Kind::kExited:
        if (c.run != Run::kExited) record_exit(found.container, c, found.state);
        c.remains = true;
        break;
      case Adoption::Kind::kVanished:
        record_exit(found.container, c, found.state);
        c.remains = false;
        break;
      case Adoption::Kind::kNotBegun: c.run = Run::kNone; break;
      case Adoption::Kind::kRemoved: c.remains = false; break;
      case Adoption::Kind::kOldRemoved: c.leaving = -1; break;
    }
  }
  hook_runtime();
  seen_.recovered = Step::kDone;
  check_address();
  // Made but perhaps not yet attached when we were killed: attaching again changes nothing.
  if (seen_.sandbox.step == Step::kBusy) attach_network();
  base::log::info("pod {}/{}: found running again", pod_.metadata.namespace_, pod_.metadata.name);
  schedule();
}

void PodWorker::hook_runtime() {
  runtime_->on_exit = [weak = weak_from_this()](const runtime::ContainerState& state) {
    if (auto self = weak.lock()) self->exited(state);
  };
  runtime_->on_lost = [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->sandbox_lost();
  };
}

void PodWorker::event(bool warning, std::string reason, std::string message, const std::string& container) {
  EventSubject subject;
  subject.ns = pod_.metadata.namespace_;
  subject.name = pod_.metadata.name;
  subject.uid = uid();
  subject.container = container;
  if (!container.empty()) find_container(pod_, container, &subject.init);
  machine_.event(subject, warning, std::move(reason), std::move(message));
}

EnvSources PodWorker::env_sources() const {
  EnvSources out;
  out.data = [this](ObjectKind kind, const std::string& name) {
    return machine_.data(pod_.metadata.namespace_, {kind, name});
  };
  out.pod_ip = spec_of(pod_).host_network.value_or(false) ? view().node.host_ip : seen_.sandbox.ip;
  out.host_ip = view().node.host_ip;
  out.node_name = view().node_name;
  out.node_cpu_milli = view().node_cpu_milli;
  out.node_memory_bytes = view().host.memory_bytes;
  if (const auto* services = machine_.services(pod_.metadata.namespace_)) out.services = *services;
  return out;
}

base::Result<PodWorker::Log> PodWorker::log(const std::string& container, bool previous) const {
  auto it = seen_.containers.find(container);
  const int attempt = it == seen_.containers.end() ? -1 : it->second.attempt;
  if (!find_container(pod_, container))
    return base::make_error(base::Kind::kNotFound, "find container", container,
                            "container " + container + " is not valid for pod " + pod_.metadata.name);
  int wanted = attempt;
  if (previous) {
    wanted = attempt - 1;
    // The one that just ended is "previous" only when the next has begun.
    if (wanted < 0)
      return base::make_error(base::Kind::kInvalid, {}, {},
                              "previous terminated container \"" + container + "\" in pod \"" +
                                  pod_.metadata.name + "\" not found");
  } else if (attempt < 0) {
    return base::make_error(
        base::Kind::kInvalid, {}, {},
        no_log_text(pod_status(pod_, seen_, view().node, machine_.now()), pod_.metadata.name, container));
  }
  return Log{.path = view().layout.log(uid(), container, wanted), .attempt = wanted};
}

bool PodWorker::log_ended(const std::string& container, int attempt) const {
  auto it = seen_.containers.find(container);
  return finished_ || it == seen_.containers.end() || it->second.attempt != attempt ||
         it->second.run == Run::kExited;
}

base::Result<std::shared_ptr<runtime::Pod>> PodWorker::sandbox() const {
  if (!runtime_ || seen_.sandbox.step != Step::kDone)
    return base::make_error(base::Kind::kUnavailable, "find Pod", pod_.metadata.name,
                            "the Pod is not running");
  return runtime_;
}

base::Result<PodWorker::Target> PodWorker::target(const std::string& container) {
  // To upstream's kubelet a container that does not run and one that never was are the same.
  auto seen = seen_.containers.find(container);
  if (!find_container(pod_, container) || seen == seen_.containers.end() ||
      seen->second.run != Run::kRunning || !runtime_)
    return base::make_error(base::Kind::kUnavailable, "find container", container,
                            "container not found (" + base::quoted(container) + ")");
  const ContainerSeen& c = seen->second;
  return Target{.pod = runtime_,
                .container_id = in_pod(container, c.attempt),
                .process = process_of(container, c.attempt),
                .ip = env_sources().pod_ip};
}

}  // namespace kubelet
