#include "master/pod_security.h"

#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;

std::vector<std::string> violations(std::string_view level, const char* spec) {
  return pod_security_violations(level, json::object{{"spec", base::parse_json(spec).value()}});
}
using Lines = std::vector<std::string>;

TEST(PodSecurity, Baseline) {
  EXPECT_EQ(violations("baseline", R"({"containers":[{"name":"a"}]})"), Lines{});
  EXPECT_EQ(violations("privileged", R"({"hostNetwork":true,"containers":[{"name":"a"}]})"), Lines{});
  EXPECT_EQ(violations("baseline", R"({"hostNetwork":true,"hostPID":true,"volumes":[{"name":"v","hostPath":{"path":"/"}}],
      "containers":[{"name":"a","securityContext":{"privileged":true,"capabilities":{"add":["NET_ADMIN","CHOWN"]}},"ports":[{"hostPort":80}]},
                    {"name":"b","securityContext":{"privileged":true,"seccompProfile":{"type":"Unconfined"},"procMount":"Unmasked"}}]})"),
            (Lines{"host namespaces (hostNetwork=true, hostPID=true)",
                   "privileged (containers \"a\", \"b\" must not set securityContext.privileged=true)",
                   "non-default capabilities (container \"a\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
                   "hostPath volumes (volume \"v\")", "hostPort (container \"a\" uses hostPort 80)",
                   "procMount (container \"b\" must not set securityContext.procMount to \"Unmasked\")",
                   "seccompProfile (container \"b\" must not set securityContext.seccompProfile.type to \"Unconfined\")"}));
  EXPECT_EQ(violations("baseline", R"({"securityContext":{"sysctls":[{"name":"kernel.msgmax"},{"name":"net.ipv4.tcp_rmem"}],
      "seLinuxOptions":{"type":"spc_t"},"appArmorProfile":{"type":"Unconfined"}},"containers":[]})"),
            (Lines{"forbidden AppArmor profile (pod securityContext.appArmorProfile.type=\"Unconfined\")",
                   "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\")", "forbidden sysctls (kernel.msgmax)"}));
}

TEST(PodSecurity, Restricted) {
  EXPECT_EQ(violations("restricted", R"({"volumes":[{"name":"v","hostPath":{"path":"/"}},{"name":"w","emptyDir":{}}],"containers":[{"name":"a"}]})"),
            (Lines{"allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false)",
                   "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"])",
                   "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")",
                   "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true)",
                   "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"}));
  EXPECT_EQ(violations("restricted", R"({"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},
      "containers":[{"name":"a","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"],"add":["NET_BIND_SERVICE"]}}}]})"), Lines{});
  EXPECT_EQ(violations("restricted", R"({"securityContext":{"runAsNonRoot":true,"runAsUser":0,"seccompProfile":{"type":"RuntimeDefault"}},
      "containers":[{"name":"a","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"],"add":["CHOWN"]}}}]})"),
            (Lines{"unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
                   "runAsUser=0 (pod must not set runAsUser=0)"}));
}

class PodSecurityServer : public ServerTest {};

TEST_F(PodSecurityServer, TheNamespaceChooses) {
  server_->admission().add(make_pod_security(server_->cache("", "namespaces")));
  const char *pods = "/api/v1/namespaces/default/pods", *merge = "application/merge-patch+json";
  auto label = [&](const char* text) { return call("PATCH", "/api/v1/namespaces/default", std::string(R"({"metadata":{"labels":{)") + text + "}}}", merge); };
  const char* privileged = R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","securityContext":{"privileged":true}}]}})";
  ok(label(R"("pod-security.kubernetes.io/enforce":"baseline")"));
  EXPECT_EQ(refused(call("POST", pods, privileged), 403),
            "Forbidden: pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set securityContext.privileged=true)");
  ok(label(R"("pod-security.kubernetes.io/enforce":null,"pod-security.kubernetes.io/warn":"baseline")"));
  ok(call("POST", pods, privileged), 201);
  EXPECT_NE(refused(label(R"("pod-security.kubernetes.io/enforce":"basline")"), 422).find("must be one of privileged, baseline, restricted"), std::string::npos);
}

}  // namespace
}  // namespace master
