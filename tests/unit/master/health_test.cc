#include "master/server/health.h"

#include <gtest/gtest.h>

namespace master {
namespace {

using Query = std::vector<std::pair<std::string, std::string>>;

TEST(Health, AnswersAsKubeApiserverDoes) {
  bool store = true, started = false;
  std::vector<HealthCheck> checks = {{"ping", true, [] { return true; }},
                                     {"etcd", true, [&] { return store; }},
                                     {"poststarthook/start-controllers", false, [&] { return started; }}};
  auto answer = [&](std::string_view path, Query query = {}) {
    HealthAnswer a = answer_health(checks, path, query);
    return std::to_string(a.status) + " " + a.body;
  };
  EXPECT_EQ(answer("/livez"), "200 ok");
  EXPECT_EQ(answer("/healthz"), "200 ok");
  EXPECT_EQ(answer("/livez", {{"verbose", ""}}), "200 [+]ping ok\n[+]etcd ok\nlivez check passed\n");
  EXPECT_EQ(answer("/readyz"),
            "500 [+]ping ok\n[+]etcd ok\n[-]poststarthook/start-controllers failed: reason withheld\nreadyz "
            "check failed\n");
  EXPECT_EQ(answer("/readyz", {{"exclude", "poststarthook/start-controllers"}}), "200 ok");
  EXPECT_EQ(answer("/livez", {{"verbose", "1"}, {"exclude", "etcd"}, {"exclude", "nonsense"}}),
            "200 [+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches "
            "for \"nonsense\"\n"
            "livez check passed\n");
  EXPECT_EQ(answer("/livez/etcd"), "200 ok");
  EXPECT_EQ(answer("/readyz/poststarthook/start-controllers").substr(0, 3), "500");
  EXPECT_EQ(answer("/livez/poststarthook/start-controllers").substr(0, 3), "404");
  EXPECT_EQ(answer("/livezzz").substr(0, 3), "404");
  store = false;
  started = true;
  EXPECT_EQ(answer("/livez").substr(0, 3), "500");
  EXPECT_EQ(answer("/livez/ping"), "200 ok");
}

}  // namespace
}  // namespace master
