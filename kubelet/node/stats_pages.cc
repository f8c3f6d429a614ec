#include "kubelet/node/stats_pages.h"

#include <fmt/format.h>

namespace kubelet {

namespace json = base::json;

namespace {

double seconds_of(uint64_t ns) { return static_cast<double>(ns) / 1e9; }
double seconds_of(base::Time at) { return static_cast<double>(at.time_since_epoch().count()) / 1e9; }
int64_t ms_of(base::Time at) { return at.time_since_epoch().count() / 1'000'000; }

using Labels = std::vector<std::pair<std::string_view, std::string>>;

// One family: its head, then its samples.
class Page {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    head_ = fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void sample(const Labels& labels, double value, int64_t at_ms = 0) {
    out_ += std::exchange(head_, {});  // a family without samples is not shown
    out_ += name_;
    if (!labels.empty()) {
      out_ += '{';
      for (size_t i = 0; i < labels.size(); ++i)
        out_ += fmt::format("{}{}=\"{}\"", i ? "," : "", labels[i].first, label_text(labels[i].second));
      out_ += '}';
    }
    out_ += fmt::format(" {}", value);
    if (at_ms) out_ += fmt::format(" {}", at_ms);
    out_ += '\n';
  }
  std::string take() { return std::move(out_); }

 private:
  std::string name_, head_, out_;
};

Labels labels_of(const PodSeenStats& pod) { return {{"namespace", pod.of.ns}, {"pod", pod.of.name}}; }
Labels labels_of(const PodSeenStats& pod, const ContainerSeenStats& c) {
  return {{"container", c.of.name}, {"namespace", pod.of.ns}, {"pod", pod.of.name}};
}

// ---- cAdvisor's -----------------------------------------------------------------------------------

struct Row {  // one control group
  Labels labels;
  runtime::CgroupCounters use;
  const ContainerSeenStats* container = nullptr;
};
std::vector<Row> rows_of(const StatsSeen& seen) {
  std::vector<Row> out;
  auto labels = [](std::string container, std::string id, std::string image, std::string name, std::string ns,
                   std::string pod) {
    return Labels{{"container", std::move(container)}, {"id", std::move(id)},
                  {"image", std::move(image)},         {"name", std::move(name)},
                  {"namespace", std::move(ns)},        {"pod", std::move(pod)}};
  };
  Row root{.labels = labels("", "/", "", "", "", ""), .use = {}};
  root.use.cpu_ns = seen.cpu_ns;
  root.use.memory_bytes = seen.memory_bytes;
  root.use.memory_working_set_bytes = seen.memory_working_set_bytes;
  root.use.memory_rss_bytes = seen.memory_rss_bytes;
  root.use.swap_bytes = seen.swap_bytes;
  root.use.page_faults = seen.page_faults;
  root.use.major_page_faults = seen.major_page_faults;
  root.use.pids = static_cast<uint64_t>(std::max<int64_t>(0, seen.processes));
  out.push_back(std::move(root));
  if (seen.all_pods)
    out.push_back({.labels = labels("", seen.cgroup_parent, "", "", "", ""), .use = *seen.all_pods});
  for (const auto& pod : seen.pods) {
    if (pod.use)
      out.push_back({.labels = labels("", pod.of.cgroup, "", "", pod.of.ns, pod.of.name), .use = *pod.use});
    for (const auto& c : pod.containers)
      out.push_back({.labels = labels(c.of.name, c.of.cgroup, c.of.image, c.of.id, pod.of.ns, pod.of.name),
                     .use = c.use,
                     .container = &c});
  }
  return out;
}
Labels with(Labels labels, std::string_view key, std::string value) {
  labels.emplace_back(key, std::move(value));
  return labels;
}

struct Column {
  std::string_view name, type, help;
  uint64_t runtime::CgroupCounters::*value;
  double scale;
};
using C = runtime::CgroupCounters;
constexpr Column kColumns[] = {
    {"container_cpu_user_seconds_total", "counter", "Cumulative user cpu time consumed in seconds.",
     &C::cpu_user_ns, 1e-9},
    {"container_cpu_system_seconds_total", "counter", "Cumulative system cpu time consumed in seconds.",
     &C::cpu_system_ns, 1e-9},
    {"container_cpu_cfs_periods_total", "counter", "Number of elapsed enforcement period intervals.",
     &C::cpu_periods, 1},
    {"container_cpu_cfs_throttled_periods_total", "counter", "Number of throttled period intervals.",
     &C::cpu_throttled_periods, 1},
    {"container_cpu_cfs_throttled_seconds_total", "counter",
     "Total time duration the container has been throttled.", &C::cpu_throttled_ns, 1e-9},
    {"container_memory_usage_bytes", "gauge",
     "Current memory usage in bytes, including all memory regardless of when it was accessed",
     &C::memory_bytes, 1},
    {"container_memory_working_set_bytes", "gauge", "Current working set in bytes.",
     &C::memory_working_set_bytes, 1},
    {"container_memory_rss", "gauge", "Size of RSS in bytes.", &C::memory_rss_bytes, 1},
    {"container_memory_cache", "gauge", "Number of bytes of page cache memory.", &C::memory_file_bytes, 1},
    {"container_memory_mapped_file", "gauge", "Size of memory mapped files in bytes.",
     &C::memory_mapped_bytes, 1},
    {"container_memory_swap", "gauge", "Container swap usage in bytes.", &C::swap_bytes, 1},
    {"container_memory_failcnt", "counter", "Number of memory usage hits limits", &C::memory_limit_hits, 1},
    {"container_oom_events_total", "counter", "Count of out of memory events observed for the container",
     &C::oom_kills, 1},
    {"container_processes", "gauge", "Number of processes running inside the container.", &C::pids, 1},
};

void limits(Page& page, const std::vector<Row>& rows) {
  auto each = [&](std::string_view name, std::string_view help, auto value) {
    page.family(name, "gauge", help);
    for (const Row& row : rows)
      if (row.container)
        if (const std::optional<double> v = value(row.container->of)) page.sample(row.labels, *v);
  };
  auto some = [](double v) { return std::optional<double>(v); };
  each("container_spec_cpu_period", "CPU period of the container.",
       [&](const auto& c) { return c.cpu_limit_milli ? some(100'000) : std::nullopt; });
  each("container_spec_cpu_quota", "CPU quota of the container.", [&](const auto& c) {
    return c.cpu_limit_milli ? some(static_cast<double>(c.cpu_limit_milli) * 100) : std::nullopt;
  });
  each("container_spec_cpu_shares", "CPU share of the container.", [&](const auto& c) {
    return some(static_cast<double>(std::max<int64_t>(2, c.cpu_request_milli * 1024 / 1000)));
  });
  each("container_spec_memory_limit_bytes", "Memory limit for the container.",
       [&](const auto& c) { return some(static_cast<double>(c.memory_limit_bytes)); });
  each("container_start_time_seconds", "Start time of the container since unix epoch in seconds.",
       [&](const auto& c) { return some(seconds_of(c.started_at)); });
}

struct LinkColumn {
  std::string_view name, help;
  uint64_t NetworkCounters::*value;
};
using N = NetworkCounters;
constexpr LinkColumn kLinkColumns[] = {
    {"container_network_receive_bytes_total", "Cumulative count of bytes received", &N::rx_bytes},
    {"container_network_receive_errors_total", "Cumulative count of errors encountered while receiving",
     &N::rx_errors},
    {"container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving",
     &N::rx_dropped},
    {"container_network_receive_packets_total", "Cumulative count of packets received", &N::rx_packets},
    {"container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", &N::tx_bytes},
    {"container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting",
     &N::tx_errors},
    {"container_network_transmit_packets_dropped_total",
     "Cumulative count of packets dropped while transmitting", &N::tx_dropped},
    {"container_network_transmit_packets_total", "Cumulative count of packets transmitted", &N::tx_packets},
};

// ---- the summary ----------------------------------------------------------------------------------

class Summary {
 public:
  Summary(const StatsSeen& seen, const StatsSeen* before, bool short_form)
      : seen_(seen), before_(before), short_(short_form), time_(base::format_time(seen.at)) {
    if (!before_) return;
    for (const auto& pod : before_->pods) {
      if (pod.use) cpu_before_[pod.of.uid] = pod.use->cpu_ns;
      for (const auto& c : pod.containers) cpu_before_[c.of.cgroup] = c.use.cpu_ns;
    }
  }
  json::value make() const {
    json::array pods;
    for (const auto& one : seen_.pods) pods.push_back(pod(one));
    return json::object{{"node", node()}, {"pods", std::move(pods)}};
  }

 private:
  json::object cpu(uint64_t ns, std::optional<uint64_t> ns_before) const {
    json::object out{{"time", time_}};
    if (before_ && ns_before && ns >= *ns_before && seen_.at > before_->at) {
      const double window_ns = static_cast<double>((seen_.at - before_->at).count());
      out["usageNanoCores"] = static_cast<uint64_t>(static_cast<double>(ns - *ns_before) * 1e9 / window_ns);
    }
    out["usageCoreNanoSeconds"] = ns;
    return out;
  }
  std::optional<uint64_t> known(const std::string& key) const {
    auto it = cpu_before_.find(key);
    return it == cpu_before_.end() ? std::nullopt : std::optional(it->second);
  }
  json::object memory(const runtime::CgroupCounters& use, int64_t limit_bytes) const {
    json::object out{{"time", time_}};
    if (limit_bytes > 0)
      out["availableBytes"] = static_cast<uint64_t>(limit_bytes) -
                              std::min(static_cast<uint64_t>(limit_bytes), use.memory_working_set_bytes);
    out["usageBytes"] = use.memory_bytes;
    out["workingSetBytes"] = use.memory_working_set_bytes;
    out["rssBytes"] = use.memory_rss_bytes;
    out["pageFaults"] = use.page_faults;
    out["majorPageFaults"] = use.major_page_faults;
    return out;
  }
  json::object swap(uint64_t bytes) const {
    return {
        {"time", time_},
        {"swapAvailableBytes", seen_.swap_total_bytes - std::min(seen_.swap_total_bytes, seen_.swap_bytes)},
        {"swapUsageBytes", bytes}};
  }
  static json::object link(const std::string& name, const NetworkCounters& n) {
    return {{"name", name},
            {"rxBytes", n.rx_bytes},
            {"rxErrors", n.rx_errors},
            {"txBytes", n.tx_bytes},
            {"txErrors", n.tx_errors}};
  }
  json::object filesystem(const FilesystemSeen& fs, std::optional<DiskUse> use) const {
    json::object out{
        {"time", time_}, {"availableBytes", fs.available_bytes}, {"capacityBytes", fs.capacity_bytes}};
    out["usedBytes"] = use ? use->bytes : fs.capacity_bytes - std::min(fs.capacity_bytes, fs.available_bytes);
    out["inodesFree"] = fs.inodes_free;
    out["inodes"] = fs.inodes;
    out["inodesUsed"] = use ? use->inodes : fs.inodes - std::min(fs.inodes, fs.inodes_free);
    return out;
  }
  json::object node() const {
    json::object out{{"nodeName", seen_.node_name}, {"startTime", base::format_time(seen_.booted_at)}};
    out["cpu"] = cpu(seen_.cpu_ns, before_ ? std::optional(before_->cpu_ns) : std::nullopt);
    out["memory"] = json::object{{"time", time_},
                                 {"availableBytes", seen_.memory_available_bytes},
                                 {"usageBytes", seen_.memory_bytes},
                                 {"workingSetBytes", seen_.memory_working_set_bytes},
                                 {"rssBytes", seen_.memory_rss_bytes},
                                 {"pageFaults", seen_.page_faults},
                                 {"majorPageFaults", seen_.major_page_faults}};
    out["swap"] = swap(seen_.swap_bytes);
    if (seen_.all_pods) {
      json::object pods{{"name", "pods"},
                        {"startTime", base::format_time(seen_.booted_at)},
                        {"cpu", cpu(seen_.all_pods->cpu_ns, before_ && before_->all_pods
                                                                ? std::optional(before_->all_pods->cpu_ns)
                                                                : std::nullopt)},
                        {"memory", memory(*seen_.all_pods, static_cast<int64_t>(seen_.memory_total_bytes))}};
      out["systemContainers"] = json::array{std::move(pods)};
    }
    if (short_) return out;
    json::object network{{"time", time_}};
    json::array links;
    for (const auto& [name, counters] : seen_.links) links.push_back(link(name, counters));
    if (auto it = seen_.links.find(seen_.default_link); it != seen_.links.end())
      for (auto& [key, value] : link(it->first, it->second)) network[key] = value;
    network["interfaces"] = std::move(links);
    out["network"] = std::move(network);
    if (seen_.root) out["fs"] = filesystem(*seen_.root, std::nullopt);
    if (seen_.images)
      out["runtime"] =
          json::object{{"imageFs", filesystem(*seen_.images, std::nullopt)},
                       {"containerFs", seen_.root ? filesystem(*seen_.root, std::nullopt) : json::object()}};
    out["rlimit"] =
        json::object{{"time", time_}, {"maxpid", seen_.max_processes}, {"curproc", seen_.processes}};
    return out;
  }
  json::object container(const ContainerSeenStats& c) const {
    json::object out{{"name", c.of.name},
                     {"startTime", base::format_time(c.of.started_at)},
                     {"cpu", cpu(c.use.cpu_ns, known(c.of.cgroup))},
                     {"memory", memory(c.use, c.of.memory_limit_bytes)},
                     {"swap", swap(c.use.swap_bytes)}};
    if (short_ || !seen_.root) return out;
    if (c.rootfs) out["rootfs"] = filesystem(*seen_.root, c.rootfs);
    if (c.logs) out["logs"] = filesystem(*seen_.root, c.logs);
    return out;
  }
  json::object pod(const PodSeenStats& pod) const {
    json::object out{
        {"podRef", json::object{{"name", pod.of.name}, {"namespace", pod.of.ns}, {"uid", pod.of.uid}}},
        {"startTime", base::format_time(pod.of.started_at)}};
    json::array containers, volumes;
    DiskUse all;
    for (const auto& c : pod.containers) {
      containers.push_back(container(c));
      for (const auto& use : {c.rootfs, c.logs})
        if (use) all.bytes += use->bytes, all.inodes += use->inodes;
    }
    out["containers"] = std::move(containers);
    if (pod.use) {
      out["cpu"] = cpu(pod.use->cpu_ns, known(pod.of.uid));
      out["memory"] = memory(*pod.use, 0);
      out["swap"] = swap(pod.use->swap_bytes);
    }
    if (short_) return out;
    if (pod.network) {
      json::object network{{"time", time_}};
      for (auto& [key, value] : link("eth0", *pod.network)) network[key] = value;
      network["interfaces"] = json::array{link("eth0", *pod.network)};
      out["network"] = std::move(network);
    }
    if (seen_.root) {
      for (const auto& [name, use] : pod.volumes) {
        json::object volume = filesystem(*seen_.root, use);
        volume["name"] = name;
        volumes.push_back(std::move(volume));
        all.bytes += use.bytes, all.inodes += use.inodes;
      }
      if (!volumes.empty()) out["volume"] = std::move(volumes);
      out["ephemeral-storage"] = filesystem(*seen_.root, all);
    }
    if (pod.use) out["process_stats"] = json::object{{"process_count", pod.use->pids}};
    return out;
  }

  const StatsSeen& seen_;
  const StatsSeen* before_;
  const bool short_;
  const std::string time_;
  std::map<std::string, uint64_t> cpu_before_;
};

}  // namespace

std::string label_text(std::string_view value) {
  std::string out;
  for (char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out;
}

std::string resource_page(const StatsSeen& seen) {
  Page page;
  const int64_t at = ms_of(seen.at);
  auto containers = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
    page.family(name, type, help);
    for (const auto& pod : seen.pods)
      for (const auto& c : pod.containers) page.sample(labels_of(pod, c), value(c.use), at);
  };
  auto pods = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
    page.family(name, type, help);
    for (const auto& pod : seen.pods)
      if (pod.use) page.sample(labels_of(pod), value(*pod.use), at);
  };
  auto cpu = [](const C& use) { return seconds_of(use.cpu_ns); };
  auto memory = [](const C& use) { return static_cast<double>(use.memory_working_set_bytes); };
  auto swap = [](const C& use) { return static_cast<double>(use.swap_bytes); };
  containers("container_cpu_usage_seconds_total", "counter",
             "[STABLE] Cumulative cpu time consumed by the container in core-seconds", cpu);
  containers("container_memory_working_set_bytes", "gauge",
             "[STABLE] Current working set of the container in bytes", memory);
  page.family("container_start_time_seconds", "gauge",
              "[STABLE] Start time of the container since unix epoch in seconds");
  for (const auto& pod : seen.pods)
    for (const auto& c : pod.containers) page.sample(labels_of(pod, c), seconds_of(c.of.started_at));
  containers(
      "container_swap_usage_bytes", "gauge",
      "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
      swap);
  page.family("node_cpu_usage_seconds_total", "counter",
              "[STABLE] Cumulative cpu time consumed by the node in core-seconds");
  page.sample({}, seconds_of(seen.cpu_ns), at);
  page.family("node_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the node in bytes");
  page.sample({}, static_cast<double>(seen.memory_working_set_bytes), at);
  page.family("node_swap_usage_bytes", "gauge",
              "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems");
  page.sample({}, static_cast<double>(seen.swap_bytes), at);
  pods("pod_cpu_usage_seconds_total", "counter",
       "[STABLE] Cumulative cpu time consumed by the pod in core-seconds", cpu);
  pods("pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes", memory);
  pods("pod_swap_usage_bytes", "gauge",
       "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems", swap);
  page.family("resource_scrape_error", "gauge",
              "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise");
  page.sample({}, 0);
  page.family("scrape_error", "gauge",
              "[ALPHA] (Deprecated since 1.29.0) 1 if there was an error while getting container metrics, 0 "
              "otherwise");
  page.sample({}, 0);
  return page.take();
}

std::string cadvisor_page(const StatsSeen& seen) {
  Page page;
  const int64_t at = ms_of(seen.at);
  const std::vector<Row> rows = rows_of(seen);
  page.family("cadvisor_version_info", "gauge",
              "A metric with a constant '1' value labeled by kernel version, OS version, docker version, "
              "cadvisor version & cadvisor revision.");
  page.sample({{"cadvisorRevision", ""},
               {"cadvisorVersion", ""},
               {"dockerVersion", ""},
               {"kernelVersion", ""},
               {"osVersion", ""}},
              1);
  page.family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.");
  for (const Row& row : rows) {
    Labels labels = row.labels;
    labels.insert(labels.begin() + 1, {"cpu", "total"});
    page.sample(labels, seconds_of(row.use.cpu_ns), at);
  }
  for (const Column& column : kColumns) {
    page.family(column.name, column.type, column.help);
    for (const Row& row : rows)
      page.sample(row.labels, static_cast<double>(row.use.*column.value) * column.scale, at);
  }
  page.family("container_memory_failures_total", "counter",
              "Cumulative count of memory allocation failures.");
  for (const Row& row : rows) {
    page.sample(with(with(row.labels, "failure_type", "pgfault"), "scope", "hierarchy"),
                static_cast<double>(row.use.page_faults), at);
    page.sample(with(with(row.labels, "failure_type", "pgmajfault"), "scope", "hierarchy"),
                static_cast<double>(row.use.major_page_faults), at);
  }
  page.family("container_last_seen", "gauge", "Last time a container was seen by the exporter");
  for (const Row& row : rows) page.sample(row.labels, static_cast<double>(at / 1000), at);
  limits(page, rows);
  for (const LinkColumn& column : kLinkColumns) {
    page.family(column.name, "counter", column.help);
    auto labels = [](std::string id, std::string link, std::string ns, std::string pod) {
      return Labels{{"container", ""},      {"id", std::move(id)},
                    {"image", ""},          {"interface", std::move(link)},
                    {"name", ""},           {"namespace", std::move(ns)},
                    {"pod", std::move(pod)}};
    };
    for (const auto& [name, counters] : seen.links)
      page.sample(labels("/", name, "", ""), static_cast<double>(counters.*column.value), at);
    for (const auto& pod : seen.pods)
      if (pod.network)
        page.sample(labels(pod.of.cgroup, "eth0", pod.of.ns, pod.of.name),
                    static_cast<double>((*pod.network).*column.value), at);
  }
  page.family("container_fs_usage_bytes", "gauge",
              "Number of bytes that are consumed by the container on this filesystem.");
  for (const auto& pod : seen.pods)
    for (const auto& c : pod.containers)
      if (c.rootfs)
        page.sample({{"container", c.of.name},
                     {"device", ""},
                     {"id", c.of.cgroup},
                     {"image", c.of.image},
                     {"name", c.of.id},
                     {"namespace", pod.of.ns},
                     {"pod", pod.of.name}},
                    static_cast<double>(c.rootfs->bytes), at);
  page.family("machine_cpu_cores", "gauge", "Number of logical CPU cores.");
  page.sample({}, static_cast<double>(seen.cpus));
  page.family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
  page.sample({}, static_cast<double>(seen.memory_total_bytes));
  page.family("machine_swap_bytes", "gauge", "Amount of swap memory available on the machine.");
  page.sample({}, static_cast<double>(seen.swap_total_bytes));
  page.family("container_scrape_error", "gauge",
              "1 if there was an error while getting container metrics, 0 otherwise");
  page.sample({}, 0);
  return page.take();
}

json::value stats_summary(const StatsSeen& seen, const StatsSeen* before, bool only_cpu_and_memory) {
  return Summary(seen, before, only_cpu_and_memory).make();
}

}  // namespace kubelet
