#include "runtime/pod_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/process.h"
#include "base/sys.h"
#include "runtime/capabilities.h"
#include "runtime/launch.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

constexpr size_t kMaxClients = 64;
constexpr uint64_t kMaker = 1;  // the first client

int exit_code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

base::Status bring_loopback_up() {
  base::UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::copy_n("lo", 3, request.ifr_name);
  if (!fd.valid() || ::ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) return sys::last_error("look up link", "lo");
  request.ifr_flags |= IFF_UP | IFF_RUNNING;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return sys::last_error("bring up link", "lo");
  return {};
}

// The init of a pid namespace that several containers share: does nothing but collect the dead.
base::Result<pid_t> start_pause() {
  clone_args arguments{};
  arguments.flags = CLONE_NEWPID;
  arguments.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid < 0) return sys::last_error("clone", "pause");
  if (pid > 0) return static_cast<pid_t>(pid);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "pause", 0, 0, 0);
  ::signal(SIGCHLD, SIG_IGN);  // the kernel reaps
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  ::syscall(SYS_close_range, 0u, ~0u, 0u);
  for (;;) ::pause();
}

// Never waits: the socket is handed over while it connects, and keeps this network namespace.
base::Result<base::UniqueFd> connect_loopback(int64_t port, int64_t family) {
  if (port < 1 || port > 65535)
    return base::make_error(Kind::kInvalid, "connect to port", std::to_string(port));
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  v4.sin_port = v6.sin6_port = htons(static_cast<uint16_t>(port));
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  v6.sin6_addr = in6addr_loopback;
  bool six = family == 6;
  base::UniqueFd fd(::socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return sys::last_error("socket", "TCP");
  auto* address = six ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
  if (::connect(fd.get(), address, six ? sizeof v6 : sizeof v4) != 0 && errno != EINPROGRESS)
    return sys::last_error("connect to port", std::to_string(port));
  return fd;
}

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
    return base::make_error(Kind::kInvalid, "read", "linux.sysctl", "belongs to the Pod", "give it to the sandbox");
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

PodServer::PodServer(base::Loop& loop, std::string id, std::string run_dir)
    : loop_(loop), id_(std::move(id)), run_dir_(std::move(run_dir)) {}

base::Status PodServer::run(base::UniqueFd connection) {
  // What a container without a pid namespace of its own leaves behind comes to us.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  signal_watch_ = TRY(loop_.on_signals({SIGCHLD, SIGTERM}, [this](int signal) {
    if (signal == SIGCHLD) return reap();
    if (created_) base::ignore(shutdown(), "clean_dead_pod finishes it");
    loop_.stop();
  }));
  add_client(std::move(connection));
  loop_.run();
  return {};
}

// ---- clients ---------------------------------------------------------------------------------

void PodServer::add_client(base::UniqueFd socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != 0) return;
  if (clients_.size() >= kMaxClients) return;
  ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  uint64_t id = next_client_++;
  int fd = socket.get();
  Client& client = clients_[id];
  client.socket = std::move(socket);
  client.watch = loop_.watch(fd, EPOLLIN, [this, id](uint32_t) { read_client(id); });
  for (const auto& [name, container] : containers_)
    if (container->state.phase == Phase::kExited)
      send(id, {{"event", "exit"}, {"state", protocol::encode(container->state)}});
}
void PodServer::drop_client(uint64_t id) {
  clients_.erase(id);
  run_exit_command();
  // Nobody ever asked for a Pod: there is none to hold.
  if (!created_ && clients_.empty()) loop_.stop();
}
void PodServer::send(uint64_t id, const Body& body, const Fds& fds) {
  auto it = clients_.find(id);
  if (it == clients_.end()) return;
  std::vector<int> numbers;
  for (const base::UniqueFd& fd : fds) numbers.push_back(fd.get());
  // A client that does not read is let go rather than waited for; it can connect again.
  if (!protocol::send(it->second.socket.get(), body, numbers).ok())
    loop_.post([this, id] { drop_client(id); });
}
void PodServer::read_client(uint64_t id) {
  auto it = clients_.find(id);
  if (it == clients_.end()) return;
  auto packet = protocol::receive(it->second.socket.get());
  if (!packet.ok() && packet.error().errno_value == EAGAIN) return;
  if (!packet.ok() || packet->body.is_null()) return drop_client(id);
  std::string op(base::string_at(packet->body, "op"));
  Body reply;
  Fds fds;
  base::Status status = answer(id, op, *packet, reply, fds);
  if (!status.ok()) {
    reply = Body{{"error", protocol::encode(status.error())}};
    fds.clear();
  }
  reply["seq"] = base::as_int(base::find(packet->body, "seq"));
  send(id, reply, fds);
  if ((op == "shutdown" && status.ok()) || (op == "create" && !status.ok() && !created_)) loop_.stop();
}

base::Status PodServer::answer(uint64_t client, const std::string& op, protocol::Packet& packet,
                               Body& reply, Fds& fds) {
  const json::value& body = packet.body;
  std::string name(base::string_at(body, "container"));
  if (op == "create") {
    if (created_) return base::make_error(Kind::kExists, "create Pod", id_);
    const json::value* spec = base::find(body, "spec");
    TRY(create(protocol::decode_sandbox(spec ? *spec : json::value())));
    return sandbox(reply, fds);
  }
  if (!created_) return base::make_error(Kind::kInvalid, "ask Pod to " + op, id_, "it is not created yet");
  if (op == "sandbox") return sandbox(reply, fds);
  if (op == "start") {
    const json::value* container = base::find(body, "container");
    ContainerSpec spec = TRY(protocol::decode_container(container ? *container : json::value()));
    std::string id = spec.id;
    reply["state"] = protocol::encode(TRY(start(std::move(spec))));
    // Before anything of it is read: the loop comes later.
    if (base::as_bool(base::find(body, "attach"))) return attach(id, Pod::SlowReader::kIsAwaited, reply, fds);
    return {};
  }
  if (op == "list") {
    json::array list;
    for (const auto& [id, container] : containers_) list.push_back(protocol::encode(container->state));
    reply["containers"] = std::move(list);
    return {};
  }
  if (op == "signal") {
    PodContainer* container = TRY(find(name));
    if (container->state.phase != Phase::kRunning)
      return base::make_error(Kind::kNotFound, "signal container", name, "it has exited");
    return sys::pidfd_send_signal(container->pidfd.get(), static_cast<int>(base::as_int(base::find(body, "signal"))));
  }
  if (op == "signal-exec") {
    auto it = execs_.find(std::string(base::string_at(body, "exec")));
    if (it == execs_.end()) return base::make_error(Kind::kNotFound, "signal exec", std::string(base::string_at(body, "exec")));
    return sys::pidfd_send_signal(it->second.pidfd.get(), static_cast<int>(base::as_int(base::find(body, "signal"))));
  }
  if (op == "remove") return remove(name);
  if (op == "reopen-log") return TRY(find(name))->log.reopen();
  if (op == "stats") {
    PodContainer* container = TRY(find(name));
    CgroupUsage usage = cgroup_usage(*layout_, container->cgroup);
    reply = Body{{"cpu_ns", usage.cpu_ns},
                 {"memory_bytes", usage.memory_bytes},
                 {"memory_working_set_bytes", usage.memory_working_set_bytes},
                 {"pids", usage.pids}};
    return {};
  }
  if (op == "exec") return exec(client, packet, reply, fds);
  if (op == "attach") {
    bool awaited = base::as_bool(base::find(body, "awaited"));
    return attach(name, awaited ? Pod::SlowReader::kIsAwaited : Pod::SlowReader::kLoses, reply, fds);
  }
  if (op == "pause") return pause(name, base::as_bool(base::find(body, "paused")));
  if (op == "connect") {
    fds.push_back(TRY(connect_loopback(base::as_int(base::find(body, "port")),
                                       base::as_int(base::find(body, "family"), 4))));
    return {};
  }
  if (op == "shutdown") return shutdown();
  return base::make_error(Kind::kUnsupported, "ask Pod", op, "unknown request");
}

base::Status PodServer::attach(const std::string& name, Pod::SlowReader slow, Body& reply, Fds& fds) {
  PodContainer* container = TRY(find(name));
  if (container->state.phase != Phase::kRunning)
    return base::make_error(Kind::kNotFound, "attach to container", name, "it has exited");
  Pod::Attached ends = TRY(container->attach(slow));
  json::array has;
  auto give = [&](const char* what, base::UniqueFd& fd) {
    if (!fd.valid()) return;
    has.push_back(json::value(what));
    fds.push_back(std::move(fd));
  };
  give("in", ends.in);
  give("out", ends.out);
  give("err", ends.err);
  give("terminal", ends.terminal);
  reply["has"] = std::move(has);
  return {};
}

// ---- the sandbox -----------------------------------------------------------------------------

base::Status PodServer::create(const SandboxSpec& spec) {
  spec_ = spec;
  spec_.id = id_;
  spec_.run_dir = run_dir_;
  if (spec_.cgroup.empty() || spec_.cgroup[0] != '/' || spec_.cgroup == "/" ||
      (spec_.cgroup + "/").find("/../") != std::string::npos)
    return base::make_error(Kind::kInvalid, "create Pod", id_, "cgroup '" + spec_.cgroup + "' must be an absolute path");
  if (spec_.host_pid && spec_.share_pid)
    return base::make_error(Kind::kInvalid, "create Pod", id_, "host_pid and share_pid exclude each other");
  layout_ = TRY(cgroup_layout());
  Resources resources;
  if (!spec_.cgroup_resources.is_null()) resources = TRY(parse_resources(spec_.cgroup_resources));
  CgroupPlan plan = TRY(plan_cgroup(*layout_, spec_.cgroup, resources, true));
  TRY(sys::mkdir_all(run_dir_, 0700));
  listener_ = TRY(protocol::listen(run_dir_, id_));
  auto made = [&]() -> base::Status {
    TRY(write_record());
    TRY(act_cgroup(plan));
    return make_namespaces();
  }();
  if (!made.ok()) {
    base::ignore(shutdown(), "the first error counts");
    return made;
  }
  created_ = true;
  exit_command_due_ = true;
  listen_watch_ = loop_.watch(listener_.get(), EPOLLIN, [this](uint32_t) {
    base::UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.valid()) add_client(std::move(socket));
  });
  return {};
}

base::Status PodServer::make_namespaces() {
  // A Pod on the host's network keeps the host's name as well.
  bool own_uts = !spec_.hostname.empty() && !spec_.host_network;
  int flags = (spec_.host_network ? 0 : CLONE_NEWNET) | (spec_.host_ipc ? 0 : CLONE_NEWIPC) |
              (own_uts ? CLONE_NEWUTS : 0);
  if (!spec_.exit_command.empty() && !spec_.host_network)
    host_netns_ = TRY(sys::open("/proc/self/ns/net", O_RDONLY));
  if (flags && ::unshare(flags) != 0) return sys::last_error("unshare", "namespaces of the Pod");
  if (own_uts && ::sethostname(spec_.hostname.c_str(), spec_.hostname.size()) != 0)
    return sys::last_error("sethostname", spec_.hostname);
  if (!spec_.host_network) {
    TRY(bring_loopback_up());
    netns_ = TRY(sys::open("/proc/self/ns/net", O_RDONLY));
  }
  netlink_ = base::UniqueFd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!netlink_.valid()) return sys::last_error("socket", "NETLINK_ROUTE");
  if (spec_.share_pid) pause_pid_ = TRY(start_pause());
  for (const auto& [key, value] : spec_.sysctls) {
    bool net = key.starts_with("net.") && !spec_.host_network;
    bool ipc = (key.starts_with("kernel.shm") || key.starts_with("kernel.msg") || key == "kernel.sem" ||
                key.starts_with("fs.mqueue.")) && !spec_.host_ipc;
    if ((!net && !ipc) || key.find('/') != std::string::npos || key.find("..") != std::string::npos)
      return base::make_error(Kind::kInvalid, "set sysctl", key, "is not kept per Pod here");
    std::string path = key;
    std::replace(path.begin(), path.end(), '.', '/');
    TRY_WRAP(sys::write_control("/proc/sys/" + path, value), "set sysctl", key);
  }
  return {};
}

base::Status PodServer::sandbox(Body& reply, Fds& fds) {
  auto copy = [&](const base::UniqueFd& fd) {
    fds.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  };
  reply["pid"] = ::getpid();
  reply["netns"] = netns_.valid();
  if (netns_.valid()) copy(netns_);
  copy(netlink_);
  return {};
}

base::Status PodServer::write_record() {
  json::array containers;
  for (const auto& [id, container] : containers_)
    containers.push_back(json::object{{"id", id}, {"cgroup", container->cgroup}, 
                                      {"work_dir", container->spec().keep_work_dir ? "" : container->spec().work_dir}});
  json::object record{{"id", id_}, {"pid", ::getpid()}, {"cgroup", spec_.cgroup}, {"containers", std::move(containers)}};
  // Not fsynced: after a power loss nothing of what it names exists, but for the work directories,
  // which the kubelet knows.
  std::string path = protocol::record_path(run_dir_, id_), temporary = path + "~";
  {
    base::UniqueFd fd = TRY(sys::open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    TRY_WRAP(sys::write_all(fd.get(), json::serialize(record)), "write", temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return sys::last_error("rename", path);
  return {};
}

// ---- containers ------------------------------------------------------------------------------

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
  return base::wrap(status.error(), "start container", id);
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
    return json::serialize(json::object{{"ociVersion", kOciVersion}, {"id", spec.id}, {"status", "created"},
                                        {"pid", pid}, {"bundle", spec.work_dir}});
  };
  TRY(write_record());
  if (!spec.layers.empty())
    for (const char* name : {"/upper", "/work", "/merged"}) TRY(sys::mkdir_all(spec.work_dir + name));
  PodContainer::Ends ends = TRY(container.open(config.process->terminal));
  inputs.stdio[0] = ends.in.get();
  inputs.stdio[1] = ends.out.get();
  inputs.stdio[2] = ends.err.get();
  inputs.console_socket = ends.console.get();
  Launched launched = TRY(launch(plan, inputs));
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
    return base::make_error(Kind::kNotFound, "exec in container", name, "it has exited");
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
  Launched launched = TRY_WRAP(launch(plan, inputs), "exec in container", name);
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
  if (!exit_command_due_ || spec_.exit_command.empty() || clients_.count(kMaker) || any_runs()) return;
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
    return base::make_error(Kind::kNotFound, paused ? "pause container" : "unpause container", id, "it has exited");
  TRY(freeze_cgroup(*layout_, container->cgroup, paused));
  container->state.paused = paused;
  return {};
}
void PodServer::reap() {
  int status;
  pid_t pid;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    for (auto& [id, container] : containers_)
      if (container->state.pid == pid && container->state.phase == Phase::kRunning) exited(*container, status);
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
  if (!container.cgroup.empty()) TRY(remove_cgroup(*layout_, container.cgroup));
  // Its root was mounted in its own mount namespace and went with it.
  const ContainerSpec& spec = container.spec();
  if (!spec.work_dir.empty() && !spec.keep_work_dir) TRY(sys::remove_all(spec.work_dir));
  containers_.erase(it);
  return write_record();
}

base::Status PodServer::shutdown() {
  // One kill for all, then the waiting.
  for (const auto& [id, container] : containers_)
    if (container->state.phase == Phase::kRunning)
      base::ignore(sys::pidfd_send_signal(container->pidfd.get(), SIGKILL), "dead already");
  if (pause_pid_ != 0) ::kill(pause_pid_, SIGKILL);
  for (const auto& [id, container] : containers_) {
    if (!container->cgroup.empty()) TRY(remove_cgroup(*layout_, container->cgroup));
    const ContainerSpec& spec = container->spec();
    if (!spec.work_dir.empty() && !spec.keep_work_dir) TRY(sys::remove_all(spec.work_dir));
  }
  TRY(remove_cgroup(*layout_, spec_.cgroup));
  for (const std::string& path :
       {protocol::socket_path(run_dir_, id_), protocol::record_path(run_dir_, id_)})
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return sys::last_error("unlink", path);
  return {};
}

}  // namespace runtime
