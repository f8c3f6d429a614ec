// Real rules carry real connections: from Pods, from the node and from outside.
#include <map>

#include "proxy/conntrack.h"
#include "proxy/nft_exec.h"
#include "tests/root/proxy/network.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy {
namespace {

using testing::HasSubstr;

const SkeletonConfig kConfig{"sampan", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"};

// With and without br_netfilter, which sends bridged frames through the IP hooks: the rules need
// neither and must bear both.
class Services : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
    net_ = std::make_unique<Network>();
    const char* bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if (base::sys::exists(bridged)) must(base::sys::write_control(bridged, GetParam() ? "1" : "0"));
    else if (GetParam()) GTEST_SKIP() << "skip: br_netfilter";
    for (const char* ip : {"10.244.0.5", "10.244.0.6", "10.244.0.7"}) pods_.push_back(net_->pod(ip));
    client_ = net_->pod("10.244.0.20", 9);
    outside_ = net_->outside("198.51.100.2", "198.51.100.1");
    must(nft_.open());
    must(nft_.load_skeleton());
  }
  Node node() { return {"n1", {"198.51.100.1"}}; }
  std::string endpoints(int count, const char* suffix = "") {
    std::string line = "s web http:8080/tcp dns:8080/udp |";
    for (int i = 0; i < count; ++i) line += " " + pods_[static_cast<size_t>(i)].ip + "@n1" + suffix;
    return line;
  }
  void set(const Service& service, const std::string& slice_line) {
    EndpointSlice one = slice(slice_line);
    auto done = nft_.act(table_.set("default/" + service.name, elements_of(service, {&one}, node())));
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  std::map<int, int> spread(const Host* from, const std::string& ip, uint16_t port, int times) {
    std::map<int, int> counts;
    for (int i = 0; i < times; ++i) ++counts[connect_tcp(from, ip, port, pods_).who];
    return counts;
  }
  Service web_ = service("web 10.96.0.5 http:80/tcp:30080 dns:53/udp");

  std::unique_ptr<Network> net_;
  std::vector<Host> pods_;
  Host client_, outside_;
  Nftables nft_{kConfig};
  Table table_;
};

TEST_P(Services, TcpSpreadsOverThreeBackends) {
  set(web_, endpoints(3));
  auto counts = spread(&client_, "10.96.0.5", 80, 300);
  // 100 each in the mean, standard deviation 8: 60 is five of them away.
  for (int who : {0, 1, 2}) EXPECT_GT(counts[who], 60);
  EXPECT_EQ(counts[-1] + counts[0] + counts[1] + counts[2], 300);
  EXPECT_EQ(counts.count(-1) ? counts[-1] : 0, 0);
  EXPECT_EQ(connect_tcp(&client_, "10.96.0.5", 80, pods_).source, client_.ip) << "Pods keep their address";
}
TEST_P(Services, UdpSpreadsAndAnswersComeBack) {
  set(web_, endpoints(3));
  std::map<int, int> counts;
  for (int i = 0; i < 150; ++i) {
    auto fd = udp_client(client_, "10.96.0.5", 53);
    ++counts[send_udp(fd.get(), pods_).who];
  }
  for (int who : {0, 1, 2}) EXPECT_GT(counts[who], 20);
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 150);
}
TEST_P(Services, FromTheNodeItself) {
  set(web_, endpoints(3));
  auto counts = spread(nullptr, "10.96.0.5", 80, 90);
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 90);
  EXPECT_EQ(counts.size(), 3u);
  counts = spread(nullptr, "198.51.100.1", 30080, 10);
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 10) << "its own NodePort";
}
TEST_P(Services, HairpinSeesTheGateway) {
  set(web_, endpoints(1));
  Hit hit = connect_tcp(&pods_[0], "10.96.0.5", 80, pods_);
  EXPECT_EQ(hit.who, 0) << std::strerror(hit.error);
  EXPECT_EQ(hit.source, "10.244.0.1");
  auto fd = udp_client(pods_[0], "10.96.0.5", 53);
  EXPECT_EQ(send_udp(fd.get(), pods_).who, 0);
}
TEST_P(Services, WithoutEndpointsIsRefusedAtOnce) {
  set(web_, endpoints(0));
  EXPECT_EQ(connect_tcp(&client_, "10.96.0.5", 80, pods_).error, ECONNREFUSED);
  EXPECT_EQ(connect_tcp(nullptr, "10.96.0.5", 80, pods_).error, ECONNREFUSED);
  EXPECT_EQ(connect_tcp(&outside_, "198.51.100.1", 30080, pods_).error, ECONNREFUSED);
  auto fd = udp_client(client_, "10.96.0.5", 53);
  (void)send_udp(fd.get(), pods_);
  EXPECT_EQ(send_udp(fd.get(), pods_).error, ECONNREFUSED) << "the ICMP error of the first";
  set(web_, endpoints(1));
  EXPECT_EQ(connect_tcp(&client_, "10.96.0.5", 80, pods_).who, 0);
}
TEST_P(Services, UnknownServiceAddressIsRefused) {
  EXPECT_EQ(connect_tcp(&client_, "10.96.0.99", 80, pods_).error, ECONNREFUSED);
  EXPECT_EQ(connect_tcp(nullptr, "10.96.0.99", 80, pods_).error, ECONNREFUSED);
  set(web_, endpoints(1));
  EXPECT_EQ(connect_tcp(&client_, "10.96.0.5", 81, pods_).error, ECONNREFUSED) << "no such port";
}
TEST_P(Services, NodePortFromOutsideIsMasqueraded) {
  set(web_, endpoints(3));
  auto counts = spread(&outside_, "198.51.100.1", 30080, 60);
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 60);
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_EQ(connect_tcp(&outside_, "198.51.100.1", 30080, pods_).source, "10.244.0.1");
  EXPECT_EQ(connect_tcp(&client_, "198.51.100.1", 30080, pods_).source, "10.244.0.1");
}
TEST_P(Services, ExternalTrafficPolicyLocalKeepsTheSource) {
  web_.external_local = true;
  web_.external_ips = {"203.0.113.7"};
  set(web_, "s web http:8080/tcp dns:8080/udp | 10.244.0.5@n1 10.244.0.6@n2");  // .6: as if elsewhere
  for (int i = 0; i < 10; ++i) {
    Hit hit = connect_tcp(&outside_, i % 2 ? "203.0.113.7" : "198.51.100.1", i % 2 ? 80 : 30080, pods_);
    EXPECT_EQ(hit.who, 0);
    EXPECT_EQ(hit.source, outside_.ip);
  }
  auto counts = spread(&client_, "198.51.100.1", 30080, 40);
  EXPECT_EQ(counts.size(), 2u) << "Pods reach every endpoint";
  // None here: dropped, not refused, so that a load balancer tries another node.
  set(web_, "s web http:8080/tcp dns:8080/udp | 10.244.0.6@n2");
  EXPECT_EQ(connect_tcp(&outside_, "198.51.100.1", 30080, pods_, 200).error, EINPROGRESS);
  EXPECT_EQ(connect_tcp(&client_, "198.51.100.1", 30080, pods_).who, 1);
}
TEST_P(Services, AffinityKeepsAClientUntilItsEndpointGoes) {
  web_.affinity_seconds = 10800;
  set(web_, endpoints(3));
  Hit first = connect_tcp(&client_, "10.96.0.5", 80, pods_);
  ASSERT_GE(first.who, 0) << std::strerror(first.error);
  auto counts = spread(&client_, "10.96.0.5", 80, 30);
  EXPECT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts[first.who], 30);
  std::string listed = run({"nft", "list", "map", "ip", "sampan", "affinity"});
  EXPECT_THAT(listed, testing::ContainsRegex("10.244.0.20 . 10.96.0.5 . tcp . 80 expires (3h|2h59m)"));
  // Another client has its own; over some clients more than one backend is met.
  std::set<int> met;
  for (int i = 30; i < 42; ++i) {
    Host other = net_->pod("10.244.0." + std::to_string(i), 9);
    met.insert(connect_tcp(&other, "10.96.0.5", 80, pods_).who);
  }
  EXPECT_GT(met.size(), 1u);
  // The endpoint goes: the client moves, the others stay.
  std::string line = "s web http:8080/tcp dns:8080/udp |";
  for (int i = 0; i < 3; ++i)
    if (i != first.who) line += " " + pods_[static_cast<size_t>(i)].ip + "@n1";
  set(web_, line);
  must(nft_.purge_affinity(
      [&](const Key&, Ip ip, uint16_t) { return ip.text() != pods_[static_cast<size_t>(first.who)].ip; }));
  auto moved = spread(&client_, "10.96.0.5", 80, 20);
  EXPECT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved.count(first.who), 0u);
}
TEST_P(Services, AffinityEndsAfterItsTimeout) {
  web_.affinity_seconds = 1;
  set(web_, endpoints(3));
  std::set<int> met;
  for (int i = 0; i < 12 && met.size() < 2; ++i) {
    met.insert(connect_tcp(&client_, "10.96.0.5", 80, pods_).who);
    ::poll(nullptr, 0, 1100);  // the timeout itself is what is tested
  }
  EXPECT_GT(met.size(), 1u);
}
TEST_P(Services, EstablishedConnectionsSurviveChangesAndReload) {
  set(web_, endpoints(3));
  Hit hit = connect_tcp(&client_, "10.96.0.5", 80, pods_);
  ASSERT_GE(hit.who, 0);
  auto talk = [&] {
    char c = 0;
    EXPECT_EQ(::send(hit.client.get(), "a", 1, 0), 1);
    EXPECT_EQ(::recv(hit.server.get(), &c, 1, 0), 1);
    EXPECT_EQ(::send(hit.server.get(), "b", 1, 0), 1);
    EXPECT_EQ(::recv(hit.client.get(), &c, 1, 0), 1);
  };
  talk();
  set(web_, endpoints(0));
  talk();
  must(nft_.load_skeleton());  // an upgrade of the proxy
  talk();
}
TEST_P(Services, ARestartFindsTheTableAndChangesNothing) {
  set(web_, endpoints(3));
  Nftables again(kConfig);
  must(again.open());
  auto has = again.has_skeleton();
  ASSERT_TRUE(has.ok());
  EXPECT_TRUE(*has);
  Table fresh;
  EndpointSlice one = slice(endpoints(3));
  (void)fresh.set("default/web", elements_of(web_, {&one}, node()));
  auto observed = again.observe();
  ASSERT_TRUE(observed.ok()) << observed.error().message();
  EXPECT_EQ(text(fresh.reconcile(*observed)), "");
  Nftables other({"sampan", "10.245.0.0/16", "10.96.0.0/16", "10.96.0.10"});
  must(other.open());
  EXPECT_FALSE(*other.has_skeleton()) << "other rules are another version";
}
TEST_P(Services, SourceRangesHold) {
  web_.load_balancer_ips = {"203.0.113.9"};
  auto ranges = [&](std::vector<std::string> list) {
    web_.source_ranges = std::move(list);
    set(web_, endpoints(2));
    // What was put in is read back as it was: also an interval of the set.
    auto observed = nft_.observe();
    ASSERT_TRUE(observed.ok()) << observed.error().message();
    EXPECT_EQ(text(Table(table_).reconcile(*observed)), "");
  };
  auto reaches = [&](const Host* from, const char* ip, uint16_t port) {
    return connect_tcp(from, ip, port, pods_, 200).who >= 0;
  };
  ranges({"192.0.2.0/24", "198.51.100.128/25"});
  EXPECT_FALSE(reaches(&outside_, "203.0.113.9", 80));
  EXPECT_FALSE(reaches(&client_, "203.0.113.9", 80)) << "a Pod is a client like another";
  EXPECT_TRUE(reaches(&client_, "10.96.0.5", 80));
  EXPECT_TRUE(reaches(&outside_, "198.51.100.1", 30080)) << "node ports have no ranges";
  ranges({"192.0.2.0/24", "198.51.100.0/25", "198.51.100.2/32"});
  EXPECT_TRUE(reaches(&outside_, "203.0.113.9", 80));
  EXPECT_FALSE(reaches(&client_, "203.0.113.9", 80));
  ranges({"10.244.0.20/32"});
  EXPECT_FALSE(reaches(&outside_, "203.0.113.9", 80));
  EXPECT_TRUE(reaches(&client_, "203.0.113.9", 80));
  ranges({});
  EXPECT_TRUE(reaches(&outside_, "203.0.113.9", 80));
}
TEST_P(Services, DriftIsRepaired) {
  set(web_, endpoints(3));
  run({"nft", "delete element ip sampan services { 10.96.0.5 . tcp . 80 }"});
  run({"nft", "add element ip sampan services { 10.96.0.77 . tcp . 80 : accept }"});
  auto observed = nft_.observe();
  ASSERT_TRUE(observed.ok());
  auto actions = table_.reconcile(*observed);
  EXPECT_EQ(text(actions),
            "delete services 10.96.0.77 . tcp . 80\n"
            "add services 10.96.0.5 . tcp . 80 : class_3\n");
  must(nft_.act(actions, nft_.observed_generation()));
  EXPECT_EQ(spread(&client_, "10.96.0.5", 80, 10).count(-1), 0u);
  run({"nft", "add table ip other"});
  auto late = nft_.act({{Action::Kind::kDelete, {}, {Set::kHairpin, 0, {Ip::v4(0x0af40005), 0, 0}, 0}, {}}},
                       nft_.observed_generation());
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().kind, base::Kind::kConflict);
}
TEST_P(Services, AnErrorNamesItsElementAndNothingIsDone) {
  set(web_, endpoints(2));
  std::vector<Action> actions;
  for (int i = 0; i < 3; ++i)
    actions.push_back({Action::Kind::kAdd,
                       {},
                       {Set::kBlocked, 0, {Ip::v4(0x0a600064u + static_cast<uint32_t>(i)), 6, 80}, 0},
                       {Value::Kind::kDrop, {}, 0, {}}});
  actions.push_back({Action::Kind::kDelete, {}, {Set::kEndpoints, 2, {Ip::v4(0x0a600005), 6, 80}, 1}, {}});
  actions.push_back({Action::Kind::kDelete, {}, {Set::kEndpoints, 2, {Ip::v4(0x0a600005), 6, 80}, 7}, {}});
  auto done = nft_.act(actions);
  ASSERT_FALSE(done.ok());
  EXPECT_THAT(done.error().message(), HasSubstr("delete ep_2 10.96.0.5 . tcp . 80 . 7"));
  EXPECT_EQ(done.error().kind, base::Kind::kNotFound);
  auto observed = nft_.observe();
  ASSERT_TRUE(observed.ok());
  EXPECT_EQ(text(table_.reconcile(*observed)), "") << "all or nothing";
}
TEST_P(Services, UdpLeavesAVanishedEndpoint) {
  set(web_, endpoints(1));
  auto fd = udp_client(client_, "10.96.0.5", 53);
  ASSERT_EQ(send_udp(fd.get(), pods_).who, 0);
  set(web_, "s web http:8080/tcp dns:8080/udp | 10.244.0.6@n1");
  EXPECT_EQ(send_udp(fd.get(), pods_).who, 0) << "connection tracking still leads to the old one";
  auto removed = remove_stale_udp({{Ip::v4(0x0a600005), 17, 53}},
                                  [](const Key&, Ip ip, uint16_t) { return ip == Ip::v4(0x0af40006); });
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(*removed, 1u);
  EXPECT_EQ(send_udp(fd.get(), pods_).who, 1);
}
TEST_P(Services, AllAtOnceAndRemoval) {
  set(web_, endpoints(3));
  must(nft_.remove_table());
  must(nft_.remove_table());
  EXPECT_THAT(run({"nft", "list", "ruleset"}), testing::Not(HasSubstr("table ip ")));
}

INSTANTIATE_TEST_SUITE_P(Kernel, Services, testing::Bool(),
                         [](const auto& info) { return info.param ? "BrNetfilter" : "Plain"; });

}  // namespace
}  // namespace proxy
