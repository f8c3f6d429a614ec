// Counters, gauges and histograms, and their page in Prometheus' text format 0.0.4. A series is found
// once and kept by reference; counting is an addition. One thread: that of the loop which serves the
// page.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace base::metrics {

// {"verb", "GET"}… in the order in which they are shown.
using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

class Value {  // a counter or a gauge
 public:
  void add(double by = 1) { value_ += by; }
  void set(double value) { value_ = value; }
  double get() const { return value_; }

 private:
  double value_ = 0;
};

class Histogram {
 public:
  explicit Histogram(const std::vector<double>& bounds) : bounds_(&bounds), counts_(bounds.size() + 1) {}
  void observe(double value);

 private:
  friend class Registry;
  const std::vector<double>* bounds_;  // of the family
  std::vector<uint64_t> counts_;       // per bucket; the last is +Inf
  double sum_ = 0;
};

class Registry {
 public:
  // `name` must be a literal; the first call for a name fixes its help and kind.
  Value& counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Value& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  Histogram& histogram(std::string_view name, std::string_view help, const std::vector<double>& bounds,
                       const Labels& labels = {});
  // Runs before each page: sets gauges from what others count.
  void before_page(std::function<void()> collect) { collectors_.push_back(std::move(collect)); }
  std::string page();  // "text/plain; version=0.0.4"

 private:
  struct Family {
    std::string help;
    const char* type;
    std::vector<double> bounds;
    std::map<std::string, Value, std::less<>> values;  // by rendered labels
    std::map<std::string, Histogram, std::less<>> histograms;
  };
  Family& family(std::string_view name, std::string_view help, const char* type);
  std::map<std::string, Family, std::less<>> families_;
  std::vector<std::function<void()>> collectors_;
};

constexpr std::string_view kPageType = "text/plain; version=0.0.4; charset=utf-8";
// process_cpu_seconds_total and its like, read from /proc/self for each page.
void add_process_metrics(Registry& registry);

}  // namespace base::metrics
