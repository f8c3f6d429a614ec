// What is done to a Pod besides reading and writing it.
#include "api/selector.h"
#include "api/status.h"
#include "api/walk.h"
#include "base/fiber.h"
#include "master/server/handlers.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

namespace {

constexpr size_t kMaxDisrupted = 2000;  // evictions that no controller has confirmed yet
constexpr const char* kViolates = "Cannot evict pod as it would violate the pod's disruption budget.";

bool ready(const json::value& pod) {
  if (const json::value* list = base::find_path(pod, "status", "conditions"); list && list->is_array())
    for (const json::value& condition : list->get_array())
      if (base::string_at(condition, "type") == "Ready")
        return base::string_at(condition, "status") == "True";
  return false;
}
// A Pod whose end nobody can miss: no budget protects it.
bool unprotected(const json::value& pod) {
  std::string_view phase = base::string_at(pod, "status", "phase");
  return phase == "Succeeded" || phase == "Failed" || phase == "Pending" ||
         base::find_path(pod, "metadata", "deletionTimestamp");
}
json::value over_budget(std::string_view why) {
  json::array causes;
  causes.push_back(json::object{{"reason", "DisruptionBudget"}, {"message", why}});
  json::value status = api::too_many_requests(kViolates, 10);
  base::object_at(status.get_object(), "details")["causes"] = std::move(causes);
  return status;
}

// Takes one disruption from a budget's status, or says why there is none.
json::value take_disruption(const json::value& budget, std::string_view pod, json::value* updated) {
  std::string name(base::string_at(budget, "metadata", "name"));
  auto number = [&](const char* key) { return base::as_int(base::find_path(budget, "status", key)); };
  if (number("observedGeneration") < base::as_int(base::find_path(budget, "metadata", "generation")))
    return over_budget("The disruption budget " + name + " is still being processed by the server.");
  int64_t left = number("disruptionsAllowed");
  if (left < 0)
    return api::forbidden({"policy", "poddisruptionbudgets"}, name, "pdb disruptions allowed is negative");
  if (const json::value* map = base::find_path(budget, "status", "disruptedPods");
      map && map->is_object() && map->get_object().size() > kMaxDisrupted)
    return api::forbidden({"policy", "poddisruptionbudgets"}, name,
                          "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
  if (left == 0)
    return over_budget("The disruption budget " + name + " needs " +
                       std::to_string(number("desiredHealthy")) + " healthy pods and has " +
                       std::to_string(number("currentHealthy")) + " currently");
  *updated = budget;
  json::object& status = base::object_at(updated->get_object(), "status");
  status["disruptionsAllowed"] = left - 1;
  base::object_at(status, "disruptedPods")[pod] = base::format_time(base::wall_now());
  return nullptr;
}

// POST pods/NAME/binding: the scheduler's decision.
void bind_pod(ApiServer& server, RequestPtr request) {
  static const api::Type* type = api::find_type("io.k8s.api.core.v1", "Binding");
  json::value binding;
  if (!decode_body(*request, *type, "Binding", &binding)) return;
  std::string node(base::string_at(binding, "target", "name"));
  if (node.empty()) {
    return request->reply_status(api::invalid("", "Binding", request->name,
                                              {{api::FieldError::Type::required, "target.name", "", ""}}));
  }
  std::string uid(base::string_at(binding, "metadata", "uid"));
  admit_body(
      server.registry(), request, Operation::kCreate, std::move(binding), nullptr,
      [&server, request, node, uid](const json::value&) {
        request->admitted = true;
        server.registry().update(
            request, "binding",
            [request, node, uid](const json::value& current, json::value* updated) {
              const ResourceInfo& resource = *request->resource;
              if (!uid.empty() && uid != base::string_at(current, "metadata", "uid"))
                return api::conflict(resource.named(), request->name,
                                     "the pod was replaced by another of the same name");
              if (base::find_path(current, "metadata", "deletionTimestamp"))
                return api::conflict(
                    resource.named(), request->name,
                    "pod " + request->name + " is being deleted, cannot be assigned to a host");
              if (std::string_view has = base::string_at(current, "spec", "nodeName"); !has.empty())
                return api::conflict(
                    resource.named(), request->name,
                    "pod " + request->name + " is already assigned to node \"" + std::string(has) + "\"");
              *updated = current;
              base::object_at(updated->get_object(), "spec")["nodeName"] = node;
              json::object& status = base::object_at(updated->get_object(), "status");
              json::array conditions;
              if (const json::value* old = status.if_contains("conditions"); old && old->is_array())
                for (const json::value& condition : old->get_array())
                  if (base::string_at(condition, "type") != "PodScheduled") conditions.push_back(condition);
              conditions.push_back(json::object{{"type", "PodScheduled"},
                                                {"status", "True"},
                                                {"lastTransitionTime", base::format_time(base::wall_now())}});
              status["conditions"] = std::move(conditions);
              return json::value(nullptr);
            },
            [request](Registry::Outcome outcome) {
              if (!outcome.status.is_null()) return request->reply_status(outcome.status);
              json::value success = api::make_success();
              success.get_object()["code"] = 201;
              request->reply_status(success);
            });
      });
}

// POST bindings: the older form of pods/NAME/binding, with the Pod's name in the body.
void create_binding(ApiServer& server, RequestPtr request) {
  static const api::Type* type = api::find_type("io.k8s.api.core.v1", "Binding");
  json::value binding;
  if (!decode_body(*request, *type, "Binding", &binding)) return;
  request->name = base::string_at(binding, "metadata", "name");
  if (request->name.empty())
    return request->reply_status(api::invalid(
        "", "Binding", "",
        {{api::FieldError::Type::required, "metadata.name", "", "name or generateName is required"}}));
  request->resource = server.registry().resources().find("", "v1", "pods");
  request->subresource = "binding";
  bind_pod(server, std::move(request));
}

void delete_evicted(ApiServer& server, RequestPtr request, json::value options) {
  // As kube-apiserver: what was admitted as an Eviction is no DELETE for admission.
  request->admitted = true;
  server.registry().remove(request, object_key(request->ns, request->name), std::move(options),
                           [request](Registry::Outcome outcome) {
                             if (!outcome.status.is_null()) return request->reply_status(outcome.status);
                             json::value success = api::make_success();
                             success.get_object()["code"] = 201;
                             request->reply_status(success);
                           });
}

void evict_admitted(ApiServer& server, RequestPtr request, const json::value& eviction) {
  ObjectRef object = server.registry().cache("", "pods").find(object_key(request->ns, request->name));
  if (!object)
    return request->reply_status(
        server.registry().absent(*request->resource, object_key(request->ns, request->name)));
  json::value pod = parse_object(*object->text);
  const json::value* sent = base::find(eviction, "deleteOptions");
  json::value options = sent && sent->is_object() ? *sent : json::value(json::object());
  if (request->dry_run()) options.get_object()["dryRun"] = json::array{"All"};

  std::vector<ObjectRef> budgets;
  if (!unprotected(pod)) {
    auto [first, last] = server.registry().cache("policy", "poddisruptionbudgets").range(request->ns);
    for (auto it = first; it != last; ++it) {
      json::value budget = parse_object(*it->second->text);
      auto selector = api::selector_of_json(base::find_path(budget, "spec", "selector"));
      if (selector.ok() && selector->matches(object->labels)) budgets.push_back(it->second);
    }
  }
  if (budgets.size() > 1)
    return request->reply_status(api::internal_error(
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
  if (budgets.empty()) return delete_evicted(server, std::move(request), std::move(options));
  json::value budget = parse_object(*budgets[0]->text);
  if (!ready(pod)) {  // it helps nobody to keep what does not work
    int64_t healthy = base::as_int(base::find_path(budget, "status", "currentHealthy")),
            wanted = base::as_int(base::find_path(budget, "status", "desiredHealthy"));
    bool always = base::string_at(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow";
    if (always || (wanted > 0 && healthy >= wanted))
      return delete_evicted(server, std::move(request), std::move(options));
  }
  auto asks = std::make_shared<RequestInfo>(*request);
  asks->resource = server.registry().resources().find("policy", "v1", "poddisruptionbudgets");
  asks->name = budgets[0]->name();
  asks->subresource = "status";
  asks->admitted = true;  // with the eviction
  server.registry().update(
      asks, "status",
      [pod_name = request->name](const json::value& current, json::value* updated) {
        return take_disruption(current, pod_name, updated);
      },
      [&server, request, options](Registry::Outcome outcome) {
        if (!outcome.status.is_null()) return request->reply_status(outcome.status);
        delete_evicted(server, request, options);
      });
}

// POST pods/NAME/eviction: a deletion that asks the Pod's disruption budget first (KEP-85).
void evict_pod(ApiServer& server, RequestPtr request) {
  static const api::Type* type = api::find_type("io.k8s.api.policy.v1", "Eviction");
  json::value body;
  if (!decode_body(*request, *type, "Eviction", &body)) return;
  std::string_view name = base::string_at(body, "metadata", "name");
  if (!name.empty() && name != request->name)
    return request->reply_status(api::bad_request("name in URL does not match name in Eviction object"));
  if (!server.registry().cache("", "pods").find(object_key(request->ns, request->name)))
    return request->reply_status(
        server.registry().absent(*request->resource, object_key(request->ns, request->name)));
  admit_body(server.registry(), request, Operation::kCreate, std::move(body), nullptr,
             [&server, request](const json::value& admitted) { evict_admitted(server, request, admitted); });
}

// GET, PUT and PATCH of a part of a Pod that its other writes leave alone.
void serve_pod_part(ApiServer& server, RequestPtr request) {
  if (request->verb == "get") return serve_get(server, std::move(request));
  if (request->verb == "update") return serve_update(server, std::move(request));
  serve_patch(server, std::move(request));
}

}  // namespace

void add_pod_handlers(ApiServer& server) {
  auto add = [&server](const char* plural, const char* part, void (*handler)(ApiServer&, RequestPtr)) {
    server.handle_with("", plural, part,
                       [&server, handler](RequestPtr request) { handler(server, std::move(request)); });
  };
  add("bindings", "", create_binding);
  add("pods", "binding", bind_pod);
  add("pods", "eviction", evict_pod);
  add("pods", "ephemeralcontainers", serve_pod_part);
  add("pods", "resize", serve_pod_part);
}

}  // namespace master
