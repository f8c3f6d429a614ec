// A cluster in one process: the master as its program has it, over a store in memory, on a clock that the
// test moves, and all that happens drawn from one seed. The test itself is a client whose requests are never
// lost; kubelets are played by kubelets(), or by hollow_kubelet.h.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/json_lists.h"
#include "base/simulated.h"
#include "master/master.h"
#include "tests/sim/memory_store.h"
#include "tests/sim/network.h"
#include "tests/sim/seeds.h"

namespace simulated {

// A life of a master's process: its loop goes with it.
struct MasterLife {
  base::Loop loop;
  std::unique_ptr<master::Master> master;
};

class Cluster {
 public:
  explicit Cluster(uint64_t seed = 0, int nodes = 3, master::controllers::Options controllers = {})
      : time(seed + 1), random(seed + 1), network(outside, seed),
        disk(std::make_shared<MemoryDisk>(seed + 1)), controllers_(std::move(controllers)) {
    if (controllers_.ca_pem.empty()) controllers_.ca_pem = authority().certificate_pem;
    start_master();
    settle();  // namespaces are furnished
    for (int i = 0; i < nodes; ++i) add_node("node-" + std::to_string(i));
    beat();
    settle();
  }
  ~Cluster() { crash_master(); }

  // ---- time
  // Whatever is due now, and then the next that is, at latest at `end`; false: nothing is due until then.
  bool step(base::Steady end) {
    if (turn()) return true;
    std::optional<base::Steady> next = outside.next_timer();
    if (life)
      if (auto due = life->loop.next_timer(); due && (!next || *due < *next)) next = due;
    if (!next || *next > end) {
      time.advance_to(end);
      return false;
    }
    time.advance_to(*next);
    return true;
  }
  // `each` is called after every change of the store.
  void pass(base::Duration duration, const std::function<void()>& each = {}) {
    const base::Steady end = base::steady_now() + duration;
    while (step(end)) changed(each);
    changed(each);
  }
  // Until nothing has been on its way for `calm`.
  void settle(const std::function<void()>& each = {}, base::Duration calm = 1s) {
    const base::Steady end = base::steady_now() + 600s;
    do {
      step(std::min(end, base::steady_now() + calm));
      changed(each);
    } while (!network.quiet(calm) && base::steady_now() < end);
    EXPECT_TRUE(network.quiet(calm)) << "the cluster never came to rest";
  }
  bool wait_for(const std::function<bool()>& done, base::Duration most = 600s) {
    for (const base::Steady end = base::steady_now() + most; !done() && base::steady_now() < end;) step(end);
    return done();
  }

  // ---- the master
  void start_master() {
    life = std::make_unique<MasterLife>();
    master::MasterOptions options;
    options.server.advertise_address = "192.0.2.1";
    options.server.admits_accounts = true;
    options.server.cluster_cidr = controllers_.cluster_cidr;
    options.controllers = controllers_;
    options.scheduling.first_backoff = 50ms;  // a lost request costs the test little
    options.controllers.signing_ca = authority();
    options.around_transport = [this](std::shared_ptr<api::Transport> straight) {
      return network.link([straight] { return straight; });
    };
    life->master = std::make_unique<master::Master>(life->loop, MemoryStore::open(life->loop, disk).value(),
                                                    std::move(options));
    bool ready = false;
    auto started = life->master->start([&ready] { ready = true; });
    ASSERT_TRUE(started.ok()) << started.error().message();
    if (on_start) on_start();
    registry().cache("", "pods").subscribe([this](const master::WatchEvent& event) {
      if (on_pod) on_pod(event);
    });
    ASSERT_TRUE(wait_for([&] { return ready; })) << "the master never became ready";
    revision_ = 0;
  }
  // As kill -9.
  void crash_master() {
    network.master_crashes();
    beats_.clear();
    life.reset();
    seen_.clear();
  }
  master::Registry& registry() { return life->master->api().registry(); }
  // The master's door for a user; asked at each request, since a master may be another one by then.
  Network::Door door(master::User user) {
    return [this, user] { return life ? life->master->api().local_transport(user) : nullptr; };
  }

  // ---- the test as a client
  json::value request(std::string method, std::string target, const json::value& body = nullptr,
                      const std::string& type = "application/json") {
    base::http::Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers.add("Content-Type", type);
    if (!body.is_null()) request.body = base::to_json(body);
    const std::string what = request.method + " " + request.target + " " + request.body;
    std::optional<base::Result<base::http::Response>> answer;
    auto call = door({"admin", {"system:masters"}})()->call(
        std::move(request),
        [&](base::Result<base::http::Response> response) { answer = std::move(response); });
    EXPECT_TRUE(wait_for([&] { return answer.has_value(); })) << what;
    if (!answer || !answer->ok()) return nullptr;
    // What is there, or not, may be either; but a request that is none tests nothing.
    const int status = (*answer)->status;
    EXPECT_TRUE(status < 400 || status == 404 || status == 409) << what << "\n" << (*answer)->body;
    return base::parse_json((*answer)->body).value_or(nullptr);
  }
  json::value create(const api::Resource& r, std::string_view ns, json::object object) {
    object["apiVersion"] = r.group.empty() ? r.version : r.group + "/" + r.version;
    object["kind"] = r.kind;
    return request("POST", r.path(ns), std::move(object));
  }
  json::value merge(const api::Resource& r, std::string_view ns, std::string_view name, json::value patch,
                    std::string_view sub = {}) {
    return request("PATCH", r.path(ns, name, sub), std::move(patch), "application/merge-patch+json");
  }
  void remove(const api::Resource& r, std::string_view ns, std::string_view name,
              json::value options = nullptr) {
    request("DELETE", r.path(ns, name), std::move(options));
  }
  const json::object* get(const api::Resource& r, std::string_view ns, std::string_view name) {
    auto found = registry().cache(r.group, r.plural).find(master::object_key(ns, name));
    return found ? &parsed(found) : nullptr;
  }
  std::vector<json::object> list(const api::Resource& r, std::string_view ns = {}) {
    std::vector<json::object> out;
    auto [first, last] = registry().cache(r.group, r.plural).range(ns);
    for (; first != last; ++first) out.push_back(parsed(first->second));
    return out;
  }

  // ---- what clusters are furnished with
  void create_namespace(const std::string& name) {
    create(api::resources::namespaces, "", json::object{{"metadata", {{"name", name}}}});
  }
  void add_node(const std::string& name, const char* cpu = "8") {
    node_names.push_back(name);
    create(api::resources::nodes, "",
           json::object{{"metadata", {{"name", name}, {"labels", {{"kubernetes.io/hostname", name}}}}}});
    say_ready(name, cpu);
    renew(name);
  }
  void say_ready(const std::string& name, const char* cpu = "8") {
    json::object amounts{{"cpu", cpu}, {"memory", "16Gi"}, {"pods", "110"}};
    merge(api::resources::nodes, "", name,
          json::object{{"status",
                        {{"allocatable", amounts},
                         {"capacity", amounts},
                         {"conditions", json::array{json::object{
                                            {"type", "Ready"},
                                            {"status", "True"},
                                            {"lastHeartbeatTime", base::format_time(base::wall_now())}}}}}}},
          "status");
  }
  void renew(const std::string& node) {
    const json::object spec{{"holderIdentity", node},
                            {"renewTime", base::format_micro_time(base::wall_now())}};
    if (get(api::resources::leases, "kube-node-lease", node))
      merge(api::resources::leases, "kube-node-lease", node, json::object{{"spec", spec}});
    else
      create(api::resources::leases, "kube-node-lease",
             json::object{{"metadata", {{"name", node}}}, {"spec", spec}});
  }
  // One step of every kubelet: starts Pods bound to its node, ends deleted ones.
  void kubelets(double fail = 0, double lag = 0) {
    auto chance = [&](double p) { return p > 0 && std::uniform_real_distribution<double>(0, 1)(random) < p; };
    for (json::object& pod : list(api::resources::pods)) {
      const json::value p(pod);
      const std::string node(base::string_at(p, "spec", "nodeName"));
      if (node.empty() || dead.count(node) || chance(lag)) continue;
      const std::string ns(base::string_at(p, "metadata", "namespace")),
          name(base::string_at(p, "metadata", "name"));
      const std::string phase(base::string_at(p, "status", "phase"));
      if (!base::string_at(p, "metadata", "deletionTimestamp").empty()) {
        remove(api::resources::pods, ns, name, json::object{{"gracePeriodSeconds", 0}});
      } else if (chance(fail)) {
        if (phase != "Failed")
          merge(api::resources::pods, ns, name, json::object{{"status", {{"phase", "Failed"}}}}, "status");
      } else if (phase == "Pending" && !unready_image(p)) {
        run(ns, name);
      }
    }
  }
  void run(const std::string& ns, const std::string& name, bool ready = true) {
    ++ips;
    std::string ip = fmt::format("10.244.{}.{}", ips / 250, ips % 250 + 1);
    merge(api::resources::pods, ns, name,
          json::object{{"status",
                        {{"phase", "Running"},
                         {"podIP", ip},
                         {"podIPs", json::array{json::object{{"ip", ip}}}},
                         {"conditions", json::array{json::object{
                                            {"type", "Ready"},
                                            {"status", ready ? "True" : "False"},
                                            {"lastTransitionTime", base::format_time(base::wall_now())}}}}}}},
          "status");
  }
  static bool unready_image(const json::value& pod) {
    const json::value* containers = base::find_path(pod, "spec", "containers");
    return containers && base::string_at(containers->at(0), "image") == "broken";
  }
  std::vector<json::object> pods(const std::string& ns = "default") { return list(api::resources::pods, ns); }
  int active(const std::string& ns = "default") {
    int count = 0;
    for (json::object& pod : pods(ns)) {
      const json::value p(pod);
      const std::string_view phase = base::string_at(p, "status", "phase");
      count += base::string_at(p, "metadata", "deletionTimestamp").empty() && phase != "Failed" &&
               phase != "Succeeded";
    }
    return count;
  }
  static json::object pod_template(const std::string& app, const std::string& image = "nginx:1") {
    return {{"metadata", {{"labels", {{"app", app}}}}},
            {"spec",
             {{"containers",
               json::array{json::object{
                   {"name", "c"},
                   {"image", image},
                   {"ports", json::array{json::object{{"name", "http"}, {"containerPort", 80}}}}}}}}}};
  }
  void create_rc(const std::string& name, int replicas) {
    create(api::resources::replication_controllers, "default",
           json::object{
               {"metadata", {{"name", name}}},
               {"spec",
                {{"replicas", replicas}, {"selector", {{"app", name}}}, {"template", pod_template(name)}}}});
  }
  // Whoever makes a Pod is refused from here on.
  void allow_no_pods() {
    create({"", "v1", "resourcequotas", "ResourceQuota"}, "default",
           json::object{{"metadata", {{"name", "none"}}}, {"spec", {{"hard", {{"pods", "0"}}}}}});
    settle();
  }
  void scale(const api::Resource& r, const std::string& name, int replicas) {
    merge(r, "default", name, json::object{{"spec", {{"replicas", replicas}}}});
  }
  int64_t status(const api::Resource& r, const std::string& name, const char* field) {
    const json::object* object = get(r, "default", name);
    return object ? base::as_int(base::find_path(json::value(*object), "status", field)) : -1;
  }

  base::Simulated time;
  std::mt19937_64 random;
  base::Loop outside;  // of all that is not the master's process
  Network network;
  std::shared_ptr<MemoryDisk> disk;
  std::unique_ptr<MasterLife> life;
  std::vector<std::string> node_names;
  std::set<std::string> dead;
  int ips = 0;
  std::function<void()> on_start;  // of a master, once it has read its store
  std::function<void(const master::WatchEvent&)> on_pod;

 private:
  static const base::tls::KeyPair& authority() {
    static const base::tls::KeyPair made = base::tls::make_ca("sim", std::chrono::hours(24 * 3650)).value();
    return made;
  }
  // One round of what is ready; whether there is more.
  bool turn() {
    bool more = outside.run_ready();
    if (life) more = life->loop.run_ready() | more;
    idle_turns_ = more ? 0 : idle_turns_ + 1;
    if (idle_turns_ < 2) return true;  // either may have woken the other
    idle_turns_ = 0;
    return false;
  }
  void changed(const std::function<void()>& each) {
    if (!each || !life) return;
    const int64_t now = registry().durable_revision();
    if (std::exchange(revision_, now) != now) each();
  }
  const json::object& parsed(const master::ObjectRef& object) {
    auto& memo = seen_[object->revision];
    if (!memo.first) {
      if (seen_.size() > 20'000) {
        seen_.clear();
        return parsed(object);
      }
      memo = {object, master::parse_object(*object->text).as_object()};
    }
    return memo.second;
  }
  // Every ten seconds all nodes that live say so.
  void beat() {
    heartbeat_ = outside.after(10s, [this] {
      beat();
      if (!life) return;
      auto server = door({"admin", {"system:masters"}})();
      beats_.clear();
      for (const std::string& node : node_names) {
        if (dead.count(node)) continue;
        base::http::Request request;
        request.method = "PATCH";
        request.target = api::resources::leases.path("kube-node-lease", node);
        request.headers.add("Content-Type", "application/merge-patch+json");
        request.body =
            base::to_json(json::object{{"spec", {{"renewTime", base::format_micro_time(base::wall_now())}}}});
        beats_.push_back(server->call(std::move(request), [](const base::Result<base::http::Response>&) {}));
      }
    });
  }

  master::controllers::Options controllers_;
  int idle_turns_ = 0;
  int64_t revision_ = 0;
  std::unordered_map<int64_t, std::pair<master::ObjectRef, json::object>> seen_;  // by revision
  base::Loop::Handle heartbeat_;
  std::vector<std::unique_ptr<api::Transport::Call>> beats_;
};

}  // namespace simulated
