// sampan-oci: the runtime behind the OCI command line. Static, single-threaded; prints an error
// once, to stderr and to --log.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "runtime/launch/entry.h"
#include "runtime/launch/launch.h"
#include "runtime/oci/commands.h"
#include "runtime/oci/log.h"
#include "runtime/oci/rootless.h"
#include "runtime/spec/config.h"

const char* const runtime::kProtectedCommands[] = {"create", "run", "exec", nullptr};

namespace {

using runtime::OciContext;
using runtime::Options;

base::Result<int> dispatch(std::string_view name, const OciContext& context) {
  if (name == "create") return runtime::oci_create(context);
  if (name == "run") return runtime::oci_run(context);
  if (name == "start") return runtime::oci_start(context);
  if (name == "state") return runtime::oci_state(context);
  if (name == "kill") return runtime::oci_kill(context);
  if (name == "delete") return runtime::oci_delete(context);
  if (name == "exec") return runtime::oci_exec(context);
  if (name == "list") return runtime::oci_list(context);
  if (name == "ps") return runtime::oci_ps(context);
  if (name == "pause") return runtime::oci_pause(context, true);
  if (name == "resume") return runtime::oci_pause(context, false);
  if (name == "update") return runtime::oci_update(context);
  if (name == "spec") return runtime::oci_spec(context);
  if (name == "events") return runtime::oci_events(context);
  if (name == "checkpoint") return runtime::oci_checkpoint(context);
  if (name == "restore") return runtime::oci_restore(context);
  return runtime::oci_features();
}

// Of a call that cannot be read; a failure is 1, and whatever goes wrong with exec 255, as engines expect.
constexpr int kWrongCall = 2;

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  std::span<char* const> words(argv + 1, static_cast<size_t>(argc > 0 ? argc - 1 : 0));
  std::string program = argc > 0 ? argv[0] : "sampan-oci";
  program.erase(0, program.rfind('/') + 1);
  auto global = Options::parse(runtime::kGlobalOptions, words, false);
  if (!global.ok()) {
    runtime::OciLog().error(global.error().message());
    return kWrongCall;
  }
  if (global->has("version")) {
    std::printf("%s version 0.1.0\ncommit: none\nspec: %s\n", program.c_str(), runtime::kOciVersion);
    return 0;
  }
  if (global->has("help") || global->arguments.empty()) {
    std::fputs(runtime::usage_text(program).c_str(), global->has("help") ? stdout : stderr);
    return global->has("help") ? 0 : kWrongCall;
  }
  auto log = runtime::OciLog::make(*global);
  if (!log.ok()) {
    runtime::OciLog().error(log.error().message());
    return log.error().cause ? 1 : kWrongCall;  // a file that can't be written is no wrong call
  }
  std::string name = global->arguments[0];
  const runtime::CommandRow* command = runtime::find_command(name);
  if (!command) {
    log->error("No help topic for '" + name + "': unknown command: see sampan-oci --help");
    return kWrongCall;
  }
  auto rest = words.last(global->arguments.size() - 1);
  for (const char* word : rest) {
    if (std::string_view(word) == "--") break;
    if (std::string_view(word) == "--help" || std::string_view(word) == "-h") {
      std::fputs(runtime::usage_text(program, *command).c_str(), stdout);
      return 0;
    }
    if (word[0] != '-') break;
  }
  // A command's words of its own follow for exec and ps.
  bool interleaved = name != "exec" && name != "ps";
  auto options = Options::parse(command->options, rest, interleaved);
  if (!options.ok()) {
    log->error(options.error().message());
    return name == "exec" ? 255 : kWrongCall;
  }
  if (options->arguments.size() < command->min_arguments ||
      options->arguments.size() > command->max_arguments) {
    log->error(
        fmt::format("{}: expected {}", name, *command->arguments ? command->arguments : "no arguments"));
    return name == "exec" ? 255 : kWrongCall;
  }
  if (name == "create" || name == "run" || name == "exec")
    if (auto safe = runtime::protect_own_program(argv); !safe.ok()) {
      log->error(safe.error().message());
      return 1;
    }
  OciContext context{runtime::OciStore(global->get("root", runtime::default_state_root())),
                     std::move(*options), &*log, global->has("systemd-cgroup"), global->get("criu", "criu")};
  auto result = dispatch(name, context);
  std::fflush(stdout);
  if (result.ok()) return *result;
  std::string message = result.error().message();
  log->error(name == "exec" ? "exec failed: " + message : message);
  return name == "exec" ? 255 : 1;
}
