// sampan image …: everything that writes the image store, and a view of it. The kubelet runs
// `sampan image pull --json` as a child, so that no daemon carries curl or archives.
#include <unistd.h>

#include <algorithm>

#include "base/json.h"
#include "base/sys.h"
#include "cli/command.h"
#include "cli/container_commands.h"
#include "cli/image_use.h"
#include "runtime/image/image.h"
#include "runtime/image/reference.h"
#include "runtime/runtime.h"

namespace cli {
namespace {

namespace json = base::json;

struct ImageOptions {
  Places* all = nullptr;
  std::string own_root, own_registries;  // of this command; empty: those of all
  std::string file, name;
  std::vector<std::string> names;
  std::string docker_config;
  bool credentials_stdin = false;
  std::string root() const { return own_root.empty() ? all->image_root() : own_root; }
  Places places() const {
    Places out = *all;
    out.images = root();
    if (!own_registries.empty()) out.registries = own_registries, out.registries_given = true;
    return out;
  }
  std::string format = "archive";
  bool as_json = false, dry_run = false, quiet = false, no_trunc = false;
};

base::Status load(const ImageOptions& options) {
  auto loaded = TRY(runtime::load_images(options.root(), options.file, options.name));
  for (const auto& image : loaded) print(image.name + " " + image.digest + "\n");
  return {};
}

base::Status pull(const ImageOptions& options) {
  std::vector<Login> logins;
  if (options.credentials_stdin) logins = TRY(read_logins(0));
  std::optional<size_t> used;
  auto pulled =
      pull_with_progress(options.places(), options.name, options.docker_config, options.quiet, logins, &used);
  if (!options.as_json) {
    if (!pulled.ok()) return std::move(pulled).error();
    print(pulled->name + " " + pulled->digest + "\n");
    return {};
  }
  json::object out;
  if (pulled.ok()) {
    out = {{"name", pulled->name}, {"digest", pulled->digest}};
    if (used) out["credential"] = *used;
  } else {
    out = {{"error", error_word(pulled.error())},
           {"kind", kind_word(pulled.error().kind)},
           {"message", pulled.error().message()}};
  }
  print(base::to_json(out) + "\n");
  if (!pulled.ok()) return std::move(pulled).error();
  return {};
}

json::object describe(const runtime::Image& image) {
  auto strings = [](const std::vector<std::string>& list) {
    json::array out;
    for (const std::string& item : list) out.emplace_back(item);
    return out;
  };
  return {{"name", image.name},
          {"digest", image.digest},
          {"configDigest", image.config_digest},
          {"sizeBytes", image.size_bytes},
          {"layers", strings(image.layers)},
          {"entrypoint", strings(image.entrypoint)},
          {"cmd", strings(image.cmd)},
          {"env", strings(image.env)},
          {"user", image.user},
          {"workingDir", image.working_dir},
          {"stopSignal", image.stop_signal}};
}

base::Status list(const ImageOptions& options) {
  auto images = TRY(runtime::list_images(options.root()));
  if (options.as_json) {
    json::array out;
    for (const auto& image : images) out.emplace_back(describe(image));
    print(base::to_json(out) + "\n");
    return {};
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "DIGEST", "LAYERS", "SIZE"}};
  for (const auto& image : images)
    rows.push_back({image.name, image.digest.substr(0, 19), std::to_string(image.layers.size()),
                    format_size(image.size_bytes)});
  print(format_table(rows));
  return {};
}

base::Status inspect_image(const ImageOptions& options) {
  auto image = TRY(runtime::find_image(options.root(), options.name));
  print(base::to_json(describe(image)) + "\n");
  return {};
}

base::Status remove_image(const ImageOptions& options) {
  for (const std::string& name : options.names) {
    auto removed = TRY(runtime::remove_image(options.root(), name));
    print("removed " + removed.name + "\n");
  }
  return {};
}

base::Status save(const ImageOptions& options) {
  if (options.format != "archive" && options.format != "oci-dir")
    return base::make_error(base::Kind::kInvalid, "read --format", options.format,
                            "it is archive or oci-dir");
  if (options.file == "-" && ::isatty(1))
    return base::make_error(base::Kind::kInvalid, "save images", "-", "an archive is nothing for a terminal",
                            "use --out FILE or a pipe");
  return runtime::save_images(
      options.root(), options.names, options.file,
      options.format == "oci-dir" ? runtime::SaveAs::kDirectory : runtime::SaveAs::kArchive);
}

base::Status tag(const ImageOptions& options) {
  auto tagged = TRY(runtime::tag_image(options.root(), options.names.at(0), options.names.at(1)));
  print(tagged.name + " " + tagged.digest + "\n");
  return {};
}

base::Status history(const ImageOptions& options) {
  auto config = TRY(base::parse_json(TRY(runtime::image_config(options.root(), options.name))));
  const json::value* entries = base::find(config, "history");
  if (options.as_json) {
    print(base::to_json(entries ? *entries : json::value(json::array())) + "\n");
    return {};
  }
  std::vector<std::vector<std::string>> rows = {{"CREATED", "CREATED BY", "COMMENT"}};
  if (entries && entries->is_array())
    for (auto entry = entries->get_array().rbegin(); entry != entries->get_array().rend(); ++entry) {
      std::string by(base::string_at(*entry, "created_by"));
      std::replace_if(
          by.begin(), by.end(), [](unsigned char c) { return c < 32; }, ' ');
      if (by.size() > 60 && !options.no_trunc) by = by.substr(0, 59) + "…";
      rows.push_back({std::string(base::string_at(*entry, "created")), by,
                      std::string(base::string_at(*entry, "comment"))});
    }
  print(format_table(rows));
  return {};
}

base::Status gc(const ImageOptions& options) {
  auto result = TRY(runtime::collect_garbage(options.root(), options.dry_run));
  for (const std::string& path : result.removed)
    print((options.dry_run ? "would remove " : "removed ") + path + "\n");
  print(format_size(result.freed_bytes) + (options.dry_run ? " would be freed\n" : " freed\n"));
  return {};
}

}  // namespace

void add_image(CLI::App& app, Outcome& outcome, Places& places) {
  auto options = std::make_shared<ImageOptions>();
  options->all = &places;
  CLI::App* image = app.add_subcommand("image", "Images of this node");
  image->require_subcommand(1);
  auto add = [&](const char* name, const char* help, base::Status (*run)(const ImageOptions&)) {
    CLI::App* command = image->add_subcommand(name, help);
    command->add_option("--image-root", options->own_root,
                        "The image store (default: that of sampan --image-root)");
    command->callback([options, run, &outcome] { outcome.set(run(*options)); });
    return command;
  };
  for (const char* name : {"load", "import-layout"}) {
    CLI::App* command =
        add(name, "Bring in a docker save or an OCI layout: a tar file, a directory, or -", load);
    command->add_option("file", options->file, "The archive")->required();
    command->add_option("--name", options->name, "Name it so, whatever the archive says");
  }
  CLI::App* command = add("pull", "Fetch an image from its registry", pull);
  command->add_option("name", options->name, "nginx, demo/nginx:1, registry.example:5000/a/b@sha256:…")
      ->required();
  command->add_option("--registries", options->own_registries,
                      "Mirrors, TLS and credentials, as JSON (docs/registries.md)");
  command->add_flag("--credentials-stdin", options->credentials_stdin,
                    "Logins to try in turn, as JSON on standard input: {\"credentials\": [{\"username\": …, "
                    "\"password\": …}]}");
  command->add_option("--docker-config", options->docker_config,
                      "A Docker config.json or .dockerconfigjson with credentials");
  command->add_flag("--json", options->as_json, "Print {name,digest} or {error,kind,message}");
  command->add_flag("--quiet", options->quiet, "No progress");
  for (const char* name : {"list", "ls"}) {
    command = add(name, "Show the images of the store", list);
    command->add_flag("--json", options->as_json, "All that is known, as one JSON array");
  }
  command = add("tag", "Give an image another name", tag);
  command->add_option("names", options->names, "SOURCE NAME")->required()->expected(2);
  command = add("history", "How an image came to be, as its maker wrote it", history);
  command->add_option("name", options->name, "A name or a sha256 digest")->required();
  command->add_flag("--json", options->as_json, "As JSON");
  command->add_flag("--no-trunc", options->no_trunc, "Whole commands");
  command = add("inspect", "Show one image as JSON", inspect_image);
  command->add_option("name", options->name, "A name or a sha256 digest")->required();
  command = add("rm", "Take names away; gc frees the space", remove_image);
  command->add_option("name", options->names, "Names")->required();
  command = add("save", "Write images into one tar: an OCI layout that docker load takes too", save);
  command->add_option("name", options->names, "Names")->required();
  command->add_option("-o,--out,--output", options->file, "The tar, - for stdout, or the new directory")
      ->required();
  command->add_option("--format", options->format, "archive (OCI layout and docker load) or oci-dir")
      ->capture_default_str();
  command = add("gc", "Remove what no image, pin or running container needs", gc);
  command->add_flag("--dry-run", options->dry_run, "Only say what would go");
}

}  // namespace cli
