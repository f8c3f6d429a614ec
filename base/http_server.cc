// Listeners and the HTTP/1.1 connections of a server. One read and one write system call per
// request on a kept-alive connection; a watch that waits costs no timer and no buffer.
#include "base/http_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <unordered_set>

#include "base/http_parser.h"
#include "base/http_transport.h"
#include "base/sys.h"

namespace base::http {
namespace {
using namespace std::chrono_literals;
constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr size_t kMaxPipelinedBytes = 64 << 10;  // read ahead while an answer is under way
constexpr size_t kMaxUnreadAnswerBytes = 256 << 10;  // beyond it pipelined requests wait
constexpr auto kHeadTimeout = 10s;      // TLS handshake and first head; a head that has begun
constexpr auto kBodyTimeout = 60s;      // between two pieces of a body
constexpr auto kLingerTimeout = 5s;     // reading off what a refused client still sends
constexpr auto kIdleTimeout = 120s;     // kept alive without a request
constexpr size_t kMaxLingerBytes = 64u << 20;

// The Date header, formatted once a second.
const std::string& date_line() {
  thread_local std::time_t made = 0;
  thread_local std::string line;
  std::time_t now = std::time(nullptr);
  if (now != made) {
    char text[64];
    std::tm parts;
    ::gmtime_r(&now, &parts);
    std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    line = text;
    made = now;
  }
  return line;
}
bool is(std::string_view name, std::string_view lower) {
  return name.size() == lower.size() &&
         std::equal(name.begin(), name.end(), lower.begin(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}
// Values come from anywhere: none may end its line and begin another.
void append_safe(std::string& out, std::string_view text) {
  for (char c : text) out.push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
}

class Connection;
class Http1Exchange;
}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(Loop& loop, std::shared_ptr<tls::Context> context, Options options, Handler handler)
      : loop(loop), context(std::move(context)), options(options), handler(std::move(handler)) {}
  Status add_listener(UniqueFd fd);
  void accept(int listener);
  void dirty(const std::shared_ptr<Connection>& connection);
  void sweep();

  struct Listener {
    UniqueFd fd;
    Loop::Handle watch;
  };
  Loop& loop;
  std::shared_ptr<tls::Context> context;
  Options options;
  Handler handler;
  bool closed = false;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::unordered_set<std::shared_ptr<Connection>> connections;
  std::vector<std::weak_ptr<Connection>> to_flush;
  size_t open = 0;  // connections and upgraded streams
  Loop::Handle sweeper, accept_again;
};

namespace {
using Io = Transport::Io;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Server::Impl> server, UniqueFd fd, std::string address)
      : server_(server),
        loop_(server->loop),
        transport_(std::make_unique<Transport>(server->loop, std::move(fd), server->context.get(),
                                               true)),
        parser_(server->options.max_body_bytes, kMaxHeaderBytes) {
    peer_.address = std::move(address);
    // Released when the connection is really gone, also after an upgrade took it away.
    ++server->open;
    count_ = std::shared_ptr<void>(nullptr, [weak = server_](void*) {
      if (auto held = weak.lock()) --held->open;
    });
  }
  void open() {
    transport_->set_ready([this](uint32_t events) {
      auto keep = shared_from_this();
      ready(events);
    });
    transport_->want_read(true);
    deadline(kHeadTimeout);
  }
  void close();
  bool idle_since(Loop::Steady before) const {
    return !exchange_ && !lingering_ && !deadline_.active() && last_ < before;
  }
  void flush();

  // From the exchange.
  void respond(int status, Headers&& headers, std::vector<Bytes>&& body);
  void start(int status, Headers&& headers);
  void write(Bytes chunk);
  void finish();
  std::unique_ptr<ByteStream> upgrade(Headers&& headers);
  void abandoned();
  size_t queued_bytes() const { return transport_ ? transport_->queued_bytes() : 0; }

 private:
  friend class Http1Exchange;
  void ready(uint32_t events);
  void read();
  void process(std::string_view data);
  void dispatch();
  void refuse(int status, const std::string& text);
  void answered();
  void linger();
  void resume();
  void peer_ended();
  bool busy() const { return exchange_ || transport_->queued_bytes() > kMaxUnreadAnswerBytes; }
  void reading(bool want) { transport_->want_read(want && !ended_); }
  void deadline(Duration delay) {
    deadline_ = loop_.after(delay, [this] {
      auto keep = shared_from_this();
      close();
    });
  }
  std::string head(int status, const Headers& headers, int64_t length, bool chunked);
  bool bodiless(int status) const {
    return head_request_ || status == 204 || status == 304 || status < 200;
  }

  std::weak_ptr<Server::Impl> server_;
  Loop& loop_;
  std::unique_ptr<Transport> transport_;
  RequestParser parser_;
  Peer peer_;
  std::shared_ptr<void> count_;
  std::string in_;               // read but not yet parsed
  std::string_view rest_;        // the same while process() hands out a request
  Http1Exchange* exchange_ = nullptr;
  bool handshaken_ = false, closed_ = false, lingering_ = false;
  bool processing_ = false, started_ = false, chunked_ = false, head_request_ = false;
  bool keep_alive_ = true, http10_ = false, ended_ = false;
  bool continue_sent_ = false, close_when_written_ = false, flush_queued_ = false;
  size_t lingered_bytes_ = 0;
  Loop::Steady last_ = std::chrono::steady_clock::now();
  Loop::Handle deadline_;
  friend struct base::http::Server::Impl;
};

class Http1Exchange final : public Exchange {
 public:
  Http1Exchange(Connection* connection, Request request)
      : connection_(connection), request_(std::move(request)) {}
  ~Http1Exchange() override {
    if (connection_) connection_->abandoned();
  }
  const Request& request() const override { return request_; }
  void respond(int status, Headers headers, std::vector<Bytes> body) override {
    if (!connection_) return;
    SAMPAN_CHECK(!answered_);
    answered_ = true;
    connection_->respond(status, std::move(headers), std::move(body));
  }
  void start(int status, Headers headers) override {
    if (!connection_) return;
    SAMPAN_CHECK(!answered_);
    answered_ = true;
    connection_->start(status, std::move(headers));
  }
  void write(Bytes chunk) override {
    if (connection_) connection_->write(std::move(chunk));
  }
  void finish() override {
    if (connection_) connection_->finish();
  }
  size_t queued_bytes() const override { return connection_ ? connection_->queued_bytes() : 0; }
  void on_drain(std::function<void()> drained) override {
    on_drain_ = std::make_shared<std::function<void()>>(std::move(drained));
  }
  void drained() {
    if (auto callback = on_drain_) (*callback)();
  }
  std::unique_ptr<ByteStream> upgrade(Headers headers) override {
    if (!connection_) return nullptr;
    SAMPAN_CHECK(!answered_);
    answered_ = true;
    return connection_->upgrade(std::move(headers));
  }
  bool closed() const override { return closed_; }
  void on_close(std::function<void()> closed) override { on_close_ = std::move(closed); }

  // From the connection: the answer is complete, or nobody is there to get it.
  void detach(bool closed) {
    connection_ = nullptr;
    closed_ = closed;
    auto callback = std::move(on_close_);
    on_close_ = nullptr;
    on_drain_.reset();
    if (closed && callback) callback();  // may destroy this
  }

 private:
  friend class Connection;
  Connection* connection_;
  Request request_;
  bool answered_ = false, closed_ = false;
  std::function<void()> on_close_;
  std::shared_ptr<std::function<void()>> on_drain_;
};

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  deadline_.cancel();
  auto keep = shared_from_this();
  if (auto server = server_.lock()) server->connections.erase(keep);
  auto transport = std::move(transport_);
  if (auto* exchange = std::exchange(exchange_, nullptr)) exchange->detach(true);
  count_.reset();
}

void Connection::ready(uint32_t) {
  if (closed_) return;
  if (!handshaken_) {
    switch (transport_->handshake()) {
      case Io::kBlocked: return;
      case Io::kOk: break;
      default: return close();
    }
    handshaken_ = true;
    if (transport_->ssl()) {
      tls::PeerName name = tls::peer_name(transport_->ssl());
      peer_.has_certificate = name.verified;
      peer_.common_name = std::move(name.common_name);
      peer_.organizations = std::move(name.organizations);
    }
  }
  if (transport_->queued_bytes() > 0) {
    flush();
    if (closed_) return;
  }
  read();
}

void Connection::read() {
  for (int rounds = 0; rounds < 16; ++rounds) {
    if (closed_ || ended_) return;
    if (in_.size() >= kMaxPipelinedBytes && busy()) return reading(false);
    std::string_view data;
    switch (transport_->read(&data)) {
      case Io::kBlocked: return;
      case Io::kEnd: return peer_ended();
      case Io::kError: return close();
      case Io::kOk: break;
    }
    size_t size = data.size();
    if (lingering_) {
      lingered_bytes_ += data.size();
      if (lingered_bytes_ > kMaxLingerBytes) return close();
      continue;
    }
    if (close_when_written_) continue;
    if (processing_ || busy()) {
      in_.append(data);
    } else {
      process(data);
    }
    if (closed_) return;
    // Epoll calls again for what is left, unless TLS holds it; a full buffer promises more.
    if (!transport_->has_pending() && (exchange_ || size < (16 << 10))) return;
  }
}

// The peer will send no more. Who waits for a whole answer still gets it (half-close); a stream's
// reader is taken to be gone.
void Connection::peer_ended() {
  ended_ = true;
  if (lingering_ || started_) return close();
  if (exchange_) return reading(false);
  if (transport_->queued_bytes() == 0) return close();
  reading(false);
  if (in_.empty()) close_when_written_ = true;
}

void Connection::process(std::string_view data) {
  auto keep = shared_from_this();
  processing_ = true;
  std::string held;
  if (!in_.empty()) {
    held = std::move(in_);
    in_.clear();
    held.append(data);
    data = held;
  }
  while (!closed_ && !exchange_ && !lingering_ && !close_when_written_ &&
         transport_->queued_bytes() <= kMaxUnreadAnswerBytes) {
    // Empty lines before a request are skipped: RFC 9112 section 2.2.
    if (!parser_.head_done())
      while (!data.empty() && (data.front() == '\r' || data.front() == '\n')) data.remove_prefix(1);
    if (data.empty()) break;
    bool had_head = parser_.head_done();
    data.remove_prefix(parser_.put(data));
    if (parser_.error_status() != 0) {
      refuse(parser_.error_status(), parser_.error_text());
      break;
    }
    if (parser_.done()) {
      deadline_.cancel();
      rest_ = data;
      dispatch();
      if (closed_) return;
      data = rest_;
      continue;
    }
    if (parser_.head_done()) {
      if (!continue_sent_ && parser_.expects_continue()) {
        continue_sent_ = true;
        transport_->queue(std::string("HTTP/1.1 100 Continue\r\n\r\n"));
        flush();
      }
      if (!closed_) deadline(kBodyTimeout);
    } else if (data.size() > kMaxHeaderBytes) {
      refuse(431, "request head too large");
    } else if (!deadline_.active() && !had_head) {
      deadline(kHeadTimeout);
    }
    break;
  }
  processing_ = false;
  rest_ = {};
  if (closed_) return;
  if (!lingering_ && !close_when_written_) in_.assign(data);
  if (in_.empty() && in_.capacity() > 1024) std::string().swap(in_);
}

void Connection::dispatch() {
  auto server = server_.lock();
  if (!server) return close();
  last_ = std::chrono::steady_clock::now();
  keep_alive_ = parser_.keep_alive();
  http10_ = parser_.http10();
  head_request_ = parser_.request.method == "HEAD";
  started_ = chunked_ = continue_sent_ = false;
  parser_.request.peer = peer_;
  auto exchange = std::make_shared<Http1Exchange>(this, std::move(parser_.request));
  parser_.reset();
  exchange_ = exchange.get();
  server->handler(std::move(exchange));
}

void Connection::refuse(int status, const std::string& text) {
  deadline_.cancel();
  keep_alive_ = false;
  head_request_ = false;
  Headers headers;
  std::string body;
  if (auto server = server_.lock(); server && server->options.refusal) {
    auto [type, told] = server->options.refusal(status, text);
    headers.add("Content-Type", std::move(type));
    body = std::move(told);
  } else {
    headers.add("Content-Type", "text/plain; charset=utf-8");
    body = std::string(status_text(status)) + ": " + text + "\n";
  }
  transport_->queue(head(status, headers, static_cast<int64_t>(body.size()), false));
  transport_->queue(std::move(body));
  close_when_written_ = true;
  flush();
}

std::string Connection::head(int status, const Headers& headers, int64_t length, bool chunked) {
  std::string out;
  out.reserve(256);
  out += "HTTP/1.1 ";
  out += std::to_string(status);
  out += ' ';
  out += status_text(status);
  out += "\r\n";
  bool has_date = false, has_length = false;
  for (const auto& [name, value] : headers.list) {
    if (is(name, "transfer-encoding")) continue;
    if (is(name, "content-length")) {
      if (length >= 0) continue;  // ours is right
      has_length = true;
    }
    if (is(name, "connection") && status != 101) {
      if (is(value, "close")) keep_alive_ = false;
      continue;
    }
    if (is(name, "date")) has_date = true;
    append_safe(out, name);
    out += ": ";
    append_safe(out, value);
    out += "\r\n";
  }
  if (!has_date) out += date_line();
  if (length >= 0 && !(head_request_ && has_length)) {
    out += "Content-Length: ";
    out += std::to_string(length);
    out += "\r\n";
  }
  if (chunked) out += "Transfer-Encoding: chunked\r\n";
  if (!keep_alive_ && status != 101) out += "Connection: close\r\n";
  else if (http10_ && status != 101) out += "Connection: keep-alive\r\n";
  out += "\r\n";
  return out;
}

void Connection::respond(int status, Headers&& headers, std::vector<Bytes>&& body) {
  int64_t length = 0;
  for (const Bytes& part : body)
    if (part) length += static_cast<int64_t>(part->size());
  bool no_length = status == 204 || status < 200 || (status == 304 && length == 0);
  transport_->queue(head(status, headers, no_length ? -1 : length, false));
  if (!bodiless(status))
    for (Bytes& part : body) transport_->queue(std::move(part));
  answered();
}
void Connection::start(int status, Headers&& headers) {
  started_ = true;
  // HTTP/1.0 knows no chunks: the end of the connection ends the body.
  chunked_ = !http10_ && !bodiless(status);
  if (http10_) keep_alive_ = false;
  transport_->queue(head(status, headers, -1, chunked_));
  if (auto server = server_.lock()) server->dirty(shared_from_this());
}
void Connection::write(Bytes chunk) {
  if (!started_ || !chunk || chunk->empty() || head_request_) return;
  if (chunked_) {
    char size[24];
    int n = std::snprintf(size, sizeof size, "%zx\r\n", chunk->size());
    transport_->queue(std::string(size, static_cast<size_t>(n)));
    transport_->queue(std::move(chunk));
    transport_->queue(std::string("\r\n"));
  } else {
    transport_->queue(std::move(chunk));
  }
  auto server = server_.lock();
  if (!server) return;
  if (transport_->queued_bytes() > server->options.max_queued_bytes) {
    // Not from inside the caller's loop over its watchers, whom on_close would surprise; and after
    // one try to send, because the queue may only be waiting for the end of this round.
    loop_.post([weak = weak_from_this(), limit = server->options.max_queued_bytes] {
      auto self = weak.lock();
      if (!self || self->closed_) return;
      self->flush();
      if (!self->closed_ && self->queued_bytes() > limit) self->close();
    });
    return;
  }
  server->dirty(shared_from_this());
}
void Connection::finish() {
  if (!started_) return;
  if (chunked_) transport_->queue(std::string("0\r\n\r\n"));
  answered();
}

// The answer is complete in the queue: sends it and goes on with what the client sent behind.
void Connection::answered() {
  auto keep = shared_from_this();
  if (auto* exchange = std::exchange(exchange_, nullptr)) exchange->detach(false);
  started_ = false;
  last_ = std::chrono::steady_clock::now();
  if (!keep_alive_ || (ended_ && in_.empty() && rest_.empty())) close_when_written_ = true;
  flush();
  if (!closed_ && !close_when_written_ && !processing_) resume();
}

// Goes on with what was read ahead. From a fresh stack: a client with a thousand pipelined
// requests must not recurse.
void Connection::resume() {
  if (in_.empty() && !transport_->has_pending()) return reading(true);
  loop_.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || self->closed_ || self->processing_ || self->busy()) return;
    if (!self->in_.empty()) self->process({});
    if (self->closed_ || self->busy()) return;
    if (self->ended_) {
      // A head or body that will never be complete.
      if (self->transport_->queued_bytes() == 0) return self->close();
      self->close_when_written_ = true;
      return;
    }
    self->reading(true);
    if (self->transport_->has_pending()) self->read();
  });
}

void Connection::flush() {
  if (closed_) return;
  switch (transport_->flush()) {
    case Io::kOk:
      if (close_when_written_ && !lingering_) linger();
      else if (!exchange_ && !processing_ && !in_.empty()) resume();
      else if (exchange_ && started_) exchange_->drained();
      return;
    case Io::kBlocked: return;
    default: return close();
  }
}

// Closing while the client still sends would reset the connection and the answer could be lost:
// says that we are done, then reads the rest away for a while.
void Connection::linger() {
  lingering_ = true;
  transport_->close_write();
  if (ended_) return close();
  std::string().swap(in_);
  deadline(kLingerTimeout);
  transport_->want_read(true);
  if (transport_->has_pending()) {
    loop_.post([weak = weak_from_this()] {
      if (auto self = weak.lock(); self && !self->closed_) self->read();
    });
  }
}

std::unique_ptr<ByteStream> Connection::upgrade(Headers&& headers) {
  auto keep = shared_from_this();
  deadline_.cancel();
  if (headers.get("connection").empty()) headers.add("Connection", "Upgrade");
  transport_->queue(head(101, headers, -1, false));
  if (auto* exchange = std::exchange(exchange_, nullptr)) exchange->detach(false);
  auto stream = make_stream(std::move(transport_), std::string(rest_) + in_, std::move(count_));
  closed_ = true;
  if (auto server = server_.lock()) server->connections.erase(keep);
  return stream;
}

// The last holder let the exchange go without an answer.
void Connection::abandoned() {
  exchange_->connection_ = nullptr;
  exchange_ = nullptr;
  if (started_) return close();  // cut short: the client must not take it for complete
  Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  respond(500, std::move(headers), {bytes("the request was dropped without an answer\n")});
}
}  // namespace

void Server::Impl::dirty(const std::shared_ptr<Connection>& connection) {
  // One system call for all that a round of the loop wrote.
  if (connection->flush_queued_) return;
  connection->flush_queued_ = true;
  to_flush.push_back(connection);
  if (to_flush.size() > 1) return;
  loop.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    auto all = std::move(self->to_flush);
    self->to_flush.clear();
    for (auto& one : all)
      if (auto held = one.lock()) {
        held->flush_queued_ = false;
        held->flush();
      }
  });
}

void Server::Impl::sweep() {
  if (connections.empty()) return;
  sweeper = loop.after(kIdleTimeout / 2, [this] {
    auto before = std::chrono::steady_clock::now() - kIdleTimeout;
    std::vector<std::shared_ptr<Connection>> idle;
    for (const auto& connection : connections)
      if (connection->idle_since(before)) idle.push_back(connection);
    for (const auto& connection : idle) connection->close();
    sweep();
  });
}

void Server::Impl::accept(int listener) {
  for (int i = 0; i < 64; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    UniqueFd fd(::accept4(listener, reinterpret_cast<sockaddr*>(&address), &size,
                          SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) return;
      // No fds or memory: the listener stays readable, so it is left alone for a second.
      for (auto& one : listeners) loop.change(one->watch, 0);
      accept_again = loop.after(1s, [this] {
        for (auto& one : listeners) loop.change(one->watch, EPOLLIN);
      });
      return;
    }
    if (open >= options.max_connections) continue;  // closed at once
    if (address.ss_family != AF_UNIX) {
      // A peer that vanished without a word is noticed within two minutes.
      int on = 1, idle = 60, interval = 15, probes = 4, unacknowledged_ms = 60'000;
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
                   sizeof unacknowledged_ms);
    }
    auto connection = std::make_shared<Connection>(shared_from_this(), std::move(fd),
                                                   format_address(address));
    connections.insert(connection);
    connection->open();
    if (!sweeper.active()) sweep();
  }
}

Status Server::Impl::add_listener(UniqueFd fd) {
  auto listener = std::make_unique<Listener>();
  int number = fd.get();
  listener->fd = std::move(fd);
  listener->watch = loop.watch(number, EPOLLIN, [this, number](uint32_t) { accept(number); });
  listeners.push_back(std::move(listener));
  return {};
}

Server::Server(Loop& loop, std::shared_ptr<tls::Context> context, Options options, Handler handler)
    : impl_(std::make_shared<Impl>(loop, std::move(context), options, std::move(handler))) {}
Server::~Server() {
  impl_->listeners.clear();
  auto all = std::move(impl_->connections);
  impl_->connections.clear();
  for (const auto& connection : all) connection->close();
  impl_->sweeper.cancel();
  impl_->accept_again.cancel();
}

Status Server::listen(const std::string& address) {
  SocketAddress where;
  if (address.starts_with("unix:")) {
    where = TRY(parse_address(address, 0));
    ::unlink(address.c_str() + 5);
  } else {
    size_t colon = address.rfind(':');
    if (colon == std::string::npos || colon + 1 == address.size() ||
        address.find_first_not_of("0123456789", colon + 1) != std::string::npos ||
        address.size() - colon > 6)
      return make_error(Kind::kInvalid, "listen", address, "no port",
                        "write ADDRESS:PORT, [ADDRESS]:PORT or unix:/PATH");
    where = TRY_WRAP(parse_address(address.substr(0, colon), std::stoi(address.substr(colon + 1))),
                     "listen", address);
  }
  UniqueFd fd(::socket(where.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return sys::last_error("socket", address);
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&where.storage), where.size) != 0)
    return sys::last_error("bind", address, "is another program on this address?");
  if (::listen(fd.get(), 1024) != 0) return sys::last_error("listen", address);
  return impl_->add_listener(std::move(fd));
}
Status Server::adopt(UniqueFd listening_socket) {
  int accepting = 0;
  socklen_t size = sizeof accepting;
  if (::getsockopt(listening_socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size) != 0 ||
      !accepting)
    return make_error(Kind::kInvalid, "adopt listening socket",
                      "fd " + std::to_string(listening_socket.get()), "it is not listening");
  int flags = ::fcntl(listening_socket.get(), F_GETFL);
  ::fcntl(listening_socket.get(), F_SETFL, flags | O_NONBLOCK);
  ::fcntl(listening_socket.get(), F_SETFD, FD_CLOEXEC);
  return impl_->add_listener(std::move(listening_socket));
}
std::vector<int> Server::ports() const {
  std::vector<int> ports;
  for (const auto& listener : impl_->listeners) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getsockname(listener->fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    ports.push_back(address.ss_family == AF_INET
                        ? ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port)
                    : address.ss_family == AF_INET6
                        ? ntohs(reinterpret_cast<sockaddr_in6&>(address).sin6_port)
                        : 0);
  }
  return ports;
}
size_t Server::connections() const { return impl_->open; }

}  // namespace base::http
