// See the header. Acts on the disk alone: what is decided here follows from the Pod and its image.
#include "kubelet/pod/prepare.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/sys.h"
#include "kubelet/pod/files.h"
#include "kubelet/pod/plan.h"
#include "kubelet/volumes/exec.h"

namespace kubelet {

namespace json = base::json;
namespace sys = base::sys;

namespace {

base::Status prepare_into(const ContainerStart& start, const api::Container& c, const PrepareFacts& facts,
                          PreparedContainer& out) {
  const api::Pod& pod = start.pod;
  const std::string& uid = pod.metadata.uid;
  const int attempt = start.attempt;
  Launch launch;
  launch.attempt = attempt;
  const std::string name = TRY(runtime::normalize_image_name(c.image));
  launch.image = TRY(runtime::find_image(facts.image_root, name));
  out.image_id = launch.image.digest;
  out.stop_signal = launch.image.stop_signal;
  launch.user = TRY(runtime::resolve_user(launch.image, user_text(pod, c, launch.image)));
  TRY(check_non_root(pod, c, launch.image, launch.user));
  launch.env = TRY(container_env(pod, c, launch.image.env, start.env));
  const Layout& layout = facts.layout;
  const std::string dir = layout.pod(uid);
  launch.hostname = pod_hostname(pod, facts.node_name);
  launch.pod_cgroup = facts.cgroup_parent + "/pod" + uid;
  launch.hosts = dir + "/hosts";
  launch.etc_hostname = dir + "/hostname";
  launch.resolv_conf = dir + "/resolv.conf";
  launch.shm = spec_of(pod).host_ipc.value_or(false) ? "/dev/shm" : dir + "/shm";
  launch.termination_log = layout.termination(uid, c.name, attempt);
  launch.host = facts.host;
  for (const auto& m : c.volume_mounts) {
    const auto& volumes = spec_of(pod).volumes;
    auto v = std::find_if(volumes.begin(), volumes.end(), [&](const auto& v) { return v.name == m.name; });
    if (v == volumes.end())
      return base::make_error(base::Kind::kInvalid, "mount volume", m.name, "the Pod has no such volume");
    ContainerMount mount;
    mount.source = v->host_path ? v->host_path->path : layout.volume(uid, m.name);
    if (v->persistent_volume_claim || v->ephemeral) mount.source = TRY(link_target(mount.source));
    mount.destination = m.mount_path;
    if (mount.destination.empty() || mount.destination[0] != '/') mount.destination = "/" + mount.destination;
    mount.read_only = m.read_only.value_or(false) || v->config_map || v->secret || v->downward_api ||
                      v->projected ||
                      (v->persistent_volume_claim && v->persistent_volume_claim->read_only.value_or(false));
    // A directory of the host is not ours to put mount points into.
    mount.kubelet_owned = !v->host_path;
    mount.recursive_read_only =
        mount.read_only && (m.recursive_read_only == "Enabled" || m.recursive_read_only == "IfPossible");
    mount.propagation = m.mount_propagation;
    const std::string sub = m.sub_path_expr.empty() ? m.sub_path : expand(m.sub_path_expr, launch.env);
    if (!sub.empty()) {
      auto fd = TRY(open_sub_path(mount.source, sub));
      mount.source = layout.sub_paths(uid) + "/" + c.name + "." + std::to_string(launch.mounts.size());
      TRY(sys::mkdir_all(layout.sub_paths(uid), 0700));
      unbind_sub_path(mount.source);  // of a start that was cut off
      TRY(bind_sub_path(fd.get(), mount.source));
      out.bound.push_back(mount.source);
    }
    launch.mounts.push_back(std::move(mount));
  }
  const bool privileged = c.security_context && c.security_context->privileged.value_or(false);
  if (privileged) launch.devices = runtime::host_devices();
  for (const auto& device : c.volume_devices) {
    const std::string path = TRY(device_path(layout.volume(uid, device.name)));
    struct stat at {};
    if (::stat(path.c_str(), &at) != 0 || !S_ISBLK(at.st_mode))
      return base::make_error(base::Kind::kInvalid, "map volume", device.name,
                              path + " is not a block device");
    const auto& volumes = spec_of(pod).volumes;
    launch.volume_devices.push_back(
        {.path = device.device_path,
         .major = major(at.st_rdev),
         .minor = minor(at.st_rdev),
         .mode = at.st_mode & 0777,
         .uid = at.st_uid,
         .gid = at.st_gid,
         .read_only = std::any_of(volumes.begin(), volumes.end(), [&](const auto& v) {
           return v.name == device.name && v.persistent_volume_claim &&
                  v.persistent_volume_claim->read_only.value_or(false);
         })});
  }
  const api::SeccompProfile profile = seccomp_of(pod, c);
  for (const MountPoint& point : nested_mount_points(container_binds(pod, c, launch)))
    TRY_WRAP(make_mount_point(point), "mount " + point.source + " inside another volume", point.relative);
  json::value config = TRY(oci_config(pod, c, launch));
  if (profile.type == "RuntimeDefault" && !privileged) {
    std::vector<std::string> capabilities;
    for (const auto& capability : config.at("process").at("capabilities").at("bounding").as_array())
      capabilities.emplace_back(base::as_string(&capability));
    config.at("linux").as_object()["seccomp"] = runtime::default_seccomp(capabilities);
  } else if (profile.type == "Localhost" && !privileged) {
    if (profile.localhost_profile.empty() || profile.localhost_profile.find("..") != std::string::npos)
      return base::make_error(base::Kind::kInvalid, "read seccomp profile", profile.localhost_profile,
                              "must be a path below the profile directory");
    config.at("linux").as_object()["seccomp"] = TRY_WRAP(
        base::parse_json(TRY(sys::read_file(layout.root_dir + "/seccomp/" + profile.localhost_profile))),
        "read seccomp profile", profile.localhost_profile);
  }

  TRY(sys::mkdir_all(layout.container(uid, c.name), 0755));
  {
    auto fd = TRY(sys::open(launch.termination_log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666));
    if (::fchmod(fd.get(), 0666) != 0) return sys::last_error("chmod", launch.termination_log);
  }
  out.process = config.at("process");
  {
    auto fd =
        TRY(sys::open(layout.process(uid, c.name, attempt), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    TRY(sys::write_all(fd.get(), base::to_json(config.at("process"))));
  }
  // The newest two attempts keep their files: this one and the one before.
  for (int old = attempt - 2; old >= 0 && old > attempt - 6; --old)
    for (const auto& path : {layout.log(uid, c.name, old), layout.log(uid, c.name, old) + ".1",
                             layout.termination(uid, c.name, old), layout.process(uid, c.name, old)})
      ::unlink(path.c_str());

  runtime::ContainerSpec& spec = out.spec;
  spec.id = container_id(pod, c.name, attempt);
  spec.config = std::move(config);
  spec.layers = launch.image.layers;
  spec.work_dir = layout.work(uid, c.name, attempt);
  spec.log_path = layout.log(uid, c.name, attempt);
  spec.open_stdin = c.stdin.value_or(false);
  spec.stdin_once = c.stdin_once.value_or(false);
  if (auto pinned = runtime::pin_image(facts.image_root, uid + "." + c.name, launch.image.digest);
      !pinned.ok())
    base::log::warning("pod {}: {}: image gc could take its layers away", pod.metadata.name,
                       pinned.error().message());
  return {};
}

}  // namespace

base::Result<PreparedContainer> prepare_container(const ContainerStart& start, const PrepareFacts& facts) {
  const api::Container* c = find_container(start.pod, start.container);
  if (!c) return base::make_error(base::Kind::kInvalid, "find container", start.container, "not in the Pod");
  PreparedContainer out;
  if (auto status = prepare_into(start, *c, facts, out); !status.ok()) {
    for (const auto& path : out.bound) unbind_sub_path(path);
    return std::move(status).error();
  }
  return out;
}

}  // namespace kubelet
