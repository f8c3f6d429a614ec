#include "master/scheduler/preemption_plan.h"

#include "tests/unit/master/scheduler_text.h"

namespace master::scheduler {
namespace {

std::string preempt(const Ask& ask, const Picture& picture) {
  const Choice choice = choose(ask, "default/p", picture, {});
  EXPECT_EQ(choice.node, "");
  return text(plan_preemption(ask, "default/p", picture, {}, choice));
}

TEST(PreemptionPlan, AsFewAndAsUnimportantAsDo) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b"));
  put(picture, "default/a1", "a", text_ask(cpu_spec("2", 5)));
  put(picture, "default/a2", "a", text_ask(cpu_spec("2", 1)));
  put(picture, "default/b1", "b", text_ask(cpu_spec("1", 2)));
  put(picture, "default/b2", "b", text_ask(cpu_spec("1", 2)));
  put(picture, "default/b3", "b", text_ask(cpu_spec("2", 2)));
  EXPECT_EQ(preempt(text_ask(cpu_spec("2", 10)), picture), "nominate a\nevict default/a2\n");
  EXPECT_EQ(preempt(text_ask(cpu_spec("4", 10)), picture),
            "nominate b\nevict default/b1\nevict default/b2\nevict default/b3\n");
  EXPECT_EQ(preempt(text_ask(cpu_spec("2", 2)), picture), "nominate a\nevict default/a2\n");
  EXPECT_EQ(preempt(text_ask(cpu_spec("3", 2)), picture),
            "preemption: 0/2 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for "
            "incoming pod.\n");
}
TEST(PreemptionPlan, TheYoungestOfEquals) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b"));
  put(picture, "default/old", "a", text_ask(cpu_spec("4", 1)), 10);
  put(picture, "default/young", "b", text_ask(cpu_spec("2", 1)), 20);
  put(picture, "default/younger", "b", text_ask(cpu_spec("2", 1)), 30);
  EXPECT_EQ(preempt(text_ask(cpu_spec("1", 2)), picture), "nominate b\nevict default/younger\n");
}
TEST(PreemptionPlan, BudgetsAreSparedWhereTheyCanBe) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b"));
  put(picture, "default/a1", "a", text_ask(cpu_spec("4", 1), "app=kept"));
  put(picture, "default/b1", "b", text_ask(cpu_spec("4", 8), "app=free"));
  picture.set_budget(
      "default/x",
      read_budget(
          base::parse_json(
              R"({"metadata":{"namespace":"default","name":"x"},"spec":{"selector":{"matchLabels":{"app":"kept"}}},
          "status":{"disruptionsAllowed":0}})")
              .value()));
  EXPECT_EQ(preempt(text_ask(cpu_spec("4", 10)), picture), "nominate b\nevict default/b1\n");
  EXPECT_EQ(preempt(text_ask(cpu_spec("4", 8)), picture), "nominate a\nviolates 1\nevict default/a1\n");
  // Two Pods of one budget that lets one go.
  Picture one;
  one.set_node(text_node("a"));
  put(one, "default/a1", "a", text_ask(cpu_spec("2", 1), "app=kept"), 1);
  put(one, "default/a2", "a", text_ask(cpu_spec("2", 1), "app=kept"), 2);
  one.set_budget("default/x", {"default", api::parse_selector("app=kept").value(), 1, {}});
  EXPECT_EQ(preempt(text_ask(cpu_spec("2", 10)), one), "nominate a\nevict default/a1\n");
  EXPECT_EQ(preempt(text_ask(cpu_spec("4", 10)), one),
            "nominate a\nviolates 1\nevict default/a1\nevict default/a2\n");
  one.set_budget("default/x", {"default", api::parse_selector("app=kept").value(), 1, {"a1"}});
  EXPECT_EQ(preempt(text_ask(cpu_spec("4", 10)), one), "nominate a\nevict default/a1\nevict default/a2\n");
}
TEST(PreemptionPlan, WhyNobodyGoes) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b", R"("unschedulable":true)"));
  picture.set_node(text_node("c"));
  put(picture, "default/c1", "c", text_ask(cpu_spec("4", 100)));
  put(picture, "default/a1", "a", text_ask(cpu_spec("4", 10)));
  EXPECT_EQ(preempt(text_ask(cpu_spec("4", 10)), picture),
            "preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No "
            "preemption victims "
            "found for incoming pod.\n");
  EXPECT_EQ(preempt(text_ask(cpu_spec("5", 1000)), picture),
            "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.\n");
  EXPECT_EQ(preempt(text_ask(cpu_spec("4", 1000) + R"(,"preemptionPolicy":"Never")"), picture),
            "preemption: not eligible due to preemptionPolicy=Never. (nomination stands)\n");
}
TEST(PreemptionPlan, WaitsForThoseWhoAreOnTheirWay) {
  Picture picture;
  picture.set_node(text_node("a"));
  Placed victim;
  victim.ask = picture.share(text_ask(cpu_spec("4", 1)));
  victim.node = "a";
  victim.terminating = true;
  picture.place("default/v", victim);
  const Ask ask = text_ask(cpu_spec("4", 10));
  EXPECT_EQ(preempt(ask, picture), "nominate a\nawait default/v\n");
  victim.preempted = true;
  picture.place("default/v", victim);
  picture.nominate("default/p", {picture.share(ask), "a"});
  EXPECT_EQ(preempt(ask, picture),
            "preemption: not eligible due to a terminating pod on the nominated node. (nomination stands)\n");
  // A node that no longer suits it is none to wait for.
  picture.set_node(text_node("a", R"("unschedulable":true)"));
  picture.set_node(text_node("b"));
  put(picture, "default/w", "b", text_ask(cpu_spec("4", 2)));
  EXPECT_EQ(preempt(ask, picture), "nominate b\nevict default/w\n");
}
TEST(PreemptionPlan, WhatIsPromisedIsKeptFromTheLessImportant) {
  Picture picture;
  picture.set_node(text_node("a"));
  picture.nominate("default/first", {picture.share(text_ask(cpu_spec("3", 5))), "a"});
  EXPECT_EQ(decide(text_ask(cpu_spec("2", 4)), picture), "0/1 nodes are available: 1 Insufficient cpu.");
  EXPECT_EQ(decide(text_ask(cpu_spec("2", 5)), picture), "0/1 nodes are available: 1 Insufficient cpu.");
  EXPECT_EQ(decide(text_ask(cpu_spec("2", 6)), picture), "a") << "more important than who was promised";
  EXPECT_EQ(decide(text_ask(cpu_spec("1", 0)), picture), "a") << "there is room for both";
  // Terms of Pods that are not there yet hold, too.
  picture.nominate("default/first",
                   {picture.share(text_ask(cpu_spec("1", 5) + R"(,"affinity":{"podAntiAffinity":{
      "requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"web"}},
      "topologyKey":"kubernetes.io/hostname"}]}})",
                                           "app=first")),
                    "a"});
  EXPECT_EQ(decide(text_ask(cpu_spec("1", 1)), picture),
            "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.");
  put(picture, "default/v", "a", text_ask(cpu_spec("4", 1), "app=v"));
  EXPECT_EQ(preempt(text_ask(cpu_spec("4", 9), "app=x"), picture),
            "nominate a\ndenominate default/first\nevict default/v\n");
}
TEST(PreemptionPlan, RulesBetweenPodsSeeWhoGoes) {
  Picture picture;
  picture.set_node(text_node("a zone=x"));
  picture.set_node(text_node("b zone=y"));
  const std::string apart =
      R"("priority":9,"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
      {"labelSelector":{"matchLabels":{"app":"web"}},"topologyKey":"zone"}]}})";
  put(picture, "default/1", "a", text_ask(R"("priority":3)", "app=web"));
  put(picture, "default/2", "b", text_ask(R"("priority":4)", "app=web"));
  EXPECT_EQ(preempt(text_ask(apart, "app=db"), picture), "nominate a\nevict default/1\n");
  const std::string even = R"("priority":9,"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone",
      "whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}}])";
  put(picture, "default/3", "a", text_ask(R"("priority":2)", "app=web"));
  picture.set_node(text_node("b zone=y", R"("unschedulable":true)"));
  EXPECT_EQ(preempt(text_ask(even, "app=web"), picture), "nominate a\nevict default/3\n");
}

}  // namespace
}  // namespace master::scheduler
