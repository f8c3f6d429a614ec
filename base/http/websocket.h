// WebSocket (RFC 6455) over a ByteStream: both ends. Messages are assembled and bounded; pings are
// answered; a broken peer is closed with the code the RFC names. No extensions.
#pragma once

#include "base/http/http.h"

namespace base::websocket {

bool is_upgrade(const http::Request& request);
// The headers of the 101 answer. Of the subprotocols the client offers, the first one that is in
// `protocols` is chosen; none of them in it is an error unless the client offered none at all.
struct Accepted {
  http::Headers headers;
  std::string protocol;
};
Result<Accepted> accept(const http::Request& request, const std::vector<std::string>& protocols);
std::string accept_key(std::string_view key);
// Headers of a client's request with a fresh random key.
http::Headers client_headers(const std::vector<std::string>& protocols);

constexpr uint16_t kNormal = 1000, kGoingAway = 1001, kProtocolError = 1002, kUnsupported = 1003,
                   kAbnormal = 1006, kBadText = 1007, kTooBig = 1009, kInternalError = 1011;

enum class Role { kServer, kClient };
struct Options {
  size_t max_message_bytes = 16u << 20;
};

// Destroying it closes the connection at once; after close() it is still closed in order.
class Connection {
 public:
  Connection(std::unique_ptr<http::ByteStream> stream, Role role, Options options = {});
  ~Connection();
  // Delivered only after this call. `end` is called once: the code the peer closed with, or
  // kAbnormal when the connection broke, or what we closed it with because the peer erred.
  void on_message(std::function<void(bool binary, std::string_view data)> message,
                  std::function<void(uint16_t code, std::string_view reason)> end);
  void send(std::string_view data, bool binary = true);
  void ping(std::string_view data);
  void on_pong(std::function<void()> pong);                 // each time; the peer reads
  void close(uint16_t code, std::string_view reason = {});  // `end` comes when the peer has closed too
  void pause(bool paused);
  size_t queued_bytes() const;
  void on_drain(std::function<void()> drained);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

// The payloads of binary messages, in order, as one stream: how kubectl tunnels SPDY.
std::unique_ptr<http::ByteStream> tunnel(std::unique_ptr<Connection> connection);

}  // namespace base::websocket
