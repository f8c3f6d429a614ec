// The part of the table that does not change with Services, as text for the `nft` program: pure.
#pragma once

#include <string>

namespace proxy {

struct SkeletonConfig {
  std::string table = "sampan";
  std::string cluster_cidr, service_cidr, cluster_dns;
};
constexpr uint32_t kMasqueradeMark = 0x4000;  // on a packet between nat prerouting and postrouting

// One transaction that replaces the table, elements included, and makes the empty chain
// skeleton_version(), by which a restarted proxy knows that the rules are the ones it would load.
std::string skeleton(const SkeletonConfig& config);
std::string skeleton_version(const SkeletonConfig& config);

}  // namespace proxy
