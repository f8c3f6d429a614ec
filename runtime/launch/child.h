// What the child between clone and execve works with: fds and buffers prepared by the parent.
// Functions named child_… make system calls only: no allocation, no locks, no stdio; they return
// 0 or -errno.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "runtime/launch/step.h"

namespace runtime {

struct Child {
  // Prepared by the parent; fds are close-on-exec.
  int socket = -1;             // SOCK_SEQPACKET to the parent
  int parent_socket = -1;      // the parent's end: closed first, or its death goes unseen
  const int* tasks = nullptr;  // cgroup v1 `tasks` files
  size_t tasks_count = 0;
  const int* namespaces = nullptr;  // one per kJoinNamespace, in order
  uint64_t joined = 0;              // CLONE_NEW…: of those to join, the ones that we are in already
  const int* sources = nullptr;     // detached trees, one per kSourceFromParent, in order
  size_t sources_used = 0;
  int container = -1;           // pidfd for kJoinContainer
  int stdio[3] = {-1, -1, -1};  // -1: leave what is there
  int console_socket = -1;      // gets the pty's master (SCM_RIGHTS)
  bool plain_newlines = false;  // the terminal adds no carriage returns
  int host_ptmx = -1;           // master made by the parent when /dev/pts is not ours
  int start_fifo = -1;
  volatile bool* exec_reached = nullptr;  // on a page shared with the parent
  sock_fprog seccomp{};
  uint64_t seccomp_flags = 0;
  char* const* const* argvs = nullptr;  // [0] the container's, then one per kHook
  char* const* const* envps = nullptr;
  int hook_out = -1, hook_err = -1;  // of kHook; -1: what is there
  char** home_slot = nullptr;        // of envps[0], the last: null, or `home`
  char home[4096] = "HOME=/";

  // Made by the child.
  int root = -1;          // the new root, as the mount's fd
  int proc = -1;          // the container's own procfs
  int pts = -1;           // the container's own devpts
  dev_t proc_device = 0;  // of proc
  int parent = -1;        // of the last node or link made, see kept_parent_in_root
  const char* parent_path = "";
  size_t parent_length = 0;
  int null_tree = -1;             // an attached bind of the host's /dev/null
  int empty_tree = -1;            // an attached empty read-only tmpfs
  int terminal = -1;              // the pty's slave
  bool directory_done = false;    // by the early kWorkingDirectory
  const char* program = nullptr;  // found by kFindProgram
  const char* state = "";         // for kHook, from kHookState
  size_t state_size = 0;
};

constexpr size_t kMaxStateBytes = 64 << 10;

// Messages on `socket`, child to parent.
enum class Report : uint32_t { kFailed, kHooks, kReady, kListener, kParentStep };
struct Message {
  Report report;
  uint32_t step;
  int32_t error;  // errno; of kListener: the fd in the child
};

// All of the child's life until execve (runtime/launch/child.cc).
[[noreturn]] void run_child(Child& child, const std::vector<Step>& steps);

}  // namespace runtime
