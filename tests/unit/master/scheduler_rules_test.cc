// Each rule of the scheduler alone: what it refuses, how it scores, which changes help.
#include "tests/unit/master/scheduler_text.h"

namespace master::scheduler {
namespace {

bool helps(const char* name, const Ask& ask, uint32_t what, const Node* node, const Ask* pod = nullptr) {
  return rule(name)->helps(ask, {what, node, pod});
}

TEST(SchedulerRules, TheTableIsKubeSchedulersDefault) {
  std::string table;
  for (const Rule& one : rules())
    table += fmt::format("{} {}{}{}\n", one.name, one.filter ? "f" : "", one.scorer ? "s" : "",
                         one.weight ? " " + std::to_string(one.weight) : "");
  EXPECT_EQ(
      table,
      "NodeUnschedulable f\nTaintToleration fs 3\nNodeAffinity fs 2\nNodePorts f\nNodeResourcesFit fs 1\n"
      "VolumeRestrictions f\nNodeVolumeLimits f\nVolumeBinding f\nVolumeZone f\nPodTopologySpread fs "
      "2\nInterPodAffinity fs "
      "2\nNodeResourcesBalancedAllocation s 1\nImageLocality s "
      "1\n");
}
TEST(SchedulerRules, NodeUnschedulable) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b", R"("unschedulable":true)"));
  EXPECT_EQ(rule_text("NodeUnschedulable", text_ask(""), picture),
            "a fits\nb refused for good: node(s) were unschedulable\n");
  EXPECT_EQ(
      rule_text("NodeUnschedulable",
                text_ask(R"("tolerations":[{"key":"node.kubernetes.io/unschedulable","operator":"Exists"}])"),
                picture),
      "a fits\nb fits\n");
  EXPECT_TRUE(helps("NodeUnschedulable", text_ask(""), Change::kNodeTaints, picture.node("a")));
  EXPECT_FALSE(helps("NodeUnschedulable", text_ask(""), Change::kNodeAdded, picture.node("b")));
}
TEST(SchedulerRules, TaintToleration) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b", R"("taints":[{"key":"k","value":"v","effect":"NoSchedule"}])"));
  picture.set_node(text_node("c", R"("taints":[{"key":"k","value":"v","effect":"PreferNoSchedule"},
      {"key":"l","effect":"PreferNoSchedule"}])"));
  picture.set_node(text_node("d", R"("taints":[{"key":"l","effect":"PreferNoSchedule"}])"));
  EXPECT_EQ(rule_text("TaintToleration", text_ask(""), picture),
            "a 100\nb refused for good: node(s) had untolerated taint(s)\nc 0\nd 50\n");
  const Ask tolerant = text_ask(R"("tolerations":[{"key":"k","operator":"Exists"}])");
  EXPECT_EQ(rule_text("TaintToleration", tolerant, picture), "a 100\nb 100\nc 0\nd 0\n");
  EXPECT_TRUE(helps("TaintToleration", tolerant, Change::kNodeTaints, picture.node("b")));
  EXPECT_FALSE(helps("TaintToleration", text_ask(""), Change::kNodeTaints, picture.node("b")));
  EXPECT_FALSE(helps("TaintToleration", text_ask(""), Change::kNodeAllocatable, picture.node("a")));
}
TEST(SchedulerRules, NodeAffinity) {
  Picture picture;
  picture.set_node(text_node("a disk=ssd"));
  picture.set_node(text_node("b disk=hdd cores=16"));
  picture.set_node(text_node("c"));
  const std::string refused = " refused for good: node(s) didn't match Pod's node affinity/selector\n";
  EXPECT_EQ(rule_text("NodeAffinity", text_ask(R"("nodeSelector":{"disk":"ssd"})"), picture),
            "a fits\nb" + refused + "c" + refused);
  EXPECT_EQ(rule_text("NodeAffinity", text_ask(R"("affinity":{"nodeAffinity":{
      "requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
      {"matchExpressions":[{"key":"cores","operator":"Gt","values":["8"]}]},
      {"matchFields":[{"key":"metadata.name","operator":"In","values":["c"]}]}]}}})"),
                      picture),
            "a" + refused + "b fits\nc fits\n");
  EXPECT_EQ(rule_text("NodeAffinity", text_ask(R"("affinity":{"nodeAffinity":{
      "preferredDuringSchedulingIgnoredDuringExecution":[
      {"weight":10,"preference":{"matchExpressions":[{"key":"disk","operator":"Exists"}]}},
      {"weight":30,"preference":{"matchExpressions":[{"key":"cores","operator":"Exists"}]}}]}})"),
                      picture),
            "a 25\nb 100\nc 0\n");
}
TEST(SchedulerRules, APodForNamedNodesLooksAtNoOther) {
  Picture picture;
  for (const char* name : {"a", "b", "c"}) picture.set_node(text_node(name));
  const std::string spec = R"(,"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{
      "nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["b"]}]}]}}})";
  EXPECT_EQ(decide(text_ask(cpu_spec("1") + spec), picture), "b");
  EXPECT_EQ(choose(text_ask(cpu_spec("1") + spec), "", picture, {}).looked_at, 1u);
  EXPECT_EQ(
      decide(text_ask(cpu_spec("5") + spec), picture),
      "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].");
}
TEST(SchedulerRules, NodePorts) {
  Picture picture;
  picture.set_node(text_node("a"));
  auto port = [](const char* list, int number) {
    return text_ask(
        fmt::format(R"("{}":[{{"restartPolicy":"Always","ports":[{{"hostPort":{}}}]}}])", list, number));
  };
  put(picture, "default/x", "a", port("initContainers", 80));
  EXPECT_EQ(rule_text("NodePorts", port("containers", 80), picture),
            "a refused: node(s) didn't have free ports for the requested pod ports\n");
  EXPECT_EQ(rule_text("NodePorts", port("containers", 81), picture), "a fits\n");
  const Ask same = port("containers", 80), other = port("containers", 81);
  EXPECT_TRUE(helps("NodePorts", same, Change::kPodRemoved, nullptr, &same));
  EXPECT_FALSE(helps("NodePorts", same, Change::kPodRemoved, nullptr, &other));
}
TEST(SchedulerRules, NodeResourcesFit) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b"));
  put(picture, "default/x", "a",
      text_ask(R"("containers":[{"resources":{"requests":{"cpu":"3","example.com/gpu":"2"}}}])"));
  EXPECT_EQ(
      rule_text("NodeResourcesFit",
                text_ask(R"("containers":[{"resources":{"requests":{"cpu":"2","example.com/gpu":"1"}}}])"),
                picture),
      "a refused: Insufficient cpu Insufficient example.com/gpu\nb 73\n");
  EXPECT_EQ(rule_text("NodeResourcesFit", text_ask(cpu_spec("5")), picture),
            "a refused for good: Insufficient cpu\nb refused for good: Insufficient cpu\n");
  const Ask one = text_ask(R"("containers":[{"resources":{"requests":{"cpu":"1","memory":"0"}}}])");
  Profile profile;
  EXPECT_EQ(rule_text("NodeResourcesFit", one, picture, profile), "a 48\nb 87\n");
  profile.fit.strategy = Fit::Strategy::kMostAllocated;
  EXPECT_EQ(rule_text("NodeResourcesFit", one, picture, profile), "a 51\nb 12\n");
  profile.fit.strategy = Fit::Strategy::kRequestedToCapacityRatio;
  profile.fit.shape = {{0, 0}, {50, 10}, {100, 0}};
  profile.fit.resources = {{"cpu", 1}};
  EXPECT_EQ(rule_text("NodeResourcesFit", one, picture, profile), "a 0\nb 50\n");
}
TEST(SchedulerRules, AmountsOfNoHostDoNotOverflow) {
  Picture picture;
  picture.set_node(text_node("a"));
  const Ask huge = text_ask(R"("containers":[{"resources":{"requests":{"memory":"9223372036854775807"}}},
      {"resources":{"requests":{"memory":"9223372036854775807"}}}])");
  for (int i = 0; i < 5000; ++i) put(picture, "default/" + std::to_string(i), "a", huge);
  EXPECT_TRUE(decide(huge, picture).starts_with("0/1 nodes"));
  for (int i = 0; i < 5000; ++i) picture.remove("default/" + std::to_string(i));
  EXPECT_EQ(picture.node("a")->used, Resources{});
}
TEST(SchedulerRules, NodeResourcesBalancedAllocation) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b"));
  put(picture, "default/x", "b", text_ask(R"("containers":[{"resources":{"requests":{"memory":"4Gi"}}}])"));
  EXPECT_EQ(rule_text("NodeResourcesBalancedAllocation", text_ask(cpu_spec("2")), picture), "a 75\nb 100\n");
  EXPECT_EQ(rule_text("NodeResourcesBalancedAllocation", text_ask(R"("containers":[{}])"), picture),
            "a fits\nb fits\n");
}
TEST(SchedulerRules, ImageLocality) {
  Picture picture;
  picture.set_node(
      text_node("a", "", R"(,"images":[{"names":["big:latest","big@sha256:0"],"sizeBytes":1048576000}])"));
  picture.set_node(text_node("b"));
  EXPECT_EQ(rule_text("ImageLocality", text_ask(R"("containers":[{"image":"big"}])"), picture),
            "a 48\nb 0\n");
  EXPECT_EQ(rule_text("ImageLocality", text_ask(R"("containers":[{"image":"big:v2"}])"), picture),
            "a fits\nb fits\n");
}

std::string near_terms(const char* kind, const char* terms, const char* more = "") {
  return fmt::format(R"("affinity":{{"{}":{{"requiredDuringSchedulingIgnoredDuringExecution":[{}]{}}}}})",
                     kind, terms, more);
}
constexpr const char* kWebByZone = R"({"labelSelector":{"matchLabels":{"app":"web"}},"topologyKey":"zone"})";

TEST(SchedulerRules, InterPodAffinityOfThePod) {
  Picture picture;
  picture.set_node(text_node("a zone=x"));
  picture.set_node(text_node("b zone=x"));
  picture.set_node(text_node("c zone=y"));
  picture.set_node(text_node("d"));
  put(picture, "default/w", "a", text_ask("", "app=web"));
  EXPECT_EQ(rule_text("InterPodAffinity", text_ask(near_terms("podAffinity", kWebByZone), "app=db"), picture),
            "a fits\nb fits\nc refused for good: node(s) didn't match pod affinity rules\n"
            "d refused for good: node(s) didn't match pod affinity rules\n");
  EXPECT_EQ(
      rule_text("InterPodAffinity", text_ask(near_terms("podAntiAffinity", kWebByZone), "app=db"), picture),
      "a refused: node(s) didn't match pod anti-affinity rules\n"
      "b refused: node(s) didn't match pod anti-affinity rules\nc fits\nd fits\n");
  // Another namespace's Pods are not meant.
  EXPECT_EQ(rule_text("InterPodAffinity", text_ask(near_terms("podAntiAffinity", kWebByZone), "", "other"),
                      picture),
            "a fits\nb fits\nc fits\nd fits\n");
}
TEST(SchedulerRules, InterPodAffinityOfThoseThere) {
  Picture picture;
  picture.set_node(text_node("a zone=x"));
  picture.set_node(text_node("b zone=y"));
  put(picture, "default/w", "a", text_ask(near_terms("podAntiAffinity", kWebByZone), "app=db"));
  EXPECT_EQ(rule_text("InterPodAffinity", text_ask("", "app=web"), picture),
            "a refused: node(s) didn't satisfy existing pods anti-affinity rules\nb fits\n");
  EXPECT_EQ(rule_text("InterPodAffinity", text_ask("", "app=other"), picture), "a fits\nb fits\n");
  // Who must be near somebody rather has him near.
  put(picture, "default/v", "b", text_ask(near_terms("podAffinity", kWebByZone), "app=cache"));
  picture.remove("default/w");
  EXPECT_EQ(rule_text("InterPodAffinity", text_ask("", "app=web"), picture), "a 0\nb 100\n");
}
TEST(SchedulerRules, InterPodAffinityNamespacesAndKeys) {
  Picture picture;
  picture.set_node(text_node("a zone=x"));
  picture.set_namespace("red", {{"team", "red"}});
  put(picture, "red/w", "a", text_ask("", "app=web", "red"));
  auto apart = [&](const char* more, const char* labels = "app=web v=1") {
    const std::string term =
        fmt::format(R"({{"labelSelector":{{"matchLabels":{{"app":"web"}}}},"topologyKey":"zone"{}}})", more);
    return decide(text_ask(near_terms("podAntiAffinity", term.c_str()), labels), picture) == "a" ? "fits"
                                                                                                 : "refused";
  };
  EXPECT_STREQ(apart(""), "fits");
  EXPECT_STREQ(apart(R"(,"namespaces":["red"])"), "refused");
  EXPECT_STREQ(apart(R"(,"namespaceSelector":{"matchLabels":{"team":"red"}})"), "refused");
  EXPECT_STREQ(apart(R"(,"namespaceSelector":{})"), "refused");
  picture.set_namespace("red", {{"team", "blue"}});
  EXPECT_STREQ(apart(R"(,"namespaceSelector":{"matchLabels":{"team":"red"}})"), "fits");
  put(picture, "default/w", "a", text_ask("", "app=web v=1"));
  EXPECT_STREQ(apart(R"(,"matchLabelKeys":["v"])"), "refused");
  EXPECT_STREQ(apart(R"(,"matchLabelKeys":["v"])", "app=web v=2"), "fits");
  EXPECT_STREQ(apart(R"(,"mismatchLabelKeys":["v"])"), "fits");
  EXPECT_STREQ(apart(R"(,"mismatchLabelKeys":["v"])", "app=web v=2"), "refused");
}
TEST(SchedulerRules, InterPodAffinityPreferred) {
  Picture picture;
  for (const char* node : {"a zone=x", "b zone=y", "c zone=z"}) picture.set_node(text_node(node));
  put(picture, "default/1", "a", text_ask("", "app=web"));
  put(picture, "default/2", "a", text_ask("", "app=web"));
  put(picture, "default/3", "b", text_ask("", "app=web"));
  auto rather = [](const char* kind, int weight) {
    return fmt::format(R"("affinity":{{"{}":{{"preferredDuringSchedulingIgnoredDuringExecution":[
        {{"weight":{},"podAffinityTerm":{}}}]}}}})",
                       kind, weight, kWebByZone);
  };
  EXPECT_EQ(rule_text("InterPodAffinity", text_ask(rather("podAffinity", 10), ""), picture),
            "a 100\nb 50\nc 0\n");
  EXPECT_EQ(rule_text("InterPodAffinity", text_ask(rather("podAntiAffinity", 10), ""), picture),
            "a 0\nb 50\nc 100\n");
  put(picture, "default/4", "c", text_ask(rather("podAffinity", 7), "app=db"));
  EXPECT_EQ(rule_text("InterPodAffinity", text_ask("", "app=web"), picture), "a 0\nb 0\nc 100\n");
}

std::string spread(const char* more, const char* when = "DoNotSchedule", int skew = 1,
                   const char* key = "zone") {
  return fmt::format(
      R"("topologySpreadConstraints":[{{"maxSkew":{},"topologyKey":"{}","whenUnsatisfiable":"{}",
      "labelSelector":{{"matchLabels":{{"app":"web"}}}}{}}}])",
      skew, key, when, more);
}
TEST(SchedulerRules, PodTopologySpreadHard) {
  Picture picture;
  picture.set_node(text_node("a zone=x disk=ssd"));
  picture.set_node(text_node("b zone=y disk=ssd", R"("taints":[{"key":"k","effect":"NoSchedule"}])"));
  picture.set_node(text_node("c zone=z"));
  picture.set_node(text_node("d"));
  const std::string far = " refused: node(s) didn't match pod topology spread constraints\n",
                    missing =
                        "d refused for good: node(s) didn't match pod topology spread constraints (missing "
                        "required label)\n";
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask(spread("")), picture),
            "a fits\nb fits\nc fits\n" + missing);
  put(picture, "default/1", "a", text_ask("", "app=web"));
  put(picture, "default/2", "c", text_ask("", "app=web"));
  put(picture, "other/3", "b", text_ask("", "app=web", "other"));
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask(spread("")), picture),
            "a" + far + "b fits\nc" + far + missing);
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask(spread("", "DoNotSchedule", 2)), picture),
            "a fits\nb fits\nc fits\n" + missing);
  // The emptiest zone does not count where its only node keeps the Pod out.
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask(spread(R"(,"nodeTaintsPolicy":"Honor")")), picture),
            "a fits\nb fits\nc fits\n" + missing);
  EXPECT_EQ(
      rule_text("PodTopologySpread", text_ask(spread("") + R"(,"nodeSelector":{"disk":"ssd"})"), picture),
      "a" + far + "b fits\nc fits\n" + missing);
  EXPECT_EQ(
      rule_text("PodTopologySpread",
                text_ask(spread(R"(,"nodeAffinityPolicy":"Ignore")") + R"(,"nodeSelector":{"disk":"ssd"})"),
                picture),
      "a" + far + "b fits\nc" + far + missing);
  // Fewer zones than asked for: as if one were empty.
  put(picture, "default/4", "b", text_ask("", "app=web"));
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask(spread(R"(,"minDomains":4)")), picture),
            "a" + far + "b" + far + "c" + far + missing);
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask(spread(R"(,"minDomains":3)")), picture),
            "a fits\nb fits\nc fits\n" + missing);
  // A Pod of another revision.
  EXPECT_EQ(rule_text("PodTopologySpread",
                      text_ask(spread(R"(,"minDomains":4,"matchLabelKeys":["v"])"), "app=web v=2"), picture),
            "a fits\nb fits\nc fits\n" + missing);
}
TEST(SchedulerRules, PodTopologySpreadCountsNoPodThatEnds) {
  Picture picture;
  picture.set_node(text_node("a zone=x"));
  picture.set_node(text_node("b zone=y"));
  Placed ending;
  ending.ask = picture.share(text_ask("", "app=web"));
  ending.node = "a";
  ending.terminating = true;
  picture.place("default/1", ending);
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask(spread("")), picture), "a fits\nb fits\n");
  ending.terminating = false;
  picture.place("default/1", ending);
  EXPECT_NE(rule_text("PodTopologySpread", text_ask(spread("")), picture), "a fits\nb fits\n");
}
TEST(SchedulerRules, PodTopologySpreadSoftAndDefault) {
  Picture picture;
  picture.set_node(text_node("a topology.kubernetes.io/zone=x"));
  picture.set_node(text_node("b topology.kubernetes.io/zone=x"));
  picture.set_node(text_node("c topology.kubernetes.io/zone=y"));
  put(picture, "default/1", "a", text_ask("", "app=web", "default", "owner"));
  put(picture, "default/2", "a", text_ask("", "app=web", "default", "owner"));
  EXPECT_EQ(rule_text("PodTopologySpread",
                      text_ask(spread("", "ScheduleAnyway", 1, "topology.kubernetes.io/zone")), picture),
            "a 0\nb 0\nc 100\n");
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask("", "app=web", "default", "owner"), picture),
            "a 50\nb 75\nc 100\n");
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask("", "app=web", "default", "another"), picture),
            "a 100\nb 100\nc 100\n");
  EXPECT_EQ(rule_text("PodTopologySpread", text_ask("", "app=web"), picture), "a fits\nb fits\nc fits\n");
}
TEST(SchedulerRules, ChangesThatHelpPodsRules) {
  const Ask web = text_ask("", "app=web"), db = text_ask("", "app=db"),
            other = text_ask("", "app=web", "other");
  const Ask near = text_ask(near_terms("podAffinity", kWebByZone)),
            apart = text_ask(near_terms("podAntiAffinity", kWebByZone)), even = text_ask(spread(""));
  EXPECT_TRUE(helps("InterPodAffinity", near, Change::kPodPlaced, nullptr, &web));
  EXPECT_FALSE(helps("InterPodAffinity", near, Change::kPodPlaced, nullptr, &db));
  EXPECT_FALSE(helps("InterPodAffinity", apart, Change::kPodPlaced, nullptr, &web));
  EXPECT_TRUE(helps("InterPodAffinity", apart, Change::kPodRemoved, nullptr, &web));
  EXPECT_FALSE(helps("InterPodAffinity", apart, Change::kPodRemoved, nullptr, &db));
  EXPECT_TRUE(helps("InterPodAffinity", web, Change::kPodRemoved, nullptr, &apart));
  EXPECT_TRUE(helps("PodTopologySpread", even, Change::kPodPlaced, nullptr, &web));
  EXPECT_FALSE(helps("PodTopologySpread", even, Change::kPodPlaced, nullptr, &db));
  EXPECT_FALSE(helps("PodTopologySpread", even, Change::kPodRemoved, nullptr, &other));
}
TEST(SchedulerRules, HowManyNodesAreEnough) {
  EXPECT_EQ(nodes_to_find(99, 0), 99u);
  EXPECT_EQ(nodes_to_find(100, 0), 100u);
  EXPECT_EQ(nodes_to_find(1000, 0), 420u);
  EXPECT_EQ(nodes_to_find(5000, 0), 500u);
  EXPECT_EQ(nodes_to_find(6000, 0), 300u);
  EXPECT_EQ(nodes_to_find(1000, 20), 200u);
  EXPECT_EQ(nodes_to_find(1000, 1), 100u);
  EXPECT_EQ(nodes_to_find(1000, 100), 1000u);
}
TEST(SchedulerRules, EachDecisionStartsWhereTheLastEnded) {
  Picture picture;
  for (int i = 0; i < 200; ++i)
    picture.set_node(text_node(fmt::format("n{:03} topology.kubernetes.io/zone={}", i, i < 100 ? "x" : "y")));
  Profile profile;
  profile.percentage_of_nodes_to_score = 50;
  const Choice first = choose(text_ask(""), "", picture, profile, 0);
  EXPECT_EQ(first.looked_at, 100u);
  // Zones in turn: half of each.
  EXPECT_EQ(picture.order()[1]->name, "n100");
  const Choice again = choose(text_ask(""), "", picture, profile, 0);
  EXPECT_EQ(first.node, again.node);
  EXPECT_GE(choose(text_ask(""), "", picture, profile, 100).node.substr(1, 3), "050");
}

}  // namespace
}  // namespace master::scheduler
