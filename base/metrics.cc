#include "base/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/sys.h"

namespace base::metrics {
namespace {

std::string render(const Labels& labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    if (!out.empty()) out += ',';
    out.append(name).append("=\"");
    for (char c : value) {
      if (c == '\\' || c == '"') out += '\\';
      if (c == '\n') out += "\\n";
      else out += c;
    }
    out += '"';
  }
  return out;
}
void number(std::string& out, double value) {
  char text[32];
  auto end = value == static_cast<double>(static_cast<int64_t>(value)) && value < 1e15 && value > -1e15
                 ? std::to_chars(text, text + sizeof text, static_cast<int64_t>(value)).ptr
                 : std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, end);
}
void line(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels,
          double value) {
  out.append(name).append(suffix);
  if (!labels.empty()) out.append("{").append(labels).append("}");
  out += ' ';
  number(out, value);
  out += '\n';
}

}  // namespace

void Histogram::observe(double value) {
  size_t at =
      static_cast<size_t>(std::lower_bound(bounds_->begin(), bounds_->end(), value) - bounds_->begin());
  ++counts_[at];
  sum_ += value;
}

Registry::Family& Registry::family(std::string_view name, std::string_view help, const char* type) {
  auto it = families_.find(name);
  if (it == families_.end())
    it = families_.emplace(std::string(name), Family{std::string(help), type, {}, {}, {}}).first;
  return it->second;
}
Value& Registry::counter(std::string_view name, std::string_view help, const Labels& labels) {
  return family(name, help, "counter").values[render(labels)];
}
Value& Registry::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  return family(name, help, "gauge").values[render(labels)];
}
Histogram& Registry::histogram(std::string_view name, std::string_view help,
                               const std::vector<double>& bounds, const Labels& labels) {
  Family& f = family(name, help, "histogram");
  if (f.bounds.empty()) f.bounds = bounds;
  return f.histograms.try_emplace(render(labels), f.bounds).first->second;
}

std::string Registry::page() {
  for (const auto& collect : collectors_) collect();
  std::string out;
  for (const auto& [name, family] : families_) {
    if (family.values.empty() && family.histograms.empty()) continue;
    out.append("# HELP ")
        .append(name)
        .append(" ")
        .append(family.help)
        .append("\n# TYPE ")
        .append(name)
        .append(" ");
    out.append(family.type).append("\n");
    for (const auto& [labels, value] : family.values) line(out, name, "", labels, value.get());
    for (const auto& [labels, histogram] : family.histograms) {
      uint64_t total = 0;
      for (size_t i = 0; i < histogram.counts_.size(); ++i) {
        total += histogram.counts_[i];
        std::string bound = labels.empty() ? "le=\"" : labels + ",le=\"";
        if (i < family.bounds.size()) number(bound, family.bounds[i]);
        else bound += "+Inf";
        line(out, name, "_bucket", bound + "\"", static_cast<double>(total));
      }
      line(out, name, "_sum", labels, histogram.sum_);
      line(out, name, "_count", labels, static_cast<double>(total));
    }
  }
  return out;
}

void add_process_metrics(Registry& registry) {
  registry.before_page([&registry] {
    auto set = [&](std::string_view name, std::string_view help, double value) {
      registry.gauge(name, help).set(value);
    };
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    registry.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
        .set(seconds(usage.ru_utime) + seconds(usage.ru_stime));
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    set("process_max_fds", "Maximum number of open file descriptors.", static_cast<double>(limit.rlim_cur));
    int fds = 0;
    if (DIR* dir = ::opendir("/proc/self/fd")) {
      while (::readdir(dir)) ++fds;
      ::closedir(dir);
    }
    set("process_open_fds", "Number of open file descriptors.",
        std::max(0, fds - 3));  // ".", ".." and the listing's own
    auto stat = sys::read_file("/proc/self/stat");
    if (!stat.ok()) return;
    size_t at = stat->rfind(')');  // the name may hold anything
    if (at == std::string::npos) return;
    unsigned long long started = 0, virtual_bytes = 0;
    long long pages = 0;
    // proc(5): starttime is field 22, vsize 23, rss 24; the text begins at field 3.
    if (std::sscanf(
            stat->c_str() + at + 1,
            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu %llu %lld",
            &started, &virtual_bytes, &pages) != 3)
      return;
    set("process_virtual_memory_bytes", "Virtual memory size in bytes.", static_cast<double>(virtual_bytes));
    set("process_resident_memory_bytes", "Resident memory size in bytes.",
        static_cast<double>(pages * ::sysconf(_SC_PAGESIZE)));
    timespec boot{}, now{};
    ::clock_gettime(CLOCK_BOOTTIME, &boot);
    ::clock_gettime(CLOCK_REALTIME, &now);
    double age = static_cast<double>(boot.tv_sec) + static_cast<double>(boot.tv_nsec) / 1e9 -
                 static_cast<double>(started) / static_cast<double>(::sysconf(_SC_CLK_TCK));
    set("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
        static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9 - age);
  });
}

}  // namespace base::metrics
