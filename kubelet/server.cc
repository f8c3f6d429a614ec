// Routes of the kubelet's server. Decides who may ask; knows nothing of streams.
#include "kubelet/server.h"

#include <algorithm>

namespace kubelet {

namespace http = base::http;

Server::Server(base::Loop& loop, std::shared_ptr<base::tls::Context> context, Kubelet& kubelet)
    : kubelet_(kubelet), streaming_(loop, *this), pod_proxy_(loop),
      server_(loop, std::move(context), {}, [this](std::shared_ptr<http::Exchange> exchange) { handle(std::move(exchange)); }) {
  kubelet_.on_exit = [this] { streaming_.container_exited(); };
}

Server::~Server() { kubelet_.on_exit = nullptr; }

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
  // Nothing of the body was read until here.
  exchange->known();
  exchange->receive([this, exchange] { serve(exchange); });
}

void Server::serve(const std::shared_ptr<http::Exchange>& exchange) {
  const std::string path(exchange->request().path());
  auto answer = [&](int status, std::string type, std::string body) {
    http::Headers headers;
    headers.add("Content-Type", std::move(type));
    exchange->respond(status, std::move(headers), std::move(body));
  };
  if (path == "/pods" || path == "/pods/") return answer(200, "application/json", base::to_json(kubelet_.pods_json()));
  if (path == "/metrics") return answer(200, "text/plain; version=0.0.4; charset=utf-8", kubelet_.metrics());
  if (path.starts_with("/podProxy/")) return pod_proxy(exchange);
  if (streaming_.handle(exchange)) return;
  answer(404, "text/plain; charset=utf-8", "404 page not found\n");
}

void Server::pod_proxy(std::shared_ptr<http::Exchange> exchange) {
  // What stands behind the port goes on as it came: no decoding, no second slash lost.
  std::string_view rest = std::string_view(exchange->request().target).substr(std::string_view("/podProxy/").size());
  std::string parts[3];
  for (std::string& part : parts) {
    size_t slash = rest.find('/');
    part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  auto worker = kubelet_.find(parts[0], parts[1], "");
  if (!worker)
    return answer_error(exchange, base::make_error(base::Kind::kNotFound, "find Pod", parts[0] + "/" + parts[1], "pod " + parts[1] + "_" + parts[0] + " not found"));
  const std::string ip = worker->observed().sandbox.ip;
  int port = parts[2].size() <= 5 ? std::atoi(parts[2].c_str()) : 0;
  if (ip.empty() || port < 1 || port > 65535)
    return answer_error(exchange, base::make_error(base::Kind::kInvalid, "reach Pod", parts[0] + "/" + parts[1],
                                                   ip.empty() ? "it has no address yet" : "port \"" + parts[2] + "\" is none"));
  pod_proxy_.handle(std::move(exchange), ip, port, "/" + std::string(rest));
}

base::Result<StreamTarget> Server::stream_target(const std::string& ns, const std::string& pod, const std::string& uid,
                                                 const std::string& container) {
  auto worker = kubelet_.find(ns, pod, uid);
  if (!worker) return base::make_error(base::Kind::kNotFound, "find Pod", ns + "/" + pod, "pod " + pod + "_" + ns + " not found");
  StreamTarget out;
  if (container.empty()) {
    out.pod = TRY(worker->sandbox());
    return out;
  }
  auto target = TRY(worker->target(container));
  const api::Container* spec = find_container(worker->pod(), container);
  out.pod = std::move(target.pod);
  out.container = std::move(target.container_id);
  out.process = std::move(target.process);
  out.stdin = spec->stdin.value_or(false);
  out.tty = spec->tty.value_or(false);
  return out;
}

base::Result<LogTarget> Server::log_target(const std::string& ns, const std::string& pod, const std::string& container, bool previous) {
  auto worker = kubelet_.find(ns, pod);
  if (!worker) return base::make_error(base::Kind::kNotFound, "find Pod", ns + "/" + pod, "pod " + pod + "_" + ns + " not found");
  auto log = TRY(worker->log(container, previous));
  return LogTarget{.path = log.path, .ended = [weak = std::weak_ptr(worker), container, attempt = log.attempt] {
    auto worker = weak.lock();
    return !worker || worker->log_ended(container, attempt);
  }};
}

}  // namespace kubelet
