// Lists and watches whose first state is larger than anything a connection may owe: over real sockets,
// HTTP/1.1 and HTTP/2, with readers of their own pace. SAMPAN_LIST_PODS=150000 is the whole that a
// cluster of 5,000 nodes has; the figures are printed.
#include <atomic>
#include <cstdio>

#include "base/http/encoding.h"
#include "tests/unit/base/http2_peer.h"
#include "tests/unit/master/server_fixture.h"

namespace master {
namespace {

using base::http::Peer2;
using base::http::Socket;

size_t count(std::string_view text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}
std::string unchunked(std::string_view answer) {
  std::string out;
  answer.remove_prefix(answer.find("\r\n\r\n") + 4);
  while (!answer.empty()) {
    size_t line = answer.find("\r\n"), size = std::stoul(std::string(answer.substr(0, line)), nullptr, 16);
    if (size == 0) break;
    out += answer.substr(line + 2, size);
    answer.remove_prefix(line + 4 + size);
  }
  return out;
}

class LongAnswers : public ServerTest {
 protected:
  static constexpr size_t kMaxQueued = 1 << 20;
  size_t pods_ = 6000;

  void configure(ServerOptions& options) override {
    options.static_tokens["secret"] = {"admin", {"system:masters", "system:authenticated"}};
  }
  void SetUp() override {
    ServerTest::SetUp();
    if (const char* asked = std::getenv("SAMPAN_LIST_PODS")) pods_ = std::stoul(asked);
    ResourceInfo& resource = *server_->registry().resources().find("", "v1", "pods");
    for (size_t i = 0; i < pods_; ++i) {
      char name[32];
      std::snprintf(name, sizeof name, "pod-%06zu", i);
      Registry::cache(resource).load(make_object(resource, std::string("many/") + name, pod(name), 1));
    }
    base::http::Server::Options options;
    options.max_queued_bytes = kMaxQueued;
    auto handler = [this](std::shared_ptr<base::http::Exchange> exchange) {
      server_->handle(std::move(exchange));
    };
    plain_ = std::make_unique<base::http::Server>(loop_, nullptr, options, handler);
    tls_ = std::make_unique<base::http::Server>(loop_, base::http::server_context(), options, handler);
    ASSERT_TRUE(plain_->listen("127.0.0.1:0").ok());
    ASSERT_TRUE(tls_->listen("127.0.0.1:0").ok());
  }
  void TearDown() override {
    plain_.reset();
    tls_.reset();
    loop_.run_once(base::Duration::zero());
    ServerTest::TearDown();
  }
  // Runs the server while `client` talks to it from a thread of its own.
  void serve(const char* what, const std::function<void()>& client) {
    std::atomic<bool> done = false;
    auto began = std::chrono::steady_clock::now();
    std::thread thread([&] {
      client();
      done = true;
      loop_.post([] {});
    });
    auto longest = base::Duration::zero();
    while (!done) {
      auto turn = std::chrono::steady_clock::now();
      loop_.post([] {});
      loop_.run_once(std::chrono::milliseconds(50));
      longest = std::max<base::Duration>(longest, std::chrono::steady_clock::now() - turn);
    }
    thread.join();
    std::printf("%s: %zu Pods in %.2f s, longest turn of the loop %.1f ms\n", what, pods_,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(),
                std::chrono::duration<double, std::milli>(longest).count());
  }
  static std::string get(const std::string& path, const std::string& more = "") {
    return "GET " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n" + more + "\r\n";
  }
  static std::string pod(const std::string& name, const std::string& labels = "") {
    return R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name +
           R"(","namespace":"many","uid":")" + name + "\"" + labels + R"(,"annotations":{"padding":")" +
           std::string(1400, 'p') +
           R"("}},"spec":{"containers":[{"name":"c","image":"i"}]},"status":{"phase":"Running"}})";
  }
  // As a write that has become durable.
  void change(const std::string& name) {
    loop_.post([this, name] {
      ResourceInfo& resource = *server_->registry().resources().find("", "v1", "pods");
      ObjectCache& cache = Registry::cache(resource);
      int64_t revision = std::max(server_->registry().durable_revision(), cache.last_revision()) + 1;
      cache.put(make_object(resource, "many/" + name, pod(name, R"(,"labels":{"changed":"yes"})"), revision));
    });
  }
  static constexpr const char* kInitial =
      "/api/v1/"
      "pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
  const std::vector<std::pair<std::string, std::string>> token_ = {{"authorization", "Bearer secret"}};
  std::unique_ptr<base::http::Server> plain_, tls_;
};

TEST_F(LongAnswers, AListIsWhole) {
  serve("list, HTTP/1.1", [&] {
    Socket socket(plain_->ports()[0], 64 << 10);
    socket.send(get("/api/v1/pods", "Connection: close\r\n"));
    std::string body = unchunked(socket.read_to_end());
    EXPECT_TRUE(body.starts_with(R"({"kind":"PodList","apiVersion":"v1","metadata":{)"));
    EXPECT_TRUE(body.ends_with("]}"));
    EXPECT_EQ(count(body, "\"uid\":\"pod-"), pods_);
  });
  serve("list, HTTP/1.1, gzip", [&] {
    Socket socket(plain_->ports()[0], 64 << 10);
    socket.send(get("/api/v1/pods", "Connection: close\r\nAccept-Encoding: gzip\r\n"));
    auto body = base::http::gunzip(unchunked(socket.read_to_end()), 1u << 30);
    ASSERT_TRUE(body.ok()) << body.error().message();
    EXPECT_EQ(count(*body, "\"uid\":\"pod-"), pods_);
    EXPECT_TRUE(body->ends_with("]}"));
  });
  serve("Table, HTTP/1.1", [&] {
    Socket socket(plain_->ports()[0]);
    socket.send(get("/api/v1/namespaces/many/pods",
                    "Connection: close\r\nAccept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n"));
    std::string body = unchunked(socket.read_to_end());
    EXPECT_EQ(count(body, R"({"cells":["pod-)"), pods_);
    EXPECT_TRUE(body.ends_with("]}"));
  });
  serve("list, HTTP/2", [&] {
    Peer2 peer(tls_->ports()[0]);
    peer.begin();
    int32_t id = peer.request("GET", "/api/v1/pods", {}, token_);
    int32_t other = peer.request("GET", "/api/v1/namespaces/default", {}, token_);
    EXPECT_EQ(peer.wait(other).headers[":status"], "200");
    std::string& body = peer.wait(id).body;
    EXPECT_EQ(peer.answers[id].error, 0u);
    EXPECT_TRUE(body.ends_with("]}"));
    EXPECT_EQ(count(body, "\"uid\":\"pod-"), pods_);
  });
}

// The length of all stands before them, so none of it may be a guess.
TEST_F(LongAnswers, AListInProtocolBuffersIsAsLongAsItSays) {
  const std::string accept = "Connection: close\r\nAccept: application/vnd.kubernetes.protobuf\r\n";
  auto check = [&](std::string_view body) {
    const std::string head("k8s\0\n\x0d\n\x02v1\x12\x07PodList\x12", 20), tail("\x1a\0\"\0", 4);
    ASSERT_TRUE(body.starts_with(head));
    size_t at = head.size(), size = 0, shift = 0;
    for (; static_cast<uint8_t>(body[at]) & 0x80; ++at, shift += 7)
      size |= size_t{static_cast<uint8_t>(body[at]) & 0x7fu} << shift;
    size |= size_t{static_cast<uint8_t>(body[at++])} << shift;
    EXPECT_EQ(size, body.size() - at - tail.size());
    EXPECT_TRUE(body.ends_with(tail));
    EXPECT_EQ(count(body, std::string("\n\npod-")), pods_);  // {1: a name of ten bytes}
  };
  serve("protocol buffers", [&] {
    Socket socket(plain_->ports()[0], 64 << 10);
    socket.send(get("/api/v1/pods", accept));
    check(unchunked(socket.read_to_end()));
  });
  serve("protocol buffers, made before, gzip", [&] {
    Socket socket(plain_->ports()[0], 64 << 10);
    socket.send(get("/api/v1/pods", accept + "Accept-Encoding: gzip\r\n"));
    auto body = base::http::gunzip(unchunked(socket.read_to_end()), 1u << 30);
    ASSERT_TRUE(body.ok()) << body.error().message();
    check(*body);
  });
}

TEST_F(LongAnswers, AWatchTellsTheStateThenWhatHappenedMeanwhile) {
  auto check = [&](std::string_view body) {
    size_t end = body.find("initial-events-end");
    ASSERT_NE(end, std::string_view::npos);
    EXPECT_EQ(count(body.substr(0, end), R"({"type":"ADDED")"), pods_);
    EXPECT_EQ(count(body.substr(0, end), R"({"type":"MODIFIED")"), 0u)
        << "what happens meanwhile comes after the state";
    EXPECT_EQ(count(body.substr(end), R"({"type":"ADDED")"), 0u);
  };
  serve("watch, HTTP/1.1", [&] {
    Socket socket(plain_->ports()[0], 64 << 10);
    socket.send(get(kInitial));
    std::string all = socket.read_until("pod-000100");  // the rest waits for us
    change("pod-000000");
    change("pod-005999");
    all += socket.read_until("initial-events-end");
    check(all);
    std::string more = socket.read_until("\"name\":\"pod-005999\"");
    EXPECT_EQ(count(more, R"({"type":"MODIFIED")"), 2u) << more.substr(0, 500);
  });
  serve("watch, HTTP/2", [&] {
    Peer2 peer(tls_->ports()[0]);
    peer.begin(64 << 10);
    int32_t id = peer.request("GET", kInitial, {}, token_),
            second = peer.request("GET", kInitial, {}, token_);
    int32_t other = peer.request("GET", "/api/v1/namespaces/default", {}, token_);
    EXPECT_EQ(peer.wait(other).headers[":status"], "200");
    auto ends_with_line = [&](int32_t stream, std::string_view what) {  // looks at the last lines alone
      std::string_view body = peer.answers[stream].body;
      return body.ends_with("}\n") &&
             body.substr(body.size() - std::min<size_t>(body.size(), 4096)).find(what) !=
                 std::string_view::npos;
    };
    ASSERT_TRUE(peer.until([&] {
      return ends_with_line(id, "initial-events-end") && ends_with_line(second, "initial-events-end");
    }));
    check(peer.answers[id].body);
    check(peer.answers[second].body);
    change("pod-000007");
    EXPECT_TRUE(peer.until([&] {
      return ends_with_line(id, R"({"type":"MODIFIED")") && ends_with_line(second, R"({"type":"MODIFIED")");
    }));
    EXPECT_EQ(peer.goaway, -1);
  });
}

TEST_F(LongAnswers, AWatcherThatTakesNothingCostsOneSnapshot) {
  auto w = std::make_unique<Socket>(plain_->ports()[0], 4096);
  serve("a reader that stops", [&] {
    w->send(get(kInitial));
    w->read_until("\r\n\r\n");
    Socket socket(plain_->ports()[0]);
    for (int i = 0; i < 50; ++i) {
      change("pod-000001");
      socket.send(get("/api/v1/namespaces/default"));
      socket.read_answer();
    }
  });
  EXPECT_EQ(server_->registry().cache("", "pods").subscribers() > 0, true);
  // It goes on where it was.
  serve("and goes on", [&] {
    std::string all = w->read_until("initial-events-end");
    EXPECT_EQ(count(all, R"({"type":"ADDED")"), pods_);
  });
}

}  // namespace
}  // namespace master
