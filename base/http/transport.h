// One non-blocking connection: socket, optional TLS, a queue of shared buffers to write. Owns the
// fd and the epoll watch; knows nothing of HTTP. Never raises SIGPIPE, never blocks.
#pragma once

#include <sys/socket.h>

#include "base/http/http.h"
#include "base/tls.h"

namespace base::http {

class Transport {
 public:
  enum class Io { kOk, kBlocked, kEnd, kError };

  // context == nullptr: plain. For a TLS client, `verify_name` is the name or address its
  // certificate must carry. fd may also be a pipe or a pty, without TLS.
  Transport(Loop& loop, UniqueFd fd, tls::Context* context, bool is_server,
            const std::string& verify_name = {});
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // `ready` is called on epoll events with reading asked for or something left to write.
  void set_ready(std::function<void(uint32_t)> ready);
  void ignore();                    // no event is told any more
  Io handshake();                   // kOk at once on plain
  Io read(std::string_view* data);  // up to 64 KiB in a buffer valid until the next read of anybody
  bool has_pending() const;         // TLS holds bytes that epoll will not announce
  // From now on each queued buffer leaves in TLS records of its own, and a read gives one record: there
  // are clients that poll the socket for their next message (Python's), and never see a second one
  // that came in the same record.
  void keep_records() { keeps_records_ = true; }
  void queue(std::string data);
  void queue(Bytes data);
  void queue(Bytes data, size_t offset, size_t size);  // a part of it
  Io flush();                                          // kOk: the queue is empty
  size_t queued_bytes() const { return queued_bytes_; }
  void want_read(bool want);  // EPOLLIN on or off
  void want_write_once() {
    write_blocked_ = true;
    update();
  }                    // a connect(2) under way
  void update();       // adjusts epoll to what is wanted now
  void close_write();  // TLS close_notify and FIN
  const std::string& error_text() const { return error_text_; }
  ssl_st* ssl() const { return ssl_; }
  int fd() const { return fd_.get(); }
  bool is_socket() const { return is_socket_; }
  Loop& loop() const { return loop_; }

 private:
  struct Out {
    Bytes shared;
    std::string own;
    size_t offset = 0, end = 0;
    std::string_view rest() const {
      return std::string_view(shared ? *shared : own).substr(offset, end - offset);
    }
  };
  Io ssl_result(int result, const char* what);
  Io flush_plain();
  Io flush_tls();
  void consume(size_t n);

  Loop& loop_;
  UniqueFd fd_;
  ssl_st* ssl_ = nullptr;
  bool is_socket_ = true, keeps_records_ = false;
  bool want_read_ = false, ssl_wants_write_ = false, write_blocked_ = false;
  std::vector<Out> out_;
  size_t out_first_ = 0, queued_bytes_ = 0;
  std::shared_ptr<std::function<void(uint32_t)>> ready_;
  Loop::Handle watch_;
  uint32_t watched_ = 0;
  std::string error_text_;
};

// Closes it with a later turn of its loop, since the caller may be inside its callback, and `kept` is
// released then. No callback comes any more: events come before posted tasks, when their owner may be gone.
void retire(std::unique_ptr<Transport> transport, std::shared_ptr<void> kept = nullptr);

// A stream over a connected socket, a pipe or a pty; `early` was already read from it. `kept` is
// released when the connection is really closed.
std::unique_ptr<ByteStream> make_stream(std::unique_ptr<Transport> transport, std::string early,
                                        std::shared_ptr<void> kept = nullptr);
std::unique_ptr<ByteStream> make_stream(Loop& loop, UniqueFd fd);

// "10.0.0.1:80", "[::1]:80", "unix:/path" -> a socket address.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
Result<SocketAddress> parse_address(const std::string& host, int port);
std::string format_address(const sockaddr_storage& address);

}  // namespace base::http
