// What a Pod has before any container: its sampan-pod, its network, its directory and volumes.
#include <algorithm>

#include "base/log.h"
#include "kubelet/pod/worker.h"

namespace kubelet {

namespace json = base::json;
using std::chrono::seconds;

namespace {
constexpr auto kStopSilence = seconds(30);
}  // namespace

// ---- sandbox ---------------------------------------------------------------------------------

void PodWorker::start_sandbox() {
  const api::PodSpec& spec = spec_of(pod_);
  const bool host_network = spec.host_network.value_or(false);
  check_address();  // one of a lost sandbox may be of another range by now
  seen_.sandbox.stale = false;
  if (!host_network && seen_.sandbox.ip.empty()) {
    auto address = machine_.take_address();
    if (!address.ok()) return sandbox_failed(address.error());
    seen_.sandbox.ip = *address;
    drop_prepared();
  }
  seen_.sandbox.step = Step::kBusy;
  // The intent: what a killed kubelet must look for. What is not written down is not done.
  if (auto saved = save(); !saved.ok()) return sandbox_failed(saved.error());
  runtime::SandboxSpec out;
  out.id = uid();
  out.run_dir = view().layout.run_dir;
  out.pod_program = view().pod_program;
  out.hostname = pod_hostname(pod_, view().node_name);
  out.cgroup = view().cgroup_parent + "/pod" + uid();
  out.cgroup_resources = pod_resources(pod_, view().max_pids);
  out.host_network = host_network;
  out.host_ipc = spec.host_ipc.value_or(false);
  out.host_pid = spec.host_pid.value_or(false);
  out.share_pid = spec.share_process_namespace.value_or(false);
  if (spec.security_context)
    for (const auto& sysctl : spec.security_context->sysctls) out.sysctls[sysctl.name] = sysctl.value;
  using Made = base::Result<std::unique_ptr<runtime::Pod>>;
  machine_.start_sandbox(std::move(out), once<Made>([](PodWorker& self, Made pod) {
                           if (!pod.ok()) return self.sandbox_failed(pod.error());
                           self.runtime_ = std::move(*pod);
                           self.hook_runtime();
                           using Sandbox = base::Result<runtime::Pod::Sandbox>;
                           self.runtime_->sandbox(self.once<Sandbox>([](PodWorker& self, Sandbox sandbox) {
                             if (!self.runtime_) return;
                             if (!sandbox.ok()) return self.sandbox_failed(sandbox.error());
                             self.sandbox_fds_ = std::make_shared<runtime::Pod::Sandbox>(std::move(*sandbox));
                             self.attach_network();
                           }));
                         }));
}

void PodWorker::attach_network() {
  if (spec_of(pod_).host_network.value_or(false)) {
    seen_.sandbox.step = Step::kDone;
    return schedule();
  }
  machine_.attach(uid(), sandbox_fds_, seen_.sandbox.ip,
                  once<base::Status>([attempt = seen_.sandbox.attempt](PodWorker& self, base::Status status) {
                    if (!self.runtime_ || self.seen_.sandbox.attempt != attempt) return;  // lost meanwhile
                    if (!status.ok()) return self.sandbox_failed(status.error());
                    self.seen_.sandbox.failures = 0;
                    self.seen_.sandbox.step = Step::kDone;
                    self.seen_.sandbox.error.clear();
                    self.schedule();
                  }));
}

void PodWorker::sandbox_failed(const base::Error& error) {
  event(true, "FailedCreatePodSandBox", "Failed to create pod sandbox: " + error.message());
  base::log::warning("pod {}/{}: start sandbox: {}", pod_.metadata.namespace_, pod_.metadata.name,
                     error.message());
  const Duration delay = retry_wait(seen_.sandbox.failures++, seconds(60));
  // What was made so far goes first: the next attempt starts from nothing.
  auto settle = [this, delay, text = error.message()] {
    seen_.sandbox.step = Step::kFailed;
    seen_.sandbox.cleaned = Step::kNone;
    seen_.sandbox.error = text;
    seen_.sandbox.retry_at = machine_.now() + delay;
    schedule();
  };
  if (!runtime_) return settle();
  seen_.sandbox.step = Step::kBusy;
  runtime_->on_lost = nullptr;
  runtime_->on_exit = nullptr;
  runtime_->shutdown(once<base::Status>([settle](PodWorker& self, base::Status status) {
    base::ignore(status, "cleaned up in any case");
    // Not inside its own callback.
    self.machine_.post([weak = self.weak_from_this(), settle] {
      auto self = weak.lock();
      if (!self) return;
      self->runtime_.reset();
      settle();
    });
  }));
}

void PodWorker::say_sandbox_changed() {
  event(false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
}

// Of all that ran in a sandbox that is gone.
void PodWorker::containers_died() {
  for (auto& [name, c] : seen_.containers) {
    if (c.run == Run::kStarting) c.run = Run::kNone;
    if (c.run == Run::kRunning) {
      runtime::ContainerState state;
      state.exit_code = 137;
      state.signal = 9;
      state.started_at = c.started_at;
      state.finished_at = machine_.now();
      record_exit(name, c, state);
    }
    c.remains = c.removing = false;
    c.leaving = -1;
  }
}

void PodWorker::sandbox_lost() {
  if (finished_) return;
  base::log::warning("pod {}/{}: its sampan-pod died: all its containers did", pod_.metadata.namespace_,
                     pod_.metadata.name);
  seen_.recovered = Step::kDone;
  drop_prepared();
  containers_died();
  if (seen_.sandbox.step != Step::kNone && !is_terminating(pod_)) say_sandbox_changed();
  ++seen_.sandbox.attempt;
  seen_.sandbox.step = Step::kNone;
  seen_.sandbox.cleaned = Step::kNone;
  sandbox_fds_.reset();
  // Not inside their own callbacks.
  machine_.post([weak = weak_from_this(), lost = std::move(runtime_)] {
    auto self = weak.lock();
    if (!self) return;
    self->exec_runs_.clear();
    self->net_checks_.clear();
  });
  schedule();
}

void PodWorker::clean_sandbox() {
  seen_.sandbox.cleaned = Step::kBusy;
  machine_.clean_dead_sandbox(
      uid(), once<base::Status>([](PodWorker& self, base::Status status) {
        self.schedule();
        SandboxSeen& sandbox = self.seen_.sandbox;
        if (status.ok()) {
          sandbox.cleaned = Step::kDone;
          sandbox.stop_failures = 0;
          sandbox.stop_retry_at = {};
          return;
        }
        base::log::warning("pod {}: clean up after its sampan-pod: {}: tried again", self.pod_.metadata.name,
                           status.error().message());
        self.event(true, "FailedKillPod",
                   "error killing pod: clean up after its sampan-pod: " + status.error().message());
        sandbox.cleaned = Step::kFailed;
        sandbox.stop_retry_at = self.machine_.now() + retry_wait(sandbox.stop_failures++, seconds(60));
      }));
}

// Never given up: what can't be ended is asked again, and an Event says so meanwhile.
void PodWorker::stop_sandbox() {
  seen_.sandbox.step = Step::kBusy;
  if (seen_.sandbox.stale) say_sandbox_changed();
  drop_prepared();
  exec_runs_.clear();
  net_checks_.clear();
  std::function<void(base::Status)> cleaned = once<base::Status>([](PodWorker& self, base::Status status) {
    if (status.ok()) self.sandbox_stopped();
    else self.stop_failed(status.error());
  });
  auto clean = [weak = weak_from_this(), cleaned] {
    auto self = weak.lock();
    if (!self) return;
    // Of a lost connection: whether its sampan-pod is alive is asked anew.
    self->machine_.post([weak] {
      if (auto self = weak.lock()) self->runtime_.reset();
    });
    self->machine_.clean_dead_sandbox(self->uid(), cleaned);
  };
  if (!runtime_) {
    if (auto alive = machine_.connect_sandbox(uid()); alive.ok()) runtime_ = std::move(*alive);
    else return clean();
  }
  runtime_->on_exit = nullptr;
  runtime_->on_lost = nullptr;
  stop_watch_ = machine_.after(kStopSilence, [this] {
    event(true, "FailedKillPod",
          "error killing pod: its sampan-pod has not answered for " + std::to_string(kStopSilence.count()) +
              " s");
  });
  runtime_->shutdown([weak = weak_from_this(), clean, cleaned](base::Status status) {
    auto self = weak.lock();
    if (!self) return;
    self->stop_watch_.reset();
    if (!status.ok() && status.error().kind == base::Kind::kUnavailable) return clean();  // it died
    cleaned(std::move(status));
  });
}

void PodWorker::stop_failed(const base::Error& error) {
  const Duration delay = retry_wait(seen_.sandbox.stop_failures++, seconds(60));
  base::log::warning("pod {}/{}: stop sandbox: {}: tried again", pod_.metadata.namespace_, pod_.metadata.name,
                     error.message());
  event(true, "FailedKillPod", "error killing pod: " + error.message());
  seen_.sandbox.step = Step::kDone;
  seen_.sandbox.stop_retry_at = machine_.now() + delay;
  schedule();
}

void PodWorker::sandbox_stopped() {
  sandbox_fds_.reset();
  seen_.sandbox.stop_failures = 0;
  if (!seen_.sandbox.ip.empty()) {
    machine_.release_address(uid(), seen_.sandbox.ip);
    seen_.sandbox.ip.clear();
  }
  seen_.sandbox.step = Step::kNone;
  seen_.sandbox.stop_retry_at = {};
  seen_.sandbox.stray = false;
  if (std::exchange(seen_.sandbox.stale, false)) {
    ++seen_.sandbox.attempt;
    // Files that name the address are written again.
    seen_.volumes.directory.step = Step::kFailed;
    for (auto& [name, volume] : seen_.volumes.each) volume.step = Step::kFailed;
  }
  containers_died();
  machine_.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->runtime_.reset();
  });
  schedule();
}

// ---- volumes ---------------------------------------------------------------------------------

void PodWorker::fetch_claims() {
  seen_.volumes.claims.step = Step::kBusy;
  machine_.fetch_claims(pod_, once<base::Result<Claims>>([](PodWorker& self, base::Result<Claims> claims) {
                          self.schedule();
                          if (!claims.ok())
                            return self.volume_failed(self.seen_.volumes.claims, claims.error());
                          self.claims_ = std::move(*claims);
                          self.seen_.volumes.claims = {.step = Step::kDone};
                        }));
}

void PodWorker::fetch_token(const TokenKey& key) {
  seen_.tokens[key].asked = true;
  using Token = base::Result<json::value>;
  machine_.request_token(pod_, key,
                         once<Token>([key](PodWorker& self, Token result) { self.token_came(key, result); }));
}

void PodWorker::token_came(const TokenKey& key, const base::Result<json::value>& result) {
  TokenSeen& token = seen_.tokens[key];
  token.asked = false;
  if (finished_) return;
  schedule();
  if (!result.ok()) {
    base::log::warning("pod {}/{}: request service account token: {}", pod_.metadata.namespace_,
                       pod_.metadata.name, result.error().message());
    token.due = machine_.now() + token_retry(token.failures++);
    if (!token.held && !has_volumes(pod_, seen_) && !on_the_way_down())
      event(true, "FailedMount", result.error().message());
    return;
  }
  token.held = true;
  token.failures = 0;
  tokens_[key] = base::string_at(*result, "status", "token");
  Duration life = seconds(key.expiration_seconds);
  if (auto end = base::parse_time(base::string_at(*result, "status", "expirationTimestamp"));
      end && *end > machine_.now())
    life = *end - machine_.now();
  token.due = machine_.now() + token_renewal(life);
  contents_changed(pod_, seen_, &key);
}

void PodWorker::mount_volumes(const Action& action) {
  VolumesSeen& seen = seen_.volumes;
  const VolumeSources sources{.env = env_sources(), .tokens = tokens_, .claims = claims_};
  Machine::VolumeWork work{.group = volume_group()};
  if (seen.directory.step != Step::kDone) {
    seen.directory.step = Step::kBusy;
    work.directory = PodDirectory{.hosts = pod_hosts(pod_, sources.env.pod_ip, view().dns, view().node_name),
                                  .resolv_conf = pod_resolv_conf(pod_, view().dns),
                                  .hostname = pod_hostname(pod_, view().node_name),
                                  .shm = !spec_of(pod_).host_ipc.value_or(false)};
  }
  for (const api::Volume& v : spec_of(pod_).volumes) {
    if (std::find(action.volumes.begin(), action.volumes.end(), v.name) == action.volumes.end()) continue;
    auto content = plan_volume(pod_, v, sources);
    if (!content.ok()) {
      volume_failed(seen.each[v.name], content.error());
      continue;
    }
    seen.each[v.name].step = Step::kBusy;
    work.volumes.push_back(std::move(*content));
  }
  if (!work.directory && work.volumes.empty()) return;
  using Made = Machine::VolumesMade;
  std::vector<std::string> asked;
  for (const auto& volume : work.volumes) asked.push_back(volume.name);
  const bool directory = work.directory.has_value();
  machine_.make_volumes(uid(), std::move(work),
                        once<Made>([asked = std::move(asked), directory](PodWorker& self, Made made) {
                          self.volumes_made(asked, directory, made);
                        }));
}

void PodWorker::volumes_made(const std::vector<std::string>& asked, bool directory,
                             const Machine::VolumesMade& made) {
  auto settle = [this](VolumeSeen& volume, const base::Status& status) {
    if (status.ok()) volume = {.step = Step::kDone};
    else volume_failed(volume, status.error());
  };
  if (directory) settle(seen_.volumes.directory, made.directory);
  for (const auto& name : asked)
    if (auto it = made.volumes.find(name); it != made.volumes.end())
      settle(seen_.volumes.each[name], it->second);
    else seen_.volumes.each[name].step = Step::kNone;  // not tried
  schedule();
}

void PodWorker::volume_failed(VolumeSeen& volume, const base::Error& error) {
  volume.step = Step::kFailed;
  volume.error =
      error.reason.starts_with("MountVolume") || error.reason.starts_with("Unable to attach or mount")
          ? error.reason
          : error.message();
  volume.retry_at = machine_.now() + retry_wait(volume.failures++, seconds(120));
  event(true, "FailedMount", volume.error);
}

VolumeGroup PodWorker::volume_group() const {
  VolumeGroup out;
  const auto& context = spec_of(pod_).security_context;
  if (context && context->fs_group) out.fs_group = static_cast<uint32_t>(*context->fs_group);
  out.on_mismatch = context && context->fs_group_change_policy == "OnRootMismatch";
  return out;
}

// Files alone: what claims stand for stays where it is. What can't be told now is left as it is: only a start
// needs everything.
void PodWorker::refresh_volumes() {
  seen_.volumes.outdated = false;
  const VolumeSources sources{.env = env_sources(), .tokens = tokens_};
  std::vector<VolumeContent> volumes;
  for (const api::Volume& v : spec_of(pod_).volumes)
    if (is_written(v))
      if (auto content = plan_volume(pod_, v, sources); content.ok()) volumes.push_back(std::move(*content));
  if (volumes.empty()) return;
  seen_.volumes.refresh.step = Step::kBusy;
  machine_.write_volumes(uid(), std::move(volumes), volume_group().fs_group,
                         once<base::Status>([](PodWorker& self, base::Status status) {
                           self.schedule();
                           VolumesSeen& seen = self.seen_.volumes;
                           if (status.ok()) {
                             seen.refresh = {};
                             return;
                           }
                           seen.outdated = true;
                           self.volume_failed(seen.refresh, status.error());
                         }));
}

void PodWorker::unmount_volumes() {
  drop_prepared();
  seen_.volumes.removal.step = Step::kBusy;
  const bool all = is_terminating(pod_) || seen_.gone_from_api;
  machine_.remove_directory(uid(), all, once<base::Status>([](PodWorker& self, base::Status status) {
                              self.schedule();
                              if (status.ok()) {
                                self.seen_.volumes = {};
                                return;
                              }
                              VolumeSeen& removal = self.seen_.volumes.removal;
                              removal.step = Step::kFailed;
                              removal.retry_at = self.machine_.now() + seconds(2);
                              self.event(true, "FailedUnMount", status.error().message());
                            }));
}

}  // namespace kubelet
