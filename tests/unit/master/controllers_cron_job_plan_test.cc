#include "master/controllers/cron_job_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

namespace {

// A CronJob "c" with uid u1, made an hour before now (2027-01-15T08:00:00Z); `spec` and `status` as JSON.
CronJob cron_job(const std::string& spec, const std::string& status = "{}") {
  const std::string text =
      R"({"metadata":{"namespace":"default","name":"c","uid":"u1","resourceVersion":"5",)"
      R"("creationTimestamp":"2027-01-15T07:00:00Z"},"spec":)" +
      spec + R"(,"status":)" + status + "}";
  return *CronJob::reader(kCronJobs)(base::parse_json(text).value());
}
// "c-1 running", "c-2 complete=100" or "c-3 failed=50" (ended so many seconds ago) with uid-NAME; started=.
std::vector<std::shared_ptr<const Job>> cron_jobs(const std::string& text) {
  std::vector<std::shared_ptr<const Job>> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    Job job;
    if (!(words >> job.meta.name)) continue;
    job.meta.ns = "default";
    job.meta.uid = "uid-" + job.meta.name;
    job.meta.created = ago(1000);
    json::object status;
    for (std::string word; words >> word;) {
      const std::string value = word.substr(word.find('=') + 1);
      if (word == "deleting") job.meta.deleting = true;
      if (word.starts_with("started=")) status["startTime"] = base::format_time(ago(std::stoi(value)));
      const bool complete = word.starts_with("complete=");
      if (!complete && !word.starts_with("failed=")) continue;
      if (complete) status["completionTime"] = base::format_time(ago(std::stoi(value)));
      status["conditions"] =
          json::array{json::object{{"type", complete ? "Complete" : "Failed"}, {"status", "True"}}};
    }
    job.status = std::move(status);
    out.push_back(std::make_shared<Job>(std::move(job)));
  }
  return out;
}
std::string cron_plan(const CronJob& cron, const std::string& jobs = "") {
  return plan_cron_job(cron, cron_jobs(jobs), api::TimeZone::utc(), kNow).text();
}
constexpr const char* kRan8 = R"({"lastScheduleTime":"2027-01-15T08:00:00Z"})";

}  // namespace

TEST(CronJobPlan, StartsWhatIsDue) {
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"0 * * * *"})")),
            "create for 2027-01-15T08:00:00Z\nagain in 3600100ms\n");
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"0 * * * *"})", kRan8)), "again in 3600100ms\n");
  EXPECT_EQ(
      cron_plan(cron_job(R"({"schedule":"1 * * * *"})", R"({"lastScheduleTime":"2027-01-15T07:01:00Z"})")),
      "again in 60100ms\n");
}
TEST(CronJobPlan, OfManyMissedTimesTheLastIsServed) {
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"*/10 * * * *"})")),
            "create for 2027-01-15T08:00:00Z\nagain in 600100ms\n");
  EXPECT_EQ(
      cron_plan(cron_job(R"({"schedule":"* * * * *"})", R"({"lastScheduleTime":"2020-01-01T00:00:00Z"})")),
      "create for 2027-01-15T08:00:00Z\n"
      "event Warning TooManyMissedTimes: too many missed start times. Set or decrease "
      ".spec.startingDeadlineSeconds or check clock skew\nagain in 60100ms\n");
}
TEST(CronJobPlan, WhatIsTooLateIsLeftOut) {
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"30 * * * *","startingDeadlineSeconds":600})")),
            "again in 1800100ms\n");
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"30 * * * *","startingDeadlineSeconds":3000})")),
            "create for 2027-01-15T07:30:00Z\nagain in 1800100ms\n");
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"30 * * * *","startingDeadlineSeconds":9223372036854775807})")),
            "create for 2027-01-15T07:30:00Z\nagain in 1800100ms\n");
}
TEST(CronJobPlan, AClockThatWentBackStartsNothingTwice) {
  EXPECT_EQ(
      cron_plan(cron_job(R"({"schedule":"0 * * * *"})", R"({"lastScheduleTime":"2027-01-15T10:00:00Z"})")),
      "again in 3600100ms\n");
}
TEST(CronJobPlan, AStatusThatLiesStartsNothingOld) {
  for (const char* last : {"9999-12-31T23:59:59Z", "2262-04-12T00:00:00Z", "2400-01-01T00:00:00Z"})
    EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"* * * * *"})",
                                 std::string(R"({"lastScheduleTime":")") + last + "\"}"))
                  .find("create"),
              std::string::npos)
        << last;
  for (const char* last : {"1700-01-01T00:00:00Z", "0001-01-01T00:00:00Z"})
    EXPECT_TRUE(cron_plan(cron_job(R"({"schedule":"* * * * *"})",
                                   std::string(R"({"lastScheduleTime":")") + last + "\"}"))
                    .starts_with("create for 2027-01-15T08:00:00Z\n"))
        << last;
}
TEST(CronJobPlan, OneOfTheSameTimeIsNotMadeAgain) {
  // The last round ended between the Job and the status.
  EXPECT_EQ(
      cron_plan(cron_job(R"({"schedule":"0 * * * *"})"), "c-30000000 started=0"),
      R"(status {"active":[{"kind":"Job","namespace":"default","name":"c-30000000","uid":"uid-c-30000000",)"
      R"("apiVersion":"batch/v1"}],"lastScheduleTime":"2027-01-15T08:00:00Z"})"
      "\nevent Warning UnexpectedJob: Saw a job that the controller did not create or forgot: c-30000000\n"
      "again in 3600100ms\n");
}
TEST(CronJobPlan, ConcurrencyIsAPolicy) {
  const std::string active = R"({"active":[{"kind":"Job","namespace":"default","name":"c-1","uid":"uid-c-1",)"
                             R"("apiVersion":"batch/v1"}]})";
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"0 * * * *","concurrencyPolicy":"Allow"})", active), "c-1"),
            "create for 2027-01-15T08:00:00Z\nagain in 3600100ms\n");
  EXPECT_EQ(
      cron_plan(cron_job(R"({"schedule":"0 * * * *","concurrencyPolicy":"Forbid"})", active), "c-1"),
      "event Normal JobAlreadyActive: Not starting job because prior execution is running and concurrency "
      "policy is Forbid\nagain in 3600100ms\n");
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"0 * * * *","concurrencyPolicy":"Replace"})", active), "c-1"),
            "replace c-1\ncreate for 2027-01-15T08:00:00Z\nstatus {}\nagain in 3600100ms\n");
}
TEST(CronJobPlan, TellsHowItsJobsEnded) {
  const std::string active =
      R"({"lastScheduleTime":"2027-01-15T08:00:00Z","active":[{"name":"c-1","uid":"uid-c-1"},)"
      R"({"name":"c-2","uid":"uid-c-2"},{"name":"c-3","uid":"uid-c-3"}]})";
  EXPECT_EQ(
      cron_plan(cron_job(R"({"schedule":"0 * * * *"})", active), "c-1 complete=60\nc-2 failed=50"),
      R"(status {"lastSuccessfulTime":"2027-01-15T07:59:00Z","lastScheduleTime":"2027-01-15T08:00:00Z"})"
      "\nevent Normal SawCompletedJob: Saw completed job: c-1, condition: Complete\n"
      "event Normal SawCompletedJob: Saw completed job: c-2, condition: Failed\n"
      "event Normal MissingJob: Active job went missing: c-3\nagain in 3600100ms\n");
}
TEST(CronJobPlan, KeepsAHistory) {
  const std::string status =
      R"({"lastScheduleTime":"2027-01-15T08:00:00Z","lastSuccessfulTime":"2027-01-15T08:00:00Z"})";
  EXPECT_EQ(
      cron_plan(
          cron_job(R"({"schedule":"0 * * * *","successfulJobsHistoryLimit":2,"failedJobsHistoryLimit":0})",
                   status),
          "c-1 complete=60 started=900\nc-2 complete=60 started=800\nc-3 complete=60 started=950\n"
          "c-4 failed=50 started=700\nc-5 complete=10 started=990 deleting"),
      "tidy c-3\ntidy c-4\nagain in 3600100ms\n");
}
TEST(CronJobPlan, SuspendedOrDeletedItStartsNothing) {
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"0 * * * *","suspend":true})")), "");
  CronJob leaving = cron_job(R"({"schedule":"0 * * * *"})");
  leaving.meta.deleting = true;
  EXPECT_EQ(cron_plan(leaving), "");
}
TEST(CronJobPlan, WhatCannotBeReadIsSaid) {
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"0 * * *"})")),
            "event Warning UnparseableSchedule: unparseable schedule: \"0 * * *\" : expected exactly 5 "
            "fields, found "
            "4: [0 * * *]\n");
  EXPECT_EQ(
      cron_plan(cron_job(R"({"schedule":"0 * * * *","timeZone":"Mars/Olympus"})")),
      "event Warning UnknownTimeZone: invalid timeZone: \"Mars/Olympus\": unknown time zone Mars/Olympus\n");
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"0 0 30 2 *"})")), "");  // never
}
TEST(CronJobPlan, AZoneMovesTheTime) {
  EXPECT_EQ(cron_plan(cron_job(R"({"schedule":"0 9 * * *","timeZone":"Europe/Berlin"})")),
            "create for 2027-01-15T08:00:00Z\nagain in 86400100ms\n");
}
TEST(CronJobPlan, TheJobKnowsItsTime) {
  CronJob cron = cron_job(
      R"({"schedule":"0 9 * * *","timeZone":"Europe/Berlin","jobTemplate":{"metadata":{"labels":{"a":"b"}},"spec":{"parallelism":2}}})");
  EXPECT_EQ(
      base::to_json(json::value(job_of_cron_job(cron, kNow))),
      R"({"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"c-30000000","namespace":"default","labels":{"a":"b"},)"
      R"("annotations":{"batch.kubernetes.io/cronjob-scheduled-timestamp":"2027-01-15T09:00:00+01:00"},)"
      R"("ownerReferences":[{"apiVersion":"batch/v1","kind":"CronJob","name":"c","uid":"u1","controller":true,"blockOwnerDeletion":true}]},)"
      R"("spec":{"parallelism":2}})");
}

}  // namespace master::controllers
