#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <csignal>

#include "runtime/runtime.h"
#include "runtime/spec/config.h"

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
  c["process"].as_object()["rlimits"] =
      json::array{json::object{{"type", "RLIMIT_X"}, {"soft", -1}, {"hard", 1}}};
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
      {R"({"process":{"scheduler":{"policy":"SCHED_OTHER","priority":3}}})",
       "process.scheduler.priority: is for SCHED_FIFO and SCHED_RR alone"},
      {R"({"process":{"scheduler":{"policy":"SCHED_X"}}})",
       "process.scheduler.policy: unknown policy 'SCHED_X'"},
      {R"({"process":{"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}}})",
       "process.ioPriority.priority: must be from 0 to 7"},
      {R"({"process":{"execCPUAffinity":{"initial":"0-"}}})",
       "process.execCPUAffinity.initial: '0-' is not a list of CPUs"},
      {R"({"linux":{"personality":{"domain":"VMS"}}})", "linux.personality.domain: must be LINUX or LINUX32"},
      {R"({"linux":{"memoryPolicy":{"mode":"MPOL_X"}}})", "linux.memoryPolicy.mode: unknown mode 'MPOL_X'"},
      {R"({"linux":{"timeOffsets":{"boottime":{"secs":1}}}})", "linux.timeOffsets: needs a time namespace"},
      {R"({"linux":{"netDevices":{"eth0":{"name":"a/b"}}}})",
       "linux.netDevices[eth0].name: 'a/b' is not the name"},
      {R"({"linux":{"resources":{"rdma":{"mlx5":{}}}}})",
       "linux.resources.rdma[mlx5]: needs hcaHandles or hcaObjects"},
      {R"({"linux":{"resources":{"network":{"priorities":[{"name":"a b","priority":1}]}}}})",
       "linux.resources.network.priorities[0].name"},
      {R"({"linux":{"resources":{"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}}})",
       "linux.resources.blockIO.weightDevice[0].weight: is required"},
      {R"({"ociVersion":"2.0.0"})", "ociVersion: '2.0.0' is not supported"},
      {R"({"annotations":{"":"x"}})", "annotations: a key must not be empty"},
  };
  for (const auto& [text, expected] : kCases) {
    json::object c = config();
    const json::object given = base::parse_json(text)->as_object();
    for (const auto& [section, value] : given)
      if (value.is_object() && c.contains(section))
        for (const auto& [key, inner] : value.get_object()) c[section].as_object()[key] = inner;
      else c[section] = value;
    EXPECT_THAT(refusal(c), HasSubstr(expected)) << text;
  }
  for (const char* version : {"1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0"}) {
    json::object c = config();
    c["ociVersion"] = version;
    EXPECT_EQ(refusal(c), "accepted") << version;
  }
}

// Of process, linux or the whole: with these members in place of the default's.
json::object with(const char* section, const char* text) {
  json::object c = config();
  json::object& into = *section ? c[section].as_object() : c;
  const json::object given = base::parse_json(text)->as_object();
  for (const auto& [key, value] : given) into[key] = value;
  return c;
}

TEST(OciConfig, ANameOfTheHostHasOnePlace) {
  EXPECT_THAT(refusal(with("linux", R"({"sysctl":{"kernel.hostname":"a"}})")),
              HasSubstr("linux.sysctl[kernel.hostname]: conflicts with the field hostname"));
  EXPECT_THAT(refusal(with("linux", R"({"sysctl":{"kernel/hostname":"a"}})")),
              HasSubstr("linux.sysctl[kernel/hostname]: conflicts with the field hostname"));
  json::object c = with("linux", R"({"sysctl":{"kernel.domainname":"a.example"}})");
  EXPECT_EQ(refusal(c), "accepted");
  c["domainname"] = "a.example";
  EXPECT_EQ(refusal(c), "accepted");
  c["domainname"] = "b.example";
  EXPECT_THAT(refusal(c), HasSubstr("linux.sysctl[kernel.domainname]: conflicts with the field domainname"));
}

TEST(OciConfig, SysctlsAreNamedAsSysctl8ReadsThem) {
  EXPECT_EQ(runtime::sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
  EXPECT_EQ(runtime::sysctl_path("net.ipv4.conf.eth0/1.mtu"), "net/ipv4/conf/eth0.1/mtu");
  EXPECT_EQ(runtime::sysctl_path("net/ipv4/conf/eth0.1/mtu"), "net/ipv4/conf/eth0.1/mtu");
  EXPECT_EQ(refusal(with("linux", R"({"sysctl":{"net/ipv4/ip_forward":"1","kernel.shm_rmid_forced":"1"}})")),
            "accepted");
  for (const char* name :
       {"kernel.shm", "kernel.semx", "net/../kernel/core_pattern", "net//../kernel/core_pattern", "net"})
    EXPECT_THAT(refusal(with("linux", fmt::format(R"({{"sysctl":{{"{}":"1"}}}})", name).c_str())),
                HasSubstr("is not kept per namespace"))
        << name;
}

TEST(OciConfig, DeadlinesAreCheckedBeforehand) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"("deadline":2048)", "process.scheduler.runtime: is required"},
      {R"("runtime":1024)", "process.scheduler.deadline: is required"},
      {R"("runtime":0,"deadline":2048)", "process.scheduler.runtime: is required"},
      {R"("runtime":1023,"deadline":2048)",
       "process.scheduler.runtime: must be from 1024 to 9223372036854775807 ns"},
      {R"("runtime":1024,"deadline":9223372036854775808)", "process.scheduler.deadline: must be from 1024"},
      {R"("runtime":1024,"deadline":2048,"period":1000)", "process.scheduler.period: must be from 1024"},
      {R"("runtime":4096,"deadline":2048)", "process.scheduler.runtime: must not be more than deadline"},
      {R"("runtime":1024,"deadline":4096,"period":2048)",
       "process.scheduler.deadline: must not be more than period"},
      {R"("runtime":1024,"deadline":1024)", "accepted"},
      {R"("runtime":1024,"deadline":2048,"period":2048)", "accepted"}};
  for (const auto& [fields, expected] : kCases)
    EXPECT_THAT(
        refusal(with("process",
                     fmt::format(R"({{"scheduler":{{"policy":"SCHED_DEADLINE",{}}}}})", fields).c_str())),
        HasSubstr(expected))
        << fields;
}

TEST(OciConfig, NoLimitOfMemoryIsMinusOneAlone) {
  for (const char* field : {"limit", "reservation", "swap", "kernel", "kernelTCP"}) {
    auto with_value = [&](int64_t value) {
      return runtime::parse_resources(json::object{{"memory", json::object{{field, value}}}});
    };
    EXPECT_TRUE(with_value(-1).ok()) << field;
    EXPECT_TRUE(with_value(0).ok()) << field;
    for (int64_t value : {int64_t{-2}, int64_t{INT64_MIN}})
      EXPECT_THAT(with_value(value).error().message(),
                  HasSubstr(fmt::format("resources.memory.{}: must be -1", field)));
  }
  for (auto [section, field] :
       {std::pair{"cpu", "quota"}, std::pair{"pids", "limit"}})  // any less than nothing is no limit
    EXPECT_TRUE(runtime::parse_resources(json::object{{section, json::object{{field, -7}}}}).ok()) << section;
}

TEST(OciConfig, MaskedPathsAreReadFromTheRoot) {
  json::object c = with("linux", R"({"maskedPaths":["a/b","","/c/../d"],"readonlyPaths":["../e","."]})");
  auto result = runtime::parse_config(c);
  ASSERT_TRUE(result.ok()) << result.error().message();
  EXPECT_THAT(result->masked_paths, testing::ElementsAre("/a/b", "/d"));
  EXPECT_THAT(result->readonly_paths, testing::ElementsAre("/e", "/"));
  EXPECT_THAT(refusal(with("linux", R"({"maskedPaths":["./"]})")),
              HasSubstr("linux.maskedPaths: '/' would hide all"));
}

TEST(OciConfig, AnnotationsOfCrun) {
  auto parsed = [](const char* text) { return runtime::parse_config(with("", text)); };
  auto result = parsed(
      R"({"annotations":{"run.oci.keep_original_groups":"1","run.oci.hooks.stdout":"/o","run.oci.hooks.stderr":"/e",
      "run.oci.pidfd_receiver":"/p","run.oci.mount_context_type":"rootcontext","run.oci.seccomp_fail_unknown_syscall":"1",
      "run.oci.seccomp_bpf_data":"BgAAAAAA/38=","run.oci.handler":"","run.oci.future":"x"}})");
  ASSERT_TRUE(result.ok()) << result.error().message();
  const runtime::Extensions& e = result->extensions;
  EXPECT_TRUE(e.keep_groups && e.known_calls_only);
  EXPECT_EQ(e.hooks_stdout + e.hooks_stderr + e.pidfd_receiver + e.mount_context, "/o/e/prootcontext");
  EXPECT_EQ(e.filter, std::string("\x06\0\0\0\0\0\xff\x7f", 8));  // one "allow"
  EXPECT_TRUE(result->has_filter());
  EXPECT_FALSE(parsed(R"({"annotations":{"run.oci.keep_original_groups":"0"}})")->extensions.keep_groups);

  json::object c = with("linux", R"({"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"}})");
  c["annotations"] = json::object{{"run.oci.seccomp.receiver", "/r"}};
  EXPECT_EQ(base::string_at(runtime::parse_config(c)->seccomp, "listenerPath"), "/r");
  c["linux"].as_object()["seccomp"].as_object()["listenerPath"] = "/own";
  EXPECT_EQ(base::string_at(runtime::parse_config(c)->seccomp, "listenerPath"), "/own");

  const std::pair<const char*, const char*> kWrong[] = {
      {"run.oci.hooks.stdout\":\"relative", "must be an absolute path"},
      {"run.oci.pidfd_receiver\":\"", "must be an absolute path"},
      {"run.oci.mount_context_type\":\"x", "'x' is not context"},
      {"run.oci.seccomp_bpf_data\":\"a", "is not base64"},
      {"run.oci.seccomp_bpf_data\":\"", "has 0 bytes"},
      {"run.oci.seccomp_bpf_data\":\"AAAA", "has 3 bytes"},
      {"run.oci.seccomp_bpf_data\":\"A=AA", "is not base64"},
      {"run.oci.handler\":\"krun", "is not supported"},
      {"run.oci.seccomp.plugins\":\"a.so", "is not supported"},
      {"run.oci.systemd.force_cgroup_v1\":\"/x", "is not supported"},
      {"run.oci.systemd.subgroup\":\"x", "is not supported"},
      {"run.oci.delegate-cgroup\":\"x", "is not supported"}};
  for (const auto& [pair, expected] : kWrong)
    EXPECT_THAT(refusal(with("", fmt::format(R"({{"annotations":{{"{}"}}}})", pair).c_str())),
                HasSubstr(expected))
        << pair;
}

TEST(OciConfig, UnknownCapabilitiesAreAWarning) {
  json::object c = config();
  c["process"].as_object()["capabilities"].as_object()["bounding"].as_array().push_back("CAP_MOON");
  auto result = runtime::parse_config(c);
  ASSERT_TRUE(result.ok()) << result.error().message();
  EXPECT_THAT(
      result->warnings,
      testing::ElementsAre(HasSubstr("process.capabilities.bounding[14]: unknown capability \"CAP_MOON\"")));
}

TEST(OciConfig, OtherThanObjectsIsRefusedNotACrash) {
  for (const char* text :
       {"null", "[]", "7", "{}", R"({"linux":[],"root":1,"mounts":{"a":1},"process":"x"})"}) {
    auto value = base::parse_json(text);
    ASSERT_TRUE(value.ok());
    EXPECT_FALSE(runtime::parse_config(*value).ok()) << text;
  }
}

}  // namespace
