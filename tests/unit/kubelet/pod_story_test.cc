// The life of a Pod, told by the planner and by the worker alike.
#include "tests/unit/kubelet/pod_story.h"

namespace kubelet {
namespace {

template <typename T>
class PodStory : public testing::Test {};
using Tellers = testing::Types<PlanStory, WorkerStory>;
TYPED_TEST_SUITE(PodStory, Tellers);

constexpr const char* kOne = R"({"restartPolicy":"Always","containers":[{"name":"web","image":"nginx:1"}]})";

TYPED_TEST(PodStory, StartsAndIsDeleted) {
  EXPECT_EQ(TypeParam(kOne).tell("show\ndelete 30\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s prepare web attempt 0\n0s start web "
            "attempt 0\n"
            "> show\n  Running Initialized=True Ready=True\n  web running restarts=0 ready\n"
            "> delete 30\n0s signal web SIGTERM grace 30 (Stopping container web)\n0s stop-sandbox\n"
            "0s unmount-volumes\n0s delete-pod\nfinished\n"
            "> show\n  Succeeded Initialized=True Ready=False\n  web terminated Completed restarts=0\n");
}

TYPED_TEST(PodStory, RestartsWithBackOff) {
  EXPECT_EQ(TypeParam(kOne).tell("at 1\nexit web 1\nat 2\nexit web 1\nshow\nat 15\nexit web 1\nat 60\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s prepare web attempt 0\n"
            "0s start web attempt 0\n> at 1\n> exit web 1\n1s prepare web attempt 1\n"
            "1s start web attempt 1\n1s remove web attempt 0\n> at 2\n> exit web 1\n"
            "2s remove web attempt 1\n> show\n  Running Initialized=True Ready=False\n"
            "  web waiting CrashLoopBackOff restarts=1\n> at 15\n12s prepare web attempt 2\n"
            "12s start web attempt 2\n> exit web 1\n15s remove web attempt 2\n> at 60\n"
            "35s prepare web attempt 3\n35s start web attempt 3\n");
}

TYPED_TEST(PodStory, NeverEndsFailedOrSucceeded) {
  const char* spec =
      R"({"restartPolicy":"Never","containers":[{"name":"a","image":"x:1"},{"name":"b","image":"x:1"}]})";
  EXPECT_EQ(TypeParam(spec).tell("exit a 0\nshow\nexit b 3\nshow\nat 1000\ndelete 30\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s pull x:1\n0s prepare a attempt 0\n"
            "0s prepare b attempt 0\n0s start a attempt 0\n0s start b attempt 0\n> exit a 0\n"
            "0s remove a attempt 0\n> show\n  Running Initialized=True Ready=False\n"
            "  a terminated Completed restarts=0\n  b running restarts=0 ready\n> exit b 3\n"
            "0s stop-sandbox\n0s unmount-volumes\n> show\n  Failed Initialized=True Ready=False\n"
            "  a terminated Completed restarts=0\n  b terminated Error restarts=0\n> at 1000\n> delete 30\n"
            "1000s delete-pod\nfinished\n");
}

TYPED_TEST(PodStory, OnFailureRestartsOnlyFailures) {
  const char* spec = R"({"restartPolicy":"OnFailure","containers":[{"name":"job","image":"x:1"}]})";
  EXPECT_EQ(TypeParam(spec).tell("exit job 1\nexit job 0\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare job attempt 0\n"
            "0s start job attempt 0\n> exit job 1\n0s prepare job attempt 1\n0s start job attempt 1\n"
            "0s remove job attempt 0\n> exit job 0\n0s stop-sandbox\n0s unmount-volumes\n> show\n"
            "  Succeeded Initialized=True Ready=False\n  job terminated Completed restarts=1\n");
}

TYPED_TEST(PodStory, InitContainersRunInOrderAndSidecarsStay) {
  const char* spec = R"({"restartPolicy":"Always","initContainers":[
      {"name":"one","image":"x:1"},
      {"name":"side","image":"x:1","restartPolicy":"Always"},
      {"name":"two","image":"x:1"}],
      "containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(
      TypeParam(spec).tell("show\nexit one 1\nexit one 0\nshow\nexit two 0\nshow\nexit side 0\ndelete 30\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare one attempt 0\n"
      "0s start one attempt 0\n> show\n  Pending Initialized=False Ready=False\n"
      "  one running restarts=0\n  side waiting PodInitializing restarts=0\n"
      "  two waiting PodInitializing restarts=0\n  web waiting PodInitializing restarts=0\n"
      "> exit one 1\n0s prepare one attempt 1\n0s start one attempt 1\n0s remove one attempt 0\n"
      "> exit one 0\n0s remove one attempt 1\n0s pull x:1\n0s prepare side attempt 0\n"
      "0s start side attempt 0\n0s pull x:1\n0s prepare two attempt 0\n0s start two attempt 0\n"
      "> show\n  Pending Initialized=False Ready=False\n  one terminated Completed restarts=1 ready\n"
      "  side running restarts=0 ready\n  two running restarts=0\n"
      "  web waiting PodInitializing restarts=0\n> exit two 0\n0s remove two attempt 0\n0s pull x:1\n"
      "0s prepare web attempt 0\n0s start web attempt 0\n> show\n"
      "  Running Initialized=True Ready=True\n  one terminated Completed restarts=1 ready\n"
      "  side running restarts=0 ready\n  two terminated Completed restarts=0 ready\n"
      "  web running restarts=0 ready\n> exit side 0\n0s prepare side attempt 1\n"
      "0s start side attempt 1\n0s remove side attempt 0\n> delete 30\n"
      "0s signal web SIGTERM grace 30 (Stopping container web)\n"
      "0s signal side SIGTERM grace 30 (Stopping container side)\n0s stop-sandbox\n"
      "0s unmount-volumes\n0s delete-pod\nfinished\n");
}

TYPED_TEST(PodStory, InitFailureWithNeverFailsThePod) {
  const char* spec = R"({"restartPolicy":"Never","initContainers":[{"name":"one","image":"x:1"}],
      "containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(
      TypeParam(spec).tell("exit one 7\nshow\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare one attempt 0\n0s start one attempt 0\n"
      "> exit one 7\n0s stop-sandbox\n0s unmount-volumes\n"
      "> show\n  Failed Initialized=False Ready=False\n  one terminated Error restarts=0\n  web "
      "waiting PodInitializing restarts=0\n");
}

TYPED_TEST(PodStory, KillsAfterTheGracePeriod) {
  EXPECT_EQ(TypeParam(kOne).tell("stubborn web\ndelete 30\nat 29\nat 40\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s prepare web attempt 0\n0s start web "
            "attempt 0\n"
            "> stubborn web\n> delete 30\n0s signal web SIGTERM grace 30 (Stopping container web)\n"
            "> at 29\n> at 40\n30s kill web (Stopping container web)\n30s stop-sandbox\n30s "
            "unmount-volumes\n30s delete-pod\nfinished\n");
}

TYPED_TEST(PodStory, AShorterDeletionCutsTheGracePeriod) {
  EXPECT_EQ(TypeParam(kOne).tell("stubborn web\ndelete 30\nat 5\ndelete 8\nat 40\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s prepare web attempt 0\n0s start web "
            "attempt 0\n"
            "> stubborn web\n> delete 30\n0s signal web SIGTERM grace 30 (Stopping container web)\n"
            "> at 5\n> delete 8\n> at 40\n8s kill web (Stopping container web)\n8s stop-sandbox\n8s "
            "unmount-volumes\n8s delete-pod\nfinished\n");
}

TYPED_TEST(PodStory, HooksAroundTheContainer) {
  const char* spec = R"({"restartPolicy":"Always","containers":[{"name":"web","image":"x:1","lifecycle":{
      "postStart":{"exec":{"command":["a"]}},"preStop":{"exec":{"command":["b"]}}}},{"name":"next","image":"x:1"}]})";
  EXPECT_EQ(TypeParam(spec).tell("show\nhook-done web\nshow\ndelete 30\nat 10\nhook-done web\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare web attempt 0\n0s start web attempt "
            "0\n0s post-start web\n"
            "> show\n  Pending Initialized=True Ready=False\n  web waiting ContainerCreating restarts=0\n  "
            "next waiting ContainerCreating restarts=0\n"
            "> hook-done web\n0s pull x:1\n0s prepare next attempt 0\n0s start next attempt 0\n"
            "> show\n  Running Initialized=True Ready=True\n  web running restarts=0 ready\n  next running "
            "restarts=0 ready\n"
            "> delete 30\n0s pre-stop web grace 30 (Stopping container web)\n0s signal next SIGTERM grace 30 "
            "(Stopping container next)\n"
            "> at 10\n> hook-done web\n10s signal web SIGTERM grace 30 (Stopping container web)\n"
            "10s stop-sandbox\n10s unmount-volumes\n10s delete-pod\nfinished\n");
}

TYPED_TEST(PodStory, ASlowPreStopStillLeavesTwoSeconds) {
  const char* spec =
      R"({"containers":[{"name":"web","image":"x:1","lifecycle":{"preStop":{"exec":{"command":["b"]}}}}]})";
  EXPECT_EQ(
      TypeParam(spec).tell("stubborn web\ndelete 10\nat 100\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare web attempt 0\n0s start web attempt 0\n"
      "> stubborn web\n> delete 10\n0s pre-stop web grace 10 (Stopping container web)\n"
      "> at 100\n10s signal web SIGTERM grace 10 (Stopping container web)\n12s kill web (Stopping "
      "container web)\n"
      "12s stop-sandbox\n12s unmount-volumes\n12s delete-pod\nfinished\n");
}

TYPED_TEST(PodStory, AFailedPostStartRestartsTheContainer) {
  const char* spec =
      R"({"containers":[{"name":"web","image":"x:1","lifecycle":{"postStart":{"exec":{"command":["a"]}}}}]})";
  EXPECT_EQ(TypeParam(spec).tell("hook-fails web\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare web attempt 0\n"
            "0s start web attempt 0\n0s post-start web\n> hook-fails web\n"
            "0s signal web SIGTERM grace 30 (FailedPostStartHook)\n0s prepare web attempt 1\n"
            "0s start web attempt 1\n0s remove web attempt 0\n0s post-start web\n");
}

TYPED_TEST(PodStory, ProbesGateReadinessAndRestart) {
  const char* spec = R"({"containers":[{"name":"web","image":"x:1",
      "startupProbe":{"tcpSocket":{"port":80},"periodSeconds":1,"failureThreshold":3},
      "livenessProbe":{"tcpSocket":{"port":80},"periodSeconds":10,"failureThreshold":2,"terminationGracePeriodSeconds":5},
      "readinessProbe":{"tcpSocket":{"port":80},"initialDelaySeconds":2,"periodSeconds":5,"successThreshold":1}}]})";
  EXPECT_EQ(
      TypeParam(spec).tell("show\nprobe web startup fail\nat 1\nprobe web startup ok\nshow\nat 2\nprobe "
                           "web readiness ok\nshow\n"
                           "probe web liveness fail\nat 11\nprobe web liveness fail\nshow\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare web attempt 0\n"
      "0s start web attempt 0\n0s probe web startup\n> show\n  Running Initialized=True Ready=False\n"
      "  web running restarts=0\n> probe web startup fail\n> at 1\n1s probe web startup\n"
      "> probe web startup ok\n1s probe web liveness\n> show\n  Running Initialized=True Ready=False\n"
      "  web running restarts=0\n> at 2\n2s probe web readiness\n> probe web readiness ok\n> show\n"
      "  Running Initialized=True Ready=True\n  web running restarts=0 ready\n"
      "> probe web liveness fail\n> at 11\n7s probe web readiness\n11s probe web liveness\n"
      "> probe web liveness fail\n"
      "11s signal web SIGTERM grace 5 (Container web failed liveness probe, will be restarted)\n"
      "11s prepare web attempt 1\n11s start web attempt 1\n11s remove web attempt 0\n"
      "11s probe web startup\n> show\n  Running Initialized=True Ready=False\n"
      "  web running restarts=1\n");
}

TYPED_TEST(PodStory, AlwaysPullsForEachAttempt) {
  const char* spec = R"({"containers":[{"name":"web","image":"x"}]})";
  EXPECT_EQ(TypeParam(spec).tell("exit web 1\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x\n0s prepare web attempt 0\n"
            "0s start web attempt 0\n> exit web 1\n0s remove web attempt 0\n0s pull x\n"
            "0s prepare web attempt 1\n0s start web attempt 1\n");
}

TYPED_TEST(PodStory, ALostSandboxIsMadeAnewAndInitRunsAgain) {
  const char* spec =
      R"({"initContainers":[{"name":"one","image":"x:1"}],"containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(TypeParam(spec).tell("exit one 0\nlose-sandbox\nexit one 0\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare one attempt 0\n"
            "0s start one attempt 0\n> exit one 0\n0s remove one attempt 0\n0s pull x:1\n"
            "0s prepare web attempt 0\n0s start web attempt 0\n> lose-sandbox\n0s clean-sandbox\n"
            "0s prepare one attempt 1\n0s start-sandbox\n0s start one attempt 1\n> exit one 0\n"
            "0s remove one attempt 1\n0s prepare web attempt 1\n0s start web attempt 1\n> show\n"
            "  Running Initialized=True Ready=True\n  one terminated Completed restarts=1 ready\n"
            "  web running restarts=1 ready\n");
}

TYPED_TEST(PodStory, TheDeadlineFailsThePod) {
  const char* spec = R"({"activeDeadlineSeconds":5,"containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(
      TypeParam(spec).tell("at 6\nshow\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare web attempt 0\n0s start web attempt 0\n"
      "> at 6\n5s signal web SIGTERM grace 30 (Stopping container web)\n5s stop-sandbox\n5s unmount-volumes\n"
      "> show\n  Failed DeadlineExceeded Initialized=True Ready=False\n  web terminated Completed "
      "restarts=0\n");
}

TYPED_TEST(PodStory, TheDeadlineActsWhileAnInitContainerRuns) {
  const char* spec =
      R"({"activeDeadlineSeconds":5,"initContainers":[{"name":"one","image":"x:1"}],"containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(
      TypeParam(spec).tell("stubborn one\nshow\nat 6\nshow\nat 36\nshow\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s prepare one attempt 0\n0s start one attempt 0\n> "
      "stubborn one\n"
      "> show\n  Pending Initialized=False Ready=False\n  one running restarts=0\n  web waiting "
      "PodInitializing restarts=0\n"
      "> at 6\n5s signal one SIGTERM grace 30 (Stopping container one)\n"
      "> show\n  Pending Initialized=False Ready=False\n  one running restarts=0\n  web waiting "
      "PodInitializing restarts=0\n"
      "> at 36\n35s kill one (Stopping container one)\n35s stop-sandbox\n35s unmount-volumes\n"
      "> show\n  Failed DeadlineExceeded Initialized=False Ready=False\n  one terminated Error restarts=0\n"
      "  web waiting PodInitializing restarts=0\n");
}

TYPED_TEST(PodStory, GoneFromTheApiIsStoppedWithoutADelete) {
  EXPECT_EQ(TypeParam(kOne).tell("stubborn web\ngone\nat 3\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s prepare web attempt 0\n0s start web "
            "attempt 0\n> stubborn web\n"
            "> gone\n0s signal web SIGTERM grace 2 (Stopping container web)\n> at 3\n2s kill web (Stopping "
            "container web)\n"
            "2s stop-sandbox\n2s unmount-volumes\nfinished\n");
}

TYPED_TEST(PodStory, PullsBackOff) {
  TypeParam story(kOne);
  story.pulls_fail(true);
  EXPECT_EQ(
      story.tell("show\nat 3\nshow\nat 29\npull-works\nat 31\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n"
      "> show\n  Pending Initialized=True Ready=False\n  web waiting ErrImagePull restarts=0\n"
      "> at 3\n> show\n  Pending Initialized=True Ready=False\n  web waiting ImagePullBackOff restarts=0\n"
      "> at 29\n10s pull nginx:1\n> pull-works\n> at 31\n30s pull nginx:1\n30s prepare web attempt 0\n30s "
      "start web attempt 0\n");
}

TYPED_TEST(PodStory, ATerminatingPodIsReadyUntilItsProbeSaysNo) {
  const char* spec =
      R"({"containers":[{"name":"web","image":"x:1","readinessProbe":{"tcpSocket":{"port":80},"periodSeconds":5,"failureThreshold":2}},
      {"name":"plain","image":"x:1"}]})";
  EXPECT_EQ(TypeParam(spec).tell("probe web readiness ok\nstubborn web\ndelete 30\nshow\nat 5\nprobe web "
                                 "readiness fail\nat 10\nprobe web readiness fail\nshow\nat 31\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s pull x:1\n0s prepare web attempt 0\n"
            "0s prepare plain attempt 0\n0s start web attempt 0\n0s start plain attempt 0\n"
            "0s probe web readiness\n> probe web readiness ok\n> stubborn web\n> delete 30\n"
            "0s signal web SIGTERM grace 30 (Stopping container web)\n"
            "0s signal plain SIGTERM grace 30 (Stopping container plain)\n> show\n"
            "  Running Initialized=True Ready=False\n  web running restarts=0 ready\n"
            "  plain terminated Completed restarts=0\n> at 5\n5s probe web readiness\n"
            "> probe web readiness fail\n> at 10\n10s probe web readiness\n> probe web readiness fail\n"
            "> show\n  Running Initialized=True Ready=False\n  web running restarts=0\n"
            "  plain terminated Completed restarts=0\n> at 31\n15s probe web readiness\n"
            "30s kill web (Stopping container web)\n30s stop-sandbox\n30s unmount-volumes\n30s delete-pod\n"
            "finished\n> show\n  Failed Initialized=True Ready=False\n  web terminated Error restarts=0\n"
            "  plain terminated Completed restarts=0\n");
}

}  // namespace
}  // namespace kubelet
