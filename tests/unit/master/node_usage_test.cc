// What two pages of a kubelet say of use, and what a page may say besides.
#include "master/server/node_usage.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace master {
namespace {

std::string container(double cpu, double memory, double started, int64_t at_ms, const char* name = "c") {
  const std::string labels = fmt::format(R"({{container="{}",namespace="default",pod="web"}})", name);
  return fmt::format(
      "container_cpu_usage_seconds_total{0} {1} {4}\ncontainer_memory_working_set_bytes{0} {2} {4}\n"
      "container_start_time_seconds{0} {3}\n",
      labels, cpu, memory, started, at_ms);
}
std::string node(double cpu, double memory, int64_t at_ms) {
  return fmt::format(
      "# HELP node_cpu_usage_seconds_total Time\nnode_cpu_usage_seconds_total {0} {2}\n"
      "node_memory_working_set_bytes {1} {2}\n",
      cpu, memory, at_ms);
}
NodePage page(const std::string& text) {
  auto read = read_resource_page(text);
  EXPECT_TRUE(read.ok()) << read.error().message();
  return read.ok() ? std::move(*read) : NodePage();
}
std::string pod_text(const std::string& before, const std::string& after) {
  auto seen = pod_usage(page(before), page(after), "default/web");
  if (!seen) return "nothing";
  std::string out = window_text(seen->window);
  for (const auto& [name, use] : seen->containers)
    out += fmt::format(" {} {} {}", name, use.cpu(), use.memory());
  return out;
}

TEST(NodeUsage, IsTheCountersDifferenceOverTheTimeBetween) {
  auto seen = node_usage(page(node(100, 1 << 20, 1'000'000)), page(node(103, 2 << 20, 1'015'000)));
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->usage.cpu(), "200000000n");
  EXPECT_EQ(seen->usage.memory(), "2048Ki");
  EXPECT_EQ(window_text(seen->window), "15s");
  EXPECT_EQ(seen->at, base::Time(std::chrono::milliseconds(1'015'000)));
  EXPECT_EQ(pod_text(container(1, 4096, 10, 1'000'000), container(1.5, 8192, 10, 1'010'000)),
            "10s c 50000000n 8Ki");
}

TEST(NodeUsage, AContainerThatStartedMeanwhileIsMeasuredFromItsStart) {
  const std::string restarted = container(0.5, 4096, 1005, 1'010'000);
  EXPECT_EQ(pod_text(container(7, 4096, 10, 1'000'000), restarted), "5s c 100000000n 4Ki");
  EXPECT_EQ(pod_text("", restarted), "5s c 100000000n 4Ki");
  EXPECT_EQ(pod_text("", container(0.5, 4096, 1009.5, 1'010'000)), "nothing") << "half a second says nothing";
}

TEST(NodeUsage, APodIsToldWholeOrNotAtAll) {
  const std::string both = container(1, 4096, 10, 1'000'000) + container(1, 4096, 10, 1'000'000, "d");
  const std::string later = container(2, 4096, 10, 1'010'000) + container(3, 4096, 10, 1'010'000, "d");
  EXPECT_EQ(pod_text(both, later), "10s c 100000000n 4Ki d 200000000n 4Ki");
  EXPECT_EQ(
      pod_text(both,
               later + R"(container_cpu_usage_seconds_total{container="e",namespace="default",pod="web"} 1 1)"
                       "\n"),
      "nothing");
  EXPECT_EQ(pod_text(both, "node_cpu_usage_seconds_total 1 1\n"), "nothing");
}

TEST(NodeUsage, NothingIsToldOfCountersThatWentBackOrOfNoTime) {
  EXPECT_FALSE(node_usage(page(node(100, 1, 1'000'000)), page(node(99, 1, 1'015'000))).has_value());
  EXPECT_FALSE(node_usage(page(node(100, 1, 1'000'000)), page(node(101, 1, 1'000'000))).has_value());
  EXPECT_FALSE(node_usage(page(node(100, 1, 1'015'000)), page(node(101, 1, 1'000'000))).has_value());
  EXPECT_FALSE(node_usage({}, page(node(101, 1, 1'000'000))).has_value());
}

TEST(NodeUsage, WhatANodeSaysFitsOurNumbersOrIsPassedOver) {
  for (const char* value : {"1e300", "-1", "NaN", "Inf", "1e20"})
    EXPECT_TRUE(!read_resource_page(fmt::format("node_cpu_usage_seconds_total {} 1\n", value)).ok() ||
                !page(fmt::format("node_cpu_usage_seconds_total {} 1\n", value)).node.has_cpu)
        << value;
  EXPECT_FALSE(page("node_cpu_usage_seconds_total 1 99999999999999999\n").node.has_cpu);
  EXPECT_FALSE(page("node_cpu_usage_seconds_total 1 -5\n").node.has_cpu);
  auto far = node_usage(page(node(0, 1, 0)), page(node(1e13, 4e18, 1000)));
  EXPECT_FALSE(far.has_value()) << "ten thousand times what is";
  for (const char* text : {"node_cpu_usage_seconds_total", "x{a=\"b} 1\n", "x{a=b} 1\n", "x{a=\"b\"",
                           "x 1 2 3\n", "x one\n", "{} 1\n", "x{a=\"b\\"})
    EXPECT_FALSE(read_resource_page(text).ok()) << text;
  EXPECT_TRUE(page("").pods.empty());
  NodePage odd =
      page("container_cpu_usage_seconds_total{container=\"a\\\"b\\\\\",namespace=\"n\",pod=\"p/q\"} 1 1\n");
  EXPECT_EQ(odd.pods.at("n/p/q").count("a\"b\\"), 1u);
}

TEST(NodeUsage, WindowsAreWrittenAsGoWritesDurations) {
  using std::chrono::milliseconds;
  EXPECT_EQ(window_text(milliseconds(1000)), "1s");
  EXPECT_EQ(window_text(milliseconds(15020)), "15.02s");
  EXPECT_EQ(window_text(milliseconds(61'500)), "1m1.5s");
  EXPECT_EQ(window_text(milliseconds(3'600'000)), "1h0m0s");
}

}  // namespace
}  // namespace master
