// sampan stop, kill, rm, wait, pause, unpause: containers end.
#include <csignal>

#include "base/printable.h"
#include "base/sys.h"
#include "cli/await.h"
#include "cli/container_commands.h"
#include "cli/container_life.h"
#include "cli/container_store.h"
#include "cli/run_options.h"

namespace cli {

using base::Kind;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void fail(Outcome& outcome, const base::Error& error, int code) {
  std::fflush(stdout);
  std::fprintf(stderr, "sampan: %s\n", base::printable_line(error.message()).c_str());
  outcome.exit_code = code;
}

bool asks_for_containers(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands())
    for (const char* other : {"image", "kubeconfig", "doctor"})
      if (command->get_name() == other) return false;
  return !app.get_subcommands().empty();
}

void for_each_container(Outcome& outcome, const Places& places, const std::vector<std::string>& words,
                        bool all, const std::function<base::Status(const std::string& id)>& each) {
  std::vector<std::string> names = words;
  if (all) {
    auto ids = list_containers(places);
    if (!ids.ok()) return fail(outcome, ids.error());
    names = *ids;
  } else if (names.empty()) {
    return fail(outcome,
                base::make_error(Kind::kInvalid, "read operands", "", "CONTAINER is missing", "see --help"));
  }
  for (const std::string& name : names) {
    auto id = find_container(places, name);
    base::Status done = id.ok() ? each(*id) : base::Status(id.error());
    if (done.ok()) print(name + "\n");
    else fail(outcome, done.error());
  }
}

namespace {

struct Lifecycle {
  std::vector<std::string> names;
  bool all = false, force = false, ignore = false, volumes = false;
  std::optional<int> time;
  std::string signal = "KILL", cid_file;
};

base::Result<Seen> running(base::Loop& loop, const Places& places, const std::string& id,
                           const char* operation) {
  Seen seen = TRY(observe_container(loop, places, id));
  if (!seen.runs()) return base::make_error(Kind::kConflict, operation, short_id(id), "it is not running");
  return seen;
}

base::Status kill_one(const Places& places, const std::string& id, int signal) {
  base::Loop loop;
  Seen seen = TRY(running(loop, places, id, "kill container"));
  if (signal == SIGKILL || signal == SIGTERM) {
    base::UniqueFd lock = TRY(lock_container(places, id));
    State state = read_state(places, id);
    state.stop_requested = true;  // as docker has it: no policy brings it back
    TRY(write_state(places, id, state));
  }
  return await<void>(loop,
                     [&](runtime::Pod::Done done) { seen.pod->signal(kContainer, signal, std::move(done)); });
}

base::Status pause_one(const Places& places, const std::string& id, bool paused) {
  base::Loop loop;
  Seen seen = TRY(running(loop, places, id, paused ? "pause container" : "unpause container"));
  if ((seen.state.phase == State::Phase::kPaused) == paused)
    return base::make_error(Kind::kConflict, paused ? "pause container" : "unpause container", short_id(id),
                            paused ? "it is paused already" : "it is not paused");
  return await<void>(loop,
                     [&](runtime::Pod::Done done) { seen.pod->pause(kContainer, paused, std::move(done)); });
}

base::Result<int> wait_one(const Places& places, const std::string& id) {
  base::Loop loop;
  Seen seen = TRY(observe_container(loop, places, id));
  if (!seen.runs()) return seen.state.exit_code;
  while (!seen.ending->over()) loop.run_once(std::chrono::hours(1));
  return seen.ending->exit ? seen.ending->exit->exit_code : 137;
}

// 1: no such container; 2: it runs; as podman.
void remove(Outcome& outcome, const Places& places, const Lifecycle& options) {
  std::vector<std::string> names = options.names;
  if (options.all) {
    auto ids = list_containers(places);
    if (!ids.ok()) return fail(outcome, ids.error());
    names = *ids;
  }
  if (names.empty() && !options.all)
    return fail(outcome,
                base::make_error(Kind::kInvalid, "read operands", "", "CONTAINER is missing", "see --help"));
  for (const std::string& name : names) {
    base::Loop loop;
    auto id = find_container(places, name);
    base::Status done =
        id.ok() ? destroy_container(loop, places, *id, options.force) : base::Status(id.error());
    bool absent = !done.ok() && done.error().kind == Kind::kNotFound;
    if (done.ok() || (absent && (options.ignore || options.force))) {
      if (done.ok()) print(name + "\n");
      continue;
    }
    fail(outcome, done.error(), absent ? 1 : done.error().kind == Kind::kConflict ? 2 : 125);
  }
}

}  // namespace

void add_lifecycle(CLI::App& app, Outcome& outcome, Places& places) {
  auto add = [&](const char* name, const char* help, auto run) {
    auto options = std::make_shared<Lifecycle>();
    CLI::App* command = app.add_subcommand(name, help);
    command->add_option("container", options->names, "Names or ids");
    command->callback([=, &outcome, &places] { run(outcome, places, *options); });
    return std::pair(command, options);
  };
  {
    auto [command, options] =
        add("stop", "Stop containers: their signal, then SIGKILL",
            [](Outcome& out, const Places& at, const Lifecycle& o) {
              for_each_container(out, at, o.names, o.all, [&](const std::string& id) -> base::Status {
                base::Loop loop;
                return stop_container(loop, at, id, o.time);
              });
            });
    command->add_option("-t,--time,--timeout", options->time, "Seconds until SIGKILL; -1: wait");
    command->add_flag("-a,--all", options->all, "Every container");
  }
  {
    auto [command, options] =
        add("kill", "Send a signal to containers", [](Outcome& out, const Places& at, const Lifecycle& o) {
          auto signal = parse_signal(o.signal);
          if (!signal.ok()) return fail(out, signal.error());
          for_each_container(out, at, o.names, false,
                             [&](const std::string& id) { return kill_one(at, id, *signal); });
        });
    command->add_option("-s,--signal", options->signal, "TERM, 15 (KILL)");
  }
  {
    auto [command, options] = add("rm", "Remove containers", remove);
    command->add_flag("-f,--force", options->force, "Those that run as well");
    command->add_flag("-i,--ignore", options->ignore, "Absent ones are no error");
    command->add_flag("-a,--all", options->all, "Every container");
    command->add_flag("-v,--volumes", options->volumes, "Their anonymous volumes: they always go");
  }
  add("wait", "Wait until containers have ended; prints their exit codes",
      [](Outcome& out, const Places& at, const Lifecycle& o) {
        for (const std::string& name : o.names) {
          auto id = find_container(at, name);
          auto code = id.ok() ? wait_one(at, *id) : base::Result<int>(id.error());
          if (code.ok()) print(std::to_string(*code) + "\n");
          else fail(out, code.error());
        }
      });
  for (bool paused : {true, false})
    add(paused ? "pause" : "unpause", paused ? "Freeze containers" : "Let frozen containers go on",
        [paused](Outcome& out, const Places& at, const Lifecycle& o) {
          for_each_container(out, at, o.names, false,
                             [&](const std::string& id) { return pause_one(at, id, paused); });
        });
}

}  // namespace cli
