#include "runtime/oci/bundle.h"

#include <fmt/format.h>

#include <climits>
#include <cstdlib>

#include "base/clock.h"
#include "base/json_file.h"
#include "base/printable.h"
#include "base/sys.h"
#include "runtime/launch/mounts.h"
#include "runtime/oci/launch.h"
#include "runtime/oci/listener.h"
#include "runtime/oci/notify.h"
#include "runtime/oci/rootless.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;

struct Bundle {
  std::string path, text;
  json::value document;
  Config config;
};
bool is_bind(const Mount& mount) {
  if (mount.type == "bind") return true;
  for (const std::string& option : mount.options)
    if (option == "bind" || option == "rbind") return true;
  return false;
}
base::Result<Bundle> read_bundle(const Options& options) {
  Bundle out;
  out.path = TRY(absolute_path(options.get("bundle", ".")));
  char real[PATH_MAX];
  if (!::realpath(out.path.c_str(), real)) return sys::last_error("open bundle", out.path);
  out.path = real;
  std::string file =
      options.has("config") ? TRY(absolute_path(options.get("config"))) : out.path + "/config.json";
  out.text = TRY(sys::read_file(file));
  out.document = TRY(base::parse_json_file(out.text, file));
  out.config = TRY(parse_config(out.document));
  for (Mount& mount : out.config.mounts)
    if (is_bind(mount) && !mount.source.empty() && mount.source[0] != '/')
      mount.source.insert(0, out.path + "/");
  for (const std::string& warning : out.config.warnings)
    std::fprintf(stderr, "sampan-oci: warning: %s\n", base::printable_line(warning).c_str());
  return out;
}

base::Result<Scope> find_scope(const Config& config, OciState& state) {
  bool user = !systemd_is_ours();
  SystemdScope names = TRY(parse_systemd_path(config.cgroups_path, state.id, user));
  Scope out{TRY(Systemd::connect(user)), std::move(names)};
  TRY(out.systemd.check_free(out.names.unit));  // before it is written down as ours
  state.cgroup = TRY(out.systemd.cgroup_of(out.names));
  state.unit = out.names.unit;
  state.user_unit = user;
  return out;
}

}  // namespace

std::vector<std::string> find_bare_mounts(std::string_view mountinfo) {
  std::vector<std::string> out;
  while (!mountinfo.empty()) {
    std::string_view line = mountinfo.substr(0, mountinfo.find('\n'));
    mountinfo.remove_prefix(std::min(mountinfo.size(), line.size() + 1));
    size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    std::string_view type = line.substr(dash + 3);
    if (!type.starts_with("proc ") && !type.starts_with("sysfs ")) continue;
    for (int i = 0; i < 4; ++i) line.remove_prefix(line.find(' ') + 1);  // id, parent, device, root
    std::string path;
    for (size_t i = 0, end = line.find(' '); i < end; ++i) {
      bool escape = line[i] == '\\' && i + 3 < end;  // "\040"
      path +=
          escape ? static_cast<char>((line[i + 1] - '0') * 64 + (line[i + 2] - '0') * 8 + (line[i + 3] - '0'))
                 : line[i];
      if (escape) i += 3;
    }
    out.insert(out.begin(), std::move(path));
  }
  return out;
}

base::Result<NewContainer> plan_container(const OciContext& context, bool wait_start) {
  const Options& options = context.options;
  const std::string& id = options.arguments[0];
  TRY(check_container_id(id));
  Bundle bundle = TRY(read_bundle(options));
  Config& config = bundle.config;
  // The specification wants it from `start` on.
  if (!config.process && !wait_start) return invalid_option("read process", "is required");
  if (!config.process) config.process.emplace().args = {""};

  NewContainer out;
  out.state.id = id;
  out.state.bundle = bundle.path;
  out.state.rootfs =
      clean_path(config.root_path[0] == '/' ? config.root_path : bundle.path + "/" + config.root_path);
  for (Mount& mount : config.mounts)  // as runc: also a destination as the host sees it
    if (mount.destination.starts_with(out.state.rootfs + "/"))
      mount.destination.erase(0, out.state.rootfs.size());
  if (!notify_host().empty()) add_notify(config, notify_directory(context.store.directory(id)));
  const CgroupLayout* host_layout = TRY(cgroup_layout());
  out.state.cgroup =
      config.cgroups_path.empty() ? default_cgroup(*host_layout, id) : clean_path(config.cgroups_path);
  if (out.state.cgroup[0] != '/') out.state.cgroup.insert(0, "/");
  if (context.systemd_cgroup) out.scope = TRY(find_scope(config, out.state));
  else if (config.cgroups_path.find(':') != std::string::npos)
    return invalid_option("read linux.cgroupsPath", "'" + config.cgroups_path + "' is not a path",
                          "give --systemd-cgroup if it is slice:prefix:name");
  for (const auto& [key, value] : config.annotations) out.state.annotations[key] = value;
  for (const Namespace& ns : config.namespaces) out.state.namespaces |= ns.flag;
  out.state.poststop = !config.hooks.poststop.empty();
  out.state.created_ns = base::wall_now().time_since_epoch().count();

  LaunchFacts facts;
  // Outside of the first user namespace, what is not delegated to us is not ours.
  out.layout = std::make_unique<CgroupLayout>(*host_layout);
  CgroupLayout& ours = *out.layout;
  if (out.scope) {
    ours.systemd = true;
    ours.device_control = systemd_is_ours();
  } else if (!systemd_is_ours()) {
    ours = delegated_cgroups(*host_layout, out.state.cgroup);
  }
  facts.layout = &ours;
  facts.cgroup = out.state.cgroup;
  facts.no_pivot = options.has("no-pivot");
  if (facts.no_pivot)
    facts.bare_mounts = find_bare_mounts(TRY(sys::read_file("/proc/self/mountinfo", 64u << 20)));
  facts.selinux = !config.mount_label.empty() && sys::exists("/sys/fs/selinux/enforce");
  facts.filter_listener = config.extensions.filter.empty() && has_listener(config.seccomp);
  TRY(fill_id_maps(config));
  set_identity_facts(config, facts);
  facts.rootfs = out.state.rootfs;
  facts.wait_start = wait_start;
  facts.preserve_fds = TRY(preserved_fds(options, *config.process));
  out.plan = TRY(plan_launch(config, facts));
  if (context.log->debugs()) context.log->debug_lines(out.plan.text());
  if (out.plan.cgroup.directories.empty() && out.plan.cgroup.unified.empty()) out.state.cgroup.clear();
  else if (!out.scope) TRY(check_cgroup_unused(ours, out.state.cgroup));
  out.config = std::move(bundle.config);
  out.config_text = std::move(bundle.text);
  return out;
}

base::Result<ScopeHolder> start_scope(NewContainer& container) {
  if (!container.scope) return ScopeHolder();
  auto properties =
      TRY(plan_scope(*container.layout, container.scope->names, container.state.id, container.config));
  auto started = container.scope->systemd.start(container.scope->names, std::move(properties));
  // Somebody else's by now: not ours to stop.
  if (!started.ok() && started.error().kind == base::Kind::kExists)
    container.state.unit = container.state.cgroup = "";
  return started;
}

}  // namespace runtime
