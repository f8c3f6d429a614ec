// The Pod's sandbox: namespaces, cgroup, the record of what was made, and the end of it all.
#include "runtime/pod/server.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <net/if.h>
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

#include "base/sys.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

base::Status bring_loopback_up() {
  base::UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::copy_n("lo", 3, request.ifr_name);
  if (!fd.valid() || ::ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0)
    return sys::last_error("look up link", "lo");
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

}  // namespace

base::Status PodServer::create(const SandboxSpec& spec) {
  spec_ = spec;
  spec_.id = id_;
  spec_.run_dir = run_dir_;
  if (spec_.cgroup.empty() || spec_.cgroup[0] != '/' || spec_.cgroup == "/" ||
      (spec_.cgroup + "/").find("/../") != std::string::npos)
    return base::make_error(Kind::kInvalid, "create Pod", id_,
                            "cgroup '" + spec_.cgroup + "' must be an absolute path");
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
  acceptor_.emplace(loop_, listener_.get(), 0, [this](base::UniqueFd socket, const sockaddr_storage&) {
    add_client(std::move(socket));
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
                key.starts_with("fs.mqueue.")) &&
               !spec_.host_ipc;
    if ((!net && !ipc) || key.find('/') != std::string::npos || key.find("..") != std::string::npos)
      return base::make_error(Kind::kInvalid, "set sysctl", key, "is not kept per Pod here");
    std::string path = key;
    std::replace(path.begin(), path.end(), '.', '/');
    TRY_WRAP(sys::write_control("/proc/sys/" + path, value), "set sysctl", key);
  }
  return {};
}

base::Status PodServer::sandbox(Body& reply, Fds& fds) {
  auto copy = [&](const base::UniqueFd& fd) { fds.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); };
  reply["pid"] = ::getpid();
  reply["netns"] = netns_.valid();
  if (netns_.valid()) copy(netns_);
  copy(netlink_);
  return {};
}

base::Status PodServer::write_record() {
  json::array containers;
  for (const auto& [id, container] : containers_)
    containers.push_back(
        json::object{{"id", id},
                     {"cgroup", container->cgroup},
                     {"work_dir", container->spec().keep_work_dir ? "" : container->spec().work_dir}});
  json::object record{
      {"id", id_}, {"pid", ::getpid()}, {"cgroup", spec_.cgroup}, {"containers", std::move(containers)}};
  // Not fsynced: after a power loss nothing of what it names exists, but for the work directories,
  // which the kubelet knows.
  return sys::replace_file(protocol::record_path(run_dir_, id_), json::serialize(record), 0600);
}

base::Status PodServer::shutdown() {
  ending_ = true;
  base::Status status = end_all();
  ending_ = status.ok();
  return status;
}

base::Status PodServer::end_all() {
  auto reap_dead = [this] { reap(); };
  // One kill for all, then the waiting.
  for (const auto& [id, container] : containers_)
    if (container->state.phase == Phase::kRunning)
      base::ignore(sys::pidfd_send_signal(container->pidfd.get(), SIGKILL), "dead already");
  if (pause_pid_ != 0) ::kill(pause_pid_, SIGKILL);
  for (const auto& [id, container] : containers_) {
    if (!container->cgroup.empty()) TRY(remove_cgroup(*layout_, container->cgroup, reap_dead));
    const ContainerSpec& spec = container->spec();
    if (!spec.work_dir.empty() && !spec.keep_work_dir) TRY(sys::remove_all(spec.work_dir));
  }
  TRY(remove_cgroup(*layout_, spec_.cgroup, reap_dead));
  for (const std::string& path : {protocol::socket_path(run_dir_, id_), protocol::record_path(run_dir_, id_)})
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return sys::last_error("unlink", path);
  return {};
}

}  // namespace runtime
