// What one Pod's actions do to the node and to the API: its worker's only door to both. Called on the loop's
// thread, and never blocks it: what can wait for a volume, a directory of the host or the image store is told
// later by `done`, at the earliest after the call has returned, and perhaps never: a disk that hangs holds up
// its Pod alone. Calls on the disk of one Pod are done in their order.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/types.h"
#include "base/json.h"
#include "base/result.h"
#include "kubelet/node/events.h"
#include "kubelet/node/images.h"
#include "kubelet/node/layout.h"
#include "kubelet/pod/exec_run.h"
#include "kubelet/pod/files.h"
#include "kubelet/pod/net_check.h"
#include "kubelet/pod/plan.h"
#include "kubelet/pod/prepare.h"
#include "kubelet/pod/probe_metrics.h"
#include "kubelet/volumes/claims.h"
#include "kubelet/volumes/exec.h"
#include "kubelet/volumes/objects.h"
#include "runtime/runtime.h"

namespace kubelet {

// What a Pod is told of its node.
struct NodeView {
  Layout layout;
  NodeFacts node;
  DnsFacts dns;
  HostFacts host;
  std::string node_name, pod_program, cgroup_parent, image_root;
  int64_t node_cpu_milli = 0, max_pids = -1;
};

class Machine {
 public:
  virtual ~Machine() = default;
  using Done = std::function<void(base::Status)>;
  template <typename T>
  using Answer = std::function<void(base::Result<T>)>;
  using Timer = std::shared_ptr<void>;  // runs out no more when the last reference goes

  virtual const NodeView& view() const = 0;
  virtual Time now() const = 0;
  virtual void post(std::function<void()> task) = 0;
  [[nodiscard]] virtual Timer after(Duration delay, std::function<void()> task) = 0;
  virtual void acts(const api::Pod& pod, const Action& action) = 0;  // it is about to

  // The Pod's record. On a file system of the node's own memory: at once.
  virtual base::Status save_record(const std::string& uid, const std::string& text) = 0;

  // ---- the sandbox and its network
  virtual bool has_network() const = 0;  // the node has its range of addresses
  virtual bool in_range(const std::string& ip) const = 0;
  virtual base::Result<std::string> take_address() = 0;
  // Detaches the Pod's link and gives its address back; again and again until that works.
  virtual void release_address(const std::string& uid, const std::string& ip) = 0;
  virtual void attach(const std::string& uid, std::shared_ptr<runtime::Pod::Sandbox> sandbox,
                      const std::string& ip, Done done) = 0;
  virtual void start_sandbox(runtime::SandboxSpec spec, Answer<std::unique_ptr<runtime::Pod>> done) = 0;
  virtual base::Result<std::unique_ptr<runtime::Pod>> connect_sandbox(const std::string& uid) = 0;
  virtual base::Result<std::string> sandbox_address(const runtime::Pod::Sandbox& sandbox) = 0;  // "": none
  virtual void clean_dead_sandbox(const std::string& uid, Done done) = 0;

  // ---- its directory, volumes and containers
  // The Pod's directory, if it is asked for, and then some of its volumes. Each has an end of its own;
  // without the directory none is tried.
  struct VolumeWork {
    std::optional<PodDirectory> directory = {};
    std::vector<VolumeContent> volumes = {};
    VolumeGroup group = {};
  };
  struct VolumesMade {
    base::Status directory;
    std::map<std::string, base::Status> volumes;
  };
  virtual void make_volumes(const std::string& uid, VolumeWork work,
                            std::function<void(VolumesMade)> done) = 0;
  virtual void write_volumes(const std::string& uid, std::vector<VolumeContent> volumes,
                             std::optional<uint32_t> fs_group, Done done) = 0;
  virtual void remove_directory(const std::string& uid, bool logs_too, Done done) = 0;
  virtual void prepare(ContainerStart start, Answer<PreparedContainer> done) = 0;
  virtual void unbind(const std::string& uid, std::vector<std::string> bound) = 0;  // of a prepared one
  // OCI process objects of attempts that an earlier kubelet started, by container; what is not there is null.
  virtual void read_processes(const std::string& uid, std::map<std::string, int> attempts,
                              std::function<void(std::map<std::string, base::json::value>)> done) = 0;
  virtual std::string termination_message(const std::string& uid, const std::string& container, int attempt,
                                          bool or_log) = 0;

  // ---- images, by their full name
  virtual bool images_known() const = 0;  // who may have which was read once
  virtual void find_image(const std::string& uid, const std::string& name, Answer<runtime::Image> done) = 0;
  // Whether these credentials have to be shown for an image that is there.
  virtual bool must_pull(const std::string& name, const std::string& digest,
                         const std::vector<PullCredential>& credentials) = 0;
  struct Pulled {
    Images::Pulled pull;
    std::optional<uint64_t> size_bytes;
  };
  virtual void pull(const std::string& uid, const std::string& name, std::vector<PullCredential> credentials,
                    Answer<Pulled> done) = 0;

  // ---- probes and hooks
  virtual std::unique_ptr<NetCheck> check_net(NetTarget target, Duration timeout, NetDone done) = 0;
  virtual std::unique_ptr<ExecRun> run_exec(runtime::Pod& pod, const std::string& container,
                                            base::json::value process, Duration timeout,
                                            std::function<void(Outcome)> done) = 0;
  virtual void probe_counted(const ProbeOf& probe, const std::string& result, Duration took) = 0;

  // ---- the API
  virtual void refer(const std::string& uid, const std::string& ns, std::vector<Reference> references) = 0;
  virtual bool loaded(const std::string& ns, const std::vector<Reference>& references) const = 0;
  virtual const std::map<std::string, std::string>* data(const std::string& ns,
                                                         const Reference& reference) const = 0;
  virtual std::optional<ObjectCache::SecretSeen> secret(const std::string& ns,
                                                        const std::string& name) const = 0;
  // Services as environment; null until they are listed once.
  virtual const std::vector<ServiceLink>* services(const std::string& ns) = 0;
  virtual void patch_status(const api::Pod& pod, base::json::object patch,
                            Answer<base::json::value> done) = 0;
  virtual void remove_pod(const api::Pod& pod, Answer<base::json::value> done) = 0;
  virtual void request_token(const api::Pod& pod, const TokenKey& key, Answer<base::json::value> done) = 0;
  // What the Pod's claims stand for, asked for by name; an error in the words of its FailedMount Event.
  virtual void fetch_claims(const api::Pod& pod, Answer<Claims> done) = 0;
  virtual void event(const EventSubject& subject, bool warning, std::string reason, std::string message) = 0;
};

}  // namespace kubelet
