// The flags of `run` and `create`, as typed, and the small languages some of them speak. Pure but
// for reading CLI11.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/container_record.h"

namespace cli {

struct RunOptions {
  bool interactive = false, tty = false, remove = false, detach = false, read_only = false,
       privileged = false, init = false;
  bool sig_proxy = true, quiet = false;
  std::string name, network = "bridge", hostname, workdir, user, entrypoint, restart = "no", pull = "missing";
  bool entrypoint_given = false;  // "" takes the image's away
  std::vector<std::string> publish, volumes, mounts, tmpfs, env, env_files, labels, label_files, cap_add,
      cap_drop;
  std::vector<std::string> devices, dns, dns_search, dns_options, add_hosts, security, sysctls, ulimits,
      group_add;
  std::string memory, memory_swap, memory_reservation, shm_size, cpus, cpuset_cpus, cpuset_mems;
  int64_t cpu_shares = 0, cpu_quota = 0, cpu_period = 0;
  std::optional<int64_t> pids_limit;
  std::optional<int> oom_score_adj;
  std::string pid, ipc, stop_signal, cid_file, detach_keys = "ctrl-p,ctrl-q";
  int stop_timeout_s = 10;
  std::string image;
  std::vector<std::string> command;  // all after IMAGE
};
// `run` true: the flags of `run`; false: of `create`, which has no -d, --sig-proxy, --detach-keys.
void add_run_options(CLI::App& command, RunOptions& options, bool run);
// What CLI11 left over: IMAGE, then the command as it stands. kInvalid for a flag it did not know.
base::Status take_operands(CLI::App& command, const char* operand, std::string& first,
                           std::vector<std::string>& rest);

base::Result<int64_t> parse_size(std::string_view text);  // "256m", "1.5g", "-1": bytes; powers of 1024
base::Result<std::vector<Port>> parse_port(
    const std::string& text);  // "[IP:]HOST:CONTAINER[/udp]", ranges; HOST 0 or absent: chosen by the caller
base::Result<RestartPolicy> parse_restart(const std::string& text);    // "on-failure:3"
base::Result<int> parse_signal(std::string_view text);                 // "TERM", "SIGTERM", "15"
base::Result<std::string> parse_detach_keys(const std::string& text);  // "ctrl-p,ctrl-q" -> "\x10\x11"

struct Volume {
  std::string source, destination;   // source: absolute, a volume's name, or "" (anonymous)
  std::vector<std::string> options;  // of the mount: "ro", "rbind", "rprivate"…
  bool named() const { return source.empty() || source[0] != '/'; }
};
// "SRC:DST[:OPTIONS]" or "DST"; `cwd` completes a SRC that begins with a dot.
base::Result<Volume> parse_volume(const std::string& text, const std::string& cwd);
base::Result<base::json::object> parse_mount(
    const std::string& text, const std::string& cwd,
    Volume* volume);  // --mount type=…; either a volume or a ready mount
base::Result<base::json::object> parse_tmpfs(const std::string& text);   // "DST[:OPTIONS]": an OCI mount
base::Result<base::json::object> parse_ulimit(const std::string& text);  // "nofile=1024:2048": an OCI rlimit

}  // namespace cli
