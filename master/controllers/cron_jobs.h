// What controllers keep of a CronJob, read straight from JSON. Shape of batch/v1.
#pragma once

#include <optional>
#include <string>

#include "master/controllers/store.h"

namespace master::controllers {

extern const api::Resource kCronJobs;

struct CronJob {
  Meta meta;
  std::string schedule;
  std::optional<std::string> time_zone;
  std::optional<int64_t> starting_deadline_seconds;
  enum class Concurrency { kAllow, kForbid, kReplace } concurrency = Concurrency::kAllow;
  bool suspend = false;
  std::optional<int> successful_limit, failed_limit;  // of finished Jobs that are kept; none: all
  json::value job_template, status;

  static Store<CronJob>::Reader reader(const api::Resource& resource);
};

}  // namespace master::controllers
