// What the cluster's DNS names mean, from the same plain values as the rules: pure. Follows the
// Kubernetes DNS-Based Service Discovery specification 1.1.0. Knows nothing of packets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/service_plan.h"

namespace proxy::dns {

// RFC 1035, 2782, 3596.
constexpr uint16_t kA = 1, kCname = 5, kSoa = 6, kPtr = 12, kTxt = 16, kAaaa = 28, kSrv = 33, kAny = 255;
constexpr uint8_t kNoError = 0, kFormErr = 1, kServFail = 2, kNxDomain = 3, kNotImp = 4, kRefused = 5;
constexpr uint32_t kTtlSeconds = 5;

struct Record {
  std::string name;  // without the final dot; empty: the name that was asked
  uint16_t type = kA;
  std::string data;  // kA: "10.96.0.5"; kSrv, kPtr, kCname: a name; kTxt: the text
  uint16_t srv_port = 0;
};
struct Answer {
  bool ours = false;  // false: a name outside the cluster, for an upstream server
  uint8_t code = kNoError;
  std::vector<Record> answers, additional;
  // An ExternalName leads outside: answers holds the CNAME, this name is to be resolved upstream.
  std::string continue_at;
};

struct Config {
  std::string domain = "cluster.local";
  base::Cidr service_cidr, cluster_cidr;  // whose reverse zones are ours
};

// `name` in lower case, without the final dot.
Answer answer(const Cluster& cluster, const Config& config, std::string_view name, uint16_t type);

}  // namespace proxy::dns
