#include "runtime/launch/parent.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/process.h"
#include "base/sys.h"
#include "runtime/launch/kernel.h"
#include "runtime/launch/mounts.h"

namespace runtime {
namespace {

namespace sys = base::sys;

base::Status write_proc(pid_t pid, const char* file, const std::string& text) {
  std::string path = fmt::format("/proc/{}/{}", pid, file);
  base::UniqueFd fd = TRY(sys::open(path, O_WRONLY));
  // One write: the kernel takes a map whole or not at all.
  ssize_t n = ::write(fd.get(), text.data(), text.size());
  if (n != static_cast<ssize_t>(text.size())) return sys::last_error("write", path);
  return {};
}
// newuidmap(1), newgidmap(1): setuid programs that look at /etc/subuid and /etc/subgid.
base::Status map_by_program(const char* program, pid_t pid, const std::string& text) {
  std::vector<std::string> argv{program, std::to_string(pid)};
  for (size_t at = 0; (at = text.find_first_not_of(" \n", at)) != std::string::npos;) {
    size_t end = std::min(text.find_first_of(" \n", at), text.size());
    argv.push_back(text.substr(at, end - at));
    at = end;
  }
  base::Output output = TRY_WRAP(base::run_command(argv), "run", program);
  if (output.status.signal || output.status.code)
    return base::make_error(base::Kind::kDenied, "write id map with", program, output.err.substr(0, 200),
                            "look at /etc/subuid and /etc/subgid");
  return {};
}
base::Status write_id_maps(const Step& step, pid_t pid) {
  if (step.y & 1) TRY(map_by_program("newuidmap", pid, step.a));
  else TRY(write_proc(pid, "uid_map", step.a));
  if (step.x) TRY(write_proc(pid, "setgroups", "deny"));
  if (step.y & 2) return map_by_program("newgidmap", pid, step.b);
  return write_proc(pid, "gid_map", step.b);
}

// A user namespace that nobody is in: to be read for its maps.
base::Result<base::UniqueFd> make_user_namespace(const std::string& uid_map, const std::string& gid_map) {
  sys::Pipe pipe = TRY(sys::pipe());
  clone_args arguments{};
  arguments.flags = CLONE_NEWUSER;
  arguments.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) {
    ::close(pipe.write.get());
    char byte;
    (void)!::read(pipe.read.get(), &byte, 1);  // until our parent closes the pipe, or dies
    ::_exit(0);
  }
  if (pid < 0) return sys::last_error("clone", "a user namespace for an id-mapped mount");
  auto child = static_cast<pid_t>(pid);
  auto made = [&]() -> base::Result<base::UniqueFd> {
    TRY(write_proc(child, "uid_map", uid_map));
    TRY(write_proc(child, "gid_map", gid_map));
    return sys::open(fmt::format("/proc/{}/ns/user", child), O_RDONLY);
  }();
  pipe.write.reset();
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return made;
}

base::Result<base::UniqueFd> open_source(const Step& step) {
  unsigned tree_flags = bind_source_flags(step.z) | (step.op == Op::kRootBind ? unsigned{AT_RECURSIVE} : 0u);
  base::UniqueFd tree(kernel::open_tree(AT_FDCWD, step.a.c_str(), tree_flags));
  if (tree.get() < 0) return sys::error_from_errno(-tree.get(), step.text(), {}, "the source must exist");
  // A copy of a shared mount (all of them, under systemd) is its peer: what the container mounts would
  // reach the host, and pivot_root(2) refuses a shared root. The child made its own slaves already.
  mount_attr slave{};
  slave.propagation = MS_SLAVE;
  if (int error = kernel::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &slave))
    return sys::error_from_errno(-error, "make a slave of the host's", step.a);
  if (!(step.z & kIdMapped)) return tree;
  base::UniqueFd user = step.list.size() > 2 ? TRY(sys::open(step.list[2], O_RDONLY))
                                             : TRY(make_user_namespace(step.list[0], step.list[1]));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(user.get());
  unsigned flags = AT_EMPTY_PATH | (step.z & kIdMappedRecursive ? AT_RECURSIVE : 0);
  if (int error = kernel::mount_setattr(tree.get(), "", flags, &attributes))
    return sys::error_from_errno(-error, step.text(), {},
                                 error == -EINVAL ? "its file system knows no id-mapped mounts" : "");
  return tree;
}

}  // namespace

bool can_write_id_map(const std::vector<IdMap>& maps, uint32_t own_id) {
  return own_id == 0 || (maps.size() == 1 && maps[0].host == own_id && maps[0].size == 1);
}

base::Result<std::vector<base::UniqueFd>> open_sources(const std::vector<Step>& steps) {
  std::vector<base::UniqueFd> out;
  for (const Step& step : steps)
    if ((step.op == Op::kRootBind || step.op == Op::kBind) && step.z & kSourceFromParent)
      out.push_back(TRY(open_source(step)));
  return out;
}

base::Status do_parent_step(const Step& step, pid_t pid) {
  switch (step.op) {
    case Op::kIdMaps: {
      auto written = write_id_maps(step, pid);
      return written.ok() ? written
                          : base::wrap(std::move(written).error(), "write id maps", "linux.uidMappings");
    }
    case Op::kRlimit: {
      rlimit limit{step.y, step.z};
      if (::prlimit(pid, static_cast<__rlimit_resource>(step.x), &limit, nullptr) != 0)
        return sys::last_error(step.text());
      return {};
    }
    case Op::kUnshareTime: return step.a.empty() ? base::Status{} : write_proc(pid, "timens_offsets", step.a);
    case Op::kOomScoreAdj: return write_proc(pid, "oom_score_adj", step.a);
    case Op::kNetDevice: {
      std::string path = step.c.empty() ? fmt::format("/proc/{}/ns/net", pid) : step.c;
      base::UniqueFd ns = TRY(sys::open(path, O_RDONLY));
      auto moved = move_net_device(step.a, step.b, ns.get());
      return moved.ok() ? moved
                        : base::wrap(std::move(moved).error(), "apply", "linux.netDevices[" + step.a + "]");
    }
    default: return base::make_error(base::Kind::kInternal, "do", step.text(), "is not the parent's");
  }
}

}  // namespace runtime
