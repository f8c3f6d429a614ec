#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "runtime/oci.h"
#include "runtime/runtime.h"

namespace {

using testing::HasSubstr;
namespace json = base::json;

json::object config() { return runtime::default_config(); }

std::string refusal(const json::value& value) {
  auto result = runtime::parse_config(value);
  return result.ok() ? "accepted" : result.error().message();
}

TEST(OciConfig, TheDefaultIsValid) {
  auto result = runtime::parse_config(config());
  ASSERT_TRUE(result.ok()) << result.error().message();
  EXPECT_EQ(result->namespaces.size(), 6u);
  EXPECT_EQ(result->mounts.size(), 7u);
  EXPECT_EQ(result->process->capabilities.effective, 0xa80425fbu);
  EXPECT_EQ(result->process->capabilities.inheritable, 0u);
}

TEST(OciConfig, EveryWrongFieldIsOneLine) {
  json::object c = config();
  c["hostname"] = 7;
  c["process"].as_object()["cwd"] = "here";
  c["process"].as_object()["rlimits"] = json::array{json::object{{"type", "RLIMIT_X"}, {"soft", -1}, {"hard", 1}}};
  c["linux"].as_object()["resources"].as_object()["memory"] = json::object{{"limit", "much"}};
  std::string text = refusal(c);
  EXPECT_THAT(text, HasSubstr("hostname: must be a string\n"));
  EXPECT_THAT(text, HasSubstr("process.cwd: must be an absolute path\n"));
  EXPECT_THAT(text, HasSubstr("process.rlimits[0].type: unknown limit 'RLIMIT_X'\n"));
  EXPECT_THAT(text, HasSubstr("process.rlimits[0].soft: must be an integer from 0"));
  EXPECT_THAT(text, HasSubstr("linux.resources.memory.limit: must be an integer"));
}

TEST(OciConfig, FieldsThatAreNotHonouredAreErrorsAndUnknownOnesAreNot) {
  json::object c = config();
  c["x-vendor"] = 1;
  EXPECT_EQ(refusal(c), "accepted");
  c["linux"].as_object()["intelRdt"] = json::object{{"closID", "a"}};
  EXPECT_THAT(refusal(c), HasSubstr("linux.intelRdt: is not supported"));
}

TEST(OciConfig, SysctlsOfTheHostAreRefused) {
  json::object c = config();
  c["linux"].as_object()["sysctl"] = json::object{{"kernel.core_pattern", "|/x"}};
  EXPECT_THAT(refusal(c), HasSubstr("linux.sysctl[kernel.core_pattern]: is not kept per namespace"));
  c["linux"].as_object()["sysctl"] = json::object{{"net.ipv4.ip_forward", "1"}};
  EXPECT_EQ(refusal(c), "accepted");
  json::array kept;
  for (const json::value& ns : c["linux"].as_object()["namespaces"].as_array())
    if (base::string_at(ns, "type") != "network") kept.push_back(ns);
  c["linux"].as_object()["namespaces"] = kept;
  EXPECT_THAT(refusal(c), HasSubstr("would change the host"));
}

TEST(OciConfig, FieldsOfEveryVersionAreCheckedByName) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"process":{"scheduler":{"policy":"SCHED_OTHER","priority":3}}})", "process.scheduler.priority: is for SCHED_FIFO and SCHED_RR alone"},
      {R"({"process":{"scheduler":{"policy":"SCHED_X"}}})", "process.scheduler.policy: unknown policy 'SCHED_X'"},
      {R"({"process":{"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}}})", "process.ioPriority.priority: must be from 0 to 7"},
      {R"({"process":{"execCPUAffinity":{"initial":"0-"}}})", "process.execCPUAffinity.initial: '0-' is not a list of CPUs"},
      {R"({"linux":{"personality":{"domain":"VMS"}}})", "linux.personality.domain: must be LINUX or LINUX32"},
      {R"({"linux":{"memoryPolicy":{"mode":"MPOL_X"}}})", "linux.memoryPolicy.mode: unknown mode 'MPOL_X'"},
      {R"({"linux":{"timeOffsets":{"boottime":{"secs":1}}}})", "linux.timeOffsets: needs a time namespace"},
      {R"({"linux":{"netDevices":{"eth0":{"name":"a/b"}}}})", "linux.netDevices[eth0].name: 'a/b' is not the name"},
      {R"({"linux":{"resources":{"rdma":{"mlx5":{}}}}})", "linux.resources.rdma[mlx5]: needs hcaHandles or hcaObjects"},
      {R"({"linux":{"resources":{"network":{"priorities":[{"name":"a b","priority":1}]}}}})", "linux.resources.network.priorities[0].name"},
      {R"({"linux":{"resources":{"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}}})", "linux.resources.blockIO.weightDevice[0].weight: is required"},
      {R"({"ociVersion":"2.0.0"})", "ociVersion: '2.0.0' is not supported"},
      {R"({"annotations":{"":"x"}})", "annotations: a key must not be empty"},
  };
  for (const auto& [text, expected] : kCases) {
    json::object c = config();
    const json::object given = base::parse_json(text)->as_object();
    for (const auto& [section, value] : given)
      if (value.is_object() && c.contains(section))
        for (const auto& [key, inner] : value.get_object()) c[section].as_object()[key] = inner;
      else
        c[section] = value;
    EXPECT_THAT(refusal(c), HasSubstr(expected)) << text;
  }
  for (const char* version : {"1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0"}) {
    json::object c = config();
    c["ociVersion"] = version;
    EXPECT_EQ(refusal(c), "accepted") << version;
  }
}

TEST(OciConfig, UnknownCapabilitiesAreAWarning) {
  json::object c = config();
  c["process"].as_object()["capabilities"].as_object()["bounding"].as_array().push_back("CAP_MOON");
  auto result = runtime::parse_config(c);
  ASSERT_TRUE(result.ok()) << result.error().message();
  EXPECT_THAT(result->warnings, testing::ElementsAre(HasSubstr("process.capabilities.bounding[14]: unknown capability \"CAP_MOON\"")));
}

TEST(OciConfig, OtherThanObjectsIsRefusedNotACrash) {
  for (const char* text : {"null", "[]", "7", "{}", R"({"linux":[],"root":1,"mounts":{"a":1},"process":"x"})"}) {
    auto value = base::parse_json(text);
    ASSERT_TRUE(value.ok());
    EXPECT_FALSE(runtime::parse_config(*value).ok()) << text;
  }
}

TEST(OciConfig, Signals) {
  EXPECT_EQ(runtime::signal_number("TERM"), SIGTERM);
  EXPECT_EQ(runtime::signal_number("sigkill"), SIGKILL);
  EXPECT_EQ(runtime::signal_number("9"), 9);
  EXPECT_EQ(runtime::signal_number("RTMIN+3"), 37);
  EXPECT_EQ(runtime::signal_number("NOPE"), -1);
  EXPECT_EQ(runtime::signal_number("999"), -1);
}

}  // namespace
