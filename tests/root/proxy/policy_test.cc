// The table of policies in a real kernel: what its packets do is what PolicyTable::allows() says.
#include "tests/root/proxy/network.h"

#include "base/json.h"
#include "proxy/conntrack.h"
#include "proxy/nft_exec.h"
#include "proxy/policy_plan.h"

namespace proxy {
namespace {

base::json::value parsed_json(const std::string& text) {
  auto value = base::parse_json(text);
  SAMPAN_CHECK(value.ok());
  return *std::move(value);
}

class PolicyRoot : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
    net = std::make_unique<Network>();
    nft = std::make_unique<Nftables>(SkeletonConfig{"sampan_policy", {}, {}, {}});
    must(nft->open());
    table.set_node("n1", base::Cidr::parse_v4("10.244.0.0/24"));
  }
  void add(const std::string& ns, const std::string& labels, const std::string& ip) {
    hosts.push_back(net->pod(ip));
    know(ns, labels, ip);
  }
  void know(const std::string& ns, const std::string& labels, const std::string& ip) {
    table.set_pod(ns + "/" + ip,
                  policy_pod_from(parsed_json(R"({"metadata":{"namespace":")" + ns + R"(","name":")" + ip +
                                              R"(","uid":")" + ip + R"(","labels":)" + labels +
                                              R"(},"spec":{"nodeName":"n1","containers":[{"ports":[
                                        {"name":"http","containerPort":8080}]}]}})")));
  }
  void policy(const std::string& ns, const std::string& name, const std::string& spec) {
    table.set_policy(policy_from(parsed_json(R"({"metadata":{"namespace":")" + ns + R"(","name":")" + name +
                                             R"("},"spec":)" + spec + "}")));
  }
  void apply() {
    std::map<std::string, Ip> links;
    auto found = netns::pod_links();
    ASSERT_TRUE(found.ok());
    for (auto& pod : *found) links.emplace(pod.host_name, pod.address);
    table.set_links(links);
    auto changes = table.converge();
    loaded = changes.structure;
    if (changes.structure) must(nft->load(table.text("sampan_policy")));
    else if (!changes.actions.empty())
      must(nft->send(encode("sampan_policy", changes.actions),
                     [&](size_t action) { return changes.actions[action].text(); }));
    auto judged = judge_connections([&](const Packet& packet) { return table.allows(packet); });
    ASSERT_TRUE(judged.ok()) << judged.error().message();
  }
  bool allows(size_t from, size_t to) {
    return table.allows({*Ip::parse_v4(hosts[from].ip), *Ip::parse_v4(hosts[to].ip), IPPROTO_TCP, 8080});
  }
  void expect_as_judged(const std::string& what) {
    for (size_t from = 0; from < hosts.size(); ++from)
      for (size_t to = 0; to < hosts.size(); ++to) {
        if (from == to) continue;
        const bool allowed = allows(from, to);
        Hit hit = connect_tcp(&hosts[from], hosts[to].ip, 8080, hosts, allowed ? 2000 : 60);
        EXPECT_EQ(hit.who, allowed ? static_cast<int>(to) : -1)
            << what << ": " << hosts[from].ip << " to " << hosts[to].ip;
        counts[allowed] += 1;
      }
  }

  std::unique_ptr<Network> net;
  std::unique_ptr<Nftables> nft;
  PolicyTable table;
  std::vector<Host> hosts;
  std::map<bool, int> counts;
  bool loaded = false;  // as a whole, by the last apply()
};

TEST_F(PolicyRoot, PacketsGoAsJudged) {
  table.set_namespace("x", Labels{{"team", "one"}});
  table.set_namespace("y", Labels{{"team", "two"}});
  add("x", R"({"app":"web"})", "10.244.0.5");
  add("x", R"({"app":"db"})", "10.244.0.6");
  add("y", R"({"app":"web"})", "10.244.0.7");
  add("y", "{}", "10.244.0.8");
  const std::vector<std::pair<const char*, const char*>> policies = {
      {"deny in", R"({"podSelector":{}})"},
      {"deny out", R"({"podSelector":{},"policyTypes":["Egress"]})"},
      {"from web of x", R"({"podSelector":{"matchLabels":{"app":"db"}},"ingress":[{"from":[
          {"podSelector":{"matchLabels":{"app":"web"}}}]}]})"},
      {"from y",
       R"({"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"two"}}}]}]})"},
      {"named port", R"({"podSelector":{},"ingress":[{"ports":[{"port":"http"}]}]})"},
      {"another port", R"({"podSelector":{},"ingress":[{"ports":[{"port":8081,"endPort":9000}]}]})"},
      {"range", R"({"podSelector":{},"ingress":[{"ports":[{"port":8000,"endPort":9000}]}]})"},
      {"udp", R"({"podSelector":{},"ingress":[{"ports":[{"protocol":"UDP"}]}]})"},
      {"block", R"({"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"10.244.0.0/24",
          "except":["10.244.0.7/32"]}}]}]})"},
      {"out to y", R"({"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[{"namespaceSelector":
          {"matchLabels":{"team":"two"}}}],"ports":[{"port":"http"}]}]})"},
      {"everything", R"({"podSelector":{},"policyTypes":["Ingress","Egress"],"ingress":[{}],"egress":[{}]})"},
  };
  for (const auto& [name, spec] : policies) {
    policy("x", "one", spec);
    apply();
    expect_as_judged(name);
  }
  // Label changes, as elements.
  policy("x", "one", policies[2].second);
  apply();
  know("x", R"({"app":"cache"})", "10.244.0.5");
  apply();
  EXPECT_FALSE(loaded);
  expect_as_judged("web is no web any more");
  EXPECT_GT(counts[false], 20);
  EXPECT_GT(counts[true], 20);
  // As `nft` shows it, its own programs included.
  EXPECT_THAT(run({"nft", "list", "table", "ip", "sampan_policy"}), ::testing::HasSubstr("vmap @ingress"));
}

TEST_F(PolicyRoot, WhoIsNotKnownIsDenied) {
  policy("x", "one", R"({"podSelector":{}})");
  add("y", "{}", "10.244.0.7");
  apply();
  hosts.push_back(net->pod("10.244.0.9"));  // its link is there, its object was not seen
  EXPECT_EQ(connect_tcp(&hosts[1], "10.244.0.7", 8080, hosts, 60).who, -1);
  EXPECT_EQ(connect_tcp(&hosts[0], "10.244.0.9", 8080, hosts, 60).who, -1);
  EXPECT_EQ(connect_tcp(nullptr, "10.244.0.9", 8080, hosts).who, 1);  // its node
  know("y", "{}", "10.244.0.9");
  apply();
  EXPECT_EQ(connect_tcp(&hosts[1], "10.244.0.7", 8080, hosts).who, 0);
}

TEST_F(PolicyRoot, EstablishedConnectionsAreJudgedAnew) {
  policy("z", "one", R"({"podSelector":{}})");
  add("x", R"({"app":"web"})", "10.244.0.5");
  add("x", R"({"app":"db"})", "10.244.0.6");
  apply();
  Hit tcp = connect_tcp(&hosts[0], hosts[1].ip, 8080, hosts);
  ASSERT_EQ(tcp.who, 1);
  auto udp = udp_client(hosts[0], hosts[1].ip, 8080);
  ASSERT_EQ(send_udp(udp.get(), hosts).who, 1);
  auto arrives = [](int from, int to, int timeout_ms) {
    char byte = 0;
    EXPECT_EQ(::send(from, "a", 1, MSG_NOSIGNAL), 1);
    pollfd readable{to, POLLIN, 0};
    return ::poll(&readable, 1, timeout_ms) == 1 && ::recv(to, &byte, 1, 0) == 1;
  };
  EXPECT_TRUE(arrives(tcp.client.get(), tcp.server.get(), 2000));
  EXPECT_TRUE(arrives(tcp.server.get(), tcp.client.get(), 2000));

  policy("x", "deny", R"({"podSelector":{"matchLabels":{"app":"db"}}})");
  apply();
  EXPECT_FALSE(arrives(tcp.client.get(), tcp.server.get(), 100));
  EXPECT_FALSE(arrives(tcp.server.get(), tcp.client.get(), 100));  // nor back
  EXPECT_EQ(send_udp(udp.get(), hosts).who, -1);
  Hit other = connect_tcp(&hosts[1], hosts[0].ip, 8080, hosts);  // the other way it may
  EXPECT_EQ(other.who, 0);

  table.remove_policy("x/deny");
  apply();
  pollfd readable{tcp.server.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&readable, 1, 5000), 1);  // sent again, as after any loss
  EXPECT_EQ(send_udp(udp.get(), hosts).who, 1);
}

}  // namespace
}  // namespace proxy
