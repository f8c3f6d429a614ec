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
  auto settle = [this, delay, text = error.message()] {
    seen_.sandbox.step = Step::kFailed;
    seen_.sandbox.error = text;
    seen_.sandbox.retry_at = machine_.now() + delay;
    schedule();
  };
  // What was made so far goes first: the next attempt starts from nothing.
  seen_.sandbox.step = Step::kBusy;
  auto clean = [weak = weak_from_this(), settle] {
    auto self = weak.lock();
    if (!self) return;
    self->machine_.clean_dead_sandbox(
        self->uid(), self->once<base::Status>([settle](PodWorker&, base::Status status) {
          base::ignore(status, "nothing may have been left; the next attempt would say what is in its way");
          settle();
        }));
  };
  if (!runtime_) return clean();
  runtime_->on_lost = nullptr;
  runtime_->on_exit = nullptr;
  runtime_->shutdown([weak = weak_from_this(), clean](base::Status status) {
    base::ignore(status, "cleaned up below in any case");
    auto self = weak.lock();
    if (!self) return;
    // Not inside its own callback.
    self->machine_.post([weak] {
      if (auto self = weak.lock()) self->runtime_.reset();
    });
    clean();
  });
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
  recovering_ = false;
  drop_prepared();
  containers_died();
  if (seen_.sandbox.step != Step::kNone && !is_terminating(pod_)) say_sandbox_changed();
  ++seen_.sandbox.attempt;
  seen_.sandbox.step = Step::kBusy;  // until what it left is gone
  machine_.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->exec_runs_.clear();
    self->net_checks_.clear();
    self->runtime_.reset();
    self->sandbox_fds_.reset();
    self->clean_lost();
  });
}

// What a dead sampan-pod left goes before the next sandbox is made; until it is gone.
void PodWorker::clean_lost() {
  machine_.clean_dead_sandbox(
      uid(), once<base::Status>([](PodWorker& self, base::Status status) {
        if (!status.ok()) {
          const Duration delay = retry_wait(self.seen_.sandbox.stop_failures++, seconds(60));
          base::log::warning("pod {}: clean up after its sampan-pod: {}: tried again",
                             self.pod_.metadata.name, status.error().message());
          self.event(true, "FailedKillPod",
                     "error killing pod: clean up after its sampan-pod: " + status.error().message());
          self.clean_retry_ = self.machine_.after(delay, [&self] { self.clean_lost(); });
          return;
        }
        self.seen_.sandbox.stop_failures = 0;
        self.seen_.sandbox.step = Step::kNone;
        self.schedule();
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
  if (std::exchange(seen_.sandbox.stale, false)) {
    ++seen_.sandbox.attempt;
    seen_.volumes.step = Step::kNone;  // files that name the address are written again
  }
  containers_died();
  machine_.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->runtime_.reset();
  });
  schedule();
}

// ---- volumes ---------------------------------------------------------------------------------

void PodWorker::mount_volumes() {
  seen_.volumes.step = Step::kBusy;
  if (claims_of(pod_).empty()) return make_directory();
  machine_.fetch_claims(pod_, once<base::Result<Claims>>([](PodWorker& self, base::Result<Claims> claims) {
                          if (self.finished_ || self.seen_.volumes.step != Step::kBusy) return;
                          if (!claims.ok()) return self.volumes_failed(claims.error());
                          self.claims_ = std::move(*claims);
                          self.make_directory();
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
    if (!token.held && seen_.volumes.step != Step::kDone && !on_the_way_down())
      volumes_failed(result.error());
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
  if (seen_.volumes.step == Step::kFailed && !seen_.volumes.unmount_failed) seen_.volumes.retry_at = {};
  refresh_volumes();
}

void PodWorker::make_directory() {
  if (seen_.sandbox.ip.empty() && !spec_of(pod_).host_network.value_or(false)) {
    // The address is chosen by start_sandbox, which is planned before this.
    return volumes_failed(base::make_error(base::Kind::kUnavailable, "make Pod directory", uid(),
                                           "the Pod has no address yet"));
  }
  VolumeSources sources{.env = env_sources(), .tokens = tokens_, .claims = claims_.value_or(Claims())};
  auto volumes = plan_volumes(pod_, sources);
  if (!volumes.ok()) return volumes_failed(volumes.error());
  PodDirectory content;
  const std::string ip = sources.env.pod_ip;
  content.hosts = pod_hosts(pod_, ip, view().dns, view().node_name);
  content.resolv_conf = pod_resolv_conf(pod_, view().dns);
  content.hostname = pod_hostname(pod_, view().node_name);
  content.shm = !spec_of(pod_).host_ipc.value_or(false);
  if (spec_of(pod_).security_context && spec_of(pod_).security_context->fs_group)
    content.fs_group = static_cast<uint32_t>(*spec_of(pod_).security_context->fs_group);
  content.group_on_mismatch = spec_of(pod_).security_context &&
                              spec_of(pod_).security_context->fs_group_change_policy == "OnRootMismatch";
  content.volumes = std::move(*volumes);
  machine_.make_directory(uid(), std::move(content),
                          once<base::Status>([](PodWorker& self, base::Status status) {
                            if (!status.ok()) return self.volumes_failed(status.error());
                            self.seen_.volumes = {};
                            self.seen_.volumes.step = Step::kDone;
                            self.schedule();
                          }));
}

void PodWorker::volumes_failed(const base::Error& error) {
  seen_.volumes.step = Step::kFailed;
  seen_.volumes.unmount_failed = false;
  seen_.volumes.error =
      error.reason.starts_with("MountVolume") || error.reason.starts_with("Unable to attach or mount")
          ? error.reason
          : error.message();
  seen_.volumes.retry_at = machine_.now() + retry_wait(seen_.volumes.failures++, seconds(120));
  event(true, "FailedMount", seen_.volumes.error);
  schedule();
}

// New contents of ConfigMaps, Secrets, labels and tokens reach the running containers.
void PodWorker::refresh_volumes() {
  if (seen_.volumes.step != Step::kDone || recovering_ || finished_) return;
  if (refreshing_) {
    refresh_again_ = true;
    return;
  }
  // After a restart of the kubelet; token_came() comes back here.
  for (const auto& key : kubelet::tokens(pod_))
    if (!tokens_.contains(key)) return;
  if (!machine_.loaded(pod_.metadata.namespace_, references(pod_))) return;
  // Files alone are refreshed: what claims stand for stays where it is.
  Claims claims;
  for (const auto& [volume, claim] : claims_of(pod_)) claims[volume] = {};
  auto volumes = plan_volumes(pod_, {.env = env_sources(), .tokens = tokens_, .claims = std::move(claims)});
  if (!volumes.ok()) return;  // it runs with what it has: only a start needs everything
  std::erase_if(*volumes, [](const auto& v) { return v.kind != VolumeContent::Kind::kFiles; });
  if (volumes->empty()) return;
  std::optional<uint32_t> group;
  if (spec_of(pod_).security_context && spec_of(pod_).security_context->fs_group)
    group = static_cast<uint32_t>(*spec_of(pod_).security_context->fs_group);
  refreshing_ = true;
  machine_.write_volumes(uid(), std::move(*volumes), group,
                         once<base::Status>([](PodWorker& self, base::Status status) {
                           self.refreshing_ = false;
                           self.schedule();  // an unmount may wait
                           if (!status.ok()) self.event(true, "FailedMount", status.error().message());
                           if (std::exchange(self.refresh_again_, false)) self.refresh_volumes();
                         }));
}

void PodWorker::unmount_volumes() {
  if (refreshing_) {  // its thread writes there; it comes back here
    seen_.volumes.step = Step::kFailed;
    return;
  }
  drop_prepared();
  seen_.volumes.step = Step::kBusy;
  const bool all = is_terminating(pod_) || seen_.gone_from_api;
  machine_.remove_directory(uid(), all, once<base::Status>([](PodWorker& self, base::Status status) {
                              if (!status.ok()) {
                                self.seen_.volumes.unmount_failed = true;
                                self.seen_.volumes.step = Step::kFailed;
                                self.seen_.volumes.retry_at = self.machine_.now() + seconds(2);
                                self.event(true, "FailedUnMount", status.error().message());
                              } else {
                                self.seen_.volumes = {};
                              }
                              self.schedule();
                            }));
}

}  // namespace kubelet
