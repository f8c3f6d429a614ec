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
