// Server of HTTP/1.1 and, over TLS by ALPN, HTTP/2. HTTP/1.1: keep-alive, pipelined requests answered
// in order, chunked and counted bodies, Expect: 100-continue, upgrades. HTTP/2: 250 streams at once,
// limits on resets, CONTINUATION and other frames that carry nothing, no upgrades.
// A handler sees the head alone; the body is read when it asks for it, so that nobody without a name
// makes the server keep more than a head. Bounded: header 64 KiB (431), body max_body_bytes (413), a
// head 10 s, a body 60 s (408), what unanswered requests hold together (429), connections of strangers.
// A reader is cut off when it took nothing for two minutes; what large answers are made of waits
// outside, where on_drain() asks for it (http_feed.h), and a handler that writes without asking is cut
// off at max_queued_bytes.
#pragma once

#include "base/http/http.h"
#include "base/tls.h"

namespace base::http {

// One request and its answer. Kept alive by whoever holds the shared_ptr; the connection's end
// makes every call on it a no-op.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;
  Request& mutable_request() { return const_cast<Request&>(request()); }

  // Reads the body, which is whole in request().body when `then` is called: now, where there is none or
  // it is there. Never called when the client went away or was refused. Once. Who answers without it
  // ends an HTTP/1.1 connection whose body is not there yet.
  virtual void receive(std::function<void()> then) { then(); }
  // Who asks has a name: the connection counts among strangers no longer.
  virtual void known() {}

  // Exactly one of respond, start or upgrade.
  virtual void respond(int status, Headers headers, std::vector<Bytes> body) = 0;
  void respond(int status, Headers headers, std::string body) {
    respond(status, std::move(headers), std::vector<Bytes>{bytes(std::move(body))});
  }
  // A chunked answer: write any number of times, then finish.
  virtual void start(int status, Headers headers) = 0;
  virtual void write(Bytes chunk) = 0;
  virtual void finish() = 0;
  virtual size_t queued_bytes() const = 0;  // of this answer, not yet on its way
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
    size_t max_queued_bytes = 64u << 20;  // of one answer that is written without asking for room
    size_t max_connections = 8192;
    // Connections on which nobody is known by name yet, and what requests hold until they are answered
    // (heads and bodies). An address is an IPv4 address or an IPv6 /64.
    size_t max_strangers = 4096, max_strangers_per_address = 1024;
    size_t max_request_bytes = 256u << 20, max_request_bytes_per_address = 64u << 20;
    size_t max_stranger_bytes_per_address = 8u << 20;
    int max_stranger_requests = 1000;  // on one connection
    Duration head_timeout =
        std::chrono::seconds(10);  // of a handshake with the first head; of a head that has begun
    Duration body_timeout = std::chrono::seconds(60);  // from the handler's wish to the last byte
    // Content type and body of what the server itself refuses (400, 413, 431); none: plain text.
    std::function<std::pair<std::string, std::string>(int status, const std::string& text)> refusal;
  };
  using Handler = std::function<void(std::shared_ptr<Exchange>)>;  // at the end of each request's head
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

// A handler that gets requests whole, whoever sends them.
inline Server::Handler with_bodies(Server::Handler handler) {
  return [handler = std::move(handler)](std::shared_ptr<Exchange> exchange) {
    Exchange& asked = *exchange;
    asked.receive([handler, exchange = std::move(exchange)] { handler(exchange); });
  };
}

}  // namespace base::http
