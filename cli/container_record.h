// What is known about one container of `sampan run`: what was asked for (Record, never changes) and
// what became of it (State). Values and their JSON; no I/O.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"

namespace cli {

struct Port {
  std::string host_ip;  // "" = every address of the host
  uint16_t host = 0, container = 0;
  std::string protocol = "tcp";  // tcp or udp
  std::string text() const;      // "0.0.0.0:8080->80/tcp"
};
struct RestartPolicy {
  std::string name = "no";  // no, on-failure, always, unless-stopped
  int max_retries = 0;      // of on-failure; 0: no bound
};
struct Record {
  std::string id, name;             // 64 hex digits; unique, [a-zA-Z0-9_.-]
  std::string image, image_digest;  // as it was asked for; of the manifest
  std::vector<std::string> layers;  // lowest first
  base::Time created_at{};
  base::json::value config;        // OCI runtime-spec config.json
  std::string network = "bridge";  // bridge, host, none
  std::string hostname;            // "": the host's
  bool host_ipc = false, host_pid = false;
  std::map<std::string, std::string> sysctls;  // of the network and ipc namespaces
  std::vector<Port> ports;
  std::vector<std::string> hosts, dns, dns_search, dns_options;  // hosts: "name:address"
  std::vector<std::string> anonymous_volumes;                    // removed with the container
  std::map<std::string, std::string> labels;
  RestartPolicy restart;
  bool remove = false;  // --rm
  bool terminal = false, open_stdin = false, stdin_once = false;
  std::string stop_signal = "SIGTERM";
  int stop_timeout_s = 10;

  std::vector<std::string> command() const;  // config's process.args
};
struct State {
  enum class Phase { kCreated, kStarting, kRunning, kPaused, kRestarting, kExited };
  Phase phase = Phase::kCreated;
  int pid = 0;
  base::Time started_at{}, finished_at{};
  int exit_code = 0;
  bool oom_killed = false;
  std::string address;  // on the bridge, while it runs
  std::string error;    // why the last start failed
  int restarts = 0;
  int restart_streak = 0;       // since it last lived for ten seconds
  bool stop_requested = false;  // by a person: no policy starts it again
};

std::string phase_name(State::Phase phase);  // "running"
base::json::value encode(const Record& record);
base::Result<Record> decode_record(const base::json::value& value);
base::json::value encode(const State& state);
State decode_state(const base::json::value& value);

// What ps says: "Up 3 minutes", "Exited (1) 2 hours ago", "Created".
std::string status_text(const State& state, base::Time now);
std::string ago_text(base::Duration age);  // "About a minute", "2 hours"

// Does the policy start a container again that ended so? How long to wait first: doubling from
// 100 ms to a minute, from the beginning after ten seconds of life.
bool restarts(const RestartPolicy& policy, const State& state);
base::Duration restart_delay(int restarts_in_a_row);

}  // namespace cli
