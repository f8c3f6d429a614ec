// Starting programs of the host (nft, sampan-pod, sampan image) without a shell and without fork:
// posix_spawn, which is safe in a threaded daemon. Containers are never started here.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace base {

struct Command {
  std::vector<std::string> argv;                        // argv[0] is searched in PATH unless absolute
  std::string program;                                  // what is started under the name argv[0]; "": argv[0]
  std::string directory;                                // to start in; "": ours
  std::optional<std::vector<std::string>> environment;  // "KEY=value"; absent: ours
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1;    // -1: /dev/null for stdin, inherited otherwise
  std::vector<std::pair<int, int>> extra_fds;           // {ours, number in the child}, child's >= 3
  bool new_session = false;                             // setsid
};
struct Child {
  pid_t pid = -1;
  UniqueFd pidfd;
};
Result<Child> spawn(const Command& command);
// Exit status in wait(2)'s sense as {code, signal}; blocks until the child ended.
struct ExitStatus {
  int code = -1;  // valid when signal == 0
  int signal = 0;
};
Result<ExitStatus> wait_child(const Child& child);

// Runs to the end with `input` on stdin and returns what it printed. Blocks; for short commands.
struct Output {
  ExitStatus status;
  std::string out, err;
};
Result<Output> run_command(const std::vector<std::string>& argv, std::string_view input = {},
                           size_t limit_bytes = 16u << 20);

}  // namespace base
