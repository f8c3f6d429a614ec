// What the kubelet knows of one Pod on this node: plain values, filled by its worker, read by the
// planner, and written to the Pod's record. No I/O and no pointers to anything that acts.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "kubelet/volumes/plan.h"

namespace kubelet {

using base::Duration;
using base::Time;

enum class Step { kNone, kBusy, kDone, kFailed };

struct ImageSeen {
  bool present = false;  // in the node's store
  std::string digest;    // of its manifest
  bool looking = false;  // the store was asked for it, and has not answered
  bool pulling = false;
  int pulled_attempt = -1;      // policy Always: the last attempt it was pulled for
  std::string reason, message;  // of the last failed pull; reason empty: none
  Time failed_at{};
  Duration backoff{};
};

// One finished attempt of a container.
struct Exit {
  int code = 0;
  int signal = 0;
  std::string reason;   // OOMKilled, Completed, Error, StartError…
  std::string message;  // the termination message
  Time started_at{}, finished_at{};
  std::string container_id;
};

struct ProbeSeen {
  enum class Verdict { kUnknown, kSuccess, kFailure } verdict = Verdict::kUnknown;
  bool in_flight = false;
  int streak = 0;  // consecutive results like the last one
  bool last_success = false;
  Time last_started{};
};

enum class Run { kNone, kStarting, kRunning, kExited };

struct ContainerSeen {
  int attempt = -1;  // the last one begun; its number is the restart count
  int sandbox = 0;   // the sandbox attempt it ran in
  Run run = Run::kNone;
  Time started_at{};
  Exit exit;                 // when kExited
  std::optional<Exit> last;  // of the attempt before
  bool remains = false;      // sampan-pod still holds the exited container
  bool removing = false;
  int leaving = -1;  // the attempt before, which sampan-pod still holds: removed once this one runs
  Step prepared = Step::kNone;  // image looked up, mounts and files made for `prepared_attempt`
  int prepared_attempt = -1;
  std::string image_id, stop_signal;  // what the running attempt was started with
  std::string config_error;           // what kept it from being started
  std::string config_reason;          // CreateContainerConfigError
  Time config_failed_at{};
  Duration backoff{};  // before the next restart
  Time backoff_at{};   // when it was last raised
  Step post_start = Step::kNone, pre_stop = Step::kNone;
  bool stopping = false, signalled = false, killed = false;
  Time stop_at{}, signalled_at{};
  int64_t grace_seconds = 0;
  ImageSeen image;
  ProbeSeen startup, liveness, readiness;
};

struct SandboxSeen {
  Step step = Step::kNone;  // kFailed: not made; tried again at retry_at
  int attempt = 0;          // grows when one was lost
  std::string ip;
  std::string error;
  Time retry_at{};
  int failures = 0, stop_failures = 0;  // in a row
  bool stale = false;                   // its address is not of the node's range (any more): made anew
  bool stray = false;                   // kDone, by a kubelet that left no record: stopped, and made anew
  Step cleaned = Step::kDone;           // kNone: what a dead or half made one left is to be removed first
  Time stop_retry_at{};                 // it could not be stopped, or cleaned up after
};
struct VolumeSeen {
  Step step = Step::kNone;
  std::string error = {};  // kFailed: what of it, in the words of its Event
  Time retry_at{};
  int failures = 0;  // in a row
};
struct VolumesSeen {
  VolumeSeen directory;                    // of the Pod: hosts, resolv.conf, /dev/shm; before all volumes
  std::map<std::string, VolumeSeen> each;  // by the names of the Pod's volumes
  VolumeSeen claims;                       // kDone: what they stand for is known
  VolumeSeen refresh;                      // of the contents of those that are done; never kDone
  bool outdated = false;                   // what they were written from has changed since
  VolumeSeen removal;                      // never kDone: then all of these are anew
};
struct TokenSeen {
  bool asked = false;  // the API server was, and has not answered
  bool held = false;
  int failures = 0;  // in a row
  Time due{};        // when it is asked for: to be renewed, or again
};

struct PodObserved {
  bool network_ready = false;        // the node has its Pod CIDR, bridge and routes
  bool objects_loaded = false;       // ConfigMaps and Secrets it refers to are known, or known to be absent
  bool pull_secrets_loaded = false;  // of these, its imagePullSecrets
  bool images_known = false;         // the node has read who may have which image
  bool services_known = false;
  bool gone_from_api = false;    // deleted there already: no final DELETE
  Step recovered = Step::kDone;  // kNone: a sampan-pod of an earlier kubelet is to be found; never kFailed
  Time first_seen{};
  SandboxSeen sandbox;
  VolumesSeen volumes;
  std::map<TokenKey, TokenSeen> tokens;
  std::map<std::string, ContainerSeen> containers;  // init containers and the others, by name
  Step removed = Step::kNone;                       // the final DELETE
  Time remove_retry_at{};
};

// The record of a Pod: what cannot be observed after a restart of the kubelet.
base::json::value encode_record(const PodObserved& seen);
base::Result<PodObserved> decode_record(const base::json::value& in);

}  // namespace kubelet
