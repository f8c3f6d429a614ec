// Routes of the kubelet's server. Decides who may ask; knows nothing of streams.
#include "kubelet/server.h"

#include <algorithm>

namespace kubelet {

namespace http = base::http;

Server::Server(base::Loop& loop, std::shared_ptr<base::tls::Context> context, Kubelet& kubelet)
    : kubelet_(kubelet),
      server_(loop, std::move(context), {}, [this](std::shared_ptr<http::Exchange> exchange) { handle(std::move(exchange)); }) {}

base::Status Server::listen(const std::string& address) { return server_.listen(address); }
int Server::port() const {
  const auto ports = server_.ports();
  return ports.empty() ? 0 : ports.front();
}

void Server::handle(std::shared_ptr<http::Exchange> exchange) {
  const http::Request& request = exchange->request();
  const std::string path(request.path());
  auto answer = [&](int status, std::string type, std::string body) {
    http::Headers headers;
    headers.add("Content-Type", std::move(type));
    exchange->respond(status, std::move(headers), std::move(body));
  };
  if (path == "/healthz") return answer(200, "text/plain; charset=utf-8", "ok");
  if (!request.peer.has_certificate) return answer(401, "text/plain; charset=utf-8", "Unauthorized\n");
  const auto& groups = request.peer.organizations;
  if (std::find(groups.begin(), groups.end(), "system:masters") == groups.end())
    return answer(403, "text/plain; charset=utf-8", "Forbidden (user=" + request.peer.common_name + ", verb=" + request.method + ")\n");
  if (path == "/pods" || path == "/pods/") return answer(200, "application/json", base::to_json(kubelet_.pods_json()));
  if (path == "/metrics") return answer(200, "text/plain; version=0.0.4; charset=utf-8", kubelet_.metrics());
  // The place of streaming: /containerLogs/, /exec/, /attach/, /portForward/.
  answer(404, "text/plain; charset=utf-8", "404 page not found\n");
}

}  // namespace kubelet
