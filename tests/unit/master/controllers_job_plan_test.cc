#include "master/controllers/job_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

namespace {

constexpr const char* kTemplate =
    R"({"metadata":{"labels":{"app":"j"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c"}]}})";

// A Job "j" with uid u1 of namespace default; `spec` and `status` as JSON.
Job job(const std::string& spec, const std::string& status = "{}") {
  const std::string text =
      R"({"metadata":{"namespace":"default","name":"j","uid":"u1","resourceVersion":"5"},"spec":)" + spec +
      R"(,"status":)" + status + "}";
  base::json::value object = base::parse_json(text).value();
  base::json::object& in = object.get_object()["spec"].get_object();
  if (!in.contains("template")) in["template"] = base::parse_json(kTemplate).value();
  in["selector"] = base::parse_json(R"({"matchLabels":{"app":"j"}})").value();
  return *Job::reader(kJobs)(object);
}
// As controllers_plan_text.h writes Pods, of Job j; and of a Job's alone: untracked index=2 failures=1 exit=3
// ended=20 (seconds ago) condition=DisruptionTarget
std::vector<std::shared_ptr<const Pod>> job_pods(const std::string& text) {
  std::vector<std::shared_ptr<const Pod>> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.find_first_not_of(' ') == line.npos) continue;
    auto part = std::make_shared<JobPod>();
    part->tracked = true;
    std::string rest;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const std::string value = word.substr(word.find('=') + 1);
      if (word == "untracked") part->tracked = false;
      else if (word.starts_with("index=")) part->index = std::stoi(value);
      else if (word.starts_with("failures=")) part->index_failures = std::stoi(value);
      else if (word.starts_with("exit=")) part->exits.push_back({"c", std::stoi(value)});
      else if (word.starts_with("ended=")) part->finished_at = ago(std::stoi(value));
      else if (word.starts_with("condition=")) part->conditions.emplace_back(value, "True");
      else if (word.starts_with("container-restarts=")) part->restarts = std::stoi(value);
      else rest += word + " ";
    }
    auto one = std::make_shared<Pod>(*pod(rest + "app=j"));
    if (rest.find("orphan") == rest.npos)
      one->owner_uid = "u1", one->owner_kind = "Job", one->owner_name = "j";
    one->job = std::move(part);
    out.push_back(std::move(one));
  }
  return out;
}
std::string plan(const Job& job, const std::string& pods = "") {
  return plan_job(job, job_pods(pods), kNow).text();
}
constexpr const char* kStarted =
    R"({"startTime":"2027-01-15T07:00:00Z","active":2,"ready":0,"terminating":0,"uncountedTerminatedPods":{}})";

}  // namespace

TEST(JobPlan, Starts) {
  EXPECT_EQ(plan(job(R"({"parallelism":2,"completions":5})")), "status active=2\ncreate\ncreate\n");
  EXPECT_EQ(plan(job(R"({"parallelism":2,"completions":1})")), "status active=1\ncreate\n");
  EXPECT_EQ(plan(job(R"({"parallelism":0,"completions":1})")), "status\n");
}
TEST(JobPlan, RestsWhileItRuns) {
  EXPECT_EQ(plan(job(R"({"parallelism":2,"completions":5})", kStarted), "a\nb"), "");
}
// Written down, then let go, then counted: at every point a crash is no miscount.
TEST(JobPlan, CountsInThreeSteps) {
  const char* spec = R"({"parallelism":2,"completions":5})";
  EXPECT_EQ(plan(job(spec, kStarted), "a phase=Succeeded\nb"),
            "status active=2 succeeded:uid-a\nuntrack a\ncreate\n");
  const char* noted =
      R"({"startTime":"2027-01-15T07:00:00Z","active":2,"ready":0,"terminating":0,"uncountedTerminatedPods":{"succeeded":["uid-a"]}})";
  EXPECT_EQ(plan(job(spec, noted), "a phase=Succeeded\nb\nc"), "untrack a\n");
  EXPECT_EQ(plan(job(spec, noted), "a untracked phase=Succeeded\nb\nc"), "status active=2 succeeded=1\n");
  EXPECT_EQ(plan(job(spec, noted), "b\nc"), "status active=2 succeeded=1\n");
}
TEST(JobPlan, CompletesWhenAllIsCounted) {
  const char* spec = R"({"parallelism":1,"completions":1})";
  EXPECT_EQ(plan(job(spec, kStarted), "a phase=Succeeded"),
            "status succeeded:uid-a SuccessCriteriaMet/True/CompletionsReached\nuntrack a\n");
  const char* met =
      R"({"startTime":"2027-01-15T07:00:00Z","ready":0,"terminating":0,"uncountedTerminatedPods":{"succeeded":["uid-a"]},
                        "conditions":[{"type":"SuccessCriteriaMet","status":"True","reason":"CompletionsReached","message":"m"}]})";
  EXPECT_EQ(plan(job(spec, met), "a untracked phase=Succeeded"),
            "status succeeded=1 SuccessCriteriaMet/True/CompletionsReached "
            "Complete/True/CompletionsReached\nevent Normal Completed\n");
}
TEST(JobPlan, AWorkQueueEndsWithItsPods) {
  const char* spec = R"({"parallelism":2})";
  EXPECT_EQ(plan(job(spec, kStarted), "a phase=Succeeded\nb"),
            "status active=1 succeeded:uid-a\nuntrack a\n");
  EXPECT_EQ(
      plan(
          job(spec,
              R"({"startTime":"2027-01-15T07:00:00Z","succeeded":1,"ready":0,"terminating":0,"uncountedTerminatedPods":{}})"),
          "a untracked phase=Succeeded\nb untracked phase=Succeeded"),
      "status succeeded=1 SuccessCriteriaMet/True/CompletionsReached Complete/True/CompletionsReached\nevent "
      "Normal Completed\n");
}
TEST(JobPlan, WaitsAfterFailuresAndDoublesTheWait) {
  const char* spec = R"({"parallelism":1,"completions":1})";
  const char* one =
      R"({"startTime":"2027-01-15T07:00:00Z","failed":1,"ready":0,"terminating":0,"uncountedTerminatedPods":{}})";
  EXPECT_EQ(plan(job(spec, one), "a untracked phase=Failed ended=4"), "again in 6000ms\n");
  EXPECT_EQ(plan(job(spec, one), "a untracked phase=Failed ended=11"), "status active=1 failed=1\ncreate\n");
  EXPECT_EQ(plan(job(spec, one), "a untracked phase=Failed ended=90\nb untracked phase=Failed ended=15"),
            "again in 5000ms\n");
  // A success between them begins anew.
  EXPECT_EQ(plan(job(R"({"parallelism":1,"completions":2})", one),
                 "a untracked phase=Failed ended=90\ns untracked phase=Succeeded ended=80\nb untracked "
                 "phase=Failed ended=12"),
            "status active=1 failed=1\ncreate\n");
}
TEST(JobPlan, FailsPastItsLimitAndStopsTheOthers) {
  const char* spec = R"({"parallelism":2,"completions":2,"backoffLimit":0})";
  EXPECT_EQ(
      plan(job(spec, kStarted), "a phase=Failed\nb"),
      "status terminating=1 failed:uid-a FailureTarget/True/BackoffLimitExceeded\nuntrack a\ndelete b\n");
  const char* failing =
      R"({"startTime":"2027-01-15T07:00:00Z","failed":1,"ready":0,"terminating":1,"uncountedTerminatedPods":{},
                            "conditions":[{"type":"FailureTarget","status":"True","reason":"BackoffLimitExceeded","message":"m"}]})";
  EXPECT_EQ(plan(job(spec, failing), "b deleting phase=Failed"),
            "status failed=1 failed:uid-b FailureTarget/True/BackoffLimitExceeded\nuntrack b\n");
  const char* counted =
      R"({"startTime":"2027-01-15T07:00:00Z","failed":1,"ready":0,"terminating":0,"uncountedTerminatedPods":{"failed":["uid-b"]},
                            "conditions":[{"type":"FailureTarget","status":"True","reason":"BackoffLimitExceeded","message":"m"}]})";
  EXPECT_EQ(plan(job(spec, counted)),
            "status failed=2 FailureTarget/True/BackoffLimitExceeded Failed/True/BackoffLimitExceeded\nevent "
            "Warning BackoffLimitExceeded\n");
}
TEST(JobPlan, RestartsInPlaceCountTowardsTheLimit) {
  const std::string spec =
      R"({"parallelism":1,"completions":1,"backoffLimit":3,"template":{"metadata":{"labels":{"app":"j"}},"spec":{"restartPolicy":"OnFailure"}}})";
  const char* running =
      R"({"startTime":"2027-01-15T07:00:00Z","active":1,"ready":0,"terminating":0,"uncountedTerminatedPods":{}})";
  EXPECT_EQ(plan(job(spec, running), "a container-restarts=2"), "");
  EXPECT_EQ(plan(job(spec, running), "a container-restarts=3"),
            "status terminating=1 FailureTarget/True/BackoffLimitExceeded\ndelete a\n");
}
TEST(JobPlan, ADeadlineFromTheLastStart) {
  const char* spec = R"({"parallelism":1,"completions":1,"activeDeadlineSeconds":60})";
  const std::string at = base::format_time(ago(50)), over = base::format_time(ago(60));
  auto status = [](const std::string& start) {
    return R"({"startTime":")" + start +
           R"(","active":1,"ready":0,"terminating":0,"uncountedTerminatedPods":{}})";
  };
  EXPECT_EQ(plan(job(spec, status(at)), "a"), "again in 10000ms\n");
  EXPECT_EQ(plan(job(spec, status(over)), "a"),
            "status terminating=1 FailureTarget/True/DeadlineExceeded\ndelete a\n");
}
TEST(JobPlan, SuspendsAndResumes) {
  EXPECT_EQ(plan(job(R"({"parallelism":2,"completions":2,"suspend":true})", kStarted), "a\nb"),
            "status terminating=2 Suspended/True/JobSuspended\nuntrack a\nuntrack b\ndelete a\ndelete "
            "b\nevent Normal Suspended\n");
  EXPECT_EQ(
      plan(job(
          R"({"parallelism":1,"completions":2})",
          R"({"ready":0,"terminating":0,"uncountedTerminatedPods":{},"conditions":[{"type":"Suspended","status":"True","reason":"JobSuspended","message":"Job suspended"}]})")),
      "status active=1 Suspended/False/JobResumed\ncreate\nevent Normal Resumed\n");
  EXPECT_EQ(plan(job(R"({"parallelism":2,"completions":2,"suspend":true})")),
            "status Suspended/True/JobSuspended\nevent Normal Suspended\n");
}
TEST(JobPlan, ShrinksByTheUsualOrderWithoutCounting) {
  EXPECT_EQ(
      plan(job(R"({"parallelism":1,"completions":5})", kStarted), "a ready=100 node=n\nb phase=Pending"),
      "status active=1 ready=1 terminating=1\nuntrack b\ndelete b\n");
}
TEST(JobPlan, Indexes) {
  const char* spec = R"({"parallelism":3,"completions":5,"completionMode":"Indexed"})";
  EXPECT_EQ(plan(job(spec)), "status active=3\ncreate 0\ncreate 1\ncreate 2\n");
  const char* some =
      R"({"startTime":"2027-01-15T07:00:00Z","active":3,"ready":0,"terminating":0,"succeeded":1,"completedIndexes":"1","uncountedTerminatedPods":{}})";
  EXPECT_EQ(
      plan(job(spec, some), "a index=0\nb index=2 phase=Succeeded\nc index=3\nd index=3 phase=Pending"),
      "status active=2 succeeded=2 terminating=1 completedIndexes=1,2\nuntrack b\nuntrack d\ndelete d\n");
  EXPECT_EQ(plan(job(spec, R"({"completedIndexes":"0-2,4","succeeded":4})"), "c index=3\nx index=9"),
            "status active=1 succeeded=4 terminating=1 completedIndexes=0-2,4\nuntrack x\ndelete x\n");
}
TEST(JobPlan, ALimitPerIndex) {
  const char* spec =
      R"({"parallelism":2,"completions":2,"completionMode":"Indexed","backoffLimitPerIndex":1,"backoffLimit":2147483647})";
  const char* status =
      R"({"startTime":"2027-01-15T07:00:00Z","active":2,"ready":0,"terminating":0,"failedIndexes":"","uncountedTerminatedPods":{}})";
  // The failed Pod keeps its finalizer until the next one bears the number of failures.
  EXPECT_EQ(plan(job(spec, status), "a index=0 phase=Failed ended=3\nb index=1"),
            "status active=1 failedIndexes=\nagain in 7000ms\n");
  EXPECT_EQ(plan(job(spec, status), "a index=0 phase=Failed ended=12\nb index=1"),
            "create 0 after 1 failures\n");
  EXPECT_EQ(plan(job(spec, status), "a index=0 phase=Failed ended=12\nb index=1\nc index=0 failures=1"),
            "status active=2 failedIndexes= failed:uid-a\nuntrack a\n");
  EXPECT_EQ(plan(job(spec, status), "b index=1\nc index=0 failures=1 phase=Failed ended=2"),
            "status active=1 failedIndexes=0 failed:uid-c\nuntrack c\n");
  EXPECT_EQ(
      plan(job(
          spec,
          R"({"startTime":"2027-01-15T07:00:00Z","ready":0,"terminating":0,"failed":2,"failedIndexes":"0","completedIndexes":"1","succeeded":1,"uncountedTerminatedPods":{}})")),
      "status succeeded=1 failed=2 completedIndexes=1 failedIndexes=0 FailureTarget/True/FailedIndexes "
      "Failed/True/FailedIndexes\nevent Warning FailedIndexes\n");
}
TEST(JobPlan, TooManyFailedIndexes) {
  const char* spec =
      R"({"parallelism":2,"completions":5,"completionMode":"Indexed","backoffLimitPerIndex":0,"maxFailedIndexes":0,"backoffLimit":2147483647})";
  EXPECT_EQ(plan(job(spec, kStarted), "a index=0 phase=Failed\nb index=1"),
            "status terminating=1 failedIndexes=0 failed:uid-a "
            "FailureTarget/True/MaxFailedIndexesExceeded\nuntrack a\ndelete b\n");
}
TEST(JobPlan, FailurePolicy) {
  const std::string rules = R"("podFailurePolicy":{"rules":[
      {"action":"FailJob","onExitCodes":{"containerName":"c","operator":"In","values":[42]}},
      {"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget"}]},
      {"action":"FailJob","onExitCodes":{"operator":"NotIn","values":[1,2]}}]})";
  const std::string spec =
      R"({"parallelism":2,"completions":3,"podReplacementPolicy":"Failed",)" + rules + "}";
  EXPECT_EQ(plan(job(spec, kStarted), "a phase=Failed exit=42\nb"),
            "status terminating=1 failed:uid-a FailureTarget/True/PodFailurePolicy\nuntrack a\ndelete b\n");
  EXPECT_EQ(judge_failure(job(spec), *job_pods("a phase=Failed exit=42")[0]).message,
            "Container c for pod default/a failed with exit code 42 matching FailJob rule at index 0");
  // A disruption is not the program's fault; neither is exit 1 enough to give up.
  EXPECT_EQ(plan(job(spec, kStarted), "a phase=Failed exit=137 condition=DisruptionTarget ended=20\nb"),
            "untrack a\ncreate\n");
  EXPECT_EQ(judge_failure(job(spec), *job_pods("a exit=1")[0]).action, FailureVerdict::Action::kCount);
  EXPECT_EQ(judge_failure(job(spec), *job_pods("a exit=7")[0]).action, FailureVerdict::Action::kFailJob);
}
TEST(JobPlan, ReplacesOnlyWhatHasEnded) {
  const char* failed_only = R"({"parallelism":1,"completions":1,"podReplacementPolicy":"Failed"})";
  const char* at_once = R"({"parallelism":1,"completions":1,"podReplacementPolicy":"TerminatingOrFailed"})";
  const char* status =
      R"({"startTime":"2027-01-15T07:00:00Z","ready":0,"terminating":1,"uncountedTerminatedPods":{}})";
  EXPECT_EQ(plan(job(failed_only, status), "a deleting"), "");
  EXPECT_EQ(plan(job(at_once, status), "a deleting created=30"),
            "status active=1 terminating=1 failed:uid-a\nuntrack a\ncreate\n");
}
TEST(JobPlan, SuccessPolicy) {
  const char* spec =
      R"({"parallelism":3,"completions":3,"completionMode":"Indexed","successPolicy":{"rules":[{"succeededIndexes":"0,2","succeededCount":1}]}})";
  EXPECT_EQ(plan(job(spec, kStarted), "a index=0\nb index=1 phase=Succeeded\nc index=2"),
            "status active=2 succeeded=1 completedIndexes=1\nuntrack b\n");
  EXPECT_EQ(plan(job(spec, kStarted), "a index=0 phase=Succeeded\nb index=1\nc index=2"),
            "status succeeded=1 terminating=2 completedIndexes=0 "
            "SuccessCriteriaMet/True/SuccessPolicy\nuntrack a\ndelete b\ndelete c\n");
}
TEST(JobPlan, AfterTheEnd) {
  const std::string done = R"({"conditions":[{"type":"Complete","status":"True","lastTransitionTime":")" +
                           base::format_time(ago(60)) + R"("}]})";
  EXPECT_EQ(plan(job("{}", done), "a phase=Succeeded"), "untrack a\n");
  EXPECT_EQ(plan(job(R"({"ttlSecondsAfterFinished":100})", done)), "again in 40000ms\n");
  EXPECT_EQ(plan(job(R"({"ttlSecondsAfterFinished":0})", done)), "delete job\n");
}
TEST(JobPlan, AdoptsAndReleases) {
  auto pods = job_pods("orphan untracked\nmine");
  auto stray = std::make_shared<Pod>(*pods[1]);
  auto shape = std::make_shared<PodShape>(*stray->shape);
  shape->labels["app"] = "other";
  stray->shape = shape;
  stray->meta.name = "stray";
  pods.push_back(stray);
  EXPECT_EQ(plan_job(job(R"({"parallelism":2,"completions":2})", kStarted), pods, kNow).text(),
            "adopt orphan\nrelease stray\n");
}
TEST(JobPlan, ThePodKnowsItsIndex) {
  Job indexed =
      job(R"({"parallelism":1,"completions":5,"completionMode":"Indexed","backoffLimitPerIndex":2})");
  const base::json::value pod(pod_of_job(indexed, {3, 1}));
  EXPECT_EQ(base::string_at(pod, "metadata", "generateName"), "j-3-");
  EXPECT_EQ(base::string_at(pod, "metadata", "annotations", kJobIndexFailures), "1");
  EXPECT_EQ(base::string_at(pod, "spec", "hostname"), "j-3");
  EXPECT_EQ(base::to_json(*base::find_path(pod, "metadata", "finalizers")),
            R"(["batch.kubernetes.io/job-tracking"])");
  EXPECT_EQ(
      base::to_json(*base::find_path(pod, "spec", "containers")),
      R"([{"name":"c","env":[{"name":"JOB_COMPLETION_INDEX","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['batch.kubernetes.io/job-completion-index']"}}}]}])");
}

TEST(IndexSet, ReadsAndWrites) {
  IndexSet set = IndexSet::parse("1,3-5,7", 10);
  EXPECT_EQ(set.text(), "1,3-5,7");
  EXPECT_EQ(set.count(), 5);
  for (int i : {2, 6, 0, 9}) set.add(i);
  EXPECT_EQ(set.text(), "0-7,9");
  set.add(8);
  EXPECT_EQ(set.text(), "0-9");
  EXPECT_EQ(IndexSet::parse("0,1", 5).text(), "0,1");
  EXPECT_EQ(IndexSet::parse("3-9", 5).text(), "3,4");  // the Job has become smaller
  EXPECT_EQ(IndexSet::parse("2,x,4", 5).text(), "2");
  for (const char* bad : {"", "-", "-1", "5-3", "x", ",", "99999999999999999999"})
    EXPECT_TRUE(IndexSet::parse(bad, 100).empty()) << bad;
  EXPECT_FALSE(set.contains(10));
  EXPECT_FALSE(set.contains(-1));
}

}  // namespace master::controllers
