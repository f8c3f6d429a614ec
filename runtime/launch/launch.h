// Carries a launch plan out: makes the cgroup, opens what the child needs, clones, and listens to
// the child until it runs the user's program or says which step failed. Blocks for milliseconds;
// for single-threaded programs alone (the child is a copy of the whole process).
#pragma once

#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/seccomp.h"

namespace runtime {

// Where hooks of the runtime's namespaces start, and where goes what hooks print.
struct HookPlace {
  std::string directory;   // "": ours; of the container's own hooks: what they find
  int out = -1, err = -1;  // -1: ours; what one that fails says is in the error then
};
struct LaunchInputs {
  const Process* process = nullptr;
  Filter filter;  // null: none
  uint64_t filter_flags = 0;
  int stdio[3] = {-1, -1, -1};  // -1: ours
  int console_socket = -1;      // with Process::terminal: gets the pty's master
  bool plain_newlines = false;  // of the terminal: who reads it adds the carriage returns
  int start_fifo = -1;          // with wait_start: opened O_RDWR
  int container = -1;           // pidfd of init, for exec
  const Hooks* hooks = nullptr;
  HookPlace hook_place;
  // Called once the process exists and before it does anything that outlives it: write down the
  // pid. An error kills it.
  std::function<base::Status(pid_t)> record;
  std::function<std::string(pid_t)> state;  // the OCI state with this pid, for hooks
  // How long the child may stay silent; zero: for ever. For who has more to do than this launch.
  std::chrono::milliseconds time_limit{0};
  std::function<base::Status(pid_t, int)> listener;  // takes the seccomp listener (not the fd itself)
};
struct Launched {
  pid_t pid = 0;
  base::UniqueFd pidfd;
};
// Returns when execve succeeded, or when the child waits for `start`. On failure nothing of the
// process is left; the cgroup is the caller's to remove.
base::Result<Launched> launch(const LaunchPlan& plan, const LaunchInputs& inputs);

// Runs hooks one after the other with `state` on stdin; the first that fails ends it.
base::Status run_hooks(const std::vector<Hook>& hooks, const char* name, const std::string& state,
                       const HookPlace& place);

// /proc/self/exe must not be writable through a container's /proc: runs the program anew from a
// read-only detached mount of its own file, unless it already is on a read-only mount
// (CVE-2019-5736). Call first in main; returns when there is nothing to do. Also makes us
// undumpable, so that no process of a container that we enter can trace us (CVE-2016-9962).
base::Status protect_own_program(char** argv);
base::Status protect_as_user(char** argv);  // its half for those who may not clone mounts

// Facts of this host, read once.
bool kernel_at_least(int major, int minor);
int own_oom_score_adj();

}  // namespace runtime
