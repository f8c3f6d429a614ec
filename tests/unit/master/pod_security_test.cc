#include "master/admission/pod_security.h"

#include <gtest/gtest.h>

namespace master {
namespace {

namespace json = base::json;
using Level = PodSecurityLevel::Level;

std::string found(Level level, std::string_view spec, int minor = -1, std::string_view annotations = "{}") {
  json::value pod = base::parse_json(R"({"metadata":{"annotations":)" + std::string(annotations) +
                                     R"(},"spec":)" + std::string(spec) + "}")
                        .value();
  return detail_text(violations({level, minor}, pod));
}
constexpr char kPlain[] = R"({"containers":[{"name":"a"}]})";
constexpr char kGood[] =
    R"({"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},
  "containers":[{"name":"a","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]})";

TEST(PodSecurity, TheLevels) {
  EXPECT_EQ(found(Level::kPrivileged, R"({"hostPID":true,"containers":[]})"), "");
  EXPECT_EQ(found(Level::kBaseline, kPlain), "");
  EXPECT_EQ(found(Level::kRestricted, kGood), "");
  EXPECT_EQ(
      found(Level::kRestricted, kPlain),
      "allowPrivilegeEscalation != false (container \"a\" must set "
      "securityContext.allowPrivilegeEscalation=false), "
      "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), "
      "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), "
      "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to "
      "\"RuntimeDefault\" or \"Localhost\")");
}

TEST(PodSecurity, BaselineInItsOrder) {
  EXPECT_EQ(found(Level::kBaseline,
                  R"({"hostNetwork":true,"hostPID":true,"volumes":[{"name":"h","hostPath":{"path":"/"}}],
    "containers":[{"name":"a","securityContext":{"privileged":true,"capabilities":{"add":["SYS_ADMIN","CHOWN"]},"procMount":"Unmasked"},"ports":[{"hostPort":80}]},
                  {"name":"b","securityContext":{"privileged":true}}]})"),
            "non-default capabilities (container \"a\" must not include \"SYS_ADMIN\" in "
            "securityContext.capabilities.add), "
            "host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume \"h\"), hostPort "
            "(container \"a\" uses hostPort 80), "
            "privileged (containers \"a\", \"b\" must not set securityContext.privileged=true), "
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")");
  EXPECT_EQ(found(Level::kBaseline,
                  R"({"securityContext":{"sysctls":[{"name":"kernel.msgmax"},{"name":"net.ipv4.tcp_rmem"}],
    "seLinuxOptions":{"type":"spc_t","user":"u"},"seccompProfile":{"type":"Unconfined"},"appArmorProfile":{"type":"Unconfined"}},"containers":[]})"),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\"), "
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not "
            "be set), "
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\"), "
            "forbidden sysctls (kernel.msgmax)");
}

TEST(PodSecurity, VersionsDiffer) {
  std::string_view sysctl =
      R"({"securityContext":{"sysctls":[{"name":"net.ipv4.tcp_keepalive_time"}]},"containers":[]})";
  EXPECT_EQ(found(Level::kBaseline, sysctl, 28), "forbidden sysctls (net.ipv4.tcp_keepalive_time)");
  EXPECT_EQ(found(Level::kBaseline, sysctl, 29), "");
  std::string_view root =
      R"({"hostUsers":false,"securityContext":{"runAsUser":0,"seccompProfile":{"type":"RuntimeDefault"}},
    "containers":[{"name":"a","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]})";
  EXPECT_EQ(found(Level::kRestricted, root, 35), "");
  EXPECT_EQ(found(Level::kRestricted, root, 34),
            "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), "
            "runAsUser=0 (pod must not set runAsUser=0)");
  // An older restricted still has the baseline's capabilities.
  EXPECT_EQ(
      found(
          Level::kRestricted,
          R"({"containers":[{"name":"a","securityContext":{"runAsNonRoot":true,"allowPrivilegeEscalation":false,
    "capabilities":{"add":["SYS_ADMIN"]}}}]})",
          18),
      "non-default capabilities (container \"a\" must not include \"SYS_ADMIN\" in "
      "securityContext.capabilities.add)");
  EXPECT_EQ(found(Level::kRestricted, R"({"volumes":[{"name":"v","nfs":{}}],"containers":[]})"),
            "restricted volume types (volume \"v\" uses restricted volume type \"nfs\")");
}

TEST(PodSecurity, ReadsLabels) {
  auto read = [](std::string_view labels) {
    json::value parsed = base::parse_json(labels).value();
    PodSecurityPolicy policy = read_pod_security(&parsed);
    std::string out = policy.enforce.text() + " " + policy.audit.text() + " " + policy.warn.text();
    for (const BadLabel& bad : check_pod_security_labels(&parsed))
      out += " | " + bad.label + "=" + bad.value + " " + bad.why;
    return out;
  };
  EXPECT_EQ(read("{}"), "privileged:latest privileged:latest privileged:latest");
  EXPECT_EQ(
      read(
          R"({"pod-security.kubernetes.io/enforce":"baseline","pod-security.kubernetes.io/enforce-version":"v1.24"})"),
      "baseline:v1.24 privileged:latest baseline:v1.24");
  EXPECT_EQ(
      read(
          R"({"pod-security.kubernetes.io/enforce":"baseline","pod-security.kubernetes.io/warn":"restricted"})"),
      "baseline:latest privileged:latest restricted:latest");
  EXPECT_EQ(
      read(
          R"({"pod-security.kubernetes.io/enforce":"strict","pod-security.kubernetes.io/warn-version":"24"})"),
      "restricted:latest privileged:latest privileged:latest | pod-security.kubernetes.io/enforce=strict "
      "must be one of privileged, baseline, restricted | "
      "pod-security.kubernetes.io/warn-version=24 must be \"latest\" or \"v1.x\"");
}

}  // namespace
}  // namespace master
