// HTTP/1.1 server (TLS by tls::Context, ALPN "http/1.1"). Keep-alive, pipelining refused by
// answering in order, chunked and counted bodies, Expect: 100-continue, upgrades.
// Bounded: header 64 KiB, body max_body_bytes (413), slow headers 10 s, slow reader cut off when
// max_queued_bytes wait for it.
#pragma once

#include "base/http.h"
#include "base/tls.h"

namespace base::http {

// One request and its answer. Kept alive by whoever holds the shared_ptr; the connection's end
// makes every call on it a no-op.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;
  Request& mutable_request() { return const_cast<Request&>(request()); }

  // Exactly one of respond, start or upgrade.
  virtual void respond(int status, Headers headers, std::vector<Bytes> body) = 0;
  void respond(int status, Headers headers, std::string body) {
    respond(status, std::move(headers), std::vector<Bytes>{bytes(std::move(body))});
  }
  // A chunked answer: write any number of times, then finish.
  virtual void start(int status, Headers headers) = 0;
  virtual void write(Bytes chunk) = 0;
  virtual void finish() = 0;
  virtual size_t queued_bytes() const = 0;
  // Called when a started answer's queue fell to zero. Where nothing ever queues, never.
  virtual void on_drain(std::function<void()> drained) { (void)drained; }
  // 101 with `headers`; the stream gets what the client already sent behind the request.
  virtual std::unique_ptr<ByteStream> upgrade(Headers headers) = 0;
  virtual bool closed() const = 0;
  virtual void on_close(std::function<void()> closed) = 0;  // the client went away
};

class Server {
 public:
  struct Options {
    size_t max_body_bytes = 3u << 20;
    size_t max_queued_bytes = 64u << 20;  // per connection
    size_t max_connections = 8192;
    // Content type and body of what the server itself refuses (400, 413, 431); none: plain text.
    std::function<std::pair<std::string, std::string>(int status, const std::string& text)> refusal;
  };
  using Handler = std::function<void(std::shared_ptr<Exchange>)>;
  // context == nullptr: plain HTTP.
  Server(Loop& loop, std::shared_ptr<tls::Context> context, Options options, Handler handler);
  ~Server();
  Status listen(const std::string& address);  // "127.0.0.1:6443", "[::]:6443", port 0 picks one
  Status adopt(UniqueFd listening_socket);    // sd_listen_fds(3)
  std::vector<int> ports() const;             // of all listeners, in order
  size_t connections() const;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace base::http
