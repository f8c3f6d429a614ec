// sampan: the one command people type. This file only puts the commands together.
#include <csignal>

#include "base/log.h"
#include "cli/container_commands.h"
#include "cli/store.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("Linux containers and Pods, steered through the Kubernetes API", "sampan");
  app.set_version_flag("--version", std::string("sampan ") + SAMPAN_VERSION);
  app.require_subcommand(1);
  base::log::Level level = base::log::Level::kWarning;
  app.add_option_function<std::string>(
         "--log-level",
         [&](const std::string& text) {
           if (!base::log::parse_level(text, &level))
             throw CLI::ValidationError("--log-level", "debug, info, warning or error");
           base::log::init("sampan", level);
         },
         "debug, info, warning or error")
      ->default_str("warning");
  cli::Outcome outcome;
  cli::Places places;
  cli::add_places(app, places);
  cli::add_run(app, outcome, places);
  cli::add_exec(app, outcome, places);
  cli::add_ps(app, outcome, places);
  cli::add_lifecycle(app, outcome, places);
  cli::add_logs(app, outcome, places);
  cli::add_stats(app, outcome, places);
  cli::add_cp(app, outcome, places);
  cli::add_image(app, outcome, places);
  cli::add_kubeconfig(app, outcome);
  cli::add_doctor(app, outcome);
  cli::add_store(app, outcome);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.get_subcommands().empty() &&
        (dynamic_cast<const CLI::RequiredError*>(&error) || dynamic_cast<const CLI::ExtrasError*>(&error)))
      return cli::no_command(app);
    if (app.exit(error) == 0) return 0;
    return cli::asks_for_containers(app) ? 125 : 2;
  }
  return outcome.exit_code;
}
