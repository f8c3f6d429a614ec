// A server's certificate, and an HTTP/2 client that does what curl would never do: nghttp2's own client
// session, or raw frames, over a blocking TLS connection.
#pragma once

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include <csignal>
#include <cstring>
#include <map>

#include "base/tls.h"
#include "tests/unit/base/http_fixture.h"

namespace base::http {

inline std::shared_ptr<tls::Context> server_context() {
  static auto context = [] {
    auto ca = tls::make_ca("test", std::chrono::hours(1));
    tls::CertificateRequest request;
    request.common_name = "server";
    request.dns_names = {"localhost"};
    request.ip_addresses = {"127.0.0.1"};
    request.server = true;
    auto pair = tls::sign(*ca, request);
    auto made = tls::Context::server(*pair, ca->certificate_pem);
    EXPECT_TRUE(made.ok());
    return *made;
  }();
  return context;
}

// OpenSSL's own socket BIO raises SIGPIPE when the server has hung up, which these tests provoke. It is
// held back on this thread and for this call alone, so that the server's threads, which must never
// raise it, still die of it.
class PipeSignalHeld {
 public:
  PipeSignalHeld() {
    sigemptyset(&pipe_signal_);
    sigaddset(&pipe_signal_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_signal_, &before_);
  }
  ~PipeSignalHeld() {
    timespec none{};
    while (::sigtimedwait(&pipe_signal_, nullptr, &none) == SIGPIPE) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_signal_, before_;
};

// A blocking TLS connection with ALPN h2 and an nghttp2 client session on it.
class Peer2 {
 public:
  explicit Peer2(int port, const char* protocols = "\x02h2") : socket_(port) {
    timeval limit{10, 0};
    ::setsockopt(socket_.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(socket_.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    context_ = SSL_CTX_new(TLS_client_method());
    ssl_ = SSL_new(context_);
    SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(protocols),
                        static_cast<unsigned>(std::strlen(protocols)));
    SSL_set_fd(ssl_, socket_.fd());
    EXPECT_EQ(SSL_connect(ssl_), 1);
    nghttp2_session_callbacks* callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t n,
                      const uint8_t* value, size_t v, uint8_t, void* user) {
          auto& answer = static_cast<Peer2*>(user)->answers[frame->hd.stream_id];
          answer.headers[std::string(reinterpret_cast<const char*>(name), n)] =
              std::string(reinterpret_cast<const char*>(value), v);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
          static_cast<Peer2*>(user)->answers[id].body.append(reinterpret_cast<const char*>(data), size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, int32_t id, uint32_t code, void* user) {
          auto& answer = static_cast<Peer2*>(user)->answers[id];
          answer.closed = true;
          answer.error = code;
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          auto* self = static_cast<Peer2*>(user);
          if (frame->hd.type == NGHTTP2_GOAWAY) self->goaway = static_cast<int>(frame->goaway.error_code);
          if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) &&
              std::memcmp(frame->ping.opaque_data, "12345678", 8) == 0)
            self->pinged = true;
          if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
            self->settings = true;
          return 0;
        });
    nghttp2_option* option;
    nghttp2_option_new(&option);
    nghttp2_option_set_max_send_header_block_length(option, 1 << 20);
    nghttp2_session_client_new2(&session_, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
  }
  ~Peer2() {
    nghttp2_session_del(session_);
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  void begin(uint32_t window = 1 << 20) {
    nghttp2_settings_entry entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    nghttp2_submit_settings(session_, 0, &entry, 1);
    ASSERT_TRUE(send());
  }
  std::string protocol() const {
    const unsigned char* data = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &data, &size);
    return std::string(reinterpret_cast<const char*>(data), size);
  }
  int32_t request(const std::string& method, const std::string& path, const std::string& body = {},
                  std::vector<std::pair<std::string, std::string>> more = {}) {
    std::vector<nghttp2_nv> fields;
    auto add = [&](const std::string& name, const std::string& value) {
      fields.push_back(
          {(uint8_t*)name.data(), (uint8_t*)value.data(), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    };
    static const std::string names[] = {":method", ":path", ":scheme", ":authority"}, https = "https",
                             host = "localhost";
    add(names[0], method);
    add(names[1], path);
    add(names[2], https);
    add(names[3], host);
    for (const auto& [name, value] : more) add(name, value);
    nghttp2_data_provider provider{};
    bodies_.push_back(std::make_unique<std::pair<std::string, size_t>>(body, 0));
    provider.source.ptr = bodies_.back().get();
    provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* out, size_t size, uint32_t* flags,
                                nghttp2_data_source* source, void*) -> ssize_t {
      auto& [text, at] = *static_cast<std::pair<std::string, size_t>*>(source->ptr);
      size_t n = std::min(size, text.size() - at);
      std::memcpy(out, text.data() + at, n);
      at += n;
      if (at == text.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(n);
    };
    int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(),
                                        body.empty() ? nullptr : &provider, nullptr);
    return id;
  }
  bool write(std::string_view raw) {
    PipeSignalHeld held;
    return SSL_write(ssl_, raw.data(), static_cast<int>(raw.size())) == static_cast<int>(raw.size());
  }
  bool send() {
    for (;;) {
      const uint8_t* data;
      ssize_t n = nghttp2_session_mem_send(session_, &data);
      if (n < 0) return false;
      if (n == 0) return true;
      if (!write({reinterpret_cast<const char*>(data), static_cast<size_t>(n)})) return false;
    }
  }
  bool receive() {
    char data[65536];
    int n;
    {
      PipeSignalHeld held;
      n = SSL_read(ssl_, data, sizeof data);
    }
    if (n <= 0) return false;
    return nghttp2_session_mem_recv(session_, reinterpret_cast<uint8_t*>(data), static_cast<size_t>(n)) >=
               0 &&
           send();
  }
  bool until(const std::function<bool()>& done) {
    while (!done())
      if (!send() || !receive()) return done();
    return true;
  }
  struct Answer {
    std::map<std::string, std::string> headers;
    std::string body;
    bool closed = false;
    uint32_t error = 0;
  };
  Answer& wait(int32_t id) {
    EXPECT_TRUE(until([&] { return answers[id].closed; }));
    return answers[id];
  }
  void reset(int32_t id) { nghttp2_submit_rst_stream(session_, 0, id, NGHTTP2_CANCEL); }
  std::map<int32_t, Answer> answers;
  int goaway = -1;
  bool settings = false, pinged = false;  // pinged: a PING of "12345678" was answered
  nghttp2_session* session() { return session_; }

 private:
  Socket socket_;
  SSL_CTX* context_;
  SSL* ssl_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<std::pair<std::string, size_t>>> bodies_;
};

}  // namespace base::http
