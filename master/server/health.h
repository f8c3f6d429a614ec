// /livez, /readyz and /healthz as kube-apiserver answers them: all checks, one by its path, ?verbose and
// ?exclude=. Pure but for the checks themselves.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace master {

struct HealthCheck {
  std::string name;  // "ping", "poststarthook/start-controllers"
  bool live = true;  // asked by /livez and /healthz; /readyz asks all
  std::function<bool()> healthy;
};
struct HealthAnswer {
  int status = 404;  // 404: `path` is no health endpoint or names no check
  std::string body;  // text/plain
};
// `path` without query: "/readyz", "/livez/ping". `query` as parse_query() gives it.
HealthAnswer answer_health(const std::vector<HealthCheck>& checks, std::string_view path,
                           const std::vector<std::pair<std::string, std::string>>& query);
bool is_health_path(std::string_view path);

}  // namespace master
