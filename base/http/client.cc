// Calls, streams and upgrades to one endpoint, over kept-alive connections. One request at a time
// on a connection; as many connections as there are requests under way.
#include "base/http/client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <list>
#include <unordered_set>

#include "base/http/parser.h"
#include "base/http/transport.h"
#include "base/sys.h"

namespace base::http {
namespace {
using namespace std::chrono_literals;
using Io = Transport::Io;
constexpr size_t kMaxIdleConnections = 16;
constexpr auto kKeptTimeout = 60s;  // shorter than a server's, so that we close first
constexpr size_t kMaxRefusalBytes = 1u << 20;
constexpr size_t kMaxUnparsedBytes = 512 << 10;  // of a head or a chunk's first line
class Exchanger;
}  // namespace

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  Impl(Loop& loop, std::shared_ptr<tls::Context> context, Options options)
      : loop(loop), context(std::move(context)), options(std::move(options)) {}
  struct Idle {
    std::unique_ptr<Transport> transport;
    Loop::Steady since;
  };
  std::unique_ptr<Transport> take_idle();
  void give_back(std::unique_ptr<Transport> transport);
  void sweep();

  Loop& loop;
  std::shared_ptr<tls::Context> context;
  Options options;
  bool closed = false;
  std::list<Idle> idle;  // the last used first
  std::unordered_set<Exchanger*> active;
  Loop::Handle sweeper;
};

namespace {
bool idempotent(const std::string& method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS";
}

// One request from its connection to the end of the answer.
class Exchanger : public std::enable_shared_from_this<Exchanger> {
 public:
  Exchanger(std::shared_ptr<Client::Impl> client, Request request)
      : client_(std::move(client)), loop_(client_->loop), request_(std::move(request)) {}
  std::function<void(Response&)> on_head;  // streams
  std::function<void(std::string_view)> on_data;
  std::function<void(Result<Response>)> on_done;              // the end, in every case
  std::function<void(Result<Client::Upgraded>)> on_upgraded;  // instead of on_done

  void begin(Duration timeout) {
    client_->active.insert(this);
    if (timeout > Duration::zero())
      timeout_ = loop_.after(timeout, [this] {
        fail(make_error(Kind::kTimeout, request_.method, where(), "no answer in time"));
      });
    // Not before the caller has its handle.
    loop_.post([weak = weak_from_this()] {
      if (auto self = weak.lock(); self && !self->over_) self->connect();
    });
  }
  void cancel() {
    if (over_) return;
    over_ = true;
    release();
  }
  void pause(bool paused) {
    if (over_ || std::exchange(paused_, paused) == paused || !transport_ || !handshaken_) return;
    transport_->want_read(!paused);
    if (!paused) read_later();
  }

 private:
  std::string where() const {
    const auto& options = client_->options;
    return (options.port ? options.host + ":" + std::to_string(options.port) : options.host) +
           request_.target;
  }
  void release() {
    client_->active.erase(this);
    timeout_.cancel();
    connect_timeout_.cancel();
    retire(std::move(transport_));
  }
  void fail(Error error) {
    if (over_) return;
    auto keep = shared_from_this();
    over_ = true;
    release();
    if (on_upgraded) {
      auto callback = std::move(on_upgraded);
      callback(std::move(error));
    } else if (on_done) {
      auto callback = std::move(on_done);
      callback(std::move(error));
    }
  }
  void connect() {
    auto keep = shared_from_this();
    reused_ = false;
    if (!retried_) transport_ = client_->take_idle();
    if (transport_) {
      reused_ = handshaken_ = connected_ = true;
      watch();
      return send();
    }
    connected_ = handshaken_ = false;
    auto address = parse_address(client_->options.host, client_->options.port);
    if (!address.ok()) return fail(wrap(std::move(address).error(), "connect", where()));
    int family = address->storage.ss_family;
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return fail(sys::last_error("socket", where()));
    if (family != AF_UNIX) {
      int on = 1, idle = 60, interval = 15, probes = 4;
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    }
    int result = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address->storage), address->size);
    if (result != 0 && errno != EINPROGRESS) return fail(connect_error(errno));
    const auto& options = client_->options;
    transport_ =
        std::make_unique<Transport>(loop_, std::move(fd), client_->context.get(), false,
                                    options.server_name.empty() ? options.host : options.server_name);
    connect_timeout_ = loop_.after(options.connect_timeout, [this] {
      fail(make_error(Kind::kTimeout, "connect", where(), "no answer to the connection attempt"));
    });
    transport_->want_write_once();
    watch();
  }
  Error connect_error(int error) {
    Error made = sys::error_from_errno(error, "connect", where());
    made.kind = error == ETIMEDOUT ? Kind::kTimeout : Kind::kUnavailable;
    return made;
  }
  void watch() {
    transport_->set_ready([this](uint32_t events) {
      auto keep = shared_from_this();
      ready(events);
    });
    if (connected_) transport_->want_read(true);
  }
  void send() {
    parser_ = std::make_unique<ResponseParser>(request_.method == "HEAD",
                                               [this](std::string_view data) { body(data); });
    head_delivered_ = false;
    in_.clear();
    std::string head;
    head.reserve(256);
    head += request_.method;
    head += ' ';
    append_safe(head, request_.target.empty() ? "/" : request_.target);
    head += " HTTP/1.1\r\n";
    bool upgrading = static_cast<bool>(on_upgraded);
    if (request_.headers.get("host").empty()) {
      const auto& options = client_->options;
      std::string host = options.host.starts_with("unix:") ? "localhost" : options.host;
      if (host.find(':') != std::string::npos && host.front() != '[') host = "[" + host + "]";
      int usual = client_->context ? 443 : 80;
      head += "Host: " + host;
      if (options.port != 0 && options.port != usual) head += ":" + std::to_string(options.port);
      head += "\r\n";
    }
    for (const auto& [name, value] : request_.headers.list) {
      if (name.size() == 14 && ::strcasecmp(name.c_str(), "content-length") == 0) continue;
      if (name.size() == 17 && ::strcasecmp(name.c_str(), "transfer-encoding") == 0) continue;
      append_safe(head, name);
      head += ": ";
      append_safe(head, value);
      head += "\r\n";
    }
    if (upgrading && request_.headers.get("connection").empty()) head += "Connection: Upgrade\r\n";
    if (!request_.body.empty() || request_.method == "POST" || request_.method == "PUT" ||
        request_.method == "PATCH") {
      if (!upgrading || !request_.body.empty())
        head += "Content-Length: " + std::to_string(request_.body.size()) + "\r\n";
    }
    head += "\r\n";
    if (!body_) body_ = bytes(std::move(request_.body));
    transport_->queue(std::move(head));
    transport_->queue(body_);
    to_send_ = transport_->queued_bytes();
    if (!flush()) return;
    transport_->want_read(true);
    if (transport_->has_pending()) read();
  }
  bool flush() {
    Io io = transport_->flush();
    if (io == Io::kOk || io == Io::kBlocked) return true;
    // The server may have refused us in the middle of the body: its answer is still to be read.
    if (!reused_ && to_send_ != transport_->queued_bytes()) {
      write_failed_ = true;
      return true;
    }
    broken(transport_->error_text());
    return false;
  }
  // The connection failed before the answer was complete.
  void broken(const std::string& reason) {
    bool nothing_came = in_.empty() && (!parser_ || !parser_->head_done());
    bool nothing_sent = transport_ && to_send_ != 0 && to_send_ == transport_->queued_bytes();
    if (reused_ && !retried_ && nothing_came && (idempotent(request_.method) || nothing_sent)) {
      retried_ = true;
      retire(std::move(transport_));
      return connect();
    }
    fail(make_error(
        Kind::kUnavailable, request_.method, where(),
        reason.empty() ? "the server closed the connection before its answer was complete" : reason));
  }
  void ready(uint32_t) {
    if (over_ || !transport_) return;
    if (!connected_) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(transport_->fd(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) return fail(connect_error(error));
      connected_ = true;
      transport_->flush();  // nothing is queued: clears the wish to write
      transport_->want_read(true);
    }
    if (!handshaken_) {
      switch (transport_->handshake()) {
        case Io::kBlocked: return;
        case Io::kOk: break;
        default: return fail(make_error(Kind::kUnavailable, "connect", where(), transport_->error_text()));
      }
      handshaken_ = true;
      connect_timeout_.cancel();
      return send();
    }
    if (transport_->queued_bytes() > 0 && !write_failed_ && !flush()) return;
    if (over_ || !transport_) return;
    read();
  }
  void read() {
    for (int rounds = 0; rounds < 16; ++rounds) {
      if (paused_) return;
      std::string_view data;
      switch (transport_->read(&data)) {
        case Io::kBlocked: return;
        case Io::kEnd:
          if (parser_->head_done()) {
            parser_->put_end();
            if (parser_->done()) return complete(false);
          }
          return broken({});
        case Io::kError: return broken(transport_->error_text());
        case Io::kOk: break;
      }
      take(data);
      if (over_ || !transport_) return;
      if (!transport_->has_pending()) return;
    }
    read_later();
  }
  void read_later() {
    loop_.post([weak = weak_from_this()] {
      auto self = weak.lock();
      if (self && !self->over_ && self->transport_ && self->parser_) self->read();
    });
  }
  void take(std::string_view data) {
    std::string held;
    if (!in_.empty()) {
      held = std::move(in_);
      in_.clear();
      held.append(data);
      data = held;
    }
    while (!over_ && transport_) {
      data.remove_prefix(parser_->put(data));
      if (over_ || !transport_) return;
      if (parser_->failed())
        return fail(make_error(Kind::kUnavailable, request_.method, where(),
                               "broken answer: " + parser_->error_text()));
      if (parser_->head_done() && !head_delivered_) {
        int status = parser_->response.status;
        if (status >= 100 && status < 200 && status != 101) {  // 100 Continue and the like
          parser_ = std::make_unique<ResponseParser>(request_.method == "HEAD",
                                                     [this](std::string_view body_data) { body(body_data); });
          continue;
        }
        head_delivered_ = true;
        connect_timeout_.cancel();
        if (status == 101) return switched(data);
        if (on_head) {
          on_head(parser_->response);
          if (over_) return;
        }
        if (!parser_->done() && !data.empty()) continue;
      }
      if (parser_->done()) return complete(data.empty());
      break;
    }
    if (data.size() > kMaxUnparsedBytes)
      return fail(make_error(Kind::kUnavailable, request_.method, where(),
                             "broken answer: a line of it does not end"));
    in_.assign(data);
  }
  void switched(std::string_view rest) {
    if (!on_upgraded)
      return fail(
          make_error(Kind::kUnavailable, request_.method, where(), "the server switched protocols unasked"));
    auto keep = shared_from_this();
    Client::Upgraded upgraded{std::move(parser_->response), nullptr};
    over_ = true;
    upgraded.stream = make_stream(std::move(transport_), std::string(rest));
    release();
    auto callback = std::move(on_upgraded);
    callback(std::move(upgraded));
  }
  void body(std::string_view data) {
    if (over_) return;
    if (on_data && !on_upgraded) {
      auto callback = on_data;
      return callback(data);
    }
    size_t limit = on_upgraded ? kMaxRefusalBytes : client_->options.max_response_bytes;
    if (collected_.size() + data.size() > limit)
      return fail(make_error(Kind::kExhausted, request_.method, where(),
                             "the answer is larger than " + std::to_string(limit) + " bytes"));
    collected_.append(data);
  }
  void complete(bool clean) {
    auto keep = shared_from_this();
    over_ = true;
    Response response = std::move(parser_->response);
    response.body = std::move(collected_);
    if (clean && parser_->keep_alive() && transport_->queued_bytes() == 0 && !write_failed_)
      client_->give_back(std::move(transport_));
    release();
    if (on_upgraded) {
      auto callback = std::move(on_upgraded);
      callback(Client::Upgraded{std::move(response), nullptr});
    } else if (on_done) {
      auto callback = std::move(on_done);
      callback(std::move(response));
    }
  }

  std::shared_ptr<Client::Impl> client_;
  Loop& loop_;
  Request request_;
  Bytes body_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<ResponseParser> parser_;
  std::string in_, collected_;
  Loop::Handle timeout_, connect_timeout_;
  size_t to_send_ = 0;
  bool over_ = false, connected_ = false, handshaken_ = false, reused_ = false, retried_ = false;
  bool head_delivered_ = false, write_failed_ = false, paused_ = false;
};

class CallHandle final : public Client::Call {
 public:
  explicit CallHandle(std::shared_ptr<Exchanger> exchanger) : exchanger_(std::move(exchanger)) {}
  ~CallHandle() override { exchanger_->cancel(); }
  void pause(bool paused) override { exchanger_->pause(paused); }

 private:
  std::shared_ptr<Exchanger> exchanger_;
};
}  // namespace

std::unique_ptr<Transport> Client::Impl::take_idle() {
  if (idle.empty()) return nullptr;
  auto transport = std::move(idle.front().transport);
  idle.pop_front();
  return transport;
}
void Client::Impl::give_back(std::unique_ptr<Transport> transport) {
  if (closed || idle.size() >= kMaxIdleConnections) return;
  Transport* raw = transport.get();
  idle.push_front(Idle{std::move(transport), std::chrono::steady_clock::now()});
  // Whatever arrives on an idle connection (its end, mostly, or a session ticket) ends it.
  raw->set_ready([this, raw](uint32_t) {
    std::string_view data;
    if (raw->read(&data) == Transport::Io::kBlocked) return;
    for (auto it = idle.begin(); it != idle.end(); ++it)
      if (it->transport.get() == raw) {
        auto dead = std::move(it->transport);
        idle.erase(it);
        return;
      }
  });
  if (!sweeper.active()) sweep();
}
void Client::Impl::sweep() {
  if (idle.empty()) return;
  sweeper = loop.after(kKeptTimeout / 2, [this] {
    auto before = std::chrono::steady_clock::now() - kKeptTimeout;
    idle.remove_if([&](const Idle& one) { return one.since < before; });
    sweep();
  });
}

Client::Client(Loop& loop, std::shared_ptr<tls::Context> context, Options options)
    : impl_(std::make_shared<Impl>(loop, std::move(context), std::move(options))) {}
Client::~Client() {
  impl_->closed = true;
  auto active = impl_->active;
  for (Exchanger* exchanger : active) exchanger->cancel();
  impl_->idle.clear();
  impl_->sweeper.cancel();
}

std::unique_ptr<Client::Call> Client::call(Request request, Duration timeout, Done done) {
  auto exchanger = std::make_shared<Exchanger>(impl_, std::move(request));
  exchanger->on_done = std::move(done);
  exchanger->begin(timeout);
  return std::make_unique<CallHandle>(std::move(exchanger));
}
std::unique_ptr<Client::Call> Client::stream(Request request, std::function<void(const Response&)> on_head,
                                             std::function<void(std::string_view)> on_data,
                                             std::function<void(Status)> on_end) {
  auto exchanger = std::make_shared<Exchanger>(impl_, std::move(request));
  exchanger->on_head = std::move(on_head);
  exchanger->on_data = std::move(on_data);
  exchanger->on_done = [on_end = std::move(on_end)](Result<Response> result) {
    if (result.ok()) on_end({});
    else on_end(std::move(result).error());
  };
  exchanger->begin(Duration::zero());
  return std::make_unique<CallHandle>(std::move(exchanger));
}
std::unique_ptr<Client::Call> Client::upgrade(Request request, std::function<void(Result<Upgraded>)> done) {
  auto exchanger = std::make_shared<Exchanger>(impl_, std::move(request));
  exchanger->on_upgraded = std::move(done);
  exchanger->begin(std::chrono::seconds(30));
  return std::make_unique<CallHandle>(std::move(exchanger));
}

}  // namespace base::http
