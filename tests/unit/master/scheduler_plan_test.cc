#include "master/scheduler/schedule_plan.h"

#include <gtest/gtest.h>

namespace master::scheduler {

static Node node(const std::string& json_text) { return read_node(base::parse_json(json_text).value()); }
static Node plain(const std::string& name, const char* cpu = "4", const char* more = "") {
  return node(fmt::format(
      R"({{"metadata":{{"name":"{0}","labels":{{"kubernetes.io/hostname":"{0}","zone":"{0}"}}}},"spec":{{{2}}},)"
      R"("status":{{"allocatable":{{"cpu":"{1}","memory":"8Gi","pods":"3"}}}}}})",
      name, cpu, more));
}
static std::shared_ptr<const Ask> ask(const std::string& spec,
                                      const std::string& labels = R"({"app":"web"})") {
  return std::make_shared<const Ask>(
      read_ask(base::parse_json(
                   fmt::format(R"({{"metadata":{{"namespace":"default","name":"p","labels":{}}},"spec":{}}})",
                               labels, spec))
                   .value()));
}
static Placed on(const char* node, std::shared_ptr<const Ask> a) {
  Placed placed;
  placed.ask = std::move(a);
  placed.node = node;
  return placed;
}
static std::string cpu(const char* amount) {
  return fmt::format(R"({{"containers":[{{"resources":{{"requests":{{"cpu":"{}"}}}}}}]}})", amount);
}
static std::string decide(const Ask& a, const Picture& picture) {
  Choice choice = choose(a, "default/p", picture, {});
  return choice.node.empty() ? choice.message : choice.node;
}

TEST(SchedulePlan, NoNodes) {
  Picture empty;
  EXPECT_EQ(decide(*ask("{}"), empty), "no nodes available to schedule pods");
}
TEST(SchedulePlan, WordsAreKubernetes) {
  Picture picture;
  for (const char* name : {"a", "b", "c"}) picture.set_node(plain(name));
  EXPECT_EQ(decide(*ask(cpu("5")), picture), "0/3 nodes are available: 3 Insufficient cpu.");
  picture.set_node(plain("b", "4", R"("unschedulable":true)"));
  picture.set_node(plain("c", "4", R"("taints":[{"key":"gpu","value":"only","effect":"NoSchedule"}])"));
  EXPECT_EQ(decide(*ask(cpu("5")), picture),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 "
            "node(s) were unschedulable.");
  EXPECT_EQ(decide(*ask(R"({"nodeSelector":{"disk":"ssd"},"tolerations":[{"operator":"Exists"}]})"), picture),
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.");
}
TEST(SchedulePlan, CountsWhatIsPlaced) {
  Picture picture;
  picture.set_node(plain("a"));
  picture.place("default/x", on("a", ask(cpu("3"))));
  EXPECT_EQ(decide(*ask(cpu("2")), picture), "0/1 nodes are available: 1 Insufficient cpu.");
  picture.remove("default/x");
  EXPECT_EQ(decide(*ask(cpu("2")), picture), "a");
  for (int i = 0; i < 3; ++i) picture.place("default/" + std::to_string(i), on("a", ask("{}")));
  EXPECT_EQ(decide(*ask("{}"), picture), "0/1 nodes are available: 1 Too many pods.");
}
TEST(SchedulePlan, PodsKnownBeforeTheirNodeCount) {
  Picture picture;
  picture.place("default/x", on("a", ask(cpu("3"))));
  picture.set_node(plain("a"));
  EXPECT_EQ(decide(*ask(cpu("2")), picture), "0/1 nodes are available: 1 Insufficient cpu.");
}
TEST(SchedulePlan, InitContainersAndSidecarsAndOverhead) {
  auto requests = [](const char* text) { return pod_requests(base::parse_json(text).value()).cpu_milli; };
  EXPECT_EQ(
      requests(
          R"({"containers":[{"resources":{"requests":{"cpu":"1"}}}],"initContainers":[{"resources":{"requests":{"cpu":"3"}}}]})"),
      3000);
  EXPECT_EQ(
      requests(
          R"({"overhead":{"cpu":"100m"},"containers":[{"resources":{"requests":{"cpu":"1"}}}],"initContainers":[
      {"restartPolicy":"Always","resources":{"requests":{"cpu":"500m"}}},{"resources":{"requests":{"cpu":"700m"}}}]})"),
      1600);
}
TEST(SchedulePlan, EachContainerThatAsksForNothingCountsForScores) {
  auto one = ask(R"({"containers":[{"resources":{"requests":{"cpu":"1","memory":"1Gi"}}}]})");
  auto two = ask(R"({"containers":[{"resources":{"requests":{"cpu":"1","memory":"1Gi"}}},{}]})");
  EXPECT_EQ(one->requests, two->requests);
  EXPECT_EQ(one->score_requests.cpu_milli, 1000);
  EXPECT_EQ(two->score_requests.cpu_milli, 1100);
  EXPECT_EQ(two->score_requests.memory, (1 << 30) + (200 << 20));
  // Asked for as nothing is not the same as not asked for.
  EXPECT_EQ(ask(R"({"containers":[{"resources":{"requests":{"cpu":"0"}}}]})")->score_requests.cpu_milli, 0);
}
TEST(SchedulePlan, HostPorts) {
  Picture picture;
  picture.set_node(plain("a"));
  auto with = [](const char* ip, int port) {
    return ask(fmt::format(
        R"({{"containers":[{{"ports":[{{"containerPort":1,"hostPort":{},"hostIP":"{}"}}]}}]}})", port, ip));
  };
  picture.place("default/x", on("a", with("10.0.0.1", 80)));
  EXPECT_EQ(decide(*with("10.0.0.2", 80), picture), "a");
  EXPECT_EQ(decide(*with("", 80), picture),
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
}
TEST(SchedulePlan, NodeAffinity) {
  Picture picture;
  picture.set_node(plain("a"));
  picture.set_node(plain("b"));
  EXPECT_EQ(
      decide(
          *ask(
              R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
      {"matchExpressions":[{"key":"zone","operator":"In","values":["b"]}]}]}}}})"),
          picture),
      "b");
  EXPECT_EQ(
      decide(
          *ask(
              R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
      {"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}]}}}})"),
          picture),
      "a");
  EXPECT_EQ(decide(*ask(R"({"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
      {"weight":5,"preference":{"matchExpressions":[{"key":"zone","operator":"In","values":["b"]}]}}]}}})"),
                   picture),
            "b");
  EXPECT_EQ(
      decide(
          *ask(
              R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{}]}}}})"),
          picture),
      "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.");
}
TEST(SchedulePlan, PodsApartAndTogether) {
  Picture picture;
  picture.set_node(plain("a"));
  picture.set_node(plain("b"));
  const char* apart = R"({"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
      {"labelSelector":{"matchLabels":{"app":"web"}},"topologyKey":"kubernetes.io/hostname"}]}}})";
  const char* together = R"({"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
      {"labelSelector":{"matchLabels":{"app":"web"}},"topologyKey":"kubernetes.io/hostname"}]}}})";
  picture.place("default/x", on("a", ask(apart)));
  EXPECT_EQ(decide(*ask(apart), picture), "b");
  EXPECT_EQ(decide(*ask("{}"), picture), "b") << "the placed one does not want it either";
  EXPECT_EQ(decide(*ask(together, R"({"app":"db"})"), picture), "a");
  picture.place("default/y", on("b", ask(apart)));
  EXPECT_EQ(decide(*ask(apart), picture),
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.");
  Picture empty;
  empty.set_node(plain("a"));
  EXPECT_EQ(decide(*ask(together), empty), "a") << "the first of a group";
  EXPECT_EQ(decide(*ask(together, R"({"app":"db"})"), empty),
            "0/1 nodes are available: 1 node(s) didn't match pod affinity rules.");
}
TEST(SchedulePlan, TopologySpread) {
  Picture picture;
  for (const char* name : {"a", "b"}) picture.set_node(plain(name));
  const char* spread =
      R"({"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}}]})";
  picture.place("default/x", on("a", ask(spread)));
  EXPECT_EQ(decide(*ask(spread), picture), "b");
  picture.set_node(plain("b", "4", R"("unschedulable":true)"));
  EXPECT_EQ(decide(*ask(spread), picture),
            "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were "
            "unschedulable.");
}

}  // namespace master::scheduler
