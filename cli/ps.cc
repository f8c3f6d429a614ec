// sampan ps, inspect, port: what containers there are.
#include <algorithm>

#include "base/json_lists.h"
#include "base/sys.h"
#include "cli/container_commands.h"
#include "cli/container_life.h"
#include "cli/container_network.h"
#include "cli/container_store.h"
#include "cli/template.h"

namespace cli {

namespace json = base::json;
using base::Kind;

namespace {

struct Shown {
  Record record;
  State state;
};
// Those that vanish while they are looked at are left out.
base::Result<std::vector<Shown>> look(const Places& places) {
  base::Loop loop;
  std::vector<Shown> out;
  for (const std::string& id : TRY(list_containers(places))) {
    auto record = read_record(places, id);
    auto seen = observe_container(loop, places, id);
    if (record.ok() && seen.ok()) out.push_back({std::move(*record), seen->state});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Shown& a, const Shown& b) { return a.record.created_at > b.record.created_at; });
  return out;
}

std::string command_text(const Record& record) {
  std::string out;
  for (const std::string& word : record.command()) out += (out.empty() ? "" : " ") + word;
  return out;
}
std::string ports_text(const Record& record) {
  std::string out;
  for (const Port& port : record.ports) out += (out.empty() ? "" : ", ") + port.text();
  return out;
}

struct PsOptions {
  bool all = false, quiet = false, no_trunc = false, latest = false, size = false, no_heading = false;
  int last = -1;
  std::string format;
  std::vector<std::string> filters;
};

base::Result<bool> matches(const Shown& c, const std::vector<std::string>& filters) {
  // Those of one key are alternatives; labels must all be there.
  std::map<std::string, bool> keys;
  for (const std::string& filter : filters) {
    size_t equals = filter.find('=');
    std::string key = filter.substr(0, equals),
                value = equals == std::string::npos ? "" : filter.substr(equals + 1);
    bool hit = false;
    if (key == "name") hit = c.record.name.find(value) != std::string::npos;
    else if (key == "id") hit = c.record.id.starts_with(value);
    else if (key == "status") hit = phase_name(c.state.phase) == value;
    else if (key == "exited")
      hit = c.state.phase == State::Phase::kExited && std::to_string(c.state.exit_code) == value;
    else if (key == "ancestor")
      hit = c.record.image == value || c.record.image == runtime::normalize_image_name(value).value_or("");
    else if (key == "label") {
      size_t at = value.find('=');
      auto label = c.record.labels.find(value.substr(0, at));
      if (label == c.record.labels.end() ||
          (at != std::string::npos && label->second != value.substr(at + 1)))
        return false;
      continue;
    } else
      return base::make_error(Kind::kInvalid, "read --filter", filter,
                              "known are name, id, status, exited, ancestor and label");
    keys[key] |= hit;
  }
  return std::all_of(keys.begin(), keys.end(), [](const auto& entry) { return entry.second; });
}

json::object ps_object(const Shown& c, base::Time now) {
  json::array command, ports;
  for (const std::string& word : c.record.command()) command.emplace_back(word);
  for (const Port& p : c.record.ports)
    ports.push_back(json::object{{"host_ip", p.host_ip},
                                 {"host_port", p.host},
                                 {"container_port", p.container},
                                 {"protocol", p.protocol}});
  json::object labels;
  for (const auto& [key, value] : c.record.labels) labels[key] = value;
  return {{"Id", c.record.id},
          {"Names", json::array{c.record.name}},
          {"Image", c.record.image},
          {"Command", std::move(command)},
          {"Created",
           std::chrono::duration_cast<std::chrono::seconds>(c.record.created_at.time_since_epoch()).count()},
          {"CreatedAt", base::format_time(c.record.created_at)},
          {"State", phase_name(c.state.phase)},
          {"Status", status_text(c.state, now)},
          {"ExitCode", c.state.exit_code},
          {"Pid", c.state.pid},
          {"Ports", std::move(ports)},
          {"Labels", std::move(labels)},
          {"Restarts", c.state.restarts}};
}

base::Status ps(const Places& places, const PsOptions& o) {
  std::vector<Shown> shown;
  bool every =
      o.all || o.latest || o.last >= 0 || std::any_of(o.filters.begin(), o.filters.end(), [](const auto& f) {
        return f.starts_with("status=") || f.starts_with("exited=");
      });
  for (Shown& c : TRY(look(places))) {
    bool runs = c.state.phase == State::Phase::kRunning || c.state.phase == State::Phase::kPaused ||
                c.state.phase == State::Phase::kRestarting;
    if ((every || runs) && TRY(matches(c, o.filters))) shown.push_back(std::move(c));
  }
  size_t most = o.latest ? 1 : o.last >= 0 ? static_cast<size_t>(o.last) : shown.size();
  if (shown.size() > most) shown.resize(most);
  base::Time now = base::wall_now();
  if (o.format == "json") {
    json::array out;
    for (const Shown& c : shown) out.push_back(ps_object(c, now));
    print(base::to_json(out) + "\n");
    return {};
  }
  std::vector<std::map<std::string, std::string>> fields;
  for (const Shown& c : shown) {
    std::string id = o.no_trunc ? c.record.id : short_id(c.record.id), command = command_text(c.record);
    if (!o.no_trunc && command.size() > 20) command = command.substr(0, 19) + "…";
    json::object labels;
    std::string label_text;
    for (const auto& [key, value] : c.record.labels)
      label_text += (label_text.empty() ? "" : ",") + key + "=" + value;
    fields.push_back({{"ID", id},
                      {"Image", c.record.image},
                      {"Command", command},
                      {"CreatedAt", base::format_time(c.record.created_at)},
                      {"RunningFor", ago_text(now - c.record.created_at) + " ago"},
                      {"Created", ago_text(now - c.record.created_at) + " ago"},
                      {"Status", status_text(c.state, now)},
                      {"State", phase_name(c.state.phase)},
                      {"Ports", ports_text(c.record)},
                      {"Names", c.record.name},
                      {"Labels", label_text},
                      {"Networks", c.record.network},
                      {"Pid", std::to_string(c.state.pid)},
                      {"ExitCode", std::to_string(c.state.exit_code)}});
  }
  if (o.quiet) {
    for (const auto& row : fields) print(row.at("ID") + "\n");
    return {};
  }
  std::string format =
      o.format.empty() || o.format == "table"
          ? "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.Created}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
          : o.format;
  print(TRY(format_rows(format, fields, {{"ID", "CONTAINER ID"}}, !o.no_heading)));
  return {};
}

json::object state_object(const State& s) {
  bool runs = s.phase == State::Phase::kRunning || s.phase == State::Phase::kPaused;
  return {{"Status", phase_name(s.phase)},
          {"Running", runs},
          {"Paused", s.phase == State::Phase::kPaused},
          {"Restarting", s.phase == State::Phase::kRestarting},
          {"OOMKilled", s.oom_killed},
          {"Pid", s.pid},
          {"ExitCode", s.exit_code},
          {"Error", s.error},
          {"StartedAt", base::format_nano_time(s.started_at)},
          {"FinishedAt", base::format_nano_time(s.finished_at)}};
}

json::object inspect_object(const Places& places, const Shown& c) {
  const Record& r = c.record;
  json::object labels, ports, bindings;
  for (const auto& [key, value] : r.labels) labels[key] = value;
  for (const Port& p : r.ports) {
    std::string key = fmt::format("{}/{}", p.container, p.protocol);
    if (!bindings.contains(key)) bindings[key] = json::array();
    bindings[key].as_array().push_back(json::object{{"HostIp", p.host_ip.empty() ? "0.0.0.0" : p.host_ip},
                                                    {"HostPort", std::to_string(p.host)}});
  }
  json::array mounts;
  for (const json::value& m : base::list_at(r.config, "mounts")) {
    std::string source(base::string_at(m, "source")), own = places.container(r.id) + "/";
    if (base::string_at(m, "type") != "bind" || source.starts_with(own)) continue;
    bool named = source.starts_with(places.volumes() + "/"), writable = true;
    for (const json::value& option : base::list_at(m, "options"))
      writable &= option != "ro" && option != "rro";
    json::object mount{{"Type", named ? "volume" : "bind"},
                       {"Source", source},
                       {"Destination", base::string_at(m, "destination")},
                       {"RW", writable}};
    if (named) mount["Name"] = source.substr(places.volumes().size() + 1);
    mounts.push_back(std::move(mount));
  }
  auto of = [&](auto... keys) {
    const json::value* v = base::find_path(r.config, keys...);
    return v ? *v : json::value();
  };
  json::array args;
  std::vector<std::string> command = r.command();
  for (size_t i = 1; i < command.size(); ++i) args.emplace_back(command[i]);
  auto gateway = gateway_address(places);
  bool bridge = r.network == "bridge" && !c.state.address.empty();
  return {
      {"Id", r.id},
      {"Name", r.name},
      {"Created", base::format_nano_time(r.created_at)},
      {"Path", command.empty() ? "" : command[0]},
      {"Args", std::move(args)},
      {"State", state_object(c.state)},
      {"Image", r.image_digest},
      {"ImageName", r.image},
      {"RestartCount", c.state.restarts},
      {"LogPath", places.container(r.id) + "/log"},
      {"Mounts", std::move(mounts)},
      {"ResolvConfPath", places.container(r.id) + "/resolv.conf"},
      {"HostsPath", places.container(r.id) + "/hosts"},
      {"Config", json::object{{"Hostname", r.hostname},
                              {"Env", of("process", "env")},
                              {"Cmd", of("process", "args")},
                              {"WorkingDir", of("process", "cwd")},
                              {"User", of("process", "user")},
                              {"Tty", r.terminal},
                              {"OpenStdin", r.open_stdin},
                              {"Image", r.image},
                              {"Labels", std::move(labels)},
                              {"StopSignal", r.stop_signal},
                              {"StopTimeout", r.stop_timeout_s}}},
      {"HostConfig",
       json::object{
           {"NetworkMode", r.network},
           {"PortBindings", bindings},
           {"AutoRemove", r.remove},
           {"RestartPolicy",
            json::object{{"Name", r.restart.name}, {"MaximumRetryCount", r.restart.max_retries}}},
           {"ReadonlyRootfs", of("root", "readonly")},
           {"Resources", of("linux", "resources")},
           {"Memory", base::as_int(base::find_path(r.config, "linux", "resources", "memory", "limit"))},
           {"PidsLimit", base::as_int(base::find_path(r.config, "linux", "resources", "pids", "limit"))}}},
      {"NetworkSettings", json::object{{"IPAddress", c.state.address},
                                       {"Gateway", bridge && gateway.ok() ? *gateway : ""},
                                       {"Bridge", r.network == "bridge" ? places.bridge : ""},
                                       {"Ports", bindings}}},
      {"OCIConfig", r.config}};
}

struct InspectOptions {
  std::vector<std::string> names;
  std::string format;
};
void inspect(Outcome& outcome, const Places& places, const InspectOptions& o) {
  json::array out;
  base::Loop loop;
  for (const std::string& name : o.names) {
    auto one = [&]() -> base::Result<json::object> {
      std::string id = TRY(find_container(places, name));
      Shown shown{TRY(read_record(places, id)), {}};
      shown.state = TRY(observe_container(loop, places, id)).state;
      return inspect_object(places, shown);
    }();
    if (!one.ok()) fail(outcome, one.error());
    else out.push_back(std::move(*one));
  }
  if (o.format.empty() || o.format == "json") return print(pretty_json(out) + "\n");
  for (const json::value& one : out) {
    auto text = format_value(o.format, one);
    if (!text.ok()) return fail(outcome, text.error());
    print(*text + "\n");
  }
}

base::Status port(const Places& places, const std::vector<std::string>& words) {
  Record record = TRY(read_record(places, TRY(find_container(places, words.at(0)))));
  std::string wanted = words.size() > 1 ? words[1] : "";
  if (!wanted.empty() && wanted.find('/') == std::string::npos) wanted += "/tcp";
  bool any = false;
  for (const Port& p : record.ports) {
    std::string inside = fmt::format("{}/{}", p.container, p.protocol),
                outside = fmt::format("{}:{}", p.host_ip.empty() ? "0.0.0.0" : p.host_ip, p.host);
    if (wanted.empty()) print(inside + " -> " + outside + "\n");
    else if (wanted == inside) print(outside + "\n");
    any |= wanted == inside;
  }
  if (wanted.empty() || any) return {};
  return base::make_error(Kind::kNotFound, "find port of " + record.name, wanted, "it is not published");
}

}  // namespace

void add_ps(CLI::App& app, Outcome& outcome, Places& places) {
  auto o = std::make_shared<PsOptions>();
  CLI::App* command = app.add_subcommand("ps", "Containers");
  command->add_flag("-a,--all", o->all, "Those that have ended as well");
  command->add_flag("-q,--quiet", o->quiet, "Only their ids");
  command->add_flag("--no-trunc", o->no_trunc, "Whole ids and commands");
  command->add_flag("-l,--latest", o->latest, "The one made last");
  command->add_flag("--noheading", o->no_heading, "No heading");
  command->add_option("-n,--last", o->last, "So many, made last");
  command->add_option("--format", o->format, "json, table or a template: {{.ID}} {{.Names}}");
  command->add_option("-f,--filter", o->filters, "name=, id=, status=, exited=, ancestor=, label=")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->callback([=, &outcome, &places] {
    if (auto done = ps(places, *o); !done.ok()) fail(outcome, done.error());
  });
  auto i = std::make_shared<InspectOptions>();
  command = app.add_subcommand("inspect", "All that is known about containers, as JSON");
  command->add_option("-f,--format", i->format, "json or a template: {{.State.Status}}");
  command->add_option("container", i->names, "Names or ids")->required();
  command->callback([=, &outcome, &places] { inspect(outcome, places, *i); });
  auto words = std::make_shared<std::vector<std::string>>();
  command = app.add_subcommand("port", "Where a container's ports are published");
  command->add_option("container", *words, "Name or id, and perhaps a port: 80/tcp")
      ->required()
      ->expected(1, 2);
  command->callback([=, &outcome, &places] {
    if (auto done = port(places, *words); !done.ok()) fail(outcome, done.error());
  });
}

}  // namespace cli
