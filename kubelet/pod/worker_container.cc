// Containers of a Pod: pull, start, signal, and what their end means.
#include <signal.h>

#include <algorithm>

#include "base/log.h"
#include "base/signals.h"
#include "kubelet/pod/worker.h"

namespace kubelet {

namespace {

// What an image or a lifecycle names; what is none, or 0, is TERM.
int stop_signal(const std::string& name) {
  const auto number = base::signal_number(name);
  return number && *number > 0 ? *number : SIGTERM;
}

}  // namespace

// ---- images ------------------------------------------------------------------------------------

void PodWorker::pull(const Action& action) {
  ContainerSeen& c = of(action.container);
  auto name = runtime::normalize_image_name(action.image);
  if (!name.ok())
    return apply(action.container, bad_image_name(action.image, c.image, name.error(), machine_.now()));
  c.image.looking = true;
  using Found = base::Result<runtime::Image>;
  auto decide = [action, name = *name](PodWorker& self, const base::Result<std::string>& found) {
    const api::Container* spec = find_container(self.pod_, action.container);
    if (!spec || self.on_the_way_down()) {
      self.of(action.container).image.looking = false;
      return;
    }
    auto credentials = self.pull_credentials(name, action.container);
    const bool must_pull = found.ok() && self.machine_.must_pull(name, *found, credentials);
    PullStep step = plan_pull(action.image, pull_policy(*spec), self.of(action.container).image, found,
                              must_pull, self.machine_.now());
    const bool pull = step.pull;
    self.apply(action.container, std::move(step));
    if (!pull) return self.schedule();
    using Pulled = base::Result<Machine::Pulled>;
    self.machine_.pull(
        self.uid(), name, std::move(credentials), self.once<Pulled>([action](PodWorker& self, Pulled pulled) {
          base::Result<PulledImage> result =
              pulled.ok() ? base::Result<PulledImage>(PulledImage{.digest = pulled->pull.digest,
                                                                  .took = pulled->pull.took,
                                                                  .waited = pulled->pull.waited,
                                                                  .size_bytes = pulled->size_bytes})
                          : base::Result<PulledImage>(pulled.error());
          self.apply(action.container,
                     pull_ended(action.image, action.attempt, self.of(action.container).image, result,
                                self.machine_.now()));
          self.schedule();
        }));
  };
  const api::Container* spec = find_container(pod_, action.container);
  if (spec && pull_policy(*spec) == "Always")  // the registry is asked whatever is there
    return decide(*this, base::make_error(base::Kind::kNotFound, "find image", *name, "not looked for"));
  machine_.find_image(uid(), *name, once<Found>([decide](PodWorker& self, Found found) {
                        decide(self, found.ok() ? base::Result<std::string>(found->digest)
                                                : base::Result<std::string>(found.error()));
                      }));
}

void PodWorker::apply(const std::string& container, PullStep step) {
  of(container).image = std::move(step.image);
  for (auto& e : step.events) event(e.warning, std::move(e.reason), std::move(e.message), container);
}

std::vector<PullCredential> PodWorker::pull_credentials(const std::string& image,
                                                        const std::string& container) {
  PullKeyring keyring;
  std::string missing;
  for (const auto& secret : spec_of(pod_).image_pull_secrets) {
    if (secret.name.empty()) continue;
    const auto seen = machine_.secret(pod_.metadata.namespace_, secret.name);
    if (!seen) {
      missing += (missing.empty() ? "" : ", ") + secret.name;
      continue;
    }
    if (auto status = keyring.add({.ns = pod_.metadata.namespace_, .name = secret.name, .uid = seen->uid},
                                  seen->type, *seen->data);
        !status.ok())
      event(true, "FailedToRetrieveImagePullSecret", status.error().message(), container);
  }
  if (!missing.empty())
    event(true, "FailedToRetrieveImagePullSecret",
          "Unable to retrieve some image pull secrets (" + missing +
              "); attempting to pull the image may not succeed.",
          container);
  return keyring.find(repository_of(image));
}

// ---- start -------------------------------------------------------------------------------------

void PodWorker::prepare_container(const Action& action) {
  of(action.container).prepared = Step::kBusy;
  of(action.container).prepared_attempt = action.attempt;
  ContainerStart start{
      .pod = pod_, .container = action.container, .attempt = action.attempt, .env = env_sources()};
  // Its own copy: made on another thread, while these may change.
  auto copy = std::make_shared<std::map<Reference, std::map<std::string, std::string>>>();
  for (const auto& reference : references(pod_))
    if (const auto* data = machine_.data(pod_.metadata.namespace_, reference)) (*copy)[reference] = *data;
  start.env.data = [copy](ObjectKind kind, const std::string& name) {
    auto it = copy->find({kind, name});
    return it == copy->end() ? nullptr : &it->second;
  };
  using Prepared = base::Result<PreparedContainer>;
  machine_.prepare(std::move(start), once<Prepared>([action](PodWorker& self, Prepared prepared) {
                     self.container_prepared(action, std::move(prepared));
                   }));
}

void PodWorker::container_prepared(const Action& action, base::Result<PreparedContainer> prepared) {
  ContainerSeen& seen = of(action.container);
  seen.prepared = Step::kNone;
  schedule();
  const bool outdated = outdated_.erase(action.container) > 0;
  if (!prepared.ok()) {
    const base::Error& error = prepared.error();
    if (error.kind == base::Kind::kNotFound && error.operation.find("image") != std::string::npos) {
      seen.image.present = false;  // taken away meanwhile: pulled again
      return;
    }
    seen.config_error =
        error.kind == base::Kind::kInvalid && !error.reason.empty() ? error.reason : error.message();
    seen.config_reason = "CreateContainerConfigError";
    seen.config_failed_at = machine_.now();
    event(true, "Failed", "Error: " + seen.config_error, action.container);
    return;
  }
  // Meanwhile the Pod may have been deleted, or what it was made from may have changed.
  if (outdated || on_the_way_down()) return machine_.unbind(uid(), std::move(prepared->bound));
  seen.prepared = Step::kDone;
  prepared_[action.container] = std::move(*prepared);
}

// What was made for a start that has not begun is made anew, or not needed any more.
void PodWorker::drop_prepared() {
  for (auto& [name, prepared] : prepared_) {
    of(name).prepared = Step::kNone;
    machine_.unbind(uid(), std::move(prepared.bound));
  }
  prepared_.clear();
  for (const auto& [name, c] : seen_.containers)
    if (c.prepared == Step::kBusy) outdated_.insert(name);
}

void PodWorker::start_container(const Action& action) {
  ContainerSeen& seen = of(action.container);
  seen.prepared = Step::kNone;
  auto node = prepared_.extract(action.container);
  if (node.empty()) return schedule();
  PreparedContainer prepared = std::move(node.mapped());
  if (!runtime_) return machine_.unbind(uid(), std::move(prepared.bound));  // its loss is being told
  ContainerSeen next;
  next.image_id = prepared.image_id;
  next.stop_signal = prepared.stop_signal;
  next.image = seen.image;
  if (seen.remains) next.leaving = seen.attempt;
  next.attempt = action.attempt;
  next.sandbox = seen_.sandbox.attempt;
  if (seen.run == Run::kExited) next.last = seen.exit;
  else next.last = seen.last;
  next.backoff = action.backoff != Duration::zero() ? action.backoff : seen.backoff;
  next.backoff_at = action.backoff != Duration::zero() ? machine_.now() : seen.backoff_at;
  next.run = Run::kStarting;
  for (auto it = exec_runs_.begin(); it != exec_runs_.end();)
    it = it->first.starts_with(action.container + "/") ? exec_runs_.erase(it) : std::next(it);
  for (auto it = net_checks_.begin(); it != net_checks_.end();)
    it = it->first.starts_with(action.container + "/") ? net_checks_.erase(it) : std::next(it);
  ContainerSeen before = std::exchange(seen, std::move(next));
  if (auto saved = save(); !saved.ok()) {  // the intent: what is not written down is not begun
    seen = std::move(before);
    machine_.unbind(uid(), std::move(prepared.bound));
    seen.config_error = saved.error().message();
    seen.config_reason = "CreateContainerError";
    seen.config_failed_at = machine_.now();
    event(true, "Failed", "Error: " + seen.config_error, action.container);
    return;
  }
  event(false, "Created", "Created container: " + action.container, action.container);
  processes_[action.container] = std::move(prepared.process);
  using Started = base::Result<runtime::ContainerState>;
  auto answered =
      once<Started>([name = action.container, attempt = action.attempt](PodWorker& self, Started result) {
        self.started(name, attempt, std::move(result));
      });
  runtime_->start(std::move(prepared.spec), [&machine = machine_, uid = uid(), bound = prepared.bound,
                                             answered = std::move(answered)](Started result) {
    machine.unbind(uid, bound);
    answered(std::move(result));
  });
}

void PodWorker::started(const std::string& name, int attempt, base::Result<runtime::ContainerState> result) {
  ContainerSeen& c = of(name);
  if (c.attempt != attempt || c.run != Run::kStarting) return;
  if (result.ok()) {
    c.run = Run::kRunning;
    c.started_at = result->started_at == Time{} ? machine_.now() : result->started_at;
    event(false, "Started", "Started container " + name, name);
    if (result->phase == runtime::Phase::kExited) record_exit(name, c, *result);
  } else {
    // As the runtimes behind Kubernetes report it: an attempt that ended at once.
    event(true, "Failed", "Error: " + result.error().message(), name);
    c.run = Run::kExited;
    c.exit = {};
    c.exit.code = 128;
    c.exit.reason = "StartError";
    c.exit.message = result.error().message();
    c.exit.finished_at = machine_.now();
    c.exit.container_id = "sampan://" + uid() + "/" + in_pod(name, attempt);
    c.remains = true;
  }
  schedule();
}

// ---- end ---------------------------------------------------------------------------------------

void PodWorker::exited(const runtime::ContainerState& state) {
  for (auto& [name, c] : seen_.containers) {
    if (c.attempt < 0 || in_pod(name, c.attempt) != state.id) continue;
    if (c.run == Run::kExited) return;
    // The answer to its start may still be on its way; this says more.
    if (c.run == Run::kStarting) event(false, "Started", "Started container " + name, name);
    record_exit(name, c, state);
    // At once, not by schedule(): a restart is waited for.
    return sync();
  }
}

void PodWorker::record_exit(const std::string& name, ContainerSeen& c, const runtime::ContainerState& state) {
  c.run = Run::kExited;
  c.remains = true;
  c.exit = {};
  c.exit.code = state.exit_code;
  c.exit.signal = state.signal;
  c.exit.reason = state.oom_killed ? "OOMKilled" : state.exit_code == 0 ? "Completed" : "Error";
  c.exit.started_at = state.started_at == Time{} ? c.started_at : state.started_at;
  c.exit.finished_at = state.finished_at == Time{} ? machine_.now() : state.finished_at;
  c.exit.container_id = "sampan://" + uid() + "/" + in_pod(name, c.attempt);
  c.exit.message = termination_message(name, c, state.exit_code);
  for (auto* probe : {&c.startup, &c.liveness, &c.readiness}) probe->in_flight = false;
  if (on_exit) on_exit();
}

std::string PodWorker::termination_message(const std::string& name, const ContainerSeen& c, int code) const {
  const api::Container* spec = find_container(pod_, name);
  const bool or_log = code != 0 && spec && spec->termination_message_policy == "FallbackToLogsOnError";
  return machine_.termination_message(uid(), name, c.attempt, or_log);
}

// The last attempt, or the one before it that was kept until this one ran.
void PodWorker::remove_container(const Action& action) {
  auto gone = [](ContainerSeen& c, int attempt) {
    if (c.leaving == attempt) c.leaving = -1;
    if (c.attempt == attempt) c.remains = false;
    c.removing = false;
  };
  ContainerSeen& c = of(action.container);
  c.removing = true;
  if (!runtime_) return gone(c, action.attempt);  // it went with its sampan-pod
  runtime_->remove(in_pod(action.container, action.attempt),
                   once<base::Status>([gone, name = action.container, attempt = action.attempt](
                                          PodWorker& self, base::Status status) {
                     if (!status.ok() && status.error().kind != base::Kind::kNotFound)
                       base::log::warning("pod {}: remove container {}: {}", self.pod_.metadata.name, name,
                                          status.error().message());
                     gone(self.of(name), attempt);
                     self.schedule();
                   }));
}

void PodWorker::signal_container(const Action& action) {
  ContainerSeen& c = of(action.container);
  const Time now = machine_.now();
  if (!c.stopping) {
    c.stopping = true;
    c.stop_at = now;
    c.grace_seconds = action.grace_seconds;
    event(false, "Killing", action.why, action.container);
  }
  const bool kill = action.kind == Action::Kind::kKill;
  if (kill) c.killed = true;
  else c.signalled = true;
  c.signalled_at = now;
  base::ignore(save(), "a stop can't wait for the disk; a restarted kubelet would signal once more");
  if (!runtime_) return;
  runtime_->signal(in_pod(action.container, c.attempt), kill ? SIGKILL : stop_signal(action.signal),
                   [weak = weak_from_this(), name = action.container](base::Status status) {
                     if (status.ok()) return;
                     auto self = weak.lock();
                     // It has ended already: its exit is on the way.
                     if (self && status.error().kind != base::Kind::kNotFound)
                       base::log::warning("pod {}: signal container {}: {}", self->pod_.metadata.name, name,
                                          status.error().message());
                   });
}

}  // namespace kubelet
