// A KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1): profiles by scheduler name, with their
// rules, weights and arguments, and the queue's back-off. What is not known here is refused by its path,
// never passed over. Pure.
#pragma once

#include "base/result.h"
#include "master/scheduler/rule.h"

namespace master::scheduler {

struct Config {
  std::map<std::string, Profile> profiles = {{"default-scheduler", Profile{}}};  // by scheduler name
  base::Duration first_backoff = std::chrono::seconds(1), last_backoff = std::chrono::seconds(10);
};
base::Result<Config> read_config(const json::value& file);

}  // namespace master::scheduler
