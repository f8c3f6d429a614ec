#include "master/controllers/load_balancer_controller.h"

#include <algorithm>

#include "base/log.h"

namespace master::controllers {
using base::find;
using base::find_path;
using base::string_at;

namespace {
constexpr const char* kNamespace = "kube-system";
constexpr const char* kPools = "sampan-address-pools";
constexpr const char* kAll = "all";  // one key: one plan
constexpr const char* kBalancerComponent = "load-balancer-controller";
constexpr const char* kExcluded = "node.kubernetes.io/exclude-from-external-load-balancers";
// A deployment of many Services, a node that goes: one plan.
constexpr base::Duration kGather = std::chrono::milliseconds(10);

bool same_for_balancing(const Node& a, const Node& b) {
  return a.internal_ips == b.internal_ips && a.external_ips == b.external_ips && is_ready(a) == is_ready(b) &&
         a.labels.contains(kExcluded) == b.labels.contains(kExcluded) && a.kubelet_port == b.kubelet_port;
}
std::set<std::string> ready_nodes(const Whole& slice) {
  std::set<std::string> nodes;
  if (const json::value* list = find(slice.object, "endpoints"); list && list->is_array())
    for (const json::value& endpoint : list->get_array())
      if (std::string_view node = string_at(endpoint, "nodeName");
          !node.empty() && base::as_bool(find_path(endpoint, "conditions", "ready"), true))
        nodes.emplace(node);
  return nodes;
}
}  // namespace

LoadBalancerController::LoadBalancerController(Hub& hub)
    : hub_(hub), account_(hub.account("load-balancer-controller")),
      services_(hub.follow<Service>(api::resources::services)),
      slices_(hub.follow<Whole>(api::resources::endpoint_slices)),
      nodes_(hub.follow<Node>(api::resources::nodes)),
      config_maps_(hub.follow<ConfigMap>(api::resources::config_maps)),
      reconciler_(hub, {&services_, &slices_, &nodes_, &config_maps_},
                  [this](const std::string&, Reconciler::Finish finish) { sync(std::move(finish)); }),
      status_(hub, account_, api::resources::services, services_, reconciler_, kAll) {
  for (const std::string& text : {hub.options.service_cidr, hub.options.cluster_cidr})
    if (auto cidr = base::Cidr::parse(text)) taken_.push_back(*cidr);
  auto wake = [this] {
    if (reconciler_.ready()) reconciler_.add_after(kAll, kGather);
    else reconciler_.add(kAll);
  };
  services_.on_change([this, wake](const auto& before, const auto& after) {
    const bool was = concerns(before.get()), is = concerns(after.get());
    if (!was && !is) return;
    const std::string key = (after ? after : before)->meta.key();
    if (is) balanced_.insert(key);
    else balanced_.erase(key);
    wake();
  });
  slices_.on_change([this, wake](const auto& before, const auto& after) {
    for (const std::string& key : Whole::terms(after ? *after : *before))
      if (auto service = services_.get(key);
          service && service->balancer && service->balancer->local &&
          (!before || !after || ready_nodes(*before) != ready_nodes(*after)))
        wake();
  });
  nodes_.on_change([this, wake](const auto& before, const auto& after) {
    if ((!before || !after || !same_for_balancing(*before, *after)) && !balanced_.empty()) wake();
  });
  config_maps_.on_change([wake](const auto& before, const auto& after) {
    const Meta& meta = (after ? after : before)->meta;
    if (meta.ns == kNamespace && meta.name == kPools &&
        !(before && after && before->address_pools == after->address_pools))
      wake();
  });
}

// What is to have an address of ours, or has one.
bool LoadBalancerController::concerns(const Service* service) const {
  return service && service->balancer &&
         (service->balancer->served || !service->balancer->condition_reason.empty());
}

BalancerWorld LoadBalancerController::observe() {
  BalancerWorld world;
  std::map<std::string, std::string> data = hub_.options.load_balancer_pools;
  auto map = config_maps_.get(key_of(kNamespace, kPools));
  if (map) data.insert(map->address_pools.begin(), map->address_pools.end());
  if (map || !data.empty()) {
    if (!pools_ || data != pools_text_) pools_ = read_pools(data, taken_);
    pools_text_ = std::move(data);
    world.pools = pools_;
  }
  for (const auto& [name, node] : nodes_.all()) {
    BalancerNode one{name, node->external_ips.empty() ? node->internal_ips : node->external_ips, {}, true};
    one.own.insert(node->internal_ips.begin(), node->internal_ips.end());
    one.own.insert(node->external_ips.begin(), node->external_ips.end());
    one.usable = is_ready(*node) && !node->meta.deleting && !node->labels.contains(kExcluded);
    if (node->kubelet_port) world.node_ports_in_use.insert(node->kubelet_port);
    world.nodes.push_back(std::move(one));
  }
  for (const std::string& key : balanced_) {
    auto service = services_.get(key);
    if (!service || !service->balancer) continue;
    if (service->balancer->local)
      for (const auto& slice : slices_.find(key)) world.ready_on[key].merge(ready_nodes(*slice));
    world.services.push_back(std::move(service));
  }
  return world;
}

void LoadBalancerController::sync(Reconciler::Finish finish) {
  if (hub_.options.load_balancers_of_others) return finish(Reconciler::Outcome::kDone);
  BalancerWorld world = observe();
  if (world.pools) tell_errors(*world.pools);
  std::vector<Step> steps;
  auto plan = plan_load_balancers(world);
  for (const auto& service : world.services) {
    auto outcome = plan.find(service->meta.key());
    if (outcome == plan.end()) continue;
    if (base::log::enabled(base::log::Level::kDebug))
      base::log::debug("load balancer of {}: {}", outcome->first, outcome->second.text());
    if (Step step = publish(service, outcome->second)) steps.push_back(std::move(step));
  }
  all(std::move(steps), [finish](base::Status status) {
    if (status.ok()) return finish(Reconciler::Outcome::kDone);
    if (status.error().kind != base::Kind::kConflict && status.error().kind != base::Kind::kNotFound)
      base::log::warning("load balancers: {}", status.error().message());
    finish(Reconciler::Outcome::kRetry);
  });
}

void LoadBalancerController::tell_errors(const AddressPools& pools) {
  std::set<std::string> errors(pools.errors.begin(), pools.errors.end());
  auto map = config_maps_.get(key_of(kNamespace, kPools));
  for (const std::string& error : errors) {
    if (told_.contains(error)) continue;
    base::log::warning("ConfigMap {}/{}: {}", kNamespace, kPools, error);
    if (map)
      account_.events.record({"v1", "ConfigMap", kNamespace, kPools, map->meta.uid}, "Warning",
                             "InvalidAddressPool", error, kBalancerComponent);
  }
  told_ = std::move(errors);
}

Step LoadBalancerController::publish(std::shared_ptr<const Service> service, const BalancerOutcome& outcome) {
  const Balancer& had = *service->balancer;
  if (had.ingress == outcome.ips && had.condition_reason == outcome.reason &&
      had.condition_message == outcome.message && (outcome.ips.empty() || had.vip))
    return {};
  json::array conditions = had.conditions;
  if (outcome.reason.empty()) remove_condition(conditions, kConditionType);
  else
    set_condition(conditions, kConditionType, outcome.reason == kFailed ? "False" : "True", outcome.reason,
                  outcome.message, hub_.now());
  json::array ingress;
  for (const std::string& ip : outcome.ips) ingress.push_back(json::object{{"ip", ip}, {"ipMode", "VIP"}});
  json::object status{{"conditions", std::move(conditions)},
                      {"loadBalancer", json::object{{"ingress", std::move(ingress)}}}};
  return [this, service, outcome, status = std::move(status)](auto done) {
    status_.write(
        service->meta, status,
        [this, service, outcome, done](base::Status written) {
          if (is_gone(written)) return done({});
          if (!written.ok())
            return done(base::wrap(written.error(), "write status of Service", service->meta.key()));
          const ObjectRef about{"v1", "Service", service->meta.ns, service->meta.name, service->meta.uid};
          const Balancer& had = *service->balancer;
          if (outcome.reason == kFailed)
            account_.events.record(about, "Warning", kFailed, outcome.message, kBalancerComponent);
          else if (!outcome.ips.empty() &&
                   (outcome.ips != had.ingress || had.condition_reason != outcome.reason)) {
            std::string list;
            for (const std::string& ip : outcome.ips) list += (list.empty() ? "\"" : " \"") + ip + "\"";
            account_.events.record(about, "Normal", "IPAllocated", "Assigned IP [" + list + "]",
                                   kBalancerComponent);
          }
          done({});
        },
        StatusWriter::Bound::kRevision);
  };
}

}  // namespace master::controllers
