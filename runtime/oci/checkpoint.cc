// checkpoint: a running container into an image, by criu(8).
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "base/number.h"
#include "base/sys.h"
#include "runtime/launch/mounts.h"
#include "runtime/oci/commands.h"
#include "runtime/oci/criu_options.h"
#include "runtime/oci/launch.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

base::Error refuse(const OciContext& context, Kind kind, std::string why, std::string hint = {}) {
  return base::make_error(kind, "checkpoint", context.options.arguments[0], std::move(why), std::move(hint));
}

base::Status check_feature(const OciContext& context, const std::string& program, bool lazy) {
  CriuCall call;
  call.program = program;
  call.type = CriuRequest::kFeatureCheck;
  call.options.add(lazy ? 2 : 1, 1);
  CriuAnswer answer = TRY(call_criu(call));
  if (answer.success && (lazy ? answer.lazy_pages : answer.mem_track)) return {};
  return refuse(context, Kind::kUnsupported,
                fmt::format("criu or the kernel lacks {}", lazy ? "lazy pages" : "memory tracking"));
}

// Of the container as it is now: mounts of the host, namespaces that were there before it.
base::Status describe(const OciState& state, const Config& config, CriuMessage& opts) {
  LaunchFacts facts;
  const CgroupLayout* layout = TRY(cgroup_layout());
  facts.layout = layout;
  facts.cgroup = state.cgroup;
  facts.rootfs = state.rootfs;
  facts.selinux = true;  // it was checked when the container was made
  for (const ExternalMount& mount : external_mounts(TRY(plan_launch(config, facts))))
    opts.add(kExtMount, pair_of(mount.target, mount.target));
  for (const std::string& path : config.masked_paths) {
    struct stat info;
    if (::stat(fmt::format("/proc/{}/root{}", state.pid, clean_path(path)).c_str(), &info) == 0 &&
        !S_ISDIR(info.st_mode))
      opts.add(kExtMount, pair_of(clean_path(path), "/dev/null"));
  }
  for (const Outer& outer : kOuter) {
    const Namespace* ns = config.find_namespace(outer.flag);
    struct stat info;
    if (!ns || ns->path.empty()) continue;
    if (::stat(ns->path.c_str(), &info) != 0) return sys::last_error("look at namespace", ns->path);
    opts.add(kExternal, fmt::format("{}[{}]:{}", outer.name, info.st_ino, outer.key));
  }
  if (layout->pure_v2() && !state.cgroup.empty()) opts.add(kFreezeCgroup, layout->unified + state.cgroup);
  add_config_file(state.annotations, opts);
  return {};
}

base::Status write_descriptors(pid_t pid, const std::string& image) {
  json::array out;
  for (int fd = 0; fd < 3; ++fd) {
    char target[PATH_MAX];
    ssize_t n = ::readlink(fmt::format("/proc/{}/fd/{}", pid, fd).c_str(), target, sizeof target);
    out.push_back(json::value(n < 0 ? std::string_view() : std::string_view(target, static_cast<size_t>(n))));
  }
  return sys::write_file_atomic(image + kDescriptors, json::serialize(out), 0600);
}
}  // namespace

base::Result<int> oci_checkpoint(const OciContext& context) {
  const Options& options = context.options;
  const std::string& id = options.arguments[0];
  CriuCall call;
  call.program = context.criu;
  call.options = TRY(criu_flags(options));
  base::UniqueFd lock = TRY(context.store.lock(id));
  OciState state = TRY(context.store.read(id));
  OciStatus status = context.store.status(state, *TRY(cgroup_layout()));
  if (status != OciStatus::kRunning && status != OciStatus::kPaused)
    return refuse(context, Kind::kConflict,
                  fmt::format("Container cannot be checkpointed in {} state", status_name(status)));
  Config config = TRY(parse_config(TRY(context.store.read_config(id))));
  if (!config.process) return refuse(context, Kind::kConflict, "it has no process");
  bool pre = options.has("pre-dump");
  if (pre) TRY(check_feature(context, call.program, false));
  if (options.has("lazy-pages")) TRY(check_feature(context, call.program, true));
  call.type = pre ? CriuRequest::kPreDump : CriuRequest::kDump;
  CriuDirectories directories = TRY(open_directories(context, true, call.options));
  call.options.add(kPid, state.pid).add(kRoot, state.rootfs).add(kLogFile, "dump.log");
  if (pre && !options.has("parent-path")) call.options.add(kTrackMemory, 1);
  TRY(describe(state, config, call.options));
  if (!pre) TRY(write_descriptors(state.pid, directories.image));
  int ready = -1;
  if (options.has("status-fd")) {
    auto fd = base::parse_number<int>(options.get("status-fd"), 0);
    if (!fd)
      return invalid_option("read option --status-fd",
                            "'" + options.get("status-fd") + "' is not a file descriptor");
    ready = *fd;
  }
  call.notify = [&](const CriuAnswer& answer, base::UniqueFd) -> base::Status {
    context.log->debug("criu is at " + answer.script);
    // The page server listens: whoever restores elsewhere may begin.
    if (answer.script == "status-ready" && ready >= 0 && ::write(ready, "", 1) != 1)
      return sys::last_error("write", "--status-fd");
    return {};
  };
  TRY(run_criu(context, call, directories.work + "/dump.log"));
  if (!pre && !options.has("leave-running")) TRY(destroy_container(context.store, state));
  return 0;
}

}  // namespace runtime
