#include "master/server/health.h"

#include <algorithm>

namespace master {
namespace {

constexpr std::string_view kEndpoints[] = {"/livez", "/readyz", "/healthz"};

// "/livez/ping" is endpoint "/livez" and check "ping".
bool split_path(std::string_view path, std::string_view* endpoint, std::string_view* check) {
  for (std::string_view one : kEndpoints) {
    if (!path.starts_with(one)) continue;
    std::string_view rest = path.substr(one.size());
    if (!rest.empty() && rest.front() != '/') continue;
    *endpoint = one;
    *check = rest.empty() ? rest : rest.substr(1);
    return true;
  }
  return false;
}

}  // namespace

bool is_health_path(std::string_view path) {
  std::string_view endpoint, check;
  return split_path(path, &endpoint, &check);
}

HealthAnswer answer_health(const std::vector<HealthCheck>& checks, std::string_view path,
                           const std::vector<std::pair<std::string, std::string>>& query) {
  std::string_view endpoint, wanted;
  if (!split_path(path, &endpoint, &wanted)) return {};
  bool ready = endpoint == "/readyz";
  auto asked = [&](const HealthCheck& check) { return ready || check.live; };
  if (!wanted.empty()) {
    for (const HealthCheck& check : checks) {
      if (check.name != wanted || !asked(check)) continue;
      if (check.healthy()) return {200, "ok"};
      return {500, "internal server error: " + check.name + " is not healthy\n"};
    }
    return {404, "404 page not found\n"};
  }
  bool verbose = false, failed = false;
  std::vector<std::string> excluded;
  for (const auto& [key, value] : query) {
    if (key == "verbose") verbose = true;
    if (key == "exclude") excluded.push_back(value);
  }
  std::string body;
  std::vector<std::string> used;
  for (const HealthCheck& check : checks) {
    if (!asked(check)) continue;
    if (std::find(excluded.begin(), excluded.end(), check.name) != excluded.end()) {
      used.push_back(check.name);
      body += "[+]" + check.name + " excluded: ok\n";
    } else if (check.healthy()) {
      body += "[+]" + check.name + " ok\n";
    } else {
      failed = true;
      body += "[-]" + check.name + " failed: reason withheld\n";
    }
  }
  std::string unmatched;
  for (const std::string& name : excluded)
    if (std::find(used.begin(), used.end(), name) == used.end())
      unmatched += (unmatched.empty() ? "\"" : ",\"") + name + "\"";
  if (!unmatched.empty())
    body += "warn: some health checks cannot be excluded: no matches for " + unmatched + "\n";
  std::string name(endpoint.substr(1));
  if (failed) return {500, body + name + " check failed\n"};
  if (!verbose) return {200, "ok"};
  return {200, body + name + " check passed\n"};
}

}  // namespace master
