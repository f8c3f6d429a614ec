// One Pod on this node: observes it (sampan-pod, probes, pulls, the API), has it planned, acts, and
// publishes its status. Everything on the loop's thread, and through its Machine alone. A record
// on disk says what was intended before it is done, so that a killed kubelet finds its way back.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "kubelet/pod/machine.h"
#include "kubelet/pod/pull_plan.h"
#include "kubelet/pod/status_patch.h"

namespace kubelet {

class PodWorker : public std::enable_shared_from_this<PodWorker> {
 public:
  // `record`: what an earlier kubelet left of this Pod.
  PodWorker(Machine& machine, api::Pod pod, std::optional<PodObserved> record);
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
  void schedule();
  void sync();
  void act(const Action& action);
  base::Status save();
  std::optional<Time> publish(const Plan& plan);  // when to look again
  void status_failed(const base::Error& error);
  void find_sandbox();
  void adopt(const std::vector<runtime::ContainerState>& states);
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
  void clean_sandbox();
  void fetch_claims();
  void mount_volumes(const Action& action);
  void volumes_made(const std::vector<std::string>& asked, bool directory, const Machine::VolumesMade& made);
  void volume_failed(VolumeSeen& volume, const base::Error& error);
  VolumeGroup volume_group() const;
  void refresh_volumes();
  void fetch_token(const TokenKey& key);
  void token_came(const TokenKey& key, const base::Result<base::json::value>& result);
  void unmount_volumes();
  void pull(const Action& action);
  std::vector<PullCredential> pull_credentials(const std::string& image, const std::string& container);
  void apply(const std::string& container, PullStep step);
  void prepare_container(const Action& action);
  void container_prepared(const Action& action, base::Result<PreparedContainer> prepared);
  void drop_prepared();
  void start_container(const Action& action);
  void remove_container(const Action& action);
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

  // An answer of the machine: the first one counts, and only while this lives.
  template <typename T>
  std::function<void(T)> once(std::function<void(PodWorker&, T)> then) {
    return [weak = weak_from_this(), then = std::move(then), came = std::make_shared<bool>(false)](T value) {
      auto self = weak.lock();
      if (self && !std::exchange(*came, true)) then(*self, std::move(value));
    };
  }
  bool on_the_way_down() const;
  const NodeView& view() const { return machine_.view(); }
  EnvSources env_sources() const;
  void event(bool warning, std::string reason, std::string message, const std::string& container = {});
  ContainerSeen& of(const std::string& name) { return seen_.containers[name]; }
  std::string in_pod(const std::string& name, int attempt) const { return container_id(pod_, name, attempt); }

  Machine& machine_;
  api::Pod pod_;
  bool had_record_ = false, scheduled_ = false, finished_ = false;
  PodObserved seen_;
  std::shared_ptr<runtime::Pod> runtime_;
  std::shared_ptr<runtime::Pod::Sandbox> sandbox_fds_;  // shared with a thread that attaches
  std::string saved_;                                   // the record as it is on disk
  Machine::Timer wake_, stop_watch_;
  StatusSeen status_;
  StatusSent sent_;
  base::Backoff status_backoff_{std::chrono::milliseconds(200), std::chrono::seconds(5)};
  std::map<std::string, std::string> waiting_;  // last waiting reason by container: BackOff events
  std::map<std::string, base::json::value> processes_;
  std::map<std::string, PreparedContainer> prepared_;            // containers that are about to be started
  std::set<std::string> outdated_;                               // being prepared from what has changed since
  std::map<std::string, std::unique_ptr<NetCheck>> net_checks_;  // "web/readiness"
  std::map<std::string, std::unique_ptr<ExecRun>> exec_runs_;
  std::map<std::string, Machine::Timer> sleeps_;
  std::map<TokenKey, std::string> tokens_;
  Claims claims_;  // once the API server has said what they stand for
};

}  // namespace kubelet
