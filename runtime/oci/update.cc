// update: other limits for a container that is there. Makes the cgroups that a new kind of limit needs.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>

#include "base/json_file.h"
#include "base/sys.h"
#include "runtime/cgroup/systemd.h"
#include "runtime/oci/commands.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;
constexpr int kMoveRounds = 20;

struct Row {
  const char *option, *section, *field;
  bool bytes = false;  // takes k, m, g, t: of 1024
};
constexpr Row kRows[] = {{"memory", "memory", "limit", true},
                         {"memory-reservation", "memory", "reservation", true},
                         {"memory-swap", "memory", "swap", true},
                         {"cpu-shares", "cpu", "shares"},
                         {"cpu-share", "cpu", "shares"},
                         {"cpu-quota", "cpu", "quota"},
                         {"cpu-period", "cpu", "period"},
                         {"cpu-burst", "cpu", "burst"},
                         {"cpu-idle", "cpu", "idle"},
                         {"pids-limit", "pids", "limit"},
                         {"cpu-rt-period", "cpu", "realtimePeriod"},
                         {"cpu-rt-runtime", "cpu", "realtimeRuntime"},
                         {"kernel-memory", "memory", "kernel", true},
                         {"kernel-memory-tcp", "memory", "kernelTCP", true},
                         {"blkio-weight", "blockIO", "weight"}};

base::Result<json::value> option_number(const Row& row, const std::string& text) {
  auto bad = [&](const char* why) {
    return base::make_error(Kind::kInvalid, std::string("read option --") + row.option, {},
                            "'" + text + "' " + why);
  };
  int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (ec != std::errc()) return bad("is not a number");
  if (unit.empty()) return json::value(value);
  if (row.bytes && value >= 0) {
    size_t power =
        std::string_view("bkmgt").find(static_cast<char>(std::tolower(static_cast<unsigned char>(unit[0]))));
    std::string_view rest = unit.substr(1);
    bool known = power != std::string_view::npos &&
                 (rest.empty() || (power > 0 && (rest == "b" || rest == "B" || rest == "iB")));
    if (known && value <= INT64_MAX >> (10 * power)) return json::value(value << (10 * power));
  }
  return bad(row.bytes ? "is not a size such as 512m" : "is not a number");
}

base::Result<Resources> wanted_resources(const Options& options, const std::string& id) {
  for (const char* refused : {"l3-cache-schema", "mem-bw-schema"})
    if (options.has(refused))
      return base::make_error(Kind::kUnsupported, "update container", id,
                              fmt::format("--{} needs Intel RDT, which is not supported", refused));
  json::object document;
  if (options.has("resources")) {
    std::string path = options.get("resources");
    json::value value =
        TRY(base::parse_json_file(path == "-" ? TRY(sys::read_all(0)) : TRY(sys::read_file(path)), path));
    if (!value.is_object()) return base::make_error(Kind::kInvalid, "read", path, "must be an object");
    document = value.as_object();
  }
  for (const Row& row : kRows)
    if (options.has(row.option))
      base::object_at(document, row.section)[row.field] = TRY(option_number(row, options.get(row.option)));
  for (auto [option, field] : {std::pair{"cpuset-cpus", "cpus"}, std::pair{"cpuset-mems", "mems"}})
    if (options.has(option)) base::object_at(document, "cpu")[field] = options.get(option);
  Resources resources = TRY(parse_resources(document));
  if (!resources.devices.empty())
    return base::make_error(Kind::kUnsupported, "update container", id, "devices can't be changed");
  return resources;
}

// What stands beside what is changed, in files that hold two values.
void complete(const CgroupLayout& layout, const std::string& path, Resources& resources) {
  if (layout.pure_v2()) {
    auto now = sys::read_file(layout.unified + path + "/cpu.max");
    if (resources.cpu_period && !resources.cpu_quota && now.ok()) {
      int64_t quota = -1;
      std::from_chars(now->data(), now->data() + now->size(), quota);  // "max" leaves it
      resources.cpu_quota = quota;
    }
    return;
  }
  // Memory and swap together can't be less than memory, which now has no limit.
  const CgroupLayout::Hierarchy* memory = layout.find("memory");
  if (resources.memory_limit == -1 && !resources.memory_swap && memory &&
      sys::exists(memory->mount + path + "/memory.memsw.limit_in_bytes"))
    resources.memory_swap = -1;
}

// v1: a container has no directory in the hierarchies that it was started without a limit of.
base::Status enter_new_directories(const CgroupLayout& layout, const std::string& path, CgroupPlan& plan) {
  CgroupPlan make;
  for (const CgroupAction& action : plan.actions)
    if (action.kind == CgroupAction::Kind::kMakeDirectory && !sys::exists(action.path))
      make.actions.push_back(action);
  TRY(act_cgroup(make));
  for (const CgroupAction& made : make.actions) {
    bool moved = true;
    // What forks meanwhile is found the next time round.
    for (int round = 0; moved && round < kMoveRounds; ++round) {
      moved = false;
      std::string inside = "\n" + TRY(sys::read_file(made.path + "/cgroup.procs"));
      for (pid_t pid : cgroup_processes(layout, path)) {
        if (inside.find(fmt::format("\n{}\n", pid)) != std::string::npos) continue;
        auto entered = sys::write_control(made.path + "/cgroup.procs", std::to_string(pid));
        if (!entered.ok() && entered.error().errno_value != ESRCH) return entered;
        moved = true;
      }
    }
  }
  return {};
}

// v1 checks each write against the other half of the pair: which goes first depends on what is there.
constexpr std::pair<std::string_view, std::string_view> kPairs[] = {
    {"/memory.limit_in_bytes", "/memory.memsw.limit_in_bytes"},
    {"/cpu.cfs_period_us", "/cpu.cfs_quota_us"},
    {"/cpu.rt_period_us", "/cpu.rt_runtime_us"}};

base::Status act_in_either_order(CgroupPlan& plan) {
  base::Status done;
  for (size_t tries = 0; tries <= std::size(kPairs); ++tries) {
    done = act_cgroup(plan);
    if (done.ok() || done.error().errno_value != EINVAL) return done;
    bool swapped = false;
    for (size_t i = 0; i + 1 < plan.actions.size() && !swapped; ++i)
      for (auto [first, second] : kPairs)
        if (plan.actions[i].path == done.error().subject && plan.actions[i].path.ends_with(first) &&
            plan.actions[i + 1].path.ends_with(second)) {
          std::swap(plan.actions[i], plan.actions[i + 1]);
          swapped = true;
        }
    if (!swapped) return done;
  }
  return done;
}

}  // namespace

base::Result<int> oci_update(const OciContext& context) {
  const std::string& id = context.options.arguments[0];
  base::UniqueFd lock = TRY(context.store.lock(id));
  OciState state = TRY(context.store.read(id));
  const CgroupLayout& layout = *TRY(cgroup_layout());
  if (state.cgroup.empty())
    return base::make_error(Kind::kUnsupported, "update container", id, "it has no cgroup of its own");
  OciStatus status = context.store.status(state, layout);
  if (status == OciStatus::kStopped || status == OciStatus::kCreating)
    return base::make_error(Kind::kNotFound, "update container", id, "container not running");
  Resources resources = TRY(wanted_resources(context.options, id));
  if (resources.check_before_update.value_or(false) && resources.memory_limit && *resources.memory_limit > 0)
    if (uint64_t used = cgroup_usage(layout, state.cgroup).memory_bytes;
        used > static_cast<uint64_t>(*resources.memory_limit))
      return base::make_error(
          Kind::kConflict, "update container", id,
          fmt::format("rejecting memory limit {}: in use are {} bytes", *resources.memory_limit, used));
  complete(layout, state.cgroup, resources);
  CgroupPlan plan = TRY(plan_cgroup_update(layout, state.cgroup, resources, !state.unit.empty()));
  if (!state.unit.empty()) {
    // systemd writes what it was told again whenever it likes: it must know.
    auto properties = TRY(systemd_resource_properties(layout, resources));
    TRY(TRY(Systemd::connect(state.user_unit)).set_properties(state.unit, properties));
  }
  TRY(enter_new_directories(layout, state.cgroup, plan));
  TRY(act_in_either_order(plan));
  return 0;
}

}  // namespace runtime
