// The machine of a running kubelet: sampan-pods, netlink, disk and API behind Machine's calls. Calls that
// can hang are made on threads, in one lane for each Pod. What all Pods of a node share comes in by
// reference.
#pragma once

#include <map>
#include <string>

#include "api/client/client.h"
#include "kubelet/node/background.h"
#include "kubelet/node/pull_records.h"
#include "kubelet/pod/machine.h"
#include "netns/netns.h"

namespace kubelet {

class NodeMachine final : public Machine {
 public:
  struct Parts {
    base::Loop& loop;
    api::Client& client;
    Background& background;
    Images& images;
    Events& events;
    ObjectCache& objects;
    base::Resolver& resolver;  // of hosts that probes and hooks name
    ProbeMetrics& probe_metrics;
    PullRecords& pull_records;
    std::function<const std::vector<ServiceLink>*(const std::string& ns)> services;
    std::string bridge;
    int mtu = 1500;
  };
  NodeMachine(Parts parts, NodeView view) : parts_(std::move(parts)), view_(std::move(view)) {}
  NodeView& facts() { return view_; }  // to be filled before the first Pod
  void set_network(netns::AddressPool* pool, const base::Cidr& cidr) { pool_ = pool, cidr_ = cidr; }

  void set_images_known() { images_known_ = true; }

  const NodeView& view() const override { return view_; }
  Time now() const override { return base::wall_now(); }
  void post(std::function<void()> task) override { parts_.loop.post(std::move(task)); }
  Timer after(Duration delay, std::function<void()> task) override;
  void acts(const api::Pod& pod, const Action& action) override;
  base::Status save_record(const std::string& uid, const std::string& text) override;
  bool has_network() const override { return pool_ != nullptr; }
  bool in_range(const std::string& ip) const override;
  base::Result<std::string> take_address() override;
  void release_address(const std::string& uid, const std::string& ip) override;
  void attach(const std::string& uid, std::shared_ptr<runtime::Pod::Sandbox> sandbox, const std::string& ip,
              Done done) override;
  void start_sandbox(runtime::SandboxSpec spec, Answer<std::unique_ptr<runtime::Pod>> done) override;
  base::Result<std::unique_ptr<runtime::Pod>> connect_sandbox(const std::string& uid) override;
  base::Result<std::string> sandbox_address(const runtime::Pod::Sandbox& sandbox) override;
  void clean_dead_sandbox(const std::string& uid, Done done) override;
  void make_volumes(const std::string& uid, VolumeWork work, std::function<void(VolumesMade)> done) override;
  void write_volumes(const std::string& uid, std::vector<VolumeContent> volumes,
                     std::optional<uint32_t> fs_group, Done done) override;
  void remove_directory(const std::string& uid, bool logs_too, Done done) override;
  void prepare(ContainerStart start, Answer<PreparedContainer> done) override;
  void unbind(const std::string& uid, std::vector<std::string> bound) override;
  void read_processes(const std::string& uid, std::map<std::string, int> attempts,
                      std::function<void(std::map<std::string, base::json::value>)> done) override;
  std::string termination_message(const std::string& uid, const std::string& container, int attempt,
                                  bool or_log) override;
  bool images_known() const override { return images_known_; }
  void find_image(const std::string& uid, const std::string& name, Answer<runtime::Image> done) override;
  bool must_pull(const std::string& name, const std::string& digest,
                 const std::vector<PullCredential>& credentials) override;
  void pull(const std::string& uid, const std::string& name, std::vector<PullCredential> credentials,
            Answer<Pulled> done) override;
  std::unique_ptr<NetCheck> check_net(NetTarget target, Duration timeout, NetDone done) override;
  std::unique_ptr<ExecRun> run_exec(runtime::Pod& pod, const std::string& container,
                                    base::json::value process, Duration timeout,
                                    std::function<void(Outcome)> done) override;
  void probe_counted(const ProbeOf& probe, const std::string& result, Duration took) override;
  void refer(const std::string& uid, const std::string& ns, std::vector<Reference> references) override;
  bool loaded(const std::string& ns, const std::vector<Reference>& references) const override;
  const std::map<std::string, std::string>* data(const std::string& ns,
                                                 const Reference& reference) const override;
  std::optional<ObjectCache::SecretSeen> secret(const std::string& ns,
                                                const std::string& name) const override;
  const std::vector<ServiceLink>* services(const std::string& ns) override { return parts_.services(ns); }
  void patch_status(const api::Pod& pod, base::json::object patch, Answer<base::json::value> done) override;
  void remove_pod(const api::Pod& pod, Answer<base::json::value> done) override;
  void request_token(const api::Pod& pod, const TokenKey& key, Answer<base::json::value> done) override;
  void fetch_claims(const api::Pod& pod, Answer<Claims> done) override;
  void event(const EventSubject& subject, bool warning, std::string reason, std::string message) override;

 private:
  template <typename T>
  void on_disk(const std::string& uid, std::function<T()> work, std::function<void(T)> done) {
    parts_.background.call<T>(std::move(work), std::move(done), uid);
  }

  Parts parts_;
  NodeView view_;
  netns::AddressPool* pool_ = nullptr;  // null until the node has its Pod CIDR
  base::Cidr cidr_{};
  bool images_known_ = false;
  std::map<std::string, base::Loop::Handle> detaching_;  // links that could not be detached, by name
};

}  // namespace kubelet
