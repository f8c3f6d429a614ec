// Server of HTTP/1.1 and, over TLS by ALPN, HTTP/2. HTTP/1.1: keep-alive, pipelined requests answered
// in order, chunked and counted bodies, Expect: 100-continue, upgrades. HTTP/2: 250 streams at once,
// limits on resets and CONTINUATION frames, no upgrades.
// Bounded: header 64 KiB (431), body max_body_bytes (413), slow headers 10 s, bodies 60 s between two
// pieces; a slow reader is cut off when max_queued_bytes of a stream wait for it, or when it took
// nothing for two minutes.
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
  // 101 with `headers`; the stream gets what the client already sent behind the request. Null over
  // HTTP/2, which is answered with 505.
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
  // Listens no longer, tells clients to go elsewhere (GOAWAY, Connection: close), and calls `done`
  // when all that is under way but endless streams is answered, or after `limit`.
  void shut_down(Duration limit, std::function<void()> done);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace base::http
