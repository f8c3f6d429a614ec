// One HTTP/2 connection of a server (RFC 9113): nghttp2 does framing, HPACK, flow control and the
// limits on resets (CVE-2023-44487) and CONTINUATION frames (CVE-2024-28182); this file makes an
// Exchange of every stream. Bodies are queued as the shared buffers they are, never copied. A stream
// whose client gives no window waits alone; one that lets too much wait is reset. A client's windows
// open again when a handler has asked for the body, so that what is not asked for is bounded by them.
// Frames that carry nothing, and heads beyond the limit, are counted: too many end the connection.
#include <nghttp2/nghttp2.h>

#include <deque>
#include <unordered_map>

#include "base/http/connection.h"

namespace base::http {
namespace {
using namespace std::chrono_literals;
using Io = Transport::Io;
constexpr uint32_t kMaxStreams = 250;          // as Go's server
constexpr uint32_t kStreamWindow = 256 << 10;  // of request bodies
constexpr int32_t kConnectionWindow = 1 << 20;
constexpr size_t kMaxBodiesBytes = 16u << 20;  // of all unfinished requests together
constexpr size_t kMaxReadyBytes = 256 << 10;   // framed ahead of the socket
constexpr auto kInputTurn = 4ms;               // of one connection's input, then others have theirs
constexpr size_t kSliceBytes = 4 << 10;        // of input, between two looks at the clock
constexpr double kMaxEmptyFrames = 2000;       // in one go…
constexpr double kEmptyFramesPerSecond = 200;  // …and in the long run
constexpr double kFramesPerData = 12;          // that a client may send for each DATA frame of ours
constexpr int kMaxLargeHeads = 8;              // beyond kMaxHeaderBytes, each refused with 431

class Http2Exchange;

struct Stream {
  int32_t id = 0;
  Request request;
  std::string authority, body;
  size_t header_bytes = 0, unconsumed = 0;  // unconsumed: of the body, whose window is not given back
  Charge charge;
  std::function<void()> receive;  // the handler waits for the body
  bool head_done = false, dispatched = false, is_head = false, body_done = false, received = false,
       bad_host = false;
  bool answered = false, streaming = false, finished = false;  // of the answer
  std::deque<Bytes> pieces;                                    // of the body, not yet framed
  size_t piece_offset = 0, queued_bytes = 0;
  Loop::Steady progress = std::chrono::steady_clock::now();
  Http2Exchange* exchange = nullptr;
};

class Http2Connection final : public ServerConnection {
 public:
  explicit Http2Connection(Accepted accepted)
      : server_(std::move(accepted.server)), loop_(accepted.transport->loop()),
        transport_(std::move(accepted.transport)), peer_(std::move(accepted.peer)),
        count_(std::move(accepted.count)), standing_(std::move(accepted.standing)),
        max_body_bytes_(accepted.max_body_bytes), head_timeout_(accepted.head_timeout),
        body_timeout_(accepted.body_timeout) {}
  ~Http2Connection() override { nghttp2_session_del(session_); }
  void open() override;
  void close() override;
  void flush() override;
  void shut_down() override;
  bool busy_for_shutdown() const override;
  bool stale(Loop::Steady before) override;

  // From the exchanges.
  void receive(int32_t id, std::function<void()> then);
  void known() { standing_.known(); }
  void respond(int32_t id, int status, Headers&& headers, std::vector<Bytes>&& body);
  void start(int32_t id, int status, Headers&& headers);
  void write(int32_t id, Bytes chunk);
  void finish(int32_t id);
  void abandoned(int32_t id);
  size_t queued_bytes(int32_t id) const;

 private:
  struct Callbacks;
  friend struct Callbacks;
  void read();
  bool take(std::string_view data);
  bool count_empty(double frames);
  void body_is_whole(Stream& stream);
  void consume(Stream& stream);
  void leave_body(Stream& stream);
  void produce();
  void dirty();
  void dispatch(Stream& stream);
  void refuse(Stream& stream, int status, const std::string& text);
  void reset(int32_t id, uint32_t code) { nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, code); }
  void submit_head(Stream& stream, int status, const Headers& headers, int64_t length, bool with_body);
  Stream* find(int32_t id) {
    auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : &it->second;
  }
  void schedule_stale_check();
  std::shared_ptr<Http2Connection> self() {
    return std::static_pointer_cast<Http2Connection>(shared_from_this());
  }

  std::weak_ptr<Server::Impl> server_;
  Loop& loop_;
  std::unique_ptr<Transport> transport_;
  Peer peer_;
  std::shared_ptr<void> count_;
  Standing standing_;
  size_t max_body_bytes_;
  Duration head_timeout_, body_timeout_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, Stream> streams_;
  std::vector<int32_t> drained_;
  size_t bodies_bytes_ = 0;
  std::string in_;  // read, and its turn is not yet
  double empty_left_ = kMaxEmptyFrames;
  Loop::Steady counted_ = std::chrono::steady_clock::now();
  int large_heads_ = 0;
  bool closed_ = false, receiving_ = false, stopping_ = false;
  Loop::Steady last_ = std::chrono::steady_clock::now();
  Loop::Handle stale_, head_deadline_;
};

class Http2Exchange final : public CarriedExchange {
 public:
  Http2Exchange(Http2Connection* connection, int32_t id, Request request, Charge charge)
      : CarriedExchange(std::move(request), std::move(charge)), connection_(connection), id_(id) {}
  ~Http2Exchange() override {
    if (connection_) connection_->abandoned(id_);
  }
  void receive(std::function<void()> then) override {
    if (connection_) connection_->receive(id_, std::move(then));
  }
  void known() override {
    charge_known();
    if (connection_) connection_->known();
  }
  void respond(int status, Headers headers, std::vector<Bytes> body) override {
    if (!connection_) return;
    answer();
    connection_->respond(id_, status, std::move(headers), std::move(body));
  }
  void start(int status, Headers headers) override {
    if (!connection_) return;
    answer();
    connection_->start(id_, status, std::move(headers));
  }
  void write(Bytes chunk) override {
    if (connection_) connection_->write(id_, std::move(chunk));
  }
  void finish() override {
    if (connection_) connection_->finish(id_);
  }
  size_t queued_bytes() const override { return connection_ ? connection_->queued_bytes(id_) : 0; }
  // RFC 9113 section 8.6: there is no upgrade; clients that want one take HTTP/1.1.
  std::unique_ptr<ByteStream> upgrade(Headers) override {
    respond(505, {}, std::vector<Bytes>{bytes("upgrades need HTTP/1.1\n")});
    return nullptr;
  }
  void detach(bool closed) {
    connection_ = nullptr;
    ended(closed);
  }

 private:
  Http2Connection* connection_;
  int32_t id_;
};

struct Http2Connection::Callbacks {
  static Http2Connection& of(void* user) { return *static_cast<Http2Connection*>(user); }

  // Every frame's head, before anything of it is looked at.
  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user) {
    Http2Connection& c = of(user);
    if (c.closed_) return NGHTTP2_ERR_CALLBACK_FAILURE;  // by what an earlier frame led to
    bool carries =
        head->type == NGHTTP2_HEADERS || head->type == NGHTTP2_CONTINUATION ||
        (head->type == NGHTTP2_DATA && (head->length > 0 || (head->flags & NGHTTP2_FLAG_END_STREAM)));
    return carries || c.count_empty(1) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  // Frames of types that nobody knows are taken, so that they are counted, and passed over.
  static int unpack_unknown(nghttp2_session*, void** payload, const nghttp2_frame_hd*, void*) {
    *payload = nullptr;
    return 0;
  }
  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Connection& c = of(user);
    // One that has begun has to end; a stream that is gone meanwhile was refused.
    c.head_deadline_ = c.loop_.after(c.head_timeout_, [&c, id = frame->hd.stream_id] {
      auto keep = c.shared_from_this();
      if (Stream* stream = c.find(id); stream && !stream->head_done) c.close();
    });
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    Stream& stream = c.streams_[frame->hd.stream_id];
    stream.id = frame->hd.stream_id;
    return 0;
  }
  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* user) {
    Http2Connection& c = of(user);
    Stream* stream = c.find(frame->hd.stream_id);
    if (!stream) return 0;
    // Trailers say nothing to us, and count: one byte may stand for 4 KiB of the table (HPACK).
    size_t size = name_size + value_size + 32;
    stream->header_bytes += size;
    if (stream->header_bytes > 2 * kMaxHeaderBytes) return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream->head_done || stream->header_bytes > kMaxHeaderBytes)
      return 0;  // refused when the head is complete
    if (!stream->charge.grow(c.standing_, size)) {
      stream->header_bytes = kMaxHeaderBytes + 1;
      return 0;
    }
    std::string_view key(reinterpret_cast<const char*>(name), name_size),
        text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":method") stream->request.method = text;
    else if (key == ":path") stream->request.target = text;
    else if (key == ":authority") stream->authority = text;
    else if (!key.starts_with(':')) {
      // RFC 9113 section 8.3.1: one that names something else than :authority makes the request malformed.
      if (key == "host" && !stream->authority.empty() && text != stream->authority) stream->bad_host = true;
      stream->request.headers.add(std::string(key), std::string(text));
    }
    return 0;
  }
  static int data_chunk(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                        void* user) {
    Http2Connection& c = of(user);
    Stream* stream = c.find(id);
    if (!stream || !stream->exchange || stream->answered) {
      nghttp2_session_consume(session, id, size);
      return 0;
    }
    // The stream's window alone waits: what one handler leaves unread must not hold up the others.
    nghttp2_session_consume_connection(session, size);
    stream->unconsumed += size;
    if (stream->body.size() + size > c.max_body_bytes_) {
      c.refuse(*stream, 413, "request body too large");
      return 0;
    }
    if (c.bodies_bytes_ + size > kMaxBodiesBytes || !stream->charge.grow(c.standing_, size)) {
      c.refuse(*stream, 429, "too many unfinished requests on this connection");
      return 0;
    }
    c.bodies_bytes_ += size;
    stream->body.append(reinterpret_cast<const char*>(data), size);
    if (stream->receive) c.consume(*stream);
    return 0;
  }
  static int frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Connection& c = of(user);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) c.head_deadline_.cancel();
    Stream* stream = c.find(frame->hd.stream_id);
    if (!stream) return 0;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_HEADERS && !stream->head_done) {
      stream->head_done = true;
      stream->body_done = ends;
      if (stream->header_bytes > kMaxHeaderBytes) {
        if (++c.large_heads_ > kMaxLargeHeads) return NGHTTP2_ERR_CALLBACK_FAILURE;
        c.refuse(*stream, 431, "request head too large");
      } else if (stream->bad_host) {
        c.reset(stream->id, NGHTTP2_PROTOCOL_ERROR);
      } else {
        c.dispatch(*stream);
      }
      return 0;
    }
    if (ends && !stream->body_done) {
      stream->body_done = true;
      c.body_is_whole(*stream);
    }
    return 0;
  }
  static int stream_close(nghttp2_session*, int32_t id, uint32_t, void* user) {
    Http2Connection& c = of(user);
    auto it = c.streams_.find(id);
    if (it == c.streams_.end()) return 0;
    Stream stream = std::move(it->second);
    c.streams_.erase(it);
    c.bodies_bytes_ -= std::min(c.bodies_bytes_, stream.body.size());
    // `finished` and nothing queued: the answer went out whole.
    if (stream.exchange) stream.exchange->detach(!(stream.finished && stream.queued_bytes == 0));
    return 0;
  }
  static ssize_t read_data(nghttp2_session*, int32_t id, uint8_t*, size_t length, uint32_t* flags,
                           nghttp2_data_source*, void* user) {
    Http2Connection& c = of(user);
    Stream* stream = c.find(id);
    if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = std::min(length, stream->queued_bytes);
    if (n == stream->queued_bytes && stream->finished) *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (n == 0) return NGHTTP2_ERR_DEFERRED;
    if (n > 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return static_cast<ssize_t>(n);
  }
  static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* head, size_t length,
                       nghttp2_data_source*, void* user) {
    Http2Connection& c = of(user);
    Stream* stream = c.find(frame->hd.stream_id);
    if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    c.transport_->queue(std::string(reinterpret_cast<const char*>(head), 9));
    stream->queued_bytes -= length;
    c.empty_left_ = std::min(kMaxEmptyFrames, c.empty_left_ + kFramesPerData);
    while (length > 0) {
      Bytes& front = stream->pieces.front();
      size_t n = std::min(length, front->size() - stream->piece_offset);
      length -= n;
      if (stream->piece_offset + n == front->size()) {
        c.transport_->queue(std::move(front), stream->piece_offset, n);
        stream->pieces.pop_front();
        stream->piece_offset = 0;
      } else {
        c.transport_->queue(front, stream->piece_offset, n);
        stream->piece_offset += n;
      }
    }
    stream->progress = std::chrono::steady_clock::now();
    if (stream->queued_bytes == 0 && stream->streaming && stream->exchange) c.drained_.push_back(stream->id);
    return 0;
  }
  // Answered before its end: the rest of the request is not wanted (RFC 9113 section 8.1).
  static int frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
      return 0;
    Stream* stream = of(user).find(frame->hd.stream_id);
    if (stream && !stream->body_done)
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    return 0;
  }
  static const nghttp2_session_callbacks* get() {
    static nghttp2_session_callbacks* made = [] {
      nghttp2_session_callbacks* callbacks;
      SAMPAN_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
      nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, begin_frame);
      nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, unpack_unknown);
      nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_chunk);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_recv);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_close);
      nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_sent);
      nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
      return callbacks;
    }();
    return made;
  }
};

void Http2Connection::open() {
  nghttp2_option* option;
  SAMPAN_CHECK(nghttp2_option_new(&option) == 0);
  nghttp2_option_set_no_closed_streams(option, 1);  // priorities are not used: nothing of them is kept
  nghttp2_option_set_stream_reset_rate_limit(option, 1000, 33);
  nghttp2_option_set_max_continuations(option, 8);
  nghttp2_option_set_max_outbound_ack(option, 200);
  nghttp2_option_set_max_settings(option, 32);
  nghttp2_option_set_no_auto_window_update(option, 1);
  for (int type = NGHTTP2_CONTINUATION + 1; type < 256; ++type)
    nghttp2_option_set_user_recv_extension_type(option, static_cast<uint8_t>(type));
  SAMPAN_CHECK(nghttp2_session_server_new2(&session_, Callbacks::get(), this, option) == 0);
  nghttp2_option_del(option);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeaderBytes}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  standing_.is(weak_from_this());
  head_deadline_ = loop_.after(head_timeout_, [this] {  // of the first one
    auto keep = shared_from_this();
    close();
  });
  transport_->set_ready([this](uint32_t) {
    auto keep = shared_from_this();
    if (closed_) return;
    if (transport_->queued_bytes() > 0) flush();
    if (!closed_) read();
  });
  transport_->want_read(true);
  flush();
  if (!closed_ && transport_->has_pending()) read();
}

void Http2Connection::close() {
  if (closed_) return;
  closed_ = true;
  auto keep = shared_from_this();
  stale_.cancel();
  head_deadline_.cancel();
  if (auto server = server_.lock()) server->gone(keep);
  auto transport = std::move(transport_);
  auto streams = std::exchange(streams_, {});
  for (auto& [id, stream] : streams)
    if (auto* exchange = std::exchange(stream.exchange, nullptr)) exchange->detach(true);
  count_.reset();
  standing_ = {};
  std::string().swap(in_);
}

bool Http2Connection::stale(Loop::Steady before) {
  if (closed_) return false;
  if (transport_->queued_bytes() > 0 || streams_.empty()) return last_ < before;
  // A stream for which the client gives no window goes alone.
  for (const auto& [id, stream] : streams_)
    if (stream.queued_bytes > 0 && stream.progress < before) reset(id, NGHTTP2_CANCEL);
  flush();
  return false;
}
bool Http2Connection::busy_for_shutdown() const {
  if (transport_->queued_bytes() > 0) return true;
  for (const auto& [id, stream] : streams_)
    if (!stream.streaming) return true;
  return false;
}
void Http2Connection::shut_down() {
  if (closed_) return;
  stopping_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  flush();
}

void Http2Connection::read() {
  if (!in_.empty()) return;  // its turn comes
  for (int rounds = 0; rounds < 16; ++rounds) {
    std::string_view data;
    switch (transport_->read(&data)) {
      case Io::kBlocked: return;
      case Io::kEnd:
      case Io::kError: return close();
      case Io::kOk: break;
    }
    size_t size = data.size();
    if (!take(data) || closed_) return;
    if (!transport_->has_pending() && size < (16 << 10)) return;
  }
}

// In slices, for a few milliseconds: many small frames are much work. False: what is left waits for the
// next round of the loop, and nothing is read meanwhile.
bool Http2Connection::take(std::string_view data) {
  auto end = std::chrono::steady_clock::now() + kInputTurn;
  while (!data.empty()) {
    std::string_view slice = data.substr(0, kSliceBytes);
    data.remove_prefix(slice.size());
    receiving_ = true;
    ssize_t used =
        nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(slice.data()), slice.size());
    receiving_ = false;
    if (closed_) return false;
    if (used < 0) {
      // The GOAWAY that tells why is queued by nghttp2 unless the preface or a limit of ours was the cause.
      if (used == NGHTTP2_ERR_CALLBACK_FAILURE)
        nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
      flush();
      close();
      return false;
    }
    flush();
    if (closed_) return false;
    if (data.empty() || std::chrono::steady_clock::now() < end) continue;
    in_.assign(data);
    transport_->want_read(false);
    loop_.post([weak = weak_from_this()] {
      auto held = std::static_pointer_cast<Http2Connection>(weak.lock());
      if (!held || held->closed_) return;
      std::string left = std::exchange(held->in_, {});
      if (!held->take(left) || held->closed_) return;
      held->transport_->want_read(true);
      if (held->transport_->has_pending()) held->read();
    });
    return false;
  }
  return true;
}

// Each costs little, and there is no end to them: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM,
// empty DATA and unknown frames (CVE-2019-9511 to 9518).
bool Http2Connection::count_empty(double frames) {
  if (empty_left_ < frames) {
    auto now = std::chrono::steady_clock::now();
    empty_left_ =
        std::min(kMaxEmptyFrames,
                 empty_left_ + std::chrono::duration<double>(now - counted_).count() * kEmptyFramesPerSecond);
    counted_ = now;
  }
  empty_left_ -= frames;
  return empty_left_ >= 0;
}

// Frames what may be sent now, as far as the socket keeps up.
void Http2Connection::produce() {
  while (transport_->queued_bytes() < kMaxReadyBytes) {
    const uint8_t* data = nullptr;
    size_t before = transport_->queued_bytes();
    ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) return close();
    if (n > 0) transport_->queue(std::string(reinterpret_cast<const char*>(data), static_cast<size_t>(n)));
    if (closed_ || transport_->queued_bytes() == before) return;
  }
}

void Http2Connection::flush() {
  if (closed_ || receiving_) return;
  auto keep = shared_from_this();
  for (;;) {
    produce();
    if (closed_) return;
    size_t before = transport_->queued_bytes();
    Io io = transport_->flush();
    if (transport_->queued_bytes() < before) last_ = std::chrono::steady_clock::now();
    if (io == Io::kBlocked) return;
    if (io != Io::kOk) return close();
    if (!nghttp2_session_want_read(session_) && !nghttp2_session_want_write(session_)) return close();
    if (before == 0) break;
  }
  // What is written now goes out in the next round of the loop: a fast reader must not keep it to itself.
  auto drained = std::exchange(drained_, {});
  for (int32_t id : drained) {
    Stream* stream = find(id);
    if (stream && stream->exchange && stream->queued_bytes == 0) stream->exchange->drained();
    if (closed_) return;
  }
  if (stopping_) {
    if (streams_.empty()) return close();
    if (auto server = server_.lock()) server->end_if_quiet();
  }
}
void Http2Connection::dirty() {
  if (auto server = server_.lock(); server && !closed_) server->dirty(shared_from_this());
}

void Http2Connection::dispatch(Stream& stream) {
  auto server = server_.lock();
  if (!server) return;
  last_ = std::chrono::steady_clock::now();
  stream.dispatched = true;
  stream.is_head = stream.request.method == "HEAD";
  // The same names as in HTTP/1.1: what is made of a request must not depend on its version.
  if (!stream.authority.empty() && stream.request.headers.get("host").empty())
    stream.request.headers.add("Host", std::move(stream.authority));
  stream.request.peer = peer_;
  if (!standing_.count_request() && !stopping_) shut_down();
  auto exchange =
      std::make_shared<Http2Exchange>(this, stream.id, std::move(stream.request), std::move(stream.charge));
  stream.request = {};
  stream.exchange = exchange.get();
  server->handler(std::move(exchange));  // may close this connection
}

void Http2Connection::receive(int32_t id, std::function<void()> then) {
  Stream* stream = find(id);
  if (!stream || closed_) return;
  if (stream->received) return then();
  stream->receive = std::move(then);
  if (stream->body_done) return body_is_whole(*stream);
  stream->progress = std::chrono::steady_clock::now();
  if (stream->body.empty() && stream->exchange->request().headers.get("expect") == "100-continue") {
    static const nghttp2_nv status{(uint8_t*)":status", (uint8_t*)"100", 7, 3, NGHTTP2_NV_FLAG_NONE};
    nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, id, nullptr, &status, 1, nullptr);
  }
  consume(*stream);
  schedule_stale_check();
  dirty();
}
// Gives the window back for what came of a body that is wanted.
void Http2Connection::consume(Stream& stream) {
  if (size_t size = std::exchange(stream.unconsumed, 0))
    nghttp2_session_consume_stream(session_, stream.id, size);
}
// The answer comes without it.
void Http2Connection::leave_body(Stream& stream) {
  stream.receive = nullptr;
  bodies_bytes_ -= std::min(bodies_bytes_, stream.body.size());
  std::string().swap(stream.body);
  consume(stream);
}
void Http2Connection::body_is_whole(Stream& stream) {
  if (!stream.receive || !stream.exchange) return;
  stream.received = true;
  consume(stream);
  bodies_bytes_ -= std::min(bodies_bytes_, stream.body.size());
  stream.exchange->set_body(std::exchange(stream.body, {}), std::move(stream.charge));
  auto then = std::exchange(stream.receive, nullptr);
  then();  // may end the stream
}

void Http2Connection::refuse(Stream& stream, int status, const std::string& text) {
  Headers headers;
  std::string type = "text/plain; charset=utf-8",
              body = std::string(status_text(status)) + ": " + text + "\n";
  if (auto server = server_.lock(); server && server->options.refusal)
    std::tie(type, body) = server->options.refusal(status, text);
  headers.add("Content-Type", std::move(type));
  if (status == 429) headers.add("Retry-After", "1");
  int32_t id = stream.id;
  auto receive = std::exchange(stream.receive, nullptr);
  leave_body(stream);
  stream.charge.release();
  if (auto* exchange = std::exchange(stream.exchange, nullptr)) exchange->detach(true);
  respond(id, status, std::move(headers), {bytes(std::move(body))});
}

// Names in lower case; what belongs to the connection of HTTP/1.1 is left out (RFC 9113 section 8.2).
void Http2Connection::submit_head(Stream& stream, int status, const Headers& headers, int64_t length,
                                  bool with_body) {
  std::string text;  // all names and values that are made here
  text.reserve(512);
  struct Range {
    size_t name, name_size, value, value_size;
  };
  std::vector<Range> ranges;
  auto add = [&](std::string_view name, std::string_view value) {
    Range range{text.size(), name.size(), text.size() + name.size(), value.size()};
    for (char c : name) text += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    for (char c : value) text += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    ranges.push_back(range);
  };
  add(":status", std::to_string(status));
  bool has_date = false, has_length = false;
  auto same = [](std::string_view a, std::string_view lower) {
    return a.size() == lower.size() && std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) {
             return (x >= 'A' && x <= 'Z' ? x + 32 : x) == y;
           });
  };
  for (const auto& [name, value] : headers.list) {
    if (same(name, "connection") || same(name, "transfer-encoding") || same(name, "keep-alive") ||
        same(name, "upgrade") || same(name, "proxy-connection"))
      continue;
    if (same(name, "content-length")) {
      if (length >= 0) continue;
      has_length = true;
    }
    if (same(name, "date")) has_date = true;
    add(name, value);
  }
  if (length >= 0 && !has_length) add("content-length", std::to_string(length));
  if (!has_date) add("date", std::string_view(date_line()).substr(6, date_line().size() - 8));
  std::vector<nghttp2_nv> fields;
  fields.reserve(ranges.size());
  auto* base = reinterpret_cast<uint8_t*>(text.data());
  for (const Range& r : ranges)
    fields.push_back({base + r.name, base + r.value, r.name_size, r.value_size, NGHTTP2_NV_FLAG_NONE});
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::read_data;
  nghttp2_submit_response(session_, stream.id, fields.data(), fields.size(), with_body ? &provider : nullptr);
}

void Http2Connection::respond(int32_t id, int status, Headers&& headers, std::vector<Bytes>&& body) {
  Stream* stream = find(id);
  if (!stream || closed_) return;
  int64_t length = 0;
  for (const Bytes& part : body)
    if (part) length += static_cast<int64_t>(part->size());
  bool bodiless = stream->is_head || status == 204 || status == 304 || status < 200;
  bool no_length = status == 204 || status < 200 || (status == 304 && length == 0);
  auto receive = std::exchange(stream->receive, nullptr);  // may hold the exchange
  leave_body(*stream);
  stream->answered = stream->finished = true;
  stream->progress = std::chrono::steady_clock::now();
  if (!bodiless && length > 0) {
    for (Bytes& part : body)
      if (part && !part->empty()) stream->pieces.push_back(std::move(part));
    stream->queued_bytes += static_cast<size_t>(length);
  }
  submit_head(*stream, status, headers, no_length ? -1 : length, stream->queued_bytes > 0);
  dirty();
}
void Http2Connection::start(int32_t id, int status, Headers&& headers) {
  Stream* stream = find(id);
  if (!stream || closed_) return;
  auto receive = std::exchange(stream->receive, nullptr);
  leave_body(*stream);
  stream->answered = stream->streaming = true;
  stream->finished = stream->is_head || status == 204 || status == 304;
  submit_head(*stream, status, headers, -1, !stream->finished);
  dirty();
}
void Http2Connection::write(int32_t id, Bytes chunk) {
  Stream* stream = find(id);
  if (!stream || closed_ || !chunk || chunk->empty() || !stream->streaming || stream->finished) return;
  if (stream->queued_bytes == 0) stream->progress = std::chrono::steady_clock::now();
  stream->queued_bytes += chunk->size();
  stream->pieces.push_back(std::move(chunk));
  auto server = server_.lock();
  if (!server) return;
  if (stream->queued_bytes > server->options.max_queued_bytes) {
    // Not from inside the caller's loop over its watchers, and after one try to send.
    loop_.post([weak = std::weak_ptr<Http2Connection>(self()), id, limit = server->options.max_queued_bytes] {
      auto self = weak.lock();
      if (!self || self->closed_) return;
      self->flush();
      Stream* stream = self->closed_ ? nullptr : self->find(id);
      if (!stream || stream->queued_bytes <= limit) return;
      self->reset(id, NGHTTP2_ENHANCE_YOUR_CALM);
      self->flush();
    });
  }
  nghttp2_session_resume_data(session_, id);
  dirty();
}
void Http2Connection::finish(int32_t id) {
  Stream* stream = find(id);
  if (!stream || closed_ || !stream->streaming) return;
  stream->finished = true;
  nghttp2_session_resume_data(session_, id);
  dirty();
}
void Http2Connection::abandoned(int32_t id) {
  Stream* stream = find(id);
  if (!stream || closed_) return;
  stream->exchange = nullptr;
  if (stream->answered && (stream->finished || !stream->streaming)) return;
  if (stream->answered) {  // cut short: the client must not take it for complete
    reset(id, NGHTTP2_INTERNAL_ERROR);
    return dirty();
  }
  Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  respond(id, 500, std::move(headers), {bytes("the request was dropped without an answer\n")});
}
size_t Http2Connection::queued_bytes(int32_t id) const {
  auto it = streams_.find(id);
  return it == streams_.end() ? 0 : it->second.queued_bytes;
}

// Bodies that are wanted and do not come. One timer while there are any.
void Http2Connection::schedule_stale_check() {
  if (stale_.active()) return;
  stale_ = loop_.after(body_timeout_ / 4, [this] {
    auto keep = shared_from_this();
    auto before = std::chrono::steady_clock::now() - body_timeout_;
    bool waiting = false;
    std::vector<int32_t> late;
    for (auto& [id, stream] : streams_) {
      if (!stream.receive) continue;
      if (stream.progress < before) late.push_back(id);
      else waiting = true;
    }
    for (int32_t id : late) {
      if (Stream* stream = find(id)) refuse(*stream, 408, "the body did not come in time");
      if (closed_) return;
    }
    flush();
    if (!closed_ && waiting) schedule_stale_check();
  });
}
}  // namespace

std::shared_ptr<ServerConnection> make_http2_connection(Accepted accepted) {
  return std::make_shared<Http2Connection>(std::move(accepted));
}

}  // namespace base::http
