#include "base/http/client.h"

#include "tests/unit/base/http_fixture.h"

namespace base::http {
namespace {
using namespace std::chrono_literals;

struct Certificates {
  tls::KeyPair ca = tls::make_ca("test", 24h).value();
  tls::KeyPair server = tls::sign(ca, {.common_name = "server",
                                       .organizations = {},
                                       .dns_names = {"localhost"},
                                       .ip_addresses = {"127.0.0.1"},
                                       .server = true})
                            .value();
  tls::KeyPair client = tls::sign(ca, {.common_name = "system:node:a",
                                       .organizations = {"system:nodes", "b"},
                                       .dns_names = {},
                                       .ip_addresses = {},
                                       .client = true})
                            .value();
};
void who(const std::shared_ptr<Exchange>& exchange) {
  const Peer& peer = exchange->request().peer;
  std::string text = exchange->request().method + " " + exchange->request().target + " " +
                     (peer.has_certificate ? peer.common_name : "nobody");
  for (const auto& organization : peer.organizations) text += " " + organization;
  exchange->respond(200, {}, text + " " + exchange->request().body);
}
Result<Response> call(Loop& loop, Client& client, Request request, Duration timeout = 10s) {
  std::optional<Result<Response>> result;
  auto handle = client.call(std::move(request), timeout, [&](Result<Response> r) { result = std::move(r); });
  EXPECT_TRUE(run_until(loop, [&] { return result.has_value(); }));
  return std::move(*result);
}
Request request(std::string method, std::string target, std::string body = "") {
  Request made;
  made.method = std::move(method);
  made.target = std::move(target);
  made.body = std::move(body);
  return made;
}

TEST(HttpClient, ReusesItsConnection) {
  std::set<std::string> peers;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) {
    peers.insert(exchange->request().peer.address);
    who(exchange);
  });
  Loop loop;
  Client client(loop, nullptr, {.host = "127.0.0.1", .port = server.port(), .server_name = {}});
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(call(loop, client, request("POST", "/x", "body")).value().body, "POST /x nobody body");
  EXPECT_EQ(server.on_loop([&] { return peers.size(); }), 1u);
}

TEST(HttpClient, SpeaksTlsBothWays) {
  Certificates certificates;
  auto server_context = tls::Context::server(certificates.server, certificates.ca.certificate_pem).value();
  ServerThread server(who, {}, server_context);
  Loop loop;
  auto context = tls::Context::client(certificates.ca.certificate_pem, certificates.client).value();
  Client client(loop, context, {.host = "127.0.0.1", .port = server.port(), .server_name = {}});
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(call(loop, client, request("GET", "/")).value().body, "GET / system:node:a system:nodes b ");
  std::string big(3 << 20, 'x');
  EXPECT_EQ(call(loop, client, request("PUT", "/", big)).value().body.size(), big.size() + 35);
  auto anonymous = tls::Context::client(certificates.ca.certificate_pem, {}).value();
  Client other(loop, anonymous, {.host = "127.0.0.1", .port = server.port(), .server_name = "localhost"});
  EXPECT_EQ(call(loop, other, request("GET", "/")).value().body, "GET / nobody ");
}

TEST(HttpClient, RefusesAServerItCannotVerify) {
  Certificates certificates;
  ServerThread server(who, {}, tls::Context::server(certificates.server, "").value());
  Loop loop;
  Certificates others;
  auto stranger = tls::Context::client(others.ca.certificate_pem, {}).value();
  Client client(loop, stranger, {.host = "127.0.0.1", .port = server.port(), .server_name = {}});
  auto result = call(loop, client, request("GET", "/"));
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message().find("certificate"), std::string::npos) << result.error().message();
  auto friendly = tls::Context::client(certificates.ca.certificate_pem, {}).value();
  Client wrong_name(loop, friendly,
                    {.host = "127.0.0.1", .port = server.port(), .server_name = "example.org"});
  EXPECT_FALSE(call(loop, wrong_name, request("GET", "/")).ok());
}

TEST(HttpClient, IsRefusedWithAStrangersCertificate) {
  Certificates certificates, others;
  ServerThread server(who, {},
                      tls::Context::server(certificates.server, certificates.ca.certificate_pem).value());
  Loop loop;
  auto context = tls::Context::client(certificates.ca.certificate_pem, others.client).value();
  Client client(loop, context, {.host = "127.0.0.1", .port = server.port(), .server_name = {}});
  EXPECT_FALSE(call(loop, client, request("GET", "/")).ok());
}

TEST(HttpClient, StreamsAndReportsACutBody) {
  std::shared_ptr<Exchange> held;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) {
    exchange->start(200, {});
    exchange->write(bytes("one "));
    held = std::move(exchange);
  });
  Loop loop;
  Client client(loop, nullptr, {.host = "127.0.0.1", .port = server.port(), .server_name = {}});
  for (bool cut : {false, true}) {
    std::string seen;
    int status = 0;
    std::optional<Status> end;
    auto handle = client.stream(
        request("GET", "/watch"), [&](const Response& response) { status = response.status; },
        [&](std::string_view data) { seen += data; }, [&](Status result) { end = std::move(result); });
    ASSERT_TRUE(run_until(loop, [&] { return seen == "one "; }));
    EXPECT_EQ(status, 200);
    server.on_loop([&] {
      held->write(bytes("two"));
      return 0;
    });
    ASSERT_TRUE(run_until(loop, [&] { return seen == "one two"; }));
    EXPECT_FALSE(end.has_value());
    server.on_loop([&] {
      if (!cut) held->finish();
      held.reset();
      return 0;
    });
    ASSERT_TRUE(run_until(loop, [&] { return end.has_value(); }));
    EXPECT_EQ(end->ok(), !cut);
  }
}

TEST(HttpClient, CancelsByDroppingTheHandle) {
  std::promise<void> gone;
  std::shared_ptr<Exchange> held;
  ServerThread server([&](std::shared_ptr<Exchange> exchange) {
    exchange->start(200, {});
    exchange->write(bytes("x"));
    exchange->on_close([&] { gone.set_value(); });
    held = std::move(exchange);
  });
  Loop loop;
  Client client(loop, nullptr, {.host = "127.0.0.1", .port = server.port(), .server_name = {}});
  std::unique_ptr<Client::Call> handle;
  bool ended = false;
  handle = client.stream(
      request("GET", "/"), [](const Response&) {}, [&](std::string_view) { handle.reset(); },
      [&](Status) { ended = true; });
  ASSERT_TRUE(run_until(loop, [&] { return !handle; }));
  loop.run_once(10ms);
  EXPECT_FALSE(ended);
  EXPECT_EQ(gone.get_future().wait_for(10s), std::future_status::ready);
  server.on_loop([&] {
    held.reset();
    return 0;
  });
}

TEST(HttpClient, TimesOutAndReportsRefusedConnections) {
  std::shared_ptr<Exchange> held;
  int port;
  Loop loop;
  {
    ServerThread server([&](std::shared_ptr<Exchange> exchange) { held = std::move(exchange); });
    port = server.port();
    Client client(loop, nullptr, {.host = "127.0.0.1", .port = port, .server_name = {}});
    auto late = call(loop, client, request("GET", "/"), 50ms);
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().kind, Kind::kTimeout);
    server.on_loop([&] {
      held.reset();
      return 0;
    });
  }
  Client client(loop, nullptr, {.host = "127.0.0.1", .port = port, .server_name = {}});
  auto refused = call(loop, client, request("GET", "/"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, Kind::kUnavailable);
  EXPECT_NE(refused.error().message().find("ECONNREFUSED"), std::string::npos) << refused.error().message();
}

// A server of raw bytes: answers once per connection without saying that it will close.
TEST(HttpClient, RetriesOnceWhenAnIdleConnectionWasClosedUnderIt) {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  std::atomic<int> accepted = 0;
  std::thread server([&] {
    for (int i = 0; i < 3; ++i) {
      UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      ++accepted;
      char data[4096];
      (void)!::recv(fd.get(), data, sizeof data, 0);
      std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
      ::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
      // Closes when the second request has come: the client finds out while it waits.
      (void)!::recv(fd.get(), data, sizeof data, 0);
    }
  });
  Loop loop;
  Client client(loop, nullptr, {.host = "127.0.0.1", .port = ntohs(address.sin_port), .server_name = {}});
  EXPECT_EQ(call(loop, client, request("GET", "/1")).value().body, "ok");
  EXPECT_EQ(call(loop, client, request("GET", "/2")).value().body, "ok");  // the retry
  auto post = call(loop, client, request("POST", "/3", "x"));              // not idempotent, and it was sent
  EXPECT_FALSE(post.ok());
  EXPECT_EQ(call(loop, client, request("GET", "/4")).value().body, "ok");
  { auto gone = std::move(client); }
  server.join();
  EXPECT_EQ(accepted, 3);
}

TEST(HttpClient, SpeaksOverUnixSockets) {
  std::string path = "/tmp/http-test-" + std::to_string(::getpid()) + ".sock";
  {
    ServerThread server(who, {}, nullptr, "unix:" + path);
    Loop loop;
    Client client(loop, nullptr, {.host = "unix:" + path, .server_name = {}});
    EXPECT_EQ(call(loop, client, request("GET", "/")).value().body, "GET / nobody ");
  }
  ::unlink(path.c_str());
}

TEST(HttpClient, UpgradesAndSplices) {
  // client -> proxy -> backend, all bytes copied by splice() over TLS.
  Certificates certificates;
  auto context = tls::Context::server(certificates.server, "").value();
  std::unique_ptr<ByteStream> echo;
  ServerThread backend(
      [&](std::shared_ptr<Exchange> exchange) {
        if (exchange->request().path() != "/up") return exchange->respond(403, {}, "no way");
        Headers headers;
        headers.add("Upgrade", "echo");
        echo = exchange->upgrade(headers);
        echo->on_data([&](std::string_view data) { echo->write(std::string(data)); },
                      [&](Status) { echo.reset(); });
      },
      {}, context);
  auto client_context = tls::Context::client(certificates.ca.certificate_pem, {}).value();
  std::unique_ptr<Client> onward;
  std::unique_ptr<Client::Call> onward_call;
  Loop* proxy_loop = nullptr;
  ServerThread proxy(
      [&](std::shared_ptr<Exchange> exchange) {
        if (!onward)
          onward = std::make_unique<Client>(
              *proxy_loop, client_context,
              Client::Options{.host = "127.0.0.1", .port = backend.port(), .server_name = {}});
        Request copy = request("GET", exchange->request().target);
        copy.headers.add("Upgrade", "echo");
        onward_call = onward->upgrade(copy, [exchange](Result<Client::Upgraded> result) {
          ASSERT_TRUE(result.ok()) << result.error().message();
          if (!result->stream) return exchange->respond(result->response.status, {}, result->response.body);
          auto stream = exchange->upgrade(result->response.headers);
          splice(std::move(stream), std::move(result->stream));
        });
      },
      {}, context);
  proxy_loop = &proxy.loop();
  Loop loop;
  Client client(loop, client_context, {.host = "127.0.0.1", .port = proxy.port(), .server_name = {}});
  std::optional<Result<Client::Upgraded>> result;
  auto refused = client.upgrade(request("GET", "/no"), [&](auto r) { result = std::move(r); });
  ASSERT_TRUE(run_until(loop, [&] { return result.has_value(); }));
  EXPECT_EQ((*result)->response.status, 403);
  EXPECT_EQ((*result)->response.body, "no way");
  result.reset();
  auto handle = client.upgrade(request("GET", "/up"), [&](auto r) { result = std::move(r); });
  ASSERT_TRUE(run_until(loop, [&] { return result.has_value(); }));
  ASSERT_TRUE(result->ok()) << result->error().message();
  auto stream = std::move((*result)->stream);
  ASSERT_TRUE(stream);
  std::string sent, seen;
  for (int i = 0; i < 3'000'000; ++i)
    sent.push_back(static_cast<char>(static_cast<unsigned>(i) * 7919u >> 5));
  stream->on_data([&](std::string_view data) { seen += data; }, [](Status) { FAIL(); });
  stream->write(sent);
  ASSERT_TRUE(run_until(loop, [&] { return seen.size() == sent.size(); })) << seen.size();
  EXPECT_EQ(seen, sent);
  stream.reset();
  loop.run_once(10ms);
  while (backend.on_loop([&] { return static_cast<bool>(echo); })) {
  }
  proxy.on_loop([&] {
    onward_call.reset();
    onward.reset();
    return 0;
  });
}
}  // namespace
}  // namespace base::http
