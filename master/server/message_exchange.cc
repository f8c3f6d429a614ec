#include "master/server/message_exchange.h"

#include "base/base64.h"
#include "base/http/websocket.h"

namespace master {

namespace {

using base::http::Bytes;
using base::http::Exchange;
using base::http::Headers;

constexpr size_t kMaxQueuedBytes = 64u
                                   << 20;  // for a client that does not read, as of the server's own answers

class MessageExchange final : public Exchange, public std::enable_shared_from_this<MessageExchange> {
 public:
  MessageExchange(base::Loop& loop, std::shared_ptr<Exchange> inner, MessageForm form,
                  base::websocket::Accepted accepted)
      : loop_(loop), inner_(std::move(inner)), form_(form), accepted_(std::move(accepted)),
        base64_(accepted_.protocol == "base64.binary.k8s.io") {}

  const base::http::Request& request() const override { return inner_->request(); }
  void receive(std::function<void()> then) override { inner_->receive(std::move(then)); }
  void known() override { inner_->known(); }
  void respond(int status, Headers headers, std::vector<Bytes> body) override {
    inner_->respond(status, std::move(headers), std::move(body));
  }
  void start(int status, Headers headers) override {
    if (status != 200) return inner_->start(status, std::move(headers));
    auto stream = inner_->upgrade(accepted_.headers);
    if (!stream) return;  // HTTP/2, which has been answered
    connection_ =
        std::make_unique<base::websocket::Connection>(std::move(stream), base::websocket::Role::kServer);
    // What the client sends is not for anybody; its end is.
    connection_->on_message([](bool, std::string_view) {},
                            [this](uint16_t, std::string_view) {
                              auto keep = weak_from_this().lock();
                              ended();
                            });
    if (drained_) connection_->on_drain(drained_);
    if (form_ == MessageForm::kBytes) send({});
  }
  void write(Bytes chunk) override {
    if (over_) return;
    if (!connection_) return inner_->write(std::move(chunk));
    if (connection_->queued_bytes() > kMaxQueuedBytes) {
      over_ = true;
      // Later: whoever writes may be in a loop over its watchers, whom their own end would
      // surprise.
      return loop_.post([self = shared_from_this()] {
        self->connection_.reset();
        self->ended();
      });
    }
    if (form_ == MessageForm::kBytes) return send(*chunk);
    std::string_view text = *chunk;
    for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
      line_ += text.substr(0, end + 1);
      send(std::exchange(line_, {}));
    }
    line_ += text;
  }
  void finish() override {
    if (over_) return;
    if (!connection_) return inner_->finish();
    connection_->close(base::websocket::kNormal);
  }
  size_t queued_bytes() const override {
    return connection_ ? connection_->queued_bytes() : inner_->queued_bytes();
  }
  void on_drain(std::function<void()> drained) override {
    drained_ = drained;
    if (connection_) connection_->on_drain(std::move(drained));
    else inner_->on_drain(std::move(drained));
  }
  std::unique_ptr<base::http::ByteStream> upgrade(Headers headers) override {
    return inner_->upgrade(std::move(headers));
  }
  bool closed() const override { return over_ || (!connection_ && inner_->closed()); }
  void on_close(std::function<void()> closed) override {
    closed_ = std::move(closed);
    inner_->on_close([weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->connection_) return;
      if (auto told = std::exchange(self->closed_, nullptr)) told();
    });
  }

 private:
  void ended() {
    over_ = true;
    if (auto closed = std::exchange(closed_, nullptr)) closed();
  }
  void send(std::string_view data) {
    if (form_ == MessageForm::kLines) connection_->send(data, false);
    else if (base64_) connection_->send(base::base64_encode(data), false);
    else connection_->send(data, true);
  }

  base::Loop& loop_;
  std::shared_ptr<Exchange> inner_;
  MessageForm form_;
  base::websocket::Accepted accepted_;
  bool base64_, over_ = false;
  std::unique_ptr<base::websocket::Connection> connection_;
  std::string line_;
  std::function<void()> closed_, drained_;
};

}  // namespace

base::Result<std::shared_ptr<Exchange>> as_messages(base::Loop& loop, std::shared_ptr<Exchange> exchange,
                                                    MessageForm form) {
  std::vector<std::string> served = {"binary.k8s.io", "base64.binary.k8s.io"};
  // A watch speaks one protocol by no name; a client that names one, as it must, has it echoed.
  if (form == MessageForm::kLines)
    served = {std::string(exchange->request().headers.get("Sec-WebSocket-Protocol"))};
  auto accepted = TRY(base::websocket::accept(exchange->request(), served));
  return std::shared_ptr<Exchange>(
      std::make_shared<MessageExchange>(loop, std::move(exchange), form, std::move(accepted)));
}

}  // namespace master
