#include "cli/container_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_lists.h"

namespace cli {

namespace json = base::json;
using std::chrono::duration_cast;
using std::chrono::seconds;

namespace {

json::object words(const std::map<std::string, std::string>& map) {
  json::object out;
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}
std::map<std::string, std::string> words(const json::value* value) {
  std::map<std::string, std::string> out;
  if (value && value->is_object())
    for (const auto& [key, item] : value->get_object()) out[std::string(key)] = base::as_string(&item);
  return out;
}
base::Time time_of(const json::value& value, std::string_view key) {
  return base::Time(base::Duration(base::as_int(base::find(value, key))));
}

constexpr const char* kPhases[] = {"created", "starting", "running", "paused", "restarting", "exited"};

}  // namespace

std::string Port::text() const {
  return fmt::format("{}:{}->{}/{}", host_ip.empty() ? "0.0.0.0" : host_ip, host, container, protocol);
}

std::vector<std::string> Record::command() const {
  return base::texts_of(base::find_path(config, "process", "args"));
}

std::string phase_name(State::Phase phase) { return kPhases[static_cast<size_t>(phase)]; }

json::value encode(const Record& r) {
  json::array ports;
  for (const Port& p : r.ports)
    ports.push_back(json::object{
        {"hostIp", p.host_ip}, {"host", p.host}, {"container", p.container}, {"protocol", p.protocol}});
  return json::object{
      {"id", r.id},
      {"name", r.name},
      {"image", r.image},
      {"imageDigest", r.image_digest},
      {"layers", base::list_of(r.layers)},
      {"createdAt", r.created_at.time_since_epoch().count()},
      {"config", r.config},
      {"network", r.network},
      {"hostname", r.hostname},
      {"hostIpc", r.host_ipc},
      {"hostPid", r.host_pid},
      {"sysctls", words(r.sysctls)},
      {"ports", std::move(ports)},
      {"hosts", base::list_of(r.hosts)},
      {"dns", base::list_of(r.dns)},
      {"dnsSearch", base::list_of(r.dns_search)},
      {"dnsOptions", base::list_of(r.dns_options)},
      {"anonymousVolumes", base::list_of(r.anonymous_volumes)},
      {"labels", words(r.labels)},
      {"restart", json::object{{"name", r.restart.name}, {"maxRetries", r.restart.max_retries}}},
      {"remove", r.remove},
      {"terminal", r.terminal},
      {"openStdin", r.open_stdin},
      {"stdinOnce", r.stdin_once},
      {"stopSignal", r.stop_signal},
      {"stopTimeout", r.stop_timeout_s}};
}

base::Result<Record> decode_record(const json::value& value) {
  Record r;
  r.id = base::string_at(value, "id");
  if (r.id.empty())
    return base::make_error(base::Kind::kCorrupt, "read container record", {}, "it names no id");
  r.name = base::string_at(value, "name");
  r.image = base::string_at(value, "image");
  r.image_digest = base::string_at(value, "imageDigest");
  r.layers = base::texts_of(base::find(value, "layers"));
  r.created_at = time_of(value, "createdAt");
  if (const json::value* config = base::find(value, "config")) r.config = *config;
  r.network = base::string_at(value, "network");
  r.hostname = base::string_at(value, "hostname");
  r.host_ipc = base::as_bool(base::find(value, "hostIpc"));
  r.host_pid = base::as_bool(base::find(value, "hostPid"));
  r.sysctls = words(base::find(value, "sysctls"));
  if (const json::value* ports = base::find(value, "ports"); ports && ports->is_array())
    for (const json::value& p : ports->get_array())
      r.ports.push_back({std::string(base::string_at(p, "hostIp")),
                         static_cast<uint16_t>(base::as_int(base::find(p, "host"))),
                         static_cast<uint16_t>(base::as_int(base::find(p, "container"))),
                         std::string(base::string_at(p, "protocol"))});
  r.hosts = base::texts_of(base::find(value, "hosts"));
  r.dns = base::texts_of(base::find(value, "dns"));
  r.dns_search = base::texts_of(base::find(value, "dnsSearch"));
  r.dns_options = base::texts_of(base::find(value, "dnsOptions"));
  r.anonymous_volumes = base::texts_of(base::find(value, "anonymousVolumes"));
  r.labels = words(base::find(value, "labels"));
  r.restart.name = base::string_at(value, "restart", "name");
  r.restart.max_retries = static_cast<int>(base::as_int(base::find_path(value, "restart", "maxRetries")));
  r.remove = base::as_bool(base::find(value, "remove"));
  r.terminal = base::as_bool(base::find(value, "terminal"));
  r.open_stdin = base::as_bool(base::find(value, "openStdin"));
  r.stdin_once = base::as_bool(base::find(value, "stdinOnce"));
  r.stop_signal = base::string_at(value, "stopSignal");
  r.stop_timeout_s = static_cast<int>(base::as_int(base::find(value, "stopTimeout"), 10));
  return r;
}

json::value encode(const State& s) {
  return json::object{{"phase", phase_name(s.phase)},
                      {"pid", s.pid},
                      {"startedAt", s.started_at.time_since_epoch().count()},
                      {"finishedAt", s.finished_at.time_since_epoch().count()},
                      {"exitCode", s.exit_code},
                      {"oomKilled", s.oom_killed},
                      {"address", s.address},
                      {"error", s.error},
                      {"restarts", s.restarts},
                      {"restartStreak", s.restart_streak},
                      {"stopRequested", s.stop_requested}};
}

State decode_state(const json::value& value) {
  State s;
  auto at = std::find(std::begin(kPhases), std::end(kPhases), base::string_at(value, "phase"));
  if (at != std::end(kPhases)) s.phase = static_cast<State::Phase>(at - std::begin(kPhases));
  s.pid = static_cast<int>(base::as_int(base::find(value, "pid")));
  s.started_at = time_of(value, "startedAt");
  s.finished_at = time_of(value, "finishedAt");
  s.exit_code = static_cast<int>(base::as_int(base::find(value, "exitCode")));
  s.oom_killed = base::as_bool(base::find(value, "oomKilled"));
  s.address = base::string_at(value, "address");
  s.error = base::string_at(value, "error");
  s.restarts = static_cast<int>(base::as_int(base::find(value, "restarts")));
  s.restart_streak = static_cast<int>(base::as_int(base::find(value, "restartStreak")));
  s.stop_requested = base::as_bool(base::find(value, "stopRequested"));
  return s;
}

std::string ago_text(base::Duration age) {
  int64_t s = std::max<int64_t>(0, duration_cast<seconds>(age).count());
  if (s < 1) return "Less than a second";
  if (s == 1) return "1 second";
  if (s < 60) return fmt::format("{} seconds", s);
  int64_t m = s / 60;
  if (m == 1) return "About a minute";
  if (m < 60) return fmt::format("{} minutes", m);
  int64_t h = (s + 1800) / 3600;
  if (h == 1) return "About an hour";
  if (h < 48) return fmt::format("{} hours", h);
  int64_t d = h / 24;
  if (d < 14) return fmt::format("{} days", d);
  if (d < 60) return fmt::format("{} weeks", d / 7);
  if (d < 730) return fmt::format("{} months", d / 30);
  return fmt::format("{} years", d / 365);
}

std::string status_text(const State& state, base::Time now) {
  switch (state.phase) {
    case State::Phase::kCreated: return "Created";
    case State::Phase::kStarting: return "Starting";
    case State::Phase::kRunning: return "Up " + ago_text(now - state.started_at);
    case State::Phase::kPaused: return "Up " + ago_text(now - state.started_at) + " (Paused)";
    case State::Phase::kRestarting:
      return fmt::format("Restarting ({}) {} ago", state.exit_code, ago_text(now - state.finished_at));
    case State::Phase::kExited: break;
  }
  return fmt::format("Exited ({}) {} ago", state.exit_code, ago_text(now - state.finished_at));
}

bool restarts(const RestartPolicy& policy, const State& state) {
  if (state.stop_requested) return false;
  if (policy.name == "always" || policy.name == "unless-stopped") return true;
  return policy.name == "on-failure" && state.exit_code != 0 &&
         (policy.max_retries == 0 || state.restarts < policy.max_retries);
}

base::Duration restart_delay(int restarts_in_a_row) {
  using std::chrono::milliseconds;
  return std::min<base::Duration>(milliseconds(100) * (1 << std::clamp(restarts_in_a_row, 0, 16)),
                                  std::chrono::minutes(1));
}

}  // namespace cli
