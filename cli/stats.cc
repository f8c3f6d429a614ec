// sampan stats and top: what containers use, and their processes.
#include <pwd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "base/sys.h"
#include "cli/await.h"
#include "cli/container_commands.h"
#include "cli/container_life.h"
#include "cli/container_store.h"
#include "cli/template.h"

namespace cli {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

namespace {

// ---- stats -------------------------------------------------------------------------------------

struct Sample {
  runtime::Stats use;
  uint64_t net_in = 0, net_out = 0;
  std::chrono::steady_clock::time_point at;
};

uint64_t total_memory() {
  auto pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size) : 0;
}

// /proc/<pid>/net/dev is that of the process' namespace; lo is nobody's traffic.
void read_network(pid_t pid, Sample& sample) {
  std::istringstream lines(sys::read_file(fmt::format("/proc/{}/net/dev", pid)).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    size_t colon = line.find(':');
    if (colon == std::string::npos || line.find("lo:") < colon) continue;
    std::istringstream fields(line.substr(colon + 1));
    uint64_t value = 0;
    for (int i = 0; i < 9 && fields >> value; ++i) {
      if (i == 0) sample.net_in += value;
      if (i == 8) sample.net_out += value;
    }
  }
}

struct StatsOptions {
  bool no_stream = false, all = false, no_trunc = false;
  double interval_s = 2;
  std::string format;
  std::vector<std::string> names;
};

struct Watched {
  Record record;
  Seen seen;
  std::optional<Sample> last;
};

std::string percent(double part, double whole) {
  return fmt::format("{:.2f}%", whole > 0 ? part / whole * 100 : 0.0);
}

base::Result<std::map<std::string, std::string>> stats_row(base::Loop& loop, Watched& c,
                                                           const StatsOptions& o) {
  Sample now;
  now.use =
      TRY(await<runtime::Stats>(loop, [&](auto done) { c.seen.pod->stats(kContainer, std::move(done)); }));
  now.at = std::chrono::steady_clock::now();
  if (c.record.network != "host") read_network(c.seen.state.pid, now);
  auto limit = static_cast<uint64_t>(
      base::as_int(base::find_path(c.record.config, "linux", "resources", "memory", "limit")));
  if (limit == 0) limit = total_memory();
  // Since the last look, or since its start.
  double seconds = std::chrono::duration<double>(base::wall_now() - c.seen.state.started_at).count();
  uint64_t before = 0;
  if (c.last)
    seconds = std::chrono::duration<double>(now.at - c.last->at).count(), before = c.last->use.cpu_ns;
  double average = std::chrono::duration<double>(base::wall_now() - c.seen.state.started_at).count();
  double cpu = static_cast<double>(now.use.cpu_ns - before) / 1e9,
         memory = static_cast<double>(now.use.memory_working_set_bytes);
  std::map<std::string, std::string> row = {
      {"ID", o.no_trunc ? c.record.id : short_id(c.record.id)},
      {"Name", c.record.name},
      {"Container", short_id(c.record.id)},
      {"CPUPerc", percent(cpu, std::max(seconds, 1e-6))},
      {"MemPerc", percent(memory, static_cast<double>(limit))},
      {"MemUsage", format_size(now.use.memory_working_set_bytes) + " / " + format_size(limit)},
      {"NetIO", format_size(now.net_in) + " / " + format_size(now.net_out)},
      {"PIDs", std::to_string(now.use.pids)},
      {"CPUTime", fmt::format("{:.6f}s", static_cast<double>(now.use.cpu_ns) / 1e9)},
      {"AVGCPU", percent(static_cast<double>(now.use.cpu_ns) / 1e9, std::max(average, 1e-6))}};
  c.last = now;
  return row;
}

base::Result<std::vector<Watched>> watched(base::Loop& loop, const Places& places, const StatsOptions& o) {
  std::vector<Watched> out;
  std::vector<std::string> ids;
  for (const std::string& name : o.names) ids.push_back(TRY(find_container(places, name)));
  if (o.names.empty()) ids = TRY(list_containers(places));
  for (const std::string& id : ids) {
    auto record = read_record(places, id);
    if (!record.ok()) continue;
    Seen seen = TRY(observe_container(loop, places, id));
    if (seen.runs()) out.push_back({std::move(*record), std::move(seen), {}});
    else if (!o.names.empty())
      return base::make_error(Kind::kConflict, "measure container", record->name, "it is not running");
  }
  return out;
}

base::Status stats(const Places& places, const StatsOptions& o) {
  base::Loop loop;
  std::vector<Watched> containers = TRY(watched(loop, places, o));
  bool terminal = ::isatty(1);
  for (;;) {
    std::vector<std::map<std::string, std::string>> rows;
    for (Watched& c : containers) {
      if (c.seen.ending->over()) continue;
      auto row = stats_row(loop, c, o);
      if (row.ok()) rows.push_back(std::move(*row));
      else if (!c.seen.ending->over()) return row.error();
    }
    std::string text;
    if (o.format == "json") {
      json::array out;
      for (const auto& row : rows) {
        json::object object;
        for (const auto& [key, value] : row) object[key] = value;
        out.push_back(std::move(object));
      }
      text = base::to_json(out) + "\n";
    } else {
      std::string format = o.format.empty() || o.format == "table"
                               ? "table "
                                 "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}"
                                 "\t{{.PIDs}}\t{{.CPUTime}}\t{{.AVGCPU}}"
                               : o.format;
      text = TRY(format_rows(format, rows,
                             {{"Name", "NAME"},
                              {"CPUPerc", "CPU %"},
                              {"MemUsage", "MEM USAGE / LIMIT"},
                              {"MemPerc", "MEM %"},
                              {"NetIO", "NET IO"},
                              {"CPUTime", "CPU TIME"},
                              {"AVGCPU", "AVG CPU %"}},
                             true));
    }
    if (terminal && !o.no_stream) print("\033[H\033[J");
    print(text);
    std::fflush(stdout);
    if (o.no_stream || rows.empty()) return {};
    bool due = false;
    auto timer =
        loop.after(std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>(o.interval_s)),
                   [&] { due = true; });
    while (!due) loop.run_once(std::chrono::hours(1));
  }
}

// ---- top ---------------------------------------------------------------------------------------

struct ProcessLine {
  std::vector<std::string> cells;
};

std::string user_name(uint32_t uid, const std::string& passwd) {
  std::istringstream lines(passwd);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name, x, number;
    if (std::getline(fields, name, ':') && std::getline(fields, x, ':') &&
        std::getline(fields, number, ':') && number == std::to_string(uid))
      return name;
  }
  return std::to_string(uid);
}

std::string duration_text(double seconds) {
  auto s = static_cast<int64_t>(seconds);
  if (s >= 3600) return fmt::format("{}h{}m{}s", s / 3600, s / 60 % 60, s % 60);
  if (s >= 60) return fmt::format("{}m{}s", s / 60, s % 60);
  return fmt::format("{:.3f}s", seconds);
}

std::string terminal_name(int number) {
  if (number == 0) return "?";
  int major = number >> 8 & 0xfff, minor = (number & 0xff) | (number >> 12 & 0xfff00);
  return major >= 136 && major <= 143 ? fmt::format("pts/{}", minor + (major - 136) * 256)
                                      : fmt::format("{}:{}", major, minor);
}

// As the container sees it: the last number of NSpid; nothing when the process has ended.
std::optional<ProcessLine> read_process(const std::string& pid, const std::string& passwd, double uptime) {
  auto stat = sys::read_file("/proc/" + pid + "/stat"), status = sys::read_file("/proc/" + pid + "/status");
  if (!stat.ok() || !status.ok()) return {};
  std::istringstream fields(stat->substr(stat->rfind(')') + 2));
  std::string state;
  int64_t parent = 0, group = 0, session = 0, skip = 0, user = 0, system = 0, start = 0;
  int terminal = 0;
  fields >> state >> parent >> group >> session >> terminal >> skip >> skip >> skip >> skip >> skip >> skip >>
      user >> system;
  for (int i = 0; i < 6; ++i) fields >> skip;
  fields >> start;
  std::string inside = pid;
  uint32_t uid = 0;
  std::istringstream lines(*status);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("NSpid:")) inside = line.substr(line.find_last_of("\t ") + 1);
    if (line.starts_with("Uid:")) uid = static_cast<uint32_t>(std::strtoul(line.c_str() + 5, nullptr, 10));
  }
  auto parent_status = sys::read_file(fmt::format("/proc/{}/status", parent));
  std::string parent_inside = "0";
  if (parent_status.ok() && inside != "1") {
    size_t at = parent_status->find("\nNSpid:");
    std::string line = at == std::string::npos
                           ? ""
                           : parent_status->substr(at + 1, parent_status->find('\n', at + 1) - at - 1);
    // A parent outside has fewer numbers.
    if (std::count(line.begin(), line.end(), '\t') > 1) parent_inside = line.substr(line.rfind('\t') + 1);
  }
  std::string command = sys::read_file("/proc/" + pid + "/cmdline").value_or("");
  std::replace(command.begin(), command.end(), '\0', ' ');
  while (!command.empty() && command.back() == ' ') command.pop_back();
  if (command.empty())
    command = "[" + stat->substr(stat->find('(') + 1, stat->rfind(')') - stat->find('(') - 1) + "]";
  auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  double age = std::max(uptime - static_cast<double>(start) / ticks, 0.001),
         used = static_cast<double>(user + system) / ticks;
  return ProcessLine{{user_name(uid, passwd), inside, parent_inside, fmt::format("{:.3f}", used / age * 100),
                      duration_text(age), terminal_name(terminal), duration_text(used), command}};
}

base::Status top(const Places& places, const std::string& name) {
  std::string id = TRY(find_container(places, name));
  base::Loop loop;
  Seen seen = TRY(observe_container(loop, places, id));
  if (!seen.runs()) return base::make_error(Kind::kConflict, "list processes of", name, "it is not running");
  std::string cgroup = places.cgroup_parent + "/" + id + "/" + kContainer;
  double uptime = std::strtod(sys::read_file("/proc/uptime").value_or("0").c_str(), nullptr);
  std::string passwd = sys::read_file(fmt::format("/proc/{}/root/etc/passwd", seen.state.pid)).value_or("");
  std::vector<std::vector<std::string>> rows = {
      {"USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"}};
  std::vector<long> pids;
  for (const std::string& pid : TRY(sys::list_dir("/proc")))
    if (pid.find_first_not_of("0123456789") == std::string::npos)
      pids.push_back(std::strtol(pid.c_str(), nullptr, 10));
  std::sort(pids.begin(), pids.end());
  for (long number : pids) {
    std::string pid = std::to_string(number);
    // "4:memory:/sampan/containers/<id>/main", and what is below it.
    std::string groups = sys::read_file("/proc/" + pid + "/cgroup").value_or("");
    size_t at = groups.find(":" + cgroup);
    if (at == std::string::npos) continue;
    if (auto line = read_process(pid, passwd, uptime)) rows.push_back(std::move(line->cells));
  }
  print(format_table(rows));
  return {};
}

}  // namespace

void add_stats(CLI::App& app, Outcome& outcome, Places& places) {
  auto o = std::make_shared<StatsOptions>();
  CLI::App* command = app.add_subcommand("stats", "What running containers use");
  command->add_flag("--no-stream", o->no_stream, "Once");
  command->add_flag("-a,--all", o->all, "All of them (those that have ended use nothing)");
  command->add_flag("--no-trunc", o->no_trunc, "Whole ids");
  command->add_option("-i,--interval", o->interval_s, "Seconds between looks")->check(CLI::PositiveNumber);
  command->add_option("--format", o->format, "json, table or a template: {{.Name}} {{.CPUPerc}}");
  command->add_option("container", o->names, "Names or ids; all that run otherwise");
  command->callback([=, &outcome, &places] {
    if (auto done = stats(places, *o); !done.ok()) fail(outcome, done.error());
  });
  auto name = std::make_shared<std::string>();
  command = app.add_subcommand("top", "A container's processes");
  command->add_option("container", *name, "Name or id")->required();
  command->callback([=, &outcome, &places] {
    if (auto done = top(places, *name); !done.ok()) fail(outcome, done.error());
  });
}

}  // namespace cli
