// The planner of one Pod: from what the API wants and what is observed to ordered actions, the
// status to publish and the time to look again. Pure: no clock, no I/O, no logging.
// Rules: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/types.h"
#include "kubelet/pod/observed.h"
#include "kubelet/volumes/pod_values.h"

namespace kubelet {

enum class ProbeKind { kStartup, kLiveness, kReadiness };
const char* probe_name(ProbeKind kind);

struct Action {
  enum class Kind {
    kFindSandbox,
    kCleanSandbox,
    kStartSandbox,
    kFetchToken,
    kFetchClaims,
    kMountVolumes,
    kRefreshVolumes,
    kPull,
    kPrepare,
    kStart,
    kPostStart,
    kProbe,
    kPreStop,
    kSignal,
    kKill,
    kRemove,
    kStopSandbox,
    kUnmountVolumes,
    kDelete,
  } kind;
  std::string container = {};
  std::vector<std::string> volumes = {};  // by name; the Pod's directory comes with the first
  int attempt = 0;
  std::string image = {};
  TokenKey token = {};
  std::string signal = {};
  int64_t grace_seconds = 0;
  std::string why = {};  // of a stop: the sentence of its Killing event
  Duration backoff{};    // to be recorded with kStart
  ProbeKind probe = ProbeKind::kReadiness;

  std::string text() const;  // "start web attempt 2"
};

struct Plan {
  std::vector<Action> actions;
  api::PodStatus status;
  std::optional<Time> wake;
  bool in_motion = false;  // something was begun that tells more of the Pod very soon
  bool finished = false;   // nothing of the Pod is left on the node, and the API knows
  bool unknown = false;    // how it stands is being found out: the status says nothing yet
};

struct NodeFacts {
  std::string host_ip;
};

Plan plan_pod(const api::Pod& pod, const PodObserved& seen, const NodeFacts& node, Time now);

// Counts one probe result; true when the verdict changed.
bool count_probe(const api::Probe& probe, ProbeKind kind, bool success, ProbeSeen& seen);

// ---- shared by the planner, the status and the executors ----
bool is_sidecar(const api::Container& container);
const api::Probe* probe_of(const api::Container& container, ProbeKind kind);
bool has_started(const api::Container& container, const ContainerSeen& seen);
bool is_ready(const api::Container& container, const ContainerSeen& seen);
bool should_restart(const api::Pod& pod, const api::Container& container, bool init,
                    const ContainerSeen& seen);
// Init containers are through, for this sandbox.
bool is_initialized(const api::Pod& pod, const PodObserved& seen);
// Its directory and all its volumes are there.
bool has_volumes(const api::Pod& pod, const PodObserved& seen);
// What volumes are written from has changed: of any kind, or this token. Those not made yet will have it
// anyway.
void contents_changed(const api::Pod& pod, PodObserved& seen, const TokenKey* token = nullptr);
// "Succeeded", "Failed" or "" while it goes on.
std::string terminal_phase(const api::Pod& pod, const PodObserved& seen, Time now);
bool deadline_passed(const api::Pod& pod, const PodObserved& seen, Time now);
// Doubling from a second: the wait after so many failures in a row.
Duration retry_wait(int failures, Duration most);
Duration restart_wait(const ContainerSeen& seen, Time now);  // zero: at once
std::string qos_class(const api::Pod& pod);
std::string container_id(const api::Pod& pod, std::string_view name, int attempt);  // in sampan-pod
bool is_terminating(const api::Pod& pod);
std::string pull_policy(const api::Container& container);
int64_t grace_of(const api::Pod& pod);

// Why a container that never ran has no log, in the kubelet's words.
std::string no_log_text(const api::PodStatus& status, const std::string& pod, const std::string& container);
api::PodStatus pod_status(const api::Pod& pod, const PodObserved& seen, const NodeFacts& node, Time now);

// 64 bits of seconds are more than a clock of nanoseconds holds: ten years are for ever here.
constexpr int64_t kForEverSeconds = 10LL * 365 * 86400;
constexpr Duration kBackoffFirst = std::chrono::seconds(10);
constexpr Duration kBackoffMax = std::chrono::minutes(5);
constexpr Duration kBackoffForget = std::chrono::minutes(10);
// For so long a failed pull is shown as itself before it is shown as a back-off.
constexpr Duration kShowError = std::chrono::seconds(2);
constexpr Duration kConfigRetry = std::chrono::seconds(10);

}  // namespace kubelet
