// One question over the network to a container, for a probe or a hook: TCP (a connection is the answer),
// HTTP and HTTPS (certificate not checked, as Kubernetes'), or gRPC health. On the loop, never blocking,
// always bounded by its timeout. Answers are judged as the kubelet's (pkg/probe).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/resolver.h"

namespace kubelet {

struct Outcome {
  bool success = false;
  std::string message;   // of a failure, as the Unhealthy event says it; of a warning, as ProbeWarning does
  bool warning = false;  // a success with a message
  // A failure to ask at all (the description is wrong: "unknown") or of an answer that was cut short
  // ("failure"): the state that the event names. Null: a plain result.
  const char* errored = nullptr;
};

struct NetTarget {
  enum class Kind { kTcp, kHttp, kHttps, kGrpc } kind = Kind::kTcp;
  std::string host;  // address, or a name that the node resolves; [A-Za-z0-9._:-] is checked here
  int port = 0;
  std::string path;                                          // as the API has it; escaped here
  std::vector<std::pair<std::string, std::string>> headers;  // as the API has them; checked here
  std::string service;                                       // gRPC
  // A hook is done with any answer, and falls back to HTTP where HTTPS is not spoken.
  bool hook = false;
  std::string error;  // why there is no target: told as the outcome
};

class NetCheck {
 public:
  virtual ~NetCheck() = default;  // cancels; `done` is not called any more
};
using NetDone = std::function<void(Outcome)>;
// `done` is called once, never before this returns; destroying the check inside it is fine. `timeout` zero:
// none.
std::unique_ptr<NetCheck> check_net(base::Loop& loop, base::Resolver& resolver, NetTarget target,
                                    base::Duration timeout, NetDone done);

// The kinds. `address` is what the host resolved to; `timeout` is what their messages say, the caller's timer
// is not theirs: it asks overdue() for the message.
class NetAttempt {
 public:
  virtual ~NetAttempt() = default;
  virtual Outcome overdue() const = 0;
};
std::unique_ptr<NetAttempt> ask_http(base::Loop& loop, const NetTarget& target, std::string address,
                                     NetDone done);
std::unique_ptr<NetAttempt> ask_grpc(base::Loop& loop, const NetTarget& target, std::string address,
                                     base::Duration timeout, NetDone done);

std::string host_port(const std::string& host, int port);  // "10.0.0.1:80", "[fd00::1]:80"
std::string dial_error(const std::string& where,
                       int error);  // "dial tcp 10.0.0.1:80: connect: connection refused"

}  // namespace kubelet
