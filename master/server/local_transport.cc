// LocalTransport: the API server as its own client. Answers and events come in a later turn of the
// loop, never inside the call, as over a network.
#include "master/server/server.h"

namespace master {

namespace {

using base::http::Bytes;
using base::http::Headers;

// One request from inside. The caller's Call object and the server's Exchange share it.
struct State {
  base::Loop* loop;
  api::Transport::Done done;                           // a call
  std::function<void(const api::WatchLine&)> on_line;  // a watch
  std::function<void(base::Status)> on_end;
  std::function<void()> on_open, closed;
  bool cancelled = false, ended = false;
  int status = 0;
  Headers headers;
  std::string body;

  void finish_call(const std::shared_ptr<State>& self) {
    if (ended) return;
    ended = true;
    loop->post([self] {
      if (self->cancelled) return;
      base::http::Response response;
      response.status = self->status;
      response.headers = std::move(self->headers);
      response.body = std::move(self->body);
      self->done(std::move(response));
    });
  }
  void finish_watch(const std::shared_ptr<State>& self) {
    if (ended) return;
    ended = true;
    loop->post([self] {
      if (self->cancelled) return;
      if (self->status == 200) return self->on_end({});
      self->on_end(api::error_from_status(self->status, self->body, "watch"));
    });
  }
};

// A line of a watch with the bytes it stands in.
struct Line {
  explicit Line(Bytes chunk)
      : bytes(std::move(chunk)), text(std::string_view(*bytes).substr(0, bytes->size() - 1)) {}
  const Bytes bytes;
  const api::WatchLine text;
};
// Everybody inside who watches the same objects is told of a change in one go and with the same bytes, so
// that they share one Line, and with it the parsed event.
std::shared_ptr<Line> shared_line(Bytes chunk) {
  static thread_local std::weak_ptr<Line> last;
  std::shared_ptr<Line> line = last.lock();
  if (line && line->bytes == chunk) return line;
  line = std::make_shared<Line>(std::move(chunk));
  last = line;
  return line;
}

class LocalExchange final : public base::http::Exchange {
 public:
  LocalExchange(std::shared_ptr<State> state, base::http::Request request)
      : state_(std::move(state)), request_(std::move(request)) {}
  const base::http::Request& request() const override { return request_; }
  void respond(int status, Headers headers, std::vector<Bytes> body) override {
    state_->status = status;
    state_->headers = std::move(headers);
    for (const Bytes& part : body) state_->body += *part;
    finish();
  }
  void start(int status, Headers) override {
    state_->status = status;
    if (status == 200 && state_->on_open)
      state_->loop->post([state = state_] {
        if (!state->cancelled) state->on_open();
      });
  }
  void write(Bytes chunk) override {
    if (state_->cancelled || state_->ended) return;
    if (!state_->on_line) {
      state_->body += *chunk;
      return;
    }
    state_->loop->post([state = state_, line = shared_line(std::move(chunk))] {
      if (!state->cancelled) state->on_line(line->text);
    });
  }
  void finish() override {
    if (state_->on_line) state_->finish_watch(state_);
    else state_->finish_call(state_);
  }
  size_t queued_bytes() const override { return 0; }
  std::unique_ptr<base::http::ByteStream> upgrade(Headers) override { return nullptr; }
  bool closed() const override { return state_->cancelled; }
  void on_close(std::function<void()> closed) override { state_->closed = std::move(closed); }

 private:
  std::shared_ptr<State> state_;
  base::http::Request request_;
};

struct LocalCall final : api::Transport::Call {
  explicit LocalCall(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~LocalCall() override {
    state_->cancelled = true;
    if (state_->ended) return;
    state_->ended = true;
    if (auto closed = std::move(state_->closed)) state_->loop->post(std::move(closed));
  }
  std::shared_ptr<State> state_;
};

}  // namespace

class LocalTransport final : public api::Transport {
 public:
  LocalTransport(ApiServer& server, User user) : server_(server), user_(std::move(user)) {}

  std::unique_ptr<Call> call(base::http::Request request, Done done) override {
    auto state = std::make_shared<State>();
    state->loop = &server_.loop();
    state->done = std::move(done);
    return send(std::move(state), std::move(request));
  }
  std::unique_ptr<Call> watch(base::http::Request request, std::function<void(const api::WatchLine&)> on_line,
                              std::function<void(base::Status)> on_end,
                              std::function<void()> on_open) override {
    auto state = std::make_shared<State>();
    state->loop = &server_.loop();
    state->on_line = std::move(on_line);
    state->on_end = std::move(on_end);
    state->on_open = std::move(on_open);
    return send(std::move(state), std::move(request));
  }

 private:
  std::unique_ptr<Call> send(std::shared_ptr<State> state, base::http::Request http) {
    auto call = std::make_unique<LocalCall>(state);
    auto request = std::make_shared<RequestInfo>();
    request->exchange = std::make_shared<LocalExchange>(state, std::move(http));
    request->user = user_;
    server_.dispatch(std::move(request), true);
    return call;
  }
  ApiServer& server_;
  User user_;
};

std::shared_ptr<api::Transport> ApiServer::local_transport(User user) {
  return std::make_shared<LocalTransport>(*this, std::move(user));
}

}  // namespace master
