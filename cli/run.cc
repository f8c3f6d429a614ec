// sampan run, create, start, attach, restart: containers begin, in the foreground or not.
#include <fcntl.h>
#include <unistd.h>

#include "base/printable.h"
#include "base/sys.h"
#include "cli/await.h"
#include "cli/container_commands.h"
#include "cli/container_life.h"
#include "cli/container_network.h"
#include "cli/container_store.h"
#include "cli/foreground.h"
#include "cli/image_use.h"
#include "cli/run_facts.h"

namespace cli {

namespace sys = base::sys;
using base::Kind;

namespace {

// Everything but the start: the record is there, the image pinned, the volumes made.
base::Result<Record> create(const Places& places, const RunOptions& options) {
  PlanFacts facts = TRY(gather_facts(places, options));
  Record record = TRY(plan_container(options, facts));
  TRY(check_sources(places, record));
  TRY(create_container(places, record, !record.remove));
  auto rest = [&]() -> base::Status {
    TRY(runtime::pin_image(places.image_root(), record.id, record.image_digest));
    TRY(make_volumes(places, record));
    if (options.cid_file.empty()) return {};
    auto fd = sys::open(options.cid_file, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (!fd.ok()) return base::wrap(fd.error(), "write --cidfile", options.cid_file);
    return sys::write_all(fd->get(), record.id);
  }();
  if (rest.ok()) return record;
  base::ignore(remove_container(places, record.id), "the first error counts; rm -f finishes");
  return rest.error();
}

Foreground foreground(const RunOptions& options, bool interactive) {
  Foreground out;
  out.streams.interactive = interactive;
  out.streams.detach_keys = parse_detach_keys(options.detach_keys).value_or("");
  out.pass_signals = options.sig_proxy;
  return out;
}

// Follows what was started to its end; the exit code. The lock is not held meanwhile.
base::Result<int> follow(base::Loop& loop, const Places& places, const Record& record, Started started,
                         const Foreground& options) {
  auto exit = follow_container(loop, *started.pod, *started.ending, std::move(started.attached), options);
  if (exit.ok() && !*exit) return 0;  // let go: it runs on
  auto lock = lock_container(places, record.id);
  if (!lock.ok())
    return exit.ok() ? base::Result<int>((*exit)->exit_code) : exit.error();  // removed by somebody
  Seen seen;
  seen.state = read_state(places, record.id);
  if (exit.ok()) seen.state = with_exit(seen.state, **exit);
  if (!exit.ok()) {
    seen = TRY(observe_container(loop, places, record.id));
    if (seen.runs()) return exit.error();
  }
  seen.pod = std::move(started.pod);
  int code = seen.state.exit_code;
  if (exit.ok() && restarts(record.restart, seen.state))
    return code;  // sampan-pod's cleanup does, once we are gone
  if (record.remove) {
    TRY(remove_ended(loop, places, record, std::move(seen)));
  } else {
    TRY(settle_container(loop, places, record, std::move(seen)));
  }
  return code;
}

int run(const Places& places, const RunOptions& options) {
  auto report = [](const base::Error& error) {
    std::fprintf(stderr, "sampan: %s\n", base::printable_line(error.message()).c_str());
    return start_exit_code(error);
  };
  if (auto keys = parse_detach_keys(options.detach_keys); !keys.ok()) return report(keys.error());
  auto record = create(places, options);
  if (!record.ok()) return report(record.error());
  base::Loop loop;
  auto started = [&]() -> base::Result<Started> {
    base::UniqueFd lock = TRY(lock_container(places, record->id));
    auto begun = start_container(loop, places, *record, !options.detach);
    if (!begun.ok() && record->remove)
      base::ignore(remove_container(places, record->id), "the first error counts; rm -f finishes");
    return begun;
  }();
  if (!started.ok()) return report(started.error());
  if (options.detach) {
    print(record->id + "\n");
    return 0;
  }
  auto code = follow(loop, places, *record, std::move(*started), foreground(options, options.interactive));
  return code.ok() ? *code : report(code.error());
}

struct StartOptions {
  bool attach = false, interactive = false, all = false;
  std::vector<std::string> names;
  RunOptions run;  // for --sig-proxy and --detach-keys
};

base::Result<int> start_one(const Places& places, const StartOptions& options, const std::string& id) {
  Record record = TRY(read_record(places, id));
  base::Loop loop;
  bool attach = options.attach || options.interactive;
  Started started;
  {
    base::UniqueFd lock = TRY(lock_container(places, id));
    if (TRY(observe_container(loop, places, id)).runs() && !attach) return 0;
    started = TRY(start_container(loop, places, record, attach));
  }
  if (!attach) return 0;
  return follow(loop, places, record, std::move(started), foreground(options.run, options.interactive));
}

void start(Outcome& outcome, const Places& places, const StartOptions& options) {
  if (options.attach || options.interactive) {
    if (options.names.size() != 1)
      return fail(outcome, base::make_error(Kind::kInvalid, "start container", "",
                                            "only one at a time can be attached to"));
    auto id = find_container(places, options.names[0]);
    if (!id.ok()) return fail(outcome, id.error());
    auto code = start_one(places, options, *id);
    if (!code.ok()) return fail(outcome, code.error(), start_exit_code(code.error()));
    outcome.exit_code = *code;
    return;
  }
  for_each_container(outcome, places, options.names, options.all, [&](const std::string& id) -> base::Status {
    TRY(start_one(places, options, id));
    return {};
  });
}

void attach(Outcome& outcome, const Places& places, const StartOptions& options) {
  auto code = [&]() -> base::Result<int> {
    std::string id = TRY(find_container(places, options.names.at(0)));
    Record record = TRY(read_record(places, id));
    base::Loop loop;
    Seen seen = TRY(observe_container(loop, places, id));
    if (!seen.runs())
      return base::make_error(Kind::kConflict, "attach to container", options.names[0], "it is not running",
                              "sampan start -a starts it");
    auto ends = TRY(await<runtime::Pod::Attached>(loop, [&](auto done) {
      seen.pod->attach(kContainer, runtime::Pod::SlowReader::kIsAwaited, std::move(done));
    }));
    Foreground how = foreground(options.run, record.open_stdin);
    how.ends_with_output = false;  // others may be attached, too
    auto exit = TRY(follow_container(loop, *seen.pod, *seen.ending, std::move(ends), how));
    return exit ? exit->exit_code : 0;
  }();
  if (!code.ok()) return fail(outcome, code.error());
  outcome.exit_code = *code;
}

void add_start(CLI::App& app, Outcome& outcome, Places& places) {
  auto options = std::make_shared<StartOptions>();
  CLI::App* command = app.add_subcommand("start", "Start containers that have ended or were created");
  command->add_flag("-a,--attach", options->attach, "In the foreground");
  command->add_flag("-i,--interactive", options->interactive, "Our standard input is its own");
  command->add_flag("--sig-proxy", options->run.sig_proxy, "Our signals go to it (yes)");
  command->add_option("--detach-keys", options->run.detach_keys, "Leave it running: ctrl-p,ctrl-q");
  command->add_flag("--all", options->all, "Every container that is not running");
  command->add_option("container", options->names, "Names or ids");
  command->callback([=, &outcome, &places] { start(outcome, places, *options); });

  auto attached = std::make_shared<StartOptions>();
  command = app.add_subcommand("attach", "Join a running container's input and output");
  command->add_flag("--sig-proxy", attached->run.sig_proxy, "Our signals go to it (yes)");
  command->add_option("--detach-keys", attached->run.detach_keys, "Leave it running: ctrl-p,ctrl-q");
  command->add_option("container", attached->names, "Name or id")->required()->expected(1);
  command->callback([=, &outcome, &places] { attach(outcome, places, *attached); });

  auto again = std::make_shared<StartOptions>();
  auto seconds = std::make_shared<std::optional<int>>();
  command = app.add_subcommand("restart", "Stop containers and start them again");
  command->add_option("-t,--time", *seconds, "Seconds until they are killed; -1: wait");
  command->add_flag("-a,--all", again->all, "Every container");
  command->add_option("container", again->names, "Names or ids");
  command->callback([=, &outcome, &places] {
    for_each_container(outcome, places, again->names, again->all, [&](const std::string& id) -> base::Status {
      base::Loop loop;
      TRY(stop_container(loop, places, id, *seconds));
      TRY(start_one(places, *again, id));
      return {};
    });
  });
}

}  // namespace

void add_run(CLI::App& app, Outcome& outcome, Places& places) {
  for (bool runs : {true, false}) {
    auto options = std::make_shared<RunOptions>();
    CLI::App* command =
        app.add_subcommand(runs ? "run" : "create", runs ? "Run a command in a new container"
                                                         : "Make a container without starting it");
    add_run_options(*command, *options, runs);
    command->callback([=, &outcome, &places] {
      if (auto taken = take_operands(*command, "IMAGE", options->image, options->command); !taken.ok())
        return fail(outcome, taken.error());
      if (runs) {
        outcome.exit_code = run(places, *options);
        return;
      }
      auto record = create(places, *options);
      if (!record.ok()) return fail(outcome, record.error());
      print(record->id + "\n");
    });
  }
  add_start(app, outcome, places);
  auto id = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("cleanup", "What sampan-pod runs after an exit that nobody watched")->group("");
  command->add_option("id", *id)->required();
  command->callback([=, &outcome, &places] {
    base::Loop loop;
    if (auto done = clean_up_container(loop, places, *id); !done.ok()) fail(outcome, done.error());
  });
}

}  // namespace cli
