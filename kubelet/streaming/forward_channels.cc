// port-forward over WebSocket as clients without SPDY ask for it ([v4.][base64.]channel.k8s.io,
// ports in the query): for the n-th port channel 2n carries its bytes and 2n+1 says what failed.
// Each begins with the port's number in two bytes, the lower first. Source: the kubelet's
// portforward/websocket.go.
#include <charconv>

#include "base/http/transport.h"
#include "base/http/websocket.h"
#include "kubelet/streaming/channels.h"
#include "kubelet/streaming/streaming.h"

namespace kubelet {
namespace {
using base::http::ByteStream;
using namespace std::chrono_literals;
constexpr size_t kHighChannelBytes = 256 << 10, kMaxPorts = 127;  // a channel's number is a byte
constexpr auto kIdleForward = 4h;
constexpr auto kForwardCloseTimeout = 10s;

base::Result<std::vector<uint16_t>> read_ports(const base::http::Request& request) {
  auto bad = [](std::string reason) {
    return base::make_error(base::Kind::kInvalid, "port-forward", "", std::move(reason));
  };
  std::vector<uint16_t> ports;
  bool found = false;
  for (const auto& [key, value] : base::http::parse_query(request.query())) {
    if (key != "port" && key != "ports") continue;  // the kubelet's name, and the API's
    found = true;
    if (value.empty()) return bad("query parameter \"port\" cannot be empty");
    for (size_t at = 0; at <= value.size();) {
      std::string one = value.substr(at, value.find(',', at) - at);
      at += one.size() + 1;
      uint16_t port = 0;
      auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), port);
      if (error != std::errc() || end != one.data() + one.size())
        return bad("unable to parse \"" + value + "\" as a port");
      if (port == 0) return bad("port \"" + value + "\" must be > 0");
      ports.push_back(port);
    }
  }
  if (!found) return bad("query parameter \"port\" is required");
  if (ports.size() > kMaxPorts) return bad("more than " + std::to_string(kMaxPorts) + " ports");
  return ports;
}

class ChannelForwardSession final : public StreamSession,
                                    public std::enable_shared_from_this<ChannelForwardSession> {
 public:
  ChannelForwardSession(Streaming& owner, StreamTarget target, std::string pod, std::vector<uint16_t> ports,
                        bool base64)
      : owner_(owner), target_(std::move(target)), pod_(std::move(pod)), base64_(base64) {
    for (uint16_t port : ports) lines_.push_back(Line{port, nullptr, {}, false});
  }

  void run(std::unique_ptr<ByteStream> stream) {
    connection_ =
        std::make_unique<base::websocket::Connection>(std::move(stream), base::websocket::Role::kServer);
    connection_->on_message([this](bool, std::string_view message) { received(message); },
                            [this](uint16_t, std::string_view) { owner_.remove(this); });
    connection_->on_drain([this] {
      for (Line& line : lines_)
        if (line.socket) line.socket->pause(false);
    });
    still_in_use();
    open_ = lines_.size();
    for (size_t i = 0; i < lines_.size(); ++i) {
      const char number[2] = {static_cast<char>(lines_[i].port & 0xff),
                              static_cast<char>(lines_[i].port >> 8)};
      for (size_t channel : {2 * i, 2 * i + 1}) send(channel, std::string_view(number, 2));
    }
    for (size_t i = 0; i < lines_.size(); ++i)
      target_.pod->connect(lines_[i].port, [weak = weak_from_this(), i](base::Result<base::UniqueFd> result) {
        auto self = weak.lock();
        if (!self) return;
        if (!result.ok()) return self->end(i, result.error().message());
        self->join(i, std::move(*result));
      });
  }

 private:
  struct Line {
    uint16_t port;
    std::unique_ptr<ByteStream> socket;
    std::string early;  // sent before the connection was there
    bool over;
  };

  void send(size_t channel, std::string_view data) {
    connection_->send(channel_message(static_cast<uint8_t>(channel), data, base64_), !base64_);
  }
  void still_in_use() {
    timer_ = owner_.loop().after(kIdleForward, [this] { close(); });
  }
  void received(std::string_view text) {
    auto message = read_channel_message(text, base64_);
    if (!message || message->channel % 2 != 0 || message->channel / 2u >= lines_.size() ||
        message->data.empty())
      return;
    Line& line = lines_[message->channel / 2];
    if (line.over) return;
    still_in_use();
    size_t queued = 0;
    if (line.socket) {
      line.socket->write(std::move(message->data));
      queued = line.socket->queued_bytes();
    } else {
      line.early += message->data;
      queued = line.early.size();
    }
    if (queued > kHighChannelBytes) connection_->pause(true);
  }
  void join(size_t i, base::UniqueFd fd) {
    Line& line = lines_[i];
    line.socket = base::http::make_stream(owner_.loop(), std::move(fd));
    line.socket->on_drain([this] { connection_->pause(false); });
    line.socket->on_data(
        [this, i](std::string_view data) {
          still_in_use();
          send(2 * i, data);
          if (connection_->queued_bytes() <= kHighChannelBytes) return;
          for (Line& each : lines_)
            if (each.socket) each.socket->pause(true);
        },
        [this, i](base::Status status) {
          base::ignore(status, "a reset ends this port alone");
          end(i, {});
        });
    if (!line.early.empty()) line.socket->write(std::exchange(line.early, {}));
    else connection_->pause(false);
  }
  void end(size_t i, const std::string& failure) {
    Line& line = lines_[i];
    if (std::exchange(line.over, true)) return;
    if (!failure.empty()) send(2 * i + 1, forward_failure(line.port, pod_, failure));
    // We may be inside one of its callbacks.
    owner_.loop().post([socket = std::shared_ptr<ByteStream>(std::move(line.socket))] {});
    connection_->pause(false);
    if (--open_ == 0) close();
  }
  void close() {
    connection_->close(base::websocket::kNormal);
    timer_ = owner_.loop().after(kForwardCloseTimeout, [this] { owner_.remove(this); });
  }

  Streaming& owner_;
  StreamTarget target_;
  std::string pod_;
  bool base64_;
  std::vector<Line> lines_;
  size_t open_ = 0;
  std::unique_ptr<base::websocket::Connection> connection_;
  base::Loop::Handle timer_;
};
}  // namespace

std::string forward_failure(uint16_t port, const std::string& pod, const std::string& reason) {
  return "error forwarding port " + std::to_string(port) + " to pod " + pod + ": " + reason;
}

void Streaming::forward_channels(const std::shared_ptr<base::http::Exchange>& exchange, StreamTarget target,
                                 const std::string& pod) {
  auto ports = read_ports(exchange->request());
  if (!ports.ok()) return answer_error(exchange, ports.error());
  auto accepted =
      base::websocket::accept(exchange->request(), {"v4.channel.k8s.io", "v4.base64.channel.k8s.io"});
  if (!accepted.ok()) return answer_error(exchange, accepted.error());
  auto stream = exchange->upgrade(accepted->headers);
  if (!stream) return;
  auto session =
      std::make_shared<ChannelForwardSession>(*this, std::move(target), pod, std::move(*ports),
                                              accepted->protocol.find("base64.") != std::string::npos);
  add(session);
  session->run(std::move(stream));
}

}  // namespace kubelet
