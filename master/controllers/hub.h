// One informer per kind for all controllers, the stores they fill, and what a controller needs to
// act: client, events, clock, loop. Owns no decision.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "master/controllers/controllers.h"
#include "master/controllers/events.h"
#include "master/controllers/store.h"

namespace master::controllers {

// A ReplicationController or ReplicaSet.
struct ReplicaOwner {
  Meta meta;
  std::string kind, api_version;
  OwnerRef controller;       // a Deployment
  Labels labels;
  Selector selector;
  json::value pod_template;
  std::map<std::string, std::string> annotations;
  int replicas = 1, min_ready_seconds = 0;
  json::value status;
};
struct Deployment {
  Meta meta;
  std::map<std::string, std::string> annotations;
  Selector selector;
  json::value selector_json, pod_template;
  int replicas = 1, min_ready_seconds = 0;
  std::optional<int> progress_deadline_seconds, revision_history_limit;
  bool paused = false, recreate = false;
  json::value max_surge, max_unavailable;
  json::value status;
};
struct ServicePort {
  std::string name, protocol, app_protocol, target_name;  // target_name: a named targetPort
  int port = 0, target = 0;
};
struct Service {
  Meta meta;
  Labels labels;
  Selector selector;
  bool external_name = false, headless = false, publish_not_ready = false;
  std::vector<std::string> families;  // IPv4, IPv6
  std::vector<ServicePort> ports;
};
// Whole: an Endpoints or EndpointSlice that we write ourselves.
struct Whole {
  Meta meta;
  Labels labels;
  json::value object;
};
struct Node {
  Meta meta;
  std::string pod_cidr, zone;
  std::vector<std::string> pod_cidrs;
  std::vector<Taint> taints;
  bool unschedulable = false;
  json::array conditions;
};
struct Lease {
  Meta meta;
  std::string renew_time;
};
struct Namespace {
  Meta meta;
  bool has_finalizer = false;  // "kubernetes" in spec.finalizers
  std::string phase;
};
struct ConfigMap {
  Meta meta;
  size_t ca_hash = 0;  // of data["ca.crt"], for kube-root-ca.crt only
};
struct ServiceAccount {
  Meta meta;
};

// Index terms of the Pod store.
std::string owned_by(std::string_view uid);
std::string orphans_of(std::string_view ns);
std::string on_node(std::string_view node);

class Hub {
 public:
  Hub(base::Loop& loop, std::shared_ptr<api::Transport> transport, const Options& options);
  ~Hub();

  base::Loop& loop;
  const Options options;
  std::shared_ptr<api::Transport> transport;
  // Who writes: each controller has an account of its own in kube-system, as in Kubernetes.
  struct Account {
    api::Client client;
    EventRecorder events;
    Account(std::shared_ptr<api::Transport> transport, const Options& options)
        : client(std::move(transport), "sampan-controllers"), events(client, "controllermanager", options.now) {}
  };
  Account& account(const std::string& name);
  base::Time now() const { return options.now(); }

  Store<Pod> pods;
  Store<ReplicaOwner> replication_controllers, replica_sets;
  Store<Deployment> deployments;
  Store<Service> services;
  Store<Whole> endpoints, slices;
  Store<Node> nodes;
  Store<Lease> leases;  // kube-node-lease
  Store<Namespace> namespaces;
  Store<ConfigMap> config_maps;
  Store<ServiceAccount> service_accounts;

  using Handler = std::function<void(api::Informer::Change, const json::value&)>;
  // Every object of every kind, after its store: for the garbage collector. Before start().
  void on_any(std::function<void(const api::Resource&, api::Informer::Change, const json::value&)> handler);
  // After each complete list of any kind.
  void on_synced(std::function<void()> handler) { synced_handlers_.push_back(std::move(handler)); }
  bool synced() const;  // every kind was listed once
  // Those that are watched: the ones above, and custom resources for as long as they are served.
  const std::deque<api::Resource>& resources() const { return resources_; }
  void start();

 private:
  void add(const api::Resource& resource, StoreBase* store);
  void start(size_t index);
  void follow_definition(api::Informer::Change change, const json::value& definition);
  struct Source {
    StoreBase* store;
    bool synced = false;
    bool custom = false;  // of a custom resource: nothing waits for it
    std::unique_ptr<api::Informer> informer;
  };
  std::map<std::string, std::unique_ptr<Account>> accounts_;
  PodReader pod_reader_;
  std::deque<api::Resource> resources_;  // never shrinks: others point into it
  std::vector<std::unique_ptr<Source>> sources_;
  std::unique_ptr<api::Informer> definitions_;
  std::vector<std::function<void(const api::Resource&, api::Informer::Change, const json::value&)>> any_;
  std::vector<std::function<void()>> synced_handlers_;
};

}  // namespace master::controllers
