// Node lifecycle: notices nodes whose lease is not renewed, publishes that, taints them, moves
// their Pods away in the time these tolerate; cuts Pod CIDRs.
// Time is measured on our own clock from when a renewal was seen, never from a node's clock.
#pragma once

#include <map>
#include <set>
#include <string>

#include "master/controllers/node_plan.h"
#include "master/controllers/node_zones.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {

class NodeController {
 public:
  explicit NodeController(Hub& hub);

 private:
  struct Seen {
    std::string renewed;  // the lease's renewTime, and the Ready condition's heartbeat
    base::Steady at{};
  };
  void alive(const std::string& node, const std::string& renewed);
  void check_deadlines();
  bool silent(const std::string& node) const;
  bool all_silent() const;
  bool may_be_emptied(const Node& node);
  ZoneCounts count(const std::string& zone);
  std::string reserve_cidr(const Node& node);
  void sync(const std::string& name, Reconciler::Finish finish);
  void publish(const std::string& name, const Node& node, const NodePlan& plan,
               std::function<void(base::Status)> done);
  void evict(const std::string& name, const Node& node, Reconciler::Finish finish);
  Step remove_pod(std::shared_ptr<const Pod> pod);
  Step unready(std::shared_ptr<const Pod> pod);

  Hub& hub_;
  Store<Node>& nodes_;
  Store<Lease>& leases_;
  Store<Pod>& pods_;
  Hub::Account& account_;
  std::map<std::string, Seen> seen_;
  std::set<std::string> ready_;               // by their own word
  std::map<std::string, std::string> cidrs_;  // by node, assigned or reserved
  struct Zone {
    std::set<std::string> nodes;
    ZoneCounts counts;
    base::Steady counted{}, last_emptied{};
  };
  std::map<std::string, Zone> zones_;
  std::map<std::string, std::string> zone_of_;  // by node
  std::set<std::string> emptied_;               // nodes that may be, until they are ready again
  base::Steady next_check_{};
  base::Loop::Handle timer_;
  Reconciler reconciler_;
};

}  // namespace master::controllers
