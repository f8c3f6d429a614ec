// What a Server and its connections know of each other; internal to base/http*.cc. A connection is
// kept by its server until close(), and by whoever is inside one of its calls.
#pragma once

#include <list>
#include <map>
#include <unordered_set>

#include "base/acceptor.h"
#include "base/http/limits.h"
#include "base/http/server.h"
#include "base/http/transport.h"

namespace base::http {

constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr auto kIdleTimeout = std::chrono::seconds(120);  // without a request, or without taking what is sent

class ServerConnection : public std::enable_shared_from_this<ServerConnection> {
 public:
  virtual ~ServerConnection() = default;
  virtual void open() = 0;   // once, after the server knows it
  virtual void close() = 0;  // at once
  virtual void flush() = 0;
  // True: close it, because since `before` it had no request, or its peer took nothing.
  virtual bool stale(Loop::Steady before) = 0;
  // Takes no further request and closes when those under way are answered.
  virtual void shut_down() = 0;
  virtual bool busy_for_shutdown() const = 0;  // an answer that is no endless stream is still to come
  bool flush_queued = false;
};

// What an exchange is whatever carries it: a request, its one answer, and who hears of the end.
class CarriedExchange : public Exchange {
 public:
  // `charge`: what the request holds, given back with it.
  CarriedExchange(Request request, Charge charge)
      : request_(std::move(request)), charge_(std::move(charge)) {}
  const Request& request() const final { return request_; }
  bool closed() const final { return closed_; }
  void on_close(std::function<void()> closed) final { on_close_ = std::move(closed); }
  void on_drain(std::function<void()> drained) final {
    on_drain_ = std::make_shared<std::function<void()>>(std::move(drained));
  }
  void drained() {
    if (auto callback = on_drain_) (*callback)();
  }
  void charge_known() { charge_.known(); }
  void set_body(std::string body, Charge charge) {
    mutable_request().body = std::move(body);
    charge_.take(std::move(charge));
  }

 protected:
  void answer() {
    SAMPAN_CHECK(!answered_);
    answered_ = true;
  }
  // The answer is complete, or nobody is there to get it (closed). May destroy this.
  void ended(bool closed) {
    closed_ = closed;
    auto callback = std::move(on_close_);
    on_close_ = nullptr;
    on_drain_.reset();
    if (closed && callback) callback();
  }

 private:
  Request request_;
  Charge charge_;
  bool answered_ = false, closed_ = false;
  std::function<void()> on_close_;
  std::shared_ptr<std::function<void()>> on_drain_;
};

// A socket with what is known of its peer.
struct Accepted {
  std::weak_ptr<Server::Impl> server;
  std::unique_ptr<Transport> transport;
  Peer peer;
  std::shared_ptr<void> count;  // of Server::connections()
  Standing standing;            // among strangers, until known
  size_t max_body_bytes = 0;
  Duration head_timeout = std::chrono::seconds(10), body_timeout = std::chrono::seconds(60);
};
std::shared_ptr<ServerConnection> make_http1_connection(Accepted accepted);
std::shared_ptr<ServerConnection> make_http2_connection(Accepted accepted);

const std::string& date_line();  // "Date: …\r\n", formatted once a second

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(Loop& loop, std::shared_ptr<tls::Context> context, Options options, Handler handler)
      : loop(loop), context(std::move(context)), options(options), handler(std::move(handler)),
        limits(std::make_shared<Limits>(loop, this->options)) {}
  Status add_listener(UniqueFd fd);
  void accept(UniqueFd fd, const sockaddr_storage& address);
  void add(std::shared_ptr<ServerConnection> connection);
  void gone(const std::shared_ptr<ServerConnection>& connection);
  void dirty(const std::shared_ptr<ServerConnection>& connection);  // flush() at the end of this round
  void sweep();
  void end_if_quiet();

  struct Listener {
    UniqueFd fd;
    std::unique_ptr<Acceptor> acceptor;
  };
  Loop& loop;
  std::shared_ptr<tls::Context> context;
  Options options;
  Handler handler;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::unordered_set<std::shared_ptr<ServerConnection>> connections;
  std::vector<std::weak_ptr<ServerConnection>> to_flush;
  size_t open = 0;  // connections and upgraded streams
  std::shared_ptr<Limits> limits;
  Loop::Handle sweeper, stop_limit;
  std::function<void()> stopping;
};

}  // namespace base::http
