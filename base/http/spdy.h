// SPDY/3.1 over a ByteStream: what kubectl speaks for exec and attach (before 1.31) and, tunnelled,
// for port-forward. Both ends. Peers (moby/spdystream) send no WINDOW_UPDATE, so ours are sent but
// theirs are not waited for: back-pressure is that of the connection.
#pragma once

#include "base/http/http.h"

namespace base::spdy {

constexpr uint32_t kProtocolError = 1, kInvalidStream = 2, kRefusedStream = 3, kCancel = 5,
                   kInternalError = 6;

class Session;

class Stream {
 public:
  virtual ~Stream() = default;
  virtual uint32_t id() const = 0;
  virtual const http::Headers& headers() const = 0;  // of SYN_STREAM; names in lower case
  // Data is held until this call. `end` once: the peer's FIN (ok), a reset or the end of the
  // session (an error).
  virtual void on_data(std::function<void(std::string_view)> data, std::function<void(Status)> end) = 0;
  virtual void reply(http::Headers headers = {}) = 0;  // SYN_REPLY; before any data of ours
  virtual void write(std::string_view data) = 0;
  virtual void finish() = 0;  // our FIN
  virtual void reset(uint32_t status = kCancel) = 0;
  virtual void pause(bool paused) = 0;  // holds data; stops the session when full
};

enum class Role { kServer, kClient };
struct Options {
  size_t max_streams = 1000;
  size_t max_header_bytes = 64 << 10;
  size_t max_held_bytes = 256 << 10;  // of paused streams, before the connection is not read
};

class Session {
 public:
  using OnStream = std::function<void(std::shared_ptr<Stream>)>;
  // on_stream: the peer opened one; reply() or reset() it. on_end: once, after every stream's end.
  Session(std::unique_ptr<http::ByteStream> stream, Role role, Options options, OnStream on_stream,
          std::function<void(Status)> on_end);
  ~Session();  // closes at once, without callbacks
  std::shared_ptr<Stream> open(http::Headers headers, std::function<void()> replied = {});
  void ping(uint32_t id);
  // GOAWAY, then the connection is closed after what is queued. No callback after it.
  void close();
  size_t queued_bytes() const;
  void on_drain(std::function<void()> drained);
  size_t streams() const;
  uint32_t last_pong() const;  // id of the last answered ping, for tests

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

// zlib's id of the dictionary, for a test of its bytes.
uint32_t dictionary_id();

}  // namespace base::spdy
