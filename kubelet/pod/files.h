// The files that the kubelet writes for every container: hosts, resolv.conf, hostname. Pure.
#pragma once

#include <string>

#include "api/types.h"

namespace kubelet {

struct DnsFacts {
  std::string cluster_dns, cluster_domain;
  std::string host_resolv_conf;  // the node's own, as text
  std::string host_hosts;        // the node's /etc/hosts
};
std::string pod_hostname(const api::Pod& pod, const std::string& node_name);
std::string pod_hosts(const api::Pod& pod, const std::string& ip, const DnsFacts& dns,
                      const std::string& node_name);
std::string pod_resolv_conf(const api::Pod& pod, const DnsFacts& dns);

}  // namespace kubelet
