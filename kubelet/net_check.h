// One connection to a container for a probe or a hook: TCP, HTTP, HTTPS (certificate not checked,
// as Kubernetes') or gRPC health. On the loop, never blocking, always bounded by its timeout.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"

namespace kubelet {

struct Outcome {
  bool success = false;
  std::string message;   // of a failure, as the Unhealthy event says it
};

struct NetTarget {
  enum class Kind { kTcp, kHttp, kHttps, kGrpc } kind = Kind::kTcp;
  std::string ip;        // IPv4 or IPv6 address
  int port = 0;
  std::string path = "/";
  std::string host_header;   // empty: ip:port
  std::vector<std::pair<std::string, std::string>> headers;
  std::string service;   // gRPC
};

class NetCheck {
 public:
  virtual ~NetCheck() = default;   // cancels; `done` is not called any more
};
// `done` is called once, never before this returns; destroying the check inside it is fine.
std::unique_ptr<NetCheck> check_net(base::Loop& loop, NetTarget target, base::Duration timeout,
                                    std::function<void(Outcome)> done);

}  // namespace kubelet
