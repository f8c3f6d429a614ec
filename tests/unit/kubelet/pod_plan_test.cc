// The life of a Pod as text: what happens on the left (>), what the planner does about it, and the
// status it would publish. A fake node carries the actions out at once, on a clock of its own.
#include "kubelet/pod/plan.h"

#include <gtest/gtest.h>

#include <deque>
#include <sstream>

#include "api/schema.h"

namespace kubelet {
namespace {

using std::chrono::seconds;

class Story {
 public:
  explicit Story(const std::string& spec, const std::string& meta = "") {
    auto pod = api::decode_text<api::Pod>(
        R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","uid":"u1")" +
        (meta.empty() ? "" : "," + meta) + R"(},"spec":)" + spec + "}");
    EXPECT_TRUE(pod.ok()) << (pod.ok() ? "" : pod.error().message());
    pod_ = *pod;
    seen_.network_ready = true;
    seen_.first_seen = now_;
  }

  // Lines of "at 10s", "exit web 1", "ready web ok|fail", "delete 30", …; returns the transcript.
  std::string tell(const std::string& events) {
    std::istringstream in(events);
    std::string line;
    round();
    while (std::getline(in, line)) {
      std::istringstream words(line);
      std::string word, name;
      words >> word;
      if (word.empty()) continue;
      out_ += "> " + line + "\n";
      if (word == "at") {
        int s;
        words >> s;
        advance(start_ + seconds(s));
      } else if (word == "exit") {
        int code;
        words >> name >> code;
        exit(name, code);
      } else if (word == "probe") {
        std::string kind, verdict;
        words >> name >> kind >> verdict;
        probe(name, kind, verdict == "ok");
      } else if (word == "delete") {
        int64_t grace;
        words >> grace;
        pod_.metadata.deletion_timestamp = base::format_time(now_ + seconds(grace));
        pod_.metadata.deletion_grace_period_seconds = grace;
      } else if (word == "pull-fails") fail_pulls_ = true;
      else if (word == "pull-works") fail_pulls_ = false;
      else if (word == "hook-done") {
        words >> name;
        auto& c = seen_.containers[name];
        (c.stopping ? c.pre_stop : c.post_start) = Step::kDone;
      } else if (word == "hook-fails") {
        words >> name;
        seen_.containers[name].post_start = Step::kFailed;
      } else if (word == "stubborn") {
        words >> name;
        stubborn_ = name;
      } else if (word == "lose-sandbox") lose();
      else if (word == "gone") seen_.gone_from_api = true;
      else if (word == "show") {
        out_ += show();
        continue;
      } else ADD_FAILURE() << "unknown event " << line;
      round();
    }
    return out_;
  }
  api::PodStatus status() { return plan_pod(pod_, seen_, {"192.0.2.1"}, now_).status; }
  PodObserved& seen() { return seen_; }
  api::Pod& pod() { return pod_; }

 private:
  void advance(Time to) {
    for (;;) {
      Plan plan = plan_pod(pod_, seen_, {"192.0.2.1"}, now_);
      if (!plan.wake || *plan.wake > to) break;
      ASSERT_GT(*plan.wake, now_) << "a wake in the past spins";
      now_ = *plan.wake;
      round();
    }
    now_ = to;
  }
  void round() {
    for (int i = 0; i < 50; ++i) {
      Plan plan = plan_pod(pod_, seen_, {"192.0.2.1"}, now_);
      if (plan.actions.empty()) {
        if (plan.finished && !finished_) {
          finished_ = true;
          out_ += "finished\n";
        }
        pod_.status = plan.status;
        return;
      }
      for (const Action& a : plan.actions) {
        const auto t = std::chrono::duration_cast<seconds>(now_ - start_).count();
        out_ += std::to_string(t) + "s " + a.text() + (a.why.empty() ? "" : " (" + a.why + ")") + "\n";
        carry_out(a);
      }
    }
    FAIL() << "the planner never rests:\n" << out_;
  }
  void carry_out(const Action& a) {
    ContainerSeen& c = seen_.containers[a.container];
    const bool init = find_container(pod_, a.container) && is_sidecar(*find_container(pod_, a.container));
    (void)init;
    switch (a.kind) {
      case Action::Kind::kStartSandbox:
        seen_.sandbox.step = Step::kDone;
        seen_.sandbox.ip = "10.244.0.5";
        break;
      case Action::Kind::kMountVolumes: seen_.volumes.step = Step::kDone; break;
      case Action::Kind::kPull:
        if (fail_pulls_) {
          c.image.reason = "ErrImagePull";
          c.image.message = "no such host";
          c.image.failed_at = now_;
          c.image.backoff = c.image.backoff == Duration{} ? kBackoffFirst : c.image.backoff * 2;
        } else {
          c.image = {};
          c.image.present = true;
          c.image.digest = "sha256:1";
          c.image.pulled_attempt = a.attempt;
        }
        break;
      case Action::Kind::kStart: {
        ContainerSeen next;
        next.image = c.image;
        if (c.run == Run::kExited) next.last = c.exit;
        next.attempt = a.attempt;
        next.backoff = a.backoff;
        next.backoff_at = now_;
        next.run = Run::kRunning;
        next.started_at = now_;
        next.image_id = "sha256:1";
        next.sandbox = seen_.sandbox.attempt;
        c = next;
        break;
      }
      case Action::Kind::kPostStart: c.post_start = Step::kBusy; break;
      case Action::Kind::kProbe: {
        ProbeSeen& p = a.probe == ProbeKind::kStartup    ? c.startup
                       : a.probe == ProbeKind::kLiveness ? c.liveness
                                                         : c.readiness;
        p.in_flight = true;
        p.last_started = now_;
        break;
      }
      case Action::Kind::kPreStop:
        c.stopping = true;
        c.stop_at = now_;
        c.grace_seconds = a.grace_seconds;
        c.pre_stop = Step::kBusy;
        break;
      case Action::Kind::kSignal:
        if (!c.stopping) {
          c.stopping = true;
          c.stop_at = now_;
          c.grace_seconds = a.grace_seconds;
        }
        c.signalled = true;
        c.signalled_at = now_;
        if (a.container != stubborn_) exit(a.container, 0);
        break;
      case Action::Kind::kKill:
        c.stopping = c.killed = true;
        exit(a.container, 137);
        break;
      case Action::Kind::kRemove: c.remains = false; break;
      case Action::Kind::kStopSandbox: seen_.sandbox.step = Step::kNone; break;
      case Action::Kind::kUnmountVolumes: seen_.volumes.step = Step::kNone; break;
      case Action::Kind::kDelete: seen_.removed = Step::kDone; break;
    }
    if (a.container.empty()) seen_.containers.erase("");
  }
  void exit(const std::string& name, int code) {
    ContainerSeen& c = seen_.containers[name];
    c.run = Run::kExited;
    c.remains = true;
    c.exit = {};
    c.exit.code = code;
    c.exit.reason = code ? "Error" : "Completed";
    c.exit.started_at = c.started_at;
    c.exit.finished_at = now_;
  }
  void probe(const std::string& name, const std::string& kind, bool ok) {
    ContainerSeen& c = seen_.containers[name];
    const ProbeKind k = kind == "startup"    ? ProbeKind::kStartup
                        : kind == "liveness" ? ProbeKind::kLiveness
                                             : ProbeKind::kReadiness;
    ProbeSeen& p = k == ProbeKind::kStartup    ? c.startup
                   : k == ProbeKind::kLiveness ? c.liveness
                                               : c.readiness;
    EXPECT_TRUE(p.in_flight) << name << " " << kind;
    p.in_flight = false;
    count_probe(*probe_of(*find_container(pod_, name), k), k, ok, p);
  }
  void lose() {
    seen_.sandbox.step = Step::kNone;
    seen_.sandbox.attempt++;
    for (auto& [name, c] : seen_.containers)
      if (c.run == Run::kRunning) {
        exit(name, 137);
        c.remains = false;
      }
  }
  std::string show() {
    const api::PodStatus s = status();
    std::string out = "  " + s.phase + (s.reason.empty() ? "" : " " + s.reason);
    for (const auto& c : s.conditions)
      if (c.type == "Ready" || c.type == "Initialized") out += " " + c.type + "=" + c.status;
    out += "\n";
    auto line = [&](const api::ContainerStatus& c) {
      out += "  " + c.name + " ";
      if (c.state->running) out += "running";
      if (c.state->waiting) out += "waiting " + c.state->waiting->reason;
      if (c.state->terminated) out += "terminated " + c.state->terminated->reason;
      out += " restarts=" + std::to_string(c.restart_count) + (c.ready ? " ready" : "") + "\n";
    };
    for (const auto& c : s.init_container_statuses) line(c);
    for (const auto& c : s.container_statuses) line(c);
    return out;
  }

  Time start_ = *base::parse_time("2026-01-01T00:00:00Z");
  Time now_ = start_;
  api::Pod pod_;
  PodObserved seen_;
  std::string out_, stubborn_;
  bool fail_pulls_ = false, finished_ = false;
};

constexpr const char* kOne = R"({"restartPolicy":"Always","containers":[{"name":"web","image":"nginx:1"}]})";

TEST(PodPlan, StartsAndIsDeleted) {
  EXPECT_EQ(Story(kOne).tell("show\ndelete 30\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s start web attempt 0\n"
            "> show\n  Running Initialized=True Ready=True\n  web running restarts=0 ready\n"
            "> delete 30\n0s signal web SIGTERM grace 30 (Stopping container web)\n0s stop-sandbox\n"
            "0s unmount-volumes\n0s delete-pod\nfinished\n"
            "> show\n  Succeeded Initialized=True Ready=False\n  web terminated Completed restarts=0\n");
}

TEST(PodPlan, RestartsWithBackOff) {
  EXPECT_EQ(Story(kOne).tell("at 1\nexit web 1\nat 2\nexit web 1\nshow\nat 15\nexit web 1\nat 60\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s start web attempt 0\n> at 1\n"
            "> exit web 1\n1s remove web attempt 0\n1s start web attempt 1\n> at 2\n"
            "> exit web 1\n2s remove web attempt 1\n"
            "> show\n  Running Initialized=True Ready=False\n  web waiting CrashLoopBackOff restarts=1\n"
            "> at 15\n12s start web attempt 2\n"
            "> exit web 1\n15s remove web attempt 2\n"
            "> at 60\n35s start web attempt 3\n");
}

TEST(PodPlan, BackOffDoublesToFiveMinutesAndIsForgotten) {
  Story story(kOne);
  story.tell("");
  ContainerSeen& web = story.seen().containers["web"];
  web.run = Run::kExited;
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

TEST(PodPlan, NeverEndsFailedOrSucceeded) {
  const char* spec =
      R"({"restartPolicy":"Never","containers":[{"name":"a","image":"x:1"},{"name":"b","image":"x:1"}]})";
  EXPECT_EQ(Story(spec).tell("exit a 0\nshow\nexit b 3\nshow\nat 1000\ndelete 30\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s pull x:1\n0s start a attempt 0\n0s start b "
            "attempt 0\n"
            "> exit a 0\n0s remove a attempt 0\n"
            "> show\n  Running Initialized=True Ready=False\n  a terminated Completed restarts=0\n  b "
            "running restarts=0 ready\n"
            "> exit b 3\n0s stop-sandbox\n0s unmount-volumes\n"
            "> show\n  Failed Initialized=True Ready=False\n  a terminated Completed restarts=0\n  b "
            "terminated Error restarts=0\n"
            "> at 1000\n> delete 30\n1000s delete-pod\nfinished\n");
}

TEST(PodPlan, OnFailureRestartsOnlyFailures) {
  const char* spec = R"({"restartPolicy":"OnFailure","containers":[{"name":"job","image":"x:1"}]})";
  EXPECT_EQ(Story(spec).tell("exit job 1\nexit job 0\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start job attempt 0\n"
            "> exit job 1\n0s remove job attempt 0\n0s start job attempt 1\n"
            "> exit job 0\n0s stop-sandbox\n0s unmount-volumes\n"
            "> show\n  Succeeded Initialized=True Ready=False\n  job terminated Completed restarts=1\n");
}

TEST(PodPlan, InitContainersRunInOrderAndSidecarsStay) {
  const char* spec = R"({"restartPolicy":"Always","initContainers":[
      {"name":"one","image":"x:1"},
      {"name":"side","image":"x:1","restartPolicy":"Always"},
      {"name":"two","image":"x:1"}],
      "containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(
      Story(spec).tell("show\nexit one 1\nexit one 0\nshow\nexit two 0\nshow\nexit side 0\ndelete 30\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start one attempt 0\n"
      "> show\n  Pending Initialized=False Ready=False\n  one running restarts=0\n  side waiting "
      "PodInitializing restarts=0\n"
      "  two waiting PodInitializing restarts=0\n  web waiting PodInitializing restarts=0\n"
      "> exit one 1\n0s remove one attempt 0\n0s start one attempt 1\n"
      "> exit one 0\n0s remove one attempt 1\n0s pull x:1\n0s start side attempt 0\n0s pull x:1\n0s start "
      "two attempt 0\n"
      "> show\n  Pending Initialized=False Ready=False\n  one terminated Completed restarts=1 ready\n  side "
      "running restarts=0 ready\n"
      "  two running restarts=0\n  web waiting PodInitializing restarts=0\n"
      "> exit two 0\n0s remove two attempt 0\n0s pull x:1\n0s start web attempt 0\n"
      "> show\n  Running Initialized=True Ready=True\n  one terminated Completed restarts=1 ready\n  side "
      "running restarts=0 ready\n"
      "  two terminated Completed restarts=0 ready\n  web running restarts=0 ready\n"
      "> exit side 0\n0s remove side attempt 0\n0s start side attempt 1\n"
      "> delete 30\n0s signal web SIGTERM grace 30 (Stopping container web)\n"
      "0s signal side SIGTERM grace 30 (Stopping container side)\n0s stop-sandbox\n0s unmount-volumes\n0s "
      "delete-pod\nfinished\n");
}

TEST(PodPlan, InitFailureWithNeverFailsThePod) {
  const char* spec = R"({"restartPolicy":"Never","initContainers":[{"name":"one","image":"x:1"}],
      "containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(Story(spec).tell("exit one 7\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start one attempt 0\n"
            "> exit one 7\n0s stop-sandbox\n0s unmount-volumes\n"
            "> show\n  Failed Initialized=False Ready=False\n  one terminated Error restarts=0\n  web "
            "waiting PodInitializing restarts=0\n");
}

TEST(PodPlan, KillsAfterTheGracePeriod) {
  EXPECT_EQ(Story(kOne).tell("stubborn web\ndelete 30\nat 29\nat 40\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s start web attempt 0\n"
            "> stubborn web\n> delete 30\n0s signal web SIGTERM grace 30 (Stopping container web)\n"
            "> at 29\n> at 40\n30s kill web (Stopping container web)\n30s stop-sandbox\n30s "
            "unmount-volumes\n30s delete-pod\nfinished\n");
}

TEST(PodPlan, AShorterDeletionCutsTheGracePeriod) {
  EXPECT_EQ(Story(kOne).tell("stubborn web\ndelete 30\nat 5\ndelete 8\nat 40\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s start web attempt 0\n"
            "> stubborn web\n> delete 30\n0s signal web SIGTERM grace 30 (Stopping container web)\n"
            "> at 5\n> delete 8\n> at 40\n8s kill web (Stopping container web)\n8s stop-sandbox\n8s "
            "unmount-volumes\n8s delete-pod\nfinished\n");
}

TEST(PodPlan, HooksAroundTheContainer) {
  const char* spec = R"({"restartPolicy":"Always","containers":[{"name":"web","image":"x:1","lifecycle":{
      "postStart":{"exec":{"command":["a"]}},"preStop":{"exec":{"command":["b"]}}}},{"name":"next","image":"x:1"}]})";
  EXPECT_EQ(Story(spec).tell("show\nhook-done web\nshow\ndelete 30\nat 10\nhook-done web\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start web attempt 0\n0s post-start web\n"
            "> show\n  Pending Initialized=True Ready=False\n  web waiting ContainerCreating restarts=0\n  "
            "next waiting ContainerCreating restarts=0\n"
            "> hook-done web\n0s pull x:1\n0s start next attempt 0\n"
            "> show\n  Running Initialized=True Ready=True\n  web running restarts=0 ready\n  next running "
            "restarts=0 ready\n"
            "> delete 30\n0s pre-stop web grace 30 (Stopping container web)\n0s signal next SIGTERM grace 30 "
            "(Stopping container next)\n"
            "> at 10\n> hook-done web\n10s signal web SIGTERM grace 30 (Stopping container web)\n"
            "10s stop-sandbox\n10s unmount-volumes\n10s delete-pod\nfinished\n");
}

TEST(PodPlan, ASlowPreStopStillLeavesTwoSeconds) {
  const char* spec =
      R"({"containers":[{"name":"web","image":"x:1","lifecycle":{"preStop":{"exec":{"command":["b"]}}}}]})";
  EXPECT_EQ(Story(spec).tell("stubborn web\ndelete 10\nat 100\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start web attempt 0\n"
            "> stubborn web\n> delete 10\n0s pre-stop web grace 10 (Stopping container web)\n"
            "> at 100\n10s signal web SIGTERM grace 10 (Stopping container web)\n12s kill web (Stopping "
            "container web)\n"
            "12s stop-sandbox\n12s unmount-volumes\n12s delete-pod\nfinished\n");
}

TEST(PodPlan, AFailedPostStartRestartsTheContainer) {
  const char* spec =
      R"({"containers":[{"name":"web","image":"x:1","lifecycle":{"postStart":{"exec":{"command":["a"]}}}}]})";
  EXPECT_EQ(Story(spec).tell("hook-fails web\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start web attempt 0\n0s post-start web\n"
            "> hook-fails web\n0s signal web SIGTERM grace 30 (FailedPostStartHook)\n0s remove web attempt "
            "0\n0s start web attempt 1\n0s post-start web\n");
}

TEST(PodPlan, ProbesGateReadinessAndRestart) {
  const char* spec = R"({"containers":[{"name":"web","image":"x:1",
      "startupProbe":{"tcpSocket":{"port":80},"periodSeconds":1,"failureThreshold":3},
      "livenessProbe":{"tcpSocket":{"port":80},"periodSeconds":10,"failureThreshold":2,"terminationGracePeriodSeconds":5},
      "readinessProbe":{"tcpSocket":{"port":80},"initialDelaySeconds":2,"periodSeconds":5,"successThreshold":1}}]})";
  EXPECT_EQ(Story(spec).tell("show\nprobe web startup fail\nat 1\nprobe web startup ok\nshow\nat 2\nprobe "
                             "web readiness ok\nshow\n"
                             "probe web liveness fail\nat 11\nprobe web liveness fail\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start web attempt 0\n0s probe web startup\n"
            "> show\n  Running Initialized=True Ready=False\n  web running restarts=0\n"
            "> probe web startup fail\n> at 1\n1s probe web startup\n"
            "> probe web startup ok\n1s probe web liveness\n"
            "> show\n  Running Initialized=True Ready=False\n  web running restarts=0\n"
            "> at 2\n2s probe web readiness\n> probe web readiness ok\n"
            "> show\n  Running Initialized=True Ready=True\n  web running restarts=0 ready\n"
            "> probe web liveness fail\n> at 11\n7s probe web readiness\n11s probe web liveness\n"
            "> probe web liveness fail\n11s signal web SIGTERM grace 5 (Container web failed liveness probe, "
            "will be restarted)\n"
            "11s remove web attempt 0\n11s start web attempt 1\n11s probe web startup\n"
            "> show\n  Running Initialized=True Ready=False\n  web running restarts=1\n");
}

TEST(PodPlan, PullsBackOff) {
  Story story(kOne);
  story.seen().network_ready = false;
  story.tell("pull-fails\n");
  story.seen().network_ready = true;
  EXPECT_EQ(
      story.tell("show\nat 3\nshow\nat 29\npull-works\nat 31\n"),
      "> pull-fails\n0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n"
      "> show\n  Pending Initialized=True Ready=False\n  web waiting ErrImagePull restarts=0\n"
      "> at 3\n> show\n  Pending Initialized=True Ready=False\n  web waiting ImagePullBackOff restarts=0\n"
      "> at 29\n10s pull nginx:1\n> pull-works\n> at 31\n30s pull nginx:1\n30s start web attempt 0\n");
}

TEST(PodPlan, AlwaysPullsForEachAttempt) {
  const char* spec = R"({"containers":[{"name":"web","image":"x"}]})";
  EXPECT_EQ(Story(spec).tell("exit web 1\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x\n0s start web attempt 0\n"
            "> exit web 1\n0s remove web attempt 0\n0s pull x\n0s start web attempt 1\n");
}

TEST(PodPlan, ALostSandboxIsMadeAnewAndInitRunsAgain) {
  const char* spec =
      R"({"initContainers":[{"name":"one","image":"x:1"}],"containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(Story(spec).tell("exit one 0\nlose-sandbox\nexit one 0\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start one attempt 0\n"
            "> exit one 0\n0s remove one attempt 0\n0s pull x:1\n0s start web attempt 0\n"
            "> lose-sandbox\n0s start-sandbox\n0s start one attempt 1\n"
            "> exit one 0\n0s remove one attempt 1\n0s start web attempt 1\n"
            "> show\n  Running Initialized=True Ready=True\n  one terminated Completed restarts=1 ready\n  "
            "web running restarts=1 ready\n");
}

TEST(PodPlan, TheDeadlineFailsThePod) {
  const char* spec = R"({"activeDeadlineSeconds":5,"containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(
      Story(spec).tell("at 6\nshow\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start web attempt 0\n"
      "> at 6\n5s signal web SIGTERM grace 30 (Stopping container web)\n5s stop-sandbox\n5s unmount-volumes\n"
      "> show\n  Failed DeadlineExceeded Initialized=True Ready=False\n  web terminated Completed "
      "restarts=0\n");
}

TEST(PodPlan, TheDeadlineActsWhileAnInitContainerRuns) {
  const char* spec =
      R"({"activeDeadlineSeconds":5,"initContainers":[{"name":"one","image":"x:1"}],"containers":[{"name":"web","image":"x:1"}]})";
  EXPECT_EQ(
      Story(spec).tell("stubborn one\nshow\nat 6\nshow\nat 36\nshow\n"),
      "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s start one attempt 0\n> stubborn one\n"
      "> show\n  Pending Initialized=False Ready=False\n  one running restarts=0\n  web waiting "
      "PodInitializing restarts=0\n"
      "> at 6\n5s signal one SIGTERM grace 30 (Stopping container one)\n"
      "> show\n  Pending Initialized=False Ready=False\n  one running restarts=0\n  web waiting "
      "PodInitializing restarts=0\n"
      "> at 36\n35s kill one (Stopping container one)\n35s stop-sandbox\n35s unmount-volumes\n"
      "> show\n  Failed DeadlineExceeded Initialized=False Ready=False\n  one terminated Error restarts=0\n"
      "  web waiting PodInitializing restarts=0\n");
}

TEST(PodPlan, EveryWaitingContainerOfAPodWithInitContainersIsInitializing) {
  Story story(
      R"({"initContainers":[{"name":"one","image":"x:1"}],"containers":[{"name":"web","image":"x:1"}]})");
  story.seen().network_ready = false;
  EXPECT_EQ(story.tell("show\n"),
            "> show\n  Pending Initialized=False Ready=False\n  one waiting PodInitializing restarts=0\n  "
            "web waiting PodInitializing restarts=0\n");
}

TEST(PodPlan, ATerminatingPodIsReadyUntilItsProbeSaysNo) {
  const char* spec =
      R"({"containers":[{"name":"web","image":"x:1","readinessProbe":{"tcpSocket":{"port":80},"periodSeconds":5,"failureThreshold":2}},
      {"name":"plain","image":"x:1"}]})";
  EXPECT_EQ(Story(spec).tell("probe web readiness ok\nstubborn web\ndelete 30\nshow\nat 5\nprobe web "
                             "readiness fail\nat 10\nprobe web readiness fail\nshow\nat 31\nshow\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull x:1\n0s pull x:1\n0s start web attempt 0\n0s start "
            "plain attempt 0\n0s probe web readiness\n"
            "> probe web readiness ok\n> stubborn web\n"
            "> delete 30\n0s signal web SIGTERM grace 30 (Stopping container web)\n0s signal plain SIGTERM "
            "grace 30 (Stopping container plain)\n"
            "> show\n  Running Initialized=True Ready=False\n  web running restarts=0 ready\n  plain "
            "terminated Completed restarts=0\n"
            "> at 5\n5s probe web readiness\n> probe web readiness fail\n> at 10\n10s probe web readiness\n> "
            "probe web readiness fail\n"
            "> show\n  Running Initialized=True Ready=False\n  web running restarts=0\n  plain terminated "
            "Completed restarts=0\n"
            "> at 31\n15s probe web readiness\n30s kill web (Stopping container web)\n30s stop-sandbox\n30s "
            "unmount-volumes\n30s delete-pod\nfinished\n"
            "> show\n  Failed Initialized=True Ready=False\n  web terminated Error restarts=0\n  plain "
            "terminated Completed restarts=0\n");
  Story story(kOne);
  story.tell("stubborn web\ndelete 30\n");
  for (const auto& c : story.status().conditions)
    if (c.type == "Ready") {
      EXPECT_EQ(c.status, "True");
    }
}

TEST(PodPlan, APreStopHookThatAKilledKubeletRanIsRunAgain) {
  const char* spec =
      R"({"containers":[{"name":"web","image":"x:1","lifecycle":{"preStop":{"exec":{"command":["b"]}}}}]})";
  Story story(spec);
  story.tell("delete 30\nat 4\n");
  story.seen().containers["web"].pre_stop = Step::kNone;  // what recover() makes of kBusy
  std::string told = story.tell("at 5\nhook-done web\n");
  EXPECT_NE(told.find("4s pre-stop web grace 30 (Stopping container web)\n> at 5\n> hook-done web\n5s signal "
                      "web SIGTERM"),
            std::string::npos)
      << told;
}

TEST(PodPlan, ASandboxThatCantBeStoppedIsAskedAgain) {
  Story story(kOne);
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
  Story story(kOne);
  story.tell("");
  story.seen().sandbox.stale = true;
  auto plan = plan_pod(story.pod(), story.seen(), {}, *base::parse_time("2026-01-01T00:00:01Z"));
  ASSERT_EQ(plan.actions.size(), 1u);
  EXPECT_EQ(plan.actions[0].text(), "stop-sandbox");
}

TEST(PodPlan, TerminationMessagesShareTwelveKibibytes) {
  Story story(
      R"({"restartPolicy":"Never","containers":[{"name":"a","image":"x:1"},{"name":"b","image":"x:1"},{"name":"c","image":"x:1"},{"name":"d","image":"x:1"}]})");
  story.tell("exit a 1\n");
  story.seen().containers["a"].exit.message = std::string(4000, 'm');
  EXPECT_EQ(story.status().container_statuses[0].state->terminated->message.size(), 3072u);
}

TEST(PodPlan, GoneFromTheApiIsStoppedWithoutADelete) {
  EXPECT_EQ(Story(kOne).tell("stubborn web\ngone\nat 3\n"),
            "0s start-sandbox\n0s mount-volumes\n0s pull nginx:1\n0s start web attempt 0\n> stubborn web\n"
            "> gone\n0s signal web SIGTERM grace 2 (Stopping container web)\n> at 3\n2s kill web (Stopping "
            "container web)\n"
            "2s stop-sandbox\n2s unmount-volumes\nfinished\n");
}

TEST(PodPlan, WaitsForTheNodesNetwork) {
  Story story(kOne);
  story.seen().network_ready = false;
  EXPECT_EQ(story.tell("show\n"),
            "> show\n  Pending Initialized=True Ready=False\n  web waiting ContainerCreating restarts=0\n");
}

TEST(PodPlan, ReadinessGatesAndForeignConditionsAreKept) {
  const char* spec =
      R"({"readinessGates":[{"conditionType":"x/y"}],"containers":[{"name":"web","image":"x:1"}]})";
  Story story(spec);
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
  Story story(
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
