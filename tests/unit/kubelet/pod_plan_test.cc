// The planner where a story does not get: values put before it by hand.
#include "tests/unit/kubelet/pod_story.h"

namespace kubelet {
namespace {

constexpr const char* kOne = R"({"restartPolicy":"Always","containers":[{"name":"web","image":"nginx:1"}]})";

TEST(PodPlan, BackOffDoublesToFiveMinutesAndIsForgotten) {
  PlanStory story(kOne);
  story.tell("");
  ContainerSeen& web = story.seen().containers["web"];
  web.run = Run::kExited;
  web.prepared = Step::kDone;
  web.prepared_attempt = 1;
  const Time t = *base::parse_time("2026-01-01T01:00:00Z");
  web.exit.finished_at = t;
  web.backoff = std::chrono::seconds(160);
  web.backoff_at = t - std::chrono::minutes(4);
  auto next = [&](Time now) {
    auto plan = plan_pod(story.pod(), story.seen(), {}, now);
    return plan.actions.empty() ? Duration{} : plan.actions[0].backoff;
  };
  EXPECT_EQ(next(t + seconds(159)), Duration{});
  EXPECT_EQ(next(t + seconds(160)), Duration(kBackoffMax));
  web.backoff_at = t - std::chrono::minutes(11);
  EXPECT_EQ(next(t), Duration(kBackoffFirst));
}

TEST(PodPlan, EveryWaitingContainerOfAPodWithInitContainersIsInitializing) {
  PlanStory story(
      R"({"initContainers":[{"name":"one","image":"x:1"}],"containers":[{"name":"web","image":"x:1"}]})");
  story.seen().network_ready = false;
  EXPECT_EQ(story.tell("show\n"),
            "> show\n  Pending Initialized=False Ready=False\n  one waiting PodInitializing restarts=0\n  "
            "web waiting PodInitializing restarts=0\n");
}

TEST(PodPlan, AStubbornTerminatingPodIsReady) {
  PlanStory story(kOne);
  story.tell("stubborn web\ndelete 30\n");
  for (const auto& c : story.status().conditions)
    if (c.type == "Ready") {
      EXPECT_EQ(c.status, "True");
    }
}

TEST(PodPlan, APreStopHookThatAKilledKubeletRanIsRunAgain) {
  const char* spec =
      R"({"containers":[{"name":"web","image":"x:1","lifecycle":{"preStop":{"exec":{"command":["b"]}}}}]})";
  PlanStory story(spec);
  story.tell("delete 30\nat 4\n");
  story.seen().containers["web"].pre_stop = Step::kNone;  // what recover() makes of kBusy
  std::string told = story.tell("at 5\nhook-done web\n");
  EXPECT_NE(told.find("4s pre-stop web grace 30 (Stopping container web)\n> at 5\n> hook-done web\n5s signal "
                      "web SIGTERM"),
            std::string::npos)
      << told;
}

TEST(PodPlan, ASandboxThatCantBeStoppedIsAskedAgain) {
  PlanStory story(kOne);
  story.tell("");
  story.seen().containers["web"].run = Run::kExited;
  story.pod().metadata.deletion_timestamp = "2026-01-01T00:00:00Z";
  story.seen().sandbox.stop_retry_at = *base::parse_time("2026-01-01T00:00:08Z");
  auto plan = plan_pod(story.pod(), story.seen(), {}, *base::parse_time("2026-01-01T00:00:01Z"));
  EXPECT_TRUE(plan.actions.empty());
  EXPECT_EQ(plan.wake, story.seen().sandbox.stop_retry_at);
  plan = plan_pod(story.pod(), story.seen(), {}, *base::parse_time("2026-01-01T00:00:08Z"));
  ASSERT_EQ(plan.actions.size(), 1u);
  EXPECT_EQ(plan.actions[0].text(), "stop-sandbox");
}

TEST(PodPlan, ASandboxWithAnAddressOfAnotherRangeIsReplaced) {
  PlanStory story(kOne);
  story.tell("");
  story.seen().sandbox.stale = true;
  auto plan = plan_pod(story.pod(), story.seen(), {}, *base::parse_time("2026-01-01T00:00:01Z"));
  ASSERT_EQ(plan.actions.size(), 1u);
  EXPECT_EQ(plan.actions[0].text(), "stop-sandbox");
}

TEST(PodPlan, TerminationMessagesShareTwelveKibibytes) {
  PlanStory story(
      R"({"restartPolicy":"Never","containers":[{"name":"a","image":"x:1"},{"name":"b","image":"x:1"},{"name":"c","image":"x:1"},{"name":"d","image":"x:1"}]})");
  story.tell("exit a 1\n");
  story.seen().containers["a"].exit.message = std::string(4000, 'm');
  EXPECT_EQ(story.status().container_statuses[0].state->terminated->message.size(), 3072u);
}

TEST(PodPlan, WaitsForTheNodesNetwork) {
  PlanStory story(kOne);
  story.seen().network_ready = false;
  EXPECT_EQ(story.tell("show\n"),
            "> show\n  Pending Initialized=True Ready=False\n  web waiting ContainerCreating restarts=0\n");
}

TEST(PodPlan, ReadinessGatesAndForeignConditionsAreKept) {
  const char* spec =
      R"({"readinessGates":[{"conditionType":"x/y"}],"containers":[{"name":"web","image":"x:1"}]})";
  PlanStory story(spec);
  story.tell("");
  auto ready = [&] {
    for (const auto& c : story.status().conditions)
      if (c.type == "Ready") return c.status + " " + c.reason;
    return std::string();
  };
  EXPECT_EQ(ready(), "False ReadinessGatesNotReady");
  story.pod().status->conditions.push_back({.last_probe_time = "",
                                            .last_transition_time = "",
                                            .message = "",
                                            .observed_generation = {},
                                            .reason = "",
                                            .status = "True",
                                            .type = "x/y"});
  EXPECT_EQ(ready(), "True ");
}

TEST(PodRecord, ComesBackAsItWas) {
  PlanStory story(
      R"({"restartPolicy":"Always","containers":[{"name":"web","image":"x:1","readinessProbe":{"tcpSocket":{"port":1}}}]})");
  story.tell("probe web readiness ok\nexit web 1\n");
  auto text = base::to_json(encode_record(story.seen()));
  auto back = decode_record(*base::parse_json(text));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(base::to_json(encode_record(*back)), text);
  EXPECT_FALSE(decode_record(*base::parse_json("[]")).ok());
}

TEST(PodStatus, WhyAContainerHasNoLog) {
  auto text = [](const std::string& state) {
    auto status =
        api::decode_text<api::PodStatus>(R"({"containerStatuses":[{"name":"c","state":)" + state + "}]}");
    EXPECT_TRUE(status.ok());
    return no_log_text(*status, "p", "c");
  };
  EXPECT_EQ(text(R"({"waiting":{"reason":"ImagePullBackOff"}})"),
            "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image");
  EXPECT_EQ(text(R"({"waiting":{"reason":"ErrImagePull"}})"),
            "container \"c\" in pod \"p\" is waiting to start: image can't be pulled");
  EXPECT_EQ(text(R"({"waiting":{"reason":"ContainerCreating"}})"),
            "container \"c\" in pod \"p\" is waiting to start: ContainerCreating");
  EXPECT_EQ(text("{}"), "container \"c\" in pod \"p\" is waiting to start - no logs yet");
}

}  // namespace
}  // namespace kubelet
