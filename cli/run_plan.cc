#include "cli/run_plan.h"
#include "base/number.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <sstream>

#include "base/json_lists.h"

namespace cli {

namespace json = base::json;

namespace {

base::Error bad_option(const char* what, const std::string& subject, std::string reason) {
  return base::make_error(base::Kind::kInvalid, std::string("read ") + what, subject, std::move(reason));
}

// The last value of a name counts.
void set_env(std::vector<std::string>& env, const std::string& entry, const std::vector<std::string>& host) {
  std::string name = entry.substr(0, entry.find('=')), value = entry;
  if (entry.find('=') == std::string::npos) {
    auto ours = std::find_if(host.begin(), host.end(),
                             [&](const std::string& e) { return e.starts_with(name + "="); });
    if (ours == host.end()) return;
    value = *ours;
  }
  auto had =
      std::find_if(env.begin(), env.end(), [&](const std::string& e) { return e.starts_with(name + "="); });
  if (had != env.end()) *had = value;
  else env.push_back(value);
}
void default_env(std::vector<std::string>& env, const std::string& name, const std::string& value) {
  if (std::none_of(env.begin(), env.end(), [&](const std::string& e) { return e.starts_with(name + "="); }))
    env.push_back(name + "=" + value);
}

base::Result<std::vector<std::string>> environment(const RunOptions& o, const PlanFacts& facts,
                                                   const std::string& hostname) {
  std::vector<std::string> env = facts.image.env;
  for (const std::string& text : facts.env_files)
    for (const std::string& entry : parse_env_file(text, facts.host_env)) set_env(env, entry, facts.host_env);
  for (const std::string& entry : o.env) {
    if (entry.empty() || entry[0] == '=') return bad_option("--env", entry, "the name is empty");
    set_env(env, entry, facts.host_env);
  }
  default_env(env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  default_env(env, "HOSTNAME", hostname);
  default_env(env, "HOME", facts.user.home);
  default_env(env, "container", "sampan");
  if (o.tty) default_env(env, "TERM", "xterm");
  return env;
}

base::Result<std::vector<std::string>> arguments(const RunOptions& o, const runtime::Image& image) {
  std::vector<std::string> args = image.entrypoint;
  if (o.entrypoint_given) {
    args.clear();
    auto list = o.entrypoint.starts_with("[") ? base::parse_json(o.entrypoint)
                                              : base::Result<json::value>(json::value());
    if (list.ok() && list->is_array())
      for (const json::value& word : list->get_array()) args.emplace_back(base::as_string(&word));
    else if (!o.entrypoint.empty()) args.push_back(o.entrypoint);
  }
  // An entrypoint of one's own does without the image's command.
  const auto& rest = !o.command.empty() ? o.command : o.entrypoint_given ? o.command : image.cmd;
  args.insert(args.end(), rest.begin(), rest.end());
  if (args.empty())
    return bad_option("command", image.name, "neither the image nor the command line says what to run");
  return args;
}

std::string capability_word(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), ::toupper);
  return name.starts_with("CAP_") || name == "ALL" ? name : "CAP_" + name;
}

base::Result<json::object> capabilities(const RunOptions& o, const PlanFacts& facts) {
  std::set<std::string> set(runtime::default_capabilities().begin(), runtime::default_capabilities().end()),
      added;
  const std::set<std::string> all(facts.all_capabilities.begin(), facts.all_capabilities.end());
  auto has_all = [](const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(), [](const auto& c) { return capability_word(c) == "ALL"; });
  };
  if (o.privileged || has_all(o.cap_add)) set = added = all;
  if (has_all(o.cap_drop)) set.clear(), added.clear();
  for (const auto* list : {&o.cap_add, &o.cap_drop})
    for (const std::string& given : *list) {
      std::string name = capability_word(given);
      if (name == "ALL") continue;
      if (!all.count(name))
        return bad_option(list == &o.cap_add ? "--cap-add" : "--cap-drop", given,
                          "unknown capability: see capabilities(7)");
      if (list == &o.cap_add) set.insert(name), added.insert(name);
      else set.erase(name), added.erase(name);
    }
  json::array bounding = base::list_of({set.begin(), set.end()});
  if (facts.user.uid == 0)
    return json::object{{"bounding", bounding}, {"effective", bounding}, {"permitted", bounding}};
  // Another user has what was asked for by name, and what a setuid program could give.
  json::array own = base::list_of({added.begin(), added.end()});
  return json::object{
      {"bounding", bounding}, {"effective", own}, {"permitted", own}, {"inheritable", own}, {"ambient", own}};
}

base::Result<json::object> resources(const RunOptions& o, const PlanFacts& facts) {
  json::object memory, cpu, out;
  if (!o.memory.empty()) {
    int64_t limit = TRY(parse_size(o.memory));
    if (limit != 0 && limit < 6 << 20) return bad_option("--memory", o.memory, "at least 6m are needed");
    if (limit > 0) memory["limit"] = limit;
  }
  if (!o.memory_reservation.empty()) memory["reservation"] = TRY(parse_size(o.memory_reservation));
  if (!o.memory_swap.empty()) {
    int64_t swap = TRY(parse_size(o.memory_swap));
    if (swap > 0 && (!memory.contains("limit") || swap < memory["limit"].as_int64()))
      return bad_option("--memory-swap", o.memory_swap,
                        "it counts memory and swap, and needs --memory of at most as much");
    memory["swap"] = swap;
  }
  if (!o.cpus.empty()) {
    double n = 0;
    auto [end, error] = std::from_chars(o.cpus.data(), o.cpus.data() + o.cpus.size(), n);
    if (error != std::errc() || end != o.cpus.data() + o.cpus.size() || !(n >= 0.01) || n > facts.cpus)
      return bad_option("--cpus", o.cpus,
                        fmt::format("from 0.01 to {}, the CPUs of this machine", facts.cpus));
    if (o.cpu_quota || o.cpu_period)
      return bad_option("--cpus", o.cpus, "not together with --cpu-quota and --cpu-period");
    cpu["quota"] = std::llround(n * 100000);
    cpu["period"] = 100000;
  }
  if (o.cpu_quota) cpu["quota"] = o.cpu_quota;
  if (o.cpu_period) cpu["period"] = o.cpu_period;
  if (o.cpu_shares) cpu["shares"] = o.cpu_shares;
  if (!o.cpuset_cpus.empty()) cpu["cpus"] = o.cpuset_cpus;
  if (!o.cpuset_mems.empty()) cpu["mems"] = o.cpuset_mems;
  int64_t pids = o.pids_limit.value_or(2048);
  if (pids > 0) out["pids"] = json::object{{"limit", pids}};
  if (!memory.empty()) out["memory"] = std::move(memory);
  if (!cpu.empty()) out["cpu"] = std::move(cpu);
  json::array devices{json::object{{"allow", o.privileged}, {"access", "rwm"}}};
  if (!o.privileged)
    for (const json::value& d : facts.devices)
      devices.push_back(
          json::object{{"allow", true},
                       {"type", d.at("type")},
                       {"major", d.at("major")},
                       {"minor", d.at("minor")},
                       {"access", base::find(d, "access") ? d.at("access") : json::value("rwm")}});
  out["devices"] = std::move(devices);
  return out;
}

struct Mounts {
  json::array system, given;  // those every container has; volumes, files, memory
  bool has(const std::string& destination) const {
    return std::any_of(given.begin(), given.end(), [&](const json::value& m) {
      return base::string_at(m, "destination") == destination;
    });
  }
};

base::Status add_volume(Mounts& mounts, const Volume& volume, const PlanFacts& facts, Record& record) {
  std::string source = volume.source;
  if (source.empty()) {
    SAMPAN_CHECK(record.anonymous_volumes.size() < facts.anonymous_names.size());
    record.anonymous_volumes.push_back(facts.anonymous_names[record.anonymous_volumes.size()]);
    source = facts.volumes_dir + "/" + record.anonymous_volumes.back();
  } else if (volume.named()) {
    source = facts.volumes_dir + "/" + source;
  }
  if (mounts.has(volume.destination))
    return bad_option("volume", volume.destination, "two mounts have this destination");
  mounts.given.push_back(json::object{{"destination", volume.destination},
                                      {"type", "bind"},
                                      {"source", source},
                                      {"options", base::list_of(volume.options)}});
  return {};
}

base::Result<json::array> mounts(const RunOptions& o, const PlanFacts& facts, const json::object& defaults,
                                 Record& record) {
  Mounts all;
  for (const json::value& m : defaults.at("mounts").as_array()) {
    json::object mount = m.as_object();
    std::string destination(base::string_at(m, "destination"));
    for (json::value& option : mount["options"].as_array()) {
      if (o.privileged && destination.starts_with("/sys") && option == "ro") option = "rw";
      if (destination == "/dev/shm" && !o.shm_size.empty() && base::as_string(&option).starts_with("size="))
        option = fmt::format("size={}", TRY(parse_size(o.shm_size)));
    }
    if (destination == "/dev/shm" && record.host_ipc)
      mount = json::object{{"destination", "/dev/shm"},
                           {"type", "bind"},
                           {"source", "/dev/shm"},
                           {"options", base::list_of({"rbind", "rprivate"})}};
    // Nobody may mount the host's sysfs anew who has not its network namespace.
    if (destination == "/sys" && record.network == "host")
      mount = json::object{{"destination", "/sys"},
                           {"type", "bind"},
                           {"source", "/sys"},
                           {"options", base::list_of({"rbind", "rprivate", o.privileged ? "rw" : "ro",
                                                      "nosuid", "noexec", "nodev"})}};
    all.system.push_back(std::move(mount));
  }
  for (const std::string& text : o.volumes)
    TRY(add_volume(all, TRY(parse_volume(text, facts.cwd)), facts, record));
  for (const std::string& text : o.mounts) {
    Volume volume;
    json::object ready = TRY(parse_mount(text, facts.cwd, &volume));
    if (ready.empty()) TRY(add_volume(all, volume, facts, record));
    else all.given.push_back(std::move(ready));
  }
  for (const std::string& text : o.tmpfs) all.given.push_back(TRY(parse_tmpfs(text)));
  for (const char* file : {"hosts", "hostname", "resolv.conf"}) {
    std::string destination = std::string("/etc/") + file;
    if (all.has(destination)) continue;
    all.given.push_back(
        json::object{{"destination", destination},
                     {"type", "bind"},
                     {"source", facts.container_dir + "/" + file},
                     {"options", base::list_of({"bind", "rprivate", o.read_only ? "ro" : "rw"})}});
  }
  if (o.init)
    all.given.push_back(
        json::object{{"destination", "/dev/init"},
                     {"type", "bind"},
                     {"source", facts.init_program},
                     {"options", base::list_of({"bind", "rprivate", "ro", "nosuid", "nodev"})}});
  // Parents before children, in whatever order they were typed.
  auto depth = [](const json::value& m) {
    auto text = base::string_at(m, "destination");
    return std::count(text.begin(), text.end(), '/');
  };
  std::stable_sort(all.given.begin(), all.given.end(),
                   [&](const auto& a, const auto& b) { return depth(a) < depth(b); });
  json::array out;
  for (json::value& mount : all.system)
    if (!all.has(std::string(base::string_at(mount, "destination")))) out.push_back(std::move(mount));
  for (json::value& mount : all.given) out.push_back(std::move(mount));
  return out;
}

base::Result<json::object> process(const RunOptions& o, const PlanFacts& facts, const Record& record) {
  json::array gids;
  std::set<uint32_t> groups(facts.user.groups.begin(), facts.user.groups.end());
  for (const std::string& group : o.group_add) {
    auto gid = base::parse_id(group);
    if (!gid) return bad_option("--group-add", group, "write the group as a number from 0 to 4294967294");
    groups.insert(*gid);
  }
  groups.insert(facts.user.gid);
  for (uint32_t gid : groups) gids.emplace_back(gid);
  std::string cwd = !o.workdir.empty() ? o.workdir : facts.image.working_dir;
  if (cwd.empty()) cwd = "/";
  if (cwd[0] != '/') return bad_option("--workdir", cwd, "it must be an absolute path");
  bool no_new_privileges = std::any_of(o.security.begin(), o.security.end(), [](const auto& s) {
    return s.starts_with("no-new-privileges") && s != "no-new-privileges=false";
  });
  std::vector<std::string> args = TRY(arguments(o, facts.image));
  if (o.init) args.insert(args.begin(), {"/dev/init", "--"});
  json::object out{
      {"terminal", o.tty},
      {"user",
       json::object{{"uid", facts.user.uid}, {"gid", facts.user.gid}, {"additionalGids", std::move(gids)}}},
      {"args", base::list_of(args)},
      {"env", base::list_of(TRY(environment(o, facts, record.hostname)))},
      {"cwd", cwd},
      {"capabilities", TRY(capabilities(o, facts))},
      {"noNewPrivileges", no_new_privileges}};
  if (o.tty && facts.rows > 0)
    out["consoleSize"] = json::object{{"height", facts.rows}, {"width", facts.columns}};
  if (o.oom_score_adj) out["oomScoreAdj"] = *o.oom_score_adj;
  json::array limits;
  for (const std::string& text : o.ulimits) limits.push_back(TRY(parse_ulimit(text)));
  if (!limits.empty()) out["rlimits"] = std::move(limits);
  return out;
}

base::Result<json::object> linux_section(const RunOptions& o, const PlanFacts& facts,
                                         const json::object& defaults, const Record& record,
                                         const json::object& process) {
  json::object out;
  json::array namespaces;
  for (const char* type : {"pid", "mount", "cgroup"})
    if (!(record.host_pid && std::string_view(type) == "pid") &&
        !(o.privileged && std::string_view(type) == "cgroup"))
      namespaces.push_back(json::object{{"type", type}});
  out["namespaces"] = std::move(namespaces);
  out["resources"] = TRY(resources(o, facts));
  if (!facts.devices.empty()) {
    json::array devices = facts.devices;
    for (json::value& d : devices) d.as_object().erase("access");
    out["devices"] = std::move(devices);
  }
  if (o.privileged) return out;
  for (const char* key : {"maskedPaths", "readonlyPaths"}) out[key] = defaults.at("linux").at(key);
  bool unconfined = std::find(o.security.begin(), o.security.end(), "seccomp=unconfined") != o.security.end();
  if (!unconfined) {
    std::vector<std::string> bounding;
    for (const json::value& name : process.at("capabilities").at("bounding").as_array())
      bounding.emplace_back(base::as_string(&name));
    out["seccomp"] = facts.seccomp.is_null() ? runtime::default_seccomp(bounding) : facts.seccomp;
  }
  return out;
}

base::Status surroundings(const RunOptions& o, const PlanFacts& facts, Record& r) {
  r.network = o.network;
  if (r.network != "bridge" && r.network != "host" && r.network != "none")
    return bad_option("--network", o.network, "the networks are bridge, host and none");
  for (auto [flag, value, to] :
       {std::tuple("--pid", &o.pid, &r.host_pid), std::tuple("--ipc", &o.ipc, &r.host_ipc)}) {
    if (*value != "" && *value != "host" && *value != "private")
      return bad_option(flag, *value, "it is host or private");
    *to = *value == "host";
  }
  if (r.network == "host" && !o.hostname.empty())
    return bad_option("--hostname", o.hostname, "on the host's network its name is the host's");
  r.hostname = r.network == "host" ? "" : !o.hostname.empty() ? o.hostname : r.id.substr(0, 12);
  if (r.hostname.size() > 64) return bad_option("--hostname", o.hostname, "at most 64 characters");
  size_t chosen = 0;
  for (const std::string& text : o.publish)
    for (Port port : TRY(parse_port(text))) {
      if (port.host == 0) SAMPAN_CHECK(chosen < facts.free_ports.size());
      if (port.host == 0) port.host = facts.free_ports[chosen++];
      r.ports.push_back(port);
    }
  if (!r.ports.empty() && r.network != "bridge")
    return bad_option("--publish", o.publish[0], "ports are published on the bridge network only");
  for (const std::string& text : o.sysctls) {
    size_t equals = text.find('=');
    if (equals == std::string::npos) return bad_option("--sysctl", text, "write it as NAME=VALUE");
    r.sysctls[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const std::string& text : o.add_hosts)
    if (text.find(':') == std::string::npos || text[0] == ':')
      return bad_option("--add-host", text, "write it as NAME:ADDRESS");
  r.hosts = o.add_hosts;
  r.dns = o.dns;
  r.dns_search = o.dns_search;
  r.dns_options = o.dns_options;
  return {};
}

base::Status labels(const RunOptions& o, const PlanFacts& facts, Record& r) {
  std::vector<std::string> all;
  for (const std::string& text : facts.label_files)
    for (const std::string& line : parse_env_file(text, {})) all.push_back(line);
  all.insert(all.end(), o.labels.begin(), o.labels.end());
  for (const std::string& text : all) {
    std::string name = text.substr(0, text.find('='));
    if (name.empty()) return bad_option("--label", text, "the name is empty");
    r.labels[name] = name.size() < text.size() ? text.substr(name.size() + 1) : "";
  }
  return {};
}

}  // namespace

std::vector<std::string> parse_env_file(const std::string& text, const std::vector<std::string>& host) {
  std::vector<std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos || line[begin] == '#') continue;
    std::string entry = line.substr(begin);
    if (entry.find('=') != std::string::npos || host.empty()) out.push_back(entry);
    else set_env(out, entry, host);
  }
  return out;
}

base::Result<Record> plan_container(const RunOptions& o, const PlanFacts& facts) {
  Record r;
  r.id = facts.id;
  r.name = facts.name;
  r.image = facts.image.name;
  r.image_digest = facts.image.digest;
  r.layers = facts.image.layers;
  r.created_at = facts.now;
  TRY(surroundings(o, facts, r));
  TRY(labels(o, facts, r));
  r.restart = TRY(parse_restart(o.restart));
  r.remove = o.remove;
  if (r.remove && r.restart.name != "no")
    return bad_option("--rm", o.restart, "a container that is removed can't be started again by --restart");
  if (o.detach && o.stop_timeout_s < 0)
    return bad_option("--stop-timeout", std::to_string(o.stop_timeout_s), "seconds are not negative");
  r.terminal = o.tty;
  r.open_stdin = o.interactive;
  r.stdin_once = o.interactive && !o.detach;
  r.stop_timeout_s = o.stop_timeout_s;
  r.stop_signal = !o.stop_signal.empty()            ? o.stop_signal
                  : facts.image.stop_signal.empty() ? "SIGTERM"
                                                    : facts.image.stop_signal;
  TRY(parse_signal(r.stop_signal));
  for (const std::string& text : o.security)
    if (!text.starts_with("seccomp=") && !text.starts_with("no-new-privileges") && text != "label=disable" &&
        text != "apparmor=unconfined")
      return bad_option("--security-opt", text,
                        "known are seccomp=FILE, seccomp=unconfined and no-new-privileges");

  json::object defaults = runtime::default_config();
  json::object config{{"ociVersion", defaults.at("ociVersion")}};
  config["process"] = TRY(process(o, facts, r));
  config["root"] = json::object{{"path", "rootfs"}, {"readonly", o.read_only}};
  config["mounts"] = TRY(mounts(o, facts, defaults, r));
  config["linux"] = TRY(linux_section(o, facts, defaults, r, config["process"].as_object()));
  r.config = std::move(config);
  return r;
}

base::Result<json::value> plan_exec_process(const ExecOptions& o, const Record& record,
                                            const PlanFacts& facts) {
  const json::value* own = base::find(record.config, "process");
  json::object out = own && own->is_object() ? own->get_object() : json::object();
  if (o.command.empty()) return bad_option("command", record.name, "it is missing");
  out["args"] = base::list_of(o.command);
  out["terminal"] = o.tty;
  out.erase("consoleSize");
  if (o.tty && facts.rows > 0)
    out["consoleSize"] = json::object{{"height", facts.rows}, {"width", facts.columns}};
  std::vector<std::string> env;
  if (const json::value* list = base::find_path(record.config, "process", "env"); list && list->is_array())
    for (const json::value& entry : list->get_array()) env.emplace_back(base::as_string(&entry));
  for (const std::string& text : facts.env_files)
    for (const std::string& entry : parse_env_file(text, facts.host_env)) set_env(env, entry, facts.host_env);
  for (const std::string& entry : o.env) set_env(env, entry, facts.host_env);
  if (o.tty) default_env(env, "TERM", "xterm");
  if (!o.user.empty()) {
    json::array gids;
    for (uint32_t gid : facts.user.groups) gids.emplace_back(gid);
    out["user"] =
        json::object{{"uid", facts.user.uid}, {"gid", facts.user.gid}, {"additionalGids", std::move(gids)}};
    set_env(env, "HOME=" + facts.user.home, {});
    if (facts.user.uid != 0 && out.contains("capabilities")) {
      json::object sets{{"bounding", out["capabilities"].at("bounding")}};
      for (const char* key : {"effective", "permitted"}) sets[key] = json::array();
      out["capabilities"] = std::move(sets);
    }
  }
  if (o.privileged) {
    json::array all = base::list_of(facts.all_capabilities);
    out["capabilities"] = json::object{{"bounding", all}, {"effective", all}, {"permitted", all}};
  }
  out["env"] = base::list_of(env);
  if (!o.workdir.empty()) out["cwd"] = o.workdir;
  return json::value(std::move(out));
}

std::string plan_text(const Record& r) {
  std::string out = fmt::format("container {} {}\nimage {} {} layers\n", r.id.substr(0, 12), r.name, r.image,
                                r.layers.size());
  out += fmt::format("network {}{}\n", r.network, r.hostname.empty() ? "" : " hostname " + r.hostname);
  for (const Port& port : r.ports) out += "publish " + port.text() + "\n";
  for (const auto& [key, value] : r.sysctls) out += "sysctl " + key + "=" + value + "\n";
  for (const auto& [key, value] : r.labels) out += "label " + key + "=" + value + "\n";
  out += fmt::format("{}{}{}restart {} {}\n", r.remove ? "remove " : "", r.terminal ? "terminal " : "",
                     r.open_stdin ? "stdin " : "", r.restart.name, r.restart.max_retries);
  out += fmt::format("stop {} {} s\n", r.stop_signal, r.stop_timeout_s);
  const json::value& config = r.config;
  for (const char* key : {"args", "cwd", "user", "env", "capabilities", "rlimits", "noNewPrivileges"})
    if (const json::value* value = base::find_path(config, "process", key))
      out += fmt::format("{} {}\n", key, base::to_json(*value));
  out += fmt::format("root readonly {}\n", base::as_bool(base::find_path(config, "root", "readonly")));
  for (const json::value& m : base::list_at(config, "mounts"))
    out += fmt::format("mount {} {} {} {}\n", base::string_at(m, "destination"), base::string_at(m, "type"),
                       base::string_at(m, "source"), base::to_json(base::list_at(m, "options")));
  for (const char* key : {"namespaces", "resources", "devices"})
    if (const json::value* value = base::find_path(config, "linux", key))
      out += fmt::format("{} {}\n", key, base::to_json(*value));
  out += fmt::format("seccomp {}\n", base::find_path(config, "linux", "seccomp") ? "yes" : "no");
  out += fmt::format("masked {}\n", base::find_path(config, "linux", "maskedPaths") ? "yes" : "no");
  return out;
}

}  // namespace cli
