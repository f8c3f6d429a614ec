// What controllers keep of Nodes, and of the Leases that say that they live.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

struct Node {
  Meta meta;
  Labels labels;
  std::string pod_cidr, zone;
  std::string local_volumes;  // the directory that its agent offers; empty: none
  std::vector<std::string> pod_cidrs, internal_ips, external_ips;
  int kubelet_port = 0;  // 0: unknown
  std::vector<Taint> taints;
  bool unschedulable = false;
  json::array conditions;

  static Store<Node>::Reader reader(const api::Resource& resource);
};

bool is_ready(const Node& node);  // its condition Ready is True

struct Lease {
  Meta meta;
  std::string renew_time;

  static Store<Lease>::Reader reader(const api::Resource& resource);
};

}  // namespace master::controllers
