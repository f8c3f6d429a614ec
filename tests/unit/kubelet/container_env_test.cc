// Environment, hosts and resolv.conf of a container.
#include "kubelet/pod/container_env.h"

#include <gtest/gtest.h>

#include "kubelet/pod/files.h"

namespace kubelet {
namespace {

api::Pod pod_of(const std::string& spec) {
  auto pod = api::decode_text<api::Pod>(
      R"({"metadata":{"name":"web-0","namespace":"shop","uid":"u1","labels":{"app":"web"}},"spec":)" + spec +
      "}");
  EXPECT_TRUE(pod.ok()) << (pod.ok() ? "" : pod.error().message());
  return *pod;
}
std::string env(const std::string& container, EnvSources sources = {}) {
  api::Pod pod = pod_of(R"({"nodeName":"n1","enableServiceLinks":true,"containers":[)" + container + "]}");
  auto out = container_env(pod, pod.spec->containers[0], {"PATH=/bin"}, sources);
  if (!out.ok()) return "error: " + out.error().reason;
  std::string text;
  for (const auto& e : *out) text += e + "\n";
  return text;
}
const std::map<std::string, std::string> kConfig{{"color", "blue"}, {"bad=key", "x"}};
EnvSources with_config() {
  EnvSources s;
  s.data = [](ObjectKind kind, const std::string& name) {
    return kind == ObjectKind::kConfigMap && name == "c" ? &kConfig : nullptr;
  };
  s.pod_ip = "10.244.0.5";
  s.node_name = "n1";
  s.node_cpu_milli = 2000;
  return s;
}

TEST(ContainerEnv, ValuesAndExpansion) {
  EXPECT_EQ(
      env(R"j({"name":"a","env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)2 $(NO) $$(A) $x"}]})j"),
      "PATH=/bin\nA=1\nB=12 $(NO) $(A) $x\n");
  EXPECT_EQ(expand("a$", std::vector<std::string>{}), "a$");
  EXPECT_EQ(expand("$(", std::vector<std::string>{}), "$(");
}

TEST(ContainerEnv, FieldsAndResources) {
  EXPECT_EQ(env(R"({"name":"a","resources":{"limits":{"memory":"1Mi"}},"env":[
      {"name":"N","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
      {"name":"L","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
      {"name":"I","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
      {"name":"H","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}},
      {"name":"M","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Ki"}}},
      {"name":"C","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]})",
                with_config()),
            "PATH=/bin\nN=web-0\nL=web\nI=10.244.0.5\nH=n1\nM=1024\nC=2\n");
  EXPECT_EQ(env(R"({"name":"a","env":[{"name":"N","valueFrom":{"fieldRef":{"fieldPath":"spec.nope"}}}]})"),
            "error: unsupported fieldPath: spec.nope");
}

TEST(ContainerEnv, ConfigMapsAndSecrets) {
  EXPECT_EQ(env(R"({"name":"a","envFrom":[{"prefix":"P_","configMapRef":{"name":"c"}}],
      "env":[{"name":"K","valueFrom":{"configMapKeyRef":{"name":"c","key":"color"}}},
             {"name":"O","valueFrom":{"secretKeyRef":{"name":"s","key":"k","optional":true}}}]})",
                with_config()),
            "PATH=/bin\nP_color=blue\nK=blue\n");
  EXPECT_EQ(env(R"({"name":"a","env":[{"name":"K","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]})",
                with_config()),
            "error: secret \"s\" not found");
  EXPECT_EQ(env(R"({"name":"a","env":[{"name":"K","valueFrom":{"configMapKeyRef":{"name":"c","key":"k"}}}]})",
                with_config()),
            "error: couldn't find key k in ConfigMap shop/c");
  EXPECT_EQ(env(R"({"name":"a","envFrom":[{"configMapRef":{"name":"no"}}]})", with_config()),
            "error: configmap \"no\" not found");
}

TEST(ContainerEnv, ServiceLinks) {
  EnvSources s;
  s.services = {{.name = "back-end",
                 .cluster_ip = "10.96.0.9",
                 .ports = {{.name = "http", .protocol = "TCP", .port = 80}}}};
  EXPECT_EQ(
      env(R"({"name":"a"})", s),
      "PATH=/bin\nBACK_END_SERVICE_HOST=10.96.0.9\nBACK_END_SERVICE_PORT=80\nBACK_END_SERVICE_PORT_HTTP=80\n"
      "BACK_END_PORT=tcp://10.96.0.9:80\nBACK_END_PORT_80_TCP=tcp://"
      "10.96.0.9:80\nBACK_END_PORT_80_TCP_PROTO=tcp\n"
      "BACK_END_PORT_80_TCP_PORT=80\nBACK_END_PORT_80_TCP_ADDR=10.96.0.9\n");
}

const DnsFacts kDns{
    .cluster_dns = "10.96.0.10",
    .cluster_domain = "cluster.local",
    .host_resolv_conf = "# x\nsearch corp.example\nnameserver 192.0.2.53\noptions timeout:1\n",
    .host_hosts = "127.0.0.1 localhost\n"};

TEST(PodFiles, ResolvConf) {
  EXPECT_EQ(pod_resolv_conf(pod_of("{}"), kDns),
            "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver "
            "10.96.0.10\noptions ndots:5\n");
  EXPECT_EQ(pod_resolv_conf(pod_of(R"({"hostNetwork":true})"), kDns),
            "search corp.example\nnameserver 192.0.2.53\noptions timeout:1\n");
  EXPECT_EQ(
      pod_resolv_conf(
          pod_of(
              R"({"dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1"],"searches":["a"],"options":[{"name":"ndots","value":"2"},{"name":"edns0"}]}})"),
          kDns),
      "search a\nnameserver 1.1.1.1\noptions ndots:2 edns0\n");
  EXPECT_EQ(pod_resolv_conf(pod_of(R"({"dnsConfig":{"options":[{"name":"ndots","value":"1"}]}})"), kDns),
            "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver "
            "10.96.0.10\noptions ndots:1\n");
}

TEST(PodFiles, Hosts) {
  const std::string head =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
  EXPECT_EQ(pod_hosts(pod_of("{}"), "10.244.0.5", kDns, "n1"), head + "10.244.0.5\tweb-0\n");
  EXPECT_EQ(
      pod_hosts(
          pod_of(
              R"({"subdomain":"db","hostname":"h","hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]}]})"),
          "10.244.0.5", kDns, "n1"),
      head +
          "10.244.0.5\th.db.shop.svc.cluster.local\th\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n");
  EXPECT_EQ(pod_hosts(pod_of(R"({"hostNetwork":true})"), "192.0.2.1", kDns, "n1"),
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n");
  EXPECT_EQ(pod_hostname(pod_of(R"({"hostNetwork":true})"), "n1"), "n1");
}

// Text of the API is words of these files, never a line of its own.
TEST(PodFiles, AHostileAuthorWritesNoLine) {
  const std::string resolv = pod_resolv_conf(
      pod_of(
          R"({"dnsConfig":{"nameservers":["6.6.6.6\nnameserver 6.6.6.7","9.9.9.9"],"searches":["a b","c#d","ok"],
      "options":[{"name":"ndots","value":"2\nnameserver 6.6.6.8"},{"name":"x y"},{"name":"edns0"}]}})"),
      kDns);
  EXPECT_EQ(resolv.find("6.6.6"), std::string::npos) << resolv;
  EXPECT_NE(resolv.find("nameserver 9.9.9.9\n"), std::string::npos) << resolv;
  EXPECT_NE(resolv.find(" ok\n"), std::string::npos) << resolv;
  EXPECT_EQ(resolv.find("a b"), std::string::npos) << resolv;
  const std::string hosts = pod_hosts(
      pod_of(
          R"({"hostAliases":[{"ip":"1.2.3.4\n6.6.6.6 bank","hostnames":["a"]},{"ip":"1.2.3.5","hostnames":["b\n6.6.6.6\tbank","c"]}]})"),
      "10.244.0.5", kDns, "n1");
  EXPECT_EQ(hosts.find("bank"), std::string::npos) << hosts;
  EXPECT_NE(hosts.find("1.2.3.5\tc\n"), std::string::npos) << hosts;
}

}  // namespace
}  // namespace kubelet
