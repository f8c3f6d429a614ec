// NetworkPolicies in force on this node: follows them, and while there is one also all Pods and Namespaces
// and the links of this node's Pods; keeps a table of its own in the kernel. Without a policy there is no
// table, and nothing is followed but the (empty) list of policies.
// An address of this node's Pods means nobody before the Pod's link and its object were seen: the link bears
// it before anything runs in the Pod, so a Pod's first packet is judged, and found out about in time.
#pragma once

#include <memory>
#include <string>

#include "api/client/client.h"
#include "base/loop.h"
#include "proxy/nft_exec.h"
#include "proxy/policy_plan.h"
#include "proxy/service_plan.h"

namespace proxy {

class Policer {
 public:
  // `table` is that of the Services; the policies' is named after it.
  Policer(base::Loop& loop, std::shared_ptr<api::Transport> transport, const std::string& table,
          std::string node_name);
  static std::string table_name(const std::string& services) { return services + "_policy"; }
  base::Status open();
  void start();
  void set_node(const Node& node);

  bool converged() const { return counters_.last_error.empty() && (!wanted() || in_force_); }
  struct Counters {
    uint64_t rounds = 0, loads = 0, actions = 0, failures = 0, interferences = 0, sweeps = 0;
    size_t denied_connections = 0;
    std::string last_error;  // "" = the last round succeeded
  };
  const Counters& counters() const { return counters_; }
  const PolicyTable& table() const { return table_; }

 private:
  bool wanted() const { return policies_synced_ && !table_.empty(); }
  bool ready() const { return pods_synced_ && namespaces_synced_ && node_.pod_cidr.has_value(); }
  void follow();
  void forget();
  void schedule(base::Duration delay);
  void round();
  base::Status converge();
  base::Status read_links();
  void sweep_soon();
  void sweep();
  void on_interference();

  base::Loop& loop_;
  std::shared_ptr<api::Transport> transport_;
  std::string name_;
  Nftables nft_;
  std::string node_name_;
  Node node_;
  PolicyTable table_;
  std::unique_ptr<api::Informer> policies_, pods_, namespaces_;
  bool policies_synced_ = false, pods_synced_ = false, namespaces_synced_ = false;
  bool in_force_ = false;  // the kernel's table is what table_ was
  bool checked_ = false;   // whether an earlier life left a table was looked at
  bool reload_ = false, links_changed_ = false, closed_ = false;
  base::UniqueFd links_fd_;
  base::Loop::Handle links_, interference_, next_, sweep_;
  base::Loop::Steady next_due_{}, swept_{};
  int failed_in_a_row_ = 0;
  Counters counters_;
};

}  // namespace proxy
