// sampan store: looks at the store of a master that does not run. The program that owns the format
// does it: sampan-master --check-store, in this process's place.
#include "cli/store.h"

#include <unistd.h>

#include "base/sys.h"
#include "cli/places.h"

namespace cli {

void add_store(CLI::App& app, Outcome& outcome) {
  CLI::App* store = app.add_subcommand("store", "The master's store");
  store->require_subcommand(1);
  auto data_dir = std::make_shared<std::string>("/var/lib/sampan/master");
  CLI::App* check = store->add_subcommand(
      "check",
      "Say which records are damaged, and whether a master starts; 0: whole, 3: records would "
      "be set aside, 4: it would not start, 1: it could not be looked at");
  check->add_option("--data-dir", *data_dir, "The master's")->capture_default_str();
  check->callback([data_dir, &outcome] {
    std::string program = program_beside("sampan-master");
    const char* arguments[] = {program.c_str(), "--data-dir", data_dir->c_str(), "--check-store", nullptr};
    ::execvp(program.c_str(), const_cast<char**>(arguments));
    outcome.set(base::sys::last_error("run", program, "it is installed on the master's host"));
  });
}

}  // namespace cli
