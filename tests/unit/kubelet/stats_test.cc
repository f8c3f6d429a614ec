#include "kubelet/node/stats.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kubelet/node/stats_pages.h"
#include "kubelet/pod/probe_metrics.h"

namespace kubelet {
namespace {

StatsSeen seen() {
  StatsSeen out;
  out.at = base::Time(std::chrono::seconds(1'800'000'000));
  out.node_name = "n1";
  out.cpus = 2;
  out.cpu_ns = 5'500'000'000;
  out.memory_total_bytes = 4096;
  out.memory_bytes = 3000;
  out.memory_working_set_bytes = 2000;
  out.cgroup_parent = "/sampan";
  out.root = FilesystemSeen{.capacity_bytes = 1000, .available_bytes = 400, .inodes = 10, .inodes_free = 4};
  out.links["eth0"] = {1, 2, 3, 4, 5, 6, 7, 8};
  out.default_link = "eth0";
  PodSeenStats pod;
  pod.of = {.ns = "default",
            .name = "web",
            .uid = "u1",
            .cgroup = "/sampan/podu1",
            .host_link = "veth1",
            .started_at = out.at,
            .containers = {},
            .volumes = {}};
  pod.use.emplace();
  pod.use->cpu_ns = 2'000'000'000;
  pod.use->memory_working_set_bytes = 700;
  pod.use->pids = 3;
  pod.network = NetworkCounters{10, 20, 0, 0, 30, 40, 0, 0};
  ContainerSeenStats c;
  c.of = {.name = "c",
          .id = "u1/c-0",
          .image = "img\"\n\\",
          .cgroup = "/sampan/podu1/c-0",
          .writable = "",
          .log = "",
          .started_at = out.at,
          .cpu_limit_milli = 500,
          .cpu_request_milli = 250,
          .memory_limit_bytes = 1024};
  c.use.cpu_ns = 1'250'000'000;
  c.use.memory_working_set_bytes = 600;
  c.use.memory_bytes = 650;
  c.rootfs = DiskUse{100, 2};
  c.logs = DiskUse{50, 1};
  pod.containers.push_back(c);
  pod.volumes.emplace_back("data", DiskUse{7, 1});
  out.pods.push_back(pod);
  return out;
}

bool has_line(const std::string& page, const std::string& line) {
  return ("\n" + page).find("\n" + line + "\n") != std::string::npos;
}

TEST(StatsPages, WhatMetricsServerReads) {
  const std::string page = resource_page(seen());
  for (const char* line :
       {"container_cpu_usage_seconds_total{container=\"c\",namespace=\"default\",pod=\"web\"} 1.25 "
        "1800000000000",
        "container_memory_working_set_bytes{container=\"c\",namespace=\"default\",pod=\"web\"} 600 "
        "1800000000000",
        "container_start_time_seconds{container=\"c\",namespace=\"default\",pod=\"web\"} 1800000000",
        "pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\"} 2 1800000000000",
        "pod_memory_working_set_bytes{namespace=\"default\",pod=\"web\"} 700 1800000000000",
        "node_cpu_usage_seconds_total 5.5 1800000000000", "node_memory_working_set_bytes 2000 1800000000000",
        "resource_scrape_error 0", "scrape_error 0", "# TYPE container_cpu_usage_seconds_total counter",
        "# TYPE container_memory_working_set_bytes gauge"})
    EXPECT_TRUE(has_line(page, line)) << line << "\n" << page;
}

TEST(StatsPages, CadvisorsNamesAndLabels) {
  const std::string page = cadvisor_page(seen());
  const std::string of =
      "container=\"c\",id=\"/sampan/podu1/c-0\",image=\"img\\\"\\n\\\\\",name=\"u1/"
      "c-0\",namespace=\"default\",pod=\"web\"";
  for (const std::string& line : std::vector<std::string>{
           "container_cpu_usage_seconds_total{container=\"c\",cpu=\"total\",id=\"/sampan/podu1/"
           "c-0\",image=\"img\\\"\\n\\\\\",name=\"u1/c-0\",namespace=\"default\",pod=\"web\"} 1.25 "
           "1800000000000",
           "container_memory_working_set_bytes{" + of + "} 600 1800000000000",
           "container_memory_usage_bytes{" + of + "} 650 1800000000000",
           "container_spec_cpu_quota{" + of + "} 50000", "container_spec_cpu_period{" + of + "} 100000",
           "container_spec_cpu_shares{" + of + "} 256", "container_spec_memory_limit_bytes{" + of + "} 1024",
           std::string("container_network_receive_bytes_total{container=\"\",id=\"/sampan/"
                       "podu1\",image=\"\",interface=\"eth0\",name=\"\",namespace=\"default\",pod=\"web\"} "
                       "10 1800000000000"),
           std::string("container_network_transmit_bytes_total{container=\"\",id=\"/"
                       "\",image=\"\",interface=\"eth0\",name=\"\",namespace=\"\",pod=\"\"} 5 1800000000000"),
           std::string("machine_cpu_cores 2")})
    EXPECT_TRUE(has_line(page, line)) << line << "\n" << page;
  for (size_t at = 0; (at = page.find('\n', at)) != std::string::npos; ++at) {  // no line is a label's
    if (at + 1 == page.size()) break;
    EXPECT_TRUE(page[at + 1] == '#' || (page[at + 1] >= 'a' && page[at + 1] <= 'z')) << page.substr(at, 60);
  }
}

TEST(StatsPages, TheSummary) {
  StatsSeen before = seen(), now = seen();
  now.at += std::chrono::seconds(10);
  now.cpu_ns += 10'000'000'000;
  now.pods[0].containers[0].use.cpu_ns += 5'000'000'000;
  const auto value = stats_summary(now, &before, false);
  auto at = [&](auto... keys) {
    const auto* v = base::find_path(value, keys...);
    return v ? base::to_json(*v) : "-";
  };
  EXPECT_EQ(at("node", "nodeName"), "\"n1\"");
  EXPECT_EQ(at("node", "cpu", "usageNanoCores"), "1000000000");
  EXPECT_EQ(at("node", "fs", "usedBytes"), "600");
  EXPECT_EQ(at("node", "network", "rxBytes"), "1");
  const auto& pod = base::find(value, "pods")->get_array()[0];
  auto of = [&](auto... keys) {
    const auto* v = base::find_path(pod, keys...);
    return v ? base::to_json(*v) : "-";
  };
  EXPECT_EQ(of("podRef"), R"({"name":"web","namespace":"default","uid":"u1"})");
  EXPECT_EQ(of("network", "txBytes"), "30");
  EXPECT_EQ(of("ephemeral-storage", "usedBytes"), "157");
  EXPECT_EQ(of("process_stats", "process_count"), "3");
  const auto& container = base::find(pod, "containers")->get_array()[0];
  EXPECT_EQ(base::to_json(*base::find_path(container, "cpu", "usageNanoCores")), "500000000");
  EXPECT_EQ(base::to_json(*base::find_path(container, "memory", "availableBytes")), "424");
  EXPECT_EQ(base::to_json(*base::find_path(container, "rootfs", "usedBytes")), "100");

  const auto brief = stats_summary(now, nullptr, true);
  EXPECT_FALSE(base::find_path(brief, "node", "cpu", "usageNanoCores"));
  EXPECT_FALSE(base::find_path(brief, "node", "fs"));
  EXPECT_FALSE(base::find(base::find(brief, "pods")->get_array()[0], "ephemeral-storage"));
}

TEST(Stats, NetDev) {
  const auto links = parse_net_dev(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo "
      "colls carrier compressed\n"
      "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
      "  eth0:17 0 0 0 0 0 0 0 18 0 0 0 0 0 0 0\n  torn: 1 2\n:\n");
  ASSERT_EQ(links.size(), 2u);
  EXPECT_EQ(links.at("lo").rx_dropped, 4u);
  EXPECT_EQ(links.at("lo").tx_errors, 11u);
  EXPECT_EQ(links.at("eth0").tx_bytes, 18u);
}

TEST(Stats, DiskUseCountsLinksOnceAndFollowsNone) {
  char name[] = "/tmp/disk-use-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string dir = name;
  std::ofstream(dir + "/a") << std::string(100'000, 'x');
  std::filesystem::create_hard_link(dir + "/a", dir + "/b");
  std::filesystem::create_directory(dir + "/d");
  std::filesystem::create_symlink("/", dir + "/d/root");
  const auto use = disk_use(dir);
  ASSERT_TRUE(use);
  EXPECT_EQ(use->inodes, 4u);  // itself, a, d, the link
  EXPECT_GE(use->bytes, 100'000u);
  EXPECT_LT(use->bytes, 200'000u);
  EXPECT_FALSE(disk_use(dir + "/missing"));
  EXPECT_FALSE(disk_use(dir + "/d/root"));
  std::filesystem::remove_all(dir);
}

TEST(Stats, ObservesThisMachine) {
  const StatsSeen now = observe_stats(
      {.node_name = "n", .root_dir = "/", .image_root = "/", .cgroup_parent = "/no-such-group", .pods = {}});
  EXPECT_GT(now.cpu_ns, 0u);
  EXPECT_GT(now.memory_total_bytes, now.memory_working_set_bytes);
  EXPECT_GT(now.processes, 0);
  EXPECT_TRUE(now.root);
}

TEST(ProbeMetrics, CountsUntilThePodGoes) {
  ProbeMetrics metrics;
  const ProbeOf probe{.type = "Readiness", .container = "c", .pod = "p\"", .ns = "ns", .uid = "u1"};
  metrics.count(probe, "successful", std::chrono::milliseconds(7));
  metrics.count(probe, "failed", std::chrono::seconds(30));
  const std::string page = metrics.page();
  EXPECT_TRUE(has_line(
      page,
      R"(prober_probe_total{container="c",namespace="ns",pod="p\"",pod_uid="u1",probe_type="Readiness",result="failed"} 1)"))
      << page;
  EXPECT_TRUE(has_line(
      page,
      R"(prober_probe_duration_seconds_bucket{container="c",namespace="ns",pod="p\"",probe_type="Readiness",le="0.01"} 1)"))
      << page;
  EXPECT_TRUE(has_line(
      page,
      R"(prober_probe_duration_seconds_count{container="c",namespace="ns",pod="p\"",probe_type="Readiness"} 2)"))
      << page;
  metrics.forget("u1");
  EXPECT_EQ(metrics.page(), "");
}

}  // namespace
}  // namespace kubelet
