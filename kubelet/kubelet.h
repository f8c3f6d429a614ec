// The kubelet: informers in, one PodWorker per Pod, the node agent. Owns the workers and what they
// share. Ending it leaves every Pod running.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "api/client/transport.h"
#include "kubelet/node/agent.h"
#include "kubelet/node/image_gc.h"
#include "kubelet/node/stats.h"
#include "kubelet/pod/node_machine.h"
#include "kubelet/pod/worker.h"
#include "kubelet/volumes/local_volumes.h"

namespace kubelet {

struct KubeletOptions {
  std::string node_name, node_ip, root_dir, run_dir, image_root, cgroup_parent, pod_program, image_program,
      bridge, cluster_dns, cluster_domain, registries, version;
  int port = 10250;
  int mtu = 1500;
  int64_t max_pids = -1, max_pods = 110;
  ImageGcPolicy image_gc;
};

class Kubelet {
 public:
  Kubelet(base::Loop& loop, std::shared_ptr<api::Transport> transport, KubeletOptions options);
  ~Kubelet();
  base::Status start();

  // For the server.
  std::shared_ptr<PodWorker> find(const std::string& ns, const std::string& name,
                                  const std::string& uid = {});
  std::function<void()> on_exit;                    // of some container
  base::json::value pods_json(bool running) const;  // a PodList; of those alone that have a sandbox
  struct Counts {
    size_t running_pods = 0, running_containers = 0, desired_pods = 0, addresses_used = 0;
    uint64_t started_pods = 0;
  };
  Counts counts() const;
  CountRequest count_request(bool disks) const;
  const ProbeMetrics& probe_metrics() const { return probe_metrics_; }
  api::Client& client() { return client_; }
  base::Loop& loop() { return loop_; }
  const KubeletOptions& options() const { return options_; }
  Background& background() { return background_; }

 private:
  void pod_changed(api::Informer::Change change, const base::json::value& object);
  void service_changed(api::Informer::Change change, const base::json::value& object);
  void add(api::Pod pod);
  void finished(const std::string& uid);
  void network_up(const base::Cidr& cidr);
  void read_images();
  base::Status read_records();
  void remove_orphans();
  void remove_orphan(const std::string& uid, int failures);
  // Tries again after a back-off; an Event of the node says so.
  void clean_later(const std::string& uid, const char* what, const base::Error& error, int failures);
  const Layout& layout() const { return machine_.view().layout; }
  const std::vector<ServiceLink>* services_of(const std::string& ns);

  base::Loop& loop_;
  KubeletOptions options_;
  std::shared_ptr<api::Transport> transport_;
  api::Client client_;
  Background background_;
  Events events_;
  Images images_;
  ObjectCache objects_;
  base::Resolver resolver_;
  ProbeMetrics probe_metrics_;
  PullRecords pull_records_;
  NodeMachine machine_;
  std::map<std::string, base::Loop::Handle> retries_;  // of cleaning that failed, by uid
  base::Loop::Handle images_retry_;
  std::optional<netns::AddressPool> pool_;
  std::unique_ptr<NodeAgent> node_;
  std::unique_ptr<ImageGc> image_gc_;
  std::unique_ptr<LocalVolumes> local_volumes_;
  std::unique_ptr<api::Informer> pods_, services_;
  bool pods_synced_ = false, services_synced_ = false;
  std::unordered_map<std::string, std::shared_ptr<PodWorker>> workers_;  // by uid
  std::unordered_map<std::string, std::string> by_name_;                 // "ns/name" -> uid
  std::map<std::string, PodObserved> found_;                             // records without a Pod yet
  std::map<std::string, std::unique_ptr<runtime::Pod>> orphans_;
  std::map<std::string, std::map<std::string, ServiceLink>> service_map_;  // by namespace, by name
  std::map<std::string, std::vector<ServiceLink>> service_lists_;          // made when asked for
  uint64_t started_pods_ = 0;
};

}  // namespace kubelet
