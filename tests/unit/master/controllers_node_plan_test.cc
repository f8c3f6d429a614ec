#include "master/controllers/node_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

static Node node(const char* ready, std::vector<Taint> taints = {}) {
  Node out;
  out.meta.name = "n1";
  out.pod_cidr = "10.244.0.0/24";
  out.taints = std::move(taints);
  out.conditions = json::array{json::object{{"type", "Ready"}, {"status", ready}}};
  return out;
}

TEST(NodePlan, AHealthyNodeIsLeftAlone) {
  EXPECT_EQ(plan_node(node("True"), false, true, "", kNow).text(), "");
}
TEST(NodePlan, SilenceIsUnknownAndUnreachable) {
  EXPECT_EQ(plan_node(node("True"), true, true, "", kNow).text(),
            "condition Ready=Unknown\ncondition MemoryPressure=Unknown\ncondition "
            "DiskPressure=Unknown\ncondition PIDPressure=Unknown\n"
            "taints node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute\nPods "
            "not ready\n");
}
TEST(NodePlan, NotReadyTaintsAndOthersStay) {
  EXPECT_EQ(plan_node(node("False", {{"dedicated", "x", "NoSchedule", ""},
                                     {"node.kubernetes.io/unreachable", "", "NoExecute", ""}}),
                      false, true, "", kNow)
                .text(),
            "taints dedicated:NoSchedule node.kubernetes.io/not-ready:NoSchedule "
            "node.kubernetes.io/not-ready:NoExecute\n");
}
TEST(NodePlan, NobodyIsEvictedWhenAllAreSilent) {
  EXPECT_EQ(plan_node(node("Unknown"), true, false, "", kNow).text(),
            "condition Ready=Unknown\ncondition MemoryPressure=Unknown\ncondition "
            "DiskPressure=Unknown\ncondition PIDPressure=Unknown\n"
            "taints node.kubernetes.io/unreachable:NoSchedule\n");
}
TEST(NodePlan, CordonAndCidr) {
  Node fresh = node("True");
  fresh.pod_cidr.clear();
  fresh.unschedulable = true;
  EXPECT_EQ(plan_node(fresh, false, true, "10.244.7.0/24", kNow).text(),
            "taints node.kubernetes.io/unschedulable:NoSchedule\npodCIDR 10.244.7.0/24\n");
}
TEST(NodePlan, CidrsAreCutInOrderAndRunOut) {
  EXPECT_EQ(allocate_cidr("10.244.0.0/16", 24, {}), "10.244.0.0/24");
  EXPECT_EQ(allocate_cidr("10.244.0.0/16", 24, {"10.244.0.0/24", "10.244.2.0/24"}), "10.244.1.0/24");
  EXPECT_EQ(allocate_cidr("10.244.0.0/23", 24, {"10.244.0.0/24", "10.244.1.0/24"}), "");
  EXPECT_EQ(allocate_cidr("10.244.9.0/16", 24, {}), "10.244.0.0/24");
  EXPECT_EQ(allocate_cidr("nonsense", 24, {}), "");
  EXPECT_EQ(allocate_cidr("10.0.0.0/8", 40, {}), "");
}
TEST(NodePlan, EvictionKeepsTheToleratedTime) {
  Taint taint{"node.kubernetes.io/unreachable", "", "NoExecute", base::format_time(ago(100))};
  auto in = [&](std::vector<Toleration> tolerations) {
    auto when = eviction_time(tolerations, {taint}, kNow);
    return when ? fmt::format("{}", std::chrono::duration_cast<std::chrono::seconds>(*when - kNow).count())
                : "never";
  };
  EXPECT_EQ(in({}), "0");
  EXPECT_EQ(in({{taint.key, "Exists", "", "NoExecute", 300}}), "200");
  EXPECT_EQ(in({{"", "Exists", "", "", {}}}), "never");
  EXPECT_EQ(in({{taint.key, "Equal", "other", "NoExecute", {}}}), "0");
  EXPECT_EQ(in({{taint.key, "Exists", "", "NoExecute", 300}, {taint.key, "Exists", "", "NoExecute", 50}}),
            "-50");
}

}  // namespace master::controllers
