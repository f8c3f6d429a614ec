#include "kubelet/node/access.h"

#include <gtest/gtest.h>

namespace kubelet {
namespace {

namespace http = base::http;
namespace json = base::json;

// Answers reviews when the test says so: tokens known, and what they may.
class FakeApi final : public api::Transport {
 public:
  std::unique_ptr<Call> call(http::Request request, Done done) override {
    auto body = base::parse_json(request.body);
    EXPECT_TRUE(body.ok());
    waiting.push_back({std::string(base::string_at(*body, "kind")), *body, std::move(done)});
    if (at_once) answer_all();
    return std::make_unique<Call>();
  }
  std::unique_ptr<Call> watch(http::Request, std::function<void(const api::WatchLine&)>,
                              std::function<void(base::Status)>, std::function<void()>) override {
    return nullptr;
  }
  void answer_all() {
    auto all = std::move(waiting);
    waiting.clear();
    for (auto& one : all) {
      json::value review = one.body;
      if (fails) {
        one.done(base::make_error(base::Kind::kUnavailable, "call", "api"));
        continue;
      }
      if (one.kind == "TokenReview") {
        ++token_reviews;
        const std::string token(base::string_at(review, "spec", "token"));
        const bool known = tokens.contains(token);
        json::object status{{"authenticated", known}};
        if (known)
          status["user"] = json::object{{"username", tokens[token]},
                                        {"uid", "u"},
                                        {"groups", json::array{"system:serviceaccounts"}},
                                        {"extra", json::object{{"k", json::array{"v"}}}}};
        review.get_object()["status"] = std::move(status);
      } else {
        ++access_reviews;
        last = *base::find(review, "spec");
        const json::value* asked = base::find_path(review, "spec", "resourceAttributes");
        const std::string key = std::string(base::string_at(review, "spec", "user")) + " " +
                                std::string(base::string_at(*asked, "verb")) + " " +
                                std::string(base::string_at(*asked, "subresource"));
        review.get_object()["status"] = json::object{{"allowed", allowed.contains(key)}};
      }
      http::Response response;
      response.status = 201;
      response.body = base::to_json(review);
      one.done(std::move(response));
    }
  }
  struct Waiting {
    std::string kind;
    json::value body;
    Done done;
  };
  std::vector<Waiting> waiting;
  std::map<std::string, std::string> tokens{{"good", "system:serviceaccount:m:prometheus"}, {"poor", "poor"}};
  std::set<std::string> allowed{"system:serviceaccount:m:prometheus get metrics", "narrow get pods",
                                "wide get proxy", "admin create proxy"};
  bool at_once = true, fails = false;
  int token_reviews = 0, access_reviews = 0;
  json::value last;
};

class FakeExchange final : public http::Exchange {
 public:
  http::Request asked;
  int status = 0;
  std::string text;
  const http::Request& request() const override { return asked; }
  void respond(int code, http::Headers, std::vector<http::Bytes> body) override {
    EXPECT_EQ(status, 0) << "answered twice";
    status = code;
    for (const auto& part : body) text += *part;
  }
  void start(int, http::Headers) override {}
  void write(http::Bytes) override {}
  void finish() override {}
  size_t queued_bytes() const override { return 0; }
  std::unique_ptr<http::ByteStream> upgrade(http::Headers) override { return nullptr; }
  bool closed() const override { return false; }
  void on_close(std::function<void()>) override {}
};

class AccessTest : public ::testing::Test {
 protected:
  // 200 when it was let in.
  std::string ask(const std::string& method, const std::string& path, const std::string& authorization,
                  const std::string& name = {}, std::vector<std::string> groups = {}) {
    auto exchange = std::make_shared<FakeExchange>();
    exchange->asked.method = method;
    exchange->asked.target = path;
    if (!authorization.empty()) exchange->asked.headers.add("Authorization", authorization);
    exchange->asked.peer.has_certificate = !name.empty();
    exchange->asked.peer.common_name = name;
    exchange->asked.peer.organizations = std::move(groups);
    auto* raw = exchange.get();
    access.check(exchange, [raw] { raw->respond(200, {}, std::vector<http::Bytes>{}); });
    last = exchange;
    return std::to_string(exchange->status) + (exchange->status == 200 ? "" : " " + exchange->text);
  }
  std::shared_ptr<FakeApi> api = std::make_shared<FakeApi>();
  api::Client client{api, "test"};
  Access access{client, "n1"};
  std::shared_ptr<FakeExchange> last;
};

TEST(AccessParts, EndpointsAndTheirSubresources) {
  auto text = [](std::string_view path) {
    std::string out;
    for (auto part : access_parts(path)) out += (out.empty() ? "" : " ") + std::string(part);
    return out;
  };
  for (const auto& [path, parts] :
       std::vector<std::pair<std::string, std::string>>{{"/metrics", "metrics"},
                                                        {"/metrics/cadvisor", "metrics"},
                                                        {"/metricsx", "proxy"},
                                                        {"/stats/summary", "stats"},
                                                        {"/stats", "stats"},
                                                        {"/logs/", "log"},
                                                        {"/spec/", "spec"},
                                                        {"/checkpoint/a/b/c", "checkpoint"},
                                                        {"/pods", "pods proxy"},
                                                        {"/pods/", "pods proxy"},
                                                        {"/runningpods/", "pods proxy"},
                                                        {"/healthz", "healthz proxy"},
                                                        {"/healthz/ping", "healthz proxy"},
                                                        {"/configz", "configz proxy"},
                                                        {"/exec/a/b/c", "proxy"},
                                                        {"/run/a/b/c", "proxy"},
                                                        {"/containerLogs/a/b/c", "proxy"},
                                                        {"/podProxy/a/b/80/", "proxy"},
                                                        {"/", "proxy"},
                                                        {"", "proxy"},
                                                        {"/%6detrics", "proxy"},
                                                        {"//metrics", "proxy"}})
    EXPECT_EQ(text(path), parts) << path;
  EXPECT_EQ(access_verb("GET"), "get");
  EXPECT_EQ(access_verb("POST"), "create");
  EXPECT_EQ(access_verb("OPTIONS"), "");
}

TEST_F(AccessTest, WithoutANameNobody) {
  EXPECT_EQ(ask("GET", "/metrics", ""), "401 Unauthorized");
  EXPECT_EQ(ask("GET", "/metrics", "Basic Zm9v"), "401 Unauthorized");
  EXPECT_EQ(ask("GET", "/metrics", "Bearer "), "401 Unauthorized");
  EXPECT_EQ(ask("GET", "/metrics", "Bearer " + std::string(20'000, 'x')), "401 Unauthorized");
  EXPECT_EQ(api->token_reviews, 0);
  EXPECT_EQ(ask("GET", "/metrics", "Bearer unknown"), "401 Unauthorized");
  EXPECT_EQ(api->token_reviews, 1);
}

TEST_F(AccessTest, ATokenIsReviewedOnceAndItsRightsToo) {
  EXPECT_EQ(ask("GET", "/metrics/resource", "Bearer good"), "200");
  EXPECT_EQ(ask("GET", "/metrics", "bearer good"), "200");
  EXPECT_EQ(api->token_reviews, 1);
  EXPECT_EQ(api->access_reviews, 1);
  EXPECT_EQ(
      base::to_json(api->last),
      R"({"user":"system:serviceaccount:m:prometheus","groups":["system:serviceaccounts"],)"
      R"("resourceAttributes":{"verb":"get","version":"v1","resource":"nodes","subresource":"metrics","name":"n1"},"uid":"u","extra":{"k":["v"]}})");
  EXPECT_EQ(ask("GET", "/stats/summary", "Bearer good"),
            "403 Forbidden (user=system:serviceaccount:m:prometheus, verb=get, resource=nodes, "
            "subresource(s)=[stats])");
  EXPECT_EQ(ask("POST", "/exec/a/b/c", "Bearer good").substr(0, 3), "403");
  EXPECT_EQ(ask("OPTIONS", "/metrics", "Bearer good").substr(0, 3), "403");
}

TEST_F(AccessTest, CertificatesBeside) {
  EXPECT_EQ(ask("GET", "/pods", "", "narrow"), "200");
  EXPECT_EQ(ask("GET", "/pods", "", "wide"), "200");  // nodes/proxy does as well
  EXPECT_EQ(ask("GET", "/pods", "", "nobody"),
            "403 Forbidden (user=nobody, verb=get, resource=nodes, subresource(s)=[pods proxy])");
  EXPECT_EQ(ask("GET", "/metrics", "", "wide").substr(0, 3), "403");  // but not for these
  EXPECT_EQ(ask("POST", "/exec/a/b/c", "", "admin"), "200");
  const int before = api->access_reviews;
  EXPECT_EQ(ask("POST", "/exec/a/b/c", "", "root", {"system:masters"}), "200");
  EXPECT_EQ(api->access_reviews, before);
}

TEST_F(AccessTest, AskedAtOnceIsAskedOnce) {
  api->at_once = false;
  std::vector<std::shared_ptr<FakeExchange>> all;
  for (int i = 0; i < 5; ++i) {
    ask("GET", "/metrics", "Bearer good");
    all.push_back(last);
  }
  EXPECT_EQ(api->waiting.size(), 1u);
  api->answer_all();
  EXPECT_EQ(api->waiting.size(), 1u);
  api->answer_all();
  for (const auto& one : all) EXPECT_EQ(one->status, 200);
  // Strangers fill neither the API server's queue nor our memory.
  for (int i = 0; i < 64; ++i) ask("GET", "/metrics", "Bearer stranger" + std::to_string(i));
  EXPECT_EQ(ask("GET", "/metrics", "Bearer one-more").substr(0, 3), "429");
  EXPECT_EQ(ask("GET", "/metrics", "Bearer good"), "200");  // who is known is served
  api->answer_all();
}

TEST_F(AccessTest, ARefusalOfTheApiServerLetsNobodyIn) {
  api->fails = true;
  EXPECT_EQ(ask("GET", "/metrics", "Bearer good"), "401 Unauthorized");
  EXPECT_EQ(ask("GET", "/metrics", "", "narrow"),
            "500 Authorization error (user=narrow, verb=get, resource=nodes, subresource(s)=[metrics])");
  api->fails = false;
  EXPECT_EQ(ask("GET", "/metrics", "Bearer good"), "200");  // a failure is not kept
}

}  // namespace
}  // namespace kubelet
