// A streaming server on a loop, and a Pod whose processes are plain children of the test.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <csignal>

#include "base/http/client.h"
#include "base/http/transport.h"
#include "base/process.h"
#include "base/sys.h"
#include "kubelet/streaming/streaming.h"
#include "tests/unit/base/http_fixture.h"

namespace kubelet {
using base::Result;
using base::Status;
using base::http::run_until;
using namespace std::chrono_literals;

// Runs exec'd commands as children of this process.
class FakePod final : public runtime::Pod {
 public:
  explicit FakePod(base::Loop& loop) : loop_(loop) {}
  const std::string& id() const override { return id_; }
  void sandbox(std::function<void(Result<Sandbox>)>) override {}
  void start(runtime::ContainerSpec, std::function<void(Result<runtime::ContainerState>)>) override {}
  void signal(const std::string&, int, Done) override {}
  void remove(const std::string&, Done) override {}
  void list(std::function<void(Result<std::vector<runtime::ContainerState>>)>) override {}
  void stats(const std::string&, std::function<void(Result<runtime::Stats>)>) override {}
  void shutdown(Done) override {}

  void exec(Exec exec, std::function<void(Result<ExecStarted>)> started,
            std::function<void(int)> exited) override {
    base::Command command;
    for (const auto& arg : exec.process.at("args").as_array())
      command.argv.push_back(std::string(arg.as_string()));
    ExecStarted result;
    result.exec_id = std::to_string(++count_);
    base::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    command.stdin_fd = exec.stdin_fd >= 0 ? exec.stdin_fd : null.get();
    command.stdout_fd = exec.stdout_fd >= 0 ? exec.stdout_fd : null.get();
    command.stderr_fd = exec.stderr_fd >= 0 ? exec.stderr_fd : null.get();
    if (exec.terminal) {
      result.terminal = base::UniqueFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
      ::grantpt(result.terminal.get());
      ::unlockpt(result.terminal.get());
      std::string name = ::ptsname(result.terminal.get());
      // A session leader that opens a terminal gets it as its controlling one.
      std::vector<std::string> wrapped = {"/bin/sh", "-c", "exec <>" + name + " >&0 2>&0; exec \"$@\"", "sh"};
      wrapped.insert(wrapped.end(), command.argv.begin(), command.argv.end());
      command.argv = wrapped;
      command.new_session = true;
    }
    auto child = base::spawn(command);
    if (!child.ok()) return started(std::move(child).error());
    auto running = std::make_shared<Running>();
    running->child = std::move(*child);
    running->watch = loop_.watch(running->child.pidfd.get(), EPOLLIN, [this, running, exited](uint32_t) {
      running->watch.cancel();
      auto status = base::wait_child(running->child).value();
      last_exit = status.signal ? 128 + status.signal : status.code;
      exited(last_exit);
    });
    running_[result.exec_id] = running;
    started(std::move(result));
  }
  void signal_exec(const std::string& id, int signal, Done done) override {
    done(base::sys::pidfd_send_signal(running_.at(id)->child.pidfd.get(), signal));
  }
  void attach(const std::string&, SlowReader, std::function<void(Result<Attached>)> done) override {
    done(std::move(attached));
  }
  void connect(uint16_t port, std::function<void(Result<base::UniqueFd>)> done) override {
    auto address = base::http::parse_address("127.0.0.1", port).value();
    base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address.storage), address.size) != 0)
      return done(base::sys::last_error("connect"));
    done(std::move(fd));
  }
  Attached attached;
  int last_exit = -1;

 private:
  struct Running {
    base::Child child;
    base::Loop::Handle watch;
  };
  base::Loop& loop_;
  std::string id_ = "pod";
  int count_ = 0;
  std::map<std::string, std::shared_ptr<Running>> running_;
};

class StreamingFixture : public testing::Test, public StreamBackend {
 protected:
  StreamingFixture() {
    directory_ = testing::TempDir() + "streaming-" + std::to_string(::getpid());
    EXPECT_TRUE(base::sys::mkdir_all(directory_).ok());
    server_.emplace(loop_, nullptr, base::http::Server::Options{},
                    [this](std::shared_ptr<base::http::Exchange> exchange) {
                      if (pass_ && pass_(exchange)) return;
                      if (!streaming_->handle(exchange)) exchange->respond(404, {}, "no path");
                    });
    EXPECT_TRUE(server_->listen("127.0.0.1:0").ok());
    streaming_.emplace(loop_, *this);
    client_.emplace(
        loop_, nullptr,
        base::http::Client::Options{.host = "127.0.0.1", .port = server_->ports()[0], .server_name = {}});
  }
  ~StreamingFixture() override { base::ignore(base::sys::remove_all(directory_), "a test's own"); }

  Result<StreamTarget> stream_target(const std::string& name_space, const std::string& pod,
                                     const std::string&, const std::string& container) override {
    if (name_space != "ns" || pod != "pod" || (!container.empty() && container != "c"))
      return base::make_error(base::Kind::kNotFound, "find container", pod, "not here");
    StreamTarget target;
    target.pod = pod_;
    target.container = "c";
    target.stdin = stdin_;
    target.stdin_once = stdin_once_;
    target.tty = tty_;
    return target;
  }
  Result<LogTarget> log_target(const std::string&, const std::string&, const std::string&,
                               bool previous) override {
    return LogTarget{directory_ + (previous ? "/0.log" : "/1.log"), [this] { return ended_; }};
  }

  base::http::Request request(const std::string& target) {
    base::http::Request made;
    made.target = target;
    return made;
  }
  base::http::Client::Upgraded upgrade(base::http::Request request) {
    std::optional<Result<base::http::Client::Upgraded>> result;
    auto call = client_->upgrade(std::move(request), [&](auto r) { result = std::move(r); });
    EXPECT_TRUE(run_until(loop_, [&] { return result.has_value(); }));
    EXPECT_TRUE(result->ok()) << result->error().message();
    return std::move(**result);
  }

  base::Loop loop_;
  std::shared_ptr<FakePod> pod_ = std::make_shared<FakePod>(loop_);
  std::optional<base::http::Server> server_;
  std::optional<Streaming> streaming_;
  std::optional<base::http::Client> client_;
  std::string directory_;
  bool ended_ = false, stdin_ = true, stdin_once_ = false, tty_ = false;
  std::function<bool(const std::shared_ptr<base::http::Exchange>&)> pass_;  // true: it answered
};

class Echo {  // answers each connection's bytes in upper case after the client's end
 public:
  Echo() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (;;) {
        base::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd.valid()) return;
        auto text = base::sys::read_all(fd.get()).value_or("");
        for (char& c : text) c = static_cast<char>(std::toupper(c));
        base::ignore(base::sys::write_all(fd.get(), text), "the test sees what is missing");
      }
    });
  }
  ~Echo() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  int port;

 private:
  base::UniqueFd listener_;
  std::thread thread_;
};

}  // namespace kubelet
