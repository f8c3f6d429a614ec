#include "cli/image_use.h"

#include <unistd.h>

#include <chrono>

#include "base/sys.h"
#include "cli/command.h"

namespace cli {

namespace {
constexpr size_t kMaxSettingsBytes = 1u << 20;
}

base::Result<runtime::Registries> read_registries(const Places& places, const std::string& docker_config) {
  auto read = [](const std::string& path) { return base::sys::read_file(path, kMaxSettingsBytes); };
  runtime::Registries registries;
  // The default file need not be there; one that was asked for must.
  if (places.registries_given || base::sys::exists(places.registries)) {
    std::string text = TRY_WRAP(read(places.registries), "read registries file", places.registries);
    registries = TRY(runtime::Registries::parse(text, places.registries, read));
  }
  if (!docker_config.empty()) {
    std::string text = TRY_WRAP(read(docker_config), "read Docker config", docker_config);
    TRY(registries.add_docker_config(text, docker_config));
  }
  return registries;
}

base::Result<runtime::StoredImage> pull_with_progress(const Places& places, const std::string& name, const std::string& docker_config, bool quiet) {
  runtime::Registries registries = TRY(read_registries(places, docker_config));
  runtime::PullOptions pull;
  pull.registries = &registries;
  bool terminal = !quiet && ::isatty(2);
  auto began = std::chrono::steady_clock::now();
  if (terminal)
    pull.progress = [began, &name](const runtime::PullProgress& now) {
      double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
      auto rate = static_cast<uint64_t>(static_cast<double>(now.bytes_done) / std::max(seconds, 0.001));
      std::string line = fmt::format("{}: {}/{} layers, {} of {}, {}/s", name, now.layers_done, now.layers,
                                     format_size(static_cast<uint64_t>(now.bytes_done)),
                                     format_size(static_cast<uint64_t>(now.bytes)), format_size(rate));
      std::fprintf(stderr, "\r%s\033[K", line.c_str());
    };
  auto pulled = runtime::pull_image(places.image_root(), name, pull);
  if (terminal) std::fprintf(stderr, "\r\033[K");
  return pulled;
}

base::Result<runtime::Image> image_for_run(const Places& places, const std::string& name, const std::string& pull, bool quiet) {
  if (pull != "always" && pull != "missing" && pull != "never" && pull != "newer")
    return base::make_error(base::Kind::kInvalid, "read --pull", pull, "it is always, missing, never or newer");
  auto find = [&]() -> base::Result<runtime::Image> {
    // An id's beginning, as `sampan image ls` shows it.
    auto found = runtime::find_image(places.image_root(), name);
    bool hexadecimal = name.size() >= 6 && name.size() <= 64 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (found.ok() || !hexadecimal) return found;
    for (auto& image : TRY(runtime::list_images(places.image_root())))
      if (image.config_digest.starts_with("sha256:" + name) || image.digest.starts_with("sha256:" + name)) return std::move(image);
    return found;
  };
  auto here = find();
  if (pull == "never" || (pull == "missing" && here.ok())) return here;
  if (!here.ok() && here.error().kind != base::Kind::kNotFound) return here;
  auto pulled = pull_with_progress(places, name, "", quiet);
  if (!pulled.ok()) {
    if (pull == "newer" && here.ok()) return here;
    return pulled.error();
  }
  return runtime::find_image(places.image_root(), pulled->name);
}

}  // namespace cli
