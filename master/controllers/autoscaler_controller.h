// HorizontalPodAutoscalers: observes scale, Pods and metrics of each every quarter of a minute, runs
// plan_autoscaler, acts. Resizes by the target's scale subresource alone; owns autoscalers' status. Metrics
// come from the API groups that metrics servers serve (metrics.k8s.io, custom.metrics.k8s.io,
// external.metrics.k8s.io).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "master/controllers/autoscaler_plan.h"
#include "master/controllers/reconciler.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class AutoscalerController {
 public:
  explicit AutoscalerController(Hub& hub);

 private:
  struct Round;
  using RoundPtr = std::shared_ptr<Round>;
  void sync(const std::string& key, Reconciler::Finish finish);
  void see_pods(RoundPtr round);
  void see_metrics(RoundPtr round, size_t index);
  void decide(RoundPtr round);
  void resize(RoundPtr round);
  void publish(RoundPtr round);

  Hub& hub_;
  Hub::Account& account_;
  Store<Autoscaler>& autoscalers_;
  Reconciler reconciler_;
  StatusWriter status_;
  std::map<std::string, ScalingMemory> memory_;  // by uid
};

}  // namespace master::controllers
