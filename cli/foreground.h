// A container or an exec in the foreground: streams joined, signals passed on, until it ends or is
// let go.
#pragma once

#include <optional>

#include "base/loop.h"
#include "cli/container_life.h"
#include "cli/streams.h"

namespace cli {

struct Foreground {
  StreamOptions streams;
  bool pass_signals = true;
  bool ends_with_output = true;  // nobody reads us any more: the container is ended, too
};
constexpr int kNobodyReads = 126;  // the exit code then
// How it ended; nothing when the detach keys were typed.
base::Result<std::optional<runtime::ContainerState>> follow_container(base::Loop& loop, runtime::Pod& pod,
                                                                      const Ending& ending,
                                                                      runtime::Pod::Attached ends,
                                                                      const Foreground& options);
// Runs `process` in the container; its exit code, nothing when let go. Without `ends` wanted
// (detach) returns at once.
base::Result<std::optional<int>> run_exec(base::Loop& loop, runtime::Pod& pod, base::json::value process,
                                          bool terminal, const Foreground& options, bool detach);

}  // namespace cli
