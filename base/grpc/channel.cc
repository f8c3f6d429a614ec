#include "base/grpc/channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <list>
#include <map>

#include "base/http/transport.h"
#include "base/sys.h"

namespace base::grpc {

namespace {

using Io = http::Transport::Io;

constexpr size_t kMaxHeaderBytes = 16 << 10, kMaxHeaders = 128, kFrameHead = 5;

int code_of_http(int status) {
  switch (status) {
    case 400: return kInternal;
    case 401: return kUnauthenticated;
    case 403: return kPermissionDenied;
    case 404: return kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return kUnavailable;
    default: return kUnknown;
  }
}

}  // namespace

std::string code_text(int code) {
  static const char* const names[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return code >= 0 && code < static_cast<int>(std::size(names)) ? names[code]
                                                                : "Code(" + std::to_string(code) + ")";
}
std::string Status::text() const {
  return ok() ? "OK" : "rpc error: code = " + code_text(code) + " desc = " + message;
}

// Outlives the channel while tasks that it posted are under way.
class Channel::Connection : public std::enable_shared_from_this<Channel::Connection> {
 public:
  struct One {
    std::string method, request;  // with its frame's head
    size_t sent = 0;
    Done done;
    bool waits = false, is_over = false;
    Duration timeout{};
    Loop::Handle timer;
    int32_t stream = -1;
    size_t header_bytes = 0;
    std::map<std::string, std::string> headers;  // and trailers
    std::string message;
  };
  using OnePtr = std::shared_ptr<One>;

  Connection(Loop& loop, Options options) : loop_(loop), options_(std::move(options)) {}
  ~Connection() { nghttp2_session_del(session_); }

  void begin(const OnePtr& one) {
    calls_.push_back(one);
    one->timer = loop_.after(one->timeout, [this, one] {
      end(one, {kDeadlineExceeded, "context deadline exceeded"});
      push();
    });
    if (ready_) {
      ask(one);
      push();
    } else if (!transport_ && !redial_.active()) {
      redial_ = loop_.after({}, [this] { dial(); });
    }
  }
  void cancel(const OnePtr& one) {
    one->done = nullptr;
    if (one->is_over) return;
    end(one, {kCanceled, "context canceled"});
    push();
  }
  // Of a channel that is gone: nothing is answered any more.
  void close() {
    for (const OnePtr& one : calls_) one->done = nullptr, one->timer.cancel(), one->is_over = true;
    calls_.clear();
    redial_.cancel();
    drop();
  }
  bool is_ready() const { return ready_; }

 private:
  // Answers with a later turn of the loop: nghttp2 or the caller may be on the stack.
  void end(const OnePtr& one, Status status, std::string reply = {}) {
    if (std::exchange(one->is_over, true)) return;
    one->timer.cancel();
    calls_.remove(one);
    if (one->stream >= 0) {
      streams_.erase(one->stream);
      if (session_) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, one->stream, NGHTTP2_CANCEL);
    }
    loop_.post([one, status = std::move(status), reply = std::move(reply)]() mutable {
      if (auto done = std::exchange(one->done, nullptr)) done(std::move(status), std::move(reply));
    });
  }

  void dial() {
    auto socket = http::parse_address(options_.host, options_.port);
    if (!socket.ok()) return refused(socket.error().message(), false);
    const sa_family_t family = socket->storage.ss_family;
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return refused(sys::last_error("socket", options_.host).message(), true);
    const int on = 1;
    if (family != AF_UNIX) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&socket->storage), socket->size) != 0 &&
        errno != EINPROGRESS)
      return refused(std::strerror(errno), true);
    connected_ = false;
    transport_ = std::make_unique<http::Transport>(loop_, std::move(fd), nullptr, false);
    transport_->set_ready([this](uint32_t) { ready(); });
    transport_->want_write_once();
  }
  // Never was one. Who waits is asked for again while there is time.
  void refused(const std::string& why, bool again) {
    drop();
    const bool is_unix = options_.host.starts_with("unix:");
    const std::string where = is_unix ? "unix " + options_.host.substr(5)
                                      : "tcp " + options_.host + ":" + std::to_string(options_.port);
    for (const OnePtr& one : std::list<OnePtr>(calls_))
      if (!one->waits || !again)
        end(one, {kUnavailable, "connection error: desc = \"transport: Error while dialing: dial " + where +
                                    ": connect: " + why + "\""});
    if (!calls_.empty()) redial_ = loop_.after(options_.redial, [this] { dial(); });
  }
  // Is one no more. What was asked may have been done: who called has to find out.
  void lost(const std::string& why) {
    if (!ready_) return refused(why, true);
    drop();
    for (const OnePtr& one : std::list<OnePtr>(calls_)) end(one, {kUnavailable, why});
  }
  void drop() {
    nghttp2_session_del(std::exchange(session_, nullptr));
    streams_.clear();
    for (const OnePtr& one : calls_) one->stream = -1;
    connected_ = ready_ = false;
    if (transport_) http::retire(std::move(transport_));
  }

  void ready() {
    auto keep = shared_from_this();
    if (!transport_) return;
    if (!connected_) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(transport_->fd(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) return refused(std::strerror(error), true);
      connected_ = true;
      transport_->flush();
      transport_->want_read(true);
      if (!open()) return lost("no HTTP/2 session");
    }
    if (!send()) return lost("error writing to server");
    for (int rounds = 0; rounds < 16 && transport_; ++rounds) {
      std::string_view data;
      const Io io = transport_->read(&data);
      if (io == Io::kBlocked) return;
      if (io != Io::kOk) return lost("error reading from server: EOF");
      const ssize_t n =
          nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(data.data()), data.size());
      if (n < 0)
        return lost(std::string("error reading from server: ") + nghttp2_strerror(static_cast<int>(n)));
      if (!send()) return lost("error writing to server");
      if (!nghttp2_session_want_read(session_) && !nghttp2_session_want_write(session_))
        return lost("error reading from server: EOF");
    }
  }
  // What is to be sent outside of ready().
  void push() {
    if (session_ && transport_ && connected_ && !send()) lost("error writing to server");
  }
  bool send() {
    const uint8_t* data = nullptr;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(session_, &data)) > 0)
      transport_->queue(std::string(reinterpret_cast<const char*>(data), static_cast<size_t>(n)));
    if (n < 0) return false;
    const Io io = transport_->flush();
    return io == Io::kOk || io == Io::kBlocked;
  }

  bool open() {
    nghttp2_session_callbacks* callbacks = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) return false;
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    const int made = nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    if (made != 0) return false;
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeaderBytes}};
    return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 2) == 0;
  }

  void ask(const OnePtr& one) {
    const auto left = std::clamp<int64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(one->timeout).count(), 1, 99'999'999);
    const std::pair<std::string, std::string> headers[] = {{":method", "POST"},
                                                           {":scheme", "http"},
                                                           {":path", one->method},
                                                           {":authority", options_.authority},
                                                           {"content-type", "application/grpc"},
                                                           {"user-agent", options_.user_agent},
                                                           {"te", "trailers"},
                                                           {"grpc-timeout", std::to_string(left) + "m"}};
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : headers)
      list.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                      NGHTTP2_NV_FLAG_NONE});
    nghttp2_data_provider body{};
    body.source.ptr = this;
    body.read_callback = on_body;
    one->stream = nghttp2_submit_request(session_, nullptr, list.data(), list.size(), &body, nullptr);
    if (one->stream < 0) return end(one, {kUnavailable, nghttp2_strerror(one->stream)});
    streams_[one->stream] = one;
  }

  static OnePtr find(void* user, int32_t stream) {
    auto* self = static_cast<Connection*>(user);
    auto it = self->streams_.find(stream);
    return it == self->streams_.end() ? nullptr : it->second;
  }
  static ssize_t on_body(nghttp2_session*, int32_t stream, uint8_t* buffer, size_t size, uint32_t* flags,
                         nghttp2_data_source* source, void*) {
    const OnePtr one = find(source->ptr, stream);
    if (!one) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const size_t n = std::min(size, one->request.size() - one->sent);
    std::copy_n(one->request.data() + one->sent, n, reinterpret_cast<char*>(buffer));
    one->sent += n;
    if (one->sent == one->request.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }
  // The server's SETTINGS make the connection one; only then is anything asked.
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto* self = static_cast<Connection*>(user);
    if (frame->hd.type != NGHTTP2_SETTINGS || frame->hd.flags & NGHTTP2_FLAG_ACK ||
        std::exchange(self->ready_, true))
      return 0;
    for (const OnePtr& one : std::list<OnePtr>(self->calls_)) self->ask(one);
    return 0;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t, void* user) {
    const OnePtr one = find(user, frame->hd.stream_id);
    if (!one) return 0;
    one->header_bytes += name_size + value_size;
    if (one->header_bytes > kMaxHeaderBytes || one->headers.size() >= kMaxHeaders) {
      static_cast<Connection*>(user)->end(one, {kInternal, "the server's headers are too large"});
      return 0;
    }
    one->headers[std::string(reinterpret_cast<const char*>(name), name_size)] =
        std::string(reinterpret_cast<const char*>(value), value_size);
    return 0;
  }
  static int on_data(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t size,
                     void* user) {
    const OnePtr one = find(user, stream);
    if (!one) return 0;
    auto* self = static_cast<Connection*>(user);
    const size_t limit = self->options_.max_reply_bytes + kFrameHead;
    one->message.append(reinterpret_cast<const char*>(data), std::min(size, limit - one->message.size() + 1));
    if (one->message.size() > limit)
      self->end(one, {kResourceExhausted, "grpc: received message larger than max (more than " +
                                              std::to_string(self->options_.max_reply_bytes) + ")"});
    return 0;
  }
  static int on_close(nghttp2_session*, int32_t stream, uint32_t error, void* user) {
    const OnePtr one = find(user, stream);
    if (!one) return 0;
    auto* self = static_cast<Connection*>(user);
    self->streams_.erase(stream);
    one->stream = -1;
    std::string reply;
    Status status = judge(*one, error, &reply);
    self->end(one, std::move(status), std::move(reply));
    return 0;
  }

  static int number(const One& one, const std::string& header) {
    auto it = one.headers.find(header);
    int value = -1;
    if (it != one.headers.end())
      std::from_chars(it->second.data(), it->second.data() + it->second.size(), value);
    return value;
  }
  static Status judge(const One& one, uint32_t error, std::string* reply) {
    const int http_status = number(one, ":status");
    if (http_status != 200 && http_status > 0)
      return {code_of_http(http_status),
              "unexpected HTTP status code received from server: " + std::to_string(http_status) + " (" +
                  std::string(http::status_text(http_status)) + ")"};
    const int code = number(one, "grpc-status");
    if (code < 0) {
      if (error != 0)
        return {
            error == NGHTTP2_REFUSED_STREAM ? kUnavailable : kInternal,
            "stream terminated by RST_STREAM with error code: " + std::string(nghttp2_http2_strerror(error))};
      return {kInternal, "server closed the stream without sending trailers"};
    }
    if (code != kOk) {
      auto it = one.headers.find("grpc-message");
      std::string text = it == one.headers.end() ? "" : it->second;
      if (auto plain = http::unescape(text); plain.ok()) text = *plain;
      return {code, std::move(text)};
    }
    const auto byte = [&](size_t i) {
      return static_cast<uint32_t>(static_cast<unsigned char>(one.message[i]));
    };
    if (one.message.size() < kFrameHead) return {kInternal, "unexpected EOF"};
    const uint32_t size = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
    if (byte(0) != 0 || size != one.message.size() - kFrameHead)
      return {kInternal, "grpc: failed to unmarshal the received message"};
    *reply = one.message.substr(kFrameHead);
    return {};
  }

  Loop& loop_;
  const Options options_;
  std::unique_ptr<http::Transport> transport_;
  nghttp2_session* session_ = nullptr;
  bool connected_ = false, ready_ = false;
  std::list<OnePtr> calls_;  // that have no answer yet
  std::map<int32_t, OnePtr> streams_;
  Loop::Handle redial_;
};

namespace {
template <typename Connection, typename One>
struct Held final : Channel::Call {
  Held(std::weak_ptr<Connection> connection, std::shared_ptr<One> one)
      : connection_(std::move(connection)), one_(std::move(one)) {}
  ~Held() override {
    one_->done = nullptr;
    if (auto connection = connection_.lock()) connection->cancel(one_);
  }
  std::weak_ptr<Connection> connection_;
  std::shared_ptr<One> one_;
};
}  // namespace

Channel::Channel(Loop& loop, Options options)
    : connection_(std::make_shared<Connection>(loop, std::move(options))) {}
Channel::~Channel() { connection_->close(); }
bool Channel::is_ready() const { return connection_->is_ready(); }

std::unique_ptr<Channel::Call> Channel::call(std::string method, std::string message, Duration timeout,
                                             Done done, bool waits) {
  auto one = std::make_shared<Connection::One>();
  one->method = std::move(method);
  const auto size = static_cast<uint32_t>(message.size());
  one->request = {'\0', static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                  static_cast<char>(size >> 8), static_cast<char>(size)};
  one->request += message;
  one->done = std::move(done);
  one->waits = waits;
  one->timeout = timeout;
  connection_->begin(one);
  return std::make_unique<Held<Connection, Connection::One>>(connection_, std::move(one));
}

}  // namespace base::grpc
