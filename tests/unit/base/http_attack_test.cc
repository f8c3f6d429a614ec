// What strangers may try: bodies nobody asked for, heads that say two things, connections and bytes
// without end.
#include <sys/resource.h>

#include <fstream>

#include "base/acceptor.h"
#include "base/backoff.h"
#include "base/http/feed.h"
#include "base/http/limits.h"
#include "base/http/parser.h"
#include "base/sys.h"
#include "tests/unit/base/http_fixture.h"

namespace base::http {
namespace {
using namespace std::chrono_literals;

const std::string kAddress = "127.0.0.1:0";

// Lets nobody in but who says so in the head, and tells what it was asked with.
void door(const std::shared_ptr<Exchange>& exchange) {
  if (exchange->request().headers.get("Name").empty()) return exchange->respond(401, {}, std::string("who?"));
  exchange->known();
  exchange->receive(
      [exchange] { exchange->respond(200, {}, std::to_string(exchange->request().body.size())); });
}
std::string post(size_t size, std::string_view more = "") {
  return "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(size) + "\r\n" +
         std::string(more) + "\r\n";
}

TEST(HttpAttack, NothingOfAStrangersBodyIsRead) {
  ServerThread server(door, {}, nullptr, kAddress, true);
  {
    Socket socket(server.port());
    ASSERT_TRUE(socket.send(post(3'000'000) + std::string(200'000, 'x')));
    std::string answer = socket.read_to_end();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 401 ")) << answer;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos);
  }
  {
    Socket socket(server.port());
    ASSERT_TRUE(socket.send(post(3'000'000, "Expect: 100-continue\r\n")));
    EXPECT_TRUE(socket.read_to_end().starts_with("HTTP/1.1 401 ")) << "a stranger is not told to continue";
  }
  Socket socket(server.port());  // a body that is there already is passed over
  ASSERT_TRUE(socket.send(post(5) + "hello" + post(3, "Name: me\r\n") + "abc"));
  EXPECT_EQ(socket.read_answer(), "who?");
  EXPECT_EQ(socket.read_answer(), "3");
  ASSERT_TRUE(socket.send(post(2, "Name: me\r\nExpect: 100-continue\r\n")));
  EXPECT_EQ(socket.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(socket.send("ok"));
  EXPECT_EQ(socket.read_answer(), "2");
  std::string big(2 << 20, 'x');
  ASSERT_TRUE(socket.send(post(big.size(), "Name: me\r\n") + big + post(1, "Name: me\r\n") + "z"));
  EXPECT_EQ(socket.read_answer(), std::to_string(big.size()));
  EXPECT_EQ(socket.read_answer(), "1");
}

TEST(HttpAttack, ABodyWaitsInTheSocketUntilTheHandlerAsks) {
  std::shared_ptr<Exchange> held;
  std::string body;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) { held = std::move(exchange); }, {}, nullptr,
                      kAddress, true);
  Socket socket(server.port());
  std::string big(1 << 20, 'x');
  std::thread sender([&] { socket.send(post(big.size()) + big); });
  while (!server.on_loop([&] { return held != nullptr; })) {
  }
  EXPECT_EQ(server.on_loop([&] { return held->request().body.size(); }), 0u);
  server.on_loop([&] {
    held->receive([&] {
      body = held->request().body;
      held->respond(200, {}, std::string("all"));
      held.reset();
    });
    return 0;
  });
  sender.join();
  EXPECT_EQ(socket.read_answer(), "all");
  EXPECT_EQ(body, big);
}

TEST(HttpAttack, HeadsThatSayTwoThingsAreRefusedAndEndTheConnection) {
  ServerThread server(door, {}, nullptr, kAddress, true);
  const std::string get = "GET / HTTP/1.1\r\nHost: x\r\n", post = "POST / HTTP/1.1\r\nHost: x\r\n";
  struct {
    std::string sent;
    int status;
  } cases[] = {
      {post + "Transfer-Encoding: gzip\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", 501},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501},
      {post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
      {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {post + "Content-Length: +3\r\n\r\nabc", 400},
      {post + "Content-Length: -1\r\n\r\n", 400},
      {post + "Content-Length: 0x3\r\n\r\nabc", 400},
      {post + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {get + "Host: y\r\n\r\n", 400},
      {get + "Host: x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x/../y\r\n\r\n", 400},
      {"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n", 400},
      {get + "A: b\nName: me\r\n\r\n", 400},
      {get + "A: b\rName: me\r\n\r\n", 400},
      {get + "A: b\r\n Name: me\r\n\r\n", 400},
      {get + "A: b\r\n\tc\r\n\r\n", 400},
      {get + " A: b\r\n\r\n", 400},
      {get + "A : b\r\n\r\n", 400},
      {get + ": b\r\n\r\n", 400},
      {get + "A\r\n\r\n", 400},
      {get + "A: b\1c\r\n\r\n", 400},
      {get + std::string("A: b\0c\r\n\r\n", 10), 400},
      {get + "A: b\x7f\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"G\tET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
      {"GET / http/1.1\r\nHost: x\r\n\r\n", 400},
  };
  for (const auto& one : cases) {
    Socket socket(server.port());
    socket.send(one.sent);
    std::string answer = socket.read_to_end();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::to_string(one.status) + " "))
        << one.sent << " -> " << answer;
    EXPECT_EQ(answer.find("HTTP/1.1 ", 9), std::string::npos) << one.sent << " was answered twice";
  }
  Socket socket(server.port());
  socket.send("GET http://other.example:80/a?b HTTP/1.1\r\nHost: x\r\nName: me\r\n\r\n");
  EXPECT_EQ(socket.read_answer(), "0");
}

TEST(HttpAttack, TheAbsoluteFormNamesTheHost) {
  RequestParser parser(1024, 1024);
  parser.put("GET HTTP://other.example:80?b HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(parser.done());
  EXPECT_EQ(parser.request.target, "/?b");
  EXPECT_EQ(parser.request.headers.get("Host"), "other.example:80");
}

TEST(HttpAttack, HeadsAndChunkLinesHaveAnEnd) {
  ServerThread server(door, {}, nullptr, kAddress, true);
  // One line after the other, each in a packet of its own: together they are a head.
  Socket lines(server.port());
  lines.send("GET / HTTP/1.1\r\nHost: x\r\n");
  bool open = true;
  for (int i = 0; i < 2000 && open; ++i)
    open = lines.send("Header-" + std::to_string(i) + ": " + std::string(100, 'v') + "\r\n");
  std::string answer = lines.read_to_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 431 ")) << answer.substr(0, 200);
  // The extension of a chunk that never ends.
  Socket chunks(server.port());
  chunks.send("POST / HTTP/1.1\r\nHost: x\r\nName: me\r\nTransfer-Encoding: chunked\r\n\r\n5;");
  for (int i = 0; i < 100 && open; ++i)
    if (!chunks.send(std::string(10'000, 'e'))) break;
  EXPECT_TRUE(chunks.read_to_end().starts_with("HTTP/1.1 400 "));
}

TEST(HttpAttack, SlowHeadsAndBodiesEnd) {
  Server::Options options;
  options.head_timeout = 300ms;
  options.body_timeout = 300ms;
  ServerThread server(door, options, nullptr, kAddress, true);
  Socket silent(server.port()), head(server.port()), body(server.port());
  head.send("GET / HTTP/1.1\r\nHo");
  body.send(post(10, "Name: me\r\n") + "x");
  EXPECT_EQ(silent.read_to_end(), "");
  EXPECT_EQ(head.read_to_end(), "");
  EXPECT_TRUE(body.read_to_end().starts_with("HTTP/1.1 408 "));
  // A byte now and then does not make it longer.
  Socket trickle(server.port());
  trickle.send(post(1000, "Name: me\r\n"));
  int sent = 0;
  for (pollfd answer{trickle.fd(), POLLIN, 0}; sent < 500 && ::poll(&answer, 1, 20) == 0; ++sent)
    trickle.send("x");
  EXPECT_LT(sent, 500);
  EXPECT_TRUE(trickle.read_to_end().starts_with("HTTP/1.1 408 "));
}

TEST(HttpAttack, StrangersOfAnAddressAreBoundedAndTheNamedAreNot) {
  Server::Options options;
  options.max_strangers_per_address = 3;
  ServerThread server(door, options, nullptr, kAddress, true);
  std::vector<std::unique_ptr<Socket>> named;
  for (int i = 0; i < 10; ++i) {
    named.push_back(std::make_unique<Socket>(server.port()));
    named.back()->send("GET / HTTP/1.1\r\nHost: x\r\nName: me\r\n\r\n");
    EXPECT_EQ(named.back()->read_answer(), "0");
  }
  std::vector<std::unique_ptr<Socket>> strangers;
  for (int i = 0; i < 5; ++i) strangers.push_back(std::make_unique<Socket>(server.port()));
  EXPECT_TRUE(strangers[3]->at_end());
  EXPECT_TRUE(strangers[4]->at_end());
  EXPECT_EQ(server.on_loop([&] { return server.server().connections(); }), 13u);
  for (auto& socket : named) {
    socket->send("GET / HTTP/1.1\r\nHost: x\r\nName: me\r\n\r\n");
    EXPECT_EQ(socket->read_answer(), "0");
  }
}

TEST(HttpAttack, AStrangersConnectionEndsAfterSoManyRequests) {
  Server::Options options;
  options.max_stranger_requests = 5;
  ServerThread server(door, options, nullptr, kAddress, true);
  Socket socket(server.port());
  std::string many;
  for (int i = 0; i < 20; ++i) many += "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  socket.send(many);
  std::string all = socket.read_to_end();
  size_t answers = 0;
  for (size_t at = all.find("HTTP/1.1 401"); at != std::string::npos; at = all.find("HTTP/1.1 401", at + 1))
    ++answers;
  EXPECT_EQ(answers, 5u);
}

TEST(HttpAttack, BytesOfAnAddressAreBounded) {
  Server::Options options;
  options.max_request_bytes_per_address = 1 << 20;
  ServerThread server(door, options, nullptr, kAddress, true);
  std::string half(700'000, 'x');
  Socket first(server.port()), second(server.port());
  first.send(post(half.size() + 1, "Name: me\r\n") + half);
  server.on_loop([&] { return 0; });
  second.send(post(half.size() + 1, "Name: me\r\n") + half);
  std::string refused = second.read_to_end();
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 429 ")) << refused;
  EXPECT_NE(refused.find("Retry-After: 1\r\n"), std::string::npos);
  first.send("x");
  EXPECT_EQ(first.read_answer(), std::to_string(half.size() + 1));
  // What was held is given back.
  Socket third(server.port());
  third.send(post(half.size(), "Name: me\r\n") + half);
  EXPECT_EQ(third.read_answer(), std::to_string(half.size()));
}

TEST(Limits, CountWhatIsHeldByAddressAndGiveItBack) {
  Loop loop;
  Server::Options options;
  options.max_stranger_bytes_per_address = 100;
  options.max_request_bytes_per_address = 1000;
  auto limits = std::make_shared<Limits>(loop, options);
  sockaddr_storage a{}, b{};
  reinterpret_cast<sockaddr_in&>(a) = {AF_INET, 1, {htonl(0x0a000001)}, {}};
  reinterpret_cast<sockaddr_in&>(b) = {AF_INET, 2, {htonl(0x0a000002)}, {}};
  Standing one(limits, a), two(limits, a), other(limits, b);
  EXPECT_EQ(limits->strangers.size(), 3u);
  Charge c, d, e;
  EXPECT_TRUE(c.grow(one, 60));
  EXPECT_FALSE(d.grow(two, 60));
  EXPECT_TRUE(d.grow(other, 60));
  one.known();
  EXPECT_TRUE(c.grow(one, 900)) << "a name has more room";
  EXPECT_TRUE(e.grow(two, 60)) << "and leaves its place among strangers";
  EXPECT_EQ(limits->bytes, 960u + 60 + 60);
  Charge moved;
  moved.take(std::move(c));
  EXPECT_EQ(moved.bytes(), 960u);
  moved.release();
  d.release();
  e.release();
  EXPECT_EQ(limits->bytes, 0u);
  one = {};
  two = {};
  EXPECT_EQ(limits->strangers.size(), 1u);
  other = {};
  EXPECT_TRUE(limits->addresses.empty());
}

// A reader that takes little at a time is owed much for long: nobody cuts it off.
TEST(HttpFeed, ALongAnswerIsMadeAsItIsTaken) {
  Server::Options options;
  options.max_queued_bytes = 1 << 20;
  size_t made = 0, most = 0;
  constexpr size_t kPieces = 2000;
  Loop* loop = nullptr;
  ServerThread server(
      [&](std::shared_ptr<Exchange> exchange) {
        exchange->start(200, {});
        auto feed = Feed::make(*loop, exchange, [&, exchange, left = kPieces]() mutable {
          exchange->write(bytes(std::string(16 << 10, 'x')));
          ++made;
          most = std::max(most, exchange->queued_bytes());
          if (--left == 0) exchange->finish();
          return left > 0;
        });
        feed->run();
      },
      options);
  loop = &server.loop();
  Socket socket(server.port(), 8192);
  socket.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  socket.read_until("\r\n\r\n");
  for (size_t before = 1;
       before != server.on_loop([&] { return made; });)  // until the sockets' buffers are full
    for (int round = 0; round < 20; ++round) before = server.on_loop([&] { return made; });
  EXPECT_LT(server.on_loop([&] { return made; }), kPieces / 2);
  std::string all = socket.read_to_end();
  EXPECT_TRUE(all.ends_with("\r\n0\r\n\r\n"));
  EXPECT_GT(all.size(), kPieces * (16 << 10));
  EXPECT_LE(server.on_loop([&] { return most; }), kFedBytes + (32 << 10));
}

}  // namespace

namespace {
using namespace std::chrono_literals;

TEST(Acceptor, RestsWhereThereAreNoDescriptors) {
  Loop loop;
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 16), 0);
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  std::vector<UniqueFd> taken;
  Acceptor acceptor(loop, listener.get(), SOCK_NONBLOCK,
                    [&](UniqueFd fd, const sockaddr_storage&) { taken.push_back(std::move(fd)); });
  Socket client(ntohs(address.sin_port));
  rlimit before{}, none{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  none = before;
  none.rlim_cur = 3;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  int rounds = 0;
  auto end = std::chrono::steady_clock::now() + 300ms;
  for (; std::chrono::steady_clock::now() < end; ++rounds) loop.run_once(50ms);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(taken.empty());
  EXPECT_LT(rounds, 20) << "the loop spins";
  EXPECT_TRUE(run_until(loop, [&] { return !taken.empty(); }));
}

TEST(Backoff, DoublesUpToItsEndAndSpreads) {
  Backoff backoff(200ms, 5s, 1);
  Duration base = 200ms;
  for (int i = 0; i < 100; ++i, base = std::min<Duration>(base * 2, 5s)) {
    Duration delay = backoff.next();
    EXPECT_GE(delay, base / 4 * 3 - 1us);
    EXPECT_LE(delay, base / 4 * 5 + 1us);
  }
  backoff.forget_beyond(1);
  EXPECT_LE(backoff.next(), 500ms);
  backoff.reset();
  EXPECT_LE(backoff.next(), 250ms);
  Backoff a(1s, 1s), b(1s, 1s);
  EXPECT_NE(a.next(), b.next());
}

TEST(Backoff, WhereNobodyListensIsAskedOftenForAMoment) {
  Backoff backoff(200ms, 5s, 1);
  Error away = make_error(Kind::kUnavailable, "connect"), broken = away;
  away.errno_value = ECONNREFUSED;
  Backoff::Steady began{}, now = began;
  while (now - began < 3s) {
    Duration delay = backoff.next(wrap(away, "list"), now);
    EXPECT_LE(delay, 250ms + 1us);
    now += delay;
  }
  Duration delay{};
  for (int i = 0; i < 6; ++i) now += delay = backoff.next(away, now);
  EXPECT_GE(delay, 3750ms - 1us);
  EXPECT_LE(backoff.next(broken, now), 250ms + 1us) << "it is there again";
  EXPECT_GE(backoff.next(broken, now), 300ms - 1us) << "and fails";
  EXPECT_LE(backoff.next(away, now), 250ms + 1us) << "it is away again";
}

}  // namespace
}  // namespace base::http
