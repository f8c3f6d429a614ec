// The Pod's processes: containers and what is run in them, from their launch to their exit.
#include "runtime/pod/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/process.h"
#include "base/sys.h"
#include "runtime/launch/capabilities.h"
#include "runtime/launch/launch.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

// From the clone to the program: a launch that takes longer hangs (in a mount whose server is gone, in a
// cgroup that somebody froze) and would hold up every other container of the Pod.
constexpr auto kLaunchLimit = std::chrono::seconds(60);

int exit_code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

// The Pod's namespaces are sampan-pod's own: a container inherits what is not made anew.
base::Status take_out_pod_namespaces(json::value& config, const SandboxSpec& spec) {
  json::object* root = config.if_object();
  if (!root) return base::make_error(Kind::kInvalid, "read", "config", "must be an object");
  root->erase("hostname");
  root->erase("domainname");
  json::value* section = root->if_contains("linux");
  if (!section || !section->is_object()) return {};
  if (const json::value* sysctl = section->get_object().if_contains("sysctl");
      sysctl && sysctl->is_object() && !sysctl->get_object().empty())
    return base::make_error(Kind::kInvalid, "read", "linux.sysctl", "belongs to the Pod",
                            "give it to the sandbox");
  json::value* namespaces = section->get_object().if_contains("namespaces");
  if (!namespaces || !namespaces->is_array()) return {};
  json::array kept;
  for (const json::value& ns : namespaces->get_array()) {
    std::string_view type = base::string_at(ns, "type");
    if (type == "network" || type == "ipc" || type == "uts") continue;
    if (type == "pid" && (spec.host_pid || spec.share_pid)) continue;
    kept.push_back(ns);
  }
  *namespaces = std::move(kept);
  return {};
}

}  // namespace

base::Result<PodContainer*> PodServer::find(const std::string& id) {
  auto it = containers_.find(id);
  if (it == containers_.end()) return base::make_error(Kind::kNotFound, "find container", id);
  return it->second.get();
}

base::Result<ContainerState> PodServer::start(ContainerSpec spec) {
  if (containers_.count(spec.id)) return base::make_error(Kind::kExists, "start container", spec.id);
  std::string id = spec.id;
  auto& slot = containers_[id];
  slot = std::make_unique<PodContainer>(loop_, std::move(spec));
  slot->state.id = id;
  base::Status status = start_in(*slot);
  if (status.ok()) return slot->state;
  base::ignore(remove(id), "the first error counts; the record keeps what is left");
  // Without the id, which is the client's own ("web.0") and no name that a user gave.
  return base::wrap(status.error(), "start container", "");
}

base::Status PodServer::start_in(PodContainer& container) {
  const ContainerSpec& spec = container.spec();
  json::value document = spec.config;
  TRY(take_out_pod_namespaces(document, spec_));
  if (!spec.layers.empty()) {
    json::value& root = document.as_object()["root"];  // root.path is ours
    if (!root.is_object()) root = json::object();
    root.as_object()["path"] = "/";
  }
  Config config = TRY(parse_config(document));
  if (!config.process) return base::make_error(Kind::kInvalid, "read", "process", "is required");
  LaunchFacts facts;
  facts.layout = layout_;
  container.cgroup = config.cgroups_path.empty() ? spec_.cgroup + "/" + spec.id : config.cgroups_path;
  if (container.cgroup[0] != '/') container.cgroup = "/" + container.cgroup;
  facts.cgroup = container.cgroup;
  facts.rootfs = config.root_path;
  facts.layers = spec.layers;
  facts.work_dir = spec.work_dir;
  facts.overlay_by_layer = kernel_at_least(6, 8);
  facts.death_signal = SIGKILL;
  if (!have_capability(CAP_SYS_RESOURCE)) {
    facts.restrict_oom_score_adj = true;
    facts.own_oom_score_adj = own_oom_score_adj();
  }
  if (pause_pid_ != 0)
    config.namespaces.push_back({CLONE_NEWPID, fmt::format("/proc/{}/ns/pid", pause_pid_)});
  for (const Namespace& ns : config.namespaces) container.namespaces |= ns.flag;
  LaunchPlan plan = TRY(plan_launch(config, facts));

  LaunchInputs inputs;
  inputs.process = &*config.process;
  if (!config.seccomp.is_null()) {
    inputs.filter = TRY(load_seccomp(config.seccomp, ""));
    inputs.filter_flags = seccomp_flags(config.seccomp);
  }
  inputs.hooks = &config.hooks;
  inputs.state = [&](pid_t pid) {
    return json::serialize(json::object{{"ociVersion", kOciVersion},
                                        {"id", spec.id},
                                        {"status", "created"},
                                        {"pid", pid},
                                        {"bundle", spec.work_dir}});
  };
  TRY(write_record());
  if (!spec.layers.empty())
    for (const char* name : {"/upper", "/work", "/merged"}) TRY(sys::mkdir_all(spec.work_dir + name));
  PodContainer::Ends ends = TRY(container.open(config.process->terminal));
  inputs.stdio[0] = ends.in.get();
  inputs.stdio[1] = ends.out.get();
  inputs.stdio[2] = ends.err.get();
  inputs.console_socket = ends.console.get();
  inputs.time_limit = kLaunchLimit;
  Launched launched = TRY(launch(plan, inputs));
  ends.console.reset();  // or the end of the child's copy would not be seen by take_terminal()
  container.state.pid = launched.pid;
  container.state.phase = Phase::kRunning;
  container.state.started_at = base::wall_now();
  container.pidfd = std::move(launched.pidfd);
  exit_command_due_ = false;
  TRY(container.take_terminal());
  container.watch();
  return {};
}

base::Status PodServer::exec(uint64_t client, protocol::Packet& packet, Body& reply, Fds& fds) {
  const json::value& body = packet.body;
  std::string name(base::string_at(body, "container"));
  PodContainer* container = TRY(find(name));
  if (container->state.phase != Phase::kRunning)
    return base::make_error(Kind::kNotFound, "exec in container", "", "it has exited");
  // A process that enters a frozen cgroup stops before it can say a word; whoever froze it.
  if (container->state.paused || cgroup_frozen(*layout_, container->cgroup))
    return base::make_error(Kind::kConflict, "exec in container", "", "cannot exec in a paused container",
                            "unpause it first");
  const json::value* document = base::find(body, "process");
  Process process = TRY(parse_process(document ? *document : json::value()));
  process.terminal = base::as_bool(base::find(body, "terminal"));

  ExecFacts facts;
  facts.cgroup_directories = cgroup_directories(*layout_, container->cgroup);
  if (!layout_->unified.empty()) facts.cgroup_unified = layout_->unified + container->cgroup;
  facts.namespaces = container->namespaces;
  facts.death_signal = SIGKILL;
  if (!have_capability(CAP_SYS_RESOURCE)) {
    facts.restrict_oom_score_adj = true;
    facts.own_oom_score_adj = own_oom_score_adj();
  }
  const json::value* profile = base::find_path(container->spec().config, "linux", "seccomp");
  LaunchInputs inputs;
  if (profile && !profile->is_null()) {
    inputs.filter = TRY(load_seccomp(*profile, ""));
    inputs.filter_flags = seccomp_flags(*profile);
    facts.has_filter = true;
  }
  LaunchPlan plan = TRY(plan_exec(process, facts));
  inputs.process = &process;
  inputs.container = container->pidfd.get();
  base::UniqueFd null = TRY(sys::open("/dev/null", O_RDWR));
  const json::value* stdio = base::find(body, "stdio");
  size_t next = 0;
  for (size_t i = 0; i < 3; ++i) {
    bool given = stdio && stdio->is_array() && i < stdio->get_array().size() &&
                 base::as_bool(&stdio->get_array()[i]) && next < packet.fds.size();
    inputs.stdio[i] = given ? packet.fds[next++].get() : null.get();
  }
  sys::Pipe console;
  if (process.terminal) {
    console = TRY(sys::socketpair(SOCK_SEQPACKET));
    inputs.console_socket = console.write.get();
  }
  inputs.time_limit = kLaunchLimit;
  Launched launched = TRY_WRAP(launch(plan, inputs), "exec in container", "");
  console.write.reset();  // or the end of the child's copy would not be seen below
  ExecProcess started;
  started.id = fmt::format("{}-{}", name, next_exec_++);
  started.container = name;
  started.pid = launched.pid;
  started.client = client;
  started.pidfd = std::move(launched.pidfd);
  reply["exec"] = started.id;
  if (process.terminal) {
    sys::Message message = TRY(sys::recv_with_fds(console.read.get()));
    for (base::UniqueFd& fd : message.fds) fds.push_back(std::move(fd));
  }
  execs_.emplace(started.id, std::move(started));
  return {};
}

void PodServer::exited(PodContainer& container, int status) {
  container.drain();
  container.state.phase = Phase::kExited;
  container.state.finished_at = base::wall_now();
  container.state.exit_code = exit_code_of(status);
  container.state.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  container.state.oom_killed = cgroup_oom_kills(*layout_, container.cgroup) > 0;
  container.pidfd.reset();
  container.state.paused = false;
  exit_command_due_ = true;
  for (const auto& [id, client] : clients_)
    send(id, {{"event", "exit"}, {"state", protocol::encode(container.state)}});
  run_exit_command();
}
bool PodServer::any_runs() const {
  return std::any_of(containers_.begin(), containers_.end(),
                     [](const auto& entry) { return entry.second->state.phase == Phase::kRunning; });
}

// A client that made the Pod and is still there clears up itself.
void PodServer::run_exit_command() {
  if (ending_ || !exit_command_due_ || spec_.exit_command.empty() || clients_.count(kMaker) || any_runs())
    return;
  exit_command_due_ = false;
  base::Command command;
  command.argv = spec_.exit_command;
  command.new_session = true;
  // We have no thread that could be in the wrong namespace meanwhile.
  if (host_netns_.valid() && ::setns(host_netns_.get(), CLONE_NEWNET) != 0) return;
  base::ignore(base::spawn(command), "what is left is cleared up by whoever removes the Pod");
  if (host_netns_.valid()) SAMPAN_CHECK(::setns(netns_.get(), CLONE_NEWNET) == 0);
}

base::Status PodServer::pause(const std::string& id, bool paused) {
  PodContainer* container = TRY(find(id));
  if (container->state.phase != Phase::kRunning)
    return base::make_error(Kind::kNotFound, paused ? "pause container" : "unpause container", id,
                            "it has exited");
  TRY(freeze_cgroup(*layout_, container->cgroup, paused));
  container->state.paused = paused;
  return {};
}
void PodServer::reap() {
  int status;
  pid_t pid;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    for (auto& [id, container] : containers_)
      if (container->state.pid == pid && container->state.phase == Phase::kRunning)
        exited(*container, status);
    for (auto it = execs_.begin(); it != execs_.end();) {
      if (it->second.pid != pid) {
        ++it;
        continue;
      }
      send(it->second.client, {{"event", "exec-exit"}, {"exec", it->first}, {"code", exit_code_of(status)}});
      it = execs_.erase(it);
    }
  }
}

base::Status PodServer::remove(const std::string& id) {
  auto it = containers_.find(id);
  if (it == containers_.end()) return {};  // removed before
  PodContainer& container = *it->second;
  if (container.state.phase == Phase::kRunning)
    return base::make_error(Kind::kConflict, "remove container", id, "it runs", "signal it first");
  if (!container.cgroup.empty()) TRY(remove_cgroup(*layout_, container.cgroup, [this] { reap(); }));
  // Its root was mounted in its own mount namespace and went with it.
  const ContainerSpec& spec = container.spec();
  if (!spec.work_dir.empty() && !spec.keep_work_dir) TRY(sys::remove_all(spec.work_dir));
  containers_.erase(it);
  return write_record();
}

}  // namespace runtime
