#include "master/controllers/autoscaler_controller.h"

#include "base/http/http.h"
#include "base/json_lists.h"
#include "base/log.h"

namespace master::controllers {

constexpr const char* kAutoscalerComponent = "horizontal-pod-autoscaler";

// One pass over one autoscaler: what was seen, what was decided.
struct AutoscalerController::Round {
  std::string key, scale_path;
  std::shared_ptr<const Autoscaler> autoscaler;
  json::value scale;
  AutoscalerSeen seen;
  AutoscalerPlan plan;
  Reconciler::Finish finish;
};

namespace {
std::string resource_path(const api::Resource& resource, const std::string& ns) {
  std::string path = resource.group.empty() ? "/api/" : "/apis/" + resource.group + "/";
  path += resource.version + "/";
  if (resource.namespaced) path += "namespaces/" + base::http::escape(ns) + "/";
  return path + resource.plural;
}
std::string api_group_of(const std::string& api_version) {
  const size_t slash = api_version.find('/');
  return slash == std::string::npos ? "" : api_version.substr(0, slash);
}
const char* source_of(MetricSpec::Type type) {
  if (type == MetricSpec::Type::kExternal) return "external metrics API";
  return type == MetricSpec::Type::kPods || type == MetricSpec::Type::kObject ? "custom metrics API"
                                                                              : "resource metrics API";
}
}  // namespace

AutoscalerController::AutoscalerController(Hub& hub)
    : hub_(hub), account_(hub.account("horizontal-pod-autoscaler")),
      autoscalers_(hub.follow<Autoscaler>(kAutoscalers)),
      reconciler_(
          hub, {&autoscalers_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }),
      status_(hub, account_, kAutoscalers, autoscalers_, reconciler_) {
  // Its own status is no reason to look again: the next look is due by time.
  autoscalers_.on_change([this](const auto& before, const auto& after) {
    if (after && (!before || before->spec != after->spec)) reconciler_.add(after->meta.key());
    if (!after) {
      memory_.erase(before->meta.uid);
      reconciler_.gate.forget(before->meta.key());
    }
  });
}

void AutoscalerController::sync(const std::string& key, Reconciler::Finish finish) {
  auto autoscaler = autoscalers_.get(key);
  if (!autoscaler || autoscaler->meta.deleting) return finish(Reconciler::Outcome::kDone);
  reconciler_.add_after(key, kAutoscalerPeriod);
  auto round = std::make_shared<Round>();
  round->key = key;
  round->autoscaler = autoscaler;
  round->finish = std::move(finish);
  const api::Resource* target =
      hub_.find(api_group_of(autoscaler->target_api_version), autoscaler->target_kind);
  if (!target) {
    round->seen.scale_error =
        fmt::format("no matches for kind \"{}\" in group \"{}\"", autoscaler->target_kind,
                    api_group_of(autoscaler->target_api_version));
    return decide(std::move(round));
  }
  round->scale_path = resource_path(*target, autoscaler->meta.ns) + "/" +
                      base::http::escape(autoscaler->target_name) + "/scale";
  account_.client.call("GET", round->scale_path, "", "", [this, round](base::Result<json::value> result) {
    if (!result.ok()) {
      round->seen.scale_error = answered(result.error());
      return decide(round);
    }
    round->scale = std::move(*result);
    round->seen.scale = read_scale(round->scale);
    see_pods(round);
  });
}

void AutoscalerController::see_pods(RoundPtr round) {
  const Scale& scale = round->seen.scale;
  const Autoscaler& autoscaler = *round->autoscaler;
  if (scale.selector.empty() || scale.spec_replicas > autoscaler.max_replicas ||
      scale.spec_replicas < autoscaler.min_replicas)
    return decide(std::move(round));
  account_.client.list(
      api::resources::pods, autoscaler.meta.ns, "labelSelector=" + base::http::escape(scale.selector),
      [this, round](base::Result<json::value> result) {
        if (result.ok()) {
          round->seen.pods = read_scaled_pods(*result);
          return see_metrics(round, 0);
        }
        MetricSeen failed;
        failed.error = "unable to get pods while calculating replica count: " + answered(result.error());
        round->seen.metrics.assign(round->autoscaler->metrics.size(), failed);
        decide(round);
      });
}

// One after the other: a source that is slow is asked for one thing at a time.
void AutoscalerController::see_metrics(RoundPtr round, size_t index) {
  const Autoscaler& autoscaler = *round->autoscaler;
  const api::Resource* described = nullptr;
  for (; index < autoscaler.metrics.size(); ++index) {
    const MetricSpec& next = autoscaler.metrics[index];
    if (next.type != MetricSpec::Type::kObject) break;
    const std::string group = api_group_of(next.object_api_version);
    if ((described = hub_.find(group, next.object_kind))) break;
    MetricSeen unknown;  // there is no path to ask
    unknown.error = fmt::format("no matches for kind \"{}\" in group \"{}\"", next.object_kind, group);
    round->seen.metrics.push_back(std::move(unknown));
  }
  if (index == autoscaler.metrics.size()) return decide(std::move(round));
  const MetricSpec& spec = autoscaler.metrics[index];
  std::string plural;
  if (described)
    plural = described->group.empty() ? described->plural : described->plural + "." + described->group;
  account_.client.call("GET", metric_path(autoscaler, spec, round->seen.scale.selector, plural), "", "",
                       [this, round, index](base::Result<json::value> result) {
                         const MetricSpec& asked = round->autoscaler->metrics[index];
                         MetricSeen seen;
                         if (!result.ok()) {
                           const base::Error& error = result.error();
                           seen.error = fmt::format("unable to fetch metrics from {}: {}",
                                                    source_of(asked.type), answered(error));
                         } else {
                           seen = read_metric(asked, *result);
                           if (base::list_at(*result, "items").empty())
                             seen.error = fmt::format("no metrics returned from {}", source_of(asked.type));
                         }
                         round->seen.metrics.push_back(std::move(seen));
                         see_metrics(round, index + 1);
                       });
}

void AutoscalerController::decide(RoundPtr round) {
  const Autoscaler& autoscaler = *round->autoscaler;
  round->plan = plan_autoscaler(autoscaler, round->seen, memory_[autoscaler.meta.uid], hub_.now());
  memory_[autoscaler.meta.uid] = round->plan.memory;
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("HorizontalPodAutoscaler {}: {}", round->key, round->plan.text());
  if (round->plan.scale_to) return resize(std::move(round));
  publish(std::move(round));
}

void AutoscalerController::resize(RoundPtr round) {
  json::value scale = round->scale;
  base::object_at(scale.get_object(), "spec")["replicas"] = *round->plan.scale_to;
  account_.client.call(
      "PUT", round->scale_path, "application/json", base::to_json(scale),
      [this, round](base::Result<json::value> result) {
        AutoscalerPlan& plan = round->plan;
        const int before = round->seen.scale.spec_replicas;
        if (result.ok()) {
          remember_change(*round->autoscaler, before, *plan.scale_to, memory_[round->autoscaler->meta.uid],
                          hub_.now());
          plan.events.push_back({"Normal", "SuccessfulRescale",
                                 fmt::format("New size: {}; reason: {}", *plan.scale_to, plan.reason)});
        } else {
          fail_scaling(*round->autoscaler, plan, before, answered(result.error()), hub_.now());
        }
        publish(round);
      });
}

void AutoscalerController::publish(RoundPtr round) {
  const Meta& meta = round->autoscaler->meta;
  const ObjectRef ref{"autoscaling/v2", "HorizontalPodAutoscaler", meta.ns, meta.name, meta.uid};
  account_.events.record(ref, round->plan.events, kAutoscalerComponent);
  if (!round->plan.status_changed) return round->finish(Reconciler::Outcome::kDone);
  status_.write(meta, whole_status(round->plan.status, {"currentMetrics", "lastScaleTime"}),
                [round](base::Status written) {
                  if (!written.ok() && !is_gone(written))
                    base::log::warning("HorizontalPodAutoscaler {}: {}", round->key,
                                       written.error().message());
                  round->finish(Reconciler::Outcome::kDone);  // it is looked at again by time
                });
}

}  // namespace master::controllers
