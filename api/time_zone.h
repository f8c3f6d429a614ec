// Time zones by their IANA names, from the host's zone data (/usr/share/zoneinfo). Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace date {
class time_zone;
}

namespace api {

class TimeZone {
 public:
  // "Europe/Berlin", "UTC"; case counts, as in the data's file names. kNotFound: "unknown time zone X".
  static base::Result<TimeZone> find(std::string_view name);
  static TimeZone utc() { return TimeZone(nullptr); }
  static TimeZone local();  // the host's: /etc/localtime; UTC where that is none
  // RFC 3339 with its offset, "2026-01-02T03:04:05+01:00".
  std::string format(base::Time at) const;

  // What clocks of the zone are ahead of UTC at a time, in seconds. After the data's last change (2037) they
  // stay as that left them.
  int64_t offset_at(base::Time at) const;
  // The time at which clocks show `local` (as if it were UTC). What they skip, or show twice, is read by one
  // of the two offsets, as Go's time.Date does: that before the change where they go back.
  base::Time from_local(base::Time local) const;

 private:
  explicit TimeZone(const date::time_zone* zone) : zone_(zone) {}
  const date::time_zone* zone_;  // null: UTC. The data base keeps it for ever.
};

}  // namespace api
