#include "base/http_forward.h"

#include <strings.h>

#include "base/http_feed.h"

namespace base::http {
namespace {

bool stays(std::string_view name, bool upgrades) {
  for (const char* hop : {"Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
                          "Transfer-Encoding", "Content-Length", "Host", "Authorization"})
    if (name.size() == std::string_view(hop).size() && ::strncasecmp(name.data(), hop, name.size()) == 0)
      return true;
  for (const char* hop : {"Connection", "Upgrade"})
    if (name.size() == std::string_view(hop).size() && ::strncasecmp(name.data(), hop, name.size()) == 0)
      return !upgrades;
  return false;
}
Headers onward(const Headers& in, bool upgrades) {
  Headers out;
  for (const auto& [name, value] : in.list)
    if (!stays(name, upgrades)) out.add(name, value);
  return out;
}

struct Flow {
  std::unique_ptr<Client::Call> call;
};
struct FlowCall final : Client::Call {
  explicit FlowCall(std::shared_ptr<Flow> flow) : flow(std::move(flow)) {}
  ~FlowCall() override { flow->call.reset(); }
  void pause(bool paused) override { flow->call->pause(paused); }
  std::shared_ptr<Flow> flow;
};

}  // namespace

std::unique_ptr<Client::Call> forward(Client& client, std::shared_ptr<Exchange> exchange, std::string target,
                                      std::function<void(Status, bool answered)> ended,
                                      const ForwardOptions& options) {
  bool upgrades = !exchange->request().headers.get("Upgrade").empty();
  Request request;
  request.method = exchange->request().method;
  request.target = std::move(target);
  request.headers = onward(exchange->request().headers, upgrades);
  if (options.change_headers) options.change_headers(request.headers);
  auto started = options.started ? options.started : std::make_shared<bool>(false);
  request.body = exchange->request().body;
  if (upgrades)
    return client.upgrade(
        std::move(request), [exchange, started, ended = std::move(ended)](Result<Client::Upgraded> result) {
          if (!result.ok()) return ended(result.error(), false);
          *started = true;
          if (!result->stream) {
            exchange->respond(result->response.status, onward(result->response.headers, false),
                              std::move(result->response.body));
            return ended({}, true);
          }
          auto near = exchange->upgrade(onward(result->response.headers, true));
          if (near) splice(std::move(near), std::move(result->stream));
          ended({}, true);
        });
  // Read as it is taken. The handle is the caller's: a Call of our own stands between.
  auto flow = std::make_shared<Flow>();
  auto call = std::make_unique<FlowCall>(flow);
  flow->call = client.stream(
      std::move(request),
      [exchange, started, weak = std::weak_ptr(flow)](const Response& head) {
        *started = true;
        exchange->on_drain([weak] {
          if (auto flow = weak.lock(); flow && flow->call) flow->call->pause(false);
        });
        exchange->start(head.status, onward(head.headers, false));
      },
      [exchange, weak = std::weak_ptr(flow)](std::string_view data) {
        exchange->write(bytes(std::string(data)));
        if (exchange->queued_bytes() < kFedBytes) return;
        if (auto flow = weak.lock(); flow && flow->call) flow->call->pause(true);
      },
      [exchange, started, ended = std::move(ended)](Status status) {
        // An answer that was cut short is not finished: whoever waits for it must not take it for whole.
        if (*started && status.ok()) exchange->finish();
        ended(std::move(status), *started);
      });
  return call;
}

}  // namespace base::http
