// Name, connection and time limit of a check; what is said over it is in http_check.cc and grpc_check.cc.
#include "kubelet/pod/net_check.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cctype>
#include <cstring>

#include "base/fd.h"
#include "base/http/transport.h"
#include "base/sys.h"
#include "kubelet/pod/probe_url.h"

namespace kubelet {

namespace {

// Connects and is done.
class TcpAttempt final : public NetAttempt {
 public:
  TcpAttempt(base::Loop& loop, const NetTarget& target, const std::string& address, NetDone done)
      : where_(host_port(target.host, target.port)), done_(std::move(done)) {
    auto socket = base::http::parse_address(address, target.port);
    if (!socket.ok()) {
      later(loop, socket.error().message());
      return;
    }
    fd_.reset(::socket(socket->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd_.valid()) {
      later(loop, base::sys::last_error("socket", where_).message());
      return;
    }
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&socket->storage), socket->size) != 0 &&
        errno != EINPROGRESS) {
      later(loop, dial_error(where_, errno));
      return;
    }
    watch_ = loop.watch(fd_.get(), EPOLLOUT, [this](uint32_t) { ready(); });
  }
  Outcome overdue() const override {
    return {.success = false, .message = "dial tcp " + where_ + ": i/o timeout"};
  }

 private:
  void ready() {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    watch_.cancel();
    done_(error == 0 ? Outcome{.success = true, .message = ""}
                     : Outcome{.success = false, .message = dial_error(where_, error)});
  }
  void later(base::Loop& loop, std::string message) {
    failing_ = loop.after(
        {}, [this, message = std::move(message)] { done_({.success = false, .message = message}); });
  }

  std::string where_;
  NetDone done_;
  base::UniqueFd fd_;
  base::Loop::Handle watch_, failing_;
};

class Check final : public NetCheck {
 public:
  Check(base::Loop& loop, base::Resolver& resolver, NetTarget target, base::Duration timeout, NetDone done)
      : loop_(loop), target_(std::move(target)), timeout_(timeout), done_(std::move(done)) {
    if (timeout > base::Duration::zero())
      timer_ = loop_.after(timeout, [this] {
        finish(attempt_ ? attempt_->overdue() : failure("lookup " + target_.host + ": i/o timeout"));
      });
    std::string wrong = target_.error;
    if (wrong.empty())  // a host that may stand in no URL is not looked up either
      if (auto url = probe_url(false, target_.host, target_.port, "/"); !url.ok()) wrong = url.error().reason;
    if (!wrong.empty()) {
      later({.success = false, .message = wrong, .errored = "unknown"});
      return;
    }
    starting_ = true;
    resolver.resolve(target_.host, [weak = std::weak_ptr(alive_), this](base::Result<std::string> address) {
      if (!weak.lock()) return;
      resolved(std::move(address));
    });
    starting_ = false;
  }

 private:
  static Outcome failure(std::string message) { return {.success = false, .message = std::move(message)}; }
  void resolved(base::Result<std::string> address) {
    if (starting_) {  // never before the caller has its handle
      soon_ =
          loop_.after({}, [this, address = std::make_shared<base::Result<std::string>>(std::move(address))] {
            resolved(std::move(*address));
          });
      return;
    }
    if (!address.ok())
      return finish(failure("dial tcp: lookup " + target_.host + ": " + address.error().reason));
    auto done = [this](Outcome outcome) { finish(std::move(outcome)); };
    if (target_.kind == NetTarget::Kind::kTcp)
      attempt_ = std::make_unique<TcpAttempt>(loop_, target_, *address, done);
    else if (target_.kind == NetTarget::Kind::kGrpc)
      attempt_ = ask_grpc(loop_, target_, *address, timeout_, done);
    else attempt_ = ask_http(loop_, target_, *address, done);
  }
  void later(Outcome outcome) {
    soon_ = loop_.after({}, [this, outcome = std::move(outcome)] { finish(outcome); });
  }
  void finish(Outcome outcome) {
    timer_.cancel();
    auto done = std::move(done_);
    done_ = nullptr;
    // The attempt may be what calls: it dies when the stack is unwound.
    if (attempt_) loop_.post([dead = std::shared_ptr<NetAttempt>(std::move(attempt_))] {});
    if (done) done(std::move(outcome));  // may destroy us
  }

  base::Loop& loop_;
  NetTarget target_;
  base::Duration timeout_;
  NetDone done_;
  bool starting_ = false;
  base::Loop::Handle timer_, soon_;
  std::unique_ptr<NetAttempt> attempt_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace

std::string host_port(const std::string& host, int port) {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

std::string dial_error(const std::string& where, int error) {
  std::string text = std::strerror(error);
  text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return "dial tcp " + where + ": connect: " + text;
}

std::unique_ptr<NetCheck> check_net(base::Loop& loop, base::Resolver& resolver, NetTarget target,
                                    base::Duration timeout, NetDone done) {
  return std::make_unique<Check>(loop, resolver, std::move(target), timeout, std::move(done));
}

}  // namespace kubelet
