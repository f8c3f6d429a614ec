// Transport over TLS against a real server on loopback.
#include "api/client/transport.h"

#include <gtest/gtest.h>

#include "base/http/server.h"

namespace api {
namespace {

using base::http::Exchange;

struct TransportTest : testing::Test {
  base::Loop loop;
  base::tls::KeyPair ca = base::tls::make_ca("ca", std::chrono::hours(1)).value();
  std::shared_ptr<Exchange> exchange;
  std::vector<std::string> targets;
  std::unique_ptr<base::http::Server> server;
  std::shared_ptr<Transport> transport;

  void start_server(const std::string& address) {
    base::tls::CertificateRequest request;
    request.common_name = "server";
    request.ip_addresses = {"127.0.0.1"};
    request.server = true;
    auto context = base::tls::Context::server(base::tls::sign(ca, request).value(), ca.certificate_pem);
    server = std::make_unique<base::http::Server>(loop, context.value(), base::http::Server::Options{},
                                                  [this](std::shared_ptr<Exchange> e) {
                                                    targets.push_back(e->request().target);
                                                    exchange = e;
                                                  });
    ASSERT_TRUE(server->listen(address).ok());
  }
  void SetUp() override {
    start_server("127.0.0.1:0");
    base::tls::CertificateRequest client;
    client.common_name = "me";
    client.organizations = {"system:nodes"};
    client.client = true;
    KubeConfig config;
    config.server = "https://127.0.0.1:" + std::to_string(server->ports().at(0));
    config.ca_pem = ca.certificate_pem;
    config.client = base::tls::sign(ca, client).value();
    config.token = "tok";
    transport = connect(loop, parse_kubeconfig(write_kubeconfig(config, "me"), ".").value()).value();
  }
  template <typename Condition>
  bool until(Condition condition) {
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop.run_once(std::chrono::milliseconds(100));
    }
    return true;
  }
};

TEST_F(TransportTest, CallsShowCertificateAndToken) {
  std::optional<std::string> body;
  auto call = transport->call({"GET", "/x", {}, {}, {}}, [&](auto response) {
    body = response.ok() ? response->body : response.error().message();
  });
  ASSERT_TRUE(until([&] { return exchange != nullptr; }));
  EXPECT_EQ(exchange->request().peer.common_name, "me");
  EXPECT_EQ(exchange->request().headers.get("authorization"), "Bearer tok");
  exchange->respond(200, {}, std::string("hello"));
  ASSERT_TRUE(until([&] { return body.has_value(); }));
  EXPECT_EQ(*body, "hello");
}

TEST_F(TransportTest, WatchCutsTheStreamIntoLines) {
  std::vector<std::string> lines;
  std::optional<base::Status> end;
  auto watch = transport->watch(
      {"GET", "/w", {}, {}, {}}, [&](std::string_view line) { lines.emplace_back(line); },
      [&](base::Status status) { end = std::move(status); });
  ASSERT_TRUE(until([&] { return exchange != nullptr; }));
  exchange->start(200, {});
  exchange->write(base::http::bytes("{\"a\":"));
  exchange->write(base::http::bytes("1}\n{\"b\":2}\n{\"c\""));
  ASSERT_TRUE(until([&] { return lines.size() == 2; }));
  exchange->write(base::http::bytes(":3}\n"));
  exchange->finish();
  ASSERT_TRUE(until([&] { return end.has_value(); }));
  EXPECT_TRUE(end->ok());
  EXPECT_EQ(lines, (std::vector<std::string>{"{\"a\":1}", "{\"b\":2}", "{\"c\":3}"}));
}

TEST_F(TransportTest, RefusedWatchSaysWhy) {
  std::optional<base::Status> end;
  auto watch = transport->watch(
      {"GET", "/w", {}, {}, {}}, [](std::string_view) { ADD_FAILURE(); },
      [&](base::Status status) { end = std::move(status); });
  ASSERT_TRUE(until([&] { return exchange != nullptr; }));
  exchange->respond(
      410, {}, std::string(R"({"kind":"Status","reason":"Expired","message":"too old resource version"})"));
  ASSERT_TRUE(until([&] { return end.has_value(); }));
  ASSERT_FALSE(end->ok());
  EXPECT_EQ(end->error().kind, base::Kind::kConflict);
  EXPECT_NE(end->error().message().find("too old resource version"), std::string::npos);
}

TEST_F(TransportTest, InformerSurvivesAServerThatHangsUp) {
  std::string seen;
  Informer informer(loop, *transport, {resources::pods, "", "", ""},
                    [&](Informer::Change change, const json::value& object) {
                      seen += (change == Informer::Change::kSet ? "+" : "-") +
                              std::string(base::string_at(object, "metadata", "name"));
                    });
  informer.start();
  auto next = [&](size_t n) { return until([&] { return targets.size() == n; }); };
  ASSERT_TRUE(next(1));
  exchange->respond(
      200, {},
      std::string(
          R"({"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a","namespace":"n"}}]})"));
  ASSERT_TRUE(next(2));
  exchange->start(200, {});
  exchange->write(base::http::bytes(
      R"({"type":"ADDED","object":{"metadata":{"name":"b","namespace":"n","resourceVersion":"6"}}})"
      "\n"));
  ASSERT_TRUE(until([&] { return seen == "+a+b"; }));
  exchange.reset();
  int port = server->ports().at(0);
  server.reset();  // every connection is cut
  start_server("127.0.0.1:" + std::to_string(port));
  ASSERT_TRUE(next(3));
  EXPECT_NE(targets.back().find("resourceVersion=6&"), std::string::npos) << targets.back();
}

}  // namespace
}  // namespace api
