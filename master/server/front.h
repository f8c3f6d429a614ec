// Front: what every request passes before and after the API's own work. It counts (metrics with
// Kubernetes' names), audits, and lets requests in by priority (flow_control.h), by standing between
// the request and its Exchange. Large answers are compressed on the way out where the client asks.
// Loop thread only.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "base/http/encoding.h"
#include "base/metrics.h"
#include "master/server/audit.h"
#include "master/server/flow_control.h"

namespace master {

class Front {
 public:
  explicit Front(base::Loop& loop);
  ~Front();
  // From now on requests are audited by `policy`.
  void audit(AuditPolicy policy, std::unique_ptr<AuditLog> log);

  // The request is known (user, verb, resource): counts it, opens its audit record, and calls `go` when
  // its priority level lets it run, or answers 429. Requests from inside (`is_local`) run at once.
  void enter(const RequestPtr& request, bool is_local, std::function<void()> go);

  base::metrics::Registry& metrics() { return metrics_; }
  FlowControl& flow_control() { return flow_control_; }
  // Seconds from the submission of a write to its being durable.
  void observe_store(std::string_view operation, std::string_view type, double seconds);

 private:
  class Observed;
  struct Series;
  Series& series_of(const RequestInfo& request);

  base::Loop& loop_;
  base::metrics::Registry metrics_;
  FlowControl flow_control_;
  std::unordered_map<std::string, std::unique_ptr<Series>> series_;
  std::unordered_map<std::string, base::metrics::Histogram*> store_series_;
  base::metrics::Value *reading_, *mutating_;  // requests in flight
  base::http::Compressor compressor_;
  std::unique_ptr<AuditPolicy> policy_;
  std::unique_ptr<AuditLog> log_;
  std::shared_ptr<Front*> self_;  // emptied at the end: requests may outlive the server
};

}  // namespace master
