#include "cli/foreground.h"

#include <fcntl.h>

#include <csignal>

#include "base/sys.h"
#include "cli/await.h"

namespace cli {

using runtime::Pod;

namespace {

// Blocks them from now on; `pass` is called for each but the one about the window.
base::Result<base::Loop::Handle> listen_to_signals(base::Loop& loop, const Foreground& options,
                                                   Streams& streams, std::function<void(int)> pass) {
  std::vector<int> signals = options.pass_signals ? passed_signals() : std::vector<int>();
  signals.push_back(SIGWINCH);
  return loop.on_signals(signals, [&streams, pass](int signal) {
    if (signal == SIGWINCH) streams.resize();
    else pass(signal);
  });
}

void ignore_status(base::Status status) { base::ignore(status, "it may have ended by itself"); }

}  // namespace

base::Result<std::optional<runtime::ContainerState>> follow_container(base::Loop& loop, Pod& pod,
                                                                      const Ending& ending,
                                                                      Pod::Attached ends,
                                                                      const Foreground& options) {
  bool detached = false;
  Streams streams(loop, std::move(ends), options.streams);
  streams.on_detach = [&] { detached = true; };
  auto signals = TRY(listen_to_signals(loop, options, streams,
                                       [&](int signal) { pod.signal(kContainer, signal, ignore_status); }));
  bool ended = false;
  while (!detached && !(ending.exit && streams.finished()) && !ending.lost) {
    loop.run_once(std::chrono::hours(1));
    if (!streams.broken() || ended) continue;
    if (!options.ends_with_output)
      return base::make_error(base::Kind::kUnavailable, "write output", {}, "nobody reads it any more");
    // As SIGPIPE would end what wrote into a pipe without a reader; a container's first process can ignore
    // every signal but this one.
    ended = true;
    pod.signal(kContainer, SIGKILL, ignore_status);
  }
  if (ended && ending.exit) {
    runtime::ContainerState exit = *ending.exit;
    exit.exit_code = kNobodyReads;
    return std::optional(exit);
  }
  if (detached) return std::optional<runtime::ContainerState>();
  if (ending.lost) {
    // What it wrote before is in the pipes.
    streams.drain();
    if (!ending.exit)
      return base::make_error(base::Kind::kUnavailable, "follow container", pod.id(),
                              "its sampan-pod has ended, and every process with it");
  }
  return ending.exit;
}

base::Result<std::optional<int>> run_exec(base::Loop& loop, Pod& pod, base::json::value process,
                                          bool terminal, const Foreground& options, bool detach) {
  Pod::Exec exec;
  exec.container = kContainer;
  exec.process = std::move(process);
  exec.terminal = terminal;
  Pod::Attached ends;
  base::sys::Pipe in, out, err;
  // Pipes of our own, never our descriptors: a terminal that both sides have is a way out.
  if (!terminal && !detach) {
    out = TRY(base::sys::pipe());
    err = TRY(base::sys::pipe());
    exec.stdout_fd = out.write.get();
    exec.stderr_fd = err.write.get();
    if (options.streams.interactive) {
      in = TRY(base::sys::pipe());
      exec.stdin_fd = in.read.get();
    }
  }
  std::optional<int> code;
  bool lost = false, detached = false;
  pod.on_lost = [&] { lost = true; };
  auto started = TRY(await<Pod::ExecStarted>(loop, [&](auto done) {
    pod.exec(std::move(exec), std::move(done), [&code](int exit_code) { code = exit_code; });
  }));
  if (detach) return std::optional<int>(0);
  if (terminal) {
    ends.terminal = std::move(started.terminal);
    ends.out = base::UniqueFd(::fcntl(ends.terminal.get(), F_DUPFD_CLOEXEC, 0));
  } else {
    ends.in = std::move(in.write);
    ends.out = std::move(out.read);
    ends.err = std::move(err.read);
    in.read.reset();
    out.write.reset();
    err.write.reset();
  }
  Streams streams(loop, std::move(ends), options.streams);
  streams.on_detach = [&] { detached = true; };
  auto signals = TRY(listen_to_signals(
      loop, options, streams, [&](int signal) { pod.signal_exec(started.exec_id, signal, ignore_status); }));
  bool ended = false;
  while (!code && !lost && !detached) {
    loop.run_once(std::chrono::hours(1));
    if (!streams.broken() || ended) continue;
    ended = true;
    pod.signal_exec(started.exec_id, SIGKILL, ignore_status);
  }
  pod.on_lost = nullptr;
  if (detached) return std::optional<int>();
  // Written before it ended; a background process of its own may hold the pipes for ever.
  streams.drain();
  if (ended) return std::optional<int>(kNobodyReads);
  return code ? code : std::optional<int>(137);
}

}  // namespace cli
