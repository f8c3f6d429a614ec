// What plan_container has to be told: looked up in the image store, in files and on this machine.
// Acts only by pulling an image that is wanted and missing.
#pragma once

#include "cli/places.h"
#include "cli/run_plan.h"

namespace cli {

base::Result<PlanFacts> gather_facts(const Places& places, const RunOptions& options);
base::Result<PlanFacts> gather_exec_facts(const Places& places, const ExecOptions& options,
                                          const Record& record);
// The host's ends of bind mounts must be there; those of volumes are made.
base::Status check_sources(const Places& places, const Record& record);
base::Status make_volumes(const Places& places, const Record& record);

}  // namespace cli
