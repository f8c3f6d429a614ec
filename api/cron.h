// CronSchedule: when a CronJob's schedule is due. The form, the errors and what happens when clocks are put
// forward or back are those of robfig/cron 3 (ParseStandard), which Kubernetes uses. Pure; any thread.
#pragma once

#include <array>
#include <bitset>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "api/time_zone.h"
#include "base/clock.h"
#include "base/result.h"

namespace api {

class CronSchedule {
 public:
  // Five fields, "@hourly" and its like, or "@every 1h30m". kInvalid's reason is the sentence to show.
  static base::Result<CronSchedule> parse(std::string_view text);

  // The first time after `after` that is due in `zone`; none within five years: never (30 February).
  std::optional<base::Time> next(base::Time after, const TimeZone& zone) const;
  // The last one after `after` that is not later than `until`: some thirty times the work of next(), however
  // many there are between.
  std::optional<base::Time> last(base::Time after, base::Time until, const TimeZone& zone) const;

 private:
  struct Field {
    std::bitset<64> values;
    bool any = false;  // "*" or "?"
  };
  enum Place { kMinute, kHour, kDay, kMonth, kWeekday };
  bool is_day(const std::tm& at) const;

  std::array<Field, 5> fields_;
  std::chrono::seconds every_{0};  // greater: by this interval, and no fields
};

}  // namespace api
