// The protocols of exec, attach, port-forward and logs end to end over HTTP, with a Pod whose
// processes are plain children of the test.
#include "kubelet/streaming.h"

#include <sys/ioctl.h>
#include <termios.h>

#include <fstream>

#include "base/http_client.h"
#include "base/spdy.h"
#include "base/websocket.h"
#include "tests/unit/kubelet/streaming_fixture.h"

namespace kubelet {
namespace {
using StreamingTest = StreamingFixture;
using base::Status;
using base::http::run_until;
using namespace std::chrono_literals;

struct WebSocketClient {
  std::unique_ptr<base::websocket::Connection> connection;
  std::string channel[5];
  int code = 0;
  explicit WebSocketClient(std::unique_ptr<base::http::ByteStream> stream)
      : connection(std::make_unique<base::websocket::Connection>(std::move(stream),
                                                                 base::websocket::Role::kClient)) {
    connection->on_message(
        [this](bool, std::string_view data) {
          ASSERT_FALSE(data.empty());
          ASSERT_LT(data[0], 5);
          channel[static_cast<size_t>(data[0])] += data.substr(1);
        },
        [this](uint16_t c, std::string_view) { code = c; });
  }
  void send(int number, std::string_view data) {
    connection->send(std::string(1, static_cast<char>(number)) + std::string(data));
  }
};
struct SpdyClient {
  base::spdy::Session session;
  std::shared_ptr<base::spdy::Stream> streams[5];
  std::string channel[5];
  bool ended[5] = {};
  explicit SpdyClient(std::unique_ptr<base::http::ByteStream> stream)
      : session(std::move(stream), base::spdy::Role::kClient, {}, {}, [](Status) {}) {}
  void open(int number, const char* type) {
    base::http::Headers headers;
    headers.add("streamType", type);
    auto i = static_cast<size_t>(number);
    streams[i] = session.open(headers);
    streams[i]->on_data([this, i](std::string_view data) { channel[i] += data; },
                        [this, i](Status) { ended[i] = true; });
  }
};

TEST_F(StreamingTest, ExecByWebSocketV5) {
  auto ask = request("/exec/ns/pod/uid-1/c?command=sh&command=-c&command=" +
                     base::http::escape("cat; echo problem >&2; exit 3") + "&input=1&output=1&error=1");
  ask.headers = base::websocket::client_headers({"v5.channel.k8s.io"});
  auto upgraded = upgrade(std::move(ask));
  EXPECT_EQ(upgraded.response.headers.get("Sec-WebSocket-Protocol"), "v5.channel.k8s.io");
  WebSocketClient client(std::move(upgraded.stream));
  std::string big(3 << 20, 'z');
  for (size_t i = 0; i < big.size(); i += 32768) client.send(0, std::string_view(big).substr(i, 32768));
  client.connection->send(std::string("\xff\x00", 2));  // end of stdin
  ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; }));
  EXPECT_EQ(client.channel[1], big);
  EXPECT_EQ(client.channel[2], "problem\n");
  auto status = base::parse_json(client.channel[3]).value();
  EXPECT_EQ(base::string_at(status, "reason"), "NonZeroExitCode");
  EXPECT_EQ(status.at("details").at("causes").at(0).at("message").as_string(), "3");
  EXPECT_EQ(client.code, base::websocket::kNormal);
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
}

// client-go before 1.34 loses what comes before it has its streams.
TEST_F(StreamingTest, OutputWaitsForAClientThatReads) {
  auto ask = request("/exec/ns/pod/c?output=1&command=echo&command=here");
  ask.headers = base::websocket::client_headers({"v5.channel.k8s.io"});
  auto stream = upgrade(std::move(ask)).stream;
  std::string got;
  bool over = false;
  stream->on_data([&](std::string_view data) { got += data; }, [&](Status) { over = true; });
  const std::string ping("\x89\x00", 2);
  ASSERT_TRUE(run_until(loop_, [&] { return pod_->last_exit == 0 && !got.empty(); }));
  EXPECT_EQ(got, ping);
  stream->write(std::string("\x8a\x80\x01\x02\x03\x04", 6));  // a pong, masked
  ASSERT_TRUE(run_until(loop_, [&] { return got.find("Success") != std::string::npos; }));
  EXPECT_LT(got.find("here\n"), got.find("Success"));
  stream->finish();
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
}
TEST_F(StreamingTest, AFirstMessageSaysThatTheClientReads) {
  auto ask = request("/exec/ns/pod/c?input=1&output=1&command=cat");
  ask.headers = base::websocket::client_headers({"v5.channel.k8s.io"});
  auto stream = upgrade(std::move(ask)).stream;
  std::string got;
  stream->on_data([&](std::string_view data) { got += data; }, [](Status) {});
  stream->write(std::string("\x82\x83\x00\x00\x00\x00\x00hi", 9));  // stdin: hi
  ASSERT_TRUE(run_until(loop_, [&] { return got.find("hi") != std::string::npos; }));
  stream.reset();
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
}

TEST_F(StreamingTest, ExecSucceedsAndFailsToStart) {
  for (bool there : {true, false}) {
    auto ask =
        request(std::string("/exec/ns/pod/c?output=1&command=") + (there ? "true" : "no-such-program"));
    ask.headers = base::websocket::client_headers({"v4.channel.k8s.io"});
    WebSocketClient client(upgrade(std::move(ask)).stream);
    ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; }));
    auto status = base::parse_json(client.channel[3]).value();
    EXPECT_EQ(base::string_at(status, "status"), there ? "Success" : "Failure");
    if (!there) {
      EXPECT_EQ(base::string_at(status, "reason"), "InternalError");
    }
  }
}

TEST_F(StreamingTest, ExecWithATerminalThatIsResized) {
  auto ask = request("/exec/ns/pod/c?input=1&output=1&tty=1&command=sh&command=-c&command=" +
                     base::http::escape("read x; stty size; test -t 2 && echo terminal"));
  ask.headers = base::websocket::client_headers({"v5.channel.k8s.io", "v4.channel.k8s.io"});
  WebSocketClient client(upgrade(std::move(ask)).stream);
  client.send(4, R"({"Width":123,"Height":45})");
  client.send(0, "go\n");
  ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; }));
  EXPECT_NE(client.channel[1].find("45 123"), std::string::npos) << client.channel[1];
  EXPECT_NE(client.channel[1].find("terminal"), std::string::npos);
}

TEST_F(StreamingTest, AClientThatLeavesEndsTheCommand) {
  auto ask = request("/exec/ns/pod/c?output=1&command=sleep&command=1000");
  ask.headers = base::websocket::client_headers({"v5.channel.k8s.io"});
  {
    WebSocketClient client(upgrade(std::move(ask)).stream);
    ASSERT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 1; }));
  }
  ASSERT_TRUE(run_until(loop_, [&] { return pod_->last_exit == 128 + SIGKILL; }));
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
}

TEST_F(StreamingTest, OutputHeldOpenByABackgroundChildDoesNotHang) {
  auto ask = request("/exec/ns/pod/c?output=1&command=sh&command=-c&command=" +
                     base::http::escape("sleep 20 & echo done"));
  ask.headers = base::websocket::client_headers({"v5.channel.k8s.io"});
  WebSocketClient client(upgrade(std::move(ask)).stream);
  ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; }));
  EXPECT_EQ(client.channel[1], "done\n");
}

TEST_F(StreamingTest, ExecBySpdyV4) {
  auto ask = request("/exec/ns/pod/c?input=1&output=1&error=1&command=sh&command=-c&command=" +
                     base::http::escape("cat; echo e >&2; exit 7"));
  ask.method = "POST";
  ask.headers.add("Connection", "Upgrade");
  ask.headers.add("Upgrade", "SPDY/3.1");
  for (const char* one : {"v9.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"})
    ask.headers.add("X-Stream-Protocol-Version", one);
  auto upgraded = upgrade(std::move(ask));
  ASSERT_TRUE(upgraded.stream) << upgraded.response.status;
  EXPECT_EQ(upgraded.response.headers.get("X-Stream-Protocol-Version"), "v4.channel.k8s.io");
  SpdyClient client(std::move(upgraded.stream));
  client.open(3, "error");
  client.open(0, "stdin");
  client.open(1, "stdout");
  client.open(2, "stderr");
  std::string big(2 << 20, 'q');
  client.streams[0]->write(big);
  client.streams[0]->finish();
  ASSERT_TRUE(run_until(loop_, [&] { return client.ended[1] && client.ended[2] && client.ended[3]; }));
  EXPECT_EQ(client.channel[1], big);
  EXPECT_EQ(client.channel[2], "e\n");
  auto status = base::parse_json(client.channel[3]).value();
  EXPECT_EQ(status.at("details").at("causes").at(0).at("message").as_string(), "7");
  client.session.close();
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
}

TEST_F(StreamingTest, RefusesWhatItCannotServe) {
  struct {
    const char* target;
    int status;
  } cases[] = {{"/exec/ns/pod/c?command=ls", 400},
               {"/exec/ns/pod/c?output=1", 400},
               {"/exec/ns/other/c?output=1&command=ls", 404},
               {"/exec/ns/pod/c?output=1&command=ls", 400},  // no upgrade
               {"/portForward/ns/pod", 400},
               {"/attach/ns/pod/c?output=1&tty=1", 400},
               {"/containerLogs/ns/pod/c?tailLines=-1", 400},
               {"/containerLogs/ns/pod/c", 404},
               {"/elsewhere", 404}};
  for (const auto& one : cases) {
    std::optional<Result<base::http::Response>> result;
    auto call = client_->call(request(one.target), 5s, [&](auto r) { result = std::move(r); });
    ASSERT_TRUE(run_until(loop_, [&] { return result.has_value(); }));
    EXPECT_EQ((*result)->status, one.status) << one.target << " " << (*result)->body;
  }
}

TEST_F(StreamingTest, AttachJoinsTheContainersOwnStdio) {
  auto in = base::sys::pipe().value(), out = base::sys::pipe().value();
  pod_->attached.in = std::move(in.write);
  pod_->attached.out = std::move(out.read);
  auto ask = request("/attach/ns/pod/c?input=1&output=1");
  ask.headers = base::websocket::client_headers({"v4.channel.k8s.io"});
  WebSocketClient client(upgrade(std::move(ask)).stream);
  client.send(0, "question");
  ASSERT_TRUE(base::sys::write_all(out.write.get(), "hello").ok());
  ASSERT_TRUE(run_until(loop_, [&] { return client.channel[1] == "hello"; }));
  char text[32];
  EXPECT_EQ(::read(in.read.get(), text, sizeof text), 8);
  out.write.reset();  // the container exits
  ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; }));
  EXPECT_EQ(base::string_at(base::parse_json(client.channel[3]).value(), "status"), "Success");
}

struct Forward {
  std::shared_ptr<base::spdy::Stream> data, error;
  std::string seen, failure;
  bool data_ended = false, error_ended = false;
  Forward(base::spdy::Session& session, int port, int id) {
    base::http::Headers headers;
    headers.add("port", std::to_string(port));
    headers.add("requestID", std::to_string(id));
    headers.add("streamType", "error");
    error = session.open(headers);
    error->on_data([this](std::string_view d) { failure += d; }, [this](Status) { error_ended = true; });
    error->finish();
    headers.set("streamType", "data");
    data = session.open(headers);
    data->on_data([this](std::string_view d) { seen += d; }, [this](Status) { data_ended = true; });
  }
};

TEST_F(StreamingTest, PortForwardPlainAndTunnelled) {
  Echo echo;
  for (bool tunnelled : {false, true}) {
    auto ask = request("/portForward/ns/pod/uid");
    if (tunnelled) {
      ask.headers = base::websocket::client_headers({"SPDY/3.1+portforward.k8s.io"});
    } else {
      ask.method = "POST";
      ask.headers.add("Connection", "Upgrade");
      ask.headers.add("Upgrade", "SPDY/3.1");
      ask.headers.add("X-Stream-Protocol-Version", "portforward.k8s.io");
    }
    auto upgraded = upgrade(std::move(ask));
    ASSERT_TRUE(upgraded.stream);
    auto stream = std::move(upgraded.stream);
    if (tunnelled)
      stream = base::websocket::tunnel(
          std::make_unique<base::websocket::Connection>(std::move(stream), base::websocket::Role::kClient));
    base::spdy::Session session(std::move(stream), base::spdy::Role::kClient, {}, {}, [](Status) {});
    std::vector<std::unique_ptr<Forward>> forwards;
    for (int i = 0; i < 5; ++i) {
      forwards.push_back(std::make_unique<Forward>(session, echo.port, i));
      forwards.back()->data->write(std::string(300'000, static_cast<char>('a' + i)));
      forwards.back()->data->finish();
    }
    for (int i = 0; i < 5; ++i) {
      auto& one = *forwards[static_cast<size_t>(i)];
      ASSERT_TRUE(run_until(loop_, [&] { return one.data_ended && one.error_ended; }));
      EXPECT_EQ(one.seen, std::string(300'000, static_cast<char>('A' + i)));
      EXPECT_EQ(one.failure, "");
    }
    Forward refused(session, 1, 77);
    ASSERT_TRUE(run_until(loop_, [&] { return refused.error_ended; }));
    EXPECT_NE(refused.failure.find("error forwarding port 1 to pod pod"), std::string::npos);
    session.close();
    EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
  }
}

TEST_F(StreamingTest, LogsFollowOverARotationUntilTheContainerExits) {
  std::string path = directory_ + "/1.log";
  auto line = [](int i) {
    return "2026-01-02T15:04:0" + std::to_string(i) + ".000000000Z stdout F line " + std::to_string(i) + "\n";
  };
  std::ofstream(path) << line(0) << line(1) << line(2);
  std::string seen;
  bool done = false;
  auto call = client_->stream(
      request("/containerLogs/ns/pod/c?follow=true&tailLines=2"),
      [](const base::http::Response& r) { EXPECT_EQ(r.status, 200); },
      [&](std::string_view data) { seen += data; },
      [&](Status status) {
        EXPECT_TRUE(status.ok());
        done = true;
      });
  ASSERT_TRUE(run_until(loop_, [&] { return seen == "line 1\nline 2\n"; })) << seen;
  std::ofstream(path, std::ios::app) << line(3) << "2026-01-02T15:04:05Z stderr P half";
  ASSERT_TRUE(run_until(loop_, [&] { return seen.ends_with("line 3\n"); }));
  std::ofstream(path, std::ios::app) << " and\n2026-01-02T15:04:05Z stderr F  whole\n";
  ASSERT_TRUE(run_until(loop_, [&] { return seen.ends_with("half and whole\n"); })) << seen;
  ASSERT_EQ(::rename(path.c_str(), (path + ".1").c_str()), 0);
  std::ofstream(path) << line(4);
  ASSERT_TRUE(run_until(loop_, [&] { return seen.ends_with("line 4\n"); }));
  EXPECT_FALSE(done);
  std::ofstream(path, std::ios::app) << line(5);
  ended_ = true;
  streaming_->container_exited();
  ASSERT_TRUE(run_until(loop_, [&] { return done; }));
  EXPECT_TRUE(seen.ends_with("line 5\n"));
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
}

TEST_F(StreamingTest, LargeLogsArriveWholeAndAReaderMayLeave) {
  std::string expected;
  {
    std::ofstream file(directory_ + "/0.log");
    for (int i = 0; i < 100'000; ++i) {
      file << "2026-01-02T15:04:05.000000000Z stdout F number " << i << " of many lines\n";
      expected += "number " + std::to_string(i) + " of many lines\n";
    }
  }
  std::string seen;
  bool done = false;
  auto whole = client_->stream(
      request("/containerLogs/ns/pod/c?previous=true"), [](const base::http::Response&) {},
      [&](std::string_view data) { seen += data; },
      [&](Status status) {
        EXPECT_TRUE(status.ok());
        done = true;
      });
  ASSERT_TRUE(run_until(loop_, [&] { return done; }));
  EXPECT_EQ(seen, expected);
  size_t bytes = 0;
  std::unique_ptr<base::http::Client::Call> leaver;
  leaver = client_->stream(
      request("/containerLogs/ns/pod/c?previous=true&follow=true"), [](const base::http::Response&) {},
      [&](std::string_view data) {
        bytes += data.size();
        leaver.reset();
      },
      [&](Status) { FAIL(); });
  ASSERT_TRUE(run_until(loop_, [&] { return bytes > 0 && streaming_->sessions() == 0; }));
}
}  // namespace
}  // namespace kubelet
