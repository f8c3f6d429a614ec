#include "kubelet/streaming/pod_proxy.h"

#include "base/http/forward.h"
#include "base/tls_unverified.h"
#include "kubelet/streaming/streaming.h"

namespace kubelet {

void PodProxy::handle(std::shared_ptr<base::http::Exchange> exchange, const std::string& ip, int port,
                      bool tls, std::string target) {
  std::shared_ptr<base::tls::Context> context;
  if (tls) {
    auto made = base::tls::unverified_client({});
    if (!made.ok()) return answer_error(exchange, made.error());
    context = std::move(*made);
  }
  uint64_t id = next_++;
  auto forget = [this, id] { loop_.post([this, id] { passages_.erase(id); }); };
  exchange->on_close(forget);
  Passage& passage = passages_[id];
  base::http::Client::Options options;
  options.host = ip;
  options.port = port;
  passage.client = std::make_unique<base::http::Client>(loop_, std::move(context), options);
  // The Pod sees the name that the client asked for, as behind kube-apiserver.
  base::http::ForwardOptions forwards;
  forwards.change_headers = [&exchange](base::http::Headers& headers) {
    if (std::string host(exchange->request().headers.get("Host")); !host.empty()) headers.set("Host", host);
  };
  passage.call = base::http::forward(
      *passage.client, exchange, std::move(target),
      [exchange, forget](base::Status status, bool answered) {
        if (!status.ok() && !answered) {
          base::http::Headers headers;
          headers.add("Content-Type", "application/json");
          exchange->respond(503, std::move(headers),
                            status_json(false, 503, "ServiceUnavailable",
                                        "error trying to reach service: " + status.error().message()));
        }
        forget();
      },
      forwards);
}

}  // namespace kubelet
