#include "api/cluster_addresses.h"

#include "base/ip.h"

namespace api {

namespace {
bool range_holds(const std::string& cidr, const std::string& ip) {
  auto range = base::Cidr::parse_v4(cidr);
  auto address = base::Ip::parse_v4(ip);
  return range && address && range->contains(*address);
}
}  // namespace

std::string ClusterAddresses::refusal(const std::string& ip) const {
  if (range_holds(service_cidr, ip)) return "may not be in the range of Services (" + service_cidr + ")";
  if (range_holds(pod_cidr, ip)) return "may not be in the range of Pods (" + pod_cidr + ")";
  if (ip == dns) return "may not be the address of the cluster's DNS";
  if (masters.contains(ip)) return "may not be an address of the API server";
  if (nodes.contains(ip)) return "may not be an address of a node";
  return {};
}

bool ClusterAddresses::count_node(const std::vector<std::string>& addresses, int by) {
  bool changed = false;
  for (const std::string& ip : addresses) {
    int& count = nodes[ip];
    const bool had = count > 0;
    count += by;
    changed |= had != (count > 0);
    if (count <= 0) nodes.erase(ip);
  }
  return changed;
}

bool ranges_overlap(const std::string& one, const std::string& other) {
  auto a = base::Cidr::parse_v4(one), b = base::Cidr::parse_v4(other);
  return a && b && a->overlaps(*b);
}

}  // namespace api
