// Images as `run` wants them, and as `sampan image pull` fetches them.
#pragma once

#include "cli/places.h"
#include "cli/streams.h"
#include "runtime/image.h"
#include "runtime/runtime.h"

namespace cli {

base::Result<runtime::Registries> read_registries(const Places& places, const std::string& docker_config);
// A line for the image and a bar for each layer; no newline at the end. Pure.
std::string pull_bars(const std::string& name, const runtime::PullProgress& now, double seconds, const WindowSize& window);
// With progress on a terminal, unless `quiet`.
base::Result<runtime::StoredImage> pull_with_progress(const Places& places, const std::string& name, const std::string& docker_config, bool quiet);
// `pull`: always, missing, never, newer.
base::Result<runtime::Image> image_for_run(const Places& places, const std::string& name, const std::string& pull, bool quiet);

}  // namespace cli
