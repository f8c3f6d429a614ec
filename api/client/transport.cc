#include "api/client/transport.h"

#include <charconv>

#include "base/http/client.h"

namespace api {
namespace {

constexpr base::Duration kCallTimeout = std::chrono::seconds(60);
constexpr size_t kMaxLine = 16u << 20;

class HttpTransport : public Transport {
 public:
  HttpTransport(base::Loop& loop, std::shared_ptr<base::tls::Context> context,
                base::http::Client::Options options, std::string token)
      : client_(loop, std::move(context), std::move(options)), token_(std::move(token)) {}

  std::unique_ptr<Call> call(base::http::Request request, Done done) override {
    authenticate(request);
    auto out = std::make_unique<HttpCall>();
    out->call = client_.call(std::move(request), kCallTimeout, std::move(done));
    return out;
  }

  std::unique_ptr<Call> watch(base::http::Request request, std::function<void(const WatchLine&)> on_line,
                              std::function<void(base::Status)> on_end,
                              std::function<void()> on_open) override {
    authenticate(request);
    auto out = std::make_unique<HttpCall>();
    auto state = std::make_shared<WatchState>();
    state->operation = "watch " + request.target;
    state->on_line = std::move(on_line);
    std::weak_ptr<WatchState> weak = out->state = state;
    out->call = client_.stream(
        std::move(request),
        [weak, on_open = std::move(on_open)](const base::http::Response& head) {
          auto state = weak.lock();
          if (!state) return;
          state->status = head.status;
          if (head.status == 200 && on_open) on_open();
        },
        [weak](std::string_view data) {
          if (auto state = weak.lock()) take(*state, weak, data);
        },
        [weak, on_end = std::move(on_end)](base::Status status) {
          auto state = weak.lock();
          if (!state) return;
          if (state->too_long)
            return on_end(base::make_error(base::Kind::kInvalid, state->operation, {},
                                           "an event is longer than 16 MiB"));
          if (status.ok() && state->status != 200)
            return on_end(error_from_status(state->status, state->buffer, state->operation));
          if (!status.ok()) return on_end(base::wrap(std::move(status).error(), state->operation));
          on_end({});
        });
    return out;
  }

 private:
  struct WatchState {
    std::string operation, buffer;  // the line under way; of a refusal, its body
    int status = 0;
    bool too_long = false;
    std::function<void(const WatchLine&)> on_line;
  };
  struct HttpCall : Call {
    std::shared_ptr<WatchState> state;
    std::unique_ptr<base::http::Client::Call> call;
  };
  void authenticate(base::http::Request& request) const {
    if (!token_.empty()) request.headers.set("Authorization", "Bearer " + token_);
  }
  // A line's handler may destroy the watch: `weak` tells.
  static void take(WatchState& state, const std::weak_ptr<WatchState>& weak, std::string_view data) {
    if (state.too_long) return;
    if (state.status != 200) {
      if (state.buffer.size() < 4096) state.buffer.append(data.substr(0, 4096));
      return;
    }
    while (true) {
      size_t end = data.find('\n');
      if (end == std::string_view::npos) break;
      std::string line;
      std::string_view whole = data.substr(0, end);
      if (!state.buffer.empty()) {
        line.swap(state.buffer);
        line.append(whole);
        whole = line;
      }
      data.remove_prefix(end + 1);
      state.on_line(whole);
      if (weak.use_count() <= 1) return;  // only the caller's lock is left
    }
    state.buffer.append(data);
    if (state.buffer.size() > kMaxLine) {
      state.too_long = true;
      state.buffer.clear();
    }
  }
  base::http::Client client_;
  std::string token_;
};

base::Error bad_server(const std::string& server, std::string reason) {
  return base::make_error(base::Kind::kInvalid, "connect to API server", server, std::move(reason),
                          "write https://ADDRESS:PORT");
}

}  // namespace

base::Result<std::shared_ptr<Transport>> connect(base::Loop& loop, const KubeConfig& config) {
  std::string_view rest = config.server;
  bool tls = true;
  if (rest.starts_with("https://")) rest.remove_prefix(8);
  else if (rest.starts_with("http://")) rest.remove_prefix(7), tls = false;
  else return bad_server(config.server, "the server's address has no scheme");
  while (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find('/') != std::string_view::npos) return bad_server(config.server, "a path is not supported");
  base::http::Client::Options options;
  options.port = tls ? 443 : 80;
  std::string_view port;
  if (rest.starts_with('[')) {
    size_t end = rest.find(']');
    if (end == std::string_view::npos) return bad_server(config.server, "'[' without ']'");
    options.host = rest.substr(1, end - 1);
    if (rest.size() > end + 1 && rest[end + 1] == ':') port = rest.substr(end + 2);
  } else {
    size_t colon = rest.find(':');
    options.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) port = rest.substr(colon + 1);
  }
  if (options.host.empty()) return bad_server(config.server, "the host is empty");
  if (!port.empty()) {
    auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), options.port);
    if (ec != std::errc() || end != port.data() + port.size() || options.port < 1 || options.port > 65535)
      return bad_server(config.server, "the port is not a number from 1 to 65535");
  }
  std::shared_ptr<base::tls::Context> context;
  if (tls)
    context = TRY_WRAP(base::tls::Context::client(config.ca_pem, config.client), "connect to API server",
                       config.server);
  return std::shared_ptr<Transport>(
      std::make_shared<HttpTransport>(loop, std::move(context), std::move(options), config.token));
}

}  // namespace api
