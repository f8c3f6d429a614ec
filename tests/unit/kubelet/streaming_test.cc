// The protocols of exec, attach, port-forward and logs end to end over HTTP, with a Pod whose
// processes are plain children of the test.
#include "kubelet/streaming/streaming.h"

#include <sys/ioctl.h>
#include <termios.h>

#include <fstream>

#include "base/http/client.h"
#include "base/http/spdy.h"
#include "base/http/websocket.h"
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

TEST_F(StreamingTest, TellsAClientOfExecInWordsThatThereIsNoContainer) {
  auto by_channel = request("/exec/ns/other/c?command=ls&output=1");
  by_channel.headers = base::websocket::client_headers({"v5.channel.k8s.io", "v4.channel.k8s.io"});
  auto upgraded = upgrade(std::move(by_channel));
  WebSocketClient client(std::move(upgraded.stream));
  ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; }));
  EXPECT_EQ(
      client.channel[3],
      R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Internal error occurred: unable to upgrade connection: not here","reason":"InternalError","code":500})");
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
  auto by_spdy = request("/exec/ns/other/c?command=ls&output=1");
  by_spdy.method = "POST";
  by_spdy.headers.add("Connection", "Upgrade");
  by_spdy.headers.add("Upgrade", "SPDY/3.1");
  by_spdy.headers.add("X-Stream-Protocol-Version", "v4.channel.k8s.io");
  auto refused = upgrade(std::move(by_spdy));
  EXPECT_FALSE(refused.stream);
  EXPECT_EQ(refused.response.status, 404);
  EXPECT_EQ(refused.response.body, "not here");
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

TEST_F(StreamingTest, AnAttachEndsWithItsInputUnlessTheContainersEndsToo) {
  for (bool once : {false, true}) {
    stdin_once_ = once;
    auto in = base::sys::pipe().value(), out = base::sys::pipe().value();
    ASSERT_EQ(::fcntl(in.read.get(), F_SETFL, O_NONBLOCK), 0);
    pod_->attached.in = std::move(in.write);
    pod_->attached.out = std::move(out.read);
    auto ask = request("/attach/ns/pod/c?input=1&output=1");
    ask.headers = base::websocket::client_headers({"v5.channel.k8s.io"});
    WebSocketClient client(upgrade(std::move(ask)).stream);
    client.send(0, std::string(100'000, 'q'));
    client.connection->send(std::string("\xff\x00", 2));
    // What was sent before the end is not lost, and the end is the container's where it is meant to be.
    size_t seen = 0;
    ssize_t n = -1;
    ASSERT_TRUE(run_until(loop_, [&] {
      char text[4096];
      while ((n = ::read(in.read.get(), text, sizeof text)) > 0) seen += static_cast<size_t>(n);
      return n == 0;
    }));
    EXPECT_EQ(seen, 100'000u);
    if (once) {
      ASSERT_TRUE(base::sys::write_all(out.write.get(), "answer").ok());
      ASSERT_TRUE(run_until(loop_, [&] { return client.channel[1] == "answer"; }));
      EXPECT_EQ(client.code, 0);
      out.write.reset();
    }
    ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; })) << once;
    EXPECT_EQ(base::string_at(base::parse_json(client.channel[3]).value(), "status"), "Success");
  }
}

TEST_F(StreamingTest, AttachWithInputToAContainerThatTakesNoneShowsItsOutput) {
  stdin_ = false;
  auto out = base::sys::pipe().value();
  pod_->attached.out = std::move(out.read);
  auto ask = request("/attach/ns/pod/c?input=1&output=1");
  ask.headers = base::websocket::client_headers({"v5.channel.k8s.io"});
  WebSocketClient client(upgrade(std::move(ask)).stream);
  client.send(0, "nobody reads this");
  client.connection->send(std::string("\xff\x00", 2));
  ASSERT_TRUE(base::sys::write_all(out.write.get(), "hello").ok());
  ASSERT_TRUE(run_until(loop_, [&] { return client.channel[1] == "hello"; }));
  EXPECT_EQ(client.code, 0);
  out.write.reset();
  ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; }));
}

TEST_F(StreamingTest, ExecInBase64ForClientsThatHaveTextAlone) {
  for (const char* protocol : {"v4.base64.channel.k8s.io", "base64.channel.k8s.io"}) {
    auto ask = request("/exec/ns/pod/uid-1/c?command=head&command=-c3&input=1&output=1");
    ask.headers = base::websocket::client_headers({protocol});
    auto upgraded = upgrade(std::move(ask));
    EXPECT_EQ(upgraded.response.headers.get("Sec-WebSocket-Protocol"), protocol);
    base::websocket::Connection connection(std::move(upgraded.stream), base::websocket::Role::kClient);
    std::vector<std::string> messages;
    int code = 0;
    connection.on_message(
        [&](bool binary, std::string_view data) {
          EXPECT_FALSE(binary);
          messages.emplace_back(data);
        },
        [&](uint16_t c, std::string_view) { code = c; });
    connection.send("0/wA=", false);  // 0xff 0x00
    connection.send("0!!", false);    // is no base64
    connection.send("0YQ==", false);  // "a"
    ASSERT_TRUE(run_until(loop_, [&] { return code != 0; }));
    ASSERT_GE(messages.size(), 2u);
    EXPECT_EQ(messages[0], "1");
    std::string out;
    for (const auto& one : messages)
      if (one[0] == '1') out += one.substr(1);
    EXPECT_EQ(out, "/wBh");
    EXPECT_TRUE(protocol[0] != 'v' || messages.back()[0] == '3');
  }
}

TEST_F(StreamingTest, TheServerSideEndsTheConnectionFirst) {
  auto ask = request("/exec/ns/pod/uid-1/c?command=true&output=1");
  ask.headers = base::websocket::client_headers({"v4.channel.k8s.io"});
  auto stream = upgrade(std::move(ask)).stream;  // a client that looks at no frame, and answers none
  bool ended = false;
  stream->on_data([](std::string_view) {}, [&](Status) { ended = true; });
  auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(run_until(loop_, [&] { return ended; }));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
}

// Answers the first bytes of each connection in upper case and closes it, or resets it.
class Responder {
 public:
  explicit Responder(bool resets) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this, resets] {
      for (;;) {
        base::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd.valid()) return;
        char bytes[64];
        ssize_t n = ::read(fd.get(), bytes, sizeof bytes);
        if (resets) {
          linger hard{1, 0};
          ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
          continue;
        }
        std::string text(bytes, static_cast<size_t>(std::max<ssize_t>(n, 0)));
        for (char& c : text) c = static_cast<char>(std::toupper(c));
        base::ignore(base::sys::write_all(fd.get(), text), "the test sees what is missing");
      }
    });
  }
  ~Responder() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  int port;

 private:
  base::UniqueFd listener_;
  std::thread thread_;
};

TEST_F(StreamingTest, PortForwardByChannels) {
  Responder server(false), resets(true);
  const std::string number{static_cast<char>(server.port & 0xff), static_cast<char>(server.port >> 8)};
  auto open = [&](const std::string& query, const char* protocol) {
    auto ask = request("/portForward/ns/pod/uid" + query);
    ask.headers = base::websocket::client_headers({"v5.channel.k8s.io", protocol});
    return upgrade(std::move(ask));
  };
  std::string ports = "?port=" + std::to_string(server.port) + ",1";
  WebSocketClient client(open(ports, "v4.channel.k8s.io").stream);
  ASSERT_TRUE(run_until(loop_, [&] { return client.channel[3].size() > 2; }));
  EXPECT_EQ(client.channel[1], number);
  EXPECT_EQ(client.channel[2], std::string("\x01\x00", 2));
  EXPECT_NE(client.channel[3].find("error forwarding port 1 to pod pod"), std::string::npos);
  client.send(9, "no such channel");
  client.send(0, "hello");
  ASSERT_TRUE(run_until(loop_, [&] { return client.code != 0; }));  // both ports are done
  EXPECT_EQ(client.channel[0], number + "HELLO");
  EXPECT_EQ(client.channel[1], number);

  base::websocket::Connection text(open(ports, "v4.base64.channel.k8s.io").stream,
                                   base::websocket::Role::kClient);
  std::string seen;
  text.on_message(
      [&](bool binary, std::string_view data) {
        EXPECT_FALSE(binary);
        if (data[0] == '0') seen += data;
      },
      [](uint16_t, std::string_view) {});
  text.send("0aGVsbG8=", false);
  ASSERT_TRUE(run_until(loop_, [&] { return seen.ends_with("0SEVMTE8="); })) << seen;

  // A reset is the end of its port, and no failure.
  WebSocketClient reset(
      open("?ports=" + std::to_string(resets.port) + "&ports=" + std::to_string(server.port),
           "v4.channel.k8s.io")
          .stream);
  reset.send(0, "x");
  reset.send(2, "y");
  ASSERT_TRUE(run_until(loop_, [&] { return reset.code != 0; }));
  EXPECT_EQ(reset.channel[1].size(), 2u);
  EXPECT_EQ(reset.channel[2], number + "Y");
  EXPECT_TRUE(run_until(loop_, [&] { return streaming_->sessions() == 0; }));
  for (const char* query : {"", "?port=", "?port=x", "?port=0", "?port=70000", "?port=80,"})
    EXPECT_EQ(open(query, "v4.channel.k8s.io").response.status, 400) << query;
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

TEST_F(StreamingTest, AResetOfTheServerEndsThatPortForwardAlone) {
  Echo echo;
  Responder resets(true);
  auto ask = request("/portForward/ns/pod/uid");
  ask.method = "POST";
  ask.headers.add("Connection", "Upgrade");
  ask.headers.add("Upgrade", "SPDY/3.1");
  ask.headers.add("X-Stream-Protocol-Version", "portforward.k8s.io");
  base::spdy::Session session(upgrade(std::move(ask)).stream, base::spdy::Role::kClient, {}, {},
                              [](Status) {});
  Forward good(session, echo.port, 1), bad(session, resets.port, 2);
  bad.data->write("x");
  ASSERT_TRUE(run_until(loop_, [&] { return bad.data_ended && bad.error_ended; }));
  EXPECT_EQ(bad.failure, "");  // a word here makes kubectl end all of them
  good.data->write("still here");
  good.data->finish();
  ASSERT_TRUE(run_until(loop_, [&] { return good.data_ended; }));
  EXPECT_EQ(good.seen, "STILL HERE");
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
