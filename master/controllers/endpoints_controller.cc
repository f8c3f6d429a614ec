#include "master/controllers/endpoints_controller.h"

#include "base/log.h"

namespace master::controllers {
using base::string_at;

namespace {
// Changes that come together (a rollout, a node going away) become one write.
constexpr base::Duration kGatherChanges = std::chrono::milliseconds(2);

bool same_for_endpoints(const Pod& a, const Pod& b) {
  return a.shape == b.shape && a.ips == b.ips && a.ready == b.ready && a.node == b.node &&
         a.phase == b.phase && a.meta.deleting == b.meta.deleting && a.meta.uid == b.meta.uid;
}
bool managed_by(const Whole& slice, const char* controller) {
  return label(slice.labels, "endpointslice.kubernetes.io/managed-by") == controller;
}
}  // namespace

EndpointsController::EndpointsController(Hub& hub)
    : hub_(hub), services_(hub.follow<Service>(api::resources::services)),
      endpoints_(hub.follow<Whole>(api::resources::endpoints)),
      slices_(hub.follow<Whole>(api::resources::endpoint_slices)),
      pods_(hub.follow<Pod>(api::resources::pods)), nodes_(hub.follow<Node>(api::resources::nodes)),
      endpoints_account_(hub.account("endpoint-controller")),
      slices_account_(hub.account("endpointslice-controller")),
      reconciler_(
          hub, {&services_, &endpoints_, &slices_, &pods_, &nodes_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }) {
  services_.on_change([this](const auto& before, const auto& after) { service_changed(before, after); });
  pods_.on_change([this](const auto& before, const auto& after) { pod_changed(before, after); });
  auto written = [this](const std::shared_ptr<const Whole>& before, const std::shared_ptr<const Whole>& after,
                        const std::string& service) {
    // Ours coming back is no news, but it may be what the gate waits for.
    if (!before || !after || before->meta.revision != after->meta.revision) reconciler_.add(service);
  };
  endpoints_.on_change([written](const auto& before, const auto& after) {
    written(before, after, (after ? after : before)->meta.key());
  });
  slices_.on_change([written](const auto& before, const auto& after) {
    const Whole& slice = after ? *after : *before;
    if (managed_by(slice, kSliceController) || managed_by(slice, kSliceMirror))
      written(before, after, key_of(slice.meta.ns, label(slice.labels, "kubernetes.io/service-name")));
  });
}

void EndpointsController::service_changed(const std::shared_ptr<const Service>& before,
                                          const std::shared_ptr<const Service>& after) {
  const std::string key = (after ? after : before)->meta.key();
  if (!after) {
    members_.erase(key);
  } else if (!before || before->selector != after->selector) {
    std::set<std::string>& members = members_[key];
    members.clear();
    if (!after->selector.nothing)
      for (const auto& pod : pods_.in_namespace(after->meta.ns))
        if (after->selector.matches(pod->shape->labels)) members.insert(pod->meta.key());
  }
  reconciler_.add(key);
}

void EndpointsController::pod_changed(const std::shared_ptr<const Pod>& before,
                                      const std::shared_ptr<const Pod>& after) {
  if (before && after && same_for_endpoints(*before, *after)) return;
  const Pod& pod = after ? *after : *before;
  const std::string key = pod.meta.key();
  for (const auto& service : services_.in_namespace(pod.meta.ns)) {
    if (service->selector.nothing) continue;
    const std::string service_key = service->meta.key();
    std::set<std::string>& members = members_[service_key];
    const bool was = members.count(key), is = after && service->selector.matches(after->shape->labels);
    if (is) members.insert(key);
    else members.erase(key);
    if (!was && !is) continue;
    if (reconciler_.ready()) reconciler_.add_after(service_key, kGatherChanges);
    else reconciler_.add(service_key);
  }
}

void EndpointsController::sync(const std::string& key, Reconciler::Finish finish) {
  auto service = services_.get(key);
  std::vector<Step> steps;
  if (!service || (service->external_name && !service->selector.nothing)) {
    // Endpoints bear the Service's name and no owner; slices are collected by their owner.
    auto endpoints = endpoints_.get(key);
    if (endpoints && !endpoints->meta.deleting &&
        label(endpoints->labels, "endpoints.kubernetes.io/managed-by") == "endpoint-controller")
      steps.push_back([this, endpoints](auto done) {
        endpoints_account_.client.remove(api::resources::endpoints, endpoints->meta.ns, endpoints->meta.name,
                                         json::object{{"preconditions", {{"uid", endpoints->meta.uid}}}},
                                         [done](base::Result<json::value> result) {
                                           bool gone =
                                               result.ok() || result.error().kind == base::Kind::kNotFound;
                                           done(gone ? base::Status() : base::Status(result.error()));
                                         });
      });
  } else if (!service->selector.nothing && !service->meta.deleting) {
    Pods pods;
    for (const std::string& pod_key : members_[key])
      if (auto pod = pods_.get(pod_key)) pods.push_back(std::move(pod));
    if (Step step = write_endpoints(key, *service, pods)) steps.push_back(std::move(step));
    write_slices(key, *service, plan_slices(*service, pods, slices_of(key, kSliceController), zone_of()),
                 steps);
  } else if (!service->meta.deleting && !service->external_name) {
    // A user's own Endpoints: the proxies read slices only.
    auto endpoints = endpoints_.get(key);
    if (endpoints && !endpoints->labels.count("endpointslice.kubernetes.io/skip-mirror"))
      write_slices(key, *service, plan_mirror(*endpoints, slices_of(key, kSliceMirror)), steps);
  }
  all(std::move(steps), [key, finish](base::Status status) {
    if (status.ok()) return finish(Reconciler::Outcome::kDone);
    if (status.error().kind != base::Kind::kConflict && status.error().kind != base::Kind::kNotFound)
      base::log::warning("endpoints of Service {}: {}", key, status.error().message());
    finish(Reconciler::Outcome::kRetry);
  });
}

Step EndpointsController::write_endpoints(const std::string& key, const Service& service, const Pods& pods) {
  json::object wanted = plan_endpoints(service, pods);
  auto stored = endpoints_.get(key);
  if (stored && same_endpoints(stored->object, wanted)) return {};
  if (stored) base::object_at(wanted, "metadata")["resourceVersion"] = std::to_string(stored->meta.revision);
  return [this, key, wanted = std::move(wanted), ns = service.meta.ns, name = service.meta.name,
          exists = stored != nullptr](auto done) {
    auto finish = [this, key, done](base::Result<json::value> result) {
      if (!result.ok()) return done(base::Status(base::wrap(result.error(), "write Endpoints", key)));
      reconciler_.gate.wrote(key, endpoints_, revision_of(*result), hub_.now());
      done(base::Status());
    };
    if (exists) endpoints_account_.client.update(api::resources::endpoints, ns, name, wanted, finish);
    else endpoints_account_.client.create(api::resources::endpoints, ns, wanted, finish);
  };
}

std::vector<std::shared_ptr<const Whole>> EndpointsController::slices_of(const std::string& key,
                                                                         const char* controller) const {
  std::vector<std::shared_ptr<const Whole>> slices;
  for (const auto& slice : slices_.find(key))
    if (managed_by(*slice, controller)) slices.push_back(slice);
  return slices;
}
std::function<std::string(const std::string&)> EndpointsController::zone_of() const {
  return [this](const std::string& node) {
    auto known = nodes_.get(node);
    return known ? known->zone : std::string();
  };
}

void EndpointsController::write_slices(const std::string& key, const Service& service, SlicePlan plan,
                                       std::vector<Step>& steps) {
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("EndpointSlices of {}: {}", key, plan.text());
  auto finish = [this, key](std::function<void(base::Status)> done) {
    return [this, key, done](base::Result<json::value> result) {
      if (!result.ok()) return done(base::wrap(result.error(), "write an EndpointSlice of", key));
      reconciler_.gate.wrote(key, slices_, revision_of(*result), hub_.now());
      done({});
    };
  };
  const std::string ns = service.meta.ns;
  for (json::object& slice : plan.create)
    steps.push_back([this, ns, finish, slice = std::move(slice)](auto done) {
      slices_account_.client.create(api::resources::endpoint_slices, ns, slice, finish(done));
    });
  for (json::object& slice : plan.update)
    steps.push_back([this, ns, finish, slice = std::move(slice)](auto done) {
      std::string name(base::as_string(base::find(slice.at("metadata"), "name")));
      slices_account_.client.update(api::resources::endpoint_slices, ns, name, slice, finish(done));
    });
  for (const std::string& name : plan.remove)
    steps.push_back([this, ns, name, key](auto done) {
      slices_account_.client.remove(
          api::resources::endpoint_slices, ns, name, nullptr,
          [this, key, slice_key = key_of(ns, name), done](base::Result<json::value> result) {
            if (!result.ok() && result.error().kind != base::Kind::kNotFound) return done(result.error());
            reconciler_.gate.deleted(
                key, [this, slice_key] { return !slices_.get(slice_key); }, hub_.now());
            done({});
          });
    });
}

}  // namespace master::controllers
