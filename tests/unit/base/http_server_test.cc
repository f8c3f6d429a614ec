#include "base/http/server.h"

#include "tests/unit/base/http_fixture.h"

namespace base::http {
namespace {

void echo(const std::shared_ptr<Exchange>& exchange) {
  const Request& request = exchange->request();
  Headers headers;
  headers.add("Content-Type", "text/plain");
  exchange->respond(200, headers, request.method + " " + request.target + " [" + request.body + "]");
}
std::string get(std::string_view path, std::string_view more = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(more) + "\r\n";
}

TEST(HttpServer, KeepsAliveAndAnswersPipelinedRequestsInOrder) {
  Server::Options options;
  options.max_stranger_requests = 10'000;
  ServerThread server(echo, options);
  Socket socket(server.port());
  ASSERT_TRUE(socket.send(get("/1")));
  EXPECT_EQ(socket.read_answer(), "GET /1 []");
  std::string many;
  for (int i = 0; i < 3000; ++i) many += get("/" + std::to_string(i));
  ASSERT_TRUE(socket.send(many));
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(socket.read_answer(), "GET /" + std::to_string(i) + " []");
}

TEST(HttpServer, AnswersPipelinedRequestsInOrderWhenTheHandlerIsLate) {
  std::vector<std::shared_ptr<Exchange>> held;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) { held.push_back(exchange); });
  Socket socket(server.port());
  ASSERT_TRUE(socket.send(get("/1") + get("/2") + get("/3")));
  for (int i = 1; i <= 3; ++i) {
    while (server.on_loop([&] { return held.size(); }) == 0) {
    }
    server.on_loop([&] {
      EXPECT_EQ(held.size(), 1u);  // the next waits for the answer of the one before
      echo(held[0]);
      held.clear();
      return 0;
    });
    EXPECT_EQ(socket.read_answer(), "GET /" + std::to_string(i) + " []");
  }
}

TEST(HttpServer, TakesBodiesByteByByteAndInChunks) {
  ServerThread server(echo);
  Socket socket(server.port());
  for (char c : std::string("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"))
    ASSERT_TRUE(socket.send(std::string_view(&c, 1)));
  EXPECT_EQ(socket.read_answer(), "POST /a [hello]");
  for (char c : std::string("PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "3\r\nabc\r\n1;ext=1\r\nd\r\n0\r\nTrailer: x\r\n\r\n"))
    ASSERT_TRUE(socket.send(std::string_view(&c, 1)));
  EXPECT_EQ(socket.read_answer(), "PUT /b [abcd]");
  std::string big(2 << 20, 'x');
  ASSERT_TRUE(socket.send("POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(big.size()) +
                          "\r\n\r\n" + big));
  EXPECT_EQ(socket.read_answer(), "POST /c [" + big + "]");
}

TEST(HttpServer, ContinuesWhenAsked) {
  ServerThread server(echo);
  Socket socket(server.port());
  ASSERT_TRUE(
      socket.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(socket.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(socket.send("ok"));
  EXPECT_EQ(socket.read_answer(), "POST /a [ok]");
}

TEST(HttpServer, RefusesBodiesOverTheLimitSoThatTheClientSeesIt) {
  Server::Options options;
  options.max_body_bytes = 1000;
  ServerThread server(echo, options);
  std::string big(4 << 20, 'x');
  {
    // The client sends all of it before it looks: the answer must survive.
    Socket socket(server.port());
    ASSERT_TRUE(socket.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(big.size()) +
                            "\r\n\r\n" + big));
    std::string answer = socket.read_to_end();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 ")) << answer;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos);
    EXPECT_FALSE(socket.was_reset());
  }
  {
    Socket socket(server.port());
    socket.send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400000\r\n" + big);
    EXPECT_TRUE(socket.read_to_end().starts_with("HTTP/1.1 413 "));
  }
  Socket socket(server.port());
  std::string fits(1000, 'y');
  ASSERT_TRUE(socket.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + fits));
  EXPECT_EQ(socket.read_answer(), "POST /a [" + fits + "]");
}

TEST(HttpServer, RefusesBadHeads) {
  ServerThread server(echo);
  struct {
    std::string sent;
    int status;
  } cases[] = {
      {"\x16\x03\x01 nonsense\r\n\r\n", 400},
      {"GET\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},  // no Host
      {"GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"GET / HTTP/3.7\r\nHost: x\r\n\r\n", 505},
      {"GET / HTTP/1.1\r\nHost: x\r\nLong: " + std::string(70'000, 'a') + "\r\n\r\n", 431},
      {"GET /" + std::string(100'000, 'a'), 431},
  };
  for (const auto& one : cases) {
    Socket socket(server.port());
    socket.send(one.sent);
    std::string answer = socket.read_to_end();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::to_string(one.status) + " "))
        << one.sent.substr(0, 80) << " -> " << answer;
  }
  Socket socket(server.port());  // and it still serves
  socket.send("\r\n" + get("/ok"));
  EXPECT_EQ(socket.read_answer(), "GET /ok []");
}

TEST(HttpServer, HonoursConnectionCloseHeadAndHttp10) {
  ServerThread server(echo);
  std::string head;
  {
    Socket socket(server.port());
    socket.send(get("/", "Connection: close\r\n"));
    EXPECT_EQ(socket.read_answer(&head), "GET / []");
    EXPECT_NE(head.find("Connection: close\r\n"), std::string::npos);
    EXPECT_TRUE(socket.at_end());
  }
  {
    Socket socket(server.port());
    socket.send("HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n" + get("/next"));
    head = socket.read_until("\r\n\r\n");
    EXPECT_NE(head.find("Content-Length: 10\r\n"), std::string::npos) << head;
    EXPECT_EQ(socket.read_answer(), "GET /next []");
  }
  {
    Socket socket(server.port());
    socket.send("GET /old HTTP/1.0\r\n\r\n");
    EXPECT_TRUE(socket.read_to_end().ends_with("GET /old []"));
  }
}

TEST(HttpServer, AnswersAClientThatClosedItsSendingSide) {
  ServerThread server([](std::shared_ptr<Exchange> exchange) { echo(exchange); });
  Socket socket(server.port());
  socket.send(get("/1") + get("/2"));
  socket.shut_write();
  std::string all = socket.read_to_end();
  EXPECT_NE(all.find("GET /1 []"), std::string::npos);
  EXPECT_NE(all.find("GET /2 []"), std::string::npos);
}

TEST(HttpServer, StreamsInChunksAndNoticesTheReaderLeaving) {
  std::shared_ptr<Exchange> held;
  std::promise<void> gone;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) {
    exchange->start(200, {});
    exchange->write(bytes("one"));
    exchange->write(bytes("twotwotwotwo"));
    exchange->on_close([&] { gone.set_value(); });
    held = std::move(exchange);
  });
  {
    Socket socket(server.port());
    socket.send(get("/watch"));
    std::string head = socket.read_until("\r\n\r\n");
    EXPECT_NE(head.find("Transfer-Encoding: chunked"), std::string::npos);
    EXPECT_EQ(socket.read_until("twotwo\r\n"), "3\r\none\r\nc\r\ntwotwotwotwo\r\n");
    server.on_loop([&] {
      held->write(bytes("three"));
      return 0;
    });
    EXPECT_EQ(socket.read_until("three\r\n"), "5\r\nthree\r\n");
  }
  ASSERT_EQ(gone.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_TRUE(server.on_loop([&] { return held->closed(); }));
  server.on_loop([&] {
    held->write(bytes("into the void"));
    held->finish();
    held.reset();
    return 0;
  });
}

TEST(HttpServer, FinishesAStreamAndKeepsTheConnection) {
  ServerThread server([&](std::shared_ptr<Exchange> exchange) {
    exchange->start(200, {});
    exchange->write(bytes("x"));
    exchange->finish();
  });
  Socket socket(server.port());
  for (int i = 0; i < 2; ++i) {
    socket.send(get("/"));
    EXPECT_TRUE(socket.read_until("0\r\n\r\n").ends_with("\r\n\r\n1\r\nx\r\n0\r\n\r\n"));
  }
}

TEST(HttpServer, CutsOffASlowReader) {
  Server::Options options;
  options.max_queued_bytes = 1 << 20;
  std::shared_ptr<Exchange> held;
  std::promise<void> gone;
  ServerThread server(
      [&](std::shared_ptr<Exchange> exchange) {
        exchange->start(200, {});
        exchange->on_close([&] { gone.set_value(); });
        held = std::move(exchange);
      },
      options);
  Socket socket(server.port(), 4096);
  socket.send(get("/watch"));
  socket.read_until("\r\n\r\n");
  Bytes chunk = bytes(std::string(256 << 10, 'x'));
  for (int i = 0; i < 100 && !server.on_loop([&] { return held->closed(); }); ++i)
    server.on_loop([&] {
      held->write(chunk);
      return 0;
    });
  ASSERT_EQ(gone.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

TEST(HttpServer, SaysSoWhenAHandlerDropsARequest) {
  ServerThread server([](std::shared_ptr<Exchange> exchange) {
    if (exchange->request().path() == "/cut") exchange->start(200, {});
  });
  Socket socket(server.port());
  socket.send(get("/"));
  std::string head;
  socket.read_answer(&head);
  EXPECT_TRUE(head.starts_with("HTTP/1.1 500 "));
  socket.send(get("/cut"));
  EXPECT_FALSE(socket.read_to_end().ends_with("0\r\n\r\n"));
}

TEST(HttpServer, HandsOverTheConnectionWithWhatCameBehindTheRequest) {
  std::unique_ptr<ByteStream> stream;
  std::string seen;
  bool ended = false;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) {
    Headers headers;
    headers.add("Upgrade", "echo");
    stream = exchange->upgrade(headers);
    stream->on_data(
        [&](std::string_view data) {
          seen += data;
          stream->write("<" + std::string(data) + ">");
          if (data.ends_with("bye")) stream->finish();
        },
        [&](Status status) {
          EXPECT_TRUE(status.ok());
          ended = true;
          stream.reset();
        });
  });
  Socket socket(server.port());
  socket.send(get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n") + "early");
  std::string head = socket.read_until("\r\n\r\n");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_EQ(head.find("Content-Length"), std::string::npos);
  EXPECT_EQ(socket.read_until(">"), "<early>");
  socket.send("later");
  EXPECT_EQ(socket.read_until(">"), "<later>");
  EXPECT_EQ(server.on_loop([&] { return server.server().connections(); }), 1u);
  socket.send("bye");
  EXPECT_EQ(socket.read_to_end(), "<bye>");
  socket.close();
  while (!server.on_loop([&] { return ended; })) {
  }
  while (server.on_loop([&] { return server.server().connections(); }) != 0) {
  }
}

TEST(HttpServer, RefusesAddressesItCannotListenOn) {
  Loop loop;
  Server server(loop, nullptr, {}, echo);
  EXPECT_FALSE(server.listen("127.0.0.1").ok());
  EXPECT_FALSE(server.listen("127.0.0.1:http").ok());
  EXPECT_FALSE(server.listen("203.0.113.7:0").ok());
  ASSERT_TRUE(server.listen("127.0.0.1:0").ok());
  auto busy = server.listen("127.0.0.1:" + std::to_string(server.ports()[0]));
  ASSERT_FALSE(busy.ok());
  EXPECT_NE(busy.error().message().find("EADDRINUSE"), std::string::npos) << busy.error().message();
}
}  // namespace
}  // namespace base::http
