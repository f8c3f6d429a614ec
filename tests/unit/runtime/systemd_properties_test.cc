// From OCI's resources and names to systemd's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/cgroup/systemd.h"
#include "runtime/launch/devices.h"

namespace {

using runtime::DbusProperty;
using testing::ElementsAre;

runtime::CgroupLayout v2() {
  runtime::CgroupLayout layout;
  layout.unified = "/sys/fs/cgroup";
  return layout;
}
std::vector<std::string> texts(const std::vector<DbusProperty>& properties) {
  std::vector<std::string> out;
  for (const DbusProperty& p : properties)
    out.push_back(p.name + " " + runtime::dbus_signature(p.value) + " " + runtime::dbus_text(p.value));
  return out;
}
std::vector<std::string> of(const char* resources, runtime::CgroupLayout layout = v2()) {
  auto parsed = runtime::parse_resources(base::parse_json(resources).value());
  EXPECT_TRUE(parsed.ok()) << parsed.error().message();
  auto properties = runtime::systemd_resource_properties(layout, *parsed);
  if (!properties.ok()) return {properties.error().message()};
  return texts(*properties);
}

TEST(SystemdPath, SliceAndUnit) {
  auto scope = runtime::parse_systemd_path("machine.slice:libpod:abc", "id", false).value();
  EXPECT_EQ(scope.slice, "machine.slice");
  EXPECT_EQ(scope.unit, "libpod-abc.scope");
  EXPECT_EQ(runtime::parse_systemd_path("", "web", false).value().unit, "sampan-web.scope");
  EXPECT_EQ(runtime::parse_systemd_path("", "web", false).value().slice, "system.slice");
  EXPECT_EQ(runtime::parse_systemd_path("", "web", true).value().slice, "user.slice");
  EXPECT_EQ(runtime::parse_systemd_path("::name", "web", false).value().unit, "name.scope");
  for (const char* wrong :
       {"/a/b", "a.slice:b", "a.slice:b:c:d", "a:b:c", "a.slice:b:", "a.slice:x/y:c", "-a.slice:b:c"})
    EXPECT_FALSE(runtime::parse_systemd_path(wrong, "web", false).ok()) << wrong;
}
TEST(SystemdPath, SlicesNestByTheirDashes) {
  EXPECT_EQ(runtime::slice_path("a-b-c.slice").value(), "/a.slice/a-b.slice/a-b-c.slice");
  EXPECT_EQ(runtime::slice_path("system.slice").value(), "/system.slice");
  EXPECT_EQ(runtime::slice_path("-.slice").value(), "/");
  for (const char* wrong : {"a", "a--b.slice", "-a.slice", "a-.slice", ".slice", "../x.slice"})
    EXPECT_FALSE(runtime::slice_path(wrong).ok()) << wrong;
}
TEST(SystemdProperties, Limits) {
  EXPECT_THAT(of(R"({"memory": {"limit": 1048576, "swap": 3145728, "reservation": 4096}, "pids": {"limit": 5},
                     "cpu": {"shares": 1024, "quota": 12345, "period": 100000, "cpus": "0-2,9", "mems": "1"}})"),
              ElementsAre("MemoryMax t 1048576", "MemoryLow t 4096", "MemorySwapMax t 2097152",
                          "CPUWeight t 39", "CPUQuotaPeriodUSec t 100000", "CPUQuotaPerSecUSec t 130000",
                          "AllowedCPUs ay [07 02]", "AllowedMemoryNodes ay [02]", "TasksMax t 5"));
  EXPECT_THAT(of(R"({"memory": {"limit": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}})"),
              ElementsAre("MemoryMax t infinity", "CPUQuotaPerSecUSec t infinity", "TasksMax t infinity"));
  EXPECT_THAT(of(R"({"cpu": {"cpus": "3-1"}})"),
              ElementsAre("read linux.resources.cpu.cpus: '3-1' is no list of numbers and ranges"));
}
TEST(SystemdProperties, Unified) {
  EXPECT_THAT(
      of(R"({"unified": {"memory.high": "max", "memory.min": "4096", "cpu.max": "20000 100000", "pids.max": "7",
                     "cpuset.cpus": "0", "memory.oom.group": "1"}})"),
      ElementsAre("CPUQuotaPeriodUSec t 100000", "CPUQuotaPerSecUSec t 200000", "AllowedCPUs ay [01]",
                  "MemoryHigh t infinity", "MemoryMin t 4096", "TasksMax t 7"));
}
TEST(SystemdProperties, OnV1) {
  runtime::CgroupLayout layout;
  layout.v1.push_back({"/sys/fs/cgroup/memory", {"memory"}});
  EXPECT_THAT(of(R"({"memory": {"limit": 4096}, "cpu": {"shares": 512}})", layout),
              ElementsAre("MemoryLimit t 4096", "CPUShares t 512"));
}
TEST(SystemdProperties, Devices) {
  using Rule = runtime::DeviceRule;
  Rule deny{false, 'a', -1, -1, "rwm"};
  EXPECT_THAT(
      texts(runtime::systemd_device_properties(
          {deny, {true, 'c', 1, 3, "rw"}, {true, 'b', 8, -1, "r"}, {true, 'c', -1, -1, "m"}})),
      ElementsAre("DevicePolicy s strict", "DeviceAllow a(ss) [/dev/char/1:3 rw, block-8 r, char-* m]"));
  // Everything, and exceptions from what is allowed, are for our own filter alone.
  EXPECT_TRUE(runtime::systemd_device_properties({{true, 'a', -1, -1, "rwm"}}).empty());
  EXPECT_TRUE(
      runtime::systemd_device_properties({deny, {true, 'c', 1, -1, "rw"}, {false, 'c', 1, 3, "w"}}).empty());
}
TEST(SystemdProperties, Annotations) {
  auto of_annotation = [](const char* name, const char* value) {
    auto out = runtime::systemd_annotation_properties(
        {{std::string("org.systemd.property.") + name, value}, {"other", "x"}});
    return out.ok() ? testing::PrintToString(texts(*out)) : out.error().message();
  };
  EXPECT_EQ(of_annotation("Delegate", "false"), R"({ "Delegate b false" })");
  EXPECT_EQ(of_annotation("Nice", "-5"), R"({ "Nice i -5" })");
  EXPECT_EQ(of_annotation("MemoryHigh", "uint64 9"), R"({ "MemoryHigh t 9" })");
  EXPECT_EQ(of_annotation("CollectMode", "'inactive'"), R"({ "CollectMode s inactive" })");
  EXPECT_EQ(of_annotation("After", "[ 'a.service', \"b\\\"c\" ]"), R"({ "After as [a.service b\"c]" })");
  EXPECT_EQ(of_annotation("TimeoutStopSec", "1.5"), R"({ "TimeoutStopUSec t 1500000" })");
  for (const char* wrong : {"", "'a", "[1]", "['a',]", "uint64 -1", "uint64 x", "5 5", "truely"})
    EXPECT_THAT(of_annotation("Thing", wrong), testing::HasSubstr("is no value")) << wrong;
  EXPECT_THAT(of_annotation("a b", "1"), testing::HasSubstr("is no name"));
  EXPECT_THAT(of_annotation("TimeoutSec", "'x'"), testing::HasSubstr("number of seconds"));
}

}  // namespace
