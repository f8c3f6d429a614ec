// How many Pods a second the scheduler's plan places: decisions and the counts kept for them, one core, no
// API.
//   scheduler_load [PODS A RUN (20000)] [NODES (100, 1000 and 5000)]
// Exits with 1 where a run falls below a tenth of its budget at 5,000 nodes, which only a broken build does.
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "master/scheduler/preemption_plan.h"

namespace {
using namespace master::scheduler;

Node make_node(int number) {
  const std::string name = fmt::format("node-{:05}", number);
  return read_node(base::parse_json(fmt::format(R"({{"metadata":{{"name":"{0}","labels":{{
      "kubernetes.io/hostname":"{0}","kubernetes.io/os":"linux","kubernetes.io/arch":"amd64",
      "topology.kubernetes.io/region":"r","topology.kubernetes.io/zone":"zone-{1}","disk":"{2}"}}}},
      "status":{{"allocatable":{{"cpu":"32","memory":"128Gi","pods":"250","ephemeral-storage":"100Gi"}}}}}})",
                                                name, number % 5, number % 2 ? "ssd" : "hdd"))
                       .value());
}
// 200 Deployments whose Pods come in turn.
Ask make_ask(int app, const char* more) {
  std::string spec = fmt::format(R"("containers":[{{"name":"c","image":"app:{0}","resources":{{"requests":{{
      "cpu":"100m","memory":"200Mi"}}}}}}])",
                                 app);
  std::string extra(more);
  for (size_t at; (at = extra.find("APP")) != std::string::npos;)
    extra.replace(at, 3, fmt::format("app-{}", app));
  return read_ask(
      base::parse_json(fmt::format(R"({{"metadata":{{"namespace":"ns-{1}","labels":{{"app":"app-{0}",
      "pod-template-hash":"h{0}"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r",
      "uid":"owner-{0}","controller":true}}]}},"spec":{{{2}{3}}}}})",
                                   app, app % 10, spec, extra))
          .value());
}
double run(int nodes, int pods, const char* more) {
  constexpr int kApps = 200;
  Picture picture;
  const Profile profile;
  for (int i = 0; i < nodes; ++i) picture.set_node(make_node(i));
  std::vector<std::shared_ptr<const Ask>> asks;
  for (int i = 0; i < kApps; ++i) asks.push_back(picture.share(make_ask(i, more)));
  pods = std::min(pods, nodes * 100);
  size_t start = 0;
  const std::clock_t begin = std::clock();  // CPU, whoever else is on the machine
  for (int i = 0; i < pods; ++i) {
    const std::string key = fmt::format("ns-{}/pod-{}", i % 10, i);
    const auto& ask = asks[static_cast<size_t>(i % kApps)];
    const Choice choice = choose(*ask, key, picture, profile, start, static_cast<size_t>(i) * 7919);
    if (choice.node.empty()) {
      std::fprintf(stderr, "scheduler_load: %s: %s\n", key.c_str(), choice.message.c_str());
      std::exit(1);
    }
    start = (start + choice.looked_at) % static_cast<size_t>(nodes);
    Placed placed;
    placed.ask = ask;
    placed.node = choice.node;
    picture.place(key, std::move(placed));
  }
  return pods * static_cast<double>(CLOCKS_PER_SEC) / static_cast<double>(std::clock() - begin);
}

// Every node is full; each Pod sends away the one Pod that stands in its way.
double preempt(int nodes, int pods) {
  Picture picture;
  const Profile profile;
  auto sized = [&](const char* cpu, int priority) {
    return picture.share(read_ask(
        base::parse_json(
            fmt::format(R"({{"metadata":{{"namespace":"d","labels":{{"app":"x"}}}},"spec":{{"priority":{},
        "containers":[{{"resources":{{"requests":{{"cpu":"{}"}}}}}}]}}}})",
                        priority, cpu))
            .value()));
  };
  auto place = [&](const std::string& key, const std::string& node, const std::shared_ptr<const Ask>& ask) {
    Placed placed;
    placed.ask = ask;
    placed.node = node;
    picture.place(key, std::move(placed));
  };
  const auto low = sized("1", 1), high = sized("1", 9);
  for (int i = 0; i < nodes; ++i) {
    const Node node = make_node(i);
    picture.set_node(node);
    for (int pod = 0; pod < 32; ++pod) place(fmt::format("d/{}-{}", i, pod), node.name, low);
  }
  const std::clock_t begin = std::clock();
  for (int i = 0; i < pods; ++i) {
    const std::string key = fmt::format("d/high-{}", i);
    const Choice choice = choose(*high, key, picture, profile);
    const Preemption plan =
        plan_preemption(*high, key, picture, profile, choice, static_cast<size_t>(i) * 7919);
    if (plan.victims.size() != 1) std::exit(1);
    picture.remove(plan.victims[0].pod);
    place(key, plan.node, high);
  }
  return pods * static_cast<double>(CLOCKS_PER_SEC) / static_cast<double>(std::clock() - begin);
}

}  // namespace

int main(int argc, char** argv) {
  const int pods = argc > 1 ? std::atoi(argv[1]) : 20000;
  std::vector<int> sizes{100, 1000, 5000};
  if (argc > 2) sizes = {std::atoi(argv[2])};
  struct {
    const char* name;
    const char* spec;
    int budget;
  } const kinds[] = {
      {"plain", "", 3000},
      {"affinity", R"(,"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{
          "nodeSelectorTerms":[{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd"]}]}]}},
          "podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"podAffinityTerm":{
          "topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app":"APP"}}}}]},
          "podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{
          "topologyKey":"topology.kubernetes.io/region","labelSelector":{"matchLabels":{"app":"APP"}}}]}})",
       1000},
      {"spread", R"(,"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"topology.kubernetes.io/zone",
          "whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"APP"}}},
          {"maxSkew":1,"topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"ScheduleAnyway",
          "labelSelector":{"matchLabels":{"app":"APP"}}}])",
       1000}};
  bool enough = true;
  for (int nodes : sizes)
    for (const auto& kind : kinds) {
      const double rate = run(nodes, pods, kind.spec);
      std::printf("%5d nodes, %-8s %8.0f Pods/s\n", nodes, kind.name, rate);
      enough &= nodes < 5000 || rate > kind.budget / 10.0;
    }
  for (int nodes : sizes) std::printf("%5d nodes, preempting %5.0f Pods/s\n", nodes, preempt(nodes, 200));
  return enough ? 0 : 1;
}
