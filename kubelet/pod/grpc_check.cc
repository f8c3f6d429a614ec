// grpc.health.v1.Health/Check on a connection of its own: nghttp2 speaks HTTP/2, without TLS and without
// ALPN, as gRPC's "insecure" credentials do. Words and judgement as the kubelet's (pkg/probe/grpc), the
// protocol as in gRPC's PROTOCOL-HTTP2.md.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include <charconv>
#include <map>

#include "base/http/transport.h"
#include "base/sys.h"
#include "kubelet/pod/net_check.h"

namespace kubelet {

namespace {

namespace http = base::http;
using Io = http::Transport::Io;

constexpr size_t kMaxReplyBytes = 64 << 10, kMaxHeaderBytes = 16 << 10;
constexpr auto kRedial = std::chrono::seconds(1);  // grpc-go's first back-off

const char* code_name(int code) {
  static const char* const names[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return code >= 0 && code < 17 ? names[code] : nullptr;
}
constexpr int kUnknown = 2, kDeadlineExceeded = 4, kUnimplemented = 12, kInternal = 13, kUnavailable = 14;

int code_of_http(int status) {
  switch (status) {
    case 400: return kInternal;
    case 401: return 16;
    case 403: return 7;
    case 404: return kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return kUnavailable;
    default: return kUnknown;
  }
}
std::string whole_seconds(base::Duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + "s";
}
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
std::optional<uint64_t> take_varint(std::string_view& in) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
  }
  return std::nullopt;
}
// HealthCheckResponse.status (field 1, an enum); absent is 0. Nothing: not a message.
std::optional<uint64_t> status_of(std::string_view in) {
  uint64_t status = 0;
  while (!in.empty()) {
    auto tag = take_varint(in);
    if (!tag) return std::nullopt;
    std::optional<uint64_t> skip;
    switch (*tag & 7) {
      case 0: {
        auto value = take_varint(in);
        if (!value) return std::nullopt;
        if (*tag >> 3 == 1) status = *value;
        continue;
      }
      case 1: skip = 8; break;
      case 2: skip = take_varint(in); break;
      case 5: skip = 4; break;
      default: return std::nullopt;
    }
    if (!skip || *skip > in.size()) return std::nullopt;
    in.remove_prefix(*skip);
  }
  return status;
}

class GrpcAttempt final : public NetAttempt {
 public:
  GrpcAttempt(base::Loop& loop, const NetTarget& target, std::string address, base::Duration timeout,
              NetDone done)
      : loop_(loop), where_(host_port(target.host, target.port)), address_(std::move(address)),
        port_(target.port), timeout_(timeout), done_(std::move(done)) {
    std::string message;
    if (!target.service.empty()) {
      message += '\x0a';
      put_varint(message, target.service.size());
      message += target.service;
    }
    const auto size = static_cast<uint32_t>(message.size());
    request_ = {'\0', static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                static_cast<char>(size >> 8), static_cast<char>(size)};
    request_ += message;
    redial_ = loop_.after({}, [this] { dial(); });
  }
  ~GrpcAttempt() override { nghttp2_session_del(session_); }

  Outcome overdue() const override {
    if (!ready_)
      return failure("timeout: failed to connect service \"" + where_ + "\" within " +
                     whole_seconds(timeout_) + ": context deadline exceeded");
    return failure("timeout: health rpc did not complete within " + whole_seconds(timeout_));
  }

 private:
  static Outcome failure(std::string message) { return {.success = false, .message = std::move(message)}; }
  void finish(Outcome outcome) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
  }
  void rpc_failed(int code, const std::string& description) {
    if (code == kUnimplemented)
      return finish(
          failure("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " +
                  description));
    if (code == kDeadlineExceeded) return finish(overdue());
    const char* name = code_name(code);
    finish(failure("error: health rpc probe failed: rpc error: code = " +
                   (name ? std::string(name) : "Code(" + std::to_string(code) + ")") +
                   " desc = " + description));
  }

  // A server that is not there yet is asked again while there is time, as by grpc.WithBlock().
  void dial() {
    auto socket = http::parse_address(address_, port_);
    if (!socket.ok())
      return finish(
          failure("error: failed to connect service at \"" + where_ + "\": " + socket.error().message()));
    base::UniqueFd fd(::socket(socket->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return finish(failure(base::sys::last_error("socket", where_).message()));
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&socket->storage), socket->size) != 0 &&
        errno != EINPROGRESS)
      return lost();
    connected_ = false;
    transport_ = std::make_unique<http::Transport>(loop_, std::move(fd), nullptr, false);
    transport_->set_ready([this](uint32_t) { ready(); });
    transport_->want_write_once();
  }
  // The connection is no more, or never was.
  void lost() {
    nghttp2_session_del(session_);
    session_ = nullptr;
    http::retire(std::move(transport_));
    if (!done_) return;
    if (ready_) return rpc_failed(kUnavailable, "error reading from server: EOF");
    redial_ = loop_.after(kRedial, [this] { dial(); });
  }

  void ready() {
    if (!done_ || !transport_) return;
    if (!connected_) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(transport_->fd(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) return lost();
      connected_ = true;
      transport_->flush();
      transport_->want_read(true);
      if (!open())
        return finish(failure("error: failed to connect service at \"" + where_ + "\": no HTTP/2 session"));
    }
    if (!send()) return lost();
    for (int rounds = 0; rounds < 16 && done_ && transport_; ++rounds) {
      std::string_view data;
      const Io io = transport_->read(&data);
      if (io == Io::kBlocked) return;
      if (io != Io::kOk) return lost();
      const ssize_t n =
          nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(data.data()), data.size());
      if (!done_) return;
      if (n < 0 || !send()) return lost();
      if (!nghttp2_session_want_read(session_) && !nghttp2_session_want_write(session_)) return lost();
    }
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
  // The server's SETTINGS make the connection one; only then is anything asked.
  void ask() {
    const auto left =
        std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(timeout_).count());
    const std::vector<std::pair<std::string, std::string>> headers = {
        {":method", "POST"},
        {":scheme", "http"},
        {":path", "/grpc.health.v1.Health/Check"},
        {":authority", where_},
        {"content-type", "application/grpc"},
        {"user-agent", "kube-probe/1.36 grpc-c/sampan"},
        {"te", "trailers"},
        {"grpc-timeout", std::to_string(std::min<int64_t>(left, 99'999'999)) + "m"}};
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : headers)
      list.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                      NGHTTP2_NV_FLAG_NONE});
    nghttp2_data_provider body{};
    body.source.ptr = this;
    body.read_callback = [](nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t* flags,
                            nghttp2_data_source* source, void*) -> ssize_t {
      auto* self = static_cast<GrpcAttempt*>(source->ptr);
      const size_t n = std::min(size, self->request_.size() - self->sent_);
      std::copy_n(self->request_.data() + self->sent_, n, reinterpret_cast<char*>(buffer));
      self->sent_ += n;
      if (self->sent_ == self->request_.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(n);
    };
    stream_ = nghttp2_submit_request(session_, nullptr, list.data(), list.size(), &body, nullptr);
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto* self = static_cast<GrpcAttempt*>(user);
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK) &&
        !std::exchange(self->ready_, true))
      self->ask();
    return 0;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t, void* user) {
    auto* self = static_cast<GrpcAttempt*>(user);
    if (frame->hd.stream_id != self->stream_) return 0;
    self->header_bytes_ += name_size + value_size;
    if (self->header_bytes_ > kMaxHeaderBytes) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    self->headers_[std::string(reinterpret_cast<const char*>(name), name_size)] =
        std::string(reinterpret_cast<const char*>(value), value_size);
    return 0;
  }
  static int on_data(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t size,
                     void* user) {
    auto* self = static_cast<GrpcAttempt*>(user);
    if (stream == self->stream_ && self->message_.size() <= kMaxReplyBytes)
      self->message_.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int on_close(nghttp2_session*, int32_t stream, uint32_t error, void* user) {
    auto* self = static_cast<GrpcAttempt*>(user);
    if (stream == self->stream_) self->judge(error);
    return 0;
  }

  int number(const std::string& header) const {
    auto it = headers_.find(header);
    int value = -1;
    if (it != headers_.end())
      std::from_chars(it->second.data(), it->second.data() + it->second.size(), value);
    return value;
  }
  void judge(uint32_t error) {
    const int http_status = number(":status");
    if (http_status != 200 && http_status > 0)
      return rpc_failed(code_of_http(http_status),
                        "unexpected HTTP status code received from server: " + std::to_string(http_status) +
                            " (" + std::string(http::status_text(http_status)) + ")");
    const int code = number("grpc-status");
    if (code < 0) {
      if (error != 0)
        return rpc_failed(
            error == NGHTTP2_REFUSED_STREAM ? kUnavailable : kInternal,
            "stream terminated by RST_STREAM with error code: " + std::string(nghttp2_http2_strerror(error)));
      return rpc_failed(kInternal, "server closed the stream without sending trailers");
    }
    if (code != 0) {
      auto it = headers_.find("grpc-message");
      std::string text = it == headers_.end() ? "" : it->second;
      if (auto plain = http::unescape(text); plain.ok()) text = *plain;
      return rpc_failed(code, text);
    }
    const auto byte = [&](size_t i) {
      return static_cast<uint32_t>(static_cast<unsigned char>(message_[i]));
    };
    if (message_.size() < 5) return rpc_failed(kInternal, "unexpected EOF");
    const uint32_t size = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
    std::optional<uint64_t> status;
    if (byte(0) == 0 && size == message_.size() - 5) status = status_of(std::string_view(message_).substr(5));
    if (!status) return rpc_failed(kInternal, "grpc: failed to unmarshal the received message");
    if (*status == 1) return finish({.success = true, .message = ""});
    static const char* const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    finish(failure("service unhealthy (responded with \"" +
                   (*status < 4 ? std::string(names[*status]) : std::to_string(*status)) + "\")"));
  }

  base::Loop& loop_;
  std::string where_, address_;
  int port_;
  base::Duration timeout_;
  NetDone done_;
  std::string request_;
  size_t sent_ = 0, header_bytes_ = 0;
  std::unique_ptr<http::Transport> transport_;
  nghttp2_session* session_ = nullptr;
  int32_t stream_ = -1;
  bool connected_ = false, ready_ = false;
  std::map<std::string, std::string> headers_;
  std::string message_;
  base::Loop::Handle redial_;
};

}  // namespace

std::unique_ptr<NetAttempt> ask_grpc(base::Loop& loop, const NetTarget& target, std::string address,
                                     base::Duration timeout, NetDone done) {
  return std::make_unique<GrpcAttempt>(loop, target, std::move(address), timeout, std::move(done));
}

}  // namespace kubelet
