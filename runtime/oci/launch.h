// What create, run, exec and restore share of the command line: the terminal's way, the pid file, fds
// that are passed on, and the hooks after the start. Acts; single-threaded.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/launch/launch.h"
#include "runtime/oci/options.h"
#include "runtime/oci/state.h"
#include "runtime/spec/config.h"

namespace runtime {

base::Error invalid_option(std::string what, std::string why, std::string hint = {});
base::Result<std::string> absolute_path(const std::string& path);

// Where the pty's master goes: to the caller's socket, or to us, who stay and copy.
struct Console {
  base::UniqueFd give;  // for the launch
  base::UniqueFd take;  // ours, when we stay
};
base::Result<Console> make_console(const Options& options, bool terminal, bool detach);
base::Result<base::UniqueFd> take_terminal(Console& console);
// What a hook or the program said before the launch failed would be lost with the terminal.
void show_terminal(Console& console);

// Of linux.seccomp, or of the annotation in its place; null: none.
struct ContainerFilter {
  Filter filter;
  uint64_t flags = 0;
  bool listener = false;
};
base::Result<ContainerFilter> container_filter(const Config& config, const std::string& cache);

// The bundle, or "/" where it is gone, and the files that annotations name: open as long as this lives.
struct HookFiles {
  HookPlace place;
  base::UniqueFd out, err;
};
base::Result<HookFiles> open_hook_files(const Config& config, const std::string& bundle);

base::Status write_pid_file(const Options& options, pid_t pid);
base::Status give_pidfd(const Options& options, const Config& config, const Launched& launched);
// How many fds from 3 on are the container's; tells it of those of socket activation.
base::Result<int> preserved_fds(const Options& options, Process& process);
base::Status run_poststart(const Config& config, const OciState& state);

}  // namespace runtime
