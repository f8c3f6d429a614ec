// Containers of a Pod: pull, start, signal, and what their end means.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/signals.h"
#include "base/sys.h"
#include "kubelet/pod/termination_message.h"
#include "kubelet/pod/worker.h"
#include "kubelet/volumes/exec.h"

namespace kubelet {

namespace json = base::json;
namespace sys = base::sys;

namespace {

std::string seconds_text(Duration d) {
  const double s = std::chrono::duration<double>(d).count();
  return s < 1 ? fmt::format("{}ms", static_cast<int>(s * 1000)) : fmt::format("{:.3f}s", s);
}

// What an image or a lifecycle names; what is none, or 0, is TERM.
int stop_signal(const std::string& name) {
  const auto number = base::signal_number(name);
  return number && *number > 0 ? *number : SIGTERM;
}

}  // namespace

// ---- images ------------------------------------------------------------------------------------

void PodWorker::pull(const Action& action) {
  ContainerSeen& c = of(action.container);
  const api::Container* spec = find_container(pod_, action.container);
  const std::string policy = pull_policy(*spec);
  auto fail = [&](std::string reason, std::string message, Duration backoff) {
    c.image.reason = std::move(reason);
    c.image.message = std::move(message);
    c.image.failed_at = base::wall_now();
    c.image.backoff = backoff;
  };
  auto name = runtime::normalize_image_name(action.image);
  if (!name.ok()) {
    const std::string text = "Failed to apply default image tag \"" + action.image +
                             "\": couldn't parse image name \"" + action.image + "\": " + name.error().reason;
    event(true, "InspectFailed", text, action.container);
    event(true, "Failed", "Error: InvalidImageName", action.container);
    return fail("InvalidImageName", text, kBackoffMax);
  }
  if (!pull_secrets_loaded()) return;  // objects_changed() comes back here
  std::vector<PullCredential> credentials = pull_credentials(*name, action.container);
  if (policy != "Always") {
    auto image = runtime::find_image(context_.images.options().image_root, *name);
    const bool here = image.ok();
    // Whose Pod may not have it learns not even that it is there.
    const bool usable = here && !context_.pull_records.must_pull(*name, image->digest, credentials);
    if (usable) {
      c.image = {};
      c.image.present = true;
      c.image.digest = image->digest;
      event(false, "Pulled",
            "Container image \"" + action.image +
                "\" already present on machine and can be accessed by the pod",
            action.container);
      return;
    }
    if (!here && image.error().kind != base::Kind::kNotFound) {
      event(true, "Failed", "Failed to inspect image \"" + action.image + "\": " + image.error().message(),
            action.container);
      return fail("ImageInspectError", image.error().message(), kBackoffFirst);
    }
    if (policy == "Never") {
      const std::string text =
          "Container image \"" + action.image + "\" is not present with pull policy of Never";
      if (c.image.reason.empty()) {
        event(true, "ErrImageNeverPull", text, action.container);
        event(true, "Failed", "Error: ErrImageNeverPull", action.container);
      }
      return fail("ErrImageNeverPull", text, kBackoffFirst);
    }
  }
  c.image.pulling = true;
  event(false, "Pulling", "Pulling image \"" + action.image + "\"", action.container);
  auto done = [weak = weak_from_this(), container = action.container,
               attempt = action.attempt](base::Result<Images::Pulled> result) {
    if (auto self = weak.lock()) self->pulled(container, attempt, result);
  };
  // The records are the node's: they are kept whatever becomes of this Pod meanwhile.
  context_.pull_records.begin(
      *name, [&context = context_, name = *name, credentials, done](base::Status intent) {
        if (!intent.ok()) {
          context.pull_records.failed(name);
          return done(base::wrap(intent.error(), "record image pull intent", name));
        }
        context.images.pull(
            name, credentials, [&context, name, credentials, done](base::Result<Images::Pulled> result) {
              if (!result.ok()) {
                context.pull_records.failed(name);
                return done(std::move(result));
              }
              const PullCredential* used = result->credential && *result->credential < credentials.size()
                                               ? &credentials[*result->credential]
                                               : nullptr;
              context.pull_records.pulled(name, result->digest, used, [done, result](base::Status status) {
                if (!status.ok()) base::log::error("keep image pull record: {}", status.error().message());
                done(result);
              });
            });
      });
}

bool PodWorker::pull_secrets_loaded() const {
  std::vector<Reference> wanted;
  for (const auto& secret : spec_of(pod_).image_pull_secrets)
    if (!secret.name.empty()) wanted.push_back({ObjectKind::kSecret, secret.name});
  return context_.objects.loaded(pod_.metadata.namespace_, wanted);
}

std::vector<PullCredential> PodWorker::pull_credentials(const std::string& image,
                                                        const std::string& container) {
  PullKeyring keyring;
  std::string missing;
  for (const auto& secret : spec_of(pod_).image_pull_secrets) {
    if (secret.name.empty()) continue;
    const auto seen = context_.objects.secret(pod_.metadata.namespace_, secret.name);
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

void PodWorker::pulled(const std::string& container, int attempt,
                       const base::Result<Images::Pulled>& result) {
  ContainerSeen& c = of(container);
  const api::Container* spec = find_container(pod_, container);
  const std::string image = spec ? spec->image : "";
  c.image.pulling = false;
  if (!result.ok()) {
    const std::string text = "failed to pull image \"" + image + "\": " + result.error().message();
    event(true, "Failed", "Failed to pull image \"" + image + "\": " + result.error().message(), container);
    event(true, "Failed", "Error: ErrImagePull", container);
    c.image.reason = "ErrImagePull";
    c.image.message = text;
    c.image.failed_at = base::wall_now();
    c.image.backoff = c.image.backoff == Duration::zero()
                          ? kBackoffFirst
                          : std::min<Duration>(c.image.backoff * 2, kBackoffMax);
  } else {
    auto found = runtime::find_image(context_.images.options().image_root, result->name);
    std::string size;
    if (found.ok()) size = " Image size: " + std::to_string(found->size_bytes) + " bytes.";
    event(false, "Pulled",
          "Successfully pulled image \"" + image + "\" in " + seconds_text(result->took) + " (" +
              seconds_text(result->waited) + " including waiting)." + size,
          container);
    c.image = {};
    c.image.present = true;
    c.image.digest = result->digest;
    c.image.pulled_attempt = attempt;
  }
  schedule();
}

// ---- start -------------------------------------------------------------------------------------

base::Result<runtime::ContainerSpec> PodWorker::container_spec(const api::Container& c, int attempt,
                                                               ContainerSeen& seen,
                                                               std::vector<std::string>& bound) {
  Launch launch;
  launch.attempt = attempt;
  const std::string name = TRY(runtime::normalize_image_name(c.image));
  launch.image = TRY(runtime::find_image(context_.images.options().image_root, name));
  seen.image_id = launch.image.digest;
  seen.stop_signal = launch.image.stop_signal;
  launch.user = TRY(runtime::resolve_user(launch.image, user_text(pod_, c, launch.image)));
  TRY(check_non_root(pod_, c, launch.image, launch.user));
  launch.env = TRY(container_env(pod_, c, launch.image.env, env_sources()));
  const Layout& layout = context_.layout;
  const std::string dir = layout.pod(uid());
  launch.hostname = pod_hostname(pod_, context_.node_name);
  launch.pod_cgroup = context_.cgroup_parent + "/pod" + uid();
  launch.hosts = dir + "/hosts";
  launch.etc_hostname = dir + "/hostname";
  launch.resolv_conf = dir + "/resolv.conf";
  launch.shm = spec_of(pod_).host_ipc.value_or(false) ? "/dev/shm" : dir + "/shm";
  launch.termination_log = layout.termination(uid(), c.name, attempt);
  launch.host = context_.host;
  for (const auto& m : c.volume_mounts) {
    const auto& volumes = spec_of(pod_).volumes;
    auto v = std::find_if(volumes.begin(), volumes.end(), [&](const auto& v) { return v.name == m.name; });
    if (v == volumes.end())
      return base::make_error(base::Kind::kInvalid, "mount volume", m.name, "the Pod has no such volume");
    ContainerMount mount;
    mount.source = v->host_path ? v->host_path->path : layout.volume(uid(), m.name);
    mount.destination = m.mount_path;
    if (mount.destination.empty() || mount.destination[0] != '/') mount.destination = "/" + mount.destination;
    mount.read_only =
        m.read_only.value_or(false) || v->config_map || v->secret || v->downward_api || v->projected;
    // A directory of the host is not ours to put mount points into.
    mount.kubelet_owned = !v->host_path;
    mount.recursive_read_only =
        mount.read_only && (m.recursive_read_only == "Enabled" || m.recursive_read_only == "IfPossible");
    mount.propagation = m.mount_propagation;
    const std::string sub = m.sub_path_expr.empty() ? m.sub_path : expand(m.sub_path_expr, launch.env);
    if (!sub.empty()) {
      auto fd = TRY(open_sub_path(mount.source, sub));
      mount.source = layout.sub_paths(uid()) + "/" + c.name + "." + std::to_string(launch.mounts.size());
      TRY(sys::mkdir_all(layout.sub_paths(uid()), 0700));
      unbind_sub_path(mount.source);  // of a start that was cut off
      TRY(bind_sub_path(fd.get(), mount.source));
      bound.push_back(mount.source);
    }
    launch.mounts.push_back(std::move(mount));
  }
  const bool privileged = c.security_context && c.security_context->privileged.value_or(false);
  if (privileged) launch.devices = runtime::host_devices();
  const api::SeccompProfile profile = seccomp_of(pod_, c);
  for (const MountPoint& point : nested_mount_points(container_binds(pod_, c, launch)))
    TRY_WRAP(make_mount_point(point), "mount " + point.source + " inside another volume", point.relative);
  json::value config = TRY(oci_config(pod_, c, launch));
  if (profile.type == "RuntimeDefault" && !privileged && context_.default_seccomp) {
    std::vector<std::string> capabilities;
    for (const auto& capability : config.at("process").at("capabilities").at("bounding").as_array())
      capabilities.emplace_back(base::as_string(&capability));
    config.at("linux").as_object()["seccomp"] = context_.default_seccomp(capabilities);
  } else if (profile.type == "Localhost" && !privileged) {
    if (profile.localhost_profile.empty() || profile.localhost_profile.find("..") != std::string::npos)
      return base::make_error(base::Kind::kInvalid, "read seccomp profile", profile.localhost_profile,
                              "must be a path below the profile directory");
    config.at("linux").as_object()["seccomp"] = TRY_WRAP(
        base::parse_json(TRY(sys::read_file(layout.root_dir + "/seccomp/" + profile.localhost_profile))),
        "read seccomp profile", profile.localhost_profile);
  }

  TRY(sys::mkdir_all(layout.container(uid(), c.name), 0755));
  {
    auto fd = TRY(sys::open(launch.termination_log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666));
    if (::fchmod(fd.get(), 0666) != 0) return sys::last_error("chmod", launch.termination_log);
  }
  processes_[c.name] = config.at("process");
  {
    auto fd = TRY(
        sys::open(layout.process(uid(), c.name, attempt), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    TRY(sys::write_all(fd.get(), base::to_json(config.at("process"))));
  }
  // The newest two attempts keep their files: this one and the one before.
  for (int old = attempt - 2; old >= 0 && old > attempt - 6; --old)
    for (const auto& path : {layout.log(uid(), c.name, old), layout.log(uid(), c.name, old) + ".1",
                             layout.termination(uid(), c.name, old), layout.process(uid(), c.name, old)})
      ::unlink(path.c_str());

  runtime::ContainerSpec spec;
  spec.id = in_pod(c.name, attempt);
  spec.config = std::move(config);
  spec.layers = launch.image.layers;
  spec.work_dir = layout.work(uid(), c.name, attempt);
  spec.log_path = layout.log(uid(), c.name, attempt);
  spec.open_stdin = c.stdin.value_or(false);
  spec.stdin_once = c.stdin_once.value_or(false);
  if (auto pinned =
          runtime::pin_image(context_.images.options().image_root, uid() + "." + c.name, launch.image.digest);
      !pinned.ok())
    base::log::warning("pod {}: {}: image gc could take its layers away", pod_.metadata.name,
                       pinned.error().message());
  return spec;
}

void PodWorker::start_container(const Action& action) {
  const api::Container* c = find_container(pod_, action.container);
  ContainerSeen& seen = of(action.container);
  if (!c || !runtime_) return;
  // Both come back through objects_changed() and look_again().
  if (!context_.objects.loaded(pod_.metadata.namespace_, references(pod_))) return;
  if (context_.services && !context_.services(pod_.metadata.namespace_)) return;

  ContainerSeen next;
  std::vector<std::string> bound;
  auto spec = container_spec(*c, action.attempt, next, bound);
  if (!spec.ok()) {
    for (const auto& path : bound) unbind_sub_path(path);
    const base::Error& error = spec.error();
    if (error.kind == base::Kind::kNotFound && error.operation.find("image") != std::string::npos) {
      seen.image.present = false;  // taken away meanwhile: pulled again
      return schedule();
    }
    seen.config_error =
        error.kind == base::Kind::kInvalid && !error.reason.empty() ? error.reason : error.message();
    seen.config_reason = "CreateContainerConfigError";
    seen.config_failed_at = base::wall_now();
    event(true, "Failed", "Error: " + seen.config_error, action.container);
    return;
  }
  next.image = seen.image;
  next.attempt = action.attempt;
  next.sandbox = seen_.sandbox.attempt;
  if (seen.run == Run::kExited) next.last = seen.exit;
  else next.last = seen.last;
  next.backoff = action.backoff != Duration::zero() ? action.backoff : seen.backoff;
  next.backoff_at = action.backoff != Duration::zero() ? base::wall_now() : seen.backoff_at;
  next.run = Run::kStarting;
  for (auto it = exec_runs_.begin(); it != exec_runs_.end();)
    it = it->first.starts_with(action.container + "/") ? exec_runs_.erase(it) : std::next(it);
  for (auto it = net_checks_.begin(); it != net_checks_.end();)
    it = it->first.starts_with(action.container + "/") ? net_checks_.erase(it) : std::next(it);
  ContainerSeen before = std::exchange(seen, std::move(next));
  if (auto saved = save(); !saved.ok()) {  // the intent: what is not written down is not begun
    seen = std::move(before);
    for (const auto& path : bound) unbind_sub_path(path);
    seen.config_error = saved.error().message();
    seen.config_reason = "CreateContainerError";
    seen.config_failed_at = base::wall_now();
    event(true, "Failed", "Error: " + seen.config_error, action.container);
    return;
  }
  event(false, "Created", "Created container: " + action.container, action.container);
  runtime_->start(std::move(*spec),
                  [weak = weak_from_this(), name = action.container, attempt = action.attempt,
                   bound](base::Result<runtime::ContainerState> result) {
                    for (const auto& path : bound) unbind_sub_path(path);
                    if (auto self = weak.lock()) self->started(name, attempt, std::move(result));
                  });
}

void PodWorker::started(const std::string& name, int attempt, base::Result<runtime::ContainerState> result) {
  ContainerSeen& c = of(name);
  if (c.attempt != attempt || c.run != Run::kStarting) return;
  if (result.ok()) {
    c.run = Run::kRunning;
    c.started_at = result->started_at == Time{} ? base::wall_now() : result->started_at;
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
    c.exit.finished_at = base::wall_now();
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
  c.exit.finished_at = state.finished_at == Time{} ? base::wall_now() : state.finished_at;
  c.exit.container_id = "sampan://" + uid() + "/" + in_pod(name, c.attempt);
  c.exit.message = termination_message(name, c, state.exit_code);
  for (auto* probe : {&c.startup, &c.liveness, &c.readiness}) probe->in_flight = false;
  if (on_exit) on_exit();
}

std::string PodWorker::termination_message(const std::string& name, const ContainerSeen& c, int code) const {
  std::string text = termination_file(context_.layout.termination(uid(), name, c.attempt));
  const api::Container* spec = find_container(pod_, name);
  if (!text.empty() || code == 0 || !spec || spec->termination_message_policy != "FallbackToLogsOnError")
    return text;
  return termination_log(context_.layout.log(uid(), name, c.attempt));
}

void PodWorker::signal_container(const Action& action) {
  ContainerSeen& c = of(action.container);
  const Time now = base::wall_now();
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
