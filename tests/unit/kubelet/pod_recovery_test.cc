#include "kubelet/pod/recovery.h"

#include <gtest/gtest.h>

#include <sstream>

#include "api/schema.h"
#include "kubelet/pod/plan.h"

namespace kubelet {
namespace {

const Time kNow = *base::parse_time("2026-01-01T00:00:00Z");

api::Pod recovered_pod(const std::string& status) {
  return api::decode_text<api::Pod>(
             R"({"metadata":{"name":"web","uid":"u1"},"spec":{"containers":[{"name":"a","image":"x:1"}]},"status":)" +
             status + "}")
      .value();
}

// "a starting 0", "b running 2 leaving 1"; then "a.0 running", "b.2 exited 3": what is done about it.
std::string adopt(const std::string& record, const std::string& found) {
  PodObserved seen;
  std::istringstream lines(record);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name, run, word;
    int attempt = -1, leaving = -1;
    words >> name >> run >> attempt >> word >> leaving;
    ContainerSeen& c = seen.containers[name];
    c.attempt = attempt;
    c.leaving = word == "leaving" ? leaving : -1;
    c.run = run == "starting"  ? Run::kStarting
            : run == "running" ? Run::kRunning
            : run == "exited"  ? Run::kExited
                               : Run::kNone;
  }
  std::vector<runtime::ContainerState> states;
  std::istringstream in(found);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    runtime::ContainerState state;
    std::string phase;
    words >> state.id >> phase >> state.exit_code;
    state.phase = phase == "running"  ? runtime::Phase::kRunning
                  : phase == "exited" ? runtime::Phase::kExited
                                      : runtime::Phase::kCreated;
    states.push_back(state);
  }
  std::string out;
  for (const auto& one : plan_adoption({}, seen, states, kNow)) out += one.text() + "\n";
  return out;
}

TEST(PodRecovery, WhatRunsRunsOn) {
  EXPECT_EQ(adopt("a running 0\n", "a.0 running\n"), "a attempt 0 runs\n");
  EXPECT_EQ(adopt("a starting 1\n", "a.1 running\n"), "a attempt 1 runs\n") << "its answer went to nobody";
  EXPECT_EQ(adopt("a starting 1\n", "a.1 created\n"), "") << "it is still being started";
}

TEST(PodRecovery, ExitsOfTheTimeInBetweenAreFound) {
  EXPECT_EQ(adopt("a running 2\nb starting 0\n", "a.2 exited 3\nb.0 exited 0\n"),
            "a attempt 2 exited 3\nb attempt 0 exited 0\n");
}

TEST(PodRecovery, WhatIsNotThereWasNotBegunOrIsRemoved) {
  EXPECT_EQ(adopt("a starting 0\nb exited 1\nc running 4\nd none -1\n", ""),
            "a attempt 0 was not begun\nb attempt 1 is removed\nc attempt 4 vanished\n");
}

TEST(PodRecovery, TheAttemptBeforeIsForgottenWhenItIsGone) {
  EXPECT_EQ(adopt("a running 3 leaving 2\n", "a.3 running\n"), "a attempt 2 is removed\na attempt 3 runs\n");
  EXPECT_EQ(adopt("a running 3 leaving 2\n", "a.2 exited 1\na.3 running\n"), "a attempt 3 runs\n");
}

TEST(PodRecovery, WhatWasHalfDoneIsTakenUp) {
  PodObserved record;
  record.first_seen = kNow;
  record.sandbox.step = Step::kBusy;
  record.volumes.directory.step = Step::kDone;
  record.volumes.each["a"].step = Step::kBusy;
  record.volumes.each["b"].step = Step::kDone;
  record.containers["a"].post_start = Step::kBusy;
  const PodObserved seen = seen_at_start(recovered_pod("null"), record, kNow);
  EXPECT_EQ(seen.recovered, Step::kNone) << "its sampan-pod is looked for";
  EXPECT_EQ(seen.volumes.each.at("a").step, Step::kFailed);
  EXPECT_EQ(seen.volumes.each.at("b").step, Step::kDone);
  EXPECT_EQ(seen.containers.at("a").post_start, Step::kNone) << "once more";
  record.sandbox.step = Step::kFailed;
  EXPECT_EQ(seen_at_start(recovered_pod("null"), record, kNow).recovered, Step::kDone);
  EXPECT_EQ(seen_at_start(recovered_pod("null"), std::nullopt, kNow).recovered, Step::kDone);
}

TEST(PodRecovery, AReboot) {
  const char* status =
      R"({"phase":"Running","startTime":"2025-12-31T00:00:00Z","containerStatuses":[{"name":"a","restartCount":2,
          "state":{"running":{"startedAt":"2025-12-31T00:00:05Z"}}}]})";
  PodObserved seen = seen_at_start(recovered_pod(status), std::nullopt, kNow);
  EXPECT_EQ(seen.first_seen, *base::parse_time("2025-12-31T00:00:00Z"));
  EXPECT_EQ(seen.containers.at("a").attempt, 2);
  EXPECT_EQ(seen.containers.at("a").run, Run::kExited);
  EXPECT_EQ(seen.containers.at("a").exit.code, 137);
  const char* over = R"({"phase":"Succeeded","containerStatuses":[{"name":"a","restartCount":2}]})";
  EXPECT_TRUE(seen_at_start(recovered_pod(over), std::nullopt, kNow).containers.empty());
}

}  // namespace
}  // namespace kubelet
