#include "cli/image_use.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/json.h"
#include "base/json_lists.h"
#include "base/sys.h"
#include "cli/command.h"
#include "runtime/image/reference.h"

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

std::string pull_bars(const std::string& name, const runtime::PullProgress& now, double seconds,
                      const WindowSize& window) {
  using Step = runtime::PullProgress::Layer::Step;
  size_t columns = window.columns > 20 ? static_cast<size_t>(window.columns) : 80;
  size_t rows = window.rows > 3 ? static_cast<size_t>(window.rows) - 2 : 22;
  auto size = [](int64_t bytes) { return format_size(static_cast<uint64_t>(std::max<int64_t>(0, bytes))); };
  auto rate = static_cast<int64_t>(static_cast<double>(now.bytes_done) / std::max(seconds, 0.001));
  std::string out = fmt::format("{}: {}/{} layers, {} of {}, {}/s", name, now.layers_done, now.layers,
                                size(now.bytes_done), size(now.bytes), size(rate))
                        .substr(0, columns - 1);
  size_t shown = 0;
  for (const auto& layer : now.layer) {
    // What is under way first: a screen is not endless.
    if (now.layer.size() > rows && (layer.step == Step::kDone || layer.step == Step::kWaits)) continue;
    if (++shown > rows) break;
    std::string head = layer.digest.substr(7, 12) + " ", tail;
    switch (layer.step) {
      case Step::kWaits: tail = "waits"; break;
      case Step::kDownloads: tail = fmt::format("{} / {}", size(layer.bytes_done), size(layer.bytes)); break;
      case Step::kUnpacks: tail = "unpacks"; break;
      case Step::kDone: tail = "done"; break;
    }
    size_t width = columns > 60 ? std::min<size_t>(50, columns - 45) : 10;
    double part = layer.step >= Step::kUnpacks ? 1.0
                  : layer.bytes > 0 ? static_cast<double>(layer.bytes_done) / static_cast<double>(layer.bytes)
                                    : 0.0;
    auto full = static_cast<size_t>(static_cast<double>(width) * std::clamp(part, 0.0, 1.0));
    out += "\n" + (head + "[" + std::string(full, '=') +
                   (full < width ? ">" + std::string(width - full - 1, ' ') : "") + "] " + tail)
                      .substr(0, columns - 1);
  }
  return out;
}

base::Result<std::vector<Login>> read_logins(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::sys::last_error("read credentials", "standard input");
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxSettingsBytes)
      return base::make_error(base::Kind::kInvalid, "read credentials", "standard input", "more than 1 MiB");
  }
  auto value = base::parse_json(text);
  // Not the parser's words: they may quote what stands there.
  if (!value.ok())
    return base::make_error(base::Kind::kInvalid, "read credentials", "standard input", "it is no JSON");
  std::vector<Login> out;
  for (const base::json::value& one : base::list_at(*value, "credentials"))
    out.push_back(
        {std::string(base::string_at(one, "username")), std::string(base::string_at(one, "password"))});
  return out;
}

namespace {
base::Result<runtime::StoredImage> pull_once(const Places& places, const std::string& name,
                                             const runtime::Registries& registries, bool quiet);
}

base::Result<runtime::StoredImage> pull_with_progress(const Places& places, const std::string& name,
                                                      const std::string& docker_config, bool quiet,
                                                      const std::vector<Login>& logins,
                                                      std::optional<size_t>* used) {
  const runtime::Registries registries = TRY(read_registries(places, docker_config));
  if (logins.empty()) return pull_once(places, name, registries, quiet);
  const std::string host = TRY(runtime::parse_image_reference(name)).domain;
  std::vector<std::string> failures;
  base::Error last;
  for (size_t i = 0; i < logins.size(); ++i) {
    auto pulled =
        pull_once(places, name, registries.with_login(host, logins[i].username, logins[i].password), quiet);
    if (pulled.ok()) {
      if (used) *used = i;
      return pulled;
    }
    last = std::move(pulled).error();
    // The same words for each login are said once.
    if (std::find(failures.begin(), failures.end(), last.message()) == failures.end())
      failures.push_back(last.message());
  }
  if (!registries.settings(host).username.empty()) {
    auto pulled = pull_once(places, name, registries, quiet);
    if (pulled.ok()) return pulled;
    last = std::move(pulled).error();
    if (std::find(failures.begin(), failures.end(), last.message()) == failures.end())
      failures.push_back(last.message());
  }
  if (failures.size() == 1) return last;
  std::string all;
  for (const std::string& one : failures) all += (all.empty() ? "[" : ", ") + one;
  return base::make_error(last.kind, {}, {}, all + "]");
}

namespace {
base::Result<runtime::StoredImage> pull_once(const Places& places, const std::string& name,
                                             const runtime::Registries& registries, bool quiet) {
  runtime::PullOptions pull;
  pull.registries = &registries;
  bool terminal = !quiet && ::isatty(2);
  auto began = std::chrono::steady_clock::now();
  size_t lines = 0;  // on the screen
  if (terminal)
    pull.progress = [began, &name, &lines](const runtime::PullProgress& now) {
      double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
      std::string text = pull_bars(name, now, seconds, window_size());
      std::string back = lines > 1 ? fmt::format("\033[{}A", lines - 1) : "";
      std::fprintf(stderr, "%s\r\033[J%s", back.c_str(), text.c_str());
      lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
    };
  auto pulled = runtime::pull_image(places.image_root(), name, pull);
  if (lines > 0) std::fprintf(stderr, "\n");
  return pulled;
}
}  // namespace

base::Result<runtime::Image> image_for_run(const Places& places, const std::string& name,
                                           const std::string& pull, bool quiet) {
  if (pull != "always" && pull != "missing" && pull != "never" && pull != "newer")
    return base::make_error(base::Kind::kInvalid, "read --pull", pull,
                            "it is always, missing, never or newer");
  auto find = [&]() -> base::Result<runtime::Image> {
    // An id's beginning, as `sampan image ls` shows it.
    auto found = runtime::find_image(places.image_root(), name);
    bool hexadecimal = name.size() >= 6 && name.size() <= 64 &&
                       name.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (found.ok() || !hexadecimal) return found;
    for (auto& image : TRY(runtime::list_images(places.image_root())))
      if (image.config_digest.starts_with("sha256:" + name) || image.digest.starts_with("sha256:" + name))
        return std::move(image);
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
