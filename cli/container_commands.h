// What the commands about containers share: where things are, how they answer, how they fail.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/places.h"

namespace cli {

void print(const std::string& text);

// A failed command of this family exits with 125, as those of podman do; what ran inside a container
// gives its own code. Prints the error.
void fail(Outcome& outcome, const base::Error& error, int code = 125);

// Whether a command of this family was being parsed: asked wrongly, they exit with 125.
bool asks_for_containers(const CLI::App& app);

// Calls `each` for every word that names a container; prints what it was called (as typed) when
// it went well. With `all`, for every container instead.
void for_each_container(Outcome& outcome, const Places& places, const std::vector<std::string>& words,
                        bool all, const std::function<base::Status(const std::string& id)>& each);

void add_run(CLI::App& app, Outcome& outcome,
             Places& places);  // run, create, start, attach, restart, cleanup
void add_exec(CLI::App& app, Outcome& outcome, Places& places);
void add_ps(CLI::App& app, Outcome& outcome, Places& places);         // ps, inspect, port
void add_lifecycle(CLI::App& app, Outcome& outcome, Places& places);  // stop, kill, rm, wait, pause, unpause
void add_logs(CLI::App& app, Outcome& outcome, Places& places);
void add_stats(CLI::App& app, Outcome& outcome, Places& places);  // stats, top
void add_cp(CLI::App& app, Outcome& outcome, Places& places);

}  // namespace cli
