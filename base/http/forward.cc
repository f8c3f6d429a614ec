#include "base/http/forward.h"

#include <strings.h>

#include "base/http/feed.h"

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
        std::move(request), [exchange, started, ended = std::move(ended),
                             change = options.change_answer](Result<Client::Upgraded> result) {
          if (!result.ok()) return ended(result.error(), false);
          *started = true;
          if (!result->stream) {
            Response& answer = result->response;
            if (auto filter = change ? change(answer) : nullptr) {
              answer.body = filter(answer.body, false);
              answer.body += filter({}, true);
            }
            exchange->respond(answer.status, onward(answer.headers, false), std::move(answer.body));
            return ended({}, true);
          }
          auto near = exchange->upgrade(onward(result->response.headers, true));
          if (near) splice(std::move(near), std::move(result->stream));
          ended({}, true);
        });
  // Read as it is taken. The handle is the caller's: a Call of our own stands between.
  auto flow = std::make_shared<Flow>();
  auto call = std::make_unique<FlowCall>(flow);
  auto filter = std::make_shared<ForwardOptions::Filter>();
  auto pass = [exchange, filter](std::string_view data, bool last) {
    std::string out = *filter ? (*filter)(data, last) : std::string(data);
    if (!out.empty()) exchange->write(bytes(std::move(out)));
  };
  flow->call = client.stream(
      std::move(request),
      [exchange, started, filter, change = options.change_answer,
       weak = std::weak_ptr(flow)](const Response& head) {
        *started = true;
        exchange->on_drain([weak] {
          if (auto flow = weak.lock(); flow && flow->call) flow->call->pause(false);
        });
        Response answer{head.status, head.headers, {}};
        if (change) *filter = change(answer);
        exchange->start(answer.status, onward(answer.headers, false));
      },
      [exchange, pass, weak = std::weak_ptr(flow)](std::string_view data) {
        pass(data, false);
        if (exchange->queued_bytes() < kFedBytes) return;
        if (auto flow = weak.lock(); flow && flow->call) flow->call->pause(true);
      },
      [exchange, started, pass, ended = std::move(ended)](Status status) {
        // An answer that was cut short is not finished: whoever waits for it must not take it for whole.
        if (*started && status.ok()) {
          pass({}, true);
          exchange->finish();
        }
        ended(std::move(status), *started);
      });
  return call;
}

}  // namespace base::http
