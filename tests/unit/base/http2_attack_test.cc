// What strangers may try over HTTP/2: bodies nobody asked for, heads that grow in the reading, frames
// that carry nothing; and that an eager honest client is none of it.
#include "base/http/feed.h"
#include "tests/unit/base/http2_peer.h"

namespace base::http {
namespace {
using namespace std::chrono_literals;

const std::string kAddress = "127.0.0.1:0";

void door(const std::shared_ptr<Exchange>& exchange) {
  if (exchange->request().headers.get("name").empty()) return exchange->respond(401, {}, std::string("who?"));
  exchange->known();
  exchange->receive(
      [exchange] { exchange->respond(200, {}, std::to_string(exchange->request().body.size())); });
}
std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = {}) {
  std::string out;
  for (size_t n : {payload.size() >> 16, payload.size() >> 8, payload.size()}) out += static_cast<char>(n);
  out += {static_cast<char>(type), static_cast<char>(flags)};
  for (int shift : {24, 16, 8, 0}) out += static_cast<char>(stream >> shift);
  return out.append(payload);
}
// Sends it again and again; true when the server ended the connection before `most` of them.
bool ends(ServerThread& server, Peer2& peer, const std::string& raw, int most) {
  std::string many;
  for (int i = 0; i < 100; ++i) many += raw;
  for (int i = 0; i < most / 100; ++i)
    if (!peer.write(many)) return true;
  // What was sent may not have been looked at yet: an answer to this comes behind it.
  peer.write(frame(NGHTTP2_PING, 0, 0, "12345678"));
  while (peer.goaway < 0 && !peer.pinged && peer.receive()) {
  }
  return peer.goaway >= 0 || server.on_loop([&] { return server.server().connections(); }) == 0;
}

TEST(Http2Attack, NothingOfAStrangersBodyIsReadAndTheConnectionGoesOn) {
  size_t body = 1;
  ServerThread server(
      [&](std::shared_ptr<Exchange> exchange) {
        body = exchange->request().body.size();
        door(exchange);
      },
      {}, server_context(), kAddress, true);
  Peer2 peer(server.port());
  peer.begin();
  int32_t stranger = peer.request("POST", "/", std::string(2 << 20, 'x'));
  auto& refused = peer.wait(stranger);
  EXPECT_EQ(refused.headers[":status"], "401");
  EXPECT_EQ(server.on_loop([&] { return body; }), 0u);
  std::string big(2 << 20, 'y');
  EXPECT_EQ(peer.wait(peer.request("POST", "/", big, {{"name", "me"}})).body, std::to_string(big.size()));
}

TEST(Http2Attack, OfABodyNobodyAskedForOneWindowIsTaken) {
  std::vector<std::shared_ptr<Exchange>> held;
  ServerThread server(
      [&](std::shared_ptr<Exchange> exchange) {
        if (exchange->request().target == "/hold") held.push_back(exchange);
        else door(exchange);
      },
      {}, server_context(), kAddress, true);
  Peer2 peer(server.port());
  peer.begin();
  std::string big(1 << 20, 'y');
  int32_t waits[8];
  for (int32_t& id : waits) id = peer.request("POST", "/hold", big);
  // They wait, and hold up nobody.
  EXPECT_EQ(peer.wait(peer.request("POST", "/", big, {{"name", "me"}})).body, std::to_string(big.size()));
  server.on_loop([&] {
    EXPECT_EQ(held.size(), 8u);
    for (auto& exchange : held)
      exchange->receive(
          [exchange] { exchange->respond(200, {}, std::to_string(exchange->request().body.size())); });
    held.clear();
    return 0;
  });
  for (int32_t id : waits) EXPECT_EQ(peer.wait(id).body, std::to_string(big.size()));
}

TEST(Http2Attack, FramesThatCarryNothingEndTheConnection) {
  ServerThread server(door, {}, server_context(), kAddress, true);
  struct {
    const char* what;
    std::string raw;
  } floods[] = {
      {"PING", frame(NGHTTP2_PING, 0, 0, "01234567")},
      {"PING answers", frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "01234567")},
      {"SETTINGS", frame(NGHTTP2_SETTINGS, 0, 0)},
      {"PRIORITY", frame(NGHTTP2_PRIORITY, 0, 1, std::string("\0\0\0\0\1", 5))},
      {"WINDOW_UPDATE", frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\0\0\1", 4))},
      {"unknown", frame(0x77, 0, 0, "abc")},
  };
  for (auto& flood : floods) {
    Peer2 peer(server.port());
    peer.begin();
    EXPECT_TRUE(ends(server, peer, flood.raw, 20'000)) << flood.what;
  }
  // Empty DATA frames of a request that goes on.
  Peer2 peer(server.port());
  peer.begin();
  std::string head("\x83\x84\x87\x41\x01x\x40\x04name\x02me", 15);  // POST / https, :authority, name
  peer.write(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, head));
  EXPECT_TRUE(ends(server, peer, frame(NGHTTP2_DATA, 0, 1), 20'000)) << "DATA";
}

TEST(Http2Attack, AByteOfAHeadThatStandsForFourThousandIsCounted) {
  std::string seen;
  ServerThread server(door, {}, server_context(), kAddress, true);
  Peer2 peer(server.port());
  peer.begin();
  // A field of 4000 bytes goes into the table, and is named by one byte from then on (0xbe: index 62).
  std::string block("\x82\x84\x87\x41\x01x\x40\x01y\x7f\xa1\x1e", 12);
  block += std::string(4000, 'v') + std::string(12'000, '\xbe');
  ASSERT_LE(block.size(), 16384u);
  peer.write(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, block));
  while (peer.goaway < 0 && peer.receive()) {
  }
  EXPECT_EQ(peer.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
}

TEST(Http2Attack, ManyHeadsThatAreTooLargeEndTheConnection) {
  ServerThread server(door, {}, server_context(), kAddress, true);
  Peer2 peer(server.port());
  peer.begin();
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 18; ++i) many.emplace_back("x-" + std::to_string(i), std::string(4000, 'v'));
  for (int i = 0; i < 20 && peer.goaway < 0; ++i) {
    int32_t id = peer.request("GET", "/", {}, many);
    if (id < 0 || !peer.until([&] { return peer.answers[id].closed || peer.goaway >= 0; })) break;
  }
  EXPECT_EQ(peer.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
}

TEST(Http2Attack, AHostThatContradictsTheAuthorityIsMalformed) {
  ServerThread server(door, {}, server_context(), kAddress, true);
  Peer2 peer(server.port());
  peer.begin();
  EXPECT_EQ(peer.wait(peer.request("GET", "/", {}, {{"host", "other"}})).error,
            static_cast<uint32_t>(NGHTTP2_PROTOCOL_ERROR));
  int32_t twice = peer.request("GET", "/", {}, {{"host", "localhost"}, {"host", "localhost"}});
  EXPECT_NE(peer.wait(twice).error, 0u);
  EXPECT_EQ(peer.wait(peer.request("GET", "/", {}, {{"host", "localhost"}})).headers[":status"], "401");
}

TEST(Http2Attack, SlowHeadsEnd) {
  Server::Options options;
  options.head_timeout = 300ms;
  ServerThread server(door, options, server_context(), kAddress, true);
  Peer2 silent(server.port()), begun(server.port()), served(server.port());
  silent.begin();
  begun.begin();
  begun.write(frame(NGHTTP2_HEADERS, 0, 1, "\x82"));
  served.begin();
  EXPECT_EQ(served.wait(served.request("GET", "/")).headers[":status"], "401");
  while (silent.receive()) {
  }
  while (begun.receive()) {
  }
  while (server.on_loop([&] { return server.server().connections(); }) > 1) {
  }
  EXPECT_EQ(served.wait(served.request("GET", "/")).headers[":status"], "401") << "one that was served stays";
}

TEST(Http2Attack, AStrangersConnectionEndsAfterSoManyRequests) {
  Server::Options options;
  options.max_stranger_requests = 5;
  ServerThread server(door, options, server_context(), kAddress, true);
  Peer2 peer(server.port());
  peer.begin();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(peer.wait(peer.request("GET", "/")).headers[":status"], "401");
  while (peer.receive()) {
  }
  EXPECT_EQ(peer.goaway, NGHTTP2_NO_ERROR);
}

// Small windows, and an update for each piece: more than ten thousand of them, and nothing is wrong.
TEST(Http2Attack, AnHonestReaderOfALongAnswerIsServedWholeBesideOthers) {
  Server::Options options;
  options.max_queued_bytes = 1 << 20;
  size_t most = 0;
  constexpr size_t kPieces = 4000;
  Loop* loop = nullptr;
  ServerThread server(
      [&](std::shared_ptr<Exchange> exchange) {
        if (exchange->request().target != "/long") return door(exchange);
        exchange->start(200, {});
        auto feed = Feed::make(*loop, exchange, [&, exchange, left = kPieces]() mutable {
          exchange->write(bytes(std::string(16 << 10, 'x')));
          most = std::max(most, exchange->queued_bytes());
          if (--left == 0) exchange->finish();
          return left > 0;
        });
        feed->run();
      },
      options, server_context());
  loop = &server.loop();
  Peer2 peer(server.port());
  peer.begin(64 << 10);
  int32_t id = peer.request("GET", "/long"), another = peer.request("GET", "/long");
  EXPECT_EQ(peer.wait(peer.request("GET", "/")).headers[":status"], "401");
  EXPECT_EQ(peer.wait(id).body.size(), kPieces * (16 << 10));
  EXPECT_EQ(peer.wait(another).body.size(), kPieces * (16 << 10));
  EXPECT_EQ(peer.goaway, -1);
  EXPECT_LE(server.on_loop([&] { return most; }), kFedBytes + (32 << 10));
}

}  // namespace
}  // namespace base::http
