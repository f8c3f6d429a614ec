// The connection of a probe; see the header. Reads no more than it needs and keeps nothing open.
#include "kubelet/net_check.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>

#include "base/fd.h"
#include "base/sys.h"

namespace kubelet {

namespace {

constexpr size_t kMaxAnswer = 64 << 10;

SSL_CTX* insecure_context() {
  // A probe asks whether the server answers, not who it is (Kubernetes: "certificate verification
  // is skipped").
  static SSL_CTX* context = [] {
    SSL_CTX* made = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(made, SSL_VERIFY_NONE, nullptr);
    return made;
  }();
  return context;
}

void put_frame(std::string& out, uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
  const size_t n = payload.size();
  const char head[9] = {static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n), static_cast<char>(type),
                        static_cast<char>(flags), 0, 0, 0, static_cast<char>(stream)};
  out.append(head, 9).append(payload);
}
void put_header(std::string& out, const std::string& name, const std::string& value) {
  // HPACK literal without indexing, no Huffman (RFC 7541 section 6.2.2); all shorter than 127.
  out += '\0';
  out += static_cast<char>(name.size());
  out += name;
  out += static_cast<char>(std::min<size_t>(value.size(), 126));
  out += value.substr(0, 126);
}
std::string grpc_request(const NetTarget& target) {
  std::string out = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  put_frame(out, 4, 0, 0, "");
  std::string headers;
  put_header(headers, ":method", "POST");
  put_header(headers, ":scheme", "http");
  put_header(headers, ":path", "/grpc.health.v1.Health/Check");
  put_header(headers, ":authority", target.ip + ":" + std::to_string(target.port));
  put_header(headers, "content-type", "application/grpc");
  put_header(headers, "te", "trailers");
  put_frame(out, 1, 4, 1, headers);
  std::string message;
  if (!target.service.empty())
    message = std::string("\x0a") + static_cast<char>(std::min<size_t>(target.service.size(), 126)) + target.service.substr(0, 126);
  std::string body("\0\0\0\0", 4);
  body += static_cast<char>(message.size());
  put_frame(out, 0, 1, 1, body + message);
  return out;
}

class Check final : public NetCheck {
 public:
  Check(base::Loop& loop, NetTarget target, base::Duration timeout, std::function<void(Outcome)> done)
      : loop_(loop), target_(std::move(target)), done_(std::move(done)) {
    timer_ = loop_.after(timeout, [this] { finish(false, timeout_text()); });
    std::string error = connect();
    if (!error.empty()) start_error_ = loop_.after({}, [this, error] { finish(false, error); });
  }
  ~Check() override {
    watch_.cancel();
    if (ssl_) SSL_free(ssl_);
  }

 private:
  std::string where() const {
    return target_.ip.find(':') == std::string::npos ? target_.ip + ":" + std::to_string(target_.port)
                                                     : "[" + target_.ip + "]:" + std::to_string(target_.port);
  }
  std::string prefix() const {
    if (target_.kind == NetTarget::Kind::kHttp) return "Get \"http://" + where() + target_.path + "\": ";
    if (target_.kind == NetTarget::Kind::kHttps) return "Get \"https://" + where() + target_.path + "\": ";
    return "";
  }
  std::string timeout_text() const {
    if (target_.kind == NetTarget::Kind::kTcp) return "dial tcp " + where() + ": i/o timeout";
    if (target_.kind == NetTarget::Kind::kGrpc) return "timeout: failed to connect service \"" + where() + "\" within the probe's timeout";
    return prefix() + "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
  }

  std::string connect() {
    addrinfo hints{}, *found = nullptr;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    if (::getaddrinfo(target_.ip.c_str(), std::to_string(target_.port).c_str(), &hints, &found) != 0)
      return prefix() + "dial tcp: \"" + target_.ip + "\" is not an address: probes take a Pod's own address or an IP as host";
    fd_.reset(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int result = fd_.valid() ? ::connect(fd_.get(), found->ai_addr, found->ai_addrlen) : -1;
    const int error = errno;
    ::freeaddrinfo(found);
    if (result != 0 && error != EINPROGRESS) return dial_error(error);
    watch_ = loop_.watch(fd_.get(), EPOLLOUT, [this](uint32_t) { ready(); });
    return {};
  }
  std::string dial_error(int error) const {
    std::string text = std::strerror(error);
    text[0] = static_cast<char>(std::tolower(text[0]));
    return prefix() + "dial tcp " + where() + ": connect: " + text;
  }

  void ready() {
    if (!connected_) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) return finish(false, dial_error(error));
      connected_ = true;
      if (target_.kind == NetTarget::Kind::kTcp) return finish(true, "");
      if (target_.kind == NetTarget::Kind::kHttps) {
        ssl_ = SSL_new(insecure_context());
        SSL_set_fd(ssl_, fd_.get());
        SSL_set_connect_state(ssl_);
        if (!target_.host_header.empty()) SSL_set_tlsext_host_name(ssl_, target_.host_header.c_str());
      }
      out_ = target_.kind == NetTarget::Kind::kGrpc ? grpc_request(target_) : http_request();
    }
    while (!out_.empty()) {
      const ssize_t n = ssl_ ? SSL_write(ssl_, out_.data(), static_cast<int>(out_.size()))
                             : ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
      if (n <= 0) return again(n, EPOLLOUT);
      out_.erase(0, static_cast<size_t>(n));
    }
    char buffer[4096];
    for (;;) {
      const ssize_t n = ssl_ ? SSL_read(ssl_, buffer, sizeof buffer) : ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n == 0 && !ssl_) return finish(false, prefix() + "EOF");
      if (n <= 0) return again(n, EPOLLIN);
      in_.append(buffer, static_cast<size_t>(n));
      if (target_.kind == NetTarget::Kind::kGrpc ? grpc_answer() : http_answer()) return;
      if (in_.size() > kMaxAnswer) return finish(false, prefix() + "answer too long");
    }
  }
  void again(ssize_t n, uint32_t events) {
    if (ssl_) {
      const int error = SSL_get_error(ssl_, static_cast<int>(n));
      ERR_clear_error();
      if (error == SSL_ERROR_WANT_READ) events = EPOLLIN;
      else if (error == SSL_ERROR_WANT_WRITE) events = EPOLLOUT;
      else return finish(false, prefix() + (in_.empty() ? "TLS handshake or read failed" : "EOF"));
    } else if (errno != EAGAIN && errno != EINTR) {
      std::string text = std::strerror(errno);
      text[0] = static_cast<char>(std::tolower(text[0]));
      return finish(false, prefix() + "read: " + text);
    }
    loop_.change(watch_, events);
  }

  std::string http_request() const {
    std::string out = "GET " + target_.path + " HTTP/1.1\r\nHost: " +
                      (target_.host_header.empty() ? where() : target_.host_header) + "\r\n";
    bool agent = false, accept = false;
    for (const auto& [name, value] : target_.headers) {
      if (strcasecmp(name.c_str(), "host") == 0) continue;
      agent |= strcasecmp(name.c_str(), "user-agent") == 0;
      accept |= strcasecmp(name.c_str(), "accept") == 0;
      out += name + ": " + value + "\r\n";
    }
    if (!agent) out += "User-Agent: kube-probe/1.36\r\n";
    if (!accept) out += "Accept: */*\r\n";
    return out + "Connection: close\r\n\r\n";
  }
  bool http_answer() {
    const size_t end = in_.find("\r\n");
    if (end == std::string::npos) return false;
    int status = 0;
    if (!in_.starts_with("HTTP/1.") || in_.size() < 12 || (status = std::atoi(in_.c_str() + 9)) < 100) {
      finish(false, prefix() + "malformed HTTP response");
      return true;
    }
    if (status < 200) {  // an interim answer: the real one follows
      const size_t head = in_.find("\r\n\r\n");
      if (head == std::string::npos) return false;
      in_.erase(0, head + 4);
      return http_answer();
    }
    finish(status < 400, "HTTP probe failed with statuscode: " + std::to_string(status));
    return true;
  }
  bool grpc_answer() {
    auto byte = [&](size_t i) { return static_cast<unsigned char>(in_[i]); };
    while (in_.size() >= 9) {
      const size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
      if (in_.size() < 9 + length) return false;
      const int type = byte(3), flags = byte(4);
      const std::string payload = in_.substr(9, length);
      in_.erase(0, 9 + length);
      if (type == 0 && payload.size() >= 5) {
        // HealthCheckResponse.status (field 1): 1 = SERVING.
        const bool serving = payload.size() >= 7 && payload[5] == 8 && payload[6] == 1;
        finish(serving, "service unhealthy (responded with \"NOT_SERVING\")");
        return true;
      }
      if ((type == 1 && (flags & 1)) || type == 3 || type == 7) {
        finish(false, "error: health rpc probe failed: the server has no grpc.health.v1.Health service");
        return true;
      }
      // The peer's SETTINGS want no answer before ours: it comes when the request is through.
    }
    return false;
  }

  void finish(bool success, std::string message) {
    timer_.cancel();
    start_error_.cancel();
    watch_.cancel();
    auto done = std::move(done_);
    if (done) done({.success = success, .message = success ? "" : std::move(message)});  // may destroy us
  }

  base::Loop& loop_;
  NetTarget target_;
  std::function<void(Outcome)> done_;
  base::UniqueFd fd_;
  base::Loop::Handle watch_, timer_, start_error_;
  SSL* ssl_ = nullptr;
  bool connected_ = false;
  std::string out_, in_;
};

}  // namespace

std::unique_ptr<NetCheck> check_net(base::Loop& loop, NetTarget target, base::Duration timeout,
                                    std::function<void(Outcome)> done) {
  return std::make_unique<Check>(loop, std::move(target), timeout, std::move(done));
}

}  // namespace kubelet
