// Calls against a server that is real, absent, gone, slow or hostile.
#include "base/grpc/channel.h"

#include <stdlib.h>

#include <optional>

#include "tests/unit/base/grpc_server.h"

namespace base::grpc {
namespace {

using namespace std::chrono_literals;

std::string framed(const std::string& message) {
  const auto size = static_cast<uint32_t>(message.size());
  return std::string{'\0', static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                     static_cast<char>(size >> 8), static_cast<char>(size)} +
         message;
}

class GrpcChannelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/sampan-grpc-XXXXXX";
    directory_ = ::mkdtemp(name);
    path_ = directory_ + "/s";
    Channel::Options options;
    options.host = "unix:" + path_;
    options.max_reply_bytes = 100'000;
    options.redial = 10ms;
    channel_ = std::make_unique<Channel>(loop_, options);
  }
  void TearDown() override {
    ::unlink(path_.c_str());
    ::rmdir(directory_.c_str());
  }
  void serve(const std::string& reply = "pong") {
    server_ = std::make_unique<GrpcServer>(loop_, path_);
    server_->answer = framed(reply);
  }
  void call(const std::string& message = "ping", Duration timeout = 5s, bool waits = false) {
    const size_t at = answers_.size();
    answers_.emplace_back();
    calls_.push_back(channel_->call(
        "/test.v1.Test/Ask", message, timeout,
        [this, at](Status status, std::string reply) {
          EXPECT_EQ(answers_[at], "") << "once";
          answers_[at] = status.ok() ? "reply " + reply : status.text();
        },
        waits));
    EXPECT_EQ(answers_[at], "") << "never before call() returns";
  }
  template <typename Until>
  void run(Until until) {
    for (int i = 0; i < 2000 && !until(); ++i) loop_.run_once(10ms);
    EXPECT_TRUE(until());
  }
  const std::string& answer() {
    run([&] { return !answers_.back().empty(); });
    return answers_.back();
  }

  Loop loop_;
  std::string directory_, path_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<Channel> channel_;
  std::vector<std::unique_ptr<Channel::Call>> calls_;
  std::vector<std::string> answers_;
};

}  // namespace

TEST_F(GrpcChannelTest, CallsShareAConnection) {
  serve();
  call();
  call();
  EXPECT_EQ(answer(), "reply pong");
  call("again");
  EXPECT_EQ(answer(), "reply pong");
  EXPECT_EQ(answers_, (std::vector<std::string>(3, "reply pong")));
  EXPECT_EQ(server_->connections, 1);
  EXPECT_EQ(server_->request[":path"], "/test.v1.Test/Ask");
  EXPECT_EQ(server_->request["te"], "trailers");
  EXPECT_EQ(server_->request["grpc-timeout"], "5000m");
  EXPECT_EQ(server_->body, framed("ping") + framed("ping") + framed("again"));
}
TEST_F(GrpcChannelTest, AnEmptyMessageIsOne) {
  serve("");
  call("");
  EXPECT_EQ(answer(), "reply ");
}
TEST_F(GrpcChannelTest, WhatTheServerSaysWentWrong) {
  serve();
  server_->grpc_status = "5";
  server_->grpc_message = "no%20such volume";
  call();
  EXPECT_EQ(answer(), "rpc error: code = NotFound desc = no such volume");
  server_->grpc_status = "77";
  call();
  EXPECT_EQ(answer(), "rpc error: code = Code(77) desc = no such volume");
  server_->http_status = "403";
  call();
  EXPECT_EQ(answer(),
            "rpc error: code = PermissionDenied desc = unexpected HTTP status code received from server: 403 "
            "(Forbidden)");
}
TEST_F(GrpcChannelTest, NobodyThere) {
  call();
  EXPECT_EQ(answer(),
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: "
            "dial unix " +
                path_ + ": connect: No such file or directory\"");
  call("ping", 5s, true);
  for (int i = 0; i < 5; ++i) loop_.run_once(10ms);
  EXPECT_EQ(answers_.back(), "");
  serve();
  EXPECT_EQ(answer(), "reply pong") << "it came";
}
TEST_F(GrpcChannelTest, DeadlinesHoldWhateverTheServerDoes) {
  serve();
  server_->mute = true;
  call("ping", 50ms);
  EXPECT_EQ(answer(), "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
  run([&] { return !server_->resets.empty(); });
  EXPECT_EQ(server_->resets, std::vector<uint32_t>{NGHTTP2_CANCEL}) << "the server is told";
  server_->mute = false;
  call();
  EXPECT_EQ(answer(), "reply pong");
  EXPECT_EQ(server_->connections, 1);
  channel_.reset();
  calls_.clear();
}
TEST_F(GrpcChannelTest, AServerThatNeverSpeaks) {
  serve();
  server_->silent = true;
  call("ping", 50ms);
  EXPECT_EQ(answer(), "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
  EXPECT_FALSE(channel_->is_ready());
}
TEST_F(GrpcChannelTest, CanceledCallsAreNotAnswered) {
  serve();
  server_->mute = true;
  call();
  call("other");
  run([&] { return server_->body.size() == 5 + 4 + 5 + 5; });
  calls_[0].reset();
  run([&] { return !server_->resets.empty(); });
  server_->hang_up();
  EXPECT_EQ(answer(), "rpc error: code = Unavailable desc = error reading from server: EOF");
  EXPECT_EQ(answers_[0], "");
}
TEST_F(GrpcChannelTest, ALostConnectionIsMadeAgain) {
  serve();
  server_->mute = true;
  call();
  run([&] { return !server_->body.empty(); });
  server_->hang_up();
  EXPECT_EQ(answer(), "rpc error: code = Unavailable desc = error reading from server: EOF")
      << "it may have been done: who asked finds out";
  server_->mute = false;
  call();
  EXPECT_EQ(answer(), "reply pong");
  EXPECT_EQ(server_->connections, 2);
}
TEST_F(GrpcChannelTest, HostileServersAreBounded) {
  serve(std::string(100'000, 'x'));
  call();
  EXPECT_EQ(answer().size(), 6 + 100'000u);
  server_->answer = framed(std::string(100'001, 'x'));
  call();
  EXPECT_EQ(answer(),
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (more than "
            "100000)");
  server_->answer = "x";
  call();
  EXPECT_EQ(answer(), "rpc error: code = Internal desc = unexpected EOF");
  for (std::string broken :
       {framed("pong") + "more", framed("pong").substr(0, 8), "\1" + framed("pong").substr(1)}) {
    server_->answer = broken;
    call();
    EXPECT_EQ(answer(), "rpc error: code = Internal desc = grpc: failed to unmarshal the received message");
  }
  server_->answer = framed("pong");
  server_->grpc_status = "13";
  server_->grpc_message = std::string(40'000, 'm');
  call();
  EXPECT_TRUE(answer().starts_with("rpc error: code = ")) << answer().substr(0, 100);
  EXPECT_LT(answer().size(), 200u);
}
TEST_F(GrpcChannelTest, GoneInsideItsOwnAnswer) {
  serve();
  bool told = false;
  calls_.push_back(channel_->call("/test.v1.Test/Ask", "", 5s, [&](Status status, std::string) {
    EXPECT_TRUE(status.ok());
    channel_.reset();
    calls_.clear();
    told = true;
  }));
  call("never answered");
  run([&] { return told; });
  for (int i = 0; i < 5; ++i) loop_.run_once(1ms);
  EXPECT_EQ(answers_.back(), "");
}

}  // namespace base::grpc
