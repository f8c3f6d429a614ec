// What lies between clients and the master of a simulation: every message takes its time (so that streams
// overtake each other, and caches go stale as they do in life), some are lost, watches break, nodes are cut
// off, and a master that crashed answers nobody. The messages of one stream keep their order. All is drawn
// from one seed.
#pragma once

#include <cerrno>
#include <deque>
#include <map>
#include <random>
#include <set>

#include "api/client/client.h"
#include "base/json.h"

namespace simulated {

namespace json = base::json;
using namespace std::chrono_literals;

class Network {
 public:
  // With seed 0 messages take no time and arrive as they were sent.
  Network(base::Loop& loop, uint64_t seed) : loop_(loop), random_(seed), drawn_(seed != 0) {}

  base::Duration latency = 2ms;  // at most, each way
  double slow_watches = 0;       // of watch events, that take `slowness` at most
  base::Duration slowness = 3s;
  double fail_before = 0, fail_after = 0;  // of writes, or of their answers, that are lost
  double broken_watches = 0;               // of watch events, after which their stream breaks
  std::vector<std::string> writes;  // of the master's own clients, "POST /api/v1/…"; no Events, no Leases
  std::map<std::string, int64_t> asked;  // requests by method, of everybody

  // The door of the master's API for a client somewhere; `where` is a node's name, or "" for within the
  // master. `door` is asked at each request; it gives null while no master runs.
  using Door = std::function<std::shared_ptr<api::Transport>()>;
  std::shared_ptr<api::Transport> link(Door door, std::string where = {}) {
    return std::make_shared<Link>(*this, std::move(door), std::move(where));
  }

  void cut(const std::string& where) { cut_.insert(where); }
  void mend(const std::string& where) { cut_.erase(where); }
  bool is_cut(const std::string& where) const { return cut_.contains(where); }
  // The master is gone: what nodes have open there breaks. Before it is destroyed.
  void master_crashes() {
    auto opens = std::exchange(opens_, {});
    for (auto& weak : opens)
      if (auto open = weak.lock(); open && !open->where.empty()) {
        open->inner.reset();
        if (open->closed || std::exchange(open->broken, true)) continue;
        open->say_end(refused());
      }
  }
  // Nothing is on its way but heartbeats, nor was for so long.
  bool quiet(base::Duration since) const {
    return under_way_ == 0 && base::steady_now() - last_activity_ >= since;
  }
  bool chance(double p) { return p > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < p; }

  static base::Error lost() {
    return base::make_error(base::Kind::kTimeout, "simulated request", "", "lost");
  }
  static base::Error refused() {
    base::Error error = base::make_error(base::Kind::kUnavailable, "connect", "master", "nobody listens");
    error.errno_value = ECONNREFUSED;
    return error;
  }

 private:
  // An event of a watch, whose parsed form all who get it share.
  struct SharedLine {
    explicit SharedLine(std::string_view t) : text(t), line(text) {}
    const std::string text;
    const api::WatchLine line;
  };
  std::shared_ptr<SharedLine> share(std::string_view text) {
    if (!last_line_ || last_line_->text != text) last_line_ = std::make_shared<SharedLine>(text);
    return last_line_;
  }

  // A call or a watch, with what is on its way.
  struct Open : std::enable_shared_from_this<Open> {
    Network& network;
    std::string where;
    bool is_watch = false, heartbeat = false, closed = false, broken = false, counted = false;
    api::Transport::Done done;
    std::function<void(const api::WatchLine&)> on_line;
    std::function<void(base::Status)> on_end;
    std::function<void()> on_open;
    std::unique_ptr<api::Transport::Call> inner;
    struct Message {
      base::Steady due;
      std::function<void()> deliver;
    };
    std::deque<Message> messages;  // back to the client
    base::Loop::Handle request_timer, timer;

    explicit Open(Network& n) : network(n) {}
    ~Open() { count(false); }
    void count(bool on) {
      if (heartbeat || counted == on) return;
      counted = on;
      network.under_way_ += on ? 1 : -1;
      network.last_activity_ = base::steady_now();
    }
    void send(base::Duration delay, std::function<void()> deliver) {
      if (closed) return;
      base::Steady due = base::steady_now() + delay;
      if (!messages.empty()) due = std::max(due, messages.back().due);
      messages.push_back({due, std::move(deliver)});
      if (is_watch) count(true);
      if (messages.size() == 1) arm();
    }
    void arm() {
      timer = network.loop_.after(messages.front().due - base::steady_now(), [weak = weak_from_this()] {
        if (auto self = weak.lock(); self && !self->closed) self->pump();
      });
    }
    void pump() {
      auto deliver = std::move(messages.front().deliver);
      messages.pop_front();
      if (is_watch && messages.empty()) count(false);
      if (!messages.empty()) arm();
      if (!heartbeat) network.last_activity_ = base::steady_now();
      deliver();
    }
    void say_end(base::Error error) {
      send(network.delay(), [this, error] { end(error); });
    }
    void end(base::Status status) {
      close();
      if (is_watch) return std::exchange(on_end, nullptr)(std::move(status));
      std::exchange(done, nullptr)(std::move(status).error());
    }
    void answer(base::Result<base::http::Response> response) {
      close();
      std::exchange(done, nullptr)(std::move(response));
    }
    void close() {
      if (std::exchange(closed, true)) return;
      count(false);
      messages.clear();
      request_timer.cancel();
      timer.cancel();
    }
  };
  struct Handle final : api::Transport::Call {
    explicit Handle(std::shared_ptr<Open> o) : open(std::move(o)) {}
    ~Handle() override {
      open->close();
      open->inner.reset();
    }
    std::shared_ptr<Open> open;
  };

  class Link final : public api::Transport {
   public:
    Link(Network& network, Door door, std::string where)
        : network_(network), door_(std::move(door)), where_(std::move(where)) {}

    std::unique_ptr<Call> call(base::http::Request request, Done done) override {
      auto open = network_.open(where_, request, false);
      open->done = std::move(done);
      const bool write = request.method != "GET";
      network_.note(where_, request);
      const bool lost_before = write && network_.chance(network_.fail_before),
                 lost_after = write && network_.chance(network_.fail_after);
      if (lost_before) {
        open->send(network_.delay(), [open = open.get()] { open->end(lost()); });
        return std::make_unique<Handle>(open);
      }
      go(open, [this, lost_after, request = std::move(request)](const std::shared_ptr<Open>& open,
                                                                api::Transport& server) {
        open->inner = server.call(request, [this, lost_after, weak = std::weak_ptr(open)](
                                               base::Result<base::http::Response> response) {
          auto open = weak.lock();
          if (!open || open->closed || open->broken) return;
          if (network_.is_cut(where_)) return network_.time_out(*open);
          open->send(network_.delay(), [lost_after, open = open.get(), response = std::move(response)] {
            if (lost_after) open->end(lost());
            else open->answer(response);
          });
        });
      });
      return std::make_unique<Handle>(open);
    }

    std::unique_ptr<Call> watch(base::http::Request request,
                                std::function<void(const api::WatchLine&)> on_line,
                                std::function<void(base::Status)> on_end,
                                std::function<void()> on_open) override {
      auto open = network_.open(where_, request, true);
      open->on_line = std::move(on_line);
      open->on_end = std::move(on_end);
      open->on_open = std::move(on_open);
      go(open,
         [this, request = std::move(request)](const std::shared_ptr<Open>& open, api::Transport& server) {
           auto still = [this, weak = std::weak_ptr(open)]() -> std::shared_ptr<Open> {
             auto open = weak.lock();
             if (!open || open->closed || open->broken) return nullptr;
             if (!network_.is_cut(where_)) return open;
             network_.time_out(*open);
             return nullptr;
           };
           open->inner = server.watch(
               request,
               [this, still](const api::WatchLine& line) {
                 auto open = still();
                 if (!open) return;
                 base::Duration delay = network_.delay();
                 if (network_.chance(network_.slow_watches)) delay += network_.upto(network_.slowness);
                 open->send(delay, [open = open.get(), shared = network_.share(line)] {
                   open->on_line(shared->line);
                 });
                 if (!network_.chance(network_.broken_watches)) return;
                 open->broken = true;
                 open->say_end(lost());
               },
               [this, still](base::Status status) {
                 if (auto open = still())
                   open->send(network_.delay(), [open = open.get(), status] { open->end(status); });
               },
               [this, still] {
                 if (auto open = still(); open && open->on_open)
                   open->send(network_.delay(), [open = open.get()] { open->on_open(); });
               });
         });
      return std::make_unique<Handle>(open);
    }

   private:
    // The request on its way to the master.
    void go(const std::shared_ptr<Open>& open,
            std::function<void(const std::shared_ptr<Open>&, api::Transport&)> arrive) {
      open->request_timer =
          network_.loop_.after(network_.delay(), [this, weak = std::weak_ptr(open), arrive] {
            auto open = weak.lock();
            if (!open || open->closed || open->broken) return;
            if (network_.is_cut(where_)) return network_.time_out(*open);
            auto server = door_();
            if (!server) return open->say_end(refused());
            arrive(open, *server);
          });
    }
    Network& network_;
    const Door door_;
    const std::string where_;
  };

  std::shared_ptr<Open> open(const std::string& where, const base::http::Request& request, bool is_watch) {
    auto open = std::make_shared<Open>(*this);
    open->where = where;
    open->is_watch = is_watch;
    open->heartbeat = request.target.find("/leases") != std::string::npos ||
                      request.target.find("/events") != std::string::npos;
    if (!is_watch) open->count(true);
    if (opens_.size() > 64 && opens_.size() > 2 * kept_) {
      std::erase_if(opens_, [](const auto& weak) { return weak.expired(); });
      kept_ = opens_.size();
    }
    opens_.push_back(open);
    return open;
  }
  void note(const std::string& where, const base::http::Request& request) {
    ++asked[request.method];
    if (!where.empty() || request.method == "GET" || request.target.find("/events") != std::string::npos ||
        request.target.find("/leases") != std::string::npos)
      return;
    writes.push_back(request.method + " " + request.target);
  }
  // Nobody answers who is cut off: the client gives up in the end.
  void time_out(Open& open) {
    open.broken = true;
    open.send(10s, [open = &open] { open->end(lost()); });
  }
  base::Duration upto(base::Duration most) {
    return base::Duration(static_cast<int64_t>(random_() % static_cast<uint64_t>(most.count() + 1)));
  }
  base::Duration delay() { return drawn_ ? upto(latency) : base::Duration::zero(); }

  base::Loop& loop_;
  std::mt19937_64 random_;
  const bool drawn_;
  std::set<std::string> cut_;
  std::vector<std::weak_ptr<Open>> opens_;
  size_t kept_ = 0;
  std::shared_ptr<SharedLine> last_line_;
  int64_t under_way_ = 0;
  base::Steady last_activity_{};
};

}  // namespace simulated
