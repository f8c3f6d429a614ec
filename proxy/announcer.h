// Announces the addresses of load balancers that fall to this node (announce_plan.h): answers ARP for them on
// the link of the node's own address, and tells the link when it takes one over. Renews a Lease of its own in
// kube-system while there is anything to announce in the cluster, five times a second: Leases live in the
// master's memory. An idle cluster without such addresses has neither Lease nor timer.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "api/client/client.h"
#include "base/loop.h"
#include "netns/netns.h"
#include "proxy/announce_plan.h"
#include "proxy/arp.h"
#include "proxy/service_plan.h"

namespace proxy {

class Announcer {
 public:
  Announcer(base::Loop& loop, std::shared_ptr<api::Transport> transport, const Cluster& cluster,
            std::string node_name);
  void touch(const std::string& service_key);  // a Service or its endpoints changed
  void set_node(const Node& node);
  void start();  // everything was listed once
  const std::set<base::Ip>& announced() const { return mine_; }

 private:
  void schedule();
  void plan();
  void watch_leases();
  void beat();
  void renew();
  base::json::value holder() const;  // null: this node wants no address
  void create();
  void open_link();
  void announce_again(std::map<base::Ip, int> rounds);

  base::Loop& loop_;
  api::Client client_;
  const Cluster& cluster_;
  std::string node_name_, node_uid_;
  base::Ip node_ip_;
  bool willing_ = true, started_ = false, renewing_ = false;
  std::map<std::string, Announced> by_service_;
  Announced wanted_;
  std::set<base::Ip> mine_, yielded_;
  Heartbeats heartbeats_;
  std::chrono::steady_clock::time_point last_own_{};
  ArpResponder arp_;
  std::unique_ptr<api::Informer> leases_;
  base::Loop::Handle soon_, beat_, again_;
};

}  // namespace proxy
