#include "kubelet/pod_proxy.h"

#include "base/http_forward.h"
#include "kubelet/streaming.h"

namespace kubelet {

void PodProxy::handle(std::shared_ptr<base::http::Exchange> exchange, const std::string& ip, int port,
                      std::string target) {
  uint64_t id = next_++;
  auto forget = [this, id] { loop_.post([this, id] { passages_.erase(id); }); };
  exchange->on_close(forget);
  Passage& passage = passages_[id];
  base::http::Client::Options options;
  options.host = ip;
  options.port = port;
  passage.client = std::make_unique<base::http::Client>(loop_, nullptr, options);
  passage.call = base::http::forward(
      *passage.client, exchange, std::move(target), [exchange, forget](base::Status status, bool answered) {
        if (!status.ok() && !answered) {
          base::http::Headers headers;
          headers.add("Content-Type", "application/json");
          exchange->respond(503, std::move(headers),
                            status_json(false, 503, "ServiceUnavailable",
                                        "error trying to reach service: " + status.error().message()));
        }
        forget();
      });
}

}  // namespace kubelet
