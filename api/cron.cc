#include "api/cron.h"

#include <algorithm>
#include <ctime>
#include <vector>

#include "api/duration.h"

namespace api {
namespace {

struct CronRange {
  int64_t low, high;
  std::array<const char*, 12> names;  // of the values from `low` on
};
constexpr CronRange kCronRanges[] = {
    {0, 59, {}},
    {0, 23, {}},
    {1, 31, {}},
    {1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
    {0, 6, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}};
constexpr std::pair<std::string_view, const char*> kDescriptors[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};
constexpr int kYearsAhead = 5;

base::Error cron_error(std::string why) {
  return base::make_error(base::Kind::kInvalid, "", "", std::move(why));
}

std::optional<int64_t> cron_number(std::string_view text, const CronRange& field, std::string* wrong) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (size_t i = 0; i < field.names.size() && field.names[i]; ++i)
    if (lower == field.names[i]) return field.low + static_cast<int64_t>(i);
  bool digits = !text.empty() && text.size() < 10 &&
                std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (digits) return std::stoll(std::string(text));
  *wrong = "failed to parse int from " + std::string(text) + ": strconv.Atoi: parsing \"" +
           std::string(text) + "\": invalid syntax";
  return std::nullopt;
}

// One of the comma-separated parts of a field: number | number "-" number [ "/" number ] | * | ?
// "" and the values into `out`, or what is wrong with it.
std::string cron_part(std::string_view part, const CronRange& field, std::bitset<64>& out, bool& any) {
  std::string shown(part), wrong;
  size_t slash = part.find('/');
  std::string_view range = part.substr(0, slash);
  if (slash != std::string_view::npos && part.find('/', slash + 1) != std::string_view::npos)
    return "too many slashes: " + shown;
  int64_t low = field.low, high = field.high, step = 1;
  bool whole = range == "*" || range == "?";
  if (!whole) {
    size_t dash = range.find('-');
    if (dash != std::string_view::npos && range.find('-', dash + 1) != std::string_view::npos)
      return "too many hyphens: " + shown;
    auto first = cron_number(range.substr(0, dash), field, &wrong);
    if (!first) return wrong;
    low = high = *first;
    if (dash != std::string_view::npos) {
      auto last = cron_number(range.substr(dash + 1), field, &wrong);
      if (!last) return wrong;
      high = *last;
    } else if (slash != std::string_view::npos) {
      high = field.high;
    }
  }
  if (slash != std::string_view::npos) {
    auto number = cron_number(part.substr(slash + 1), {0, 0, {}}, &wrong);
    if (!number) return wrong;
    if (*number == 0) return "step of range should be a positive number: " + shown;
    step = *number;
    if (step > 1) whole = false;  // "*/2" counts as a choice
  }
  if (low < field.low)
    return "beginning of range (" + std::to_string(low) + ") below minimum (" + std::to_string(field.low) +
           "): " + shown;
  if (high > field.high)
    return "end of range (" + std::to_string(high) + ") above maximum (" + std::to_string(field.high) +
           "): " + shown;
  if (low > high)
    return "beginning of range (" + std::to_string(low) + ") beyond end of range (" + std::to_string(high) +
           "): " + shown;
  for (int64_t i = low; i <= high; i += step) out.set(static_cast<size_t>(i));
  any |= whole;
  return {};
}

std::vector<std::string_view> cron_words(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> out;
  while (true) {
    size_t from = text.find_first_not_of(separators);
    if (from == std::string_view::npos) return out;
    size_t to = text.find_first_of(separators, from);
    out.push_back(text.substr(from, to - from));
    if (to == std::string_view::npos) return out;
    text.remove_prefix(to);
  }
}

// What clocks of the zone show.
tm cron_clock(int64_t at, const TimeZone& zone) {
  time_t shown = at + zone.offset_at(base::Time(std::chrono::seconds(at)));
  tm out{};
  ::gmtime_r(&shown, &out);
  return out;
}
// The time at which they show this; members out of their range carry over.
int64_t cron_time(int year, int month, int day, int hour, const TimeZone& zone) {
  tm local{};
  local.tm_year = year;
  local.tm_mon = month;
  local.tm_mday = day;
  local.tm_hour = hour;
  base::Time at = zone.from_local(base::Time(std::chrono::seconds(::timegm(&local))));
  return std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
}

}  // namespace

base::Result<CronSchedule> CronSchedule::parse(std::string_view text) {
  CronSchedule out;
  constexpr std::string_view kEvery = "@every ";
  if (text.starts_with(kEvery)) {
    int64_t nanos = 0;
    if (!parse_duration(text.substr(kEvery.size()), &nanos))
      return cron_error("failed to parse duration " + std::string(text) + ": time: invalid duration \"" +
                        std::string(text.substr(kEvery.size())) + "\"");
    out.every_ = std::chrono::seconds(std::max<int64_t>(nanos / 1000000000, 1));
    return out;
  }
  if (text.starts_with("@")) {
    auto known = std::find_if(std::begin(kDescriptors), std::end(kDescriptors),
                              [&](const auto& one) { return one.first == text; });
    if (known == std::end(kDescriptors)) return cron_error("unrecognized descriptor: " + std::string(text));
    return parse(known->second);
  }
  std::vector<std::string_view> fields = cron_words(text, " \t");
  if (fields.size() != out.fields_.size()) {
    std::string shown;
    for (std::string_view field : fields) shown += (shown.empty() ? "" : " ") + std::string(field);
    return cron_error("expected exactly 5 fields, found " + std::to_string(fields.size()) + ": [" + shown +
                      "]");
  }
  for (size_t i = 0; i < fields.size(); ++i)
    for (std::string_view part : cron_words(fields[i], ","))
      if (std::string wrong = cron_part(part, kCronRanges[i], out.fields_[i].values, out.fields_[i].any);
          !wrong.empty())
        return cron_error(std::move(wrong));
  return out;
}

// Days of the month and of the week are alternatives where both are chosen, as in crontab(5).
bool CronSchedule::is_day(const tm& at) const {
  bool day = fields_[kDay].values.test(static_cast<size_t>(at.tm_mday)),
       weekday = fields_[kWeekday].values.test(static_cast<size_t>(at.tm_wday));
  return fields_[kDay].any || fields_[kWeekday].any ? day && weekday : day || weekday;
}

std::optional<base::Time> CronSchedule::next(base::Time after, const TimeZone& zone) const {
  int64_t at = std::chrono::floor<std::chrono::seconds>(after.time_since_epoch()).count();
  constexpr int64_t kEnd = int64_t{250} * 365 * 24 * 3600;  // base::Time goes not much farther
  auto due = [](int64_t seconds) -> std::optional<base::Time> {
    if (seconds > kEnd) return std::nullopt;
    return base::Time(std::chrono::seconds(seconds));
  };
  if (at > kEnd) return std::nullopt;
  if (every_.count() > 0) return due(at + every_.count());
  ++at;
  auto has = [&](Place place, int value) { return fields_[place].values.test(static_cast<size_t>(value)); };
  tm clock = cron_clock(at, zone);
  const int last_year = clock.tm_year + kYearsAhead;
  // Each part is raised until it fits; what stands below it begins anew. A part that wraps sends back to the
  // greatest. Hours and minutes are steps of real time, so that clocks may be changed between them.
  bool began = false;  // what stands below the part in hand is at its least
  while (clock.tm_year <= last_year) {
    bool wrapped = false;
    while (!has(kMonth, clock.tm_mon + 1) && !wrapped) {
      at = cron_time(clock.tm_year, clock.tm_mon + 1, 1, 0, zone);
      began = true;
      clock = cron_clock(at, zone);
      wrapped = clock.tm_mon == 0;
    }
    while (!wrapped && !is_day(clock)) {
      at = cron_time(clock.tm_year, clock.tm_mon, clock.tm_mday + 1, 0, zone);
      began = true;
      clock = cron_clock(at, zone);
      if (clock.tm_hour != 0) {  // a midnight that clocks skip
        at += clock.tm_hour > 12 ? (24 - clock.tm_hour) * 3600 : -clock.tm_hour * 3600;
        clock = cron_clock(at, zone);
      }
      wrapped = clock.tm_mday == 1;
    }
    while (!wrapped && !has(kHour, clock.tm_hour)) {
      if (!began) at -= clock.tm_min * 60 + clock.tm_sec;
      began = true;
      at += 3600;
      clock = cron_clock(at, zone);
      wrapped = clock.tm_hour == 0;
    }
    while (!wrapped && !has(kMinute, clock.tm_min)) {
      if (!began) at -= clock.tm_sec;
      began = true;
      at += 60;
      clock = cron_clock(at, zone);
      wrapped = clock.tm_min == 0;
    }
    if (wrapped) continue;
    if (clock.tm_sec == 0) return due(at);
    at += 60 - clock.tm_sec;
    began = true;
    clock = cron_clock(at, zone);
  }
  return std::nullopt;
}

std::optional<base::Time> CronSchedule::last(base::Time after, base::Time until, const TimeZone& zone) const {
  auto seconds = [](base::Time at) {
    return std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
  };
  auto first = next(after, zone);
  if (!first || *first > until) return std::nullopt;
  if (every_.count() > 0) {
    const int64_t times = (seconds(until) - seconds(*first)) / every_.count();
    return *first + std::chrono::seconds(times * every_.count());
  }
  // What is next never goes back with time: so the last moment from which it is not yet over is looked for.
  int64_t low = seconds(after), high = seconds(until);
  base::Time found = *first;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    const auto then = next(base::Time(std::chrono::seconds(middle)), zone);
    if (then && *then <= until) low = middle, found = *then;
    else high = middle;
  }
  return found;
}

}  // namespace api
