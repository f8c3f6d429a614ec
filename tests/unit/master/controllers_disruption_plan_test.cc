#include "master/controllers/disruption_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

static std::shared_ptr<DisruptionBudget> budget(const char* min_available, const char* max_unavailable,
                                                const char* status = "null") {
  auto out = std::make_shared<DisruptionBudget>();
  out->meta = {"default", "web", "b1", 5, 3, ago(500), false};
  out->min_available = base::parse_json(min_available).value();
  out->max_unavailable = base::parse_json(max_unavailable).value();
  out->status = base::parse_json(status).value();
  return out;
}
static const char* kThree = "a owner=u1 ready=10\nb owner=u1 ready=10\nc owner=u1 ready=10";
static std::string plan(std::shared_ptr<DisruptionBudget> of, const std::string& pod_lines,
                        std::map<std::string, int64_t> sizes = {{"u1", 3}}) {
  return plan_budget({of, pods(pod_lines), std::move(sizes)}, kNow).text();
}

TEST(DisruptionPlan, ANumberOfAvailablePods) {
  EXPECT_EQ(plan(budget("2", "null"), kThree), "status healthy=3/2 allowed=1 expected=3\n");
  EXPECT_EQ(plan(budget("3", "null"), kThree), "status healthy=3/3 allowed=0 expected=3\n");
  EXPECT_EQ(plan(budget("5", "null"), kThree), "status healthy=3/5 allowed=0 expected=3\n");
  EXPECT_EQ(plan(budget("0", "null"), ""), "status healthy=0/0 allowed=0 expected=0\n")
      << "of nothing nothing may go";
  EXPECT_EQ(plan(budget("1", "null"), "a ready=10\nb", {}), "status healthy=1/1 allowed=0 expected=2\n")
      << "needs no owner";
}
TEST(DisruptionPlan, PercentagesAndUnavailablePodsAreOfTheOwnersSize) {
  EXPECT_EQ(plan(budget("\"50%\"", "null"), kThree), "status healthy=3/2 allowed=1 expected=3\n");
  EXPECT_EQ(plan(budget("null", "\"50%\""), kThree), "status healthy=3/1 allowed=2 expected=3\n")
      << "rounded up";
  EXPECT_EQ(plan(budget("null", "1"), kThree, {{"u1", 5}}), "status healthy=3/4 allowed=0 expected=5\n")
      << "two of five are missing already";
  EXPECT_EQ(plan(budget("null", "9"), kThree), "status healthy=3/0 allowed=3 expected=3\n");
  EXPECT_EQ(plan(budget("null", "1"), "a owner=u1 ready=10\nb owner=u2 ready=10", {{"u1", 1}, {"u2", 1}}),
            "status healthy=2/1 allowed=1 expected=2\n");
}
TEST(DisruptionPlan, WhatIsNotReadyOrEndingIsNotHealthy) {
  EXPECT_EQ(plan(budget("1", "null"), "a owner=u1 ready=10\nb owner=u1\nc owner=u1 ready=10 deleting"),
            "status healthy=1/1 allowed=0 expected=3\n");
}
TEST(DisruptionPlan, WithoutAControllerNothingCanBeCounted) {
  EXPECT_EQ(plan(budget("null", "1"), "a owner=gone ready=10"),
            "fail found no controllers for pod \"a\"\nstatus healthy=0/0 allowed=0 expected=0\n");
  EXPECT_EQ(plan(budget("null", "1"), "a ready=10\nb owner=u1 ready=10", {{"u1", 1}}),
            "event UnmanagedPods\nstatus healthy=2/0 allowed=2 expected=1\n");
  EXPECT_EQ(plan(budget("null", "\"99999999999999999999%\""), kThree),
            "fail invalid value for IntOrString: \"99999999999999999999%\"\nstatus healthy=0/0 allowed=0 "
            "expected=0\n");
  // What could be counted before stays to be seen.
  EXPECT_EQ(plan(budget("null", "1",
                        R"({"currentHealthy":4,"desiredHealthy":3,"disruptionsAllowed":1,"expectedPods":4})"),
                 "a owner=gone"),
            "fail found no controllers for pod \"a\"\nstatus healthy=4/3 allowed=0 expected=4\n");
}
TEST(DisruptionPlan, AGrantedEvictionHoldsItsPlace) {
  auto granted = [&](int seconds) {
    return budget("1", "null",
                  fmt::format(R"({{"disruptedPods":{{"a":"{}","gone":"{}"}}}})",
                              base::format_time(ago(seconds)), base::format_time(ago(1)))
                      .c_str());
  };
  EXPECT_EQ(plan(granted(30), kThree), "status healthy=2/1 allowed=1 expected=3 granted=a\nagain in 90s\n");
  EXPECT_EQ(plan(granted(30), "a owner=u1 ready=10 deleting\nb owner=u1 ready=10"),
            "status healthy=1/1 allowed=0 expected=2\n")
      << "it goes: seen by itself";
  EXPECT_EQ(plan(granted(121), kThree), "event NotDeleted a\nstatus healthy=3/1 allowed=2 expected=3\n");
}
TEST(DisruptionPlan, WhatStandsIsNotWrittenAgain) {
  auto of = budget("2", "null");
  BudgetPlan first = plan_budget({of, pods(kThree), {}}, kNow);
  EXPECT_TRUE(first.changed);
  EXPECT_EQ(
      base::to_json(first.status.at("conditions")),
      R"([{"type":"DisruptionAllowed","status":"True","reason":"SufficientPods","message":"","lastTransitionTime":")" +
          base::format_time(kNow) + R"(","observedGeneration":3}])");
  of->status = first.status;
  EXPECT_FALSE(plan_budget({of, pods(kThree), {}}, kNow + std::chrono::hours(1)).changed);
}

}  // namespace master::controllers
