// A server on a loop of its own thread, and blocking sockets to talk to it byte for byte.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <future>
#include <thread>

#include "base/http/server.h"

namespace base::http {

class ServerThread {
 public:
  // The handler gets whole requests, or `heads` alone and asks for the bodies itself.
  ServerThread(Server::Handler handler, Server::Options options = {},
               std::shared_ptr<tls::Context> context = nullptr, const std::string& address = "127.0.0.1:0",
               bool heads = false) {
    std::promise<int> port;
    thread_ = std::thread([&, handler = heads ? std::move(handler) : with_bodies(std::move(handler))] {
      server_ = std::make_unique<Server>(loop_, context, options, handler);
      auto status = server_->listen(address);
      EXPECT_TRUE(status.ok()) << status.error().message();
      port.set_value(server_->ports().at(0));
      loop_.run();
      server_.reset();
      loop_.run_once(Duration::zero());
    });
    port_ = port.get_future().get();
  }
  ~ServerThread() {
    loop_.stop();
    thread_.join();
  }
  int port() const { return port_; }
  // Runs on the server's thread and returns what `call` returned.
  template <typename F>
  auto on_loop(F call) {
    std::promise<decltype(call())> result;
    loop_.post([&] { result.set_value(call()); });
    return result.get_future().get();
  }
  Loop& loop() { return loop_; }
  Server& server() { return *server_; }

 private:
  Loop loop_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
  int port_ = 0;
};

class Socket {
 public:
  explicit Socket(int port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer)
      ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  bool send(std::string_view data) {
    while (!data.empty()) {
      ssize_t n = ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      data.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // Until `text` was seen (returned with all before it), the end, or ten seconds.
  std::string read_until(std::string_view text) {
    for (size_t seen = 0;;) {
      size_t at = buffer_.find(text, seen);
      if (at != std::string::npos) {
        std::string result = buffer_.substr(0, at + text.size());
        buffer_.erase(0, at + text.size());
        return result;
      }
      seen = buffer_.size() - std::min(buffer_.size(), text.size());  // it may have begun
      if (!fill()) return std::exchange(buffer_, {});
    }
  }
  std::string read_to_end() {
    while (fill()) {
    }
    return std::exchange(buffer_, {});
  }
  // One answer with Content-Length: head and body.
  std::string read_answer(std::string* head = nullptr) {
    std::string first = read_until("\r\n\r\n");
    if (head) *head = first;
    size_t at = first.find("Content-Length: ");
    if (at == std::string::npos) return {};
    size_t size = std::stoul(first.substr(at + 16));
    while (buffer_.size() < size && fill()) {
    }
    std::string body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return body;
  }
  bool at_end() { return buffer_.empty() && !fill() && ended_; }
  void shut_write() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  int fd() const { return fd_.get(); }

 private:
  bool fill() {
    pollfd poll{fd_.get(), POLLIN, 0};
    if (::poll(&poll, 1, 10'000) <= 0) return false;
    char data[65536];
    ssize_t n = ::recv(fd_.get(), data, sizeof data, 0);
    if (n <= 0) {
      ended_ = true;
      reset_ = n < 0;
      return false;
    }
    buffer_.append(data, static_cast<size_t>(n));
    return true;
  }
  UniqueFd fd_;
  std::string buffer_;
  bool ended_ = false, reset_ = false;

 public:
  bool was_reset() const { return reset_; }
};

// Runs `loop` until `done`, for at most ten seconds.
inline bool run_until(Loop& loop, const std::function<bool()>& done) {
  auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!done()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    loop.run_once(std::chrono::milliseconds(100));
  }
  return true;
}

}  // namespace base::http
