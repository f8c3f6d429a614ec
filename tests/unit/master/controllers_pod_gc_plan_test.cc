#include "master/controllers/pod_gc_plan.h"

#include "master/controllers/node_zones.h"
#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

static std::string judged(const std::string& line, const Node* node = nullptr, bool gone = false) {
  const PodVerdict verdict = judge_pod(*pod(line), node, gone);
  const char* words[] = {"stays", "fails", "goes"};
  return words[static_cast<int>(verdict.what)] +
         (verdict.disruption.empty() ? "" : " because " + verdict.disruption);
}
static Node node(const char* ready, std::vector<Taint> taints) {
  Node out;
  out.taints = std::move(taints);
  out.conditions = json::array{json::object{{"type", "Ready"}, {"status", ready}}};
  return out;
}

TEST(PodGcPlan, WhatWasDeletedBeforeItHadANodeFailed) {
  EXPECT_EQ(judged("a phase=Pending"), "stays");
  EXPECT_EQ(judged("a phase=Pending deleting"), "fails");
  EXPECT_EQ(judged("a phase=Failed deleting"), "stays") << "said already";
}
TEST(PodGcPlan, PodsOfAMissingNodeGo) {
  EXPECT_EQ(judged("a node=n1"), "stays") << "a cache that lacks the node proves nothing";
  EXPECT_EQ(judged("a node=n1", nullptr, true), "goes because PodGC: node no longer exists");
}
TEST(PodGcPlan, OutOfServiceIsBelievedOfANodeThatIsNotReady) {
  const Taint declared{"node.kubernetes.io/out-of-service", "nodeshutdown", "NoExecute", ""};
  const Node off = node("Unknown", {declared}), on = node("True", {declared}), silent = node("Unknown", {});
  EXPECT_EQ(judged("a node=n1 deleting", &off), "goes");
  EXPECT_EQ(judged("a node=n1", &off), "stays") << "until it is deleted";
  EXPECT_EQ(judged("a node=n1 deleting", &on), "stays");
  EXPECT_EQ(judged("a node=n1 deleting", &silent), "stays") << "its containers may run on";
}
TEST(PodGcPlan, EvictedPodsGoFirstThenTheOldest) {
  const std::set<FinishedPod> finished{
      {true, ago(50), "young"}, {true, ago(90), "old"}, {false, ago(10), "evicted"}};
  auto keys = [&](size_t threshold, size_t limit) {
    std::string out;
    for (const std::string& key : surplus_pods(finished, threshold, limit)) out += key + " ";
    return out;
  };
  EXPECT_EQ(keys(3, 10), "");
  EXPECT_EQ(keys(2, 10), "evicted ");
  EXPECT_EQ(keys(0, 10), "evicted old young ");
  EXPECT_EQ(keys(0, 2), "evicted old ");
}

static std::string interval(size_t ready, size_t not_ready, bool all_failed = false) {
  auto every = eviction_interval({ready, not_ready}, all_failed);
  return every ? fmt::format("{}s", std::chrono::duration_cast<std::chrono::seconds>(*every).count())
               : "never";
}
TEST(NodeZones, ANodeIn10SecondsWhileMostOfTheZoneLives) {
  EXPECT_EQ(interval(9, 1), "10s");
  EXPECT_EQ(interval(0, 1), "10s") << "of a zone that is dead as a whole, among others";
  EXPECT_EQ(interval(1, 2), "10s") << "two are no catastrophe, whatever their part";
  EXPECT_EQ(interval(46, 54), "10s");
}
TEST(NodeZones, FewOrNoneWhereMuchFailsAtOnce) {
  EXPECT_EQ(interval(45, 55), "100s") << "more than 50 nodes";
  EXPECT_EQ(interval(2, 3), "never") << "a small zone";
  EXPECT_EQ(interval(22, 28), "never");
}
TEST(NodeZones, NoneWhenNobodyAnswers) {
  EXPECT_EQ(interval(0, 3, true), "never");
  EXPECT_EQ(interval(0, 1, true), "never");
}

}  // namespace master::controllers
