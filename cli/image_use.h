// Images as `run` wants them, and as `sampan image pull` fetches them.
#pragma once

#include <optional>

#include "cli/places.h"
#include "cli/streams.h"
#include "runtime/image/image.h"
#include "runtime/runtime.h"

namespace cli {

base::Result<runtime::Registries> read_registries(const Places& places, const std::string& docker_config);
// A line for the image and a bar for each layer; no newline at the end. Pure.
std::string pull_bars(const std::string& name, const runtime::PullProgress& now, double seconds,
                      const WindowSize& window);
struct Login {
  std::string username, password;
};
// {"credentials": [{"username", "password"}…]} to the end of `fd`.
base::Result<std::vector<Login>> read_logins(int fd);
// With progress on a terminal, unless `quiet`. With `logins`, each is tried at the image's own registry (not
// at mirrors, which have their own) until one works, then that of the registries file if it has one; `used`
// tells which. Without any login there is one try, as the files say.
base::Result<runtime::StoredImage> pull_with_progress(const Places& places, const std::string& name,
                                                      const std::string& docker_config, bool quiet,
                                                      const std::vector<Login>& logins = {},
                                                      std::optional<size_t>* used = nullptr);
// `pull`: always, missing, never, newer.
base::Result<runtime::Image> image_for_run(const Places& places, const std::string& name,
                                           const std::string& pull, bool quiet);

}  // namespace cli
