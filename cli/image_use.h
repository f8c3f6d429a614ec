// Images as `run` wants them, and as `sampan image pull` fetches them.
#pragma once

#include "cli/places.h"
#include "runtime/image.h"
#include "runtime/runtime.h"

namespace cli {

base::Result<runtime::Registries> read_registries(const Places& places, const std::string& docker_config);
// With progress on a terminal, unless `quiet`.
base::Result<runtime::StoredImage> pull_with_progress(const Places& places, const std::string& name, const std::string& docker_config, bool quiet);
// `pull`: always, missing, never, newer.
base::Result<runtime::Image> image_for_run(const Places& places, const std::string& name, const std::string& pull, bool quiet);

}  // namespace cli
