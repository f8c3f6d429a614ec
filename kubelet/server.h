// The kubelet's HTTPS server and its routes: who asks and may is access.h's, what containers and nodes use is
// stats.h's; logs, exec, attach and port-forward are in streaming.h, requests to Pods in pod_proxy.h.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "base/http/server.h"
#include "base/metrics.h"
#include "kubelet/kubelet.h"
#include "kubelet/node/access.h"
#include "kubelet/streaming/pod_proxy.h"
#include "kubelet/streaming/streaming.h"

namespace kubelet {

class Server : private StreamBackend {
 public:
  Server(base::Loop& loop, std::shared_ptr<base::tls::Context> context, Kubelet& kubelet);
  base::Status listen(const std::string& address);
  // /healthz alone, over plain HTTP and for everybody who reaches the address.
  base::Status listen_health(const std::string& address);
  int port() const;
  ~Server() override;

 private:
  using ExchangeRef = std::shared_ptr<base::http::Exchange>;
  using StatsDone = std::function<void(const StatsSeen& seen, const StatsSeen* before)>;
  void handle(ExchangeRef exchange);
  void route(const ExchangeRef& exchange);
  void health(const ExchangeRef& exchange, std::string_view path);
  // /podProxy/{namespace}/{pod}/[https:]{port}/…: what the API server passes on to one of our Pods.
  void pod_proxy(ExchangeRef exchange);
  void stats_summary_of(const ExchangeRef& exchange);
  // One observation at a time of each kind, for all who wait for one.
  void with_stats(bool disks, StatsDone done);
  void measured(bool disks, StatsSeen seen);
  std::string configz() const;
  void set_up_metrics();

  base::Result<StreamTarget> stream_target(const std::string& ns, const std::string& pod,
                                           const std::string& uid, const std::string& container) override;
  base::Result<LogTarget> log_target(const std::string& ns, const std::string& pod,
                                     const std::string& container, bool previous) override;

  Kubelet& kubelet_;
  Access access_;
  Streaming streaming_;
  PodProxy pod_proxy_;
  base::metrics::Registry metrics_;
  std::array<std::vector<StatsDone>, 2> measuring_;       // without and with disks
  std::shared_ptr<const StatsSeen> last_stats_, before_;  // some ten seconds apart, for rates
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  base::http::Server server_;
  std::unique_ptr<base::http::Server> health_server_;
};

}  // namespace kubelet
