// HTTP/1.1 client with a pool of kept-alive connections to one endpoint.
#pragma once

#include "base/http/http.h"
#include "base/tls.h"

namespace base::http {

class Client {
 public:
  struct Options {
    std::string host;         // address to connect to and Host header: "10.0.0.1", a name, or
    int port = 0;             // "unix:/path" with port 0
    std::string server_name;  // for certificate verification; "" = host
    size_t max_response_bytes = 256u << 20;
    Duration connect_timeout = std::chrono::seconds(5);
  };
  // context == nullptr: plain HTTP.
  Client(Loop& loop, std::shared_ptr<tls::Context> context, Options options);
  ~Client();  // cancels what is under way; no callback after it

  using Done = std::function<void(Result<Response>)>;
  // A call or stream is cancelled by destroying its handle.
  class Call {
   public:
    virtual ~Call() = default;
    virtual void pause(bool paused) = 0;  // a stream's answer: reads no more for now
  };
  // `timeout` zero: none. An idle connection that the server closed under us is retried once when
  // nothing of the answer had come and the method is idempotent or nothing was sent.
  [[nodiscard]] std::unique_ptr<Call> call(Request request, Duration timeout, Done done);
  // on_data gets body bytes as they come; on_end once, with an error if the body was cut short.
  [[nodiscard]] std::unique_ptr<Call> stream(Request request, std::function<void(const Response&)> on_head,
                                             std::function<void(std::string_view)> on_data,
                                             std::function<void(Status)> on_end);
  // Expects 101; another status is kUnavailable with the body.
  struct Upgraded {
    Response response;                   // status 101, or the refusal
    std::unique_ptr<ByteStream> stream;  // null on refusal
  };
  [[nodiscard]] std::unique_ptr<Call> upgrade(Request request, std::function<void(Result<Upgraded>)> done);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace base::http
