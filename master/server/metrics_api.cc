// metrics.k8s.io: what nodes and Pods use. Nothing is measured while nobody asks: the first who does waits
// for two looks at the kubelets' pages, a second apart; from then on they are read every 15 seconds, until
// nobody has asked for two minutes. Loop thread only.
#include <algorithm>
#include <deque>
#include <set>

#include "api/status.h"
#include "base/log.h"
#include "master/server/handlers.h"
#include "master/server/list_options.h"
#include "master/server/node_clients.h"
#include "master/server/node_usage.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr seconds kResolution{15}, kGap{1}, kInterest{120}, kPatience{4}, kNodeTimeout{3};
constexpr size_t kAtOnce = 64;         // nodes
constexpr size_t kMaxPage = 8u << 20;  // bytes of one node's: some 20,000 containers
constexpr int64_t kLeastGapMs = 900;   // between the two pages that are compared
constexpr std::string_view kMetricsGroup = "metrics.k8s.io";

class MetricsApi {
 public:
  explicit MetricsApi(ApiServer& server)
      : server_(server), loop_(server.loop()), node_field_(node_field(server)) {}

  void serve(const RequestPtr& request) {
    ListOptions options;
    if (json::value refusal = read_list_options(*request, false, &options); !refusal.is_null())
      return request->reply_status(refusal);
    asked_ = base::steady_now();
    if (ended_ && asked_ - *ended_ < kResolution + kPatience) return answer(request, options.filter);
    waiting_.emplace_back(request, std::move(options.filter));
    if (!deadline_.active()) deadline_ = loop_.after(kPatience, [this] { release(); });
    if (!looking_ && !gap_.active()) look_at_all();
  }

 private:
  struct Node {
    std::optional<NodePage> before, after;
    Steady::time_point seen{};  // `after`
  };

  std::deque<std::string> all_nodes() {
    std::deque<std::string> out;
    std::set<std::string> there;
    for (const auto& [key, object] : server_.registry().cache("", "nodes").objects()) {
      out.emplace_back(object->name());
      there.insert(out.back());
    }
    std::erase_if(nodes_, [&](const auto& item) { return !there.contains(item.first); });
    return out;
  }
  void look_at_all() {
    looked_twice_ = false;
    look(all_nodes());
  }
  void look(std::deque<std::string> nodes) {
    looking_ = true;
    queue_ = std::move(nodes);
    pump();
  }
  void pump() {
    while (in_flight_ < kAtOnce && !queue_.empty()) {
      std::string name = std::move(queue_.front());
      queue_.pop_front();
      ask(name);
    }
    if (in_flight_ == 0 && queue_.empty() && looking_) looked();
  }
  void ask(const std::string& name) {
    json::value refusal;
    base::http::Client* client = server_.nodes().find(name, &refusal);
    if (!client) return;
    base::http::Request request;
    request.target = "/metrics/resource";
    ++in_flight_;
    const uint64_t id = server_.nodes().next_call();
    auto page = std::make_shared<std::string>();
    auto status = std::make_shared<int>(0);
    auto deadline = std::make_shared<base::Loop::Handle>();
    auto over = std::make_shared<bool>(false);
    auto end = [this, name, id, page, deadline, over](const std::string& failure) {
      if (std::exchange(*over, true)) return;
      deadline->cancel();
      server_.nodes().forget(id)();
      if (failure.empty()) took(name, *page);
      else base::log::debug("metrics of node {}: {}", name, failure);
      --in_flight_;
      loop_.post([this] { pump(); });
    };
    *deadline = loop_.after(kNodeTimeout, [end] { end("no answer in time"); });
    server_.nodes().keep(
        id, client->stream(
                std::move(request), [status](const base::http::Response& head) { *status = head.status; },
                [page, end](std::string_view data) {
                  if (page->size() + data.size() > kMaxPage) return end("the page is too long");
                  page->append(data);
                },
                [status, end](base::Status result) {
                  end(!result.ok()     ? result.error().message()
                      : *status != 200 ? "status " + std::to_string(*status)
                                       : std::string());
                }));
  }
  void took(const std::string& name, std::string_view text) {
    auto page = read_resource_page(text);
    if (!page.ok()) return base::log::warning("metrics of node {}: {}", name, page.error().message());
    Node& node = nodes_[name];
    const auto now = base::steady_now();
    if (node.after && now - node.seen > kInterest) node.after.reset(), node.before.reset();
    if (node.after && (!node.before || page->node.at_ms - node.after->node.at_ms >= kLeastGapMs))
      node.before = std::move(node.after);
    node.after = std::move(*page);
    node.seen = now;
  }
  // A node that was seen but once is looked at again soon, and that once: its counters say nothing yet.
  void looked() {
    looking_ = false;
    std::deque<std::string> once;
    for (const auto& [name, node] : nodes_)
      if (node.after && !node.before) once.push_back(name);
    if (!once.empty() && !std::exchange(looked_twice_, true)) {
      gap_ = loop_.after(kGap, [this, once] { look(once); });
      return;
    }
    ended_ = base::steady_now();
    release();
    timer_ = loop_.after(kResolution, [this] {
      if (base::steady_now() - asked_ <= kInterest) return looking_ ? void() : look_at_all();
      nodes_.clear();
      ended_.reset();
    });
  }
  void release() {
    deadline_.cancel();
    for (auto& [request, filter] : std::exchange(waiting_, {})) answer(request, filter);
  }

  // Answers with what is known; a node that does not answer, and its Pods, are missing, as with others'
  // metrics servers.
  void answer(const RequestPtr& request, const Filter& filter) {
    std::vector<ObjectRef> found;
    const bool pods = request->resource->plural == "pods";
    if (request->verb == "get") {
      const std::string key = object_key(request->ns, request->name);
      if (ObjectRef of = server_.registry().cache("", request->resource->plural).find(key))
        if (ObjectRef made = pods ? pod_metrics(*request, *of) : node_metrics(*request, *of))
          return request->reply_bytes(200, {render(*request, *made, true)});
      return request->reply_status(api::not_found({kMetricsGroup, request->resource->plural}, request->name));
    }
    const ObjectCache& objects = server_.registry().cache("", request->resource->plural);
    auto [at, end] = objects.range(request->ns);
    for (; at != end; ++at) {
      if (!filter.matches(*at->second)) continue;
      if (ObjectRef made = pods ? pod_metrics(*request, *at->second) : node_metrics(*request, *at->second))
        found.push_back(std::move(made));
    }
    reply_list(loop_, request, {}, std::move(found));
  }
  static ObjectRef object(const RequestInfo& request, const StoredObject& of, base::Time at,
                          base::Duration window, const char* member, json::value use) {
    json::object meta{{"name", of.name()}, {"creationTimestamp", base::format_time(base::wall_now())}};
    if (!of.ns().empty()) meta["namespace"] = of.ns();
    for (const auto& [key, value] : of.labels) base::object_at(meta, "labels")[key] = value;
    json::object whole{{"kind", request.resource->kind},
                       {"apiVersion", request.resource->group_version()},
                       {"metadata", std::move(meta)},
                       {"timestamp", base::format_time(at)},
                       {"window", window_text(window)}};
    whole[member] = std::move(use);
    auto made = std::make_shared<StoredObject>();
    made->key = of.key;
    made->text = base::http::bytes(json::serialize(whole));
    made->labels = of.labels;
    return made;
  }
  static json::value usage_of(const Usage& use) {
    return json::object{{"cpu", use.cpu()}, {"memory", use.memory()}};
  }
  // A node that answered lately, and twice; null for others.
  const Node* known(const std::string& name) const {
    auto node = nodes_.find(name);
    if (node == nodes_.end() || !node->second.before || !node->second.after) return nullptr;
    return base::steady_now() - node->second.seen <= 2 * kResolution + kPatience ? &node->second : nullptr;
  }
  ObjectRef node_metrics(const RequestInfo& request, const StoredObject& of) const {
    const Node* node = known(std::string(of.name()));
    if (!node) return nullptr;
    auto seen = node_usage(*node->before, *node->after);
    if (!seen) return nullptr;
    return object(request, of, seen->at, seen->window, "usage", usage_of(seen->usage));
  }
  // Of the Pods that are the node's own: what it says of others is nobody's business.
  ObjectRef pod_metrics(const RequestInfo& request, const StoredObject& of) const {
    const Node* node = known(node_of(of));
    if (!node) return nullptr;
    auto seen = pod_usage(*node->before, *node->after, of.key);
    if (!seen) return nullptr;
    json::array containers;
    for (const auto& [name, use] : seen->containers)
      containers.push_back(json::object{{"name", name}, {"usage", usage_of(use)}});
    return object(request, of, seen->at, seen->window, "containers", std::move(containers));
  }
  std::string node_of(const StoredObject& pod) const {
    return node_field_ < pod.fields.size() ? pod.fields[node_field_] : std::string();
  }
  // Where spec.nodeName stands among the fields that Pods are selected by.
  static size_t node_field(ApiServer& server) {
    const auto& names = server.registry().resources().find_stored("", "pods")->selector_names;
    return static_cast<size_t>(std::find(names.begin(), names.end(), "spec.nodeName") - names.begin());
  }

  ApiServer& server_;
  base::Loop& loop_;
  const size_t node_field_;
  std::map<std::string, Node> nodes_;
  std::deque<std::string> queue_;
  size_t in_flight_ = 0;
  bool looking_ = false, looked_twice_ = false;
  Steady::time_point asked_{};
  std::optional<Steady::time_point> ended_;  // the last look of all that are compared
  std::vector<std::pair<RequestPtr, Filter>> waiting_;
  base::Loop::Handle timer_, gap_, deadline_;
};

}  // namespace

void add_metrics_handlers(ApiServer& server) {
  auto metrics = std::make_shared<MetricsApi>(server);
  for (const char* plural : {"nodes", "pods"})
    server.handle_with(kMetricsGroup, plural, "",
                       [metrics](const RequestPtr& request) { metrics->serve(request); });
}

}  // namespace master
