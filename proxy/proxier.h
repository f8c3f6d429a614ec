// The proxy's loop: what the API says, to elements, to the kernel. Events are gathered for a moment
// and handled together; a failure makes the next round read the kernel's table and repair it. Until
// start() the kernel's table is left alone, so that a restart keeps what works.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "base/loop.h"
#include "proxy/nft_exec.h"
#include "proxy/service_plan.h"

namespace proxy {

class Proxier {
 public:
  Proxier(base::Loop& loop, Nftables& nft, std::string node_name, Reserved reserved = {});

  void set_service(Service service);
  void remove_service(const std::string& ns, const std::string& name);
  void set_slice(EndpointSlice slice);
  void remove_slice(const std::string& ns, const std::string& name);
  // A Pod of this node; nullopt: it is gone, or has no host port.
  void set_pod(const std::string& ns, const std::string& name, std::optional<LocalPod> pod);
  void set_node(Node node);
  void start();   // everything was listed once
  void resync();  // reads the kernel's table in the next round

  const Cluster& cluster() const { return cluster_; }
  bool converged() const { return counters_.rounds > 0 && counters_.last_error.empty(); }
  struct Counters {
    uint64_t rounds = 0, failures = 0, actions = 0, skeletons = 0, stale_udp = 0, interferences = 0;
    double last_round_seconds = 0;
    std::string last_error;  // "" = the last round succeeded
  };
  const Counters& counters() const { return counters_; }
  size_t elements() const { return table_.size(); }
  std::function<void(const std::string& service_key)> on_touch;  // it or its endpoints changed
  std::function<void()> on_first_success;                        // once, when the kernel has the rules

 private:
  void touch(const std::string& key);
  void touch_all();
  void follow_api(const std::set<std::string>& changed);
  void schedule(base::Duration delay);
  void round();
  base::Status converge();
  base::Result<std::vector<Action>> repair();
  void note(const std::vector<Action>& actions);
  base::Status clean_connections();
  void on_interference();
  bool leads_to(const Key& key, Ip ip, uint16_t port) const;

  base::Loop& loop_;
  Nftables& nft_;
  Node node_;
  Cluster cluster_;
  Table table_;
  Reserved reserved_;
  std::map<std::string, LocalPod> pods_;  // "pod ns/name": those with host ports
  std::set<std::string> dirty_;           // "ns/name" of Services, and keys of Pods
  // Whose connections may lead to endpoints that are gone: kept until they were looked through.
  std::set<Key> stale_udp_;
  bool stale_affinity_ = false;
  bool started_ = false, resync_ = true, rebuild_ = false;
  int failed_in_a_row_ = 0;
  base::Loop::Handle next_, slow_, interference_;
  Counters counters_;
};

}  // namespace proxy
