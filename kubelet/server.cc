// Routes of the kubelet's server.
#include "kubelet/server.h"

#include <algorithm>
#include <charconv>

#include "kubelet/node/stats_pages.h"

namespace kubelet {

namespace http = base::http;
namespace json = base::json;

namespace {

constexpr auto kRateWindow = std::chrono::seconds(10);  // least distance of the two observations of a rate

void answer(const std::shared_ptr<http::Exchange>& exchange, int status, std::string type, std::string body) {
  http::Headers headers;
  headers.add("Content-Type", std::move(type));
  exchange->respond(status, std::move(headers), std::move(body));
}
void answer_text(const std::shared_ptr<http::Exchange>& exchange, int status, std::string body) {
  answer(exchange, status, "text/plain; charset=utf-8", std::move(body));
}

// The first segment alone: as a label it must not grow with what strangers ask for.
std::string path_label(std::string_view path) {
  static constexpr std::string_view kKnown[] = {"attach",      "configz", "containerLogs", "exec",
                                                "healthz",     "metrics", "podProxy",      "pods",
                                                "portForward", "run",     "runningpods",   "stats"};
  path.remove_prefix(std::min<size_t>(1, path.size()));
  const std::string_view first = path.substr(0, path.find('/'));
  if (first == "metrics" && path != "metrics")
    for (std::string_view page : {"metrics/cadvisor", "metrics/probes", "metrics/resource"})
      if (path == page) return std::string(page);
  return std::find(std::begin(kKnown), std::end(kKnown), first) == std::end(kKnown) ? "other"
                                                                                    : std::string(first);
}

}  // namespace

Server::Server(base::Loop& loop, std::shared_ptr<base::tls::Context> context, Kubelet& kubelet)
    : kubelet_(kubelet), access_(kubelet.client(), kubelet.options().node_name), streaming_(loop, *this),
      pod_proxy_(loop),
      server_(loop, std::move(context), {}, [this](ExchangeRef exchange) { handle(std::move(exchange)); }) {
  kubelet_.on_exit = [this] { streaming_.container_exited(); };
  set_up_metrics();
}

Server::~Server() { kubelet_.on_exit = nullptr; }

base::Status Server::listen(const std::string& address) { return server_.listen(address); }
base::Status Server::listen_health(const std::string& address) {
  health_server_ = std::make_unique<http::Server>(
      kubelet_.loop(), nullptr,
      http::Server::Options{.max_body_bytes = 0, .max_connections = 64, .refusal = {}},
      [this](ExchangeRef exchange) { health(exchange, exchange->request().path()); });
  return health_server_->listen(address);
}
int Server::port() const {
  const auto ports = server_.ports();
  return ports.empty() ? 0 : ports.front();
}

void Server::handle(ExchangeRef exchange) {
  const http::Request& request = exchange->request();
  metrics_
      .counter("kubelet_http_requests_total", "Number of the http requests received since the server started",
               {{"method", access_verb(request.method).empty() ? "other" : std::string_view(request.method)},
                {"path", path_label(request.path())},
                {"server_type", "readwrite"}})
      .add();
  access_.check(exchange, [weak = std::weak_ptr(alive_), this, exchange] {
    if (!weak.lock()) return;
    // Nothing of the body was read until here.
    exchange->known();
    exchange->receive([weak, this, exchange] {
      if (weak.lock()) route(exchange);
    });
  });
}

void Server::health(const ExchangeRef& exchange, std::string_view path) {
  if (path == "/healthz" || path == "/healthz/ping" || path == "/healthz/log" || path == "/healthz/syncloop")
    return answer_text(exchange, 200, "ok");
  answer_text(exchange, 404, "404 page not found\n");
}

void Server::route(const ExchangeRef& exchange) {
  const http::Request& request = exchange->request();
  std::string path(request.path());
  if (path.starts_with("/podProxy/")) return pod_proxy(exchange);
  if (streaming_.handle(exchange)) return;
  if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (request.method != "GET" && request.method != "HEAD" &&
      !(path == "/stats/summary" && request.method == "POST"))
    return answer_text(exchange, 405, "405: Method Not Allowed");
  const std::string page(base::metrics::kPageType);
  if (path.starts_with("/healthz")) return health(exchange, path);
  if (path == "/pods")
    return answer(exchange, 200, "application/json", base::to_json(kubelet_.pods_json(false)));
  if (path == "/runningpods")
    return answer(exchange, 200, "application/json", base::to_json(kubelet_.pods_json(true)));
  if (path == "/configz") return answer(exchange, 200, "application/json", configz());
  if (path == "/metrics") return answer(exchange, 200, page, metrics_.page());
  if (path == "/metrics/probes") return answer(exchange, 200, page, kubelet_.probe_metrics().page());
  if (path == "/metrics/resource")
    return with_stats(false, [exchange, page](const StatsSeen& seen, const StatsSeen*) {
      answer(exchange, 200, page, resource_page(seen));
    });
  if (path == "/metrics/cadvisor")
    return with_stats(false, [exchange, page](const StatsSeen& seen, const StatsSeen*) {
      answer(exchange, 200, page, cadvisor_page(seen));
    });
  if (path == "/stats/summary") return stats_summary_of(exchange);
  answer_text(exchange, 404, "404 page not found\n");
}

void Server::stats_summary_of(const ExchangeRef& exchange) {
  bool brief = false;
  for (const auto& [key, value] : http::parse_query(exchange->request().query()))
    if (key == "only_cpu_and_memory") brief = value == "true" || value == "1";
  with_stats(!brief, [exchange, brief](const StatsSeen& seen, const StatsSeen* before) {
    answer(exchange, 200, "application/json", base::to_json(stats_summary(seen, before, brief)));
  });
}

void Server::with_stats(bool disks, StatsDone done) {
  auto& waiting = measuring_[disks];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  kubelet_.background().call<StatsSeen>(
      [request = kubelet_.count_request(disks)] { return observe_stats(request); },
      [weak = std::weak_ptr(alive_), this, disks](StatsSeen seen) {
        if (weak.lock()) measured(disks, std::move(seen));
      });
}

void Server::measured(bool disks, StatsSeen seen) {
  auto now = std::make_shared<const StatsSeen>(std::move(seen));
  if (!last_stats_ || now->at - last_stats_->at >= kRateWindow) before_ = std::exchange(last_stats_, now);
  const StatsSeen* before = before_ && before_->at < now->at ? before_.get()
                            : last_stats_ != now             ? last_stats_.get()
                                                             : nullptr;
  auto waiting = std::move(measuring_[disks]);
  measuring_[disks].clear();
  for (const auto& done : waiting) done(*now, before);
}

std::string Server::configz() const {
  const KubeletOptions& o = kubelet_.options();
  json::array dns;
  if (!o.cluster_dns.empty()) dns.emplace_back(o.cluster_dns);
  json::object config{
      {"kind", "KubeletConfiguration"},
      {"apiVersion", "kubelet.config.k8s.io/v1beta1"},
      {"address", o.node_ip},
      {"port", o.port},
      {"readOnlyPort", 0},
      {"authentication", json::object{{"x509", json::object()},
                                      {"anonymous", json::object{{"enabled", false}}},
                                      {"webhook", json::object{{"enabled", true}, {"cacheTTL", "2m0s"}}}}},
      {"authorization", json::object{{"mode", "Webhook"},
                                     {"webhook", json::object{{"cacheAuthorizedTTL", "5m0s"},
                                                              {"cacheUnauthorizedTTL", "30s"}}}}},
      {"clusterDomain", o.cluster_domain},
      {"clusterDNS", std::move(dns)},
      {"nodeStatusUpdateFrequency", "10s"},
      {"nodeLeaseDurationSeconds", 40},
      {"cgroupRoot", o.cgroup_parent},
      {"maxPods", o.max_pods},
      {"podPidsLimit", o.max_pids},
      {"containerLogMaxSize", "10Mi"},
      {"containerLogMaxFiles", 2},
      {"serializeImagePulls", false},
      {"maxParallelImagePulls", 3},
      {"enableServer", true},
      {"enableDebuggingHandlers", true},
      {"imagePullCredentialsVerificationPolicy", "NeverVerifyPreloadedImages"}};
  return base::to_json(json::object{{"kubeletconfig", std::move(config)}});
}

void Server::set_up_metrics() {
  base::metrics::add_process_metrics(metrics_);
  metrics_
      .gauge("kubelet_node_name", "[ALPHA] The node's name. The count is always 1.",
             {{"node", kubelet_.options().node_name}})
      .set(1);
  metrics_
      .gauge("kubernetes_build_info", "[ALPHA] A metric with a constant '1' value labeled by version.",
             {{"git_version", "v1.36.0+sampan"}, {"major", "1"}, {"minor", "36"}})
      .set(1);
  metrics_.before_page([this] {
    const Kubelet::Counts counts = kubelet_.counts();
    auto set = [&](std::string_view name, std::string_view help, size_t value) {
      metrics_.gauge(name, help).set(static_cast<double>(value));
    };
    set("kubelet_running_pods", "[ALPHA] Number of pods that have a running pod sandbox",
        counts.running_pods);
    metrics_
        .gauge("kubelet_running_containers", "[ALPHA] Number of containers currently running",
               {{"container_state", "running"}})
        .set(static_cast<double>(counts.running_containers));
    metrics_
        .gauge("kubelet_desired_pods",
               "[ALPHA] The number of pods the kubelet is being instructed to run. static is true if the pod "
               "is not from the apiserver.",
               {{"static", ""}})
        .set(static_cast<double>(counts.desired_pods));
    base::metrics::Value& started =
        metrics_.counter("kubelet_started_pods_total", "[ALPHA] Cumulative number of pods started");
    started.add(static_cast<double>(counts.started_pods) - started.get());
    set("sampan_kubelet_pod_addresses_used", "Addresses of the node's Pod CIDR in use",
        counts.addresses_used);
  });
}

void Server::pod_proxy(std::shared_ptr<http::Exchange> exchange) {
  // What stands behind the port goes on as it came: no decoding, no second slash lost.
  std::string_view rest =
      std::string_view(exchange->request().target).substr(std::string_view("/podProxy/").size());
  std::string parts[3];
  for (std::string& part : parts) {
    size_t slash = rest.find('/');
    part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  auto worker = kubelet_.find(parts[0], parts[1], "");
  if (!worker)
    return answer_error(exchange,
                        base::make_error(base::Kind::kNotFound, "find Pod", parts[0] + "/" + parts[1],
                                         "pod " + parts[1] + "_" + parts[0] + " not found"));
  const std::string ip = worker->observed().sandbox.ip;
  std::string_view digits = parts[2];
  constexpr std::string_view kTls = "https:";
  const bool tls = digits.starts_with(kTls);
  if (tls) digits.remove_prefix(kTls.size());
  int port = 0;
  if (auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
      error != std::errc() || end != digits.data() + digits.size())
    port = 0;
  if (ip.empty() || port < 1 || port > 65535)
    return answer_error(
        exchange,
        base::make_error(base::Kind::kInvalid, "reach Pod", parts[0] + "/" + parts[1],
                         ip.empty() ? "it has no address yet" : "port \"" + parts[2] + "\" is none"));
  pod_proxy_.handle(std::move(exchange), ip, port, tls, "/" + std::string(rest));
}

base::Result<StreamTarget> Server::stream_target(const std::string& ns, const std::string& pod,
                                                 const std::string& uid, const std::string& container) {
  auto worker = kubelet_.find(ns, pod, uid);
  if (!worker)
    return base::make_error(base::Kind::kNotFound, "find Pod", ns + "/" + pod, "pod does not exist");
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
  out.stdin_once = spec->stdin_once.value_or(false);
  out.tty = spec->tty.value_or(false);
  return out;
}

base::Result<LogTarget> Server::log_target(const std::string& ns, const std::string& pod,
                                           const std::string& container, bool previous) {
  auto worker = kubelet_.find(ns, pod);
  if (!worker)
    return base::make_error(base::Kind::kNotFound, "find Pod", ns + "/" + pod,
                            "pod " + pod + "_" + ns + " not found");
  auto log = TRY(worker->log(container, previous));
  return LogTarget{.path = log.path,
                   .ended = [weak = std::weak_ptr(worker), container, attempt = log.attempt] {
                     auto worker = weak.lock();
                     return !worker || worker->log_ended(container, attempt);
                   }};
}

}  // namespace kubelet
