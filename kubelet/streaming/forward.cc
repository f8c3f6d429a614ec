// port-forward: pairs of data and error streams over SPDY/3.1, plain or tunnelled in WebSocket
// (KEP-4006, subprotocol "SPDY/3.1+portforward.k8s.io"), each joined with one TCP connection that
// sampan-pod opens to 127.0.0.1 inside the Pod's network namespace.
#include "base/http/spdy.h"
#include "base/http/transport.h"
#include "base/http/websocket.h"
#include "kubelet/streaming/channels.h"
#include "kubelet/streaming/streaming.h"

namespace kubelet {
namespace {
using base::http::ByteStream;
using base::spdy::Stream;
using namespace std::chrono_literals;
constexpr size_t kHighForwardBytes = 256 << 10;
constexpr auto kPairTimeout = 30s;  // between the two streams of a request
constexpr auto kIdleTimeout = 4h;   // the kubelet's streamingConnectionIdleTimeout
constexpr const char* kProtocol = "portforward.k8s.io";

bool offers_tunnel(const base::http::Request& request) {
  return request.headers.has_token("Sec-WebSocket-Protocol", std::string("SPDY/3.1+") + kProtocol);
}

class ForwardSession final : public StreamSession, public std::enable_shared_from_this<ForwardSession> {
 public:
  ForwardSession(Streaming& owner, StreamTarget target, std::string pod)
      : owner_(owner), target_(std::move(target)), pod_(std::move(pod)) {}

  void run(std::unique_ptr<ByteStream> stream) {
    idle();
    session_ = std::make_unique<base::spdy::Session>(
        std::move(stream), base::spdy::Role::kServer, base::spdy::Options{},
        [this](std::shared_ptr<Stream> opened) { this->opened(std::move(opened)); },
        [this](base::Status) { owner_.remove(this); });
    session_->on_drain([this] {
      for (auto& [id, pair] : pairs_)
        if (std::exchange(pair->paused, false)) pair->socket->pause(false);
    });
  }

 private:
  struct Pair {
    std::string id;
    uint16_t port = 0;
    std::shared_ptr<Stream> data, error;
    std::unique_ptr<ByteStream> socket;
    bool paused = false, data_ended = false;
    base::Loop::Handle timer;
  };

  void idle() {
    if (!pairs_.empty()) return idle_.cancel();
    idle_ = owner_.loop().after(kIdleTimeout, [this] {
      session_->close();
      owner_.remove(this);
    });
  }
  void opened(std::shared_ptr<Stream> stream) {
    const auto& headers = stream->headers();
    std::string port_text(headers.get("port"));
    std::string type(headers.get("streamtype"));
    unsigned long port = 0;
    if (!port_text.empty() && port_text.size() <= 5 &&
        port_text.find_first_not_of("0123456789") == std::string::npos)
      port = std::stoul(port_text);
    if (port < 1 || port > 65535 || (type != "data" && type != "error"))
      return stream->reset(base::spdy::kRefusedStream);
    std::string id(headers.get("requestid"));
    // Clients before 1.2 number no requests: the error stream comes first, the data stream next.
    if (id.empty()) id = std::to_string(type == "error" ? stream->id() : stream->id() - 2);
    auto& pair = pairs_[id];
    if (!pair) {
      pair = std::make_shared<Pair>();
      pair->id = id;
      pair->timer = owner_.loop().after(kPairTimeout, [this, id] { drop(id); });
      idle();
    }
    auto& slot = type == "data" ? pair->data : pair->error;
    if (slot || (pair->port != 0 && pair->port != port)) return stream->reset(base::spdy::kRefusedStream);
    pair->port = static_cast<uint16_t>(port);
    slot = std::move(stream);
    slot->reply();
    if (pair->data && pair->error) connect(pair);
  }
  void connect(const std::shared_ptr<Pair>& pair) {
    pair->timer.cancel();
    pair->error->on_data([](std::string_view) {}, [](base::Status) {});
    std::weak_ptr<ForwardSession> weak = weak_from_this();
    target_.pod->connect(pair->port, [weak, pair](base::Result<base::UniqueFd> result) {
      auto self = weak.lock();
      if (!self || !self->holds(pair)) return;
      if (!result.ok()) return self->fail(pair, result.error().message());
      self->join(pair, std::move(*result));
    });
  }
  bool holds(const std::shared_ptr<Pair>& pair) const {
    auto it = pairs_.find(pair->id);
    return it != pairs_.end() && it->second == pair;
  }
  void join(const std::shared_ptr<Pair>& pair, base::UniqueFd fd) {
    pair->socket = base::http::make_stream(owner_.loop(), std::move(fd));
    Pair* raw = pair.get();  // the streams that hold these closures die with the pair
    pair->socket->on_drain([raw] { raw->data->pause(false); });
    pair->socket->on_data(
        [this, raw](std::string_view data) {
          raw->data->write(data);
          if (session_->queued_bytes() <= kHighForwardBytes) return;
          raw->paused = true;
          raw->socket->pause(true);
        },
        [this, raw](base::Status status) {
          // The server's end. A reset ends this connection alone: a word on the error stream would make
          // kubectl end all of them.
          base::ignore(status, "what came before it was passed on");
          end(raw->id);
        });
    pair->data->on_data(
        [raw](std::string_view data) {
          if (!raw->socket) return;
          raw->socket->write(std::string(data));
          if (raw->socket->queued_bytes() > kHighForwardBytes) raw->data->pause(true);
        },
        [this, raw](base::Status status) {
          // The client has sent all: the server may still answer. A reset: it wants no answer.
          raw->data_ended = true;
          if (!status.ok()) return drop(raw->id);
          if (raw->socket) raw->socket->half_close();
        });
  }
  // All of the server's bytes are queued: ends both streams in order.
  void end(std::string id) {
    auto it = pairs_.find(id);
    if (it == pairs_.end()) return;
    auto pair = it->second;
    pairs_.erase(it);
    pair->data->finish();
    pair->error->finish();
    retire(std::move(pair));
  }
  void fail(std::shared_ptr<Pair> pair, const std::string& reason) {
    if (!pair) return;
    pair->error->write(forward_failure(pair->port, pod_, reason));
    pairs_.erase(pair->id);
    pair->error->finish();
    pair->data->finish();
    retire(std::move(pair));
  }
  void drop(std::string id) {
    auto it = pairs_.find(id);
    if (it == pairs_.end()) return;
    auto pair = it->second;
    pairs_.erase(it);
    if (pair->data) pair->data_ended ? pair->data->finish() : pair->data->reset();
    if (pair->error) pair->error->finish();
    retire(std::move(pair));
  }
  void retire(std::shared_ptr<Pair> pair) {
    // The streams may live on until the client's end; they must not call back for this pair.
    if (pair->data) pair->data->on_data([](std::string_view) {}, [](base::Status) {});
    auto socket = std::move(pair->socket);
    if (socket) socket->finish();
    // We may be inside one of its callbacks.
    owner_.loop().post([pair, socket = std::shared_ptr<ByteStream>(std::move(socket))] {});
    idle();
  }

  Streaming& owner_;
  StreamTarget target_;
  std::string pod_;
  std::unique_ptr<base::spdy::Session> session_;
  std::map<std::string, std::shared_ptr<Pair>> pairs_;
  base::Loop::Handle idle_;
};
}  // namespace

void Streaming::forward(const std::shared_ptr<base::http::Exchange>& exchange,
                        const std::vector<std::string>& path) {
  auto target = backend_.stream_target(path[1], path[2], path[3], {});
  if (!target.ok()) return answer_error(exchange, target.error());
  std::unique_ptr<ByteStream> stream;
  const auto& request = exchange->request();
  if (base::websocket::is_upgrade(request) && !offers_tunnel(request))
    return forward_channels(exchange, std::move(*target), path[2]);
  if (base::websocket::is_upgrade(request)) {
    auto accepted = base::websocket::accept(request, {std::string("SPDY/3.1+") + kProtocol});
    if (!accepted.ok()) return answer_error(exchange, accepted.error());
    auto upgraded = exchange->upgrade(accepted->headers);
    if (!upgraded) return;
    stream = base::websocket::tunnel(
        std::make_unique<base::websocket::Connection>(std::move(upgraded), base::websocket::Role::kServer));
  } else if (is_spdy_upgrade(request)) {
    std::string protocol;
    if (!negotiate_spdy(exchange, {kProtocol}, &protocol)) return;
    stream = upgrade_spdy(exchange, protocol);
  } else {
    return answer_error(exchange, base::make_error(base::Kind::kInvalid, "unable to upgrade", "",
                                                   "Upgrade must be websocket or SPDY/3.1"));
  }
  if (!stream) return;
  auto session = std::make_shared<ForwardSession>(*this, std::move(*target), path[2]);
  add(session);
  session->run(std::move(stream));
}

}  // namespace kubelet
