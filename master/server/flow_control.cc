#include "master/server/flow_control.h"

#include <algorithm>

#include "base/json_lists.h"

namespace master {

namespace json = base::json;
using base::list_at;

namespace {

// After so much of the loop's time, requests that are not exempt wait for the next turn, so that
// sockets are read in between and a more important request is seen.
constexpr auto kTurn = std::chrono::milliseconds(5);
constexpr std::string_view kApiVersion = "flowcontrol.apiserver.k8s.io/v1";

bool lists_or_star(const json::value* list, std::string_view value) {
  const json::array* array = list ? list->if_array() : nullptr;
  if (!array) return false;
  for (const json::value& item : *array)
    if (const auto text = base::as_string(&item); text == "*" || text == value) return true;
  return false;
}
bool has_path(const json::value* list, std::string_view path) {
  const json::array* array = list ? list->if_array() : nullptr;
  if (!array) return false;
  for (const json::value& item : *array) {
    std::string_view text = base::as_string(&item);
    if (text == "*" || text == path) return true;
    if (text.ends_with("*") && path.starts_with(text.substr(0, text.size() - 1))) return true;
  }
  return false;
}

json::value object_named(std::string_view kind, std::string_view name, json::value spec) {
  return {{"apiVersion", kApiVersion},
          {"kind", kind},
          {"metadata", {{"name", name}, {"annotations", {{"apf.kubernetes.io/autoupdate-spec", "true"}}}}},
          {"spec", std::move(spec)}};
}
json::value limited(std::string_view name, int shares, int lendable, int queues, int hand) {
  json::object limit{{"nominalConcurrencyShares", shares}, {"lendablePercent", lendable}};
  if (queues == 0) limit["limitResponse"] = {{"type", "Reject"}};
  else
    limit["limitResponse"] = {
        {"type", "Queue"}, {"queuing", {{"queues", queues}, {"handSize", hand}, {"queueLengthLimit", 50}}}};
  return object_named("PriorityLevelConfiguration", name,
                      {{"type", "Limited"}, {"limited", std::move(limit)}});
}

json::value group(std::string_view name) { return {{"kind", "Group"}, {"group", {{"name", name}}}}; }
json::value user(std::string_view name) { return {{"kind", "User"}, {"user", {{"name", name}}}}; }
json::value account(std::string_view name) {
  return {{"kind", "ServiceAccount"}, {"serviceAccount", {{"name", name}, {"namespace", "kube-system"}}}};
}
json::value resources(json::array verbs, json::array groups, json::array names, json::array namespaces,
                      bool cluster = false) {
  json::object rule{
      {"verbs", std::move(verbs)}, {"apiGroups", std::move(groups)}, {"resources", std::move(names)}};
  if (cluster) rule["clusterScope"] = true;
  if (!namespaces.empty()) rule["namespaces"] = std::move(namespaces);
  return rule;
}
const json::value kAllPaths = {{"verbs", {"*"}}, {"nonResourceURLs", {"*"}}};
json::value all_resources() { return resources({"*"}, {"*"}, {"*"}, {"*"}, true); }
json::value schema(std::string_view name, std::string_view level, int precedence,
                   std::string_view distinguisher, json::array subjects, json::array resource_rules,
                   json::array path_rules) {
  json::object rule{{"subjects", std::move(subjects)}};
  if (!resource_rules.empty()) rule["resourceRules"] = std::move(resource_rules);
  if (!path_rules.empty()) rule["nonResourceRules"] = std::move(path_rules);
  json::object spec{{"priorityLevelConfiguration", {{"name", level}}},
                    {"matchingPrecedence", precedence},
                    {"rules", json::array{std::move(rule)}}};
  if (!distinguisher.empty()) spec["distinguisherMethod"] = {{"type", distinguisher}};
  return object_named("FlowSchema", name, std::move(spec));
}

}  // namespace

struct FlowControl::Level {
  std::string name, uid;
  bool exempt = false, rejects = false;
  double shares = 5;
  int seats = 1, executing = 0;
  size_t queue_limit = 0, queued = 0;  // of all flows together
  size_t flow_limit = 0;               // of one flow
  double virtual_time = 0;             // seconds of the loop over shares
  uint64_t dispatched = 0, rejected = 0;
  // Flows with waiting requests, the next to run first.
  struct Waiting {
    std::string flow;
    std::deque<std::function<void(Seat)>> requests;
  };
  std::deque<Waiting> flows;
  bool may_run() const { return queued > 0 && executing < seats; }
};

struct FlowControl::Schema {
  std::string name, uid, level, distinguisher;
  int64_t precedence = 1000;
  json::value spec;

  bool subject_matches(const json::value& subject, const User& user) const {
    std::string_view kind = base::string_at(subject, "kind");
    if (kind == "User") {
      std::string_view name = base::string_at(subject, "user", "name");
      return name == "*" || name == user.name;
    }
    if (kind == "Group") {
      std::string_view name = base::string_at(subject, "group", "name");
      return name == "*" || user.in_group(name);
    }
    std::string_view ns = base::string_at(subject, "serviceAccount", "namespace"),
                     name = base::string_at(subject, "serviceAccount", "name");
    std::string prefix = "system:serviceaccount:" + std::string(ns) + ":";
    return user.name.starts_with(prefix) &&
           (name == "*" || std::string_view(user.name).substr(prefix.size()) == name);
  }
  bool rule_matches(const json::value& rule, const RequestInfo& request) const {
    bool subject = false;
    for (const json::value& one : list_at(rule, "subjects"))
      subject = subject || subject_matches(one, request.user);
    if (!subject) return false;
    if (!request.resource) {
      for (const json::value& one : list_at(rule, "nonResourceRules"))
        if (lists_or_star(base::find(one, "verbs"), request.verb) &&
            has_path(base::find(one, "nonResourceURLs"), request.http().path()))
          return true;
      return false;
    }
    std::string resource = request.resource->plural;
    if (!request.subresource.empty()) resource += "/" + request.subresource;
    for (const json::value& one : list_at(rule, "resourceRules")) {
      if (!lists_or_star(base::find(one, "verbs"), request.verb) ||
          !lists_or_star(base::find(one, "apiGroups"), request.resource->group) ||
          !lists_or_star(base::find(one, "resources"), resource))
        continue;
      if (request.ns.empty() ? base::as_bool(base::find(one, "clusterScope"))
                             : lists_or_star(base::find(one, "namespaces"), request.ns))
        return true;
    }
    return false;
  }
  bool matches(const RequestInfo& request) const {
    for (const json::value& rule : list_at(spec, "rules"))
      if (rule_matches(rule, request)) return true;
    return false;
  }
};

// As kube-apiserver creates them (pkg/apis/flowcontrol/bootstrap of Kubernetes 1.29 and later).
std::vector<json::value> FlowControl::default_levels() {
  json::object exempt{{"nominalConcurrencyShares", 0}, {"lendablePercent", 0}};
  return {object_named("PriorityLevelConfiguration", "exempt",
                       {{"type", "Exempt"}, {"exempt", std::move(exempt)}}),
          limited("catch-all", 5, 0, 0, 0),
          limited("system", 30, 33, 64, 6),
          limited("node-high", 40, 25, 64, 6),
          limited("leader-election", 10, 0, 16, 4),
          limited("workload-high", 40, 50, 128, 6),
          limited("workload-low", 100, 90, 128, 6),
          limited("global-default", 20, 50, 128, 6)};
}
std::vector<json::value> FlowControl::default_schemas() {
  json::array leases{resources({"get", "create", "update"}, {"coordination.k8s.io"}, {"leases"}, {"*"})};
  json::array everybody{group("system:unauthenticated"), group("system:authenticated")};
  json::array all{all_resources()}, paths{kAllPaths};
  return {
      schema("exempt", "exempt", 1, "", {group("system:masters")}, all, paths),
      schema("probes", "exempt", 2, "", everybody, {},
             {{{"verbs", {"get"}}, {"nonResourceURLs", {"/healthz", "/readyz", "/livez"}}}}),
      schema("system-leader-election", "leader-election", 100, "ByUser",
             {user("system:kube-controller-manager"), user("system:kube-scheduler"), account("*")}, leases,
             {}),
      schema("endpoint-controller", "workload-high", 150, "ByUser",
             {user("system:kube-controller-manager"), account("endpoint-controller"),
              account("endpointslicemirroring-controller")},
             {resources({"get", "create", "update"}, {""}, {"endpoints"}, {"*"}),
              resources({"get", "create", "update"}, {"discovery.k8s.io"}, {"endpointslices"}, {"*"})},
             {}),
      schema("workload-leader-election", "leader-election", 200, "ByUser", {account("*")}, leases, {}),
      schema("system-node-high", "node-high", 400, "ByUser", {group("system:nodes")},
             {resources({"*"}, {""}, {"nodes", "nodes/status"}, {}, true),
              resources({"*"}, {"coordination.k8s.io"}, {"leases"}, {"*"})},
             {}),
      schema("system-nodes", "system", 500, "ByUser", {group("system:nodes")}, all, paths),
      schema("kube-controller-manager", "workload-high", 800, "ByNamespace",
             {user("system:kube-controller-manager")}, all, paths),
      schema("kube-scheduler", "workload-high", 800, "ByNamespace", {user("system:kube-scheduler")}, all,
             paths),
      schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", {account("*")}, all, paths),
      schema("service-accounts", "workload-low", 9000, "ByUser", {group("system:serviceaccounts")}, all,
             paths),
      schema("global-default", "global-default", 9900, "ByUser", everybody, all, paths),
      schema("catch-all", "catch-all", 10000, "ByUser", everybody, all, paths),
  };
}

FlowControl::FlowControl(base::Loop& loop, int total_seats) : loop_(loop), total_seats_(total_seats) {
  configure(default_schemas(), default_levels());
}

void FlowControl::configure(const std::vector<json::value>& schemas, const std::vector<json::value>& levels) {
  std::map<std::string, std::shared_ptr<Level>, std::less<>> made;
  auto take = [&](const json::value& object) {
    std::string name(base::string_at(object, "metadata", "name"));
    if (made.count(name)) return;
    auto it = levels_.find(name);
    auto level = it != levels_.end() ? it->second : std::make_shared<Level>();  // its queue goes on
    level->name = name;
    level->uid = base::string_at(object, "metadata", "uid");
    level->exempt = base::string_at(object, "spec", "type") == "Exempt";
    level->shares = static_cast<double>(
        base::as_int(base::find_path(object, "spec", "limited", "nominalConcurrencyShares"), 30));
    level->rejects = base::string_at(object, "spec", "limited", "limitResponse", "type") != "Queue";
    const json::value* queuing = base::find_path(object, "spec", "limited", "limitResponse", "queuing");
    auto setting = [&](std::string_view key, int64_t fallback) {
      return static_cast<size_t>(std::clamp<int64_t>(
          queuing ? base::as_int(base::find(*queuing, key), fallback) : fallback, 1, 1 << 20));
    };
    // A flow has its hand of queues for itself at most.
    level->flow_limit = setting("handSize", 8) * setting("queueLengthLimit", 50);
    level->queue_limit = std::min<size_t>(setting("queues", 64) * setting("queueLengthLimit", 50), 1 << 16);
    made.emplace(std::move(name), std::move(level));
  };
  for (const json::value& object : levels) take(object);
  for (const json::value& object : default_levels())
    if (std::string_view name = base::string_at(object, "metadata", "name");
        name == "exempt" || name == "catch-all")
      take(object);
  double sum = 0;
  for (const auto& [name, level] : made)
    if (!level->exempt) sum += level->shares;
  for (const auto& [name, level] : made)
    level->seats = std::max(
        1, static_cast<int>(std::min(
               1e6, static_cast<double>(total_seats_) * level->shares / std::max(1.0, sum) + 0.999)));

  std::vector<std::shared_ptr<Schema>> sorted;
  auto take_schema = [&](const json::value& object) {
    auto one = std::make_shared<Schema>();
    one->name = base::string_at(object, "metadata", "name");
    for (const auto& known : sorted)
      if (known->name == one->name) return;
    one->uid = base::string_at(object, "metadata", "uid");
    one->level = base::string_at(object, "spec", "priorityLevelConfiguration", "name");
    one->distinguisher = base::string_at(object, "spec", "distinguisherMethod", "type");
    one->precedence = base::as_int(base::find_path(object, "spec", "matchingPrecedence"), 1000);
    if (const json::value* spec = base::find(object, "spec")) one->spec = *spec;
    sorted.push_back(std::move(one));
  };
  for (const json::value& object : schemas) take_schema(object);
  for (const json::value& object : default_schemas())
    if (std::string_view name = base::string_at(object, "metadata", "name");
        name == "exempt" || name == "catch-all")
      take_schema(object);
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::pair<int64_t, std::string_view>(a->precedence, a->name) <
           std::pair<int64_t, std::string_view>(b->precedence, b->name);
  });
  // Requests that wait in a level which is gone go on in catch-all.
  for (auto& [name, level] : levels_) {
    if (made.count(name) || level->queued == 0) continue;
    Level& rest = *made.find("catch-all")->second;
    rest.queued += level->queued;
    for (auto& waiting : level->flows) rest.flows.push_back(std::move(waiting));
    level->flows.clear();
    level->queued = 0;
  }
  schemas_ = std::move(sorted);
  levels_ = std::move(made);
}

FlowControl::Flow FlowControl::classify(const RequestInfo& request) const {
  for (const auto& schema : schemas_) {
    auto level = levels_.find(schema->level);
    if (level == levels_.end() || !schema->matches(request)) continue;
    Flow flow{level->second, schema->name, schema->uid, {}};
    if (schema->distinguisher == "ByUser") flow.distinguisher = request.user.name;
    if (schema->distinguisher == "ByNamespace") flow.distinguisher = request.ns;
    return flow;
  }
  return {levels_.find("catch-all")->second, "catch-all", {}, {}};
}
std::string_view FlowControl::level_name(const Flow& flow) { return flow.level->name; }
std::string_view FlowControl::level_uid(const Flow& flow) { return flow.level->uid; }

bool FlowControl::spent() const { return used_ >= kTurn; }

void FlowControl::run_one(const std::shared_ptr<Level>& level, std::function<void(Seat)> run) {
  ++level->executing;
  ++level->dispatched;
  Seat seat(nullptr, [this, level, alive = std::weak_ptr<bool>(alive_)](void*) {
    --level->executing;
    if (!alive.expired() && level->queued > 0) pump_later();
  });
  auto began = base::steady_now();
  run(std::move(seat));
  auto took = base::steady_now() - began;
  used_ += took;
  level->virtual_time += std::chrono::duration<double>(took).count() / std::max(1.0, level->shares);
  // The next turn begins when the loop has looked at its sockets once.
  if (!turn_posted_) {
    turn_posted_ = true;
    loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
      if (alive.expired()) return;
      turn_posted_ = false;
      used_ = {};
    });
  }
}

void FlowControl::admit(const Flow& flow, std::function<void(Seat)> run,
                        const std::function<void()>& refuse) {
  const std::shared_ptr<Level>& level = flow.level;
  if (level->exempt) {
    ++level->dispatched;
    return run(nullptr);
  }
  if (level->queued == 0 && level->executing < level->seats && !spent()) {
    // A level that was quiet does not save up its time.
    level->virtual_time = std::max(level->virtual_time, virtual_time_);
    return run_one(level, std::move(run));
  }
  std::string key = flow.schema + "/" + flow.distinguisher;
  auto waiting = std::find_if(level->flows.begin(), level->flows.end(),
                              [&](const Level::Waiting& w) { return w.flow == key; });
  size_t in_flow = waiting == level->flows.end() ? 0 : waiting->requests.size();
  // A level without queues refuses what has no seat; that the loop is busy for a moment is no reason.
  bool full = level->rejects ? level->executing >= level->seats || in_flow >= 64
                             : level->queued >= level->queue_limit || in_flow >= level->flow_limit;
  if (full) {
    ++level->rejected;
    return refuse();
  }
  if (level->queued == 0) level->virtual_time = std::max(level->virtual_time, virtual_time_);
  if (waiting == level->flows.end())
    waiting = level->flows.insert(level->flows.end(), Level::Waiting{std::move(key), {}});
  waiting->requests.push_back(std::move(run));
  ++level->queued;
  pump_later();
}

void FlowControl::pump_later() {
  if (pump_posted_ || pumping_) return;
  pump_posted_ = true;
  loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    pump_posted_ = false;
    pump();
  });
}

void FlowControl::pump() {
  pumping_ = true;
  bool more = false;
  for (;;) {
    std::shared_ptr<Level> next;
    for (const auto& [name, level] : levels_)
      if (level->may_run() && (!next || level->virtual_time < next->virtual_time)) next = level;
    if (!next) break;
    if (spent()) {
      more = true;
      break;
    }
    virtual_time_ = std::max(virtual_time_, next->virtual_time);
    Level::Waiting flow = std::move(next->flows.front());
    next->flows.pop_front();
    auto run = std::move(flow.requests.front());
    flow.requests.pop_front();
    --next->queued;
    if (!flow.requests.empty()) next->flows.push_back(std::move(flow));
    run_one(next, std::move(run));
  }
  pumping_ = false;
  if (more) pump_later();
}

std::vector<FlowControl::Counts> FlowControl::counts() const {
  std::vector<Counts> out;
  for (const auto& [name, level] : levels_)
    out.push_back({name, level->seats, level->executing, level->queued, level->dispatched, level->rejected});
  return out;
}

}  // namespace master
