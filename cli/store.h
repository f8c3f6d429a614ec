// sampan store: a look at the store of a master that does not run.
#pragma once

#include "cli/command.h"

namespace cli {

void add_store(CLI::App& app, Outcome& outcome);

}  // namespace cli
