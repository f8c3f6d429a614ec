#include "kubelet/streaming/channels.h"

#include <strings.h>

#include "base/base64.h"
#include "base/http/spdy.h"
#include "base/http/websocket.h"
#include "base/json.h"
#include "kubelet/streaming/streaming.h"

namespace kubelet {
namespace {
using base::http::Exchange;
using namespace std::chrono_literals;
constexpr auto kStreamCreationTimeout = 30s;  // kubelet's DefaultStreamCreationTimeout
constexpr auto kCloseTimeout = 10s;           // for the client to take the end and close
constexpr uint8_t kCloseSignal = 255;         // v5: {255, channel}
// client-go before 1.34 drops what comes before it has made its streams, and reads before that
// (kubernetes/kubernetes#131203). Its pong tells that it reads, its first message that the streams are
// there; without stdin no message comes, and they are made a moment after it began to read. A command
// here may be over by then, so what it says waits.
constexpr auto kStreamsMade = 10ms;  // behind the pong
constexpr auto kPongTimeout = 5s;

// {"Width":80,"Height":24}; SPDY sends one document after the other on one stream.
void parse_resize(std::string_view text, const std::function<void(uint16_t, uint16_t)>& resize) {
  auto value = base::parse_json(text);
  if (!value.ok() || !resize) return;
  int64_t columns = base::as_int(base::find(*value, "Width")),
          rows = base::as_int(base::find(*value, "Height"));
  if (columns > 0 && columns < 65536 && rows > 0 && rows < 65536)
    resize(static_cast<uint16_t>(columns), static_cast<uint16_t>(rows));
}

class WebSocketChannels final : public Channels {
 public:
  WebSocketChannels(base::Loop& loop, std::unique_ptr<base::websocket::Connection> connection,
                    StreamOptions options, const std::string& protocol)
      : loop_(loop), connection_(std::move(connection)), options_(options),
        knows_close_(protocol == "v5.channel.k8s.io"), base64_(protocol.find("base64.") != std::string::npos),
        knows_status_(protocol.starts_with("v4.") || protocol.starts_with("v5.")) {}

  void start(Handlers handlers) override {
    handlers_ = std::move(handlers);
    connection_->on_message([this](bool, std::string_view data) { message(data); },
                            [this](uint16_t, std::string_view) { closed(); });
    connection_->on_drain([this] {
      auto callback = handlers_.drained;
      if (callback) callback();
    });
    if (knows_close_) {
      connection_->on_pong([this] { timer_ = loop_.after(kStreamsMade, [this] { open(); }); });
      connection_->ping({});
      timer_ = loop_.after(kPongTimeout, [this] { open(); });
    } else {
      open_ = true;
    }
    // An empty message tells the client that it is connected, as the kubelet does.
    write(options_.out ? kStdout : options_.err ? kStderr : kError, {});
    auto callback = handlers_.ready;
    callback();
  }
  void write(Channel channel, std::string_view data) override {
    std::string message = channel_message(channel, data, base64_);
    if (open_) return connection_->send(message, !base64_);
    held_bytes_ += message.size();
    held_.push_back(std::move(message));
  }
  void end(Channel) override {}  // the close of the connection ends them all
  void finish(const std::string& status, const std::string& plain) override {
    if (knows_status_) write(kError, status);
    else if (!plain.empty()) write(kError, plain);
    finishing_ = true;
    if (open_) close();
  }
  void pause_in(bool paused) override { connection_->pause(paused); }
  size_t queued_bytes() const override { return held_bytes_ + connection_->queued_bytes(); }

 private:
  // The client has its streams: says what was held back.
  void open() {
    if (std::exchange(open_, true)) return;
    timer_.cancel();
    connection_->on_pong([] {});
    for (const std::string& message : std::exchange(held_, {})) connection_->send(message, !base64_);
    held_bytes_ = 0;
    if (finishing_) close();
  }
  void close() {
    connection_->close(base::websocket::kNormal);
    timer_ = loop_.after(kCloseTimeout, [this] { closed(); });
  }
  void closed() {
    timer_.cancel();
    auto callback = handlers_.closed;
    if (callback) callback();
  }
  void message(std::string_view data) {
    auto read = read_channel_message(data, base64_);
    if (!read) return;
    open();
    uint8_t channel = read->channel;
    data = read->data;
    if (channel == kStdin && options_.in) {
      auto callback = handlers_.in;
      if (callback && !data.empty()) callback(data);
    } else if (channel == kResize) {
      auto callback = handlers_.resize;
      parse_resize(data, callback);
    } else if (channel == kCloseSignal && knows_close_ && data.size() == 1 && data[0] == kStdin) {
      auto callback = handlers_.in_end;
      if (callback) callback();
    }
  }

  base::Loop& loop_;
  std::unique_ptr<base::websocket::Connection> connection_;
  StreamOptions options_;
  bool knows_close_, base64_, knows_status_;
  bool open_ = false, finishing_ = false;
  std::vector<std::string> held_;
  size_t held_bytes_ = 0;
  base::Loop::Handle timer_;
  Handlers handlers_;
};

class SpdyChannels final : public Channels {
 public:
  SpdyChannels(base::Loop& loop, std::unique_ptr<base::http::ByteStream> stream, StreamOptions options,
               const std::string& protocol)
      : loop_(loop), options_(options), pending_(std::move(stream)) {
    int version = protocol.empty() ? 1 : protocol[1] - '0';
    knows_status_ = version >= 4;
    awaited_ = 1 + options.in + options.out + options.err + (options.tty && version >= 3);
  }
  ~SpdyChannels() override { *alive_ = false; }

  void start(Handlers handlers) override {
    handlers_ = std::move(handlers);
    timer_ = loop_.after(kStreamCreationTimeout, [this] { closed(); });
    session_ = std::make_unique<base::spdy::Session>(
        std::move(pending_), base::spdy::Role::kServer, base::spdy::Options{},
        [this](std::shared_ptr<base::spdy::Stream> stream) { opened(std::move(stream)); },
        [this](base::Status) { closed(); });
    session_->on_drain([this] {
      auto callback = handlers_.drained;
      if (callback) callback();
    });
  }
  void write(Channel channel, std::string_view data) override {
    if (streams_[channel]) streams_[channel]->write(data);
  }
  void end(Channel channel) override {
    if (streams_[channel]) streams_[channel]->finish();
  }
  void finish(const std::string& status, const std::string& plain) override {
    finishing_ = true;
    write(kError, knows_status_ ? status : plain);
    for (auto channel : {kStdout, kStderr, kError, kStdin, kResize}) end(channel);
    // The client reads all streams to their ends and closes; GOAWAY before that could make it
    // drop what it has not read.
    timer_ = loop_.after(kCloseTimeout, [this] { closed(); });
  }
  void pause_in(bool paused) override {
    if (streams_[kStdin]) streams_[kStdin]->pause(paused);
  }
  size_t queued_bytes() const override { return session_ ? session_->queued_bytes() : 0; }

 private:
  void opened(std::shared_ptr<base::spdy::Stream> stream) {
    std::string_view type = stream->headers().get("streamtype");
    static const std::pair<const char*, Channel> types[] = {
        {"stdin", kStdin}, {"stdout", kStdout}, {"stderr", kStderr}, {"error", kError}, {"resize", kResize}};
    for (auto [name, channel] : types) {
      if (type != name) continue;
      if (streams_[channel]) break;
      stream->reply();
      listen(channel, *stream);
      streams_[channel] = std::move(stream);
      if (--awaited_ != 0) return;
      timer_.cancel();
      auto callback = handlers_.ready;
      return callback();
    }
    stream->reset(base::spdy::kRefusedStream);
  }
  void listen(Channel channel, base::spdy::Stream& stream) {
    if (channel == kStdin) {
      stream.on_data(
          [this](std::string_view data) {
            auto callback = handlers_.in;
            if (callback) callback(data);
          },
          [this](base::Status status) {
            auto callback = handlers_.in_end;
            if (status.ok() && callback && !finishing_) callback();
          });
    } else if (channel == kResize) {
      stream.on_data([this](std::string_view data) { resize(data); }, [](base::Status) {});
    } else {
      stream.on_data([](std::string_view) {}, [](base::Status) {});
    }
  }
  void resize(std::string_view data) {
    resize_text_ += data;
    auto alive = alive_;
    for (size_t end; *alive && (end = resize_text_.find('}')) != std::string::npos;) {
      std::string one = resize_text_.substr(0, end + 1);
      resize_text_.erase(0, end + 1);
      auto callback = handlers_.resize;
      parse_resize(one, callback);
    }
    if (*alive && resize_text_.size() > 4096) resize_text_.clear();
  }
  void closed() {
    timer_.cancel();
    auto session = std::move(session_);
    if (session) session->close();
    auto callback = handlers_.closed;
    // The callback destroys this object; the session is destroyed after it.
    if (callback) callback();
  }

  base::Loop& loop_;
  StreamOptions options_;
  std::unique_ptr<base::http::ByteStream> pending_;
  std::unique_ptr<base::spdy::Session> session_;
  std::shared_ptr<base::spdy::Stream> streams_[5];
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::string resize_text_;
  int awaited_ = 0;
  bool knows_status_ = false, finishing_ = false;
  base::Loop::Handle timer_;
  Handlers handlers_;
};
}  // namespace

std::string channel_message(uint8_t channel, std::string_view data, bool base64) {
  if (base64) return static_cast<char>('0' + channel) + base::base64_encode(data);
  return static_cast<char>(channel) + std::string(data);
}
std::optional<ChannelMessage> read_channel_message(std::string_view message, bool base64) {
  if (message.empty()) return std::nullopt;
  auto channel = static_cast<uint8_t>(message[0]);
  message.remove_prefix(1);
  if (!base64) return ChannelMessage{channel, std::string(message)};
  auto decoded = base::base64_decode(message);
  if (channel < '0' || !decoded) return std::nullopt;
  return ChannelMessage{static_cast<uint8_t>(channel - '0'), std::move(*decoded)};
}

bool is_spdy_upgrade(const base::http::Request& request) {
  return request.headers.has_token("Connection", "Upgrade") &&
         request.headers.has_token("Upgrade", "SPDY/3.1");
}
bool negotiate_spdy(const std::shared_ptr<Exchange>& exchange, const std::vector<std::string>& served,
                    std::string* protocol) {
  protocol->clear();
  bool offered = false;
  for (const auto& [name, value] : exchange->request().headers.list) {
    if (::strcasecmp(name.c_str(), "X-Stream-Protocol-Version") != 0) continue;
    std::string one;
    for (char c : value + ",") {
      if (c == ' ') continue;
      if (c != ',') {
        one.push_back(c);
        continue;
      }
      offered = true;
      if (std::find(served.begin(), served.end(), one) != served.end()) {
        *protocol = one;
        return true;
      }
      one.clear();
    }
  }
  if (!offered) return true;
  base::http::Headers headers;
  for (const std::string& one : served) headers.add("X-Accepted-Stream-Protocol-Versions", one);
  exchange->respond(403, headers, "unable to upgrade: none of the offered protocols is served\n");
  return false;
}
std::unique_ptr<base::http::ByteStream> upgrade_spdy(const std::shared_ptr<Exchange>& exchange,
                                                     const std::string& protocol) {
  base::http::Headers headers;
  headers.add("Connection", "Upgrade");
  headers.add("Upgrade", "SPDY/3.1");
  if (!protocol.empty()) headers.add("X-Stream-Protocol-Version", protocol);
  return exchange->upgrade(std::move(headers));
}

std::unique_ptr<Channels> open_channels(base::Loop& loop, const std::shared_ptr<Exchange>& exchange,
                                        StreamOptions options) {
  const auto& request = exchange->request();
  if (base::websocket::is_upgrade(request)) {
    auto accepted = base::websocket::accept(
        request, {"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io",
                  "base64.channel.k8s.io"});
    if (!accepted.ok()) {
      answer_error(exchange, accepted.error());
      return nullptr;
    }
    auto stream = exchange->upgrade(accepted->headers);
    if (!stream) return nullptr;
    return std::make_unique<WebSocketChannels>(
        loop,
        std::make_unique<base::websocket::Connection>(std::move(stream), base::websocket::Role::kServer),
        options, accepted->protocol);
  }
  if (is_spdy_upgrade(request)) {
    std::string protocol;
    if (!negotiate_spdy(exchange,
                        {"v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io",
                         "channel.k8s.io"},
                        &protocol))
      return nullptr;
    auto stream = upgrade_spdy(exchange, protocol);
    if (!stream) return nullptr;
    if (protocol == "channel.k8s.io") protocol.clear();
    return std::make_unique<SpdyChannels>(loop, std::move(stream), options, protocol);
  }
  answer_error(exchange, base::make_error(base::Kind::kInvalid, "unable to upgrade", "",
                                          "Upgrade must be websocket or SPDY/3.1"));
  return nullptr;
}

}  // namespace kubelet
