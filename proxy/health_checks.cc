// See health_checks.h. The answer is that of kube-proxy (pkg/proxy/healthcheck).
#include "proxy/health_checks.h"

#include "base/json.h"
#include "base/log.h"

namespace proxy {

HealthCheck health_check_of(const Service& service, const std::vector<const EndpointSlice*>& slices,
                            const std::string& node) {
  HealthCheck check{service.ns, service.name, 0, 0};
  if (!service.external_local || service.type != "LoadBalancer" || !service.rules) return check;
  check.port = service.health_port;
  std::set<Ip> local;
  for (const EndpointSlice* slice : slices)
    for (const Endpoint& endpoint : slice->endpoints)
      if (endpoint.ready && endpoint.node == node && !endpoint.addresses.empty())
        if (auto ip = Ip::parse_v4(endpoint.addresses[0])) local.insert(*ip);
  check.local_endpoints = local.size();
  return check;
}
std::string health_body(const HealthCheck& check, bool proxy_healthy) {
  auto quoted = [](const std::string& text) { return base::to_json(base::json::value(text)); };
  return fmt::format(
      "{{\n\t\"service\": {{\n\t\t\"namespace\": {},\n\t\t\"name\": {}\n\t}},\n\t\"localEndpoints\": {},\n"
      "\t\"serviceProxyHealthy\": {}\n}}",
      quoted(check.ns), quoted(check.name), check.local_endpoints, proxy_healthy);
}

void HealthChecks::touch(const std::string& key) {
  const Service* service = cluster_.service(key);
  HealthCheck check = service ? health_check_of(*service, cluster_.slices(key), node_name_) : HealthCheck();
  auto at = served_.find(key);
  if (check.port == 0) {
    if (at != served_.end()) served_.erase(at);
    return;
  }
  Served& served = at == served_.end() ? served_[key] : at->second;
  if (served.check == check && served.server) return;
  const bool moved = !served.server || served.check.port != check.port;
  served.check = std::move(check);
  if (!moved) return;
  base::http::Server::Options limits;
  limits.max_body_bytes = 1024;
  limits.max_connections = 256;
  served.server = std::make_unique<base::http::Server>(
      loop_, nullptr, limits, [this, key](std::shared_ptr<base::http::Exchange> exchange) {
        if (auto asked = served_.find(key); asked != served_.end()) answer(asked->second.check, *exchange);
        else exchange->respond(404, {}, std::string());
      });
  // Another process of the host may have it: tried again with the next change, and told now.
  if (auto status = served.server->listen("0.0.0.0:" + std::to_string(served.check.port)); !status.ok()) {
    base::log::warning("health check of Service {}: {}", key, status.error().message());
    served.server.reset();
  }
}
void HealthChecks::answer(const HealthCheck& check, base::http::Exchange& exchange) const {
  const bool healthy = healthy_();
  base::http::Headers headers;
  headers.set("Content-Type", "application/json");
  headers.set("X-Content-Type-Options", "nosniff");
  headers.set("X-Load-Balancing-Endpoint-Weight", std::to_string(check.local_endpoints));
  exchange.respond(check.local_endpoints > 0 && healthy ? 200 : 503, std::move(headers),
                   health_body(check, healthy));
}

}  // namespace proxy
