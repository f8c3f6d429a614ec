// Probes against servers that are real: our HTTP server and an nghttp2 one that speaks gRPC.
#include "kubelet/pod/net_check.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <map>
#include <set>

#include "base/http/server.h"
#include "base/http/transport.h"
#include "tests/unit/base/grpc_server.h"

namespace kubelet {
namespace {

using namespace std::chrono_literals;
namespace http = base::http;

class NetCheckTest : public ::testing::Test {
 protected:
  Outcome run(NetTarget target, base::Duration timeout = 5s) {
    std::optional<Outcome> got;
    if (target.host.empty()) target.host = "127.0.0.1";
    auto check = check_net(loop, resolver, std::move(target), timeout,
                           [&](Outcome outcome) { got = std::move(outcome); });
    EXPECT_FALSE(got) << "called before it returned";
    for (int i = 0; i < 2000 && !got; ++i) loop.run_once(10ms);
    EXPECT_TRUE(got.has_value());
    return got.value_or(Outcome{.success = false, .message = "no answer"});
  }
  Outcome get(std::string path, std::vector<std::pair<std::string, std::string>> headers = {}) {
    NetTarget target;
    target.kind = NetTarget::Kind::kHttp;
    target.port = port;
    target.path = std::move(path);
    target.headers = std::move(headers);
    return run(std::move(target), timeout);
  }
  void serve(std::shared_ptr<base::tls::Context> context = nullptr) {
    server = std::make_unique<http::Server>(
        loop, context, http::Server::Options{}, [this](std::shared_ptr<http::Exchange> exchange) {
          const auto& request = exchange->request();
          seen.push_back(request);
          const std::string path(request.path());
          http::Headers headers;
          auto to = [&](int status, const std::string& where) {
            headers.add("Location", where);
            exchange->respond(status, headers, "moved");
          };
          if (path == "/loop") return to(302, "/loop");
          if (path.starts_with("/hop/")) {
            const int left = std::atoi(path.c_str() + 5);
            return left == 0 ? exchange->respond(200, {}, "there")
                             : to(307, "/hop/" + std::to_string(left - 1));
          }
          if (path == "/to500") return to(301, "/500");
          if (path == "/away") return to(302, "http://192.0.2.1/secret");
          if (path == "/named") return to(302, "http://127.0.0.1:" + std::to_string(port) + "/ok");
          if (path == "/nowhere") return exchange->respond(302, {}, "no location");
          if (path == "/500") return exchange->respond(500, {}, "secret");
          if (path == "/404") return exchange->respond(404, {}, "");
          if (path == "/never") {
            held = exchange;
            return;
          }
          if (path == "/endless") {
            exchange->start(200, {});
            exchange->write(http::bytes(std::string(64 << 10, 'x')));
            held = exchange;
            return;
          }
          if (path == "/slow") {
            exchange->start(200, {});
            exchange->write(http::bytes("a bit"));
            held = exchange;
            return;
          }
          exchange->respond(200, {}, "fine");
        });
    ASSERT_TRUE(server->listen("127.0.0.1:0").ok());
    port = server->ports().at(0);
  }

  base::Loop loop;
  base::Resolver resolver{loop};
  std::unique_ptr<http::Server> server;
  std::shared_ptr<http::Exchange> held;
  std::vector<http::Request> seen;
  int port = 0;
  base::Duration timeout = 5s;
};

TEST_F(NetCheckTest, HttpJudgesTheStatus) {
  serve();
  EXPECT_TRUE(get("/ok").success);
  EXPECT_EQ(seen.back().headers.get("User-Agent"), "kube-probe/1.36");
  EXPECT_EQ(seen.back().headers.get("Accept"), "*/*");
  EXPECT_EQ(seen.back().headers.get("Host"), "127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(get("/404").message, "HTTP probe failed with statuscode: 404");
  Outcome out = get("/500");
  EXPECT_FALSE(out.success);
  EXPECT_EQ(out.message, "HTTP probe failed with statuscode: 500");  // and nothing of the body
}

TEST_F(NetCheckTest, AHostileAuthorSendsOneRequest) {
  serve();
  EXPECT_TRUE(get("/x HTTP/1.1\r\nHost: a\r\n\r\nDELETE /y HTTP/1.1\r\nHost: b\r\n\r\n").success);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].method, "GET");
  EXPECT_TRUE(seen[0].target.starts_with("/x%20HTTP/1.1%0D%0A")) << seen[0].target;
  Outcome out = get("/ok", {{"X-A", "1\r\nX-B: 2"}});
  EXPECT_FALSE(out.success);
  EXPECT_NE(out.message.find("net/http: invalid header field value for \"X-A\""), std::string::npos)
      << out.message;
  EXPECT_EQ(seen.size(), 1u);
  NetTarget target;
  target.kind = NetTarget::Kind::kHttp;
  target.port = port;
  target.host = "127.0.0.1\r\nX: y";
  EXPECT_TRUE(run(target).errored);
  target.host = "unix:/run/some.sock";
  EXPECT_TRUE(run(target).errored);
  EXPECT_EQ(seen.size(), 1u);
}

TEST_F(NetCheckTest, RedirectsOfTheSameHostAreFollowed) {
  serve();
  Outcome out = get("/hop/9", {{"Host", "web.example"}});
  EXPECT_TRUE(out.success && !out.warning) << out.message;
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_EQ(seen.back().headers.get("Host"), "web.example");
  EXPECT_EQ(seen.back().headers.get("Referer"), "http://127.0.0.1:" + std::to_string(port) + "/hop/1");
  EXPECT_TRUE(get("/named", {{"Host", "web.example"}}).success);
  EXPECT_EQ(seen.back().target, "/ok");
  EXPECT_EQ(seen.back().headers.get("Host"), "127.0.0.1:" + std::to_string(port));  // it named another

  out = get("/loop");
  EXPECT_FALSE(out.success);
  EXPECT_EQ(out.message, "Get \"/loop\": stopped after 10 redirects");
  EXPECT_EQ(get("/to500").message, "HTTP probe failed with statuscode: 500");
}

TEST_F(NetCheckTest, ARedirectElsewhereIsASuccessWithAWarning) {
  serve();
  for (const char* path : {"/away", "/nowhere"}) {
    const Outcome out = get(path);
    EXPECT_TRUE(out.success && out.warning) << path;
    EXPECT_TRUE(out.message.starts_with("Probe terminated redirects, Response body: ")) << out.message;
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST_F(NetCheckTest, BodiesAreReadTo10KiBAndInTime) {
  serve();
  EXPECT_TRUE(get("/endless").success);
  timeout = 200ms;
  EXPECT_EQ(get("/never").message,
            "Get \"http://127.0.0.1:" + std::to_string(port) +
                "/never\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
  const Outcome out = get("/slow");
  EXPECT_FALSE(out.success);
  EXPECT_NE(out.message.find("while reading body"), std::string::npos) << out.message;
}

TEST_F(NetCheckTest, HooksTakeAnyAnswerAndHttpForHttps) {
  serve();
  NetTarget target;
  target.kind = NetTarget::Kind::kHttps;
  target.port = port;
  target.path = "/500";
  target.headers = {{"Authorization", "secret"}};
  target.hook = true;
  EXPECT_TRUE(run(target).success);
  EXPECT_EQ(seen.back().headers.get("User-Agent"), "kube-lifecycle/1.36");
  EXPECT_EQ(seen.back().headers.get("Authorization"), "");  // not in the clear
  target.hook = false;
  EXPECT_FALSE(run(target).success);
}

TEST_F(NetCheckTest, HttpsWithoutVerification) {
  auto ca = base::tls::make_ca("stranger", 1h);
  ASSERT_TRUE(ca.ok());
  auto pair = base::tls::sign(*ca, {.common_name = "other.example",
                                    .organizations = {},
                                    .dns_names = {"other.example"},
                                    .ip_addresses = {},
                                    .server = true});
  ASSERT_TRUE(pair.ok());
  auto context = base::tls::Context::server(*pair, "");
  ASSERT_TRUE(context.ok());
  serve(*context);
  NetTarget target;
  target.kind = NetTarget::Kind::kHttps;
  target.port = port;
  target.path = "/ok";
  const Outcome out = run(target);
  EXPECT_TRUE(out.success) << out.message;
  target.kind = NetTarget::Kind::kHttp;
  EXPECT_FALSE(run(target).success);
}

TEST_F(NetCheckTest, TcpAndRefusals) {
  serve();
  NetTarget target;
  target.port = port;
  EXPECT_TRUE(run(target).success);
  target.host = "localhost";
  EXPECT_TRUE(run(target).success);
  server.reset();
  target.host = "127.0.0.1";
  EXPECT_EQ(run(target).message,
            "dial tcp 127.0.0.1:" + std::to_string(port) + ": connect: connection refused");
  target.kind = NetTarget::Kind::kHttp;
  target.path = "/x";
  EXPECT_EQ(run(target).message, "Get \"http://127.0.0.1:" + std::to_string(port) +
                                     "/x\": dial tcp 127.0.0.1:" + std::to_string(port) +
                                     ": connect: connection refused");
  target.error = "invalid port number: 0";
  const Outcome out = run(target);
  EXPECT_TRUE(out.errored);
  EXPECT_EQ(out.message, "invalid port number: 0");
}

// ---- gRPC ---------------------------------------------------------------------------------------

using base::GrpcServer;

class GrpcCheckTest : public NetCheckTest {
 protected:
  Outcome ask(const std::string& service = {}, base::Duration limit = 5s) {
    NetTarget target;
    target.kind = NetTarget::Kind::kGrpc;
    target.port = grpc.port;
    target.service = service;
    return run(std::move(target), limit);
  }
  std::string where() const { return "127.0.0.1:" + std::to_string(grpc.port); }
  GrpcServer grpc{loop};
};

TEST_F(GrpcCheckTest, ServingIsASuccess) {
  const Outcome out = ask();
  EXPECT_TRUE(out.success) << out.message;
  EXPECT_EQ(grpc.request[":path"], "/grpc.health.v1.Health/Check");
  EXPECT_EQ(grpc.request[":method"], "POST");
  EXPECT_EQ(grpc.request[":authority"], where());
  EXPECT_EQ(grpc.request["content-type"], "application/grpc");
  EXPECT_EQ(grpc.request["te"], "trailers");
  EXPECT_TRUE(grpc.request["user-agent"].starts_with("kube-probe/1.36 grpc-"));
  EXPECT_EQ(grpc.request["grpc-timeout"], "5000m");
  EXPECT_EQ(grpc.body, std::string(5, '\0'));
}

TEST_F(GrpcCheckTest, TheServiceIsNamedWhole) {
  EXPECT_TRUE(ask("my.Service").success);
  EXPECT_EQ(grpc.body, std::string("\0\0\0\0\x0c\x0a\x0amy.Service", 17));
  const std::string name(300, 's');
  EXPECT_TRUE(ask(name).success);
  EXPECT_EQ(grpc.body, std::string("\0\0\0\1\x2f\x0a\xac\x02", 8) + name);
}

TEST_F(GrpcCheckTest, OtherStatesAndErrors) {
  const std::pair<std::string, std::string> states[] = {
      {std::string("\0\0\0\0\0", 5), "UNKNOWN"},
      {std::string("\0\0\0\0\2\x08\x02", 7), "NOT_SERVING"},
      {std::string("\0\0\0\0\2\x08\x03", 7), "SERVICE_UNKNOWN"},
      {std::string("\0\0\0\0\2\x08\x09", 7), "9"}};
  for (const auto& [answer, name] : states) {
    grpc.answer = answer;
    EXPECT_EQ(ask().message, "service unhealthy (responded with \"" + name + "\")");
  }
  for (const std::string& broken : {std::string("\0\0\0\0\2\x08", 6), std::string("\1\0\0\0\2\x08\x01", 7),
                                    std::string("\0\0\0\0\2\x0a\x7f", 7), std::string("x")}) {
    grpc.answer = broken;
    EXPECT_FALSE(ask().success);
  }
  grpc.answer.clear();
  grpc.grpc_status = "5";
  grpc.grpc_message = "unknown%20service";
  EXPECT_EQ(ask("x").message,
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service");
  grpc.grpc_status = "12";
  EXPECT_EQ(ask().message,
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown "
            "service");
  grpc.http_status = "503";
  EXPECT_EQ(ask().message,
            "error: health rpc probe failed: rpc error: code = Unavailable desc = unexpected HTTP status "
            "code received from server: 503 (Service Unavailable)");
}

TEST_F(GrpcCheckTest, Timeouts) {
  grpc.mute = true;
  EXPECT_EQ(ask("", 1s).message, "timeout: health rpc did not complete within 1s");
  grpc.silent = true;
  EXPECT_EQ(ask("", 1s).message,
            "timeout: failed to connect service \"" + where() + "\" within 1s: context deadline exceeded");
}

TEST_F(GrpcCheckTest, WhatIsNoGrpcServer) {
  serve();  // HTTP/1.1
  NetTarget target;
  target.kind = NetTarget::Kind::kGrpc;
  target.port = port;
  EXPECT_EQ(run(target, 1s).message.substr(0, 35), "timeout: failed to connect service ");
}

}  // namespace
}  // namespace kubelet
