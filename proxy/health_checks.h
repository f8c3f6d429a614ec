// Where a load balancer outside of the cluster asks whether this node has endpoints of a Service with
// externalTrafficPolicy Local: spec.healthCheckNodePort, answered as kube-proxy answers it. Strangers may
// ask; they learn a number.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/http/server.h"
#include "proxy/service_plan.h"

namespace proxy {

struct HealthCheck {
  std::string ns, name;
  uint16_t port = 0;
  size_t local_endpoints = 0;  // ready ones
  bool operator==(const HealthCheck&) const = default;
};
// Port 0: none is asked for.
HealthCheck health_check_of(const Service& service, const std::vector<const EndpointSlice*>& slices,
                            const std::string& node);
std::string health_body(const HealthCheck& check, bool proxy_healthy);

class HealthChecks {
 public:
  HealthChecks(base::Loop& loop, const Cluster& cluster, std::string node_name, std::function<bool()> healthy)
      : loop_(loop), cluster_(cluster), node_name_(std::move(node_name)), healthy_(std::move(healthy)) {}
  void touch(const std::string& service_key);  // a Service or its endpoints changed

 private:
  struct Served {
    HealthCheck check;
    std::unique_ptr<base::http::Server> server;
  };
  void answer(const HealthCheck& check, base::http::Exchange& exchange) const;

  base::Loop& loop_;
  const Cluster& cluster_;
  std::string node_name_;
  std::function<bool()> healthy_;
  std::map<std::string, Served> served_;  // by Service
};

}  // namespace proxy
