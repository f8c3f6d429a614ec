// A gRPC client: unary calls over one HTTP/2 connection without TLS, to a unix socket or an address, on the
// loop. Messages are bytes; whoever calls knows what they mean. Owns the connection, which is made when a
// call needs it and made again when it was lost. What a server sends is bounded, and each call ends by its
// deadline, whatever the server does. Protocol: gRPC's PROTOCOL-HTTP2.md; codes and words as grpc-go's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"

namespace base::grpc {

enum Code : int {
  kOk = 0,
  kCanceled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};
struct Status {
  int code = kOk;  // a server may send any
  std::string message;
  bool ok() const { return code == kOk; }
  std::string text() const;  // "rpc error: code = NotFound desc = no such volume"
};
std::string code_text(int code);  // "NotFound", "Code(42)"

class Channel {
 public:
  struct Options {
    std::string host;  // an address, or "unix:/path"
    int port = 0;
    std::string authority = "localhost", user_agent = "grpc-c/sampan";
    size_t max_reply_bytes = 4 << 20;  // grpc-go's
    Duration redial = std::chrono::seconds(1);
  };
  Channel(Loop& loop, Options options);
  ~Channel();  // its calls are not answered any more

  // Destroying it cancels the call; `done` is not called then.
  class Call {
   public:
    virtual ~Call() = default;
  };
  using Done = std::function<void(Status, std::string reply)>;
  // `method` is "/package.Service/Method". `done` is called once, never before this returns; destroying the
  // call or the channel inside it is fine. With `waits` a server that is not there yet is dialled again until
  // the deadline, else the first failure to connect is the answer.
  [[nodiscard]] std::unique_ptr<Call> call(std::string method, std::string message, Duration timeout,
                                           Done done, bool waits = false);
  bool is_ready() const;  // the server speaks HTTP/2

 private:
  class Connection;
  std::shared_ptr<Connection> connection_;
};

}  // namespace base::grpc
