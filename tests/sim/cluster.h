// A cluster in one process for tests: the fake API server, the real controllers and scheduler, and
// fake kubelets that start Pods, sometimes fail them, and end the deleted ones.
#pragma once

#include <gtest/gtest.h>

#include "master/controllers/controllers.h"
#include "master/scheduler/scheduler.h"
#include "tests/sim/fake_api_server.h"

namespace simulated {

using namespace std::chrono_literals;

struct Cluster {
  explicit Cluster(uint64_t seed = 0, int nodes = 3, master::controllers::Options options = {})
      : random(seed + 1), server(std::make_shared<FakeApiServer>(loop, seed)) {
    options.now = [this] { return server->now; };
    if (options.ca_pem.empty()) options.ca_pem = "PEM";
    create_namespace("default");
    create_namespace("kube-node-lease");
    for (int i = 0; i < nodes; ++i) add_node("node-" + std::to_string(i));
    controllers = std::make_unique<master::controllers::Controllers>(loop, server, options);
    master::scheduler::Config scheduling;
    scheduling.first_backoff = 50ms;  // a lost request costs the test little
    scheduler = std::make_unique<master::scheduler::Scheduler>(loop, server, scheduling, options.now);
    controllers->start();
    scheduler->start();
  }
  void create_namespace(const std::string& name) {
    server->create(api::resources::namespaces, "",
                   json::object{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}});
  }
  void add_node(const std::string& name, const char* cpu = "8") {
    node_names.push_back(name);
    server->create(
        api::resources::nodes, "",
        json::object{{"apiVersion", "v1"},
                     {"kind", "Node"},
                     {"metadata", {{"name", name}, {"labels", {{"kubernetes.io/hostname", name}}}}},
                     {"spec", json::object{}},
                     {"status",
                      {{"allocatable", {{"cpu", cpu}, {"memory", "16Gi"}, {"pods", "110"}}},
                       {"conditions", json::array{json::object{{"type", "Ready"}, {"status", "True"}}}}}}});
    renew(name);
  }
  void renew(const std::string& node) {
    json::object spec{{"holderIdentity", node}, {"renewTime", base::format_micro_time(server->now)}};
    if (server->get(api::resources::leases, "kube-node-lease", node))
      server->merge(api::resources::leases, "kube-node-lease", node, json::object{{"spec", spec}});
    else
      server->create(api::resources::leases, "kube-node-lease",
                     json::object{{"metadata", {{"name", node}}}, {"spec", spec}});
  }
  // One step of every kubelet: starts Pods bound to its node, ends deleted ones.
  void kubelets(double fail = 0, double lag = 0) {
    auto chance = [&](double p) { return p > 0 && std::uniform_real_distribution<double>(0, 1)(random) < p; };
    for (json::object& pod : server->list(api::resources::pods)) {
      const json::value p(pod);
      const std::string node(base::string_at(p, "spec", "nodeName"));
      if (node.empty() || dead.count(node) || chance(lag)) continue;
      const std::string ns(base::string_at(p, "metadata", "namespace")),
          name(base::string_at(p, "metadata", "name"));
      const std::string phase(base::string_at(p, "status", "phase"));
      if (!base::string_at(p, "metadata", "deletionTimestamp").empty()) {
        server->remove(api::resources::pods, ns, name, json::object{{"gracePeriodSeconds", 0}});
      } else if (chance(fail)) {
        if (phase != "Failed")
          server->merge(api::resources::pods, ns, name, json::object{{"status", {{"phase", "Failed"}}}},
                        "status");
      } else if (phase == "Pending" && !unready_image(p)) {
        run(ns, name);
      }
    }
  }
  void run(const std::string& ns, const std::string& name, bool ready = true) {
    std::string ip = "10.244.0." + std::to_string(++ips);
    server->merge(
        api::resources::pods, ns, name,
        json::object{{"status",
                      {{"phase", "Running"},
                       {"podIP", ip},
                       {"podIPs", json::array{json::object{{"ip", ip}}}},
                       {"conditions",
                        json::array{json::object{{"type", "Ready"},
                                                 {"status", ready ? "True" : "False"},
                                                 {"lastTransitionTime", base::format_time(server->now)}}}}}}},
        "status");
  }
  static bool unready_image(const json::value& pod) {
    const json::value* containers = base::find_path(pod, "spec", "containers");
    return containers && base::string_at(containers->at(0), "image") == "broken";
  }
  // Runs the loop until nothing is left to deliver; `each` is called after every turn.
  void settle(std::function<void()> each = {}) {
    int calm = 0;
    constexpr int kCalm = 12;  // turns of a millisecond: longer than any delay of a healthy controller
    for (int i = 0; i < 200000 && calm < kCalm; ++i) {
      loop.run_once(1ms);
      calm = server->quiet() ? calm + 1 : 0;
      if (each) each();
    }
    EXPECT_GE(calm, kCalm) << "the cluster never came to rest";
  }
  std::vector<json::object> pods(const std::string& ns = "default") {
    return server->list(api::resources::pods, ns);
  }
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
    server->create(
        api::resources::replication_controllers, "default",
        json::object{
            {"apiVersion", "v1"},
            {"kind", "ReplicationController"},
            {"metadata", {{"name", name}}},
            {"spec",
             {{"replicas", replicas}, {"selector", {{"app", name}}}, {"template", pod_template(name)}}}});
  }
  void scale(const api::Resource& r, const std::string& name, int replicas) {
    server->merge(r, "default", name, json::object{{"spec", {{"replicas", replicas}}}});
  }
  int64_t status(const api::Resource& r, const std::string& name, const char* field) {
    const json::object* object = server->get(r, "default", name);
    return object ? base::as_int(base::find_path(json::value(*object), "status", field)) : -1;
  }

  base::Loop loop;
  std::mt19937_64 random;
  std::shared_ptr<FakeApiServer> server;
  std::unique_ptr<master::controllers::Controllers> controllers;
  std::unique_ptr<master::scheduler::Scheduler> scheduler;
  std::vector<std::string> node_names;
  std::set<std::string> dead;
  int ips = 0;
};

}  // namespace simulated
