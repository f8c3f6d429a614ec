// sampan-pod: one per Pod, started by runtime::start_pod. Static and single-threaded; silent (what
// goes wrong is told to the client that asked). Survives whoever started it.
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/loop.h"
#include "base/number.h"
#include "runtime/launch/entry.h"
#include "runtime/launch/launch.h"
#include "runtime/pod/server.h"

const char* const runtime::kProtectedCommands[] = {nullptr};

namespace {

int usage(FILE* out, int code) {
  std::fputs(
      "usage: sampan-pod --id ID --run-dir DIR --connection FD\n"
      "Holds one Pod. Started by sampan-kubelet; the protocol is runtime/pod/protocol.h.\n",
      out);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  std::string id, run_dir;
  int connection = -1;
  for (int i = 1; i < argc; ++i) {
    std::string_view name = argv[i];
    if (name == "--help") return usage(stdout, 0);
    if (name == "--version") {
      std::puts("sampan-pod 0.1.0");
      return 0;
    }
    if (i + 1 >= argc) return usage(stderr, 2);
    const char* value = argv[++i];
    if (name == "--id") id = value;
    else if (name == "--run-dir") run_dir = value;
    else if (name == "--connection") connection = base::parse_number<int>(value).value_or(-1);
    else if (name != "--log-level") return usage(stderr, 2);
  }
  if (id.empty() || run_dir.empty() || connection < 3) return usage(stderr, 2);

  ::signal(SIGPIPE, SIG_IGN);
  if (auto safe = runtime::protect_own_program(argv); !safe.ok()) {
    std::fprintf(stderr, "sampan-pod: %s\n", safe.error().message().c_str());
    return 1;
  }
  // Freed memory goes back to the kernel: there is one of us for every Pod.
  ::mallopt(M_TRIM_THRESHOLD, 64 << 10);
  ::mallopt(M_TOP_PAD, 16 << 10);
  ::mallopt(M_MMAP_THRESHOLD, 64 << 10);
  base::UniqueFd first(::fcntl(connection, F_DUPFD_CLOEXEC, 3));
  ::close(connection);
  // Whatever else our parent left open is nobody's business.
  int devnull = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd : {0, 1, 2}) ::dup2(devnull, fd);
  ::close(devnull);
  if (!first.valid() || ::chdir("/") != 0) return 1;

  base::Loop loop;
  runtime::PodServer server(loop, id, run_dir);
  return server.run(std::move(first)).ok() ? 0 : 1;
}
