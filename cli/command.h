// The frame of `sampan`: every command is one file that registers itself below a CLI11 app. A
// command runs while the command line is parsed and leaves its exit code in Outcome.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"

namespace cli {

// 0: done. 1: it failed. 2: it was asked wrongly (also what --help of CLI11 calls an error).
struct Outcome {
  int exit_code = 0;
  void set(const base::Status& status);  // prints "sampan: <message>" on stderr
};

struct Places;
void add_image(CLI::App& app, Outcome& outcome, Places& places);
void add_kubeconfig(CLI::App& app, Outcome& outcome);
void add_doctor(CLI::App& app, Outcome& outcome);

// A terminal gets tables, a pipe gets them too: columns padded with spaces, two apart.
std::string format_table(const std::vector<std::vector<std::string>>& rows);
std::string format_size(uint64_t bytes);  // "12.3 MB", decimal as registries count

// One word a program can decide on: "not-found", "disk-full", "connection-refused"…
std::string error_word(const base::Error& error);
// What to say to a call without a command, or with one that there is not; its exit code.
int no_command(const CLI::App& app);
// The word of `words` that was likely meant; "" when none is near.
std::string nearest_word(std::string_view typed, const std::vector<std::string>& words);
std::string kind_word(base::Kind kind);  // "not-found": the kind alone

}  // namespace cli
