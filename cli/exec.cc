// sampan exec: another command in a running container.
#include "base/sys.h"
#include "cli/container_commands.h"
#include "cli/container_life.h"
#include "cli/container_store.h"
#include "cli/foreground.h"
#include "cli/run_facts.h"

namespace cli {

namespace {

base::Result<int> exec(const Places& places, const ExecOptions& options) {
  std::string id = TRY(find_container(places, options.container));
  Record record = TRY(read_record(places, id));
  base::json::value process =
      TRY(plan_exec_process(options, record, TRY(gather_exec_facts(places, options, record))));
  Foreground how;
  how.streams.interactive = options.interactive;
  how.streams.detach_keys = TRY(parse_detach_keys(options.detach_keys));
  base::Loop loop;
  Seen seen = TRY(observe_container(loop, places, id));
  if (seen.state.phase == State::Phase::kPaused)
    return base::make_error(base::Kind::kConflict, "exec in container", record.name, "it is paused",
                            "sampan unpause lets it go on");
  if (!seen.runs())
    return base::make_error(base::Kind::kConflict, "exec in container", record.name, "it is not running",
                            "sampan start starts it");
  auto code = TRY(run_exec(loop, *seen.pod, std::move(process), options.tty, how, options.detach));
  return code.value_or(0);
}

}  // namespace

void add_exec(CLI::App& app, Outcome& outcome, Places& places) {
  auto options = std::make_shared<ExecOptions>();
  CLI::App* command = app.add_subcommand("exec", "Run another command in a running container");
  command->prefix_command();
  command->add_flag("-i,--interactive", options->interactive, "Our standard input is its own");
  command->add_flag("-t,--tty", options->tty, "It has a terminal");
  command->add_flag("-d,--detach", options->detach, "In the background");
  command->add_flag("--privileged", options->privileged, "With every capability");
  for (auto [flag, to, help] : {std::tuple("-e,--env", &options->env, "NAME=VALUE, or NAME as it is here"),
                                std::tuple("--env-file", &options->env_files, "A file of them")})
    command->add_option(flag, *to, help)
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("-w,--workdir", options->workdir, "Where it begins");
  command->add_option("-u,--user", options->user, "NAME|UID[:GROUP|GID]");
  command->add_option("--detach-keys", options->detach_keys, "Leave it running: ctrl-p,ctrl-q");
  command->footer("Operands: CONTAINER COMMAND [ARGUMENT…]");
  command->callback([=, &outcome, &places] {
    if (auto taken = take_operands(*command, "CONTAINER", options->container, options->command); !taken.ok())
      return fail(outcome, taken.error());
    auto code = exec(places, *options);
    if (!code.ok()) return fail(outcome, code.error(), start_exit_code(code.error()));
    outcome.exit_code = *code;
  });
}

}  // namespace cli
