#include "base/http/websocket.h"

#include <random>

#include "base/http/transport.h"
#include "base/sys.h"
#include "tests/unit/base/http_fixture.h"

namespace base::websocket {
namespace {
using http::ByteStream;

struct Ends {
  std::unique_ptr<ByteStream> a, b;
};
Ends pair(Loop& loop) {
  auto sockets = sys::socketpair(SOCK_STREAM).value();
  return {http::make_stream(loop, std::move(sockets.read)),
          http::make_stream(loop, std::move(sockets.write))};
}
// A frame as a client sends it, with mask 1 2 3 4.
std::string frame(uint8_t first, std::string payload, bool masked = true) {
  std::string out(1, static_cast<char>(first));
  out.push_back(static_cast<char>((masked ? 0x80 : 0) | static_cast<int>(payload.size())));
  if (masked) {
    out += "\1\2\3\4";
    for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ (i % 4 + 1));
  }
  return out + payload;
}
struct Seen {
  std::vector<std::pair<bool, std::string>> messages;
  int code = 0;
  std::string reason;
  void listen(Connection& connection) {
    connection.on_message([this](bool binary, std::string_view data) { messages.emplace_back(binary, data); },
                          [this](uint16_t c, std::string_view r) {
                            code = c;
                            reason = r;
                          });
  }
};

TEST(WebSocket, AcceptKeyOfTheRfc) {
  EXPECT_EQ(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocket, HandshakeChoosesAmongOfferedProtocols) {
  http::Request request;
  request.headers = client_headers({"v6.channel.k8s.io", "v5.channel.k8s.io", "v4.channel.k8s.io"});
  auto accepted = accept(request, {"v4.channel.k8s.io", "v5.channel.k8s.io"});
  ASSERT_TRUE(accepted.ok());
  EXPECT_EQ(accepted->protocol, "v5.channel.k8s.io");
  EXPECT_EQ(accepted->headers.get("sec-websocket-protocol"), "v5.channel.k8s.io");
  EXPECT_FALSE(accept(request, {"v1"}).ok());
  request.headers.set("Sec-WebSocket-Version", "12");
  EXPECT_FALSE(accept(request, {"v5.channel.k8s.io"}).ok());
  EXPECT_FALSE(accept(http::Request{}, {}).ok());
}

TEST(WebSocket, CarriesMessagesOfAllSizesBothWays) {
  Loop loop;
  auto ends = pair(loop);
  Connection server(std::move(ends.a), Role::kServer), client(std::move(ends.b), Role::kClient);
  Seen at_server, at_client;
  at_server.listen(server);
  at_client.listen(client);
  std::vector<std::string> sent;
  for (size_t size : {0, 1, 125, 126, 127, 65535, 65536, 3'000'000}) {
    std::string text;
    for (size_t i = 0; i < size; ++i) text.push_back(static_cast<char>(i * 31));
    sent.push_back(text);
    client.send(text);
    server.send(text);
  }
  client.send("text", false);
  client.ping("are you there");
  ASSERT_TRUE(http::run_until(loop, [&] {
    return at_server.messages.size() == sent.size() + 1 && at_client.messages.size() == sent.size();
  }));
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(at_server.messages[i], (std::pair<bool, std::string>(true, sent[i])));
    EXPECT_EQ(at_client.messages[i].second, sent[i]);
  }
  EXPECT_FALSE(at_server.messages.back().first);
  client.close(kNormal, "done");
  ASSERT_TRUE(http::run_until(loop, [&] { return at_server.code && at_client.code; }));
  EXPECT_EQ(at_server.code, kNormal);
  EXPECT_EQ(at_server.reason, "done");
  EXPECT_EQ(at_client.code, kNormal);
}

TEST(WebSocket, AssemblesFragmentsWithControlFramesBetween) {
  Loop loop;
  auto ends = pair(loop);
  Connection server(std::move(ends.a), Role::kServer);
  Seen seen;
  seen.listen(server);
  std::string answer;
  ends.b->on_data([&](std::string_view data) { answer += data; }, [](Status) {});
  for (char c : frame(0x02, "ab") + frame(0x89, "ping") + frame(0x00, "cd") + frame(0x80, "e"))
    ends.b->write(std::string(1, c));
  ASSERT_TRUE(http::run_until(loop, [&] { return !seen.messages.empty() && !answer.empty(); }));
  EXPECT_EQ(seen.messages[0].second, "abcde");
  EXPECT_EQ(answer, frame(0x8a, "ping", false));
}

TEST(WebSocket, ClosesOnEveryBreachOfTheRfc) {
  struct {
    std::string sent;
    int code;
  } cases[] = {
      {frame(0x82, "x", false), kProtocolError},              // not masked
      {frame(0xc2, "x"), kProtocolError},                     // reserved bit
      {frame(0x83, "x"), kProtocolError},                     // reserved opcode
      {frame(0x8b, "x"), kProtocolError},                     // reserved control opcode
      {frame(0x80, "x"), kProtocolError},                     // continuation of nothing
      {frame(0x02, "x") + frame(0x82, "y"), kProtocolError},  // new message in a message
      {frame(0x09, "x"), kProtocolError},                     // fragmented ping
      {std::string("\x89\xfe\x00\x80", 4), kProtocolError},   // long ping
      {std::string("\x82\xfe\x00\x05", 4), kProtocolError},   // length not shortest
      {frame(0x88, "x"), kProtocolError},                     // close of one byte
      {frame(0x88, "\x03\xed"), kProtocolError},              // 1005 on the wire
      {frame(0x81, "\xc3\x28"), kBadText},
      {std::string("\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00", 10), kTooBig},
  };
  for (const auto& one : cases) {
    Loop loop;
    auto ends = pair(loop);
    Connection server(std::move(ends.a), Role::kServer);
    Seen seen;
    seen.listen(server);
    std::string answer;
    bool ended = false;
    ends.b->on_data([&](std::string_view data) { answer += data; }, [&](Status) { ended = true; });
    ends.b->write(one.sent);
    ASSERT_TRUE(http::run_until(loop, [&] { return ended; })) << one.code;
    EXPECT_EQ(seen.code, one.code);
    ASSERT_GE(answer.size(), 4u);
    EXPECT_EQ(static_cast<uint8_t>(answer[0]), 0x88);
    EXPECT_EQ(static_cast<uint8_t>(answer[2]) << 8 | static_cast<uint8_t>(answer[3]), one.code);
  }
}

TEST(WebSocket, ReportsABrokenConnection) {
  Loop loop;
  auto ends = pair(loop);
  Connection server(std::move(ends.a), Role::kServer);
  Seen seen;
  seen.listen(server);
  ends.b.reset();
  ASSERT_TRUE(http::run_until(loop, [&] { return seen.code != 0; }));
  EXPECT_EQ(seen.code, kAbnormal);
}

TEST(WebSocket, SurvivesRandomBytes) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    Loop loop;
    auto ends = pair(loop);
    Connection server(std::move(ends.a), Role::kServer, {.max_message_bytes = 1000});
    size_t largest = 0;
    bool over = false;
    server.on_message([&](bool, std::string_view data) { largest = std::max(largest, data.size()); },
                      [&](uint16_t, std::string_view) { over = true; });
    std::string noise;
    while (noise.size() < 2000) {
      static const uint8_t firsts[] = {0x82, 0x81, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88};
      std::string payload(random() % 125, '\0');
      for (char& c : payload) c = static_cast<char>(random());
      noise += frame(firsts[random() % (random() % 4 ? 6 : 8)], payload);
      if (random() % 8 == 0) noise[random() % noise.size()] = static_cast<char>(random());
    }
    bool ended = false;
    ends.b->on_data([](std::string_view) {}, [&](Status) { ended = true; });
    ends.b->write(noise);
    ends.b->finish();
    ASSERT_TRUE(http::run_until(loop, [&] { return over; })) << "seed " << seed;
    EXPECT_LE(largest, 1000u) << "seed " << seed;
  }
}

TEST(WebSocket, TunnelsAByteStream) {
  Loop loop;
  auto ends = pair(loop);
  auto a = tunnel(std::make_unique<Connection>(std::move(ends.a), Role::kServer));
  auto b = tunnel(std::make_unique<Connection>(std::move(ends.b), Role::kClient));
  std::string seen;
  std::optional<Status> end;
  a->on_data([&](std::string_view data) { seen += data; }, [&](Status status) { end = std::move(status); });
  b->on_data([](std::string_view) {}, [](Status) {});
  for (int i = 0; i < 1000; ++i) b->write(std::to_string(i));
  b->finish();
  b.reset();
  ASSERT_TRUE(http::run_until(loop, [&] { return end.has_value(); }));
  EXPECT_TRUE(end->ok());
  EXPECT_EQ(seen.size(), 2890u);
}
}  // namespace
}  // namespace base::websocket
