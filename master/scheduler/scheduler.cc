#include "master/scheduler/scheduler.h"

#include "base/backoff.h"
#include "base/log.h"
#include "master/controllers/events.h"
#include "master/scheduler/schedule_plan.h"

namespace master::scheduler {
using namespace std::chrono_literals;
using base::find;
using base::find_path;
using base::string_at;
using Change = api::Informer::Change;

namespace {
constexpr int kPerTurn = 64;  // decisions per turn of the loop, so that watches are read in between
}

struct Scheduler::Impl {
  struct Waiting {
    std::shared_ptr<const Ask> ask;
    std::string ns, name, uid, owner_uid;
    std::string told;          // the message of its last Event
    std::string shown, since;  // of its condition, as the watch last showed it or we have written it since
    uint64_t order = 0;
    base::Backoff backoff{std::chrono::milliseconds(100),
                          std::chrono::seconds(10)};  // of a binding that failed
    bool binding = false;
  };

  Impl(base::Loop& loop_in, std::shared_ptr<api::Transport> transport_in, std::function<base::Time()> now_in)
      : loop(loop_in), transport(std::move(transport_in)), now(std::move(now_in)),
        client(transport, "kube-scheduler"), events(client, "default-scheduler", now) {}

  void start() {
    api::Informer::Options of_nodes, of_pods;
    of_nodes.resource = api::resources::nodes;
    of_pods.resource = api::resources::pods;
    node_informer = std::make_unique<api::Informer>(
        loop, *transport, of_nodes,
        [this](Change change, const json::value& node) { node_seen(change, node); },
        [this] {
          nodes_synced = true;
          wake();
        });
    pod_informer = std::make_unique<api::Informer>(
        loop, *transport, of_pods, [this](Change change, const json::value& pod) { pod_seen(change, pod); },
        [this] {
          pods_synced = true;
          wake();
        });
    node_informer->start();
    pod_informer->start();
  }

  // ---- observe
  void node_seen(Change change, const json::value& object) {
    std::string name(string_at(object, "metadata", "name"));
    if (change == Change::kDeleted) {
      picture.remove_node(name);
      return;
    }
    Node node = read_node(object);
    auto at = picture.nodes.find(name);
    const bool helps = at == picture.nodes.end() || !at->second.same_spec(node);
    picture.set_node(std::move(node));
    if (helps) retry_all();
  }
  void pod_seen(Change change, const json::value& object) {
    const std::string key = controllers::key_of(string_at(object, "metadata", "namespace"),
                                                string_at(object, "metadata", "name"));
    const std::string_view phase = string_at(object, "status", "phase"),
                           node = string_at(object, "spec", "nodeName");
    const std::string_view uid = string_at(object, "metadata", "uid");
    if (change == Change::kDeleted || phase == "Succeeded" || phase == "Failed") {
      drop(key);
      if (picture.placed.count(key)) {
        picture.remove(key);
        retry_all();
      }
      return;
    }
    if (!node.empty()) {
      drop(key);
      auto at = picture.placed.find(key);
      const bool fresh =
          at == picture.placed.end() || at->second.node != node ||
          at->second.ask->labels != controllers::read_labels(find_path(object, "metadata", "labels"));
      if (fresh) {
        picture.place(
            key, {shared(read_ask(object)), controllers::controller_owner(object).uid, std::string(node)});
        retry_affine();
      }
      return;
    }
    const json::value* gates = find_path(object, "spec", "schedulingGates");
    const bool gated = gates && gates->is_array() && !gates->get_array().empty();
    const std::string_view scheduler_name = string_at(object, "spec", "schedulerName");
    const bool ours = scheduler_name.empty() || scheduler_name == "default-scheduler";
    if (gated || !ours || !string_at(object, "metadata", "deletionTimestamp").empty()) return drop(key);
    Waiting& pod = waiting[key];
    if (pod.uid != uid) {
      forget(key, pod);  // whatever had this name before
      pod = Waiting{};
      pod.ns = string_at(object, "metadata", "namespace");
      pod.name = string_at(object, "metadata", "name");
      pod.uid = uid;
      pod.owner_uid = controllers::controller_owner(object).uid;
      pod.order = next_order++;
      pod.ask = shared(read_ask(object));
      enqueue(key, pod);
      see_condition(object, pod);
    } else if (see_condition(object, pod); !pod.binding && !queue.count(position(key, pod))) {
      // Only what it asks for can make a difference; our own condition must not wake it.
      auto ask = shared(read_ask(object));
      if (ask != pod.ask) {
        pod.ask = ask;
        enqueue(key, pod);
      }
    }
  }
  static void see_condition(const json::value& object, Waiting& pod) {
    pod.shown.clear();
    pod.since.clear();
    const json::value* conditions = find_path(object, "status", "conditions");
    if (!conditions || !conditions->is_array()) return;
    for (const json::value& condition : conditions->get_array()) {
      if (string_at(condition, "type") != "PodScheduled" || string_at(condition, "status") != "False")
        continue;
      pod.since = string_at(condition, "lastTransitionTime");
      if (string_at(condition, "reason") == "Unschedulable") pod.shown = string_at(condition, "message");
    }
  }
  // One Ask for all Pods of a template: most requests are equal, and so is their text.
  std::shared_ptr<const Ask> shared(std::shared_ptr<const Ask> ask) {
    std::weak_ptr<const Ask>& known = asks[ask_text(*ask)];
    if (auto old = known.lock()) return old;
    known = ask;
    if (asks.size() > sweep_at) {
      std::erase_if(asks, [](const auto& item) { return item.second.expired(); });
      sweep_at = std::max<size_t>(1024, 2 * asks.size());
    }
    return ask;
  }
  static std::string ask_text(const Ask& ask);

  void drop(const std::string& key) {
    auto at = waiting.find(key);
    if (at == waiting.end()) return;
    queue.erase(position(key, at->second));
    waiting.erase(at);
  }
  void forget(const std::string& key, Waiting& pod) {
    if (pod.ask) queue.erase(position(key, pod));
    picture.remove(key);
  }

  // ---- queue: highest priority first, then first come
  using Position = std::tuple<int, uint64_t, std::string>;
  static Position position(const std::string& key, const Waiting& pod) {
    return {-pod.ask->priority, pod.order, key};
  }
  void enqueue(const std::string& key, const Waiting& pod) {
    queue.insert(position(key, pod));
    wake();
  }
  void retry_all() {
    for (const auto& [key, pod] : waiting)
      if (!pod.binding) queue.insert(position(key, pod));
    if (!queue.empty()) wake();
  }
  void retry_affine() {  // a placed Pod can only help those that want to be near somebody
    for (const auto& [key, pod] : waiting)
      if (!pod.binding && (!pod.ask->affinity.empty() || !pod.ask->spread.empty()))
        queue.insert(position(key, pod));
    if (!queue.empty()) wake();
  }
  void wake() {
    if (posted || !nodes_synced || !pods_synced || queue.empty()) return;
    posted = true;
    turn = loop.after(0ms, [this] { drain(); });
  }
  void drain() {
    posted = false;
    for (int i = 0; i < kPerTurn && !queue.empty(); ++i) {
      std::string key = std::get<2>(*queue.begin());
      queue.erase(queue.begin());
      if (auto at = waiting.find(key); at != waiting.end() && !at->second.binding) schedule(key, at->second);
    }
    wake();
  }

  // ---- plan and act
  void schedule(const std::string& key, Waiting& pod) {
    Choice choice = choose(*pod.ask, pod.owner_uid, std::hash<std::string>()(pod.uid), picture);
    base::log::debug("schedule {}: {}", key, choice.node.empty() ? choice.message : choice.node);
    if (choice.node.empty()) return unschedulable(pod, choice.message);
    pod.binding = true;
    picture.place(
        key, {pod.ask, pod.owner_uid, choice.node});  // assumed until the watch or a failure says otherwise
    json::object binding{{"apiVersion", "v1"},
                         {"kind", "Binding"},
                         {"metadata", {{"name", pod.name}, {"namespace", pod.ns}, {"uid", pod.uid}}},
                         {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", choice.node}}}};
    client.call("POST", api::resources::pods.path(pod.ns, pod.name, "binding"), "application/json",
                base::to_json(json::value(std::move(binding))),
                [this, key, ref = ref_of(pod), node = choice.node](base::Result<json::value> result) {
                  if (result.ok())
                    return events.record(ref, "Normal", "Scheduled",
                                         fmt::format("Successfully assigned {} to {}", key, node));
                  bind_failed(key, ref, result.error());
                });
  }
  void bind_failed(const std::string& key, const controllers::ObjectRef& ref, const base::Error& error) {
    auto at = waiting.find(key);
    if (at == waiting.end() || at->second.uid != ref.uid) return;  // gone, or bound after all
    picture.remove(key);
    if (error.kind == base::Kind::kNotFound) return;  // its deletion is on the way
    base::log::warning("bind {}: {}", key, error.message());
    events.record(ref, "Warning", "FailedScheduling", error.message());
    at->second.binding = false;
    later[key] = loop.after(at->second.backoff.next(), [this, key] {
      auto handle = std::move(later[key]);
      later.erase(key);
      if (auto again = waiting.find(key); again != waiting.end()) enqueue(key, again->second);
    });
  }
  void unschedulable(Waiting& pod, const std::string& message) {
    if (pod.told == message) return;
    pod.told = message;
    events.record(ref_of(pod), "Warning", "FailedScheduling", message);
    if (pod.shown == message) return;  // by a scheduler before this one
    if (pod.since.empty()) pod.since = base::format_time(now());
    pod.shown = message;
    json::object condition{{"type", "PodScheduled"},
                           {"status", "False"},
                           {"reason", "Unschedulable"},
                           {"message", message},
                           {"lastTransitionTime", pod.since}};  // of the status, not of the message
    client.patch(
        api::resources::pods, pod.ns, pod.name, "strategic-merge",
        json::object{{"metadata", {{"uid", pod.uid}}},
                     {"status", {{"conditions", json::array{std::move(condition)}}}}},
        [this, key = controllers::key_of(pod.ns, pod.name), uid = pod.uid](base::Result<json::value> result) {
          auto at = waiting.find(key);  // told again with the next attempt
          if (result.ok() || at == waiting.end() || at->second.uid != uid) return;
          at->second.told.clear();
          at->second.shown.clear();
        },
        "status");
  }
  static controllers::ObjectRef ref_of(const Waiting& pod) {
    return {"v1", "Pod", pod.ns, pod.name, pod.uid};
  }

  base::Loop& loop;
  std::shared_ptr<api::Transport> transport;
  std::function<base::Time()> now;
  api::Client client;
  controllers::EventRecorder events;
  std::unique_ptr<api::Informer> node_informer, pod_informer;
  bool nodes_synced = false, pods_synced = false, posted = false;
  Picture picture;
  std::unordered_map<std::string, Waiting> waiting;  // Pods without a node, by key
  std::set<Position> queue;                          // those of them worth a try
  std::unordered_map<std::string, std::weak_ptr<const Ask>> asks;
  size_t sweep_at = 1024;
  uint64_t next_order = 0;
  std::map<std::string, base::Loop::Handle> later;
  base::Loop::Handle turn;
};

std::string Scheduler::Impl::ask_text(const Ask& ask) {
  std::string text;
  auto put = [&text](const auto& part) { fmt::format_to(std::back_inserter(text), "{}\x1f", part); };
  auto put_selector = [&](const Selector& selector) { put(selector.nothing), put(selector.text()); };
  auto put_resources = [&](const Resources& in) {
    put(in.cpu_milli), put(in.memory), put(in.ephemeral);
    for (const auto& [name, amount] : in.extended) put(name), put(amount);
  };
  auto put_map = [&](const auto& map) {
    for (const auto& [key, value] : map) put(key), put(value);
    put("/");
  };
  put(ask.ns), put(ask.priority), put_map(ask.labels), put_map(ask.node_selector),
      put_resources(ask.requests), put_resources(ask.score_requests);
  auto put_node_terms = [&](const std::vector<NodeTerm>& terms) {
    for (const NodeTerm& term : terms) put(term.weight), put_selector(term.labels), put_selector(term.fields);
    put("/");
  };
  put(ask.node_required.has_value());
  if (ask.node_required) put_node_terms(*ask.node_required);
  put_node_terms(ask.node_preferred);
  for (const auto* terms : {&ask.affinity, &ask.anti_affinity}) {
    for (const PodTerm& term : *terms) {
      put_selector(term.pods), put(term.topology_key);
      for (const std::string& ns : term.namespaces) put(ns);
      put("|");
    }
    put("/");
  }
  for (const SpreadConstraint& c : ask.spread) put_selector(c.pods), put(c.topology_key), put(c.max_skew);
  for (const Toleration& t : ask.tolerations) put(t.key), put(t.op), put(t.value), put(t.effect);
  for (const HostPort& port : ask.host_ports) put(port.ip), put(port.protocol), put(port.port);
  return text;
}

Scheduler::Scheduler(base::Loop& loop, std::shared_ptr<api::Transport> transport,
                     std::function<base::Time()> now)
    : impl_(std::make_unique<Impl>(loop, std::move(transport), std::move(now))) {}
Scheduler::~Scheduler() = default;
void Scheduler::start() { impl_->start(); }

}  // namespace master::scheduler
