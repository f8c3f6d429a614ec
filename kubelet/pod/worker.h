// One Pod on this node: observes it (sampan-pod, probes, pulls, the API), has it planned, acts, and
// publishes its status. Everything on the loop's thread; blocking calls go to Background. A record
// on disk says what was intended before it is done, so that a killed kubelet finds its way back.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "base/backoff.h"
#include "kubelet/node/background.h"
#include "kubelet/node/events.h"
#include "kubelet/node/images.h"
#include "kubelet/node/layout.h"
#include "kubelet/node/pull_records.h"
#include "kubelet/pod/exec_run.h"
#include "kubelet/pod/files.h"
#include "kubelet/pod/net_check.h"
#include "kubelet/pod/oci_config.h"
#include "kubelet/pod/plan.h"
#include "kubelet/pod/probe_metrics.h"
#include "kubelet/pod/status_patch.h"
#include "kubelet/volumes/objects.h"
#include "kubelet/volumes/plan.h"
#include "netns/netns.h"
#include "runtime/runtime.h"

namespace kubelet {

// What all Pods of a node share; owned by Kubelet, outlives the workers.
struct PodContext {
  base::Loop& loop;
  api::Client& client;
  Background& background;
  Images& images;
  Events& events;
  ObjectCache& objects;
  base::Resolver& resolver;  // of hosts that probes and hooks name
  ProbeMetrics& probe_metrics;
  PullRecords& pull_records;
  Layout layout;
  NodeFacts node;
  DnsFacts dns;
  HostFacts host;
  std::string node_name, pod_program, cgroup_parent, bridge;
  int64_t node_cpu_milli = 0, max_pids = -1;
  int mtu = 1500;
  netns::AddressPool* pool = nullptr;  // null until the node has its Pod CIDR
  base::Cidr pod_cidr{};
  // Services as environment; null until they are listed once.
  std::function<const std::vector<ServiceLink>*(const std::string& ns)> services;
  // The runtime and the network, replaced by fakes in tests.
  std::function<void(runtime::SandboxSpec, std::function<void(base::Result<std::unique_ptr<runtime::Pod>>)>)>
      start_pod;
  std::function<base::Result<std::unique_ptr<runtime::Pod>>(const std::string& uid)> connect_pod;
  std::function<base::Status(const std::string& uid)> clean_dead_pod;                     // blocks
  std::function<base::Status(const netns::PodLink&, int netns, int netlink)> attach_pod;  // blocks
  std::function<base::Status(const std::string& host_link)> detach_pod;                   // blocks
  std::function<base::json::value(const std::vector<std::string>& capabilities)> default_seccomp;
  std::map<std::string, base::Loop::Handle> retries = {};  // of cleaning that failed, by what it is about
};

// Detaches the link of a Pod's address and gives the address back; again and again until that works.
void release_address(PodContext& context, const std::string& link, const std::string& ip);

class PodWorker : public std::enable_shared_from_this<PodWorker> {
 public:
  // `record`: what an earlier kubelet left of this Pod.
  PodWorker(PodContext& context, api::Pod pod, std::optional<PodObserved> record);
  ~PodWorker();
  void start();                       // once, after construction
  void update(api::Pod pod);          // a newer state from the API
  void gone();                        // deleted from the API
  void look_again();                  // something outside changed
  void objects_changed();             // a ConfigMap or Secret it refers to
  std::function<void()> on_finished;  // nothing is left; may be destroyed (not inside the call)
  std::function<void()> on_exit;      // of some container: followers of logs look again

  const api::Pod& pod() const { return pod_; }
  const PodObserved& observed() const { return seen_; }
  const std::string& uid() const { return pod_.metadata.uid; }

  // For logs, exec, attach and port-forward. kNotFound, kUnavailable say why not.
  struct Target {
    std::shared_ptr<runtime::Pod> pod;
    std::string container_id;   // in sampan-pod
    base::json::value process;  // OCI process object to start an exec from
    std::string ip;
  };
  base::Result<Target> target(const std::string& container);
  struct Log {
    std::string path;
    int attempt;
  };
  base::Result<Log> log(const std::string& container, bool previous) const;
  // The Pod itself, for port-forward. kUnavailable while it is not running.
  base::Result<std::shared_ptr<runtime::Pod>> sandbox() const;
  // Whether the attempt that writes this log is over.
  bool log_ended(const std::string& container, int attempt) const;

 private:
  friend class PodWorkerTest;
  void schedule();
  void sync();
  void act(const Action& action);
  base::Status save();
  void publish(const api::PodStatus& status);
  void recover();
  void adopt(std::vector<runtime::ContainerState> states);
  void sandbox_lost();
  void containers_died();
  void say_sandbox_changed();
  void check_address();
  void hook_runtime();

  void start_sandbox();
  void attach_network();
  void sandbox_failed(const base::Error& error);
  void stop_sandbox();
  void stop_failed(const base::Error& error);
  void sandbox_stopped();
  void clean_lost();
  void mount_volumes();
  void make_directory();
  void refresh_volumes();
  void volumes_failed(const base::Error& error);
  void fetch_missing_tokens();
  void fetch_token(const TokenKey& key);
  void token_came(const TokenKey& key, const base::Result<base::json::value>& result);
  void unmount_volumes();
  void pull(const Action& action);
  bool pull_secrets_loaded() const;
  std::vector<PullCredential> pull_credentials(const std::string& image, const std::string& container);
  void pulled(const std::string& container, int attempt, const base::Result<Images::Pulled>& result);
  void start_container(const Action& action);
  base::Result<runtime::ContainerSpec> container_spec(const api::Container& c, int attempt,
                                                      ContainerSeen& seen, std::vector<std::string>& bound);
  void started(const std::string& name, int attempt, base::Result<runtime::ContainerState> result);
  void exited(const runtime::ContainerState& state);
  void record_exit(const std::string& name, ContainerSeen& seen, const runtime::ContainerState& state);
  std::string termination_message(const std::string& name, const ContainerSeen& seen, int code) const;
  void signal_container(const Action& action);
  void run_hook(const Action& action, bool post_start);
  void hook_done(const std::string& name, int attempt, bool post_start, const Outcome& outcome);
  void run_probe(const Action& action);
  void probe_done(const std::string& name, int attempt, ProbeKind kind, const Outcome& outcome);
  std::optional<NetTarget> net_target(const api::Container& c, const std::optional<api::HTTPGetAction>& http,
                                      const std::optional<api::TCPSocketAction>& tcp) const;
  base::json::value process_of(const std::string& name, int attempt);
  void delete_pod();

  EnvSources env_sources() const;
  void event(bool warning, std::string reason, std::string message, const std::string& container = {});
  ContainerSeen& of(const std::string& name) { return seen_.containers[name]; }
  std::string in_pod(const std::string& name, int attempt) const { return container_id(pod_, name, attempt); }

  PodContext& context_;
  api::Pod pod_;
  PodObserved seen_;
  bool had_record_ = false, recovering_ = false, scheduled_ = false, finished_ = false;
  std::shared_ptr<runtime::Pod> runtime_;
  std::shared_ptr<runtime::Pod::Sandbox> sandbox_fds_;  // shared with a thread that attaches
  std::string saved_;                                   // the record as it is on disk
  base::Loop::Handle wake_, status_retry_, stop_watch_, clean_retry_;
  bool status_in_flight_ = false, status_again_ = false;
  StatusSent sent_;
  int sandbox_failures_ = 0, volume_failures_ = 0, stop_failures_ = 0;
  base::Backoff status_backoff_{std::chrono::milliseconds(200), std::chrono::seconds(5)};
  std::map<std::string, std::string> waiting_;  // last waiting reason by container: BackOff events
  std::map<std::string, base::json::value> processes_;
  std::map<std::string, std::unique_ptr<NetCheck>> net_checks_;  // "web/readiness"
  std::map<std::string, std::unique_ptr<ExecRun>> exec_runs_;
  std::map<std::string, base::Loop::Handle> sleeps_;
  std::map<TokenKey, std::string> tokens_;
  struct TokenState {
    bool asked = false;  // the API server was, and has not answered
    int failures = 0;    // in a row
    base::Loop::Handle timer;
  };
  std::map<TokenKey, TokenState> token_states_;
  bool volumes_waiting_ = false;  // for objects or tokens to arrive
  bool unmount_failed_ = false;
  bool refreshing_ = false, refresh_again_ = false;
};

}  // namespace kubelet
