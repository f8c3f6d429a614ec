// The least that a container costs on this kernel: one clone3 with the namespaces of a full
// container, a root, its own /proc, pivot_root, execve, wait. No configuration, cgroup, limits,
// masks, capabilities, filter or state. floor ROOTFS PROGRAM
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>

namespace {

long attach(long mount, const char* target) {
  return ::syscall(SYS_move_mount, mount, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
}

[[noreturn]] void contain(const char* rootfs, char* program) {
  bool ok = ::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) == 0;
  long root = ::syscall(SYS_open_tree, AT_FDCWD, rootfs, OPEN_TREE_CLONE | AT_RECURSIVE | OPEN_TREE_CLOEXEC);
  ok = ok && root >= 0 && attach(root, rootfs) == 0 && ::fchdir(static_cast<int>(root)) == 0;
  long fs = ::syscall(SYS_fsopen, "proc", 1u);
  ok = ok && ::syscall(SYS_fsconfig, fs, 6u, nullptr, nullptr, 0) == 0;  // FSCONFIG_CMD_CREATE
  ok = ok && attach(::syscall(SYS_fsmount, fs, 1u, 0u), "proc") == 0;
  ok = ok && ::syscall(SYS_pivot_root, ".", ".") == 0 && ::umount2(".", MNT_DETACH) == 0;
  char* argv[] = {program, nullptr};
  char* envp[] = {nullptr};
  if (ok) ::execve(program, argv, envp);
  std::perror("floor");
  ::_exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  clone_args arguments{};
  arguments.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  arguments.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) contain(argv[1], argv[2]);
  int status = 1;
  if (pid < 0 || ::waitpid(static_cast<pid_t>(pid), &status, 0) < 0) std::perror("floor");
  return status != 0;
}
