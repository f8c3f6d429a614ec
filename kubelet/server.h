// The kubelet's HTTPS server and its routes. /healthz for everybody; the rest for clients with a
// certificate of the cluster's CA and group system:masters. Logs, exec, attach and port-forward
// are in streaming.h, requests to Pods in pod_proxy.h.
#pragma once

#include <memory>
#include <string>

#include "base/http_server.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_proxy.h"
#include "kubelet/streaming.h"

namespace kubelet {

class Server : private StreamBackend {
 public:
  Server(base::Loop& loop, std::shared_ptr<base::tls::Context> context, Kubelet& kubelet);
  base::Status listen(const std::string& address);
  int port() const;
  ~Server() override;

 private:
  void handle(std::shared_ptr<base::http::Exchange> exchange);        // who may ask
  void serve(const std::shared_ptr<base::http::Exchange>& exchange);  // who asks may
  // /podProxy/{namespace}/{pod}/{port}/…: what the API server passes on to one of our Pods.
  void pod_proxy(std::shared_ptr<base::http::Exchange> exchange);

  base::Result<StreamTarget> stream_target(const std::string& ns, const std::string& pod, const std::string& uid,
                                           const std::string& container) override;
  base::Result<LogTarget> log_target(const std::string& ns, const std::string& pod, const std::string& container,
                                     bool previous) override;

  Kubelet& kubelet_;
  Streaming streaming_;
  PodProxy pod_proxy_;
  base::http::Server server_;
};

}  // namespace kubelet
