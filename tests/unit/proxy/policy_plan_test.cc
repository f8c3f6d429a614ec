// Policies in, the table's text out; and what one Pod's change costs.
#include "proxy/policy_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/netns.h"

namespace proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

base::json::value parsed(const std::string& text) {
  auto value = base::parse_json(text);
  SAMPAN_CHECK(value.ok());
  return *std::move(value);
}
// A Pod of node n1 or another; `labels` is JSON.
std::string pod_json(const std::string& ns, const std::string& name, const std::string& labels,
                     const std::string& ip, const std::string& node = "n2",
                     const std::string& more = R"("containers":[])") {
  return R"({"metadata":{"namespace":")" + ns + R"(","name":")" + name + R"(","uid":"uid-)" + name +
         R"(","labels":)" + labels + R"(},"spec":{"nodeName":")" + node + R"(",)" + more +
         R"(},"status":{"podIP":")" + ip + R"("}})";
}
std::string policy_json(const std::string& ns, const std::string& name, const std::string& spec) {
  return R"({"metadata":{"namespace":")" + ns + R"(","name":")" + name + R"("},"spec":)" + spec + "}";
}

class PolicyPlan : public ::testing::Test {
 protected:
  PolicyPlan() {
    table.set_node("n1", base::Cidr::parse_v4("10.244.0.0/24"));
    table.set_namespace("shop", Labels{{"team", "shop"}});
    table.set_namespace("ops", Labels{{"team", "ops"}});
  }
  void policy(const std::string& ns, const std::string& name, const std::string& spec) {
    table.set_policy(policy_from(parsed(policy_json(ns, name, spec))));
  }
  void remote(const std::string& ns, const std::string& name, const std::string& labels,
              const std::string& ip, const std::string& more = R"("containers":[])") {
    table.set_pod(ns + "/" + name, policy_pod_from(parsed(pod_json(ns, name, labels, ip, "n2", more))));
  }
  // Without an address in its status: its link says it.
  void local(const std::string& ns, const std::string& name, const std::string& labels, const std::string& ip,
             const std::string& more = R"("containers":[])") {
    table.set_pod(ns + "/" + name, policy_pod_from(parsed(pod_json(ns, name, labels, "", "n1", more))));
    if (ip.empty()) return;
    links[netns::host_link_name("uid-" + name)] = *base::Ip::parse_v4(ip);
    table.set_links(links);
  }
  std::string converge() {
    auto changes = table.converge();
    std::string out = changes.structure ? "load\n" : "";
    for (const PolicyAction& action : changes.actions) out += action.text() + "\n";
    return out;
  }
  bool allows(const std::string& from, const std::string& to, uint16_t port, uint8_t protocol = 6) {
    return table.allows({*base::Ip::parse_v4(from), *base::Ip::parse_v4(to), protocol, port});
  }

  PolicyTable table;
  std::map<std::string, base::Ip> links;
};

TEST_F(PolicyPlan, TextOfTheTable) {
  policy("shop", "db", R"({"podSelector":{"matchLabels":{"app":"db"}},"ingress":[
    {"from":[{"podSelector":{"matchLabels":{"app":"web"}}},{"namespaceSelector":{"matchLabels":{"team":"ops"}}},
             {"ipBlock":{"cidr":"192.0.2.0/24","except":["192.0.2.128/25"]}}],
     "ports":[{"port":5432},{"port":8000,"endPort":8010},{"port":"stats","protocol":"UDP"}]}]})");
  local("shop", "db", R"({"app":"db"})", "10.244.0.5",
        R"("containers":[{"ports":[{"name":"stats","containerPort":9000,"protocol":"UDP"}]}])");
  local("shop", "web", R"({"app":"web"})", "10.244.0.6");
  remote("shop", "web-2", R"({"app":"web"})", "10.244.1.7");
  remote("ops", "probe", "{}", "10.244.1.8");
  EXPECT_EQ(converge(), "load\n");
  EXPECT_EQ(table.text("t"), R"(add table ip t
delete table ip t
table ip t {
  map egress { type ipv4_addr : verdict; elements = { 10.244.0.5 : return, 10.244.0.6 : return } }
  map ingress { type ipv4_addr : verdict; elements = { 10.244.0.5 : goto in_5, 10.244.0.6 : return } }
  set self { type ipv4_addr . ipv4_addr; elements = { 10.244.0.5 . 10.244.0.5 } }
  set pods_1 { type ipv4_addr; elements = { 10.244.0.6, 10.244.1.7, 10.244.1.8 } }
  set block_2 { type ipv4_addr; flags interval; elements = { 192.0.2.0-192.0.2.127 } }
  set ports_3 { type inet_proto . inet_service; flags interval; elements = { 6 . 5432, 6 . 8000-8010 } }
  set named_4 { type ipv4_addr . inet_proto . inet_service; elements = { 10.244.0.5 . udp . 9000 } }
  chain in_5 {
    ip saddr @block_2 ip daddr . meta l4proto . th dport @named_4 return
    ip saddr @block_2 meta l4proto . th dport @ports_3 return
    ip saddr @pods_1 ip daddr . meta l4proto . th dport @named_4 return
    ip saddr @pods_1 meta l4proto . th dport @ports_3 return
    drop
  }
  chain egress_of {
    ip saddr vmap @egress
    drop
  }
  chain ingress_of {
    ip daddr vmap @ingress
    drop
  }
  chain forward {
    type filter hook forward priority 10; policy accept;
    ct mark & 0x8000 == 0x8000 drop
    ct state established,related accept
    ip saddr . ip daddr @self accept
    ip saddr 10.244.0.0/24 jump egress_of
    ip daddr 10.244.0.0/24 jump ingress_of
  }
}
)");
}

TEST_F(PolicyPlan, OnePodsChangeIsElements) {
  policy("shop", "deny", R"({"podSelector":{},"policyTypes":["Ingress","Egress"],
    "ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"web"}}}]}]})");
  local("shop", "db", "{}", "10.244.0.5");
  EXPECT_EQ(converge(), "load\n");
  EXPECT_EQ(converge(), "");
  remote("shop", "web", R"({"app":"web"})", "10.244.1.7");
  EXPECT_EQ(converge(), "add pods_2 10.244.1.7\n");
  remote("shop", "web", R"({"app":"web","other":"label"})", "10.244.1.7");
  EXPECT_EQ(converge(), "");
  remote("shop", "web", R"({"app":"cache"})", "10.244.1.7");
  EXPECT_EQ(converge(), "delete pods_2 10.244.1.7\n");
  // Known before it runs, by its link.
  local("shop", "late", "{}", "");
  EXPECT_EQ(converge(), "");
  local("shop", "late", "{}", "10.244.0.9");
  EXPECT_EQ(converge(),
            "add egress 10.244.0.9 : goto out_1\nadd ingress 10.244.0.9 : goto in_3\n"
            "add self 10.244.0.9 . 10.244.0.9\n");
  local("ops", "free", "{}", "10.244.0.10");
  EXPECT_EQ(converge(), "add egress 10.244.0.10 : return\nadd ingress 10.244.0.10 : return\n");
  table.set_pod("shop/late", std::nullopt);
  EXPECT_EQ(converge(),
            "delete egress 10.244.0.9\ndelete ingress 10.244.0.9\ndelete self 10.244.0.9 . 10.244.0.9\n");
  // A policy that says what another says already.
  policy("shop", "twin", R"({"podSelector":{},"policyTypes":["Ingress"],
    "ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"web"}}}]}]})");
  EXPECT_EQ(converge(), "");
  policy("shop", "more", R"({"podSelector":{},"ingress":[{"ports":[{"port":80}]}]})");
  EXPECT_EQ(converge(), "load\n");
  table.remove_policy("shop/more");
  EXPECT_EQ(converge(), "load\n");
}

TEST_F(PolicyPlan, AnUnknownAddressOfTheNodeIsDenied) {
  policy("shop", "deny", R"({"podSelector":{}})");
  local("ops", "free", "{}", "10.244.0.10");
  (void)converge();
  EXPECT_FALSE(allows("10.244.0.10", "10.244.0.77", 80));
  EXPECT_FALSE(allows("10.244.0.77", "192.0.2.1", 80));
  EXPECT_TRUE(allows("10.244.0.10", "192.0.2.1", 80));
  EXPECT_TRUE(allows("192.0.2.1", "10.244.0.10", 80));
  EXPECT_TRUE(allows("10.244.1.4", "10.244.1.5", 80));  // other nodes' business
}

TEST_F(PolicyPlan, AnAddressOnTwoLinksIsNobodys) {
  policy("shop", "deny", R"({"podSelector":{}})");
  local("ops", "free", "{}", "10.244.0.10");
  local("shop", "db", "{}", "10.244.0.10");
  (void)converge();
  EXPECT_FALSE(allows("10.244.0.10", "192.0.2.1", 80));
  links.erase(netns::host_link_name("uid-db"));
  table.set_links(links);
  EXPECT_EQ(converge(), "add egress 10.244.0.10 : return\nadd ingress 10.244.0.10 : return\n");
}

TEST_F(PolicyPlan, APodReachesItself) {
  policy("shop", "deny", R"({"podSelector":{},"policyTypes":["Ingress","Egress"]})");
  local("shop", "db", "{}", "10.244.0.5");
  local("shop", "web", "{}", "10.244.0.6");
  (void)converge();
  EXPECT_TRUE(allows("10.244.0.5", "10.244.0.5", 80));
  EXPECT_FALSE(allows("10.244.0.5", "10.244.0.6", 80));
}

TEST_F(PolicyPlan, NamespacesChangeTheirLabels) {
  policy("shop", "from-ops", R"({"podSelector":{},"ingress":[{"from":[{"namespaceSelector":
    {"matchLabels":{"team":"ops"}},"podSelector":{"matchExpressions":[{"key":"app","operator":"Exists"}]}}]}]})");
  local("shop", "db", "{}", "10.244.0.5");
  remote("ops", "a", R"({"app":"x"})", "10.244.1.1");
  remote("ops", "b", "{}", "10.244.1.2");
  remote("new", "c", R"({"app":"x"})", "10.244.1.3");
  (void)converge();
  EXPECT_TRUE(allows("10.244.1.1", "10.244.0.5", 80));
  EXPECT_FALSE(allows("10.244.1.2", "10.244.0.5", 80));
  EXPECT_FALSE(allows("10.244.1.3", "10.244.0.5", 80));
  table.set_namespace("new", Labels{{"team", "ops"}});
  EXPECT_EQ(converge(), "add pods_1 10.244.1.3\n");
  table.set_namespace("ops", Labels{});
  EXPECT_EQ(converge(), "delete pods_1 10.244.1.1\n");
}

TEST_F(PolicyPlan, NamedPortsOfPeersAndProtocols) {
  policy("shop", "out", R"({"podSelector":{},"policyTypes":["Egress"],"egress":[
    {"to":[{"podSelector":{"matchLabels":{"app":"web"}}}],"ports":[{"port":"http"}]},
    {"ports":[{"protocol":"SCTP"},{"protocol":"UDP","port":53}]}]})");
  local("shop", "client", "{}", "10.244.0.5");
  remote("shop", "w1", R"({"app":"web"})", "10.244.1.1",
         R"("containers":[{"ports":[{"name":"http","containerPort":80}]}])");
  remote(
      "shop", "w2", R"({"app":"web"})", "10.244.1.2",
      R"("containers":[{"ports":[{"name":"http","containerPort":8080},{"name":"http","containerPort":81,"protocol":"UDP"}]}])");
  remote("shop", "other", "{}", "10.244.1.3",
         R"("containers":[{"ports":[{"name":"http","containerPort":80}]}])");
  remote("shop", "gone", R"({"app":"web"})", "10.244.1.4");
  (void)converge();
  EXPECT_TRUE(allows("10.244.0.5", "10.244.1.1", 80));
  EXPECT_FALSE(allows("10.244.0.5", "10.244.1.1", 8080));
  EXPECT_TRUE(allows("10.244.0.5", "10.244.1.2", 8080));
  EXPECT_FALSE(allows("10.244.0.5", "10.244.1.2", 81, 17));
  EXPECT_FALSE(allows("10.244.0.5", "10.244.1.3", 80));
  EXPECT_TRUE(allows("10.244.0.5", "192.0.2.9", 7, 132));
  EXPECT_TRUE(allows("10.244.0.5", "192.0.2.9", 53, 17));
  EXPECT_FALSE(allows("10.244.0.5", "192.0.2.9", 53, 6));
  EXPECT_FALSE(allows("10.244.0.5", "192.0.2.9", 0, 1));
}

TEST_F(PolicyPlan, WhatCantBeReadAllowsNobody) {
  policy("shop", "broken", R"({"podSelector":{"matchExpressions":[{"key":"a","operator":"Near"}]},"ingress":[
    {"from":[{"podSelector":{"matchExpressions":[{"key":"a","operator":"Near"}]}},{"ipBlock":{"cidr":"x"}},
             {"ipBlock":{"cidr":"10.0.0.0/8","except":["y"]}},{}]},
    {"from":[{"podSelector":{}}],"ports":[{"port":70000},{"port":9,"endPort":4},{"protocol":"OSPF"}]}]})");
  local("shop", "db", "{}", "10.244.0.5");
  remote("shop", "web", R"({"a":"b"})", "10.1.1.1");
  (void)converge();
  EXPECT_FALSE(allows("10.1.1.1", "10.244.0.5", 9));
  table.set_policy(policy_from(parsed(R"({"metadata":7,"spec":[]})")));
  EXPECT_FALSE(policy_pod_from(parsed(R"({"spec":{"hostNetwork":true}})")));
  EXPECT_FALSE(policy_pod_from(parsed(R"({"status":{"phase":"Failed"}})")));
}

TEST(PolicySpans, Joined) {
  auto ip = [](const char* text) { return *base::Ip::parse_v4(text); };
  EXPECT_EQ(joined(std::vector<AddressSpan>{{ip("10.0.0.8"), ip("10.0.0.9")},
                                            {ip("10.0.0.0"), ip("10.0.0.7")},
                                            {ip("255.255.255.0"), ip("255.255.255.255")},
                                            {ip("255.255.255.9"), ip("255.255.255.9")}}),
            (std::vector<AddressSpan>{{ip("10.0.0.0"), ip("10.0.0.9")},
                                      {ip("255.255.255.0"), ip("255.255.255.255")}}));
  EXPECT_EQ(joined(std::vector<PortRange>{{6, 80, 80}, {6, 0, 65535}, {17, 53, 54}, {17, 55, 60}}),
            (std::vector<PortRange>{{6, 0, 65535}, {17, 53, 60}}));
}

}  // namespace
}  // namespace proxy
