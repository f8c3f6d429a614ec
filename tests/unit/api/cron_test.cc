#include "api/cron.h"

#include <gtest/gtest.h>

namespace api {
namespace {

struct CronCase {
  const char *schedule, *zone, *after, *next;  // local times with their offset; next "": never
};

base::Time cron_at(std::string_view text) {
  auto time = base::parse_time(text);
  EXPECT_TRUE(time) << text;
  return time.value_or(base::Time{});
}

std::string next_shown(const CronCase& one) {
  auto schedule = CronSchedule::parse(one.schedule);
  if (!schedule.ok()) return schedule.error().reason;
  auto zone = TimeZone::find(one.zone);
  if (!zone.ok()) return zone.error().reason;
  auto next = schedule->next(cron_at(one.after), *zone);
  return next ? zone->format(*next) : "";
}

}  // namespace

TEST(CronSchedule, IsDueNext) {
  for (const CronCase& one : std::initializer_list<CronCase>{
           {"* * * * *", "UTC", "2026-07-09T14:45:00Z", "2026-07-09T14:46:00Z"},
           {"* * * * *", "UTC", "2026-07-09T14:45:59.9Z", "2026-07-09T14:46:00Z"},
           {"0/15 * * * *", "UTC", "2026-07-09T14:45:00Z", "2026-07-09T15:00:00Z"},
           {"20-35/15 * * * *", "UTC", "2026-07-09T14:45:00Z", "2026-07-09T15:20:00Z"},
           {"0 0 * * 0", "UTC", "2026-07-09T14:45:00Z", "2026-07-12T00:00:00Z"},
           {"0 0 * Feb Mon", "UTC", "2026-07-09T23:35:00Z", "2027-02-01T00:00:00Z"},
           {"0 0 29 2 *", "UTC", "2026-07-09T23:35:00Z", "2028-02-29T00:00:00Z"},
           {"0 0 30 2 *", "UTC", "2026-07-09T23:35:00Z", ""},
           {"0 0 31 */2 *", "UTC", "2026-02-09T23:35:00Z", "2026-03-31T00:00:00Z"},
           // Both chosen: either day. One of them free: the other decides.
           {"0 0 13 * FRI", "UTC", "2026-07-09T14:45:00Z", "2026-07-10T00:00:00Z"},
           {"0 0 13 * ?", "UTC", "2026-07-09T14:45:00Z", "2026-07-13T00:00:00Z"},
           {"0 0 */13 * FRI", "UTC", "2026-07-09T14:45:00Z", "2026-07-10T00:00:00Z"},
           {"59 23 31 12 *", "UTC", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"},
           {"@hourly", "UTC", "2026-07-09T14:45:00Z", "2026-07-09T15:00:00Z"},
           {"@weekly", "UTC", "2026-07-09T14:45:00Z", "2026-07-12T00:00:00Z"},
           {"@yearly", "UTC", "2026-07-09T14:45:00Z", "2027-01-01T00:00:00Z"},
           {"@every 1h30m", "UTC", "2026-07-09T14:45:10.5Z", "2026-07-09T16:15:10Z"},
           {"@every 10ms", "UTC", "2026-07-09T14:45:10Z", "2026-07-09T14:45:11Z"},
           // Zones, of whole hours and of others.
           {"30 9 * * *", "Europe/Berlin", "2026-07-09T14:45:00+02:00", "2026-07-10T09:30:00+02:00"},
           {"30 9 * * *", "Asia/Kolkata", "2026-07-09T09:29:00+05:30", "2026-07-09T09:30:00+05:30"},
           {"0 6 * * *", "Asia/Kathmandu", "2026-07-09T05:59:59+05:45", "2026-07-09T06:00:00+05:45"},
           // Clocks go forward: what they skip is not due that day.
           {"30 2 * * *", "Europe/Berlin", "2026-03-29T01:59:00+01:00", "2026-03-30T02:30:00+02:00"},
           {"0 * * * *", "Europe/Berlin", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"},
           {"0 3 * * *", "Europe/Berlin", "2026-03-29T01:59:00+01:00", "2026-03-29T03:00:00+02:00"},
           // They go back: what they show twice is due twice.
           {"30 2 * * *", "Europe/Berlin", "2026-10-25T02:29:00+02:00", "2026-10-25T02:30:00+02:00"},
           {"30 2 * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"},
           {"0 * * * *", "Europe/Berlin", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"},
           // A midnight that clocks skip.
           {"0 0 * * *", "America/Santiago", "2026-09-05T12:00:00-04:00", "2026-09-07T00:00:00-03:00"},
           {"0 1 * * *", "America/Santiago", "2026-09-05T12:00:00-04:00", "2026-09-06T01:00:00-03:00"},
       })
    EXPECT_EQ(next_shown(one), one.next) << one.schedule << " in " << one.zone << " after " << one.after;
}

TEST(CronSchedule, TheLastOfManyIsFoundWithoutAVisitToEach) {
  auto last = [](const char* schedule, const char* after, const char* until) {
    auto found = CronSchedule::parse(schedule)->last(cron_at(after), cron_at(until), TimeZone::utc());
    return found ? base::format_time(*found) : std::string();
  };
  EXPECT_EQ(last("* * * * *", "1980-01-01T00:00:00Z", "2026-07-09T14:45:30Z"), "2026-07-09T14:45:00Z");
  EXPECT_EQ(last("* * * * *", "2026-07-09T14:44:00Z", "2026-07-09T14:45:00Z"), "2026-07-09T14:45:00Z");
  EXPECT_EQ(last("* * * * *", "2026-07-09T14:45:00Z", "2026-07-09T14:45:59Z"), "");
  EXPECT_EQ(last("* * * 7-12 *", "2020-03-01T00:00:00Z", "2026-06-30T00:00:00Z"), "2025-12-31T23:59:00Z");
  EXPECT_EQ(last("0 0 29 2 *", "2001-01-01T00:00:00Z", "2026-07-09T00:00:00Z"), "2024-02-29T00:00:00Z");
  EXPECT_EQ(last("@every 1h", "2026-07-09T10:10:10Z", "2026-07-09T14:45:00Z"), "2026-07-09T14:10:10Z");
  EXPECT_EQ(last("* * * * *", "9999-12-31T23:59:59Z", "2026-07-09T14:45:00Z"), "");
}

TEST(CronSchedule, EndsWhereTimesEnd) {
  auto minutely = CronSchedule::parse("* * * * *");
  EXPECT_FALSE(minutely->next(cron_at("9999-12-31T23:59:59Z"), TimeZone::utc()));
  EXPECT_TRUE(minutely->next(cron_at("0001-01-01T00:00:00Z"), TimeZone::utc()));
}

TEST(CronSchedule, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> kWrong[] = {
      {"", "expected exactly 5 fields, found 0: []"},
      {"* * * *", "expected exactly 5 fields, found 4: [* * * *]"},
      {"60 * * * *", "end of range (60) above maximum (59): 60"},
      {"* * 0 * *", "beginning of range (0) below minimum (1): 0"},
      {"5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2"},
      {"*/0 * * * *", "step of range should be a positive number: */0"},
      {"1-2-3 * * * *", "too many hyphens: 1-2-3"},
      {"1/2/3 * * * *", "too many slashes: 1/2/3"},
      {"x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"},
      {"@often", "unrecognized descriptor: @often"},
      {"@every soon", "failed to parse duration @every soon: time: invalid duration \"soon\""},
  };
  for (const auto& [text, why] : kWrong) {
    auto parsed = CronSchedule::parse(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().reason, why);
  }
}

TEST(TimeZone, KnowsTheHostsZones) {
  EXPECT_FALSE(TimeZone::find("Mars/Olympus").ok());
  EXPECT_FALSE(TimeZone::find("../etc/passwd").ok());
  EXPECT_FALSE(TimeZone::find(std::string_view("UTC\0x", 5)).ok());
  auto berlin = TimeZone::find("Europe/Berlin");
  ASSERT_TRUE(berlin.ok());
  EXPECT_EQ(berlin->offset_at(cron_at("2026-07-01T00:00:00Z")), 7200);
  EXPECT_EQ(berlin->offset_at(cron_at("2060-01-01T00:00:00Z")), 3600);  // as the last change left it
  EXPECT_EQ(berlin->format(cron_at("2026-01-02T03:04:05Z")), "2026-01-02T04:04:05+01:00");
  EXPECT_EQ(berlin->offset_at(base::Time(base::Duration::max())),
            berlin->offset_at(base::Time(base::Duration::max())));
}

}  // namespace api
