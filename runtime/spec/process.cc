// process of config.json, and its hooks.
#include <linux/ioprio.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>

#include "base/number.h"
#include "runtime/spec/capabilities.h"
#include "runtime/spec/reader.h"

namespace runtime {
namespace {

constexpr NamedValue kRlimits[] = {{"RLIMIT_AS", RLIMIT_AS},
                                   {"RLIMIT_CORE", RLIMIT_CORE},
                                   {"RLIMIT_CPU", RLIMIT_CPU},
                                   {"RLIMIT_DATA", RLIMIT_DATA},
                                   {"RLIMIT_FSIZE", RLIMIT_FSIZE},
                                   {"RLIMIT_LOCKS", RLIMIT_LOCKS},
                                   {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
                                   {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
                                   {"RLIMIT_NICE", RLIMIT_NICE},
                                   {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                                   {"RLIMIT_NPROC", RLIMIT_NPROC},
                                   {"RLIMIT_RSS", RLIMIT_RSS},
                                   {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
                                   {"RLIMIT_RTTIME", RLIMIT_RTTIME},
                                   {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                                   {"RLIMIT_STACK", RLIMIT_STACK}};
// sched(7); SCHED_ISO is reserved and refused by kernels.
constexpr NamedValue kPolicies[] = {{"SCHED_OTHER", 0},   {"SCHED_FIFO", 1}, {"SCHED_RR", 2},
                                    {"SCHED_BATCH", 3},   {"SCHED_ISO", 4},  {"SCHED_IDLE", 5},
                                    {"SCHED_DEADLINE", 6}};
constexpr uint64_t kFifo = 1, kRoundRobin = 2, kDeadline = 6;
constexpr NamedValue kSchedulerFlags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", 0x01}, {"SCHED_FLAG_RECLAIM", 0x02},     {"SCHED_FLAG_DL_OVERRUN", 0x04},
    {"SCHED_FLAG_KEEP_POLICY", 0x08},   {"SCHED_FLAG_KEEP_PARAMS", 0x10}, {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}};
constexpr NamedValue kIoClasses[] = {{"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
                                     {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
                                     {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE}};

void read_capability_set(Reader& r, std::string_view key, uint64_t& out, std::vector<std::string>& warnings) {
  r.each(key, [&](const json::value& v, const std::string& at) {
    if (!v.is_string()) return r.errors().push_back(at + ": must be a string");
    int number = capability_number(base::as_string(&v));
    // The specification: what can't be granted is said, not refused.
    if (number < 0)
      warnings.push_back(fmt::format("{}: unknown capability {} is left out", at, base::to_json(v)));
    else out |= uint64_t{1} << number;
  });
}

void read_rlimits(Reader& r, Process& p) {
  uint64_t seen = 0;
  r.each("rlimits", [&](const json::value& v, const std::string& at) {
    Reader limit(&v, at, r.errors());
    std::string type;
    Rlimit out;
    limit.string("type", type, true);
    limit.number("soft", out.soft, true);
    limit.number("hard", out.hard, true);
    auto resource = lookup(kRlimits, type);
    if (!resource) return limit.fail("type", "unknown limit '" + type + "'");
    if (seen & (uint64_t{1} << *resource)) return limit.fail("type", type + " is given twice");
    if (out.soft > out.hard) return limit.fail("soft", "is more than hard");
    seen |= uint64_t{1} << *resource;
    out.resource = static_cast<int>(*resource);
    p.rlimits.push_back(out);
  });
}

// sched(7): what the kernel would refuse with a bare EINVAL when half of the container is made.
void check_deadline(Reader& r, const Scheduler& s) {
  constexpr uint64_t kLeastNs = 1024, kMostNs = (uint64_t{1} << 63) - 1;
  const std::pair<const char*, uint64_t> kTimes[] = {
      {"runtime", s.runtime}, {"deadline", s.deadline}, {"period", s.period}};
  for (auto [key, time] : kTimes) {
    if (key == std::string_view("period") && time == 0) continue;  // the same as the deadline
    if (time == 0) r.fail(key, "is required for SCHED_DEADLINE, and more than zero");
    else if (time < kLeastNs || time > kMostNs)
      r.fail(key, fmt::format("must be from {} to {} ns", kLeastNs, kMostNs));
  }
  if (s.runtime > s.deadline) r.fail("runtime", "must not be more than deadline");
  if (s.period != 0 && s.deadline > s.period) r.fail("deadline", "must not be more than period");
}

void read_scheduler(Reader r, Process& p) {
  if (!r) return;
  Scheduler s;
  std::string policy;
  r.string("policy", policy, true);
  auto number = lookup(kPolicies, policy);
  if (!number) return r.fail("policy", "unknown policy '" + policy + "'");
  s.policy = static_cast<uint32_t>(*number);
  r.number("nice", s.nice);
  if (s.nice < -20 || s.nice > 19) r.fail("nice", "must be from -20 to 19");
  r.number("priority", s.priority);
  if (s.priority != 0 && *number != kFifo && *number != kRoundRobin)
    r.fail("priority", "is for SCHED_FIFO and SCHED_RR alone");
  r.number("runtime", s.runtime);
  r.number("deadline", s.deadline);
  r.number("period", s.period);
  if (*number == kDeadline) check_deadline(r, s);
  if ((s.runtime || s.deadline || s.period) && *number != kDeadline)
    r.fail(s.runtime ? "runtime" : s.deadline ? "deadline" : "period", "is for SCHED_DEADLINE alone");
  r.each("flags", [&](const json::value& v, const std::string& at) {
    auto flag = lookup(kSchedulerFlags, base::as_string(&v));
    if (!flag) r.errors().push_back(fmt::format("{}: unknown flag {}", at, base::to_json(v)));
    else s.flags |= *flag;
  });
  p.scheduler = s;
}

void read_io_priority(Reader r, Process& p) {
  if (!r) return;
  std::string name;
  int priority = 0;
  r.string("class", name, true);
  auto number = lookup(kIoClasses, name);
  if (!number) return r.fail("class", "unknown class '" + name + "'");
  r.number("priority", priority);
  if (priority < 0 || priority > 7) return r.fail("priority", "must be from 0 to 7");
  p.io_priority = static_cast<int>(*number << IOPRIO_CLASS_SHIFT) | priority;
}

void read_affinity(Reader r, Process& p) {
  if (!r) return;
  for (auto [key, mask] :
       {std::pair{"initial", &p.affinity_initial}, std::pair{"final", &p.affinity_final}}) {
    std::string text;
    r.string(key, text);
    if (!text.empty() && !parse_number_list(text, CPU_SETSIZE, *mask))
      r.fail(key, "'" + text + "' is not a list of CPUs such as 0-3,7");
  }
}

}  // namespace

bool parse_number_list(std::string_view text, size_t limit, std::string& mask) {
  mask.assign(limit / 8, '\0');
  auto number = [&](size_t& out) {
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (ec != std::errc() || out >= limit) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return true;
  };
  auto blanks = [&] {
    while (!text.empty() && text[0] == ' ') text.remove_prefix(1);
  };
  for (;;) {
    size_t first = 0, last = 0;
    blanks();
    if (!number(first)) return false;
    last = first;
    if (!text.empty() && text[0] == '-') {
      text.remove_prefix(1);
      if (!number(last) || last < first) return false;
    }
    for (size_t i = first; i <= last; ++i) mask[i / 8] = static_cast<char>(mask[i / 8] | (1 << (i % 8)));
    blanks();
    if (text.empty()) return true;
    if (text[0] != ',') return false;
    text.remove_prefix(1);
  }
}

void clean_environment(std::vector<std::string>& env) {
  std::vector<std::string> out;
  for (size_t i = env.size(); i-- > 0;) {
    size_t name = env[i].find('=') + 1;
    bool later = std::any_of(out.begin(), out.end(),
                             [&](const std::string& o) { return o.compare(0, name, env[i], 0, name) == 0; });
    if (!later) out.push_back(std::move(env[i]));
  }
  std::erase(out, "HOME=");  // only now: it counts as the last word on HOME
  std::reverse(out.begin(), out.end());
  env = std::move(out);
}

Process read_process(Reader r, std::vector<std::string>& warnings) {
  Process p;
  if (!r) return p;
  r.refuse({"commandLine"});  // Windows'
  r.boolean("terminal", p.terminal);
  if (Reader size = r.child("consoleSize")) {
    size.number("height", p.rows);
    size.number("width", p.columns);
  }
  if (Reader user = r.child("user")) {
    user.refuse({"username"});  // Windows'
    user.number("uid", p.uid);
    user.number("gid", p.gid);
    if (p.uid > base::kMaxId) user.fail("uid", "must be from 0 to 4294967294");
    if (p.gid > base::kMaxId) user.fail("gid", "must be from 0 to 4294967294");
    user.number("umask", p.umask);
    user.each("additionalGids", [&](const json::value& v, const std::string& at) {
      int64_t gid = base::as_int(&v, -1);
      if (!v.is_number() || gid < 0 || gid > base::kMaxId) r.errors().push_back(at + ": must be a group id");
      else p.additional_gids.push_back(static_cast<uint32_t>(gid));
    });
  }
  r.strings("args", p.args);
  if (p.args.empty()) r.fail("args", "is required: give the program to run");
  else if (p.args[0].empty()) r.fail("args[0]", "must not be empty");
  r.strings("env", p.env);
  for (const std::string& entry : p.env)
    if (entry.find('=') == std::string::npos || entry[0] == '=')
      r.fail("env", "'" + entry + "' is not NAME=value");
  clean_environment(p.env);
  r.string("cwd", p.cwd, true);
  if (!p.cwd.empty() && p.cwd[0] != '/') r.fail("cwd", "must be an absolute path");
  if (Reader caps = r.child("capabilities")) {
    Capabilities& c = p.capabilities;
    read_capability_set(caps, "bounding", c.bounding, warnings);
    read_capability_set(caps, "effective", c.effective, warnings);
    read_capability_set(caps, "permitted", c.permitted, warnings);
    read_capability_set(caps, "inheritable", c.inheritable, warnings);
    read_capability_set(caps, "ambient", c.ambient, warnings);
    if (c.effective & ~c.permitted) {
      warnings.push_back("process.capabilities.effective: what permitted lacks is left out");
      c.effective &= c.permitted;
    }
    for (int i = 0; i < 64; ++i)
      if (c.ambient & ~(c.inheritable & c.permitted) & (uint64_t{1} << i))
        warnings.push_back(fmt::format(
            "can't raise ambient capability {}: it is not inheritable and permitted", capability_name(i)));
    c.ambient &= c.inheritable & c.permitted;
  }
  read_rlimits(r, p);
  r.boolean("noNewPrivileges", p.no_new_privileges);
  r.number("oomScoreAdj", p.oom_score_adj);
  if (p.oom_score_adj && (*p.oom_score_adj < -1000 || *p.oom_score_adj > 1000))
    r.fail("oomScoreAdj", "must be from -1000 to 1000");
  read_scheduler(r.child("scheduler"), p);
  read_io_priority(r.child("ioPriority"), p);
  read_affinity(r.child("execCPUAffinity"), p);
  r.string("apparmorProfile", p.apparmor_profile);
  r.string("selinuxLabel", p.selinux_label);
  return p;
}

namespace {
std::vector<Hook> read_hook_list(Reader& r, std::string_view key) {
  std::vector<Hook> out;
  r.each(key, [&](const json::value& v, const std::string& at) {
    Reader hook(&v, at, r.errors());
    Hook h;
    hook.string("path", h.path, true);
    if (!h.path.empty() && h.path[0] != '/') hook.fail("path", "must be an absolute path");
    hook.strings("args", h.args);
    hook.strings("env", h.env);
    h.has_env = hook.get("env") != nullptr;
    hook.number("timeout", h.timeout_s);
    if (hook.get("timeout") && h.timeout_s <= 0) hook.fail("timeout", "must be more than zero");
    out.push_back(std::move(h));
  });
  return out;
}
}  // namespace

Hooks read_hooks(Reader r) {
  Hooks out;
  if (!r) return out;
  out.prestart = read_hook_list(r, "prestart");
  out.create_runtime = read_hook_list(r, "createRuntime");
  out.create_container = read_hook_list(r, "createContainer");
  out.start_container = read_hook_list(r, "startContainer");
  out.poststart = read_hook_list(r, "poststart");
  out.poststop = read_hook_list(r, "poststop");
  return out;
}

base::Result<Process> parse_process(const json::value& value) {
  Errors errors;
  std::vector<std::string> warnings;
  Process p = read_process(Reader(&value, "process", errors), warnings);
  if (!value.is_object() && errors.empty()) errors.push_back("process: must be an object");
  if (!errors.empty()) return errors_as_one(errors, "process");
  return p;
}

}  // namespace runtime
