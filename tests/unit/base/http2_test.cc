// HTTP/2 against a real TLS server.
#include "tests/unit/base/http2_peer.h"

namespace base::http {
namespace {

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
  for (int i = 0; i < 200; ++i)
    ids.push_back(peer.request("POST", "/" + std::to_string(i), "body " + std::to_string(i)));
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
        if (exchange->request().target == "/big")
          exchange->respond(200, {}, std::vector<Bytes>{big, bytes("end")});
        else echo(exchange);
      },
      {}, server_context());
  Peer2 peer(server.port());
  peer.begin(1000);  // a tiny window: the large answer goes in many pieces, others don't wait for it
  int32_t large = peer.request("GET", "/big"), head = peer.request("HEAD", "/big"),
          small = peer.request("GET", "/small");
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
    for (int i = 0; i < 3; ++i)
      server.on_loop([&] { return held->write(bytes("line " + std::to_string(i) + "\n")), 0; });
    ASSERT_TRUE(peer.until([&] { return peer.answers[watch].body == "line 0\nline 1\nline 2\n"; }));
    EXPECT_EQ(peer.wait(peer.request("GET", "/other")).body, "GET /other []");
    peer.reset(watch);
    EXPECT_EQ(peer.wait(peer.request("GET", "/more")).body, "GET /more []");
    EXPECT_TRUE(server.on_loop([&] { return closed && held->closed(); }));
    server.on_loop([&] {
      held.reset();
      return 0;
    });
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
  server.on_loop([&] {
    held.reset();
    return 0;
  });
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
  ServerThread server(
      [&](std::shared_ptr<Exchange> exchange) {
        ++handled;
        echo(exchange);
      },
      {}, server_context());
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
  server.on_loop(
      [&] { return server.server().shut_down(std::chrono::seconds(60), [&] { done = true; }), 0; });
  ASSERT_TRUE(peer.until([&] { return peer.goaway >= 0; }));
  EXPECT_EQ(peer.goaway, NGHTTP2_NO_ERROR);
  EXPECT_FALSE(server.on_loop([&] { return done; }));
  server.on_loop([&] {
    echo(held);
    held.reset();
    return 0;
  });
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
  server.on_loop(
      [&] { return server.server().shut_down(std::chrono::seconds(60), [&] { done = true; }), 0; });
  EXPECT_TRUE(idle.at_end());
  EXPECT_FALSE(server.on_loop([&] { return done; }));
  server.on_loop([&] {
    echo(held);
    held.reset();
    return 0;
  });
  std::string head;
  EXPECT_EQ(socket.read_answer(&head), "GET /slow []");
  EXPECT_NE(head.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(socket.at_end());
  while (!server.on_loop([&] { return done; })) {
  }
}

}  // namespace
}  // namespace base::http
