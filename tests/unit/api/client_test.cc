#include "api/client/client.h"

#include <gtest/gtest.h>

namespace api {
namespace {

using base::http::Request;
using base::http::Response;

// Remembers what was asked; the test answers.
struct FakeTransport : Transport {
  struct Pending {
    Request request;
    Done done;
    std::function<void(std::string_view)> line;
    std::function<void(base::Status)> end;
    std::function<void()> open = {};
    bool canceled = false;
  };
  struct FakeCall : Call {
    std::shared_ptr<Pending> pending;
    ~FakeCall() override { pending->canceled = true; }
  };
  std::vector<std::shared_ptr<Pending>> asked;

  std::unique_ptr<Call> remember(Pending pending) {
    auto call = std::make_unique<FakeCall>();
    call->pending = std::make_shared<Pending>(std::move(pending));
    asked.push_back(call->pending);
    return call;
  }
  std::unique_ptr<Call> call(Request request, Done done) override {
    return remember({std::move(request), std::move(done), {}, {}});
  }
  std::unique_ptr<Call> watch(Request request, std::function<void(const WatchLine&)> line,
                              std::function<void(base::Status)> end, std::function<void()> open) override {
    return remember({std::move(request), {}, std::move(line), std::move(end), std::move(open)});
  }
  Pending& last() { return *asked.back(); }
};

// Runs the loop until `n` requests have been made; false after 15 s.
bool wait_for(base::Loop& loop, FakeTransport& transport, size_t n) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  while (transport.asked.size() < n) {
    if (std::chrono::steady_clock::now() > until) return false;
    loop.run_once(std::chrono::milliseconds(100));
  }
  return true;
}
Response ok(std::string body) { return {200, {}, std::move(body)}; }

TEST(Client, SendsAndDecodes) {
  auto transport = std::make_shared<FakeTransport>();
  Client client(transport, "test/1");
  std::string name;
  client.get(resources::pods, "ns", "a",
             [&](auto result) { name = base::string_at(result.value(), "metadata", "name"); });
  EXPECT_EQ(transport->last().request.target, "/api/v1/namespaces/ns/pods/a");
  EXPECT_EQ(transport->last().request.headers.get("user-agent"), "test/1");
  transport->last().done(ok(R"({"metadata":{"name":"a"}})"));
  EXPECT_EQ(name, "a");
  EXPECT_TRUE(transport->last().canceled) << "the call's handle must not outlive its answer";

  client.patch(
      resources::deployments, "ns", "d", "strategic-merge", json::object{{"a", 1}}, [](auto) {}, "status");
  EXPECT_EQ(transport->last().request.target, "/apis/apps/v1/namespaces/ns/deployments/d/status");
  EXPECT_EQ(transport->last().request.headers.get("content-type"), "application/strategic-merge-patch+json");
  EXPECT_EQ(transport->last().request.body, R"({"a":1})");
}

TEST(Client, RefusalsBecomeKinds) {
  auto transport = std::make_shared<FakeTransport>();
  Client client(transport, "test/1");
  struct {
    int code;
    const char* reason;
    base::Kind kind;
  } cases[] = {{404, "NotFound", base::Kind::kNotFound}, {409, "AlreadyExists", base::Kind::kExists},
               {409, "Conflict", base::Kind::kConflict}, {403, "Forbidden", base::Kind::kDenied},
               {422, "Invalid", base::Kind::kInvalid},   {410, "Expired", base::Kind::kConflict},
               {503, "", base::Kind::kUnavailable},      {429, "", base::Kind::kUnavailable}};
  for (auto& c : cases) {
    std::optional<base::Error> error;
    client.get(resources::nodes, "", "n", [&](auto result) { error = result.error(); });
    transport->last().done(
        Response{c.code, {}, fmt::format(R"({{"kind":"Status","reason":"{}","message":"why"}})", c.reason)});
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind, c.kind) << c.code << c.reason;
    EXPECT_NE(error->message().find("why"), std::string::npos) << error->message();
  }
}

TEST(Client, DestroyedClientAnswersNobody) {
  auto transport = std::make_shared<FakeTransport>();
  auto client = std::make_unique<Client>(transport, "test/1");
  bool answered = false;
  client->get(resources::nodes, "", "n", [&](auto) { answered = true; });
  client.reset();
  EXPECT_TRUE(transport->last().canceled);
  transport->last().done(ok("{}"));
  EXPECT_FALSE(answered);

  // From its own callback, too.
  client = std::make_unique<Client>(transport, "test/1");
  client->get(resources::nodes, "", "n", [&](auto) { client.reset(); });
  auto pending = transport->asked.back();
  pending->done(ok("{}"));
  EXPECT_EQ(client, nullptr);
}

struct InformerTest : testing::Test {
  base::Loop loop;
  FakeTransport transport;
  std::string seen;  // "+a=1 -b "
  int syncs = 0;
  std::unique_ptr<Informer> informer = make();
  std::unique_ptr<Informer> make() {
    return std::make_unique<Informer>(
        loop, transport, Informer::Options{resources::pods, "", "app=x", ""},
        [this](Informer::Change change, const json::value& object) {
          seen += (change == Informer::Change::kSet ? "+" : "-") +
                  std::string(base::string_at(object, "metadata", "name")) + " ";
        },
        [this] { ++syncs; });
  }
  static std::string item(std::string name) {
    return R"({"metadata":{"namespace":"n","name":")" + name + R"("}})";
  }
};

TEST_F(InformerTest, ListsPagesThenWatchesAndResumes) {
  informer->start();
  ASSERT_TRUE(wait_for(loop, transport, 1));
  EXPECT_EQ(transport.last().request.target, "/api/v1/pods?limit=500&labelSelector=app%3Dx");
  transport.last().done(ok(R"({"metadata":{"continue":"tok"},"items":[)" + item("a") + "]}"));
  EXPECT_FALSE(informer->synced());
  ASSERT_TRUE(wait_for(loop, transport, 2));
  EXPECT_NE(transport.last().request.target.find("continue=tok"), std::string::npos);
  transport.last().done(ok(R"({"metadata":{"resourceVersion":"7"},"items":[)" + item("b") + "]}"));
  EXPECT_TRUE(informer->synced());
  ASSERT_TRUE(wait_for(loop, transport, 3));
  EXPECT_NE(transport.last().request.target.find("resourceVersion=7&"), std::string::npos);
  transport.last().line(
      R"({"type":"DELETED","object":{"metadata":{"namespace":"n","name":"a","resourceVersion":"8"}}})");
  transport.last().line(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12"}}})");
  transport.last().end({});  // the server's timeout: go on from the bookmark
  ASSERT_TRUE(wait_for(loop, transport, 4));
  EXPECT_NE(transport.last().request.target.find("resourceVersion=12&"), std::string::npos);
  transport.last().end(base::make_error(base::Kind::kUnavailable, "read"));
  ASSERT_TRUE(wait_for(loop, transport, 5)) << "a broken connection is tried again";
  EXPECT_NE(transport.last().request.target.find("resourceVersion=12&"), std::string::npos);
  EXPECT_EQ(seen, "+a +b -a ");
  EXPECT_EQ(syncs, 1);
}

TEST_F(InformerTest, GoneListsAnewAndReportsWhatVanished) {
  informer->start();
  ASSERT_TRUE(wait_for(loop, transport, 1));
  transport.last().done(
      ok(R"({"metadata":{"resourceVersion":"7"},"items":[)" + item("a") + "," + item("b") + "]}"));
  ASSERT_TRUE(wait_for(loop, transport, 2));
  transport.last().line(R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})");
  transport.last().line(R"({"type":"ADDED","object":{"metadata":{"namespace":"n","name":"late"}}})");
  ASSERT_TRUE(wait_for(loop, transport, 3));
  EXPECT_EQ(transport.last().request.target, "/api/v1/pods?limit=500&labelSelector=app%3Dx");
  transport.last().done(ok(R"({"metadata":{"resourceVersion":"20"},"items":[)" + item("b") + "]}"));
  EXPECT_EQ(seen, "+a +b +b -a ");
  EXPECT_EQ(syncs, 2);
}

TEST_F(InformerTest, RefusedListIsTriedAgainWithBackoff) {
  informer->start();
  ASSERT_TRUE(wait_for(loop, transport, 1));
  auto began = std::chrono::steady_clock::now();
  transport.last().done(Response{503, {}, ""});
  ASSERT_TRUE(wait_for(loop, transport, 2));
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(140));
  EXPECT_FALSE(informer->synced());
}

// A server that restarts every second or two: each of its lives lets a watch begin, and no failure of the
// connections between them counts on.
TEST_F(InformerTest, AServerThatRestartsAgainAndAgainIsNotWaitedForLonger) {
  informer->start();
  ASSERT_TRUE(wait_for(loop, transport, 1));
  transport.last().done(ok(R"({"metadata":{"resourceVersion":"7"},"items":[]})"));
  ASSERT_TRUE(wait_for(loop, transport, 2));
  auto unavailable = [] { return base::make_error(base::Kind::kUnavailable, "connect"); };
  size_t asked = 2;
  for (int life = 0; life < 8; ++life) {
    auto began = std::chrono::steady_clock::now();
    transport.last().end(unavailable());
    ASSERT_TRUE(wait_for(loop, transport, ++asked));
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(1200)) << "life " << life;
    if (life % 2)
      transport.last().line(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}})");
    else transport.last().open();
  }
}

TEST_F(InformerTest, AServerThatIsAwayIsAskedMoreAndMoreSeldom) {
  informer->start();
  ASSERT_TRUE(wait_for(loop, transport, 1));
  auto began = std::chrono::steady_clock::now();
  for (size_t i = 1; i <= 4; ++i) {
    transport.last().done(base::make_error(base::Kind::kUnavailable, "connect"));
    ASSERT_TRUE(wait_for(loop, transport, i + 1));
  }
  EXPECT_GE(std::chrono::steady_clock::now() - began,
            std::chrono::milliseconds(2200));  // 3/4 of 0.2 + 0.4 + 0.8 + 1.6
}

TEST_F(InformerTest, MayDieInItsOwnCallback) {
  informer = std::make_unique<Informer>(loop, transport, Informer::Options{resources::pods, "", "", ""},
                                        [this](auto, auto&) { informer.reset(); });
  informer->start();
  ASSERT_TRUE(wait_for(loop, transport, 1));
  auto pending = transport.asked.back();
  pending->done(ok(R"({"metadata":{"resourceVersion":"7"},"items":[)" + item("a") + "," + item("b") + "]}"));
  EXPECT_EQ(informer, nullptr);
  EXPECT_TRUE(pending->canceled);
}

TEST(WorkQueue, HandsOutEachKeyOncePerRoundAndRetries) {
  base::Loop loop;
  std::vector<std::string> log;
  WorkQueue* queue = nullptr;
  WorkQueue q(loop, [&](const std::string& key) {
    log.push_back(key);
    if (key == "bad" && std::count(log.begin(), log.end(), "bad") < 3) queue->failed(key);
    else queue->succeeded(key);
    if (key == "a" && log.size() == 1) queue->add("a");  // waits for the next round
    if (std::count(log.begin(), log.end(), "bad") == 3) loop.stop();
  });
  queue = &q;
  q.add("a");
  q.add("a");
  q.add("bad");
  auto guard = loop.after(std::chrono::seconds(10), [&] { loop.stop(); });
  loop.run();
  EXPECT_EQ(log, (std::vector<std::string>{"a", "bad", "a", "bad", "bad"}));
}

}  // namespace
}  // namespace api
