#include "base/http/transport.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/sys.h"

namespace base::http {
namespace {
constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kTlsRecordBytes = 16 << 10;
// Shared by all connections of a thread, so that an idle one holds no buffer.
thread_local char read_buffer[kReadBytes];

// A BIO like OpenSSL's socket BIO, but with MSG_NOSIGNAL: a library may not ask its program to
// ignore SIGPIPE.
int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  ssize_t n = ::send(static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))), data,
                     static_cast<size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}
int bio_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  ssize_t n = ::recv(static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))), data,
                     static_cast<size_t>(size), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  if (n == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(n);
}
long bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
  return 0;
}
BIO_METHOD* bio_method() {
  static BIO_METHOD* method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sampan socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

// Only sockets can be told not to signal: for a pipe, SIGPIPE is held back and taken away again.
ssize_t write_pipe(int fd, const iovec* parts, int count) {
  sigset_t pipe_signal, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  ssize_t n = ::writev(fd, parts, count);
  int error = errno;
  if (n < 0 && error == EPIPE) {
    timespec none{};
    (void)::sigtimedwait(&pipe_signal, nullptr, &none);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return n;
}
}  // namespace

Transport::Transport(Loop& loop, UniqueFd fd, tls::Context* context, bool is_server,
                     const std::string& verify_name)
    : loop_(loop), fd_(std::move(fd)) {
  int flags = ::fcntl(fd_.get(), F_GETFL);
  if (!(flags & O_NONBLOCK)) ::fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK);
  struct stat status;
  is_socket_ = ::fstat(fd_.get(), &status) == 0 && S_ISSOCK(status.st_mode);
  if (!context) return;
  ssl_ = SSL_new(context->get());
  SAMPAN_CHECK(ssl_);
  BIO* bio = BIO_new(bio_method());
  SAMPAN_CHECK(bio);
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd_.get())));
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  if (is_server) {
    SSL_set_accept_state(ssl_);
    return;
  }
  SSL_set_connect_state(ssl_);
  unsigned char address[16];
  if (::inet_pton(AF_INET, verify_name.c_str(), address) == 1 ||
      ::inet_pton(AF_INET6, verify_name.c_str(), address) == 1) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), verify_name.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl_, verify_name.c_str());
    SSL_set1_host(ssl_, verify_name.c_str());
  }
}
Transport::~Transport() {
  watch_.cancel();
  if (ssl_) SSL_free(ssl_);
}

void Transport::set_ready(std::function<void(uint32_t)> ready) {
  ready_ = std::make_shared<std::function<void(uint32_t)>>(std::move(ready));
  update();
}
// Not by set_ready(), which watches the socket: the loop may be at its own end, where nothing is watched
// anew.
void Transport::ignore() {
  ready_ = nullptr;
  watch_.cancel();
}
void retire(std::unique_ptr<Transport> transport, std::shared_ptr<void> kept) {
  if (!transport) return;
  transport->ignore();
  Loop& loop = transport->loop();
  loop.post([transport = std::shared_ptr<Transport>(std::move(transport)), kept = std::move(kept)] {});
}
void Transport::want_read(bool want) {
  want_read_ = want;
  update();
}
void Transport::update() {
  if (!ready_) return;
  uint32_t events = want_read_ ? static_cast<uint32_t>(EPOLLIN) : 0u;
  if (write_blocked_ || ssl_wants_write_) events |= EPOLLOUT;
  if (events == watched_ && watch_.active() == (events != 0)) return;
  watched_ = events;
  if (events == 0) {
    // Not merely an empty mask: a hang-up would be reported again and again.
    watch_.cancel();
  } else if (watch_.active()) {
    loop_.change(watch_, events);
  } else {
    watch_ = loop_.watch(fd_.get(), events, [this](uint32_t ready) {
      auto callback = ready_;  // survives the callback that destroys this object
      (*callback)(ready);
    });
  }
}

Transport::Io Transport::ssl_result(int result, const char* what) {
  int error = SSL_get_error(ssl_, result);
  switch (error) {
    case SSL_ERROR_WANT_READ: return Io::kBlocked;
    case SSL_ERROR_WANT_WRITE: ssl_wants_write_ = true; return Io::kBlocked;
    case SSL_ERROR_ZERO_RETURN: return Io::kEnd;
    default: break;
  }
  unsigned long code = ERR_get_error();
  if (code != 0) {
    const char* reason = ERR_reason_error_string(code);
    error_text_ = std::string(what) + ": " + (reason ? reason : "unknown TLS error");
    long verify = SSL_get_verify_result(ssl_);
    if (verify != X509_V_OK) error_text_ += std::string(": ") + X509_verify_cert_error_string(verify);
  } else {
    error_text_ =
        std::string(what) + ": " + (errno ? std::strerror(errno) : "the peer closed the connection");
  }
  ERR_clear_error();
  return Io::kError;
}

Transport::Io Transport::handshake() {
  if (!ssl_) return Io::kOk;
  ssl_wants_write_ = false;
  ERR_clear_error();
  errno = 0;
  int result = SSL_do_handshake(ssl_);
  Io io = result == 1 ? Io::kOk : ssl_result(result, "TLS handshake");
  if (io == Io::kEnd) {
    error_text_ = "TLS handshake: the peer closed the connection";
    io = Io::kError;
  }
  update();
  return io;
}

Transport::Io Transport::read(std::string_view* data) {
  if (ssl_) {
    ssl_wants_write_ = false;
    // Fills the buffer with whole records; a client's body comes in pieces of 16 KiB at most.
    size_t have = 0;
    Io io = Io::kOk;
    while (have < kReadBytes) {
      ERR_clear_error();
      errno = 0;
      int n = SSL_read(ssl_, read_buffer + have, static_cast<int>(kReadBytes - have));
      if (n <= 0) {
        io = ssl_result(n, "TLS read");
        break;
      }
      have += static_cast<size_t>(n);
      if (keeps_records_ || !SSL_has_pending(ssl_)) break;
    }
    if (ssl_wants_write_) update();
    if (have == 0) return io;
    *data = std::string_view(read_buffer, have);
    return Io::kOk;  // an end or error behind the data is met again by the next read
  }
  ssize_t n;
  do {
    n = ::read(fd_.get(), read_buffer, kReadBytes);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    *data = std::string_view(read_buffer, static_cast<size_t>(n));
    return Io::kOk;
  }
  if (n == 0) return Io::kEnd;
  if (errno == EAGAIN) return Io::kBlocked;
  if (errno == EIO && !is_socket_) return Io::kEnd;  // a pty whose other side was closed
  error_text_ = std::string("read: ") + std::strerror(errno);
  return Io::kError;
}
bool Transport::has_pending() const { return ssl_ && SSL_has_pending(ssl_); }

void Transport::queue(std::string data) {
  if (data.empty()) return;
  queued_bytes_ += data.size();
  size_t size = data.size();
  out_.push_back(Out{nullptr, std::move(data), 0, size});
}
void Transport::queue(Bytes data) {
  if (!data || data->empty()) return;
  size_t size = data->size();
  queue(std::move(data), 0, size);
}
void Transport::queue(Bytes data, size_t offset, size_t size) {
  if (size == 0) return;
  queued_bytes_ += size;
  out_.push_back(Out{std::move(data), {}, offset, offset + size});
}
void Transport::consume(size_t n) {
  queued_bytes_ -= n;
  while (n > 0) {
    Out& front = out_[out_first_];
    size_t left = front.rest().size();
    if (n < left) {
      front.offset += n;
      return;
    }
    n -= left;
    front = Out{};
    ++out_first_;
  }
  if (out_first_ == out_.size()) {
    out_.clear();
    out_first_ = 0;
    if (out_.capacity() > 64) out_.shrink_to_fit();
  } else if (out_first_ > 256) {
    out_.erase(out_.begin(), out_.begin() + static_cast<ptrdiff_t>(out_first_));
    out_first_ = 0;
  }
}
Transport::Io Transport::flush() {
  Io io = queued_bytes_ == 0 ? Io::kOk : ssl_ ? flush_tls() : flush_plain();
  write_blocked_ = io == Io::kBlocked;
  update();
  return io;
}
Transport::Io Transport::flush_plain() {
  while (queued_bytes_ > 0) {
    iovec parts[64];
    size_t count = 0;
    for (size_t i = out_first_; i < out_.size() && count < 64; ++i) {
      std::string_view rest = out_[i].rest();
      parts[count++] = iovec{const_cast<char*>(rest.data()), rest.size()};
    }
    ssize_t n;
    if (is_socket_) {
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = count;
      n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    } else {
      n = write_pipe(fd_.get(), parts, static_cast<int>(count));
    }
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return Io::kBlocked;
      error_text_ = std::string("write: ") + std::strerror(errno);
      return Io::kError;
    }
    consume(static_cast<size_t>(n));
  }
  return Io::kOk;
}
Transport::Io Transport::flush_tls() {
  ssl_wants_write_ = false;
  while (queued_bytes_ > 0) {
    // Small buffers are gathered into one record. A retry after "would block" offers the same
    // bytes and at least as many, as SSL_write demands.
    char record[kTlsRecordBytes];
    std::string_view data = out_[out_first_].rest();
    if (!keeps_records_ && data.size() < kTlsRecordBytes && data.size() < queued_bytes_) {
      size_t have = 0;
      for (size_t i = out_first_; i < out_.size() && have < kTlsRecordBytes; ++i) {
        std::string_view rest = out_[i].rest();
        size_t n = std::min(rest.size(), kTlsRecordBytes - have);
        std::memcpy(record + have, rest.data(), n);
        have += n;
      }
      data = std::string_view(record, have);
    }
    ERR_clear_error();
    errno = 0;
    int n = SSL_write(ssl_, data.data(), static_cast<int>(std::min<size_t>(data.size(), 1 << 30)));
    if (n <= 0) {
      Io io = ssl_result(n, "TLS write");
      return io == Io::kEnd ? Io::kError : io;
    }
    consume(static_cast<size_t>(n));
  }
  return Io::kOk;
}
void Transport::close_write() {
  if (ssl_ && SSL_is_init_finished(ssl_)) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    ERR_clear_error();
  }
  if (is_socket_) ::shutdown(fd_.get(), SHUT_WR);
}

namespace {
using namespace std::chrono_literals;

constexpr auto kFinishTimeout = 10min;  // for a peer that never takes the queue after finish()
constexpr auto kEndTimeout = 5s;        // for the peer's end after ours

// Kept alive by its ByteStream, and after finish() by its timer until the queue is written.
struct Core : std::enable_shared_from_this<Core> {
  std::unique_ptr<Transport> transport;
  std::string early;
  std::shared_ptr<void> kept;
  std::shared_ptr<std::function<void(std::string_view)>> data;
  std::shared_ptr<std::function<void(Status)>> end;
  std::shared_ptr<std::function<void()>> drained;
  bool paused = false, finishing = false, halving = false, shut = false, closed = false, flush_posted = false;
  bool shut_for_good = false;
  Loop::Handle linger;

  void close() {
    if (closed) return;
    closed = true;
    auto keep = shared_from_this();
    linger.cancel();
    data.reset();
    end.reset();
    drained.reset();
    retire(std::move(transport), std::move(kept));
  }
  void ended(Status status) {
    if (closed) return;
    auto callback = end;
    auto keep = shared_from_this();
    close();
    if (callback) (*callback)(std::move(status));
  }
  void failed() { ended(make_error(Kind::kUnavailable, "connection", "", transport->error_text())); }
  // Without a reader only a socket is read on, for its end; a pipe may be open for writing alone.
  bool reads() const { return data || (finishing && transport->is_socket()); }
  void reading() { transport->want_read(!paused && reads()); }
  void start() {
    auto keep = shared_from_this();
    transport->set_ready([weak = weak_from_this()](uint32_t) {
      if (auto core = weak.lock(); core && !core->closed) core->ready();
    });
    reading();
    // What was read already, and what TLS holds, is announced by no event.
    transport->loop().post([weak = weak_from_this()] {
      auto core = weak.lock();
      if (!core || core->closed) return;
      core->deliver_early();
      if (!core->closed && !core->paused) core->ready();
    });
  }
  void deliver_early() {
    if (early.empty() || paused || !data) return;
    std::string text = std::move(early);
    early.clear();
    auto callback = data;
    (*callback)(text);
  }
  void ready() {
    if (transport->queued_bytes() > 0 && !flush()) return;
    for (int rounds = 0; rounds < 16 && !closed && !paused && reads(); ++rounds) {
      deliver_early();
      if (closed || paused) return;
      std::string_view text;
      switch (transport->read(&text)) {
        case Transport::Io::kBlocked: return;
        case Transport::Io::kEnd: return ended({});
        case Transport::Io::kError:
          if (finishing) return ended({});
          return failed();
        case Transport::Io::kOk: break;
      }
      if (!finishing && data) {
        auto callback = data;
        (*callback)(text);
      }
      // Level-triggered: epoll calls again unless TLS holds the rest.
      if (!closed && !transport->has_pending()) return;
    }
    if (!closed && !paused && transport->has_pending()) post_ready();
  }
  void post_ready() {
    transport->loop().post([weak = weak_from_this()] {
      if (auto core = weak.lock(); core && !core->closed) core->ready();
    });
  }
  bool flush() {
    switch (transport->flush()) {
      case Transport::Io::kBlocked: return true;
      case Transport::Io::kOk: break;
      default:
        if (!data) ended({});  // nobody reads: what cannot be sent is over
        else failed();
        return false;
    }
    if (finishing) {
      shut_down();
      return !closed;
    }
    if (halving && !shut) {
      shut = true;
      transport->close_write();
      if (!transport->is_socket()) {
        ended({});
        return false;
      }
    }
    if (auto callback = drained) (*callback)();
    return !closed;
  }
  void flush_soon() {
    if (flush_posted) return;
    flush_posted = true;
    transport->loop().post([weak = weak_from_this()] {
      auto core = weak.lock();
      if (!core) return;
      core->flush_posted = false;
      if (!core->closed) core->flush();
    });
  }
  void shut_down() {
    if (std::exchange(shut_for_good, true)) return;
    if (!std::exchange(shut, true)) transport->close_write();
    if (!transport->is_socket()) return ended({});
    // Reads on until the peer has closed too: closing with unread bytes would reset the
    // connection, and the peer could lose the end of what we wrote.
    paused = false;
    reading();
    if (transport->has_pending()) post_ready();
    linger = transport->loop().after(kEndTimeout, [keep = shared_from_this()] { keep->ended({}); });
  }
};

class TransportStream final : public ByteStream {
 public:
  explicit TransportStream(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~TransportStream() override {
    if (core_->finishing && !core_->closed) {
      core_->data.reset();
      core_->end.reset();
      core_->drained.reset();
      return;  // the timer holds the core
    }
    core_->close();
  }
  void on_data(std::function<void(std::string_view)> data, std::function<void(Status)> end) override {
    if (core_->closed) return;
    core_->data = std::make_shared<std::function<void(std::string_view)>>(std::move(data));
    core_->end = std::make_shared<std::function<void(Status)>>(std::move(end));
    core_->start();
  }
  void write(std::string data) override {
    if (core_->closed || core_->finishing || core_->halving) return;
    core_->transport->queue(std::move(data));
    core_->flush_soon();
  }
  size_t queued_bytes() const override { return core_->closed ? 0 : core_->transport->queued_bytes(); }
  void on_drain(std::function<void()> drained) override {
    if (!core_->closed) core_->drained = std::make_shared<std::function<void()>>(std::move(drained));
  }
  void pause(bool paused) override {
    if (core_->closed || core_->paused == paused || core_->finishing) return;
    core_->paused = paused;
    core_->reading();
    if (!paused && (core_->transport->has_pending() || !core_->early.empty())) core_->post_ready();
  }
  void finish() override {
    if (core_->closed || core_->finishing) return;
    core_->finishing = true;
    core_->linger = core_->transport->loop().after(kFinishTimeout, [core = core_] { core->ended({}); });
    core_->paused = false;
    if (!core_->data) core_->start();
    core_->reading();
    core_->flush_soon();
  }
  void half_close() override {
    if (core_->closed || core_->finishing || core_->halving) return;
    core_->halving = true;
    core_->flush_soon();
  }

 private:
  std::shared_ptr<Core> core_;
};
}  // namespace

std::unique_ptr<ByteStream> make_stream(std::unique_ptr<Transport> transport, std::string early,
                                        std::shared_ptr<void> kept) {
  auto core = std::make_shared<Core>();
  transport->keep_records();
  transport->want_read(false);
  core->transport = std::move(transport);
  core->early = std::move(early);
  core->kept = std::move(kept);
  core->transport->set_ready([weak = std::weak_ptr<Core>(core)](uint32_t) {
    if (auto held = weak.lock(); held && !held->closed) held->ready();
  });
  return std::make_unique<TransportStream>(std::move(core));
}
std::unique_ptr<ByteStream> make_stream(Loop& loop, UniqueFd fd) {
  return make_stream(std::make_unique<Transport>(loop, std::move(fd), nullptr, false), {});
}

Result<SocketAddress> parse_address(const std::string& host, int port) {
  SocketAddress address;
  if (host.starts_with("unix:")) {
    auto* path = reinterpret_cast<sockaddr_un*>(&address.storage);
    std::string name = host.substr(5);
    if (name.empty() || name.size() >= sizeof path->sun_path)
      return make_error(Kind::kInvalid, "parse address", host, "a socket's path has 1 to 107 characters");
    path->sun_family = AF_UNIX;
    std::memcpy(path->sun_path, name.c_str(), name.size() + 1);
    address.size = sizeof(sockaddr_un);
    return address;
  }
  if (port < 0 || port > 65535)
    return make_error(Kind::kInvalid, "parse address", host, "port " + std::to_string(port));
  std::string name = host;
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET, name.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof *v4;
    return address;
  }
  if (::inet_pton(AF_INET6, name.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof *v6;
    return address;
  }
  // A name: the resolver blocks. The daemons are given addresses; names are for the CLI and for
  // probes that say so, which resolve from /etc/hosts or a local server.
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  int failure = ::getaddrinfo(name.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failure != 0) return make_error(Kind::kUnavailable, "resolve", name, ::gai_strerror(failure));
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  ::freeaddrinfo(found);
  return address;
}
std::string format_address(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  return "unix";
}

}  // namespace base::http
