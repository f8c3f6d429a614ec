// What is kept of a HorizontalPodAutoscaler, and what is looked at when it decides: the scale of its target,
// the target's Pods, and its metrics. Read straight from JSON. Shapes of autoscaling/v2,
// metrics.k8s.io/v1beta1, custom.metrics.k8s.io/v1beta2, external.metrics.k8s.io/v1beta1. Amounts are in
// thousandths of their unit.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

extern const api::Resource kAutoscalers;

struct ScalingRules {
  enum class Select { kMax, kMin, kDisabled } select = Select::kMax;
  struct Policy {
    bool percent = false;  // else Pods
    int64_t value = 0, period_seconds = 0;
  };
  std::vector<Policy> policies;
  int64_t window_seconds = 0;  // of stabilization
  double tolerance = 0.1;
};

struct MetricSpec {
  enum class Type { kResource, kContainerResource, kPods, kObject, kExternal } type = Type::kResource;
  std::string name, container;  // of the resource or of the metric
  std::string selector;         // of the metric's labels, as a query has it
  std::string object_api_version, object_kind, object_name;
  enum class Target { kUtilization, kAverageValue, kValue } target = Target::kUtilization;
  int64_t value = 0;   // percent, or thousandths
  json::value source;  // the member as it stands, which the status repeats
};

struct Autoscaler {
  Meta meta;
  std::string target_api_version, target_kind, target_name;
  int min_replicas = 1, max_replicas = 1;
  std::vector<MetricSpec> metrics;
  bool has_behavior = false;
  ScalingRules up, down;
  json::value spec, status;

  static Store<Autoscaler>::Reader reader(const api::Resource& resource);
};

// autoscaling/v1 Scale.
struct Scale {
  int spec_replicas = 0, status_replicas = 0;
  std::string selector;
};
Scale read_scale(const json::value& object);

// One of the target's Pods.
struct ScaledPod {
  std::string name, phase;
  bool deleting = false;
  std::optional<base::Time> started;
  std::optional<bool> ready;  // condition Ready, where there is one
  base::Time ready_since{};
  struct Container {
    std::string name;
    std::map<std::string, int64_t> requests;
  };
  std::vector<Container> containers;  // and sidecars
};
std::vector<ScaledPod> read_scaled_pods(const json::value& list);

// What a source said of one metric, or why it said nothing.
struct MetricSeen {
  std::string error;
  struct Sample {
    int64_t value = 0;
    base::Time at{};
    base::Duration window{};
  };
  std::map<std::string, Sample> pods;  // by name: of resources and of Pods' metrics
  std::vector<int64_t> values;         // of an object (one), or of what is outside
};
// The path that is asked for a metric. `plural` is the resource of a described object,
// "ingresses.networking.k8s.io".
std::string metric_path(const Autoscaler& autoscaler, const MetricSpec& spec, const std::string& pod_selector,
                        const std::string& plural);
MetricSeen read_metric(const MetricSpec& spec, const json::value& answer);

}  // namespace master::controllers
