// What a container gets that asked for nothing: capabilities, seccomp ("RuntimeDefault"), mounts,
// masked paths. The lists follow what containerd and podman give, so that images behave the same.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>

#include "runtime/runtime.h"
#include "runtime/spec/capabilities.h"
#include "runtime/spec/config.h"

namespace runtime {
namespace {

namespace json = base::json;

// Allowed to everybody.
constexpr const char* kAllowed[] = {"accept",
                                    "accept4",
                                    "access",
                                    "adjtimex",
                                    "alarm",
                                    "arch_prctl",
                                    "bind",
                                    "brk",
                                    "cachestat",
                                    "capget",
                                    "capset",
                                    "chdir",
                                    "chmod",
                                    "chown",
                                    "chown32",
                                    "clock_adjtime",
                                    "clock_adjtime64",
                                    "clock_getres",
                                    "clock_getres_time64",
                                    "clock_gettime",
                                    "clock_gettime64",
                                    "clock_nanosleep",
                                    "clock_nanosleep_time64",
                                    "close",
                                    "close_range",
                                    "connect",
                                    "copy_file_range",
                                    "creat",
                                    "dup",
                                    "dup2",
                                    "dup3",
                                    "epoll_create",
                                    "epoll_create1",
                                    "epoll_ctl",
                                    "epoll_ctl_old",
                                    "epoll_pwait",
                                    "epoll_pwait2",
                                    "epoll_wait",
                                    "epoll_wait_old",
                                    "eventfd",
                                    "eventfd2",
                                    "execve",
                                    "execveat",
                                    "exit",
                                    "exit_group",
                                    "faccessat",
                                    "faccessat2",
                                    "fadvise64",
                                    "fadvise64_64",
                                    "fallocate",
                                    "fanotify_mark",
                                    "fchdir",
                                    "fchmod",
                                    "fchmodat",
                                    "fchmodat2",
                                    "fchown",
                                    "fchown32",
                                    "fchownat",
                                    "fcntl",
                                    "fcntl64",
                                    "fdatasync",
                                    "fgetxattr",
                                    "flistxattr",
                                    "flock",
                                    "fork",
                                    "fremovexattr",
                                    "fsetxattr",
                                    "fstat",
                                    "fstat64",
                                    "fstatat64",
                                    "fstatfs",
                                    "fstatfs64",
                                    "fsync",
                                    "ftruncate",
                                    "ftruncate64",
                                    "futex",
                                    "futex_requeue",
                                    "futex_time64",
                                    "futex_wait",
                                    "futex_waitv",
                                    "futex_wake",
                                    "futimesat",
                                    "get_robust_list",
                                    "get_thread_area",
                                    "getcpu",
                                    "getcwd",
                                    "getdents",
                                    "getdents64",
                                    "getegid",
                                    "getegid32",
                                    "geteuid",
                                    "geteuid32",
                                    "getgid",
                                    "getgid32",
                                    "getgroups",
                                    "getgroups32",
                                    "getitimer",
                                    "getpeername",
                                    "getpgid",
                                    "getpgrp",
                                    "getpid",
                                    "getppid",
                                    "getpriority",
                                    "getrandom",
                                    "getresgid",
                                    "getresgid32",
                                    "getresuid",
                                    "getresuid32",
                                    "getrlimit",
                                    "getrusage",
                                    "getsid",
                                    "getsockname",
                                    "getsockopt",
                                    "gettid",
                                    "gettimeofday",
                                    "getuid",
                                    "getuid32",
                                    "getxattr",
                                    "getxattrat",
                                    "inotify_add_watch",
                                    "inotify_init",
                                    "inotify_init1",
                                    "inotify_rm_watch",
                                    "io_cancel",
                                    "io_destroy",
                                    "io_getevents",
                                    "io_pgetevents",
                                    "io_pgetevents_time64",
                                    "io_setup",
                                    "io_submit",
                                    "ioctl",
                                    "ioprio_get",
                                    "ioprio_set",
                                    "ipc",
                                    "kill",
                                    "landlock_add_rule",
                                    "landlock_create_ruleset",
                                    "landlock_restrict_self",
                                    "lchown",
                                    "lchown32",
                                    "lgetxattr",
                                    "link",
                                    "linkat",
                                    "listen",
                                    "listmount",
                                    "listxattr",
                                    "listxattrat",
                                    "llistxattr",
                                    "_llseek",
                                    "lremovexattr",
                                    "lseek",
                                    "lsetxattr",
                                    "lstat",
                                    "lstat64",
                                    "madvise",
                                    "map_shadow_stack",
                                    "membarrier",
                                    "memfd_create",
                                    "memfd_secret",
                                    "mincore",
                                    "mkdir",
                                    "mkdirat",
                                    "mknod",
                                    "mknodat",
                                    "mlock",
                                    "mlock2",
                                    "mlockall",
                                    "mmap",
                                    "mmap2",
                                    "mprotect",
                                    "mq_getsetattr",
                                    "mq_notify",
                                    "mq_open",
                                    "mq_timedreceive",
                                    "mq_timedreceive_time64",
                                    "mq_timedsend",
                                    "mq_timedsend_time64",
                                    "mq_unlink",
                                    "mremap",
                                    "mseal",
                                    "msgctl",
                                    "msgget",
                                    "msgrcv",
                                    "msgsnd",
                                    "msync",
                                    "munlock",
                                    "munlockall",
                                    "munmap",
                                    "name_to_handle_at",
                                    "nanosleep",
                                    "newfstatat",
                                    "_newselect",
                                    "open",
                                    "openat",
                                    "openat2",
                                    "pause",
                                    "pidfd_getfd",
                                    "pidfd_open",
                                    "pidfd_send_signal",
                                    "pipe",
                                    "pipe2",
                                    "pkey_alloc",
                                    "pkey_free",
                                    "pkey_mprotect",
                                    "poll",
                                    "ppoll",
                                    "ppoll_time64",
                                    "prctl",
                                    "pread64",
                                    "preadv",
                                    "preadv2",
                                    "prlimit64",
                                    "process_mrelease",
                                    "process_vm_readv",
                                    "process_vm_writev",
                                    "pselect6",
                                    "pselect6_time64",
                                    "ptrace",
                                    "pwrite64",
                                    "pwritev",
                                    "pwritev2",
                                    "read",
                                    "readahead",
                                    "readlink",
                                    "readlinkat",
                                    "readv",
                                    "recv",
                                    "recvfrom",
                                    "recvmmsg",
                                    "recvmmsg_time64",
                                    "recvmsg",
                                    "remap_file_pages",
                                    "removexattr",
                                    "removexattrat",
                                    "rename",
                                    "renameat",
                                    "renameat2",
                                    "restart_syscall",
                                    "riscv_hwprobe",
                                    "rmdir",
                                    "rseq",
                                    "rt_sigaction",
                                    "rt_sigpending",
                                    "rt_sigprocmask",
                                    "rt_sigqueueinfo",
                                    "rt_sigreturn",
                                    "rt_sigsuspend",
                                    "rt_sigtimedwait",
                                    "rt_sigtimedwait_time64",
                                    "rt_tgsigqueueinfo",
                                    "sched_get_priority_max",
                                    "sched_get_priority_min",
                                    "sched_getaffinity",
                                    "sched_getattr",
                                    "sched_getparam",
                                    "sched_getscheduler",
                                    "sched_rr_get_interval",
                                    "sched_rr_get_interval_time64",
                                    "sched_setaffinity",
                                    "sched_setattr",
                                    "sched_setparam",
                                    "sched_setscheduler",
                                    "sched_yield",
                                    "seccomp",
                                    "select",
                                    "semctl",
                                    "semget",
                                    "semop",
                                    "semtimedop",
                                    "semtimedop_time64",
                                    "send",
                                    "sendfile",
                                    "sendfile64",
                                    "sendmmsg",
                                    "sendmsg",
                                    "sendto",
                                    "set_robust_list",
                                    "set_thread_area",
                                    "set_tid_address",
                                    "setfsgid",
                                    "setfsgid32",
                                    "setfsuid",
                                    "setfsuid32",
                                    "setgid",
                                    "setgid32",
                                    "setgroups",
                                    "setgroups32",
                                    "setitimer",
                                    "setpgid",
                                    "setpriority",
                                    "setregid",
                                    "setregid32",
                                    "setresgid",
                                    "setresgid32",
                                    "setresuid",
                                    "setresuid32",
                                    "setreuid",
                                    "setreuid32",
                                    "setrlimit",
                                    "setsid",
                                    "setsockopt",
                                    "setuid",
                                    "setuid32",
                                    "setxattr",
                                    "setxattrat",
                                    "shmat",
                                    "shmctl",
                                    "shmdt",
                                    "shmget",
                                    "shutdown",
                                    "sigaltstack",
                                    "signalfd",
                                    "signalfd4",
                                    "sigprocmask",
                                    "sigreturn",
                                    "socketcall",
                                    "socketpair",
                                    "splice",
                                    "stat",
                                    "stat64",
                                    "statfs",
                                    "statfs64",
                                    "statmount",
                                    "statx",
                                    "symlink",
                                    "symlinkat",
                                    "sync",
                                    "sync_file_range",
                                    "syncfs",
                                    "sysinfo",
                                    "tee",
                                    "tgkill",
                                    "time",
                                    "timer_create",
                                    "timer_delete",
                                    "timer_getoverrun",
                                    "timer_gettime",
                                    "timer_gettime64",
                                    "timer_settime",
                                    "timer_settime64",
                                    "timerfd_create",
                                    "timerfd_gettime",
                                    "timerfd_gettime64",
                                    "timerfd_settime",
                                    "timerfd_settime64",
                                    "times",
                                    "tkill",
                                    "truncate",
                                    "truncate64",
                                    "ugetrlimit",
                                    "umask",
                                    "uname",
                                    "unlink",
                                    "unlinkat",
                                    "uretprobe",
                                    "utime",
                                    "utimensat",
                                    "utimensat_time64",
                                    "utimes",
                                    "vfork",
                                    "vmsplice",
                                    "wait4",
                                    "waitid",
                                    "waitpid",
                                    "write",
                                    "writev"};

// Allowed with a capability; without it refused with EPERM, which programs expect from them. (All
// other calls give ENOSYS, so that a libc that knows a newer call than this list falls back.)
struct Gate {
  const char* capability;
  std::vector<const char*> calls;
};
const std::vector<Gate>& gates() {
  static const std::vector<Gate> all = {
      {"CAP_DAC_READ_SEARCH", {"open_by_handle_at"}},
      {"CAP_SYS_ADMIN", {"bpf",           "clone3",      "fanotify_init",   "fsconfig", "fsmount",
                         "fsopen",        "fspick",      "lookup_dcookie",  "mount",    "mount_setattr",
                         "move_mount",    "open_tree",   "perf_event_open", "quotactl", "quotactl_fd",
                         "setdomainname", "sethostname", "setns",           "syslog",   "umount",
                         "umount2",       "unshare"}},
      {"CAP_SYS_BOOT", {"reboot", "kexec_load", "kexec_file_load"}},
      {"CAP_SYS_CHROOT", {"chroot", "pivot_root"}},
      {"CAP_SYS_MODULE", {"delete_module", "init_module", "finit_module"}},
      {"CAP_SYS_PACCT", {"acct"}},
      {"CAP_SYS_PTRACE", {"kcmp", "process_madvise"}},
      {"CAP_SYS_RAWIO", {"iopl", "ioperm"}},
      {"CAP_SYS_TIME", {"settimeofday", "stime", "clock_settime", "clock_settime64"}},
      {"CAP_SYS_TTY_CONFIG", {"vhangup"}},
      {"CAP_SYS_NICE",
       {"get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "move_pages"}},
      {"CAP_SYSLOG", {"syslog"}},
      {"CAP_BPF", {"bpf"}},
      {"CAP_PERFMON", {"perf_event_open"}},
  };
  return all;
}
// Refused with EPERM to everybody, as programs expect, rather than ENOSYS.
constexpr const char* kRefused[] = {
    "add_key",        "keyctl",     "request_key", "io_uring_enter", "io_uring_register",
    "io_uring_setup", "nfsservctl", "swapon",      "swapoff",        "uselib",
    "userfaultfd",    "ustat",      "vm86",        "vm86old"};

json::object rule(json::array names, const char* action, int errno_value = 0) {
  json::object out{{"names", std::move(names)}, {"action", action}};
  if (errno_value) out["errnoRet"] = errno_value;
  return out;
}
json::object condition(int index, uint64_t value, const char* op, uint64_t second = 0) {
  json::object out{{"index", index}, {"value", value}, {"op", op}};
  if (second) out["valueTwo"] = second;
  return out;
}

json::array strings(std::initializer_list<const char*> list) {
  json::array out;
  for (const char* s : list) out.push_back(json::value(s));
  return out;
}
json::object mount(const char* destination, const char* type, const char* source,
                   std::initializer_list<const char*> options) {
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", strings(options)}};
}

}  // namespace

const std::vector<std::string>& default_capabilities() {
  static const std::vector<std::string> list = {
      "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
      "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
      "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};
  return list;
}

std::vector<std::string> all_capabilities() {
  std::vector<std::string> out;
  for (int number = 0; number <= last_capability(); ++number)
    if (::prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1) out.push_back(capability_name(number));
  return out;
}

json::array host_devices() {
  json::array out;
  std::error_code error;
  auto it = std::filesystem::recursive_directory_iterator("/dev", error);
  for (; !error && it != std::filesystem::recursive_directory_iterator() && out.size() < 512;
       it.increment(error)) {
    const std::string path = it->path().string();
    for (const char* skip : {"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd"})
      if (path == skip) it.disable_recursion_pending();
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) ||
        path == "/dev/console" || path.starts_with("/dev/pts/"))
      continue;
    out.push_back(json::object{{"path", path},
                               {"type", S_ISCHR(st.st_mode) ? "c" : "b"},
                               {"major", major(st.st_rdev)},
                               {"minor", minor(st.st_rdev)},
                               {"fileMode", st.st_mode & 0777},
                               {"uid", st.st_uid},
                               {"gid", st.st_gid}});
  }
  return out;
}

base::json::value default_seccomp(const std::vector<std::string>& capabilities) {
  auto has = [&](std::string_view name) {
    return std::find(capabilities.begin(), capabilities.end(), name) != capabilities.end();
  };
  json::array allowed;
  for (const char* name : kAllowed) allowed.push_back(json::value(name));
  json::array refused;
  for (const char* name : kRefused) refused.push_back(json::value(name));
  std::vector<std::string> opened;
  for (const Gate& gate : gates())
    if (has(gate.capability)) opened.insert(opened.end(), gate.calls.begin(), gate.calls.end());
  std::vector<std::string> closed;
  for (const Gate& gate : gates())
    for (const char* call : gate.calls)
      if (std::find(opened.begin(), opened.end(), call) == opened.end() &&
          std::find(closed.begin(), closed.end(), call) == closed.end() && std::string_view(call) != "clone3")
        closed.push_back(call);
  for (const std::string& call : opened) allowed.push_back(json::value(call));
  for (const std::string& call : closed) refused.push_back(json::value(call));

  json::array calls;
  bool admin = has("CAP_SYS_ADMIN");
  if (admin) {
    allowed.push_back("clone");
  } else {
    // New namespaces are CAP_SYS_ADMIN's (also behind a user namespace): CLONE_NEW… of clone's
    // flags. clone3 has them in memory, where a filter can't look: ENOSYS makes libc use clone.
    json::object clone = rule({"clone"}, "SCMP_ACT_ALLOW");
    clone["args"] = json::array{condition(0, 0x7E020000, "SCMP_CMP_MASKED_EQ")};
    clone["args"].as_array()[0].as_object()["valueTwo"] = 0;
    calls.push_back(std::move(clone));
    calls.push_back(rule({"clone3"}, "SCMP_ACT_ERRNO", 38));
  }
  // AF_VSOCK reaches the hypervisor past every network namespace.
  json::object socket = rule({"socket"}, "SCMP_ACT_ALLOW");
  socket["args"] = json::array{condition(0, 40, "SCMP_CMP_NE")};
  calls.push_back(std::move(socket));
  for (uint64_t persona :
       {uint64_t{0}, uint64_t{8}, uint64_t{0x20000}, uint64_t{0x20008}, uint64_t{0xffffffff}}) {
    json::object personality = rule({"personality"}, "SCMP_ACT_ALLOW");
    personality["args"] = json::array{condition(0, persona, "SCMP_CMP_EQ")};
    calls.push_back(std::move(personality));
  }
  calls.insert(calls.begin(), json::value(rule(std::move(allowed), "SCMP_ACT_ALLOW")));
  calls.push_back(rule(std::move(refused), "SCMP_ACT_ERRNO", 1));
  json::object profile{{"defaultAction", "SCMP_ACT_ERRNO"}, {"defaultErrnoRet", 38}};
#if defined(__x86_64__)
  profile["architectures"] = strings({"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"});
#elif defined(__aarch64__)
  profile["architectures"] = strings({"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"});
#endif
  profile["syscalls"] = std::move(calls);
  return profile;
}

base::json::object default_config() {
  json::array capabilities;
  for (const std::string& name : default_capabilities()) capabilities.push_back(json::value(name));
  json::object sets{{"bounding", capabilities}, {"effective", capabilities}, {"permitted", capabilities}};
  json::array namespaces;
  for (const char* type : {"pid", "network", "ipc", "uts", "mount", "cgroup"})
    namespaces.push_back(json::object{{"type", type}});
  json::object out;
  out["ociVersion"] = kOciVersion;
  out["process"] =
      json::object{{"user", json::object{{"uid", 0}, {"gid", 0}}},
                   {"args", strings({"sh"})},
                   {"env", strings({"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})},
                   {"cwd", "/"},
                   {"capabilities", std::move(sets)},
                   {"noNewPrivileges", false}};
  out["root"] = json::object{{"path", "rootfs"}, {"readonly", false}};
  out["mounts"] = json::array{
      mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
      mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      mount("/dev/pts", "devpts", "devpts",
            {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
      mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
      mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
      mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"})};
  out["linux"] = json::object{
      {"namespaces", std::move(namespaces)},
      {"resources",
       json::object{{"devices", json::array{json::object{{"allow", false}, {"access", "rwm"}}}}}},
      {"maskedPaths",
       strings({"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"})},
      {"readonlyPaths", strings({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"})}};
  return out;
}

}  // namespace runtime
