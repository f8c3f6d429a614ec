// Schedules against every minute of a while, in zones whose clocks change; and a CronJob lived through with
// crashes between its Job and its status: no time is served twice, and under Forbid no two run at once.
#include "master/controllers/cron_job_plan.h"

#include <ctime>
#include <map>
#include <set>

#include "api/cron.h"
#include "tests/prop/draw.h"
#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;
using prop::Draw;
using prop::each_seed;

namespace {

// A field as text and the set it means, drawn together.
struct DrawnField {
  std::string text;
  std::set<int> values;
  bool any = false;
};
DrawnField draw_field(Draw& draw, int low, int high) {
  DrawnField out;
  if (draw.chance(40)) {
    out.text = "*", out.any = true;
    for (int i = low; i <= high; ++i) out.values.insert(i);
    return out;
  }
  const int parts = 1 + draw.upto(2);
  for (int i = 0; i < parts; ++i) {
    const int from = low + draw.upto(high - low), to = std::min(high, from + draw.upto(10)),
              step = 1 + draw.upto(4);
    out.text += (i ? "," : "") + std::to_string(from) + "-" + std::to_string(to) + "/" + std::to_string(step);
    for (int value = from; value <= to; value += step) out.values.insert(value);
  }
  return out;
}

}  // namespace

TEST(PropCronJobs, NextIsTheFirstMinuteThatFits) {
  each_seed(500, [](Draw& draw) {
    const DrawnField minute = draw_field(draw, 0, 59), hour = draw_field(draw, 0, 23),
                     day = draw_field(draw, 1, 31), month = draw_field(draw, 1, 12),
                     weekday = draw_field(draw, 0, 6);
    const std::string text =
        minute.text + " " + hour.text + " " + day.text + " " + month.text + " " + weekday.text;
    auto schedule = api::CronSchedule::parse(text);
    ASSERT_TRUE(schedule.ok()) << text;
    static constexpr const char* kZones[] = {"UTC", "Asia/Kolkata", "Africa/Lagos"};  // clocks go on evenly
    auto zone = api::TimeZone::find(kZones[draw.upto(2)]);
    ASSERT_TRUE(zone.ok());
    const base::Time after = kNow + std::chrono::seconds(draw.upto(100'000'000));
    auto next = schedule->next(after, *zone);
    auto fits = [&](base::Time at) {
      const std::time_t local =
          std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count() + zone->offset_at(at);
      std::tm clock{};
      ::gmtime_r(&local, &clock);
      const bool on_day = day.values.contains(clock.tm_mday),
                 on_weekday = weekday.values.contains(clock.tm_wday);
      return clock.tm_sec == 0 && minute.values.contains(clock.tm_min) &&
             hour.values.contains(clock.tm_hour) && month.values.contains(clock.tm_mon + 1) &&
             (day.any || weekday.any ? on_day && on_weekday : on_day || on_weekday);
    };
    if (next) {
      EXPECT_TRUE(fits(*next)) << text << " after " << zone->format(after) << ": " << zone->format(*next);
      EXPECT_GT(*next, after);
    }
    base::Time at = std::chrono::ceil<std::chrono::minutes>(after + std::chrono::nanoseconds(1));
    for (int i = 0; i < 60 * 24 * 10 && (!next || at < *next); ++i, at += std::chrono::minutes(1))
      ASSERT_FALSE(fits(at)) << text << " after " << zone->format(after) << " misses " << zone->format(at);
  });
}

TEST(PropCronJobs, NoTimeIsServedTwice) {
  each_seed(300, [](Draw& draw) {
    const bool forbid = draw.chance(50);
    json::value cron =
        base::parse_json(
            R"({"metadata":{"namespace":"default","name":"c","uid":"u1","creationTimestamp":"2027-01-15T08:00:00Z"},)"
            R"("status":{},"spec":{"schedule":"*/5 * * * *","successfulJobsHistoryLimit":2,"failedJobsHistoryLimit":1}})")
            .value();
    if (forbid) cron.get_object()["spec"].get_object()["concurrencyPolicy"] = "Forbid";
    std::map<std::string, Job> jobs;
    std::set<std::string> made;
    base::Time now = kNow;
    for (int round = 0; round < 60; ++round) {
      now += std::chrono::seconds(draw.upto(draw.chance(10) ? 20'000 : 300));
      if (draw.chance(3)) now -= std::chrono::seconds(draw.upto(1000));  // a clock that is set back
      int running = 0;
      for (auto& [name, job] : jobs) {
        if (!job.finished() && draw.chance(40))
          job.status = json::object{
              {"conditions", json::array{json::object{{"type", draw.chance(70) ? "Complete" : "Failed"},
                                                      {"status", "True"}}}},
              {"completionTime", base::format_time(now)}};
        running += !job.finished();
      }
      std::vector<std::shared_ptr<const Job>> view;
      for (const auto& [name, job] : jobs) view.push_back(std::make_shared<Job>(job));
      if (draw.chance(50)) std::reverse(view.begin(), view.end());
      const CronJobPlan plan =
          plan_cron_job(*CronJob::reader(kCronJobs)(cron), view, api::TimeZone::utc(), now);
      json::object status = plan.status;
      if (draw.chance(5)) continue;  // a crash before anything
      if (plan.create) {
        const CronJob at = *CronJob::reader(kCronJobs)(cron);
        Job job;
        job.meta.name = cron_job_name(at, *plan.create);
        job.meta.ns = "default";
        job.meta.uid = "uid-" + job.meta.name;
        job.meta.created = now;
        job.status = json::object{{"startTime", base::format_time(now)}};
        EXPECT_LE(*plan.create, now);
        EXPECT_TRUE(made.insert(job.meta.name).second) << job.meta.name << " twice";
        if (forbid) {
          EXPECT_EQ(running, 0);
        }
        json::value& active = status["active"];
        if (!active.is_array()) active = json::array();
        active.get_array().push_back(active_reference("default", job.meta.name, job.meta.uid));
        status["lastScheduleTime"] = base::format_time(*plan.create);
        jobs.emplace(job.meta.name, std::move(job));
        if (draw.chance(10)) continue;  // a crash between the Job and the status
      }
      cron.get_object()["status"] = std::move(status);
      for (const std::string& name : plan.tidy) jobs.erase(name);
      int complete = 0, failed = 0;
      for (const auto& [name, job] : jobs)
        complete += job.condition("Complete") != nullptr, failed += job.condition("Failed") != nullptr;
      EXPECT_LE(complete, 2);
      EXPECT_LE(failed, 1);
    }
  });
}

}  // namespace master::controllers
