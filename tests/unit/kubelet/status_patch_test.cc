// What a status patch says, and that nothing is sent twice; that it does what it says with the real
// strategic merge is tests/prop/kubelet/status_patch_test.cc.
#include "kubelet/pod/status_patch.h"

#include <gtest/gtest.h>

#include "api/types.h"

namespace kubelet {
namespace {

base::json::value parse(const std::string& text) { return *base::parse_json(text); }
std::string patch(const std::string& have, const std::string& want) {
  return base::to_json(status_patch(api::type_of<api::PodStatus>(), parse(have), parse(want)));
}

TEST(StatusPatch, ReplacesAddresses) {
  EXPECT_EQ(patch(R"({"podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}],"hostIPs":[{"ip":"192.0.2.1"}]})",
                  R"({"podIP":"10.0.0.2","podIPs":[{"ip":"10.0.0.2"}],"hostIPs":[{"ip":"192.0.2.1"}]})"),
            R"({"podIP":"10.0.0.2","podIPs":[{"$patch":"replace"},{"ip":"10.0.0.2"}]})");
  EXPECT_EQ(patch(R"({"podIPs":[{"ip":"10.0.0.1"}]})", "{}"), R"({"podIPs":null})");
}

TEST(StatusPatch, MergesConditions) {
  EXPECT_EQ(
      patch(
          R"({"conditions":[{"type":"a/b","status":"True"},{"type":"Ready","status":"False","reason":"X"}]})",
          R"({"conditions":[{"type":"a/b","status":"True"},{"type":"Ready","status":"True"}]})"),
      R"({"$setElementOrder/conditions":[{"type":"a/b"},{"type":"Ready"}],)"
      R"("conditions":[{"type":"Ready","status":"True","reason":null}]})");
}

TEST(StatusPatch, SaysOnlyWhatDiffers) {
  const char* both =
      R"({"phase":"Running","containerStatuses":[{"name":"a"}],"resources":{"limits":{"cpu":"1"}}})";
  EXPECT_EQ(patch(both, both), "{}");
  EXPECT_EQ(
      patch(
          both,
          R"({"phase":"Running","containerStatuses":[{"name":"a"}],"resources":{"limits":{"memory":"1"}}})"),
      R"({"resources":{"limits":{"cpu":null,"memory":"1"}}})");
  EXPECT_EQ(patch("null", R"({"phase":"Running"})"), R"({"phase":"Running"})");
}

TEST(StatusPlan, WhatLiesInBetweenIsToldIfItLasts) {
  using std::chrono::milliseconds;
  const base::Time t = *base::parse_time("2026-01-01T00:00:00Z");
  auto plan = [&](const StatusSeen& seen, bool in_motion, int ms) -> std::string {
    const StatusStep step = plan_status(seen, in_motion, t + milliseconds(ms));
    if (step.send) return "send";
    return step.wake ? "at " + std::to_string((*step.wake - t) / milliseconds(1)) : "rest";
  };
  EXPECT_EQ(plan({}, true, 5), "rest");
  EXPECT_EQ(plan({.since = t}, false, 5), "send");
  EXPECT_EQ(plan({.since = t}, true, 5), "at 30");
  EXPECT_EQ(plan({.since = t}, true, 30), "send");
  EXPECT_EQ(plan({.in_flight = true, .since = t}, false, 50), "rest");
  EXPECT_EQ(plan({.since = t, .retry_at = t + milliseconds(200)}, false, 50), "at 200");
  EXPECT_EQ(plan({.since = t + milliseconds(3600000)}, true, 0), "at 30") << "a clock that was set back";
}

TEST(StatusSent, WhatTheApiDoesNotTakeIsNotSentForEver) {
  StatusSent sent;
  const auto want = parse(
      R"({"phase":"Running","conditions":[{"type":"Ready","lastTransitionTime":"2026-01-01T00:00:00Z"}]})");
  const auto later = parse(
      R"({"phase":"Running","conditions":[{"type":"Ready","lastTransitionTime":"2026-01-01T00:00:07Z"}]})");
  const auto answer = parse(R"({"phase":"Pending"})");
  EXPECT_FALSE(sent.settled(answer, want));
  sent.answered(want, answer);
  EXPECT_TRUE(sent.settled(answer, want));
  EXPECT_TRUE(sent.settled(answer, later)) << "only a time that was taken from the answer";
  EXPECT_FALSE(sent.settled(parse(R"({"phase":"Failed"})"), want)) << "somebody changed it since";
  EXPECT_FALSE(sent.settled(answer, parse(R"({"phase":"Failed"})"))) << "something else is wanted";
}

}  // namespace
}  // namespace kubelet
