// HTTP/2 against a real TLS server: curl as an everyday client, and nghttp2's own client session over a
// raw connection for what curl would never do.
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include <csignal>
#include <cstring>
#include <map>

#include "base/tls.h"
#include "tests/unit/base/http_fixture.h"

namespace base::http {
namespace {

std::shared_ptr<tls::Context> server_context() {
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
    SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(protocols), static_cast<unsigned>(std::strlen(protocols)));
    SSL_set_fd(ssl_, socket_.fd());
    EXPECT_EQ(SSL_connect(ssl_), 1);
    nghttp2_session_callbacks* callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t n, const uint8_t* value, size_t v, uint8_t, void* user) {
          auto& answer = static_cast<Peer2*>(user)->answers[frame->hd.stream_id];
          answer.headers[std::string(reinterpret_cast<const char*>(name), n)] = std::string(reinterpret_cast<const char*>(value), v);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
      static_cast<Peer2*>(user)->answers[id].body.append(reinterpret_cast<const char*>(data), size);
      return 0;
    });
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](nghttp2_session*, int32_t id, uint32_t code, void* user) {
      auto& answer = static_cast<Peer2*>(user)->answers[id];
      answer.closed = true;
      answer.error = code;
      return 0;
    });
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
      auto* self = static_cast<Peer2*>(user);
      if (frame->hd.type == NGHTTP2_GOAWAY) self->goaway = static_cast<int>(frame->goaway.error_code);
      if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) self->settings = true;
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
  int32_t request(const std::string& method, const std::string& path, const std::string& body = {}, std::vector<std::pair<std::string, std::string>> more = {}) {
    std::vector<nghttp2_nv> fields;
    auto add = [&](const std::string& name, const std::string& value) {
      fields.push_back({(uint8_t*)name.data(), (uint8_t*)value.data(), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    };
    static const std::string names[] = {":method", ":path", ":scheme", ":authority"}, https = "https", host = "localhost";
    add(names[0], method);
    add(names[1], path);
    add(names[2], https);
    add(names[3], host);
    for (const auto& [name, value] : more) add(name, value);
    nghttp2_data_provider provider{};
    bodies_.push_back(std::make_unique<std::pair<std::string, size_t>>(body, 0));
    provider.source.ptr = bodies_.back().get();
    provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* out, size_t size, uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
      auto& [text, at] = *static_cast<std::pair<std::string, size_t>*>(source->ptr);
      size_t n = std::min(size, text.size() - at);
      std::memcpy(out, text.data() + at, n);
      at += n;
      if (at == text.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(n);
    };
    int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), body.empty() ? nullptr : &provider, nullptr);
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
    return nghttp2_session_mem_recv(session_, reinterpret_cast<uint8_t*>(data), static_cast<size_t>(n)) >= 0 && send();
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
  bool settings = false;
  nghttp2_session* session() { return session_; }

 private:
  Socket socket_;
  SSL_CTX* context_;
  SSL* ssl_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<std::pair<std::string, size_t>>> bodies_;
};

void echo(const std::shared_ptr<Exchange>& exchange) {
  const Request& request = exchange->request();
  Headers headers;
  headers.add("Content-Type", "text/plain");
  headers.add("X-Host", std::string(request.headers.get("Host")));
  exchange->respond(200, headers, request.method + " " + request.target + " [" + request.body + "]");
}

TEST(Http2, IsChosenByAlpnAndAnswersManyStreamsOnOneConnection) {
  ServerThread server(echo, {}, server_context());
  Peer2 peer(server.port());
  EXPECT_EQ(peer.protocol(), "h2");
  peer.begin();
  std::vector<int32_t> ids;
  for (int i = 0; i < 200; ++i) ids.push_back(peer.request("POST", "/" + std::to_string(i), "body " + std::to_string(i)));
  for (int i = 0; i < 200; ++i) {
    auto& answer = peer.wait(ids[static_cast<size_t>(i)]);
    EXPECT_EQ(answer.body, "POST /" + std::to_string(i) + " [body " + std::to_string(i) + "]");
    EXPECT_EQ(answer.headers[":status"], "200");
    EXPECT_EQ(answer.headers["x-host"], "localhost");
    EXPECT_EQ(answer.headers["content-length"], std::to_string(answer.body.size()));
  }
  Peer2 old(server.port(), "\x08http/1.1");
  EXPECT_EQ(old.protocol(), "http/1.1");
}

TEST(Http2, SharesLargeBodiesAndHoldsBackByTheStreamsWindow) {
  Bytes big = bytes(std::string(3 << 20, 'x'));
  ServerThread server(
      [big](std::shared_ptr<Exchange> exchange) {
        if (exchange->request().target == "/big") exchange->respond(200, {}, std::vector<Bytes>{big, bytes("end")});
        else echo(exchange);
      },
      {}, server_context());
  Peer2 peer(server.port());
  peer.begin(1000);  // a tiny window: the large answer goes in many pieces, others don't wait for it
  int32_t large = peer.request("GET", "/big"), head = peer.request("HEAD", "/big"), small = peer.request("GET", "/small");
  EXPECT_EQ(peer.wait(small).body, "GET /small []");
  EXPECT_FALSE(peer.answers[large].closed);
  EXPECT_EQ(peer.wait(head).body, "");
  EXPECT_EQ(peer.answers[head].headers["content-length"], std::to_string(big->size() + 3));
  auto& answer = peer.wait(large);
  EXPECT_EQ(answer.body.size(), big->size() + 3);
  EXPECT_TRUE(answer.body.ends_with("xend"));
}

TEST(Http2, StreamsAndTellsTheHandlerWhenAStreamIsReset) {
  std::shared_ptr<Exchange> held;
  bool closed = false;
  ServerThread server(
      [&](std::shared_ptr<Exchange> exchange) {
        if (exchange->request().target != "/watch") return echo(exchange);
        exchange->start(200, {});
        exchange->on_close([&] { closed = true; });
        held = exchange;
      },
      {}, server_context());
  {
    Peer2 peer(server.port());
    peer.begin();
    int32_t watch = peer.request("GET", "/watch");
    ASSERT_TRUE(peer.until([&] { return peer.answers[watch].headers.count(":status") == 1; }));
    for (int i = 0; i < 3; ++i) server.on_loop([&] { return held->write(bytes("line " + std::to_string(i) + "\n")), 0; });
    ASSERT_TRUE(peer.until([&] { return peer.answers[watch].body == "line 0\nline 1\nline 2\n"; }));
    EXPECT_EQ(peer.wait(peer.request("GET", "/other")).body, "GET /other []");
    peer.reset(watch);
    EXPECT_EQ(peer.wait(peer.request("GET", "/more")).body, "GET /more []");
    EXPECT_TRUE(server.on_loop([&] { return closed && held->closed(); }));
    server.on_loop([&] { held.reset(); return 0; });
  }
}

TEST(Http2, ResetsAStreamWhoseClientReadsNothingAndServesTheOthers) {
  std::shared_ptr<Exchange> held;
  Server::Options options;
  options.max_queued_bytes = 1 << 20;
  ServerThread server(
      [&](std::shared_ptr<Exchange> exchange) {
        if (exchange->request().target != "/watch") return echo(exchange);
        exchange->start(200, {});
        held = exchange;
      },
      options, server_context());
  Peer2 peer(server.port());
  peer.begin(10);
  int32_t watch = peer.request("GET", "/watch");
  ASSERT_TRUE(peer.until([&] { return peer.answers[watch].headers.count(":status") == 1; }));
  nghttp2_session_set_local_window_size(peer.session(), 0, watch, 0);
  server.on_loop([&] {
    Bytes chunk = bytes(std::string(100 << 10, 'x'));
    for (int i = 0; i < 12; ++i) held->write(chunk);
    return 0;
  });
  ASSERT_TRUE(peer.until([&] { return peer.answers[watch].closed; }));
  EXPECT_EQ(peer.answers[watch].error, static_cast<uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_TRUE(server.on_loop([&] { return held->closed(); }));
  int32_t other = peer.request("GET", "/o");
  EXPECT_TRUE(peer.until([&] { return peer.answers[other].closed; }));
  EXPECT_EQ(peer.answers[other].body, "GET /o []");
  server.on_loop([&] { held.reset(); return 0; });
}

TEST(Http2, RefusesWhatIsTooLargeOnItsStreamAlone) {
  Server::Options options;
  options.max_body_bytes = 1000;
  ServerThread server(echo, options, server_context());
  Peer2 peer(server.port());
  peer.begin();
  EXPECT_EQ(peer.wait(peer.request("POST", "/", std::string(5000, 'x'))).headers[":status"], "413");
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 14; ++i) many.emplace_back("x-" + std::to_string(i), std::string(4000, 'v'));
  EXPECT_EQ(peer.wait(peer.request("GET", "/", {}, many)).headers[":status"], "200");
  for (int i = 0; i < 4; ++i) many.emplace_back("y-" + std::to_string(i), std::string(4000, 'v'));
  int32_t id = peer.request("GET", "/", {}, many);
  peer.until([&] { return peer.answers[id].closed || peer.goaway >= 0; });
  EXPECT_NE(peer.answers[id].headers[":status"], "200");
}

TEST(Http2, EndsConnectionsThatResetFasterThanTheyAsk) {
  int handled = 0;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) { ++handled; echo(exchange); }, {}, server_context());
  Peer2 peer(server.port());
  peer.begin();
  bool open = true;
  for (int i = 0; i < 20'000 && open; ++i) {
    int32_t id = peer.request("GET", "/");
    open = id > 0 && peer.send();
    peer.reset(id);
    open = open && peer.send();
  }
  while (peer.goaway < 0 && peer.receive()) {
  }
  EXPECT_LT(server.on_loop([&] { return handled; }), 5000);
  EXPECT_EQ(server.on_loop([&] { return server.server().connections(); }), 0u);
}

TEST(Http2, EndsConnectionsOfEndlessContinuations) {
  ServerThread server(echo, {}, server_context());
  Peer2 peer(server.port());
  peer.begin();
  // HEADERS without END_HEADERS, then CONTINUATION frames without end (CVE-2024-28182).
  bool open = peer.write(std::string("\0\0\1\1\0\0\0\0\1\x82", 10));
  for (int i = 0; i < 10'000 && open; ++i) open = peer.write(std::string("\0\0\1\x9\0\0\0\0\1\x84", 10));
  while (peer.receive()) {
  }
  auto none = [&] { return server.on_loop([&] { return server.server().connections() == 0; }); };
  EXPECT_TRUE(none());
}

TEST(Http2, SaysGoawayAndAnswersWhatIsUnderWayWhenItShutsDown) {
  std::shared_ptr<Exchange> held;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) { held = exchange; }, {}, server_context());
  Peer2 peer(server.port());
  peer.begin();
  int32_t id = peer.request("GET", "/slow");
  ASSERT_TRUE(peer.send());
  while (!server.on_loop([&] { return held != nullptr; })) {
  }
  bool done = false;
  server.on_loop([&] { return server.server().shut_down(std::chrono::seconds(60), [&] { done = true; }), 0; });
  ASSERT_TRUE(peer.until([&] { return peer.goaway >= 0; }));
  EXPECT_EQ(peer.goaway, NGHTTP2_NO_ERROR);
  EXPECT_FALSE(server.on_loop([&] { return done; }));
  server.on_loop([&] { echo(held); held.reset(); return 0; });
  EXPECT_EQ(peer.wait(id).body, "GET /slow []");
  while (peer.receive()) {
  }
  while (!server.on_loop([&] { return done; })) {
  }
}

TEST(Http1, AnswersWhatIsUnderWayWhenItShutsDown) {
  std::shared_ptr<Exchange> held;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) { held = exchange; });
  Socket idle(server.port()), socket(server.port());
  ASSERT_TRUE(socket.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"));
  while (!server.on_loop([&] { return held != nullptr; })) {
  }
  bool done = false;
  server.on_loop([&] { return server.server().shut_down(std::chrono::seconds(60), [&] { done = true; }), 0; });
  EXPECT_TRUE(idle.at_end());
  EXPECT_FALSE(server.on_loop([&] { return done; }));
  server.on_loop([&] { echo(held); held.reset(); return 0; });
  std::string head;
  EXPECT_EQ(socket.read_answer(&head), "GET /slow []");
  EXPECT_NE(head.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(socket.at_end());
  while (!server.on_loop([&] { return done; })) {
  }
}

}  // namespace
}  // namespace base::http
