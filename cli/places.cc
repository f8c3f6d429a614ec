#include "cli/places.h"

#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/sys.h"

namespace cli {

std::string Places::table() const {
  std::string name = bridge;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return "sampan_" + name;
}

std::vector<std::string> Places::flags() const {
  return {"--root",          root,          "--run-dir",    run_dir,   "--image-root", image_root(),
          "--cgroup-parent", cgroup_parent, "--bridge",     bridge,    "--subnet",     subnet,
          "--pod-program",   pod_program,   "--registries", registries};
}

void add_places(CLI::App& app, Places& places) {
  auto add = [&](const char* flag, std::string& value, const char* env, const char* help) {
    return app.add_option(flag, value, help)->envname(env)->capture_default_str()->group("Places");
  };
  // Whoever is handed these flags may stand elsewhere.
  auto absolute = [](std::string path) {
    char here[PATH_MAX];
    return path.empty() || path[0] == '/' || !::getcwd(here, sizeof here) ? path
                                                                          : std::string(here) + "/" + path;
  };
  add("--root", places.root, "SAMPAN_ROOT", "Containers, named volumes and images")->transform(absolute);
  add("--run-dir", places.run_dir, "SAMPAN_RUN_DIR", "Sockets of sampan-pod; lost at reboot")
      ->transform(absolute);
  add("--image-root", places.images, "SAMPAN_IMAGE_ROOT", "The image store (default: images below --root)")
      ->transform(absolute);
  add("--cgroup-parent", places.cgroup_parent, "SAMPAN_CGROUP_PARENT",
      "Parent of the containers' control groups");
  add("--bridge", places.bridge, "SAMPAN_BRIDGE", "Bridge of the containers; made when the first one starts");
  add("--subnet", places.subnet, "SAMPAN_SUBNET", "Their addresses; the bridge has the first");
  add("--pod-program", places.pod_program, "SAMPAN_POD_PROGRAM", "sampan-pod (default: beside this program)");
  add("--registries", places.registries, "SAMPAN_REGISTRIES",
      "Mirrors, TLS and credentials (docs/registries.md)")
      ->each([&places](const std::string&) { places.registries_given = true; });
}

std::string own_program() {
  char path[PATH_MAX];
  ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<size_t>(n)) : "sampan";
}

std::string program_beside(const std::string& name) {
  std::string directory = own_program();
  directory.resize(directory.rfind('/') == std::string::npos ? 0 : directory.rfind('/'));
  std::string libexec = directory + "/../libexec/" + name;
  return base::sys::exists(directory + "/" + name) || !base::sys::exists(libexec) ? directory + "/" + name
                                                                                  : libexec;
}

}  // namespace cli
