#include "base/metrics.h"

#include <gtest/gtest.h>

namespace base::metrics {
namespace {

TEST(Metrics, PageIsInPrometheusTextFormat) {
  Registry registry;
  registry.counter("requests_total", "Requests.", {{"verb", "GET"}, {"code", "200"}}).add(3);
  registry.counter("requests_total", "Requests.", {{"verb", "GET"}, {"code", "200"}}).add();
  registry.gauge("temperature", "Degrees.").set(-1.5);
  registry.counter("odd_total", "Odd.", {{"text", "a\"b\\c\nd"}}).add();
  Histogram& histogram = registry.histogram("seconds", "Seconds.", {0.1, 1}, {{"verb", "GET"}});
  for (double value : {0.05, 0.1, 0.5, 7.0}) histogram.observe(value);
  EXPECT_EQ(registry.page(),
            "# HELP odd_total Odd.\n# TYPE odd_total counter\nodd_total{text=\"a\\\"b\\\\c\\nd\"} 1\n"
            "# HELP requests_total Requests.\n# TYPE requests_total "
            "counter\nrequests_total{verb=\"GET\",code=\"200\"} 4\n"
            "# HELP seconds Seconds.\n# TYPE seconds histogram\n"
            "seconds_bucket{verb=\"GET\",le=\"0.1\"} 2\nseconds_bucket{verb=\"GET\",le=\"1\"} 3\n"
            "seconds_bucket{verb=\"GET\",le=\"+Inf\"} 4\nseconds_sum{verb=\"GET\"} "
            "7.65\nseconds_count{verb=\"GET\"} 4\n"
            "# HELP temperature Degrees.\n# TYPE temperature gauge\ntemperature -1.5\n");
}

TEST(Metrics, TellsOfItsProcess) {
  Registry registry;
  add_process_metrics(registry);
  std::string page = registry.page();
  for (const char* name :
       {"process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds ",
        "process_max_fds ", "process_virtual_memory_bytes ", "process_start_time_seconds "})
    EXPECT_NE(page.find(name), std::string::npos) << name;
  auto value = [&](const std::string& name) {
    return std::stod(page.substr(page.find("\n" + name + " ") + name.size() + 2));
  };
  EXPECT_GT(value("process_resident_memory_bytes"), 1e6);
  EXPECT_LE(value("process_start_time_seconds"), static_cast<double>(std::time(nullptr)));
  EXPECT_GT(value("process_start_time_seconds"), static_cast<double>(std::time(nullptr)) - 3600);
}

}  // namespace
}  // namespace base::metrics
