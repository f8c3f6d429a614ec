#include "master/server/node_usage.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace master {

namespace {

constexpr double kLeastWindow = 0.5;      // seconds: less shows the counters' steps
constexpr double kMostCpuSeconds = 1e13;  // and bytes below 2^62: what a node says fits our numbers
constexpr double kMostBytes = 4e18;
constexpr int64_t kMostMilliseconds = 9'000'000'000'000;  // the year 2255

// The text between `text`'s quotes, unescaped; `text` moves behind them.
std::optional<std::string> quoted(std::string_view& text) {
  if (text.empty() || text[0] != '"') return std::nullopt;
  std::string out;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return out;
    }
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) break;
    out += text[i] == 'n' ? '\n' : text[i];
  }
  return std::nullopt;
}

struct PageLine {
  std::string_view name;
  std::string container, ns, pod;
  double value = 0;
  int64_t at_ms = 0;
};
std::optional<PageLine> read_line(std::string_view text) {
  PageLine out;
  size_t end = text.find_first_of("{ ");
  if (end == text.npos || end == 0) return std::nullopt;
  out.name = text.substr(0, end);
  text.remove_prefix(end);
  if (text[0] == '{') {
    text.remove_prefix(1);
    while (!text.empty() && text[0] != '}') {
      size_t equals = text.find('=');
      if (equals == text.npos) return std::nullopt;
      std::string_view label = text.substr(0, equals);
      text.remove_prefix(equals + 1);
      auto value = quoted(text);
      if (!value) return std::nullopt;
      if (label == "container") out.container = std::move(*value);
      else if (label == "namespace") out.ns = std::move(*value);
      else if (label == "pod") out.pod = std::move(*value);
      if (!text.empty() && text[0] == ',') text.remove_prefix(1);
    }
    if (text.empty()) return std::nullopt;
    text.remove_prefix(1);
  }
  if (text.empty() || text[0] != ' ') return std::nullopt;
  text.remove_prefix(1);
  auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), out.value);
  if (error != std::errc() || !std::isfinite(out.value)) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(rest - text.data()));
  if (text.empty()) return out;
  if (text[0] != ' ') return std::nullopt;
  text.remove_prefix(1);
  auto [last, wrong] = std::from_chars(text.data(), text.data() + text.size(), out.at_ms);
  if (wrong != std::errc() || last != text.data() + text.size()) return std::nullopt;
  return out;
}

bool is_sane(double value, double most) { return value >= 0 && value <= most; }

std::optional<Usage> usage_over(double cpu_seconds, double window, const UsageSample& now) {
  if (window < kLeastWindow || cpu_seconds < 0) return std::nullopt;
  const double nanocores = cpu_seconds / window * 1e9;
  if (!is_sane(nanocores, kMostBytes)) return std::nullopt;
  return Usage{std::llround(nanocores), std::llround(now.memory_bytes)};
}
base::Time time_of(int64_t ms) { return base::Time(std::chrono::milliseconds(ms)); }
double seconds_between(const UsageSample& before, const UsageSample& after) {
  return static_cast<double>(after.at_ms - before.at_ms) / 1e3;
}
base::Duration duration_of(double seconds) { return std::chrono::milliseconds(std::llround(seconds * 1e3)); }

}  // namespace

base::Result<NodePage> read_resource_page(std::string_view page) {
  NodePage out;
  while (!page.empty()) {
    size_t end = page.find('\n');
    std::string_view text = page.substr(0, end);
    page.remove_prefix(end == page.npos ? page.size() : end + 1);
    if (text.empty() || text[0] == '#') continue;
    auto line = read_line(text);
    if (!line)
      return base::make_error(base::Kind::kInvalid, "read the node's resource metrics",
                              std::string(text.substr(0, 100)), "no line of Prometheus' text format");
    UsageSample* sample = nullptr;
    std::string_view what = line->name;
    if (what.starts_with("node_")) {
      sample = &out.node;
      what.remove_prefix(5);
    } else if (what.starts_with("container_") && !line->pod.empty() && !line->container.empty()) {
      sample = &out.pods[line->ns + "/" + line->pod][line->container];
      what.remove_prefix(10);
    } else {
      continue;
    }
    if (line->at_ms < 0 || line->at_ms > kMostMilliseconds) continue;
    if (what == "cpu_usage_seconds_total" && is_sane(line->value, kMostCpuSeconds)) {
      sample->cpu_seconds = line->value;
      sample->at_ms = line->at_ms;
      sample->has_cpu = true;
    } else if (what == "memory_working_set_bytes" && is_sane(line->value, kMostBytes)) {
      sample->memory_bytes = line->value;
      sample->has_memory = true;
    } else if (what == "start_time_seconds" && is_sane(line->value, kMostCpuSeconds)) {
      sample->started_s = line->value;
    }
  }
  return out;
}

std::string Usage::cpu() const { return fmt::format("{}n", nanocores); }
std::string Usage::memory() const { return fmt::format("{}Ki", bytes / 1024); }

std::optional<NodeMeasured> node_usage(const NodePage& before, const NodePage& after) {
  if (!before.node.has_cpu || !after.node.has_cpu || !after.node.has_memory) return std::nullopt;
  const double window = seconds_between(before.node, after.node);
  auto usage = usage_over(after.node.cpu_seconds - before.node.cpu_seconds, window, after.node);
  if (!usage) return std::nullopt;
  return NodeMeasured{time_of(after.node.at_ms), duration_of(window), *usage};
}

std::optional<Measured> pod_usage(const NodePage& before, const NodePage& after, std::string_view pod) {
  auto now = after.pods.find(pod);
  if (now == after.pods.end() || now->second.empty()) return std::nullopt;
  auto was = before.pods.find(pod);
  Measured out;
  double longest = 0;
  for (const auto& [name, sample] : now->second) {
    if (!sample.has_cpu || !sample.has_memory) return std::nullopt;
    const UsageSample* earlier = nullptr;
    if (was != before.pods.end())
      if (auto at = was->second.find(name); at != was->second.end() && at->second.has_cpu)
        earlier = &at->second;
    double window = 0, spent = 0;
    if (earlier && earlier->started_s == sample.started_s) {
      window = seconds_between(*earlier, sample);
      spent = sample.cpu_seconds - earlier->cpu_seconds;
    } else {  // started meanwhile
      if (!sample.started_s) return std::nullopt;
      window = static_cast<double>(sample.at_ms) / 1e3 - *sample.started_s;
      if (window < 1) return std::nullopt;
      spent = sample.cpu_seconds;
    }
    auto usage = usage_over(spent, window, sample);
    if (!usage) return std::nullopt;
    out.containers[name] = *usage;
    if (window > longest) longest = window;
    out.at = std::max(out.at, time_of(sample.at_ms));
  }
  out.window = duration_of(longest);
  return out;
}

std::string window_text(base::Duration window) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(window).count();
  const int64_t hours = ms / 3'600'000, minutes = ms / 60'000 % 60, rest = ms % 60'000;
  std::string seconds = fmt::format("{}.{:03}", rest / 1000, rest % 1000);
  seconds.erase(seconds.find_last_not_of('0') + 1);
  if (seconds.back() == '.') seconds.pop_back();
  std::string out;
  if (hours) out += fmt::format("{}h", hours);
  if (hours || minutes) out += fmt::format("{}m", minutes);
  return out + seconds + "s";
}

}  // namespace master
