#include "cli/run_facts.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <climits>
#include <thread>

#include "base/json_lists.h"
#include "base/sys.h"
#include "cli/container_store.h"
#include "cli/image_use.h"
#include "cli/streams.h"

namespace cli {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;
using base::make_error;

namespace {

std::string current_directory() {
  char path[PATH_MAX];
  return ::getcwd(path, sizeof path) ? path : "/";
}
std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** entry = environ; *entry; ++entry) out.emplace_back(*entry);
  return out;
}
base::Result<std::vector<std::string>> texts(const std::vector<std::string>& paths, const char* flag) {
  std::vector<std::string> out;
  for (const std::string& path : paths)
    out.push_back(TRY_WRAP(sys::read_file(path), std::string("read ") + flag, path));
  return out;
}

// HOST[:CONTAINER[:rwm]]
base::Result<json::object> device(const std::string& text) {
  size_t one = text.find(':'), two = one == std::string::npos ? one : text.find(':', one + 1);
  std::string host = text.substr(0, one), inside = host, access = "rwm";
  if (one != std::string::npos) {
    std::string second = text.substr(one + 1, two == std::string::npos ? two : two - one - 1);
    if (second.starts_with("/")) inside = second;
    else access = second;
  }
  if (two != std::string::npos) access = text.substr(two + 1);
  if (access.empty() || access.find_first_not_of("rwm") != std::string::npos)
    return make_error(Kind::kInvalid, "read --device", text, "the access is made of r, w and m");
  struct stat st {};
  if (::stat(host.c_str(), &st) != 0) return sys::last_error("read --device", host);
  if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
    return make_error(Kind::kInvalid, "read --device", host, "it is not a device");
  return json::object{{"path", inside},
                      {"type", S_ISCHR(st.st_mode) ? "c" : "b"},
                      {"major", major(st.st_rdev)},
                      {"minor", minor(st.st_rdev)},
                      {"fileMode", st.st_mode & 0777},
                      {"uid", st.st_uid},
                      {"gid", st.st_gid},
                      {"access", access}};
}

// As the kernel chooses one for whoever asks for none.
base::Result<uint16_t> free_port(bool udp) {
  base::UniqueFd fd(::socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return sys::last_error("choose a port");
  return ntohs(address.sin_port);
}

std::string absolute(const std::string& path, const std::string& cwd) {
  return path.starts_with("/") ? path : cwd + "/" + path;
}

}  // namespace

base::Result<PlanFacts> gather_facts(const Places& places, const RunOptions& options) {
  PlanFacts facts;
  facts.image = TRY(image_for_run(places, options.image, options.pull, options.quiet));
  facts.id = new_id();
  facts.name = options.name;
  if (facts.name.empty())
    for (int tries = 0; tries < 100; ++tries) {
      facts.name = random_name(tries == 0 ? facts.id : new_id());
      if (!find_container(places, facts.name).ok()) break;
    }
  TRY(check_name(facts.name));
  facts.user =
      TRY(runtime::resolve_user(facts.image, options.user.empty() ? facts.image.user : options.user));
  facts.env_files = TRY(texts(options.env_files, "--env-file"));
  facts.label_files = TRY(texts(options.label_files, "--label-file"));
  facts.host_env = own_environment();
  facts.cwd = current_directory();
  facts.container_dir = absolute(places.container(facts.id), facts.cwd);
  facts.volumes_dir = absolute(places.volumes(), facts.cwd);
  for (size_t i = 0; i < options.volumes.size() + options.mounts.size(); ++i)
    facts.anonymous_names.push_back(new_id());
  for (const std::string& text : options.publish)
    for (const Port& port : TRY(parse_port(text)))
      if (port.host == 0) facts.free_ports.push_back(TRY(free_port(port.protocol == "udp")));
  for (const std::string& text : options.security)
    if (text.starts_with("seccomp=") && text != "seccomp=unconfined")
      facts.seccomp = TRY_WRAP(base::parse_json(TRY(sys::read_file(text.substr(8)))), "read seccomp profile",
                               text.substr(8));
  if (options.privileged) facts.devices = runtime::host_devices();
  for (const std::string& text : options.devices) facts.devices.push_back(TRY(device(text)));
  facts.init_program = program_beside("sampan-init");
  facts.all_capabilities = runtime::all_capabilities();
  facts.cpus = std::max(1u, std::thread::hardware_concurrency());
  WindowSize size = options.tty ? window_size() : WindowSize{};
  facts.rows = size.rows;
  facts.columns = size.columns;
  facts.now = base::wall_now();
  return facts;
}

base::Result<PlanFacts> gather_exec_facts(const Places& places, const ExecOptions& options,
                                          const Record& record) {
  PlanFacts facts;
  facts.env_files = TRY(texts(options.env_files, "--env-file"));
  facts.host_env = own_environment();
  facts.all_capabilities = runtime::all_capabilities();
  if (!options.user.empty()) {
    // The layers are those of the record, whatever its name stands for now.
    runtime::Image image;
    image.name = record.image;
    image.layers = record.layers;
    std::string upper = places.container(record.id) + "/work/upper";
    if (sys::exists(upper)) image.layers.push_back(upper);
    facts.user = TRY(runtime::resolve_user(image, options.user));
  }
  WindowSize size = options.tty ? window_size() : WindowSize{};
  facts.rows = size.rows;
  facts.columns = size.columns;
  return facts;
}

base::Status check_sources(const Places& places, const Record& record) {
  for (const json::value& mount : base::list_at(record.config, "mounts")) {
    std::string source(base::string_at(mount, "source"));
    if (base::string_at(mount, "type") != "bind" || source.starts_with(places.root + "/")) continue;
    if (!sys::exists(source))
      return make_error(Kind::kNotFound, "mount", source, "no such file or directory on the host");
  }
  return {};
}

base::Status make_volumes(const Places& places, const Record& record) {
  for (const json::value& mount : base::list_at(record.config, "mounts")) {
    std::string source(base::string_at(mount, "source"));
    if (base::string_at(mount, "type") == "bind" && source.starts_with(places.volumes() + "/"))
      TRY(sys::mkdir_all(source, 0755));
  }
  return {};
}

}  // namespace cli
