#include "cli/run_options.h"

namespace cli {

namespace {

struct Adder {
  CLI::App& command;
  // Several times, one value each: CLI11 would take what follows as well.
  CLI::Option* many(const char* flag, std::vector<std::string>& to, const char* help) {
    return command.add_option(flag, to, help)
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  template <typename T>
  CLI::Option* one(const char* flag, T& to, const char* help) {
    return command.add_option(flag, to, help)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  CLI::Option* flag(const char* name, bool& to, const char* help) { return command.add_flag(name, to, help); }
};

void add_limits(Adder add, RunOptions& o) {
  add.one("-m,--memory", o.memory, "Memory limit: 256m, 1g");
  add.one("--memory-swap", o.memory_swap, "Memory and swap together; -1: no limit");
  add.one("--memory-reservation", o.memory_reservation, "Memory the kernel tries to leave it");
  add.one("--cpus", o.cpus, "CPUs it may use: 0.5");
  add.one("--cpu-quota", o.cpu_quota, "Microseconds of CPU per period");
  add.one("--cpu-period", o.cpu_period, "Microseconds; 100000 unless given");
  add.one("-c,--cpu-shares", o.cpu_shares, "Weight against others: 1024 is usual");
  add.one("--cpuset-cpus", o.cpuset_cpus, "CPUs it may run on: 0-3,7");
  add.one("--cpuset-mems", o.cpuset_mems, "NUMA nodes it may use");
  add.command.add_option_function<int64_t>(
      "--pids-limit", [&o](const int64_t& n) { o.pids_limit = n; },
      "Processes at most; -1: no limit (2048 unless given)");
  add.command.add_option_function<int>(
      "--oom-score-adj", [&o](const int& n) { o.oom_score_adj = n; },
      "-1000 to 1000: who is killed first when memory ends");
  add.one("--shm-size", o.shm_size, "Size of /dev/shm (64m)");
  add.many("--ulimit", o.ulimits, "NAME=SOFT[:HARD], as nofile=1024:2048");
}

void add_security(Adder add, RunOptions& o) {
  add.flag("--read-only", o.read_only, "The root file system can't be written");
  add.many("--cap-add", o.cap_add, "A capability more: NET_ADMIN, ALL");
  add.many("--cap-drop", o.cap_drop, "A capability less; ALL");
  add.flag("--privileged", o.privileged, "Every capability and device, nothing masked, no seccomp");
  add.many("--security-opt", o.security, "seccomp=unconfined, seccomp=FILE, no-new-privileges");
  add.many("--device", o.devices, "HOST[:CONTAINER[:rwm]]: a device of the host");
  add.many("--group-add", o.group_add, "Another group of the user, by number");
  add.many("--sysctl", o.sysctls, "NAME=VALUE, of the container's network or ipc");
}

void add_surroundings(Adder add, RunOptions& o) {
  add.many("-p,--publish", o.publish,
           "[IP:]HOST:CONTAINER[/udp]: a port of the host leads to one of the container");
  add.one("--network,--net", o.network, "bridge, host or none");
  add.many("-v,--volume", o.volumes, "SRC:DST[:ro]: a directory or file of the host, or a volume by name");
  add.many("--mount", o.mounts, "type=bind|volume|tmpfs,source=…,target=…,readonly");
  add.many("--tmpfs", o.tmpfs, "DST[:OPTIONS]: memory mounted there");
  add.one("-h,--hostname", o.hostname, "Its host name (the short id)");
  add.many("--dns", o.dns, "A name server, in place of the host's");
  add.many("--dns-search", o.dns_search, "A search domain; . for none");
  add.many("--dns-option,--dns-opt", o.dns_options, "An option of resolv.conf");
  add.many("--add-host", o.add_hosts, "NAME:ADDRESS for /etc/hosts; host-gateway is the host");
  add.one("--pid", o.pid, "host: the host's processes are seen");
  add.one("--ipc", o.ipc, "host: the host's shared memory");
}

}  // namespace

void add_run_options(CLI::App& command, RunOptions& o, bool run) {
  command.set_help_flag("--help", "Print this help message and exit");
  command.prefix_command();
  Adder add{command};
  add.flag("-i,--interactive", o.interactive, "Our standard input is its own");
  add.flag("-t,--tty", o.tty, "It has a terminal");
  add.flag("--rm", o.remove, "Removed when it ends");
  if (run) {
    add.flag("-d,--detach", o.detach, "In the background: prints its id");
    add.flag("--sig-proxy", o.sig_proxy, "Our signals go to it (yes)");
    add.one("--detach-keys", o.detach_keys, "Leave it running: ctrl-p,ctrl-q");
  }
  add.one("--name", o.name, "Its name; one is made up otherwise");
  add.many("-e,--env", o.env, "NAME=VALUE, or NAME as it is here");
  add.many("--env-file", o.env_files, "A file of them");
  add.one("-w,--workdir", o.workdir, "Where its command begins");
  add.one("-u,--user", o.user, "NAME|UID[:GROUP|GID]");
  add.one("--entrypoint", o.entrypoint, "Instead of the image's; a JSON list or one word")
      ->each([&o](const std::string&) { o.entrypoint_given = true; });
  add.flag("--init", o.init, "A small init collects the dead and passes signals on");
  add.one("--restart", o.restart, "no, on-failure[:N], always, unless-stopped");
  add.one("--pull", o.pull, "always, missing, never, newer");
  add.flag("-q,--quiet", o.quiet, "No progress of a pull");
  add.many("-l,--label", o.labels, "NAME=VALUE");
  add.many("--label-file", o.label_files, "A file of them");
  add.one("--stop-signal", o.stop_signal, "What stop sends (the image's, or TERM)");
  add.one("--stop-timeout", o.stop_timeout_s, "Seconds until stop kills (10)");
  add.one("--cidfile", o.cid_file, "A new file for its id");
  add_surroundings(add, o);
  add_limits(add, o);
  add_security(add, o);
  command.footer("Operands: IMAGE [COMMAND [ARGUMENT…]]");
}

base::Status take_operands(CLI::App& command, const char* operand, std::string& first,
                           std::vector<std::string>& rest) {
  rest = command.remaining();
  if (!rest.empty() && rest[0] == "--") rest.erase(rest.begin());
  else if (!rest.empty() && rest[0].size() > 1 && rest[0][0] == '-')
    return base::make_error(base::Kind::kInvalid, "read flags", rest[0], "unknown flag", "see --help");
  if (rest.empty())
    return base::make_error(base::Kind::kInvalid, "read operands", "", std::string(operand) + " is missing",
                            "see --help");
  first = rest[0];
  rest.erase(rest.begin());
  return {};
}

}  // namespace cli
