// What only the worker knows: calls that fail, hang, or are answered twice, Events, and a kubelet that is
// started again at every point of a Pod's life.
#include "tests/unit/kubelet/pod_story.h"

namespace kubelet {
namespace {

constexpr const char* kOne = R"({"restartPolicy":"Always","containers":[{"name":"web","image":"nginx:1"}]})";
constexpr const char* kStart =
    "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s prepare web attempt 0\n0s start web attempt 0\n";
const std::string kDown =
    "0s signal web SIGTERM grace 30 (Stopping container web)\n0s stop-sandbox\n0s unmount-volumes\n0s "
    "delete-pod\n"
    "finished\n";

TEST(PodWorker, TellsAPodsLifeInEvents) {
  WorkerStory story(kOne);
  story.tell("exit web 1\nat 1\nexit web 1\nat 2\ndelete 30\n");
  EXPECT_EQ(story.machine.events,
            "Normal web Pulling: Pulling image \"nginx:1\"\n"
            "Normal web Pulled: Successfully pulled image \"nginx:1\" in 0ms (0ms including waiting).\n"
            "Normal web Created: Created container: web\nNormal web Started: Started container web\n"
            "Normal web Created: Created container: web\nNormal web Started: Started container web\n"
            "Warning web BackOff: Back-off restarting failed container web in pod web_default(u1)\n");
  EXPECT_TRUE(story.finished());
  EXPECT_FALSE(story.machine.sandbox);
  EXPECT_FALSE(story.machine.directory);
  EXPECT_TRUE(story.machine.addresses.empty());
  EXPECT_TRUE(story.machine.bound.empty());
}

TEST(PodWorker, AFailedPullIsTold) {
  WorkerStory story(kOne);
  story.pulls_fail(true);
  story.tell("at 3\n");
  EXPECT_EQ(story.machine.events,
            "Normal web Pulling: Pulling image \"nginx:1\"\n"
            "Warning web Failed: Failed to pull image \"nginx:1\": no such host\n"
            "Warning web Failed: Error: ErrImagePull\n"
            "Normal web BackOff: Back-off pulling image \"nginx:1\"\n"
            "Warning web Failed: Error: ImagePullBackOff\n");
}

TEST(PodWorker, AnImageThatVanishesBeforeTheStartIsPulledAgain) {
  WorkerStory story(kOne);
  story.machine.set("prepare", FakeMachine::Fault::kNever);
  story.tell("");
  story.machine.store.clear();
  EXPECT_EQ(story.tell("works prepare\nanswer prepare\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s prepare web attempt 0\n"
            "> works prepare\n> answer prepare\n"
            "0s pull nginx:1\n0s prepare web attempt 0\n0s start web attempt 0\n");
}

TEST(PodWorker, IsPreparedWhileItsSandboxIsMadeAndAnewWhenAnObjectChanges) {
  WorkerStory story(R"({"containers":[{"name":"web","image":"nginx:1",
      "env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"conf","key":"a"}}}]}]})");
  story.machine.objects[{ObjectKind::kConfigMap, "conf"}]["a"] = "1";
  story.machine.set("attach", FakeMachine::Fault::kNever);
  EXPECT_EQ(
      story.tell("at 1\nconfigmap conf a 2\nhold prepare\nconfigmap conf a 3\nconfigmap conf a 4\n"
                 "works prepare\nanswer prepare\nat 2\nworks attach\nanswer attach\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s prepare web attempt 0\n> at 1\n"
      "> configmap conf a 2\n1s prepare web attempt 0\n> hold prepare\n"
      "> configmap conf a 3\n1s prepare web attempt 0\n> configmap conf a 4\n"
      "> works prepare\n> answer prepare\n1s prepare web attempt 0\n> at 2\n> works attach\n> answer attach\n"
      "2s start web attempt 0\n");
  EXPECT_EQ(story.machine.bound.size(), 0u);
}

TEST(PodWorker, TheAttemptBeforeIsRemovedOnceTheNextRunsWhoeverKnowsOfIt) {
  WorkerStory story(kOne);
  EXPECT_EQ(
      story.tell("at 1\nhold remove\nexit web 1\nrestart\nworks remove\nat 2\n"),
      std::string(kStart) +
          "> at 1\n> hold remove\n> exit web 1\n1s prepare web attempt 1\n1s start web attempt 1\n"
          "1s remove web attempt 0\n> restart\n1s find-sandbox\n1s remove web attempt 0\n> works remove\n"
          "> at 2\n");
  story.machine.answer("remove");
  story.tell("at 3\n");
  EXPECT_EQ(story.machine.sandbox->containers.size(), 1u);
  EXPECT_EQ(story.worker().observed().containers.at("web").leaving, -1);
}

TEST(PodWorker, AQuickStartIsToldInOneWrite) {
  WorkerStory story(kOne);
  story.tell("");
  EXPECT_EQ(story.machine.statuses, 1);
  EXPECT_EQ(base::string_at(story.machine.api, "status", "phase"), "Running");
  WorkerStory slow(kOne);
  slow.machine.set("sandbox", FakeMachine::Fault::kNever);
  slow.tell("at 1\n");
  EXPECT_EQ(slow.machine.statuses, 1);
  EXPECT_EQ(base::string_at(slow.machine.api, "status", "phase"), "Pending");
}

constexpr const char* kWithMap = R"({"containers":[{"name":"web","image":"nginx:1"}],
    "volumes":[{"name":"conf","configMap":{"name":"conf"}}]})";

TEST(PodWorker, AVolumeWaitsForItsConfigMap) {
  WorkerStory story(kWithMap);
  EXPECT_EQ(
      story.tell("show\nevents\nat 2\nconfigmap conf key value\nshow\n"),
      "0s start-sandbox\n0s mount-volumes conf\n0s pull nginx:1\n> show\n"
      "  Pending Initialized=True Ready=False\n  web waiting ContainerCreating restarts=0\n> events\n"
      "Warning FailedMount: MountVolume.SetUp failed for volume \"conf\" : configmap \"conf\" not found\n"
      "Normal web Pulling: Pulling image \"nginx:1\"\n"
      "Normal web Pulled: Successfully pulled image \"nginx:1\" in 0ms (0ms including waiting).\n"
      "> at 2\n1s mount-volumes conf\n> configmap conf key value\n2s mount-volumes conf\n"
      "2s prepare web attempt 0\n2s start web attempt 0\n> show\n"
      "  Running Initialized=True Ready=True\n  web running restarts=0 ready\n");
  ASSERT_EQ(story.machine.volumes.size(), 1u);
  EXPECT_EQ(story.machine.volumes[0].files[0].data, "value");
  story.tell("configmap conf key other\n");  // reaches what runs
  EXPECT_EQ(story.machine.volumes[0].files[0].data, "other");
}

TEST(PodWorker, AVolumeThatFailsIsMadeAgainAlone) {
  WorkerStory story(R"({"containers":[{"name":"web","image":"nginx:1"}],"volumes":[{"name":"a","emptyDir":{}},
      {"name":"b","emptyDir":{}},{"name":"c","configMap":{"name":"conf"}}]})");
  story.machine.bad_volumes = {"b"};
  EXPECT_EQ(story.tell("events\nat 2\n"),
            "0s start-sandbox\n0s mount-volumes a b c\n0s pull nginx:1\n> events\n"
            "Warning FailedMount: MountVolume.SetUp failed for volume \"c\" : configmap \"conf\" not found\n"
            "Warning FailedMount: mount x: the test said so\n"
            "Normal web Pulling: Pulling image \"nginx:1\"\n"
            "Normal web Pulled: Successfully pulled image \"nginx:1\" in 0ms (0ms including waiting).\n"
            "> at 2\n1s mount-volumes b c\n");
  story.machine.bad_volumes.clear();
  const size_t told = story.tell("").size();
  EXPECT_EQ(story.tell("configmap conf key value\n").substr(told),
            "> configmap conf key value\n2s mount-volumes b c\n2s prepare web attempt 0\n"
            "2s start web attempt 0\n");
  EXPECT_EQ(story.machine.mounts, (std::map<std::string, int>{{"a", 1}, {"b", 1}, {"c", 1}}));
}

TEST(PodWorker, WhatWaitsForATokenHoldsNoOtherVolume) {
  WorkerStory story(R"({"containers":[{"name":"web","image":"nginx:1"}],"volumes":[{"name":"a","emptyDir":{}},
      {"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}}]})");
  story.machine.set("token", FakeMachine::Fault::kNever);
  EXPECT_EQ(story.tell("works token\nanswer token\n"),
            "0s start-sandbox\n0s fetch-token 3600s\n0s mount-volumes a\n0s pull nginx:1\n> works token\n"
            "> answer token\n0s mount-volumes t\n0s prepare web attempt 0\n0s start web attempt 0\n");
  EXPECT_EQ(story.machine.mounts, (std::map<std::string, int>{{"a", 1}, {"t", 1}}));
}

TEST(PodWorker, AClaimThatIsNotBoundIsAskedForAgain) {
  WorkerStory story(R"({"containers":[{"name":"web","image":"nginx:1"}],"volumes":[{"name":"a","emptyDir":{}},
      {"name":"d","persistentVolumeClaim":{"claimName":"data"}}]})");
  EXPECT_EQ(
      story.tell("at 2\n"),
      "0s start-sandbox\n0s fetch-claims\n0s mount-volumes a\n0s pull nginx:1\n> at 2\n1s fetch-claims\n");
  ClaimedVolume& bound = story.machine.claims["data"];
  bound.volume = "pv";
  bound.path = "/data";
  bound.takes_group = true;
  const size_t told = story.tell("").size();
  EXPECT_EQ(
      story.tell("at 4\n").substr(told),
      "> at 4\n3s fetch-claims\n3s mount-volumes d\n3s prepare web attempt 0\n3s start web attempt 0\n");
  EXPECT_EQ(story.machine.mounts, (std::map<std::string, int>{{"a", 1}, {"d", 1}}));
}

TEST(PodWorker, ContentsThatCouldNotBeWrittenAreWrittenLater) {
  WorkerStory story(kWithMap);
  story.machine.objects[{ObjectKind::kConfigMap, "conf"}]["key"] = "value";
  story.tell("fail refresh\nconfigmap conf key other\nat 0\n");
  EXPECT_EQ(story.machine.volumes[0].files[0].data, "value");
  story.tell("works refresh\nat 4\n");
  EXPECT_EQ(story.machine.volumes[0].files[0].data, "other");
}

constexpr const char* kWithToken = R"({"containers":[{"name":"web","image":"nginx:1"}],
    "volumes":[{"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"token","expirationSeconds":600}}]}}]})";

TEST(PodWorker, ATokenThatFailsIsAskedForAgainAndRenewed) {
  WorkerStory story(kWithToken);
  story.machine.set("token", FakeMachine::Fault::kFails);
  EXPECT_EQ(story.tell("events\nat 2\nworks token\nat 4\nshow\nevents\n"),
            "0s start-sandbox\n0s fetch-token 600s\n0s mount-volumes\n0s pull nginx:1\n> events\n"
            "Warning FailedMount: request token x: the test said so\n"
            "Normal web Pulling: Pulling image \"nginx:1\"\n"
            "Normal web Pulled: Successfully pulled image \"nginx:1\" in 0ms (0ms including waiting).\n"
            "> at 2\n1s fetch-token 600s\n> works token\n> at 4\n3s fetch-token 600s\n3s mount-volumes t\n"
            "3s prepare web attempt 0\n3s start web attempt 0\n> show\n"
            "  Running Initialized=True Ready=True\n  web running restarts=0 ready\n> events\n"
            "Warning FailedMount: request token x: the test said so\n"
            "Normal web Created: Created container: web\nNormal web Started: Started container web\n");
  EXPECT_EQ(story.machine.volumes[0].files[0].data, "token-1");
  story.tell("at 482\n");
  EXPECT_EQ(story.machine.volumes[0].files[0].data, "token-1");
  // Renewed after four fifths of its life; what fails then is asked for again, and the old one stays.
  const size_t told = story.tell("").size();
  EXPECT_EQ(story.tell("fail token\nat 484\nworks token\nat 486\nevents\n").substr(told),
            "> fail token\n> at 484\n483s fetch-token 600s\n484s fetch-token 600s\n> works token\n> at 486\n"
            "486s fetch-token 600s\n486s refresh-volumes\n> events\n");
  EXPECT_EQ(story.machine.volumes[0].files[0].data, "token-2");
}

TEST(PodWorker, ATokenOfAPodThatEndsIsRenewedUntilNothingRuns) {
  WorkerStory story(kWithToken);
  story.tell("stubborn web\ndelete 1000\nat 485\n");
  EXPECT_EQ(story.machine.tokens_given, 2);
  story.tell("exit web 0\nat 2000\n");
  EXPECT_TRUE(story.finished());
  EXPECT_EQ(story.machine.tokens_given, 2);
}

TEST(PodWorker, AfterARestartTokensAreAskedForAndWritten) {
  WorkerStory story(kWithToken);
  story.tell("at 1\nrestart\nat 2\n");
  EXPECT_EQ(story.machine.tokens_given, 2);
  EXPECT_EQ(story.machine.volumes[0].files[0].data, "token-2");
}

TEST(PodWorker, NothingIsStartedBeforeItsObjectsAreKnown) {
  WorkerStory story(kWithMap);
  story.machine.objects[{ObjectKind::kConfigMap, "conf"}]["key"] = "value";
  story.machine.api_loaded = false;
  story.tell("at 5\n");
  EXPECT_EQ(story.machine.events.find("FailedMount"), std::string::npos) << story.machine.events;
  EXPECT_TRUE(story.machine.sandbox->containers.empty());
  story.machine.api_loaded = true;
  EXPECT_EQ(story.tell("configmap conf key other\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n> at 5\n> configmap conf key other\n"
            "5s mount-volumes conf\n5s prepare web attempt 0\n5s start web attempt 0\n> show\n"
            "  Running Initialized=True Ready=True\n  web running restarts=0 ready\n");
}

TEST(PodWorker, ImagesWaitUntilTheStoreWasReadAndNothingElseDoes) {
  WorkerStory story(kOne);
  story.machine.store_read = false;
  EXPECT_EQ(story.tell("at 1\n"), "0s start-sandbox\n0s mount-volumes\n> at 1\n");
  story.machine.store_read = true;
  story.worker().look_again();
  story.machine.run();
  EXPECT_TRUE(story.status().container_statuses[0].ready);
}

TEST(PodWorker, NothingIsDoneTwiceForAnAnswerThatCameTwice) {
  WorkerStory story(kOne);
  for (const char* call : {"sandbox", "describe", "attach", "mount", "find", "pull", "prepare", "start",
                           "signal", "remove", "shutdown", "unmount", "delete", "status"})
    story.machine.set(call, FakeMachine::Fault::kTwice);
  EXPECT_EQ(
      story.tell("exit web 1\nat 1\ndelete 30\n"),
      std::string(kStart) +
          "> exit web 1\n0s prepare web attempt 1\n0s start web attempt 1\n0s remove web attempt 0\n"
          "> at 1\n> delete 30\n1s signal web SIGTERM grace 30 (Stopping container web)\n1s stop-sandbox\n"
          "1s unmount-volumes\n1s delete-pod\nfinished\n");
  EXPECT_TRUE(story.machine.bound.empty());
}

// A disk that hangs holds the Pod, and a Pod that is deleted meanwhile goes as soon as it answers.
TEST(PodWorker, ADeletionAtEveryCallThatHangs) {
  for (const char* call : {"sandbox", "describe", "attach", "mount", "find", "pull", "prepare", "start"}) {
    WorkerStory story(kOne);
    story.machine.set(call, FakeMachine::Fault::kNever);
    story.tell("at 1\n");
    ASSERT_EQ(story.machine.held(call), 1u) << call;
    story.tell("delete 5\nat 10\n");
    story.machine.set(call, FakeMachine::Fault::kNone);
    story.machine.answer(call);
    story.tell("at 60\n");
    EXPECT_TRUE(story.finished()) << call << "\n" << story.tell("show\n");
    EXPECT_FALSE(story.machine.sandbox) << call;
    EXPECT_FALSE(story.machine.directory) << call;
    EXPECT_TRUE(story.machine.bound.empty()) << call;
    EXPECT_TRUE(story.machine.api.is_null()) << call;
  }
}

// Whatever fails once is tried again, and the Pod runs.
TEST(PodWorker, EveryCallThatFailsIsTriedAgain) {
  for (const char* call : {"address", "sandbox", "describe", "attach", "mount", "find", "pull", "prepare",
                           "start", "record", "status"}) {
    WorkerStory story(kOne);
    story.machine.set(call, FakeMachine::Fault::kFails);
    story.tell("at 1\n");
    const api::Pod shown = api::decode<api::Pod>(story.machine.api).value();
    EXPECT_TRUE(!shown.status || !shown.status->container_statuses[0].state->running) << call;
    story.machine.set(call, FakeMachine::Fault::kNone);
    story.tell("at 70\n");
    EXPECT_EQ(base::string_at(story.machine.api, "status", "phase"), "Running") << call;
    EXPECT_EQ(story.status().container_statuses[0].state->running.has_value(), true) << call;
    EXPECT_EQ(story.machine.addresses.size(), 1u) << call;
  }
}

TEST(PodWorker, EveryCallOnTheWayDownThatFailsIsTriedAgain) {
  for (const char* call : {"signal", "shutdown", "unmount", "delete"}) {
    WorkerStory story(kOne);
    story.machine.set(call, FakeMachine::Fault::kFails);
    story.tell("at 1\ndelete 2\nat 2\n");
    EXPECT_FALSE(story.finished()) << call;
    story.machine.set(call, FakeMachine::Fault::kNone);
    story.tell("at 70\n");
    EXPECT_TRUE(story.finished()) << call;
  }
}

// Killed while a call hangs that was begun, and started again: with the sampan-pod there or gone.
TEST(PodWorker, AKubeletRestartAtEveryCall) {
  for (const bool lost : {false, true})
    for (const char* call :
         {"sandbox", "describe", "attach", "mount", "find", "pull", "prepare", "start", "none"}) {
      WorkerStory story(kOne);
      story.machine.set(call, FakeMachine::Fault::kNever);
      story.tell("at 1\n");
      if (lost) story.machine.sandbox = nullptr;
      story.machine.set(call, FakeMachine::Fault::kNone);
      story.tell("restart\nat 70\n");
      story.machine.answer(call);  // to whoever asked, who is gone
      story.tell("at 71\nshow\n");
      EXPECT_EQ(base::string_at(story.machine.api, "status", "phase"), "Running") << call << lost;
      EXPECT_TRUE(story.status().container_statuses[0].ready) << call << lost << story.tell("");
      EXPECT_EQ(story.machine.sandbox->containers.size(), 1u) << call << lost;
      story.tell("delete 5\nat 90\n");
      EXPECT_TRUE(story.finished()) << call << lost;
    }
}

TEST(PodWorker, AKubeletRestartOnTheWayDown) {
  for (const char* call : {"signal", "shutdown", "unmount", "delete"}) {
    WorkerStory story(kOne);
    story.machine.set(call, FakeMachine::Fault::kNever);
    story.tell("delete 5\nat 1\n");
    ASSERT_EQ(story.machine.held(call), 1u) << call;
    story.machine.set(call, FakeMachine::Fault::kNone);
    story.tell("restart\nat 60\n");
    EXPECT_TRUE(story.finished()) << call;
    EXPECT_FALSE(story.machine.sandbox) << call;
    EXPECT_FALSE(story.machine.directory) << call;
  }
}

TEST(PodWorker, ExitsOfTheTimeWithoutAKubeletAreFound) {
  WorkerStory story(kOne);
  story.tell("at 1\n");
  story.machine.sandbox->connected = nullptr;
  story.machine.exit("web.0", 3);
  EXPECT_EQ(story.tell("restart\nshow\n"),
            std::string(kStart) +
                "> at 1\n> restart\n1s find-sandbox\n1s pull nginx:1\n1s prepare web attempt 1\n"
                "1s start web attempt 1\n1s remove web attempt 0\n> show\n"
                "  Running Initialized=True Ready=True\n  web running restarts=1 ready\n");
  EXPECT_EQ(story.worker().observed().containers.at("web").last->code, 3);
}

TEST(PodWorker, ADeletedPodIsTakenDownInOrder) {
  EXPECT_EQ(WorkerStory(kOne).tell("delete 30\n"), kStart + ("> delete 30\n" + kDown));
}

}  // namespace
}  // namespace kubelet
