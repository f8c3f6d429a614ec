#include "proxy/service_plan.h"

#include <gtest/gtest.h>

#include "proxy/health_checks.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy {
namespace {

std::string plan(const Service& service, std::vector<EndpointSlice> slices) {
  std::vector<const EndpointSlice*> pointers;
  for (const EndpointSlice& slice : slices) pointers.push_back(&slice);
  Table table;
  return text(table.set("s", elements_of(service, pointers, node_one())));
}

TEST(ServicePlan, ClusterIp) {
  EXPECT_EQ(plan(service("web 10.96.0.5 http:80/tcp"),
                 {slice("web-1 web http:8080/tcp | 10.244.0.5@n1 10.244.1.6@n2")}),
            "add-class class_2\n"
            "add ep_2 10.96.0.5 . tcp . 80 . 0 : 10.244.0.5 . 8080\n"
            "add ep_2 10.96.0.5 . tcp . 80 . 1 : 10.244.1.6 . 8080\n"
            "add services 10.96.0.5 . tcp . 80 : class_2\n"
            "add hairpin 10.244.0.5 . 10.244.0.5\n");
}
TEST(ServicePlan, NamedPortsAndTwoSlices) {
  EXPECT_EQ(plan(service("dns 10.96.0.6 dns:53/udp dns-tcp:53/tcp"),
                 {slice("dns-1 dns dns:5353/udp dns-tcp:5353/tcp | 10.244.1.5@n2"),
                  slice("dns-2 dns dns:5354/udp | 10.244.1.6@n2")}),
            "add-class class_1\n"
            "add-class class_2\n"
            "add ep_1 10.96.0.6 . tcp . 53 . 0 : 10.244.1.5 . 5353\n"
            "add ep_2 10.96.0.6 . udp . 53 . 0 : 10.244.1.5 . 5353\n"
            "add ep_2 10.96.0.6 . udp . 53 . 1 : 10.244.1.6 . 5354\n"
            "add services 10.96.0.6 . tcp . 53 : class_1\n"
            "add services 10.96.0.6 . udp . 53 : class_2\n");
}
// Whom an endpoint is meant for counts where all have such hints and one is for here.
TEST(ServicePlan, HintsOfNodesThenOfZones) {
  auto chosen = [](std::vector<std::array<std::string, 3>> endpoints, const std::string& zone) {
    EndpointSlice s = slice("s web http:1/tcp |");
    for (const auto& [ip, for_node, for_zone] : endpoints) {
      Endpoint e;
      e.addresses = {ip};
      if (!for_node.empty()) e.for_nodes = {for_node};
      if (!for_zone.empty()) e.for_zones = {for_zone};
      s.endpoints.push_back(e);
    }
    Node node = node_one();
    node.zone = zone;
    Table table;
    std::string changes = text(table.set("s", elements_of(service("web 10.96.0.5 http:80/tcp"), {&s}, node))),
                out;
    for (size_t at = 0; (at = changes.find(": 10.244.", at)) != changes.npos; at += 2)
      out += changes.substr(at + 9, 3) + " ";
    return out;
  };
  EXPECT_EQ(chosen({{"10.244.0.5", "n1", "a"}, {"10.244.1.6", "n2", "a"}, {"10.244.2.7", "n3", "b"}}, "a"),
            "0.5 ");
  EXPECT_EQ(chosen({{"10.244.1.6", "n2", "a"}, {"10.244.2.7", "n3", "b"}}, "a"), "1.6 ")
      << "else those of the zone";
  EXPECT_EQ(chosen({{"10.244.1.6", "n2", "a"}, {"10.244.2.7", "n3", "b"}}, ""), "1.6 2.7 ")
      << "of no zone: all";
  EXPECT_EQ(chosen({{"10.244.1.6", "n2", "c"}, {"10.244.2.7", "n3", "b"}}, "a"), "1.6 2.7 ")
      << "none is for here";
  EXPECT_EQ(chosen({{"10.244.0.5", "n1", ""}, {"10.244.1.6", "", "a"}}, "a"), "0.5 1.6 ")
      << "not all have hints";
  EXPECT_EQ(chosen({{"10.244.0.5", "", "a"}, {"10.244.1.6", "", ""}}, "a"), "0.5 1.6 ")
      << "not all have hints";
}
TEST(ServicePlan, NoEndpointsRefuses) {
  EXPECT_EQ(plan(service("web 10.96.0.5 http:80/tcp:30080"), {}),
            "add blocked 10.96.0.5 . tcp . 80 : refuse\n"
            "add blocked 192.0.2.11 . tcp . 30080 : refuse\n");
}
TEST(ServicePlan, HeadlessAndExternalNameHaveNoRules) {
  EXPECT_EQ(plan(service("db None sql:5432/tcp"), {slice("a db sql:5432/tcp | 10.244.0.5@n1")}), "");
  Service external = service("ext 10.96.0.9 a:80/tcp");
  external.type = "ExternalName";
  EXPECT_EQ(plan(external, {}), "");
}
TEST(ServicePlan, ReadyFirstThenServingTerminating) {
  const char* refused = "add blocked 10.96.0.5 . tcp . 80 : refuse\n";
  auto web = service("web 10.96.0.5 http:80/tcp");
  EXPECT_EQ(plan(web, {slice("s web http:1/tcp | 10.244.1.5@n2 10.244.1.6@n2,terminating "
                             "10.244.1.7@n2,unready")}),
            "add-class class_1\n"
            "add ep_1 10.96.0.5 . tcp . 80 . 0 : 10.244.1.5 . 1\n"
            "add services 10.96.0.5 . tcp . 80 : class_1\n");
  EXPECT_EQ(plan(web, {slice("s web http:1/tcp | 10.244.1.6@n2,terminating 10.244.1.7@n2,unready")}),
            "add-class class_1\n"
            "add ep_1 10.96.0.5 . tcp . 80 . 0 : 10.244.1.6 . 1\n"
            "add services 10.96.0.5 . tcp . 80 : class_1\n");
  EXPECT_EQ(plan(web, {slice("s web http:1/tcp | 10.244.1.6@n2,dead 10.244.1.7@n2,unready")}), refused);
}
TEST(ServicePlan, NodePortAndLoadBalancer) {
  Service web = service("web 10.96.0.5 http:80/tcp:30080");
  web.external_ips = {"203.0.113.5"};
  web.load_balancer_ips = {"203.0.113.9", "2001:db8::9"};
  EXPECT_EQ(plan(web, {slice("s web http:8080/tcp | 10.244.1.5@n2")}),
            "add-class class_1\n"
            "add-class class_1_external\n"
            "add ep_1 10.96.0.5 . tcp . 80 . 0 : 10.244.1.5 . 8080\n"
            "add ep_1 192.0.2.11 . tcp . 30080 . 0 : 10.244.1.5 . 8080\n"
            "add ep_1 203.0.113.5 . tcp . 80 . 0 : 10.244.1.5 . 8080\n"
            "add ep_1 203.0.113.9 . tcp . 80 . 0 : 10.244.1.5 . 8080\n"
            "add services 10.96.0.5 . tcp . 80 : class_1\n"
            "add services 192.0.2.11 . tcp . 30080 : class_1_external\n"
            "add services 203.0.113.5 . tcp . 80 : class_1_external\n"
            "add services 203.0.113.9 . tcp . 80 : class_1_external\n");
}
TEST(ServicePlan, SourceRangesGuardTheBalancersAddressAlone) {
  Service web = service("web 10.96.0.5 http:80/tcp:30080");
  web.load_balancer_ips = {"203.0.113.9"};
  auto guards = [&](std::vector<std::string> ranges) {
    web.source_ranges = std::move(ranges);
    EndpointSlice one = slice("s web http:8080/tcp | 10.244.1.5@n2");
    std::string out;
    for (const auto& [element, value] : elements_of(web, {&one}, node_one()))
      if (element.set == Set::kGuarded || element.set == Set::kSources) out += element.text() + "\n";
    return out;
  };
  EXPECT_EQ(guards({}), "");
  EXPECT_EQ(guards({"192.0.2.0/24", "192.0.2.9/25", "192.0.2.0/24", "198.51.100.7/32", "fd00::/8"}),
            "guarded 203.0.113.9 . tcp . 80\n"
            "sources 203.0.113.9 . tcp . 80 . 192.0.2.0-192.0.2.255\n"
            "sources 203.0.113.9 . tcp . 80 . 198.51.100.7-198.51.100.7\n");
  EXPECT_EQ(guards({"192.0.2.128/25", "192.0.2.0/24", "192.0.0.0/8"}),
            "guarded 203.0.113.9 . tcp . 80\n"
            "sources 203.0.113.9 . tcp . 80 . 192.0.0.0-192.255.255.255\n");
  EXPECT_EQ(guards({"192.0.2.0/24", "0.0.0.0/0"}), "");
  // None that is for this family: nobody of it.
  EXPECT_EQ(guards({"fd00::/8"}), "guarded 203.0.113.9 . tcp . 80\n");
}
TEST(HealthCheck, CountsReadyLocalEndpoints) {
  Service web = service("web 10.96.0.5 http:80/tcp:30080");
  web.health_port = 31000;
  EndpointSlice one = slice("s web http:8080/tcp | 10.244.0.5@n1 10.244.0.6@n1,unready 10.244.1.5@n2"),
                two = slice("t web https:8443/tcp | 10.244.0.5@n1 10.244.0.7@n1");
  EXPECT_EQ(health_check_of(web, {&one, &two}, "n1").port, 0);
  web.type = "LoadBalancer";
  web.external_local = true;
  HealthCheck check = health_check_of(web, {&one, &two}, "n1");
  EXPECT_EQ(check.port, 31000);
  EXPECT_EQ(check.local_endpoints, 2u);
  EXPECT_EQ(health_body(check, true),
            "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n"
            "\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}");
  EXPECT_EQ(health_check_of(web, {&one}, "n3").local_endpoints, 0u);
}
TEST(ServicePlan, ExternalTrafficPolicyLocal) {
  Service web = service("web 10.96.0.5 http:80/tcp:30080");
  web.external_local = true;
  EXPECT_EQ(plan(web, {slice("s web http:8080/tcp | 10.244.0.5@n1 10.244.1.5@n2")}),
            "add-class class_2\n"
            "add-class class_1_local\n"
            "add ep_2 10.96.0.5 . tcp . 80 . 0 : 10.244.0.5 . 8080\n"
            "add ep_2 10.96.0.5 . tcp . 80 . 1 : 10.244.1.5 . 8080\n"
            "add ep_2 192.0.2.11 . tcp . 30080 . 0 : 10.244.0.5 . 8080\n"
            "add ep_2 192.0.2.11 . tcp . 30080 . 1 : 10.244.1.5 . 8080\n"
            "add ep_1_local 192.0.2.11 . tcp . 30080 . 0 : 10.244.0.5 . 8080\n"
            "add services 10.96.0.5 . tcp . 80 : class_2\n"
            "add services 192.0.2.11 . tcp . 30080 : class_2\n"
            "add external_local 192.0.2.11 . tcp . 30080 : class_1_local\n"
            "add hairpin 10.244.0.5 . 10.244.0.5\n");
  EXPECT_EQ(plan(web, {slice("s web http:8080/tcp | 10.244.1.5@n2")}),
            "add-class class_1\n"
            "add ep_1 10.96.0.5 . tcp . 80 . 0 : 10.244.1.5 . 8080\n"
            "add ep_1 192.0.2.11 . tcp . 30080 . 0 : 10.244.1.5 . 8080\n"
            "add services 10.96.0.5 . tcp . 80 : class_1\n"
            "add services 192.0.2.11 . tcp . 30080 : class_1\n"
            "add external_local 192.0.2.11 . tcp . 30080 : accept\n"
            "add blocked 192.0.2.11 . tcp . 30080 : drop\n");
}
TEST(ServicePlan, InternalTrafficPolicyLocal) {
  Service web = service("web 10.96.0.5 http:80/tcp");
  web.internal_local = true;
  EXPECT_EQ(plan(web, {slice("s web http:8080/tcp | 10.244.0.5@n1 10.244.1.5@n2")}),
            "add-class class_1\n"
            "add ep_1 10.96.0.5 . tcp . 80 . 0 : 10.244.0.5 . 8080\n"
            "add services 10.96.0.5 . tcp . 80 : class_1\n"
            "add hairpin 10.244.0.5 . 10.244.0.5\n");
  EXPECT_EQ(plan(web, {slice("s web http:8080/tcp | 10.244.1.5@n2")}),
            "add blocked 10.96.0.5 . tcp . 80 : drop\n");
}
TEST(ServicePlan, Affinity) {
  Service web = service("web 10.96.0.5 http:80/tcp");
  web.affinity_seconds = 10800;
  EXPECT_EQ(plan(web, {slice("s web http:8080/tcp | 10.244.1.5@n2 10.244.1.6@n2")}),
            "add-class class_2_sticky_10800\n"
            "add ep_2_sticky 10.96.0.5 . tcp . 80 . 0 : 10.244.1.5 . 8080\n"
            "add ep_2_sticky 10.96.0.5 . tcp . 80 . 1 : 10.244.1.6 . 8080\n"
            "add services 10.96.0.5 . tcp . 80 : class_2_sticky_10800\n");
}
TEST(ServicePlan, OtherFamilyAndZeroPortsAreLeftOut) {
  EXPECT_EQ(plan(service("web 10.96.0.5 http:80/tcp"),
                 {slice("s web http:8080/tcp | fd00::5@n2"), slice("t web http:0/tcp | 10.244.1.5@n2")}),
            "add blocked 10.96.0.5 . tcp . 80 : refuse\n");
  EXPECT_EQ(plan(service("web fd00::1 http:80/tcp"), {}), "");
}

TEST(Table, OneEndpointChanged) {
  Table table;
  auto apply = [&](const std::string& s) {
    EndpointSlice one = slice(s);
    return text(
        table.set("default/web", elements_of(service("web 10.96.0.5 http:80/tcp"), {&one}, node_one())));
  };
  apply("s web http:8080/tcp | 10.244.1.5@n2 10.244.1.6@n2");
  EXPECT_EQ(apply("s web http:8080/tcp | 10.244.1.5@n2 10.244.1.7@n2"),
            "delete ep_2 10.96.0.5 . tcp . 80 . 1\n"
            "add ep_2 10.96.0.5 . tcp . 80 . 1 : 10.244.1.7 . 8080\n");
  EXPECT_EQ(apply("s web http:8080/tcp | 10.244.1.5@n2 10.244.1.7@n2"), "");
  EXPECT_EQ(apply("s web http:8080/tcp | 10.244.1.5@n2"),
            "add-class class_1\n"
            "delete ep_2 10.96.0.5 . tcp . 80 . 0\n"
            "delete ep_2 10.96.0.5 . tcp . 80 . 1\n"
            "delete services 10.96.0.5 . tcp . 80\n"
            "add ep_1 10.96.0.5 . tcp . 80 . 0 : 10.244.1.5 . 8080\n"
            "add services 10.96.0.5 . tcp . 80 : class_1\n");
  EXPECT_EQ(text(table.set("default/web", {})),
            "delete ep_1 10.96.0.5 . tcp . 80 . 0\n"
            "delete services 10.96.0.5 . tcp . 80\n");
}
TEST(Table, TheFirstByNameHasASharedAddress) {
  Table table;
  Elements a{{{Set::kBlocked, 0, {Ip::v4(1), 6, 80}, 0}, {Value::Kind::kRefuse, {}, 0, {}}}};
  Elements b{{{Set::kBlocked, 0, {Ip::v4(1), 6, 80}, 0}, {Value::Kind::kDrop, {}, 0, {}}}};
  EXPECT_EQ(text(table.set("b", b)), "add blocked 0.0.0.1 . tcp . 80 : drop\n");
  EXPECT_EQ(text(table.set("a", a)),
            "delete blocked 0.0.0.1 . tcp . 80\nadd blocked 0.0.0.1 . tcp . 80 : refuse\n");
  EXPECT_EQ(text(table.set("a", {})),
            "delete blocked 0.0.0.1 . tcp . 80\nadd blocked 0.0.0.1 . tcp . 80 : drop\n");
  EXPECT_EQ(text(table.set("b", {})), "delete blocked 0.0.0.1 . tcp . 80\n");
}
// Without endpoints, with other numbers of them, with another policy: nothing of an address goes to whoever
// else wants it while the older has it.
TEST(Table, AnAddressBelongsToTheOlderAsAWhole) {
  Table table;
  auto set = [&](Service s, const std::string& endpoints) {
    EndpointSlice one = slice("x " + s.name + " http:8080/tcp | " + endpoints);
    return text(table.set("default/" + s.name, elements_of(s, {&one}, node_one()), s.rank()));
  };
  Service older = service("older 10.96.0.5 http:80/tcp"), thief = service("a-thief 10.96.0.6 http:80/tcp");
  for (Service* s : {&older, &thief}) s->external_ips = {"203.0.113.7"}, s->uid = s->name;
  older.created = "2026-01-01T00:00:00Z";
  thief.created = "2026-01-02T00:00:00Z";
  thief.external_local = true;
  set(thief, "10.244.1.9@n1 10.244.1.8@n1");
  EXPECT_EQ(set(older, ""),
            "delete ep_2 203.0.113.7 . tcp . 80 . 0\n"
            "delete ep_2 203.0.113.7 . tcp . 80 . 1\n"
            "delete ep_2_local 203.0.113.7 . tcp . 80 . 0\n"
            "delete ep_2_local 203.0.113.7 . tcp . 80 . 1\n"
            "delete services 203.0.113.7 . tcp . 80\n"
            "delete external_local 203.0.113.7 . tcp . 80\n"
            "add blocked 10.96.0.5 . tcp . 80 : refuse\n"
            "add blocked 203.0.113.7 . tcp . 80 : refuse\n");
  EXPECT_EQ(set(thief, "10.244.1.9@n1").find("203.0.113.7"), std::string::npos);
  EXPECT_NE(set(older, "10.244.1.5@n1").find("add services 203.0.113.7 . tcp . 80 : class_1_external"),
            std::string::npos);
  // The same name made anew is a younger Service.
  older.created = "2026-01-03T00:00:00Z";
  EXPECT_NE(set(older, "10.244.1.5@n1").find("add external_local 203.0.113.7 . tcp . 80 : class_1_local"),
            std::string::npos);
  EXPECT_EQ(text(table.set("default/older", {})).find("203.0.113.7"), std::string::npos);
  EXPECT_NE(text(table.set("default/a-thief", {})).find("delete services 203.0.113.7 . tcp . 80"),
            std::string::npos);
  EXPECT_EQ(table.size(), 0u);
}

TEST(HostPorts, OnTheNodesOwnAddressesAlone) {
  LocalPod pod{"default",
               "web",
               "",
               "u",
               "10.244.0.5",
               {{6, 8080, 80, ""},
                {17, 53, 5353, "198.51.100.11"},
                {6, 9, 9, "127.0.0.1"},
                {6, 10, 10, "203.0.113.7"}}};
  Node node = node_one();
  node.other_addresses = {"198.51.100.11", "n1.example"};
  node.kubelet_port = 10250;
  Table table;
  EXPECT_EQ(text(table.set("pod default/web", elements_of(pod, node))),
            "add-class class_1_local\n"
            "add ep_1_local 192.0.2.11 . tcp . 8080 . 0 : 10.244.0.5 . 80\n"
            "add ep_1_local 198.51.100.11 . tcp . 8080 . 0 : 10.244.0.5 . 80\n"
            "add ep_1_local 198.51.100.11 . udp . 53 . 0 : 10.244.0.5 . 5353\n"
            "add services 192.0.2.11 . tcp . 8080 : class_1_local\n"
            "add services 198.51.100.11 . tcp . 8080 : class_1_local\n"
            "add services 198.51.100.11 . udp . 53 : class_1_local\n"
            "add hairpin 10.244.0.5 . 10.244.0.5\n");
  pod.ports = {{6, 10250, 80, ""}};
  EXPECT_TRUE(elements_of(pod, node).empty());
  pod.ports = {{6, 8080, 80, ""}};
  pod.ip = "fd00::5";
  EXPECT_TRUE(elements_of(pod, node).empty());
}

// ---- addresses of the cluster itself ----
Reserved reserved() {
  Reserved r{base::Cidr::parse_v4("10.96.0.0/16"),
             base::Cidr::parse_v4("10.244.0.0/16"),
             *base::Ip::parse_v4("10.96.0.10"),
             {}};
  r.api = {{*base::Ip::parse_v4("192.0.2.1"), 6443}};
  return r;
}
Node guarded_node() {
  Node node = node_one();
  node.other_addresses = {"198.51.100.11", "n1.example"};
  node.kubelet_port = 10250;
  return node;
}
std::string reserved_plan(const Service& s, const char* endpoint = "10.244.1.5@n2") {
  EndpointSlice one = slice("x s http:8080/tcp | " + std::string(endpoint));
  std::string out;
  for (const auto& [element, value] : elements_of(s, {&one}, guarded_node(), reserved()))
    if (element.set == Set::kServices || element.set == Set::kBlocked) out += element.key.text() + "\n";
  return out;
}
TEST(Reserved, OnlyKubernetesHasItsAddressAndOnlyKubeDnsThatOfDns) {
  Service s = service("web 10.96.0.1 http:443/tcp");
  EXPECT_EQ(reserved_plan(s), "");
  s.name = "kubernetes";
  EXPECT_EQ(reserved_plan(s), "10.96.0.1 . tcp . 443\n");
  s.ns = "tenant";
  EXPECT_EQ(reserved_plan(s), "");
  s.cluster_ip = "10.96.0.10";
  EXPECT_EQ(reserved_plan(s), "");
  s.ns = "kube-system", s.name = "kube-dns";
  EXPECT_EQ(reserved_plan(s), "10.96.0.10 . tcp . 443\n");
  for (const char* ip : {"192.0.2.1", "10.244.0.7", "127.0.0.1"}) {  // stored before the range was another
    s.cluster_ip = ip;
    EXPECT_EQ(reserved_plan(s), "") << ip;
  }
}
TEST(Reserved, ExternalAddressesAreNoPartOfTheCluster) {
  Service s = service("web 10.96.0.5 http:80/tcp");
  s.external_ips = {"203.0.113.7"};
  EXPECT_EQ(reserved_plan(s), "10.96.0.5 . tcp . 80\n203.0.113.7 . tcp . 80\n");
  for (const char* ip :
       {"10.96.0.1", "10.96.0.10", "10.96.7.7", "10.244.0.7", "192.0.2.1", "192.0.2.11", "198.51.100.11",
        "127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "255.255.255.255"}) {
    s.external_ips = {ip};
    EXPECT_EQ(reserved_plan(s), "10.96.0.5 . tcp . 80\n") << ip;
  }
}
TEST(Reserved, AGivenAddressMayBeTheNodesButNotItsControlPorts) {
  Service s = service("web 10.96.0.5 http:80/tcp");
  s.load_balancer_ips = {"192.0.2.11", "192.0.2.1", "10.244.0.7", "10.96.0.1"};
  EXPECT_EQ(reserved_plan(s), "10.96.0.5 . tcp . 80\n192.0.2.1 . tcp . 80\n192.0.2.11 . tcp . 80\n");
  s = service("web 10.96.0.5 http:10250/tcp");
  s.load_balancer_ips = {"192.0.2.11"};
  EXPECT_EQ(reserved_plan(s), "10.96.0.5 . tcp . 10250\n");
  s = service("web 10.96.0.5 http:6443/tcp");
  s.load_balancer_ips = {"192.0.2.1"};
  EXPECT_EQ(reserved_plan(s), "10.96.0.5 . tcp . 6443\n");
  s = service("web 10.96.0.5 http:80/tcp:10250");
  EXPECT_EQ(reserved_plan(s), "10.96.0.5 . tcp . 80\n");
}
TEST(Reserved, EndpointsThatAreNoHostAreLeftOut) {
  for (const char* ip : {"127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0"})
    EXPECT_EQ(plan(service("web 10.96.0.5 http:80/tcp"),
                   {slice("s web http:8080/tcp | " + std::string(ip) + "@n2")}),
              "add blocked 10.96.0.5 . tcp . 80 : refuse\n")
        << ip;
}

TEST(Table, ReconcileRepairsWhatDiffers) {
  Table table;
  EndpointSlice one = slice("s web http:8080/tcp | 10.244.1.5@n2");
  (void)table.set("web", elements_of(service("web 10.96.0.5 http:80/tcp"), {&one}, node_one()));
  Observed observed;
  observed.elements = {{{Set::kServices, 0, {Ip::v4(0x0a600005), 6, 80}, 0},
                        {Value::Kind::kClass, {}, 0, {Class::Mode::kCluster, 3, 0}}},
                       {{Set::kHairpin, 0, {Ip::v4(0x0af40005), 0, 0}, 0}, {}}};
  EXPECT_EQ(text(table.reconcile(observed)),
            "add-class class_1\n"
            "delete services 10.96.0.5 . tcp . 80\n"
            "delete hairpin 10.244.0.5 . 10.244.0.5\n"
            "add ep_1 10.96.0.5 . tcp . 80 . 0 : 10.244.1.5 . 8080\n"
            "add services 10.96.0.5 . tcp . 80 : class_1\n");
}
TEST(Class, NamesGoBothWays) {
  for (const char* name :
       {"class_1", "class_65535_external", "class_2_local_sticky_30", "class_3_sticky_10800"}) {
    auto found = parse_class(name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->chain(), name);
  }
  for (const char* name : {"class_", "class_x", "class_1_", "prerouting", "class_1_sticky_", "class_99999"})
    EXPECT_FALSE(parse_class(name)) << name;
}

}  // namespace
}  // namespace proxy
