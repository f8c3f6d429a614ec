// The node itself: registers the Node object, keeps its status and its Lease, and makes the node's
// network from the Node objects of the cluster (observe, plan, act of netns/).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "api/client/client.h"
#include "api/types.h"
#include "base/backoff.h"
#include "kubelet/node/background.h"
#include "kubelet/node/events.h"
#include "kubelet/node/status.h"
#include "netns/netns.h"

namespace kubelet {

class NodeAgent {
 public:
  struct Options {
    MachineFacts facts;
    std::string root_dir, bridge;
    std::string local_volumes;  // the directory that the Node's annotation tells; api/local_volumes.h
    int mtu = 1500;
  };
  NodeAgent(base::Loop& loop, api::Client& client, Background& background, Events& events, Options options);
  void start();
  void set_images(std::vector<api::ContainerImage> images);  // as its status tells them
  // Called once the bridge is up with this node's Pod CIDR.
  std::function<void(const base::Cidr&)> on_network;
  bool registered() const { return registered_; }
  const std::optional<base::Cidr>& pod_cidr() const { return pod_cidr_; }

 private:
  void register_node();
  void node_changed(api::Informer::Change change, const base::json::value& object);
  void sync_network();
  void sync_status();
  void renew_lease();

  base::Loop& loop_;
  api::Client& client_;
  Background& background_;
  Events& events_;
  Options options_;
  api::Informer nodes_;
  std::optional<api::Node> own_;
  std::map<std::string, std::pair<std::string, std::string>> routes_;  // by node: Pod CIDR, address
  std::optional<base::Cidr> pod_cidr_;
  std::optional<netns::NodeNetwork> applied_;
  std::string network_error_ = "waiting for the node's Pod CIDR: the master assigns spec.podCIDR";
  bool registered_ = false, registering_ = false, network_busy_ = false, network_again_ = false,
       network_ready_ = false;
  bool status_busy_ = false, status_again_ = false;
  base::json::value lease_;
  bool lease_busy_ = false;
  base::Loop::Handle retry_, lease_timer_, network_retry_, status_retry_;
  base::Backoff register_backoff_{std::chrono::milliseconds(200), std::chrono::seconds(5)};
  base::Backoff lease_backoff_ = register_backoff_, status_backoff_ = register_backoff_;
  int lease_count_ = 0;
};

}  // namespace kubelet
