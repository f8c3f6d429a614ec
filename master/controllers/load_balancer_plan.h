// Which addresses the Services of type LoadBalancer have: pure. With address pools they come from those, as
// MetalLB gives them (requested addresses and pools, sharing); without any, a Service is reached at the
// nodes' own addresses, as with k3s' ServiceLB. The status is the record: what a Service has it keeps while
// it may. A Service with addresses that are not recorded as ours (the condition kConditionType) is another's.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "master/controllers/services.h"

namespace master::controllers {

struct AddressRange {
  base::Ip first, last;
  bool operator==(const AddressRange&) const = default;
};
struct AddressPool {
  std::string name;
  std::vector<AddressRange> ranges;  // sorted, apart
  bool auto_assign = true;
  bool contains(base::Ip ip) const;
  bool operator==(const AddressPool&) const = default;
};
struct AddressPools {
  std::vector<AddressPool> pools;   // by name
  std::vector<std::string> errors;  // a pool that can't be read, or that shares addresses, is none
};
// A member of `data` a pool: "192.0.2.10-192.0.2.50", "198.51.100.0/28", by commas or lines, and a line
// "auto-assign: false". `taken` are the ranges of Services and Pods.
AddressPools read_pools(const std::map<std::string, std::string>& data, const std::vector<base::Cidr>& taken);

struct BalancerNode {
  std::string name;
  std::vector<std::string> addresses;  // external ones where it has any, else internal ones
  std::set<std::string> own;           // all
  bool usable = true;                  // ready, and not labelled away from load balancers
};

struct BalancerWorld {
  std::optional<AddressPools> pools;  // nothing: the nodes' addresses
  std::vector<BalancerNode> nodes;
  std::set<int> node_ports_in_use;                        // TCP ports of the node agents
  std::vector<std::shared_ptr<const Service>> services;   // those that concern us
  std::map<std::string, std::set<std::string>> ready_on;  // Service -> nodes, for those that are `local`
};

constexpr const char* kConditionType = "sampan.io/LoadBalancer";
constexpr const char* kFromPool = "AddressPool";
constexpr const char* kFromNodes = "NodeAddresses";
constexpr const char* kFailed = "AllocationFailed";

// What a Service is to have. Empty `reason`: nothing of ours.
struct BalancerOutcome {
  std::vector<std::string> ips;
  std::string reason, message;  // of the condition
  std::string text() const;     // "192.0.2.10 AddressPool default"
};
// For all of world.services that are not another's, by key.
std::map<std::string, BalancerOutcome> plan_load_balancers(const BalancerWorld& world);

}  // namespace master::controllers
