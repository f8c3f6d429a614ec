// Which addresses are parts of the cluster itself, so that no Service may claim them from outside: one rule
// for who refuses such a Service and for who says that it is not served. Values only.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace api {

struct ClusterAddresses {
  std::string service_cidr, pod_cidr;  // "10.96.0.0/16"; of another family: matches nothing
  std::string dns;
  std::set<std::string> masters;
  std::map<std::string, int> nodes;                // address -> how many nodes have it
  std::map<std::string, std::string> cluster_ips;  // given by name: address -> "ns/name"
  // Why nobody may name `ip` in spec.externalIPs: "may not be …"; "" when it is free to use.
  std::string refusal(const std::string& ip) const;
  // A node that comes (1) or goes (-1) with its addresses. True: the set of addresses is another now.
  bool count_node(const std::vector<std::string>& addresses, int by);
};

// Whether an IPv4 address is in both of two ranges "10.96.0.0/16"; of what is none: no.
bool ranges_overlap(const std::string& one, const std::string& other);

}  // namespace api
