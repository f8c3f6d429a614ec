// One HTTP/1.1 connection of a server: requests in order, one answer under way. One read and one
// write system call per request when kept alive; a watch that waits costs no timer and no buffer.
#include <cstdio>

#include "base/http/connection.h"
#include "base/http/parser.h"

namespace base::http {
namespace {
using namespace std::chrono_literals;
using Io = Transport::Io;
constexpr size_t kMaxPipelinedBytes = 64 << 10;      // read ahead while an answer is under way
constexpr size_t kMaxUnreadAnswerBytes = 256 << 10;  // beyond it pipelined requests wait
constexpr auto kLingerTimeout = 5s;                  // reading off what a refused client still sends
constexpr size_t kMaxLingerBytes = 16u << 20;

bool is(std::string_view name, std::string_view lower) {
  return name.size() == lower.size() &&
         std::equal(name.begin(), name.end(), lower.begin(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}
// Values come from anywhere: none may end its line and begin another.

class Http1Exchange;

class Http1Connection final : public ServerConnection {
 public:
  explicit Http1Connection(Accepted accepted)
      : server_(std::move(accepted.server)), loop_(accepted.transport->loop()),
        transport_(std::move(accepted.transport)), parser_(accepted.max_body_bytes, kMaxHeaderBytes),
        peer_(std::move(accepted.peer)), count_(std::move(accepted.count)),
        standing_(std::move(accepted.standing)), head_timeout_(accepted.head_timeout),
        body_timeout_(accepted.body_timeout) {}
  void open() override {
    standing_.is(weak_from_this());
    transport_->set_ready([this](uint32_t events) {
      auto keep = shared_from_this();
      ready(events);
    });
    transport_->want_read(true);
    deadline(head_timeout_);
    if (transport_->has_pending()) read();  // behind the handshake
  }
  void close() override;
  bool stale(Loop::Steady before) override {
    if (closed_) return false;
    if (exchange_ || lingering_ || deadline_.active())
      return transport_->queued_bytes() > 0 && progress_ < before;
    return last_ < before;
  }
  void shut_down() override {
    keep_alive_ = false;
    shutting_down_ = true;
    if (exchange_ || processing_) return;
    if (transport_->queued_bytes() > 0) close_when_written_ = true;
    else close();
  }
  bool busy_for_shutdown() const override { return exchange_ ? !started_ : transport_->queued_bytes() > 0; }
  void flush() override;

  // From the exchange.
  void receive(std::function<void()> then);
  void known() { standing_.known(); }
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
  void hold();
  bool take_body(std::string_view* data);
  void leave_body();
  void refuse(int status, const std::string& text);
  void answered();
  void linger();
  void resume();
  void peer_ended();
  // What comes in has to wait.
  bool busy() const { return exchange_ ? !receive_ : transport_->queued_bytes() > kMaxUnreadAnswerBytes; }
  void reading(bool want) { transport_->want_read(want && !ended_); }
  void deadline(Duration delay) {
    deadline_ = loop_.after(delay, [this] {
      auto keep = shared_from_this();
      close();
    });
  }
  std::string head(int status, const Headers& headers, int64_t length, bool chunked);
  bool bodiless(int status) const { return head_request_ || status == 204 || status == 304 || status < 200; }

  std::shared_ptr<Http1Connection> self() {
    return std::static_pointer_cast<Http1Connection>(shared_from_this());
  }
  std::weak_ptr<Http1Connection> weak_self() { return self(); }

  std::weak_ptr<Server::Impl> server_;
  Loop& loop_;
  std::unique_ptr<Transport> transport_;
  RequestParser parser_;
  Peer peer_;
  std::shared_ptr<void> count_;
  Standing standing_;
  Charge head_charge_, body_charge_, in_charge_;
  Duration head_timeout_, body_timeout_;
  std::function<void()> receive_;  // the handler waits for the body
  std::string in_;                 // read but not yet parsed
  std::string_view rest_;          // the same while process() hands out a request
  Http1Exchange* exchange_ = nullptr;
  bool closed_ = false, lingering_ = false, shutting_down_ = false;
  bool processing_ = false, started_ = false, chunked_ = false, head_request_ = false;
  bool keep_alive_ = true, http10_ = false, ended_ = false;
  bool body_done_ = true, body_cut_ = false, close_when_written_ = false;
  size_t lingered_bytes_ = 0;
  Loop::Steady last_ = std::chrono::steady_clock::now();  // of the last request
  Loop::Steady progress_ = last_;                         // of the last byte the peer took
  Loop::Handle deadline_;
};

class Http1Exchange final : public CarriedExchange {
 public:
  Http1Exchange(Http1Connection* connection, Request request, Charge charge)
      : CarriedExchange(std::move(request), std::move(charge)), connection_(connection) {}
  ~Http1Exchange() override {
    if (connection_) connection_->abandoned();
  }
  void receive(std::function<void()> then) override {
    if (connection_) connection_->receive(std::move(then));
  }
  void known() override {
    charge_known();
    if (connection_) connection_->known();
  }
  void respond(int status, Headers headers, std::vector<Bytes> body) override {
    if (!connection_) return;
    answer();
    connection_->respond(status, std::move(headers), std::move(body));
  }
  void start(int status, Headers headers) override {
    if (!connection_) return;
    answer();
    connection_->start(status, std::move(headers));
  }
  void write(Bytes chunk) override {
    if (connection_) connection_->write(std::move(chunk));
  }
  void finish() override {
    if (connection_) connection_->finish();
  }
  size_t queued_bytes() const override { return connection_ ? connection_->queued_bytes() : 0; }
  std::unique_ptr<ByteStream> upgrade(Headers headers) override {
    if (!connection_) return nullptr;
    answer();
    return connection_->upgrade(std::move(headers));
  }
  // From the connection: the answer is complete, or nobody is there to get it.
  void detach(bool closed) {
    connection_ = nullptr;
    ended(closed);
  }

 private:
  friend class Http1Connection;
  Http1Connection* connection_;
};

void Http1Connection::close() {
  if (closed_) return;
  closed_ = true;
  deadline_.cancel();
  auto keep = shared_from_this();
  if (auto server = server_.lock()) server->gone(keep);
  auto transport = std::move(transport_);
  auto receive = std::exchange(receive_, nullptr);  // holds the exchange
  if (auto* exchange = std::exchange(exchange_, nullptr)) exchange->detach(true);
  count_.reset();
  standing_ = {};
  head_charge_.release();
  body_charge_.release();
  in_charge_.release();
}

void Http1Connection::ready(uint32_t) {
  if (closed_) return;
  if (transport_->queued_bytes() > 0) {
    flush();
    if (closed_) return;
  }
  read();
}

void Http1Connection::read() {
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
      hold();
    } else {
      process(data);
    }
    if (closed_) return;
    // Epoll calls again for what is left, unless TLS holds it; a full buffer promises more.
    if (!transport_->has_pending() && (busy() || size < (16 << 10))) return;
  }
}

// The peer will send no more. Who waits for a whole answer still gets it (half-close); a stream's
// reader is taken to be gone.
void Http1Connection::peer_ended() {
  ended_ = true;
  if (lingering_ || started_ || receive_) return close();
  if (exchange_) return reading(false);
  if (transport_->queued_bytes() == 0) return close();
  reading(false);
  if (in_.empty()) close_when_written_ = true;
}

void Http1Connection::process(std::string_view data) {
  auto keep = shared_from_this();
  processing_ = true;
  std::string held;
  if (!in_.empty()) {
    held = std::move(in_);
    in_.clear();
    held.append(data);
    data = held;
  }
  while (!closed_ && !lingering_ && !close_when_written_ && !busy()) {
    if (exchange_) {
      if (!take_body(&data)) break;
      if (closed_) return;
      continue;
    }
    // Empty lines before a request are skipped: RFC 9112 section 2.2.
    if (!parser_.head_begun())
      while (!data.empty() && (data.front() == '\r' || data.front() == '\n')) data.remove_prefix(1);
    if (data.empty()) break;
    size_t used = parser_.put(data);
    data.remove_prefix(used);
    if (parser_.error_status() != 0) {
      refuse(parser_.error_status(), parser_.error_text());
      break;
    }
    if (!head_charge_.grow(standing_, used)) {
      refuse(429, "too many requests under way");
      break;
    }
    if (!parser_.head_done()) {
      if (data.size() > kMaxHeaderBytes) refuse(431, "request head too large");
      else if (!deadline_.active()) deadline(head_timeout_);
      break;
    }
    deadline_.cancel();
    rest_ = data;
    dispatch();
    if (closed_) return;
    data = rest_;
  }
  processing_ = false;
  rest_ = {};
  if (closed_) return;
  if (!lingering_ && !close_when_written_) in_.assign(data);
  if (in_.empty() && in_.capacity() > 1024) std::string().swap(in_);
  hold();
}

// What was read and waits is held like a request.
void Http1Connection::hold() {
  in_charge_.release();
  if (in_.size() > 1024 && !in_charge_.grow(standing_, in_.size())) close();
}

void Http1Connection::dispatch() {
  auto server = server_.lock();
  if (!server) return close();
  last_ = std::chrono::steady_clock::now();
  keep_alive_ = parser_.keep_alive() && !shutting_down_;
  http10_ = parser_.http10();
  head_request_ = parser_.request.method == "HEAD";
  started_ = chunked_ = false;
  if (!standing_.count_request()) keep_alive_ = false;
  parser_.request.peer = peer_;
  auto exchange = std::make_shared<Http1Exchange>(this, std::move(parser_.request), std::move(head_charge_));
  body_done_ = parser_.done();
  body_cut_ = false;
  if (body_done_) parser_.reset();
  exchange_ = exchange.get();
  server->handler(std::move(exchange));
}

void Http1Connection::receive(std::function<void()> then) {
  if (body_done_) return then();
  receive_ = std::move(then);
  deadline_ = loop_.after(body_timeout_, [this] {
    auto keep = shared_from_this();
    if (receive_) refuse(408, "the body did not come in time");
  });
  bool nothing_came = processing_ ? rest_.empty() : in_.empty();
  if (nothing_came && parser_.expects_continue()) {
    transport_->queue(std::string("HTTP/1.1 100 Continue\r\n\r\n"));
    if (auto server = server_.lock()) server->dirty(shared_from_this());
  }
  if (!processing_) resume();
}

// A piece of the body the handler asked for; false: it needs more, or was refused.
bool Http1Connection::take_body(std::string_view* data) {
  size_t before = parser_.request.body.size();
  data->remove_prefix(parser_.put(*data));
  if (parser_.error_status() == 0 && !body_charge_.grow(standing_, parser_.request.body.size() - before)) {
    refuse(429, "too many requests under way");
    return false;
  }
  // What is left over is the first line of a chunk.
  if (parser_.error_status() != 0 || (!parser_.done() && data->size() > kMaxHeaderBytes)) {
    if (parser_.error_status() != 0) refuse(parser_.error_status(), parser_.error_text());
    else refuse(400, "a line of the chunked body does not end");
    return false;
  }
  if (!parser_.done()) return false;
  deadline_.cancel();
  body_done_ = true;
  exchange_->set_body(std::move(parser_.request.body), std::move(body_charge_));
  parser_.reset();
  rest_ = *data;
  auto then = std::exchange(receive_, nullptr);
  then();
  if (!closed_) *data = rest_;
  return true;
}

// The answer comes without the body having been asked for: what is there of it is passed over; where
// that is not all, the connection ends, because nobody waits for the rest.
void Http1Connection::leave_body() {
  receive_ = nullptr;
  if (body_done_) return;
  deadline_.cancel();
  std::string_view data = processing_ ? rest_ : std::string_view(in_);
  data.remove_prefix(parser_.put(data));
  bool whole = parser_.done() && parser_.error_status() == 0;
  body_cut_ = !whole;
  if (body_cut_) keep_alive_ = false;
  if (processing_) rest_ = data;
  else in_ = std::string(data);
  body_done_ = true;
  body_charge_.release();
  if (whole) parser_.reset();
}

void Http1Connection::refuse(int status, const std::string& text) {
  deadline_.cancel();
  auto receive = std::exchange(receive_, nullptr);
  if (auto* exchange = std::exchange(exchange_, nullptr)) exchange->detach(true);
  if (closed_) return;
  head_charge_.release();
  body_charge_.release();
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
  if (status == 429) headers.add("Retry-After", "1");
  transport_->queue(head(status, headers, static_cast<int64_t>(body.size()), false));
  transport_->queue(std::move(body));
  close_when_written_ = true;
  flush();
}

std::string Http1Connection::head(int status, const Headers& headers, int64_t length, bool chunked) {
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

void Http1Connection::respond(int status, Headers&& headers, std::vector<Bytes>&& body) {
  leave_body();
  int64_t length = 0;
  for (const Bytes& part : body)
    if (part) length += static_cast<int64_t>(part->size());
  bool no_length = status == 204 || status < 200 || (status == 304 && length == 0);
  transport_->queue(head(status, headers, no_length ? -1 : length, false));
  if (!bodiless(status))
    for (Bytes& part : body) transport_->queue(std::move(part));
  answered();
}
void Http1Connection::start(int status, Headers&& headers) {
  leave_body();
  started_ = true;
  // HTTP/1.0 knows no chunks: the end of the connection ends the body.
  chunked_ = !http10_ && !bodiless(status);
  if (http10_) keep_alive_ = false;
  transport_->queue(head(status, headers, -1, chunked_));
  if (auto server = server_.lock()) server->dirty(shared_from_this());
}
void Http1Connection::write(Bytes chunk) {
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
    loop_.post([weak = weak_self(), limit = server->options.max_queued_bytes] {
      auto self = weak.lock();
      if (!self || self->closed_) return;
      self->flush();
      if (!self->closed_ && self->queued_bytes() > limit) self->close();
    });
    return;
  }
  server->dirty(shared_from_this());
}
void Http1Connection::finish() {
  if (!started_) return;
  if (chunked_) transport_->queue(std::string("0\r\n\r\n"));
  answered();
}

// The answer is complete in the queue: sends it and goes on with what the client sent behind.
void Http1Connection::answered() {
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
void Http1Connection::resume() {
  if (in_.empty() && !transport_->has_pending()) return reading(true);
  loop_.post([weak = weak_self()] {
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

void Http1Connection::flush() {
  if (closed_) return;
  size_t before = transport_->queued_bytes();
  Io io = transport_->flush();
  if (transport_->queued_bytes() < before) progress_ = std::chrono::steady_clock::now();
  switch (io) {
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
void Http1Connection::linger() {
  lingering_ = true;
  transport_->close_write();
  if (ended_) return close();
  std::string().swap(in_);
  deadline(kLingerTimeout);
  transport_->want_read(true);
  if (transport_->has_pending()) {
    loop_.post([weak = weak_self()] {
      if (auto self = weak.lock(); self && !self->closed_) self->read();
    });
  }
}

std::unique_ptr<ByteStream> Http1Connection::upgrade(Headers&& headers) {
  auto keep = shared_from_this();
  leave_body();
  if (body_cut_) {
    respond(400, {}, {bytes("an upgrade has no body\n")});
    return nullptr;
  }
  deadline_.cancel();
  if (headers.get("connection").empty()) headers.add("Connection", "Upgrade");
  transport_->queue(head(101, headers, -1, false));
  if (auto* exchange = std::exchange(exchange_, nullptr)) exchange->detach(false);
  auto stream = make_stream(std::move(transport_), std::string(rest_) + in_, std::move(count_));
  closed_ = true;
  if (auto server = server_.lock()) server->gone(keep);
  return stream;
}

// The last holder let the exchange go without an answer.
void Http1Connection::abandoned() {
  exchange_->connection_ = nullptr;
  exchange_ = nullptr;
  if (started_) return close();  // cut short: the client must not take it for complete
  Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  respond(500, std::move(headers), {bytes("the request was dropped without an answer\n")});
}
}  // namespace

std::shared_ptr<ServerConnection> make_http1_connection(Accepted accepted) {
  return std::make_shared<Http1Connection>(std::move(accepted));
}

}  // namespace base::http
