#include "master/controllers/load_balancer_plan.h"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

namespace {

using Services = std::vector<std::shared_ptr<const Service>>;

// "web age=9 port=80 port=53/UDP ip=192.0.2.9 pool=a share=k local=app%3Dweb has=192.0.2.9@AddressPool
// deleting other gone": a line a Service; `gone` is of another type by now.
Services services(const std::string& text) {
  Services out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream in(line);
    auto service = std::make_shared<Service>();
    auto b = std::make_shared<Balancer>();
    b->served = true;
    if (!(in >> service->meta.name)) continue;
    service->meta.ns = "default";
    service->meta.uid = service->meta.name;
    for (std::string word; in >> word;) {
      const size_t equals = word.find('=');
      std::string name = word.substr(0, equals), value = equals == word.npos ? "" : word.substr(equals + 1);
      if (name == "age") service->meta.created = ago(std::stoi(value));
      else if (name == "port")
        service->ports.push_back(
            {"", value.find("/UDP") == value.npos ? "TCP" : "UDP", "", "", std::stoi(value), 0});
      else if (name == "ip") b->requested.push_back(value);
      else if (name == "pool") b->pool = value;
      else if (name == "share") b->share = value;
      else if (name == "local") b->local = true, b->backend = "default/" + value;
      else if (name == "has") {
        const size_t at = value.find('@');
        if (at != 0) b->ingress = {value.substr(0, at)};
        b->condition_reason = value.substr(at + 1);
      } else if (name == "deleting") service->meta.deleting = true;
      else if (name == "other" || name == "gone") b->served = false;
      else ADD_FAILURE() << word;
    }
    service->balancer = b;
    out.push_back(service);
  }
  return out;
}
std::string text(const std::map<std::string, BalancerOutcome>& plan) {
  std::string out;
  for (const auto& [key, outcome] : plan) out += key.substr(8) + ": " + outcome.text() + "\n";
  return out;
}
BalancerWorld pooled(std::map<std::string, std::string> data, const std::string& lines) {
  BalancerWorld world;
  world.pools = read_pools(data, {});
  world.services = services(lines);
  return world;
}
std::string plan(std::map<std::string, std::string> data, const std::string& lines) {
  return text(plan_load_balancers(pooled(std::move(data), lines)));
}
// What the plan says, written into the Services as the controller does.
Services done(const Services& before, const std::map<std::string, BalancerOutcome>& plan) {
  Services out;
  for (const auto& service : before) {
    auto copy = std::make_shared<Service>(*service);
    auto b = std::make_shared<Balancer>(*service->balancer);
    if (auto at = plan.find(service->meta.key()); at != plan.end()) {
      b->ingress = at->second.ips;
      b->condition_reason = at->second.reason;
      b->condition_message = at->second.message;
    }
    copy->balancer = b;
    out.push_back(copy);
  }
  return out;
}

}  // namespace

TEST(AddressPools, AreReadByName) {
  auto pools = read_pools({{"b", "198.51.100.0/30\nauto-assign: false"},
                           {"a", "# of the office\n 192.0.2.20 - 192.0.2.29, 192.0.2.7/32,\n"}},
                          {});
  ASSERT_EQ(pools.errors, std::vector<std::string>());
  ASSERT_EQ(pools.pools.size(), 2u);
  EXPECT_EQ(pools.pools[0].name, "a");
  EXPECT_TRUE(pools.pools[0].auto_assign && !pools.pools[1].auto_assign);
  ASSERT_EQ(pools.pools[0].ranges.size(), 2u);
  EXPECT_EQ(pools.pools[0].ranges[0].first.text(), "192.0.2.7");
  EXPECT_EQ(pools.pools[1].ranges[0].last.text(), "198.51.100.3");
  for (auto [ip, in] : {std::pair{"192.0.2.7", true},
                        {"192.0.2.8", false},
                        {"192.0.2.20", true},
                        {"192.0.2.29", true},
                        {"192.0.2.30", false},
                        {"192.0.2.6", false}})
    EXPECT_EQ(pools.pools[0].contains(*base::Ip::parse(ip)), in) << ip;
}
TEST(AddressPools, WhatIsWrongIsToldAndNotUsed) {
  auto why = [](std::map<std::string, std::string> data) {
    auto pools = read_pools(data, {*base::Cidr::parse("10.96.0.0/16"), *base::Cidr::parse("10.244.0.0/16")});
    std::string out;
    for (const auto& pool : pools.pools) out += "+" + pool.name + "\n";
    for (const auto& error : pools.errors) out += error + "\n";
    return out;
  };
  EXPECT_EQ(
      why({{"a", "192.0.2.10-192.0.2.50"}, {"b", "192.0.2.50/32"}, {"c", "192.0.2.51"}}),
      "+a\n"
      "pool \"b\" is not used: 192.0.2.50-192.0.2.50 overlaps with 192.0.2.10-192.0.2.50 of pool \"a\"\n"
      "pool \"c\" is not used: \"192.0.2.51\" is no range of IPv4 addresses: write it as "
      "192.0.2.10-192.0.2.50 or 198.51.100.0/28\n");
  EXPECT_EQ(
      why({{"a", "192.0.2.10-192.0.2.50,192.0.2.0/24"}}),
      "pool \"a\" is not used: 192.0.2.0-192.0.2.255 overlaps with 192.0.2.10-192.0.2.50 of the same pool\n");
  EXPECT_EQ(
      why({{"a", "10.0.0.0/8"}}),
      "pool \"a\" is not used: 10.0.0.0-10.255.255.255 overlaps with 10.244.0.0/16 of the cluster itself\n");
  EXPECT_EQ(why({{"a", ""}}), "pool \"a\" is not used: it has no addresses\n");
  EXPECT_EQ(why({{"a", "auto-assign: perhaps"}}),
            "pool \"a\" is not used: auto-assign is true or false, not \"perhaps\"\n");
  for (const char* bad :
       {"0.0.0.0/0", "127.0.0.1-127.0.0.2", "192.0.2.9-192.0.2.1", "224.0.0.0/24", "169.254.1.0/24",
        "fd00::/64", "::1-::2", "192.0.2.1-", "-", "\x01\xff", "192.0.2.1-192.0.2.2-192.0.2.3"})
    EXPECT_EQ(why({{"a", bad}}).find("pool \"a\" is not used"), 0u) << bad;
}

// As many as fit into a ConfigMap: each is looked at beside its neighbours alone.
TEST(AddressPools, ManyRanges) {
  std::string text, lines;
  std::map<std::string, std::string> small;
  for (int i = 0; i < 50000; ++i) {
    const base::Ip ip = base::Ip::v4(100, 64, 0, 0).plus(static_cast<uint64_t>(i) * 7919 % 50021 * 2);
    text += ip.text() + "/32,";
    if (i % 10 == 0) small[fmt::format("p{:05}", i)] = ip.text() + "/32";
  }
  auto pools = read_pools({{"a", text}}, {});
  ASSERT_EQ(pools.errors, std::vector<std::string>());
  EXPECT_EQ(pools.pools[0].ranges.size(), 50000u);
  EXPECT_EQ(read_pools({{"a", text + "100.65.0.0-100.65.0.2"}}, {})
                .errors[0]
                .find("pool \"a\" is not used: 100.65.0.0-"),
            0u);
  for (int i = 0; i < 2000; ++i)
    lines += fmt::format("s{} age={} port=80 {}\n", i, i, i % 3 ? "" : "share=k");
  auto plan = plan_load_balancers(pooled(small, lines));
  std::set<std::string> used;
  for (const auto& [key, outcome] : plan) used.insert(outcome.text());
  EXPECT_EQ(used.size(), 2000u);
  // Of the first pools, each one address.
  EXPECT_EQ(plan["default/s1999"].text(),
            small["p00000"].substr(0, small["p00000"].find('/')) + " AddressPool pool p00000");
  EXPECT_TRUE(plan["default/s0"].text().ends_with("pool p19990"));
}

TEST(LoadBalancerPlan, InOrderOfAgeAndThenPending) {
  EXPECT_EQ(plan({{"default", "192.0.2.10-192.0.2.11"}}, R"(young age=1 port=80
                                                            old age=3 port=80
                                                            middle age=2 port=80)"),
            "middle: 192.0.2.11 AddressPool pool default\n"
            "old: 192.0.2.10 AddressPool pool default\n"
            "young: AllocationFailed Failed to allocate IP for \"default/young\": no available IPs\n");
}
TEST(LoadBalancerPlan, WhatOneHasItKeeps) {
  EXPECT_EQ(plan({{"default", "192.0.2.10-192.0.2.11"}}, R"(old age=9 port=80
                                                            young age=1 port=80 has=192.0.2.10@AddressPool)"),
            "old: 192.0.2.11 AddressPool pool default\n"
            "young: 192.0.2.10 AddressPool pool default\n");
  // Also what it asked for meanwhile is another's.
  EXPECT_EQ(plan({{"default", "192.0.2.10-192.0.2.11"}}, R"(old age=9 port=80 ip=192.0.2.10
                                                            young age=1 port=80 has=192.0.2.10@AddressPool)"),
            "old: AllocationFailed Failed to allocate IP for \"default/old\": can't change sharing key for "
            "\"default/old\", address also in use by default/young\n"
            "young: 192.0.2.10 AddressPool pool default\n");
  // One that goes away keeps it until it is gone; one that has none gets none.
  EXPECT_EQ(plan({{"default", "192.0.2.10/32"}}, R"(going age=9 port=80 has=192.0.2.10@AddressPool deleting
                                                    gone-before age=8 port=80 deleting
                                                    next age=1 port=80)"),
            "going: 192.0.2.10 AddressPool pool default\n"
            "next: AllocationFailed Failed to allocate IP for \"default/next\": no available IPs\n");
}
TEST(LoadBalancerPlan, WhatIsNoLongerInAPoolIsReplaced) {
  EXPECT_EQ(plan({{"default", "198.51.100.0/31"}}, "web age=1 port=80 has=192.0.2.10@AddressPool"),
            "web: 198.51.100.0 AddressPool pool default\n");
  EXPECT_EQ(plan({{"a", "192.0.2.10/32"}, {"b", "192.0.2.20/32"}},
                 "web age=1 port=80 pool=b has=192.0.2.10@AddressPool"),
            "web: 192.0.2.20 AddressPool pool b\n");
  EXPECT_EQ(
      plan({{"a", "192.0.2.10-192.0.2.19"}}, "web age=1 port=80 ip=192.0.2.12 has=192.0.2.10@AddressPool"),
      "web: 192.0.2.12 AddressPool pool a\n");
}
TEST(LoadBalancerPlan, RequestsAsMetalLbTakesThem) {
  std::map<std::string, std::string> pools{{"a", "192.0.2.10/32"},
                                           {"held", "192.0.2.20/31\nauto-assign: false"}};
  EXPECT_EQ(
      plan(pools, R"(any age=9 port=80
                           of-held age=8 port=80 pool=held
                           by-ip age=7 port=80 ip=192.0.2.21
                           unknown age=6 port=80 pool=nowhere
                           outside age=5 port=80 ip=203.0.113.5
                           text age=4 port=80 ip=localhost
                           two age=3 port=80 ip=192.0.2.20 ip=192.0.2.21
                           mixed age=2 port=80 ip=192.0.2.21 pool=a
                           more age=1 port=80 pool=held)"),
      "any: 192.0.2.10 AddressPool pool a\n"
      "by-ip: 192.0.2.21 AddressPool pool held\n"
      "mixed: AllocationFailed Failed to allocate IP for \"default/mixed\": requested loadBalancer IP(s) "
      "[\"192.0.2.21\"] is not compatible with requested address pool a\n"
      "more: AllocationFailed Failed to allocate IP for \"default/more\": no available IPs in pool \"held\"\n"
      "of-held: 192.0.2.20 AddressPool pool held\n"
      "outside: AllocationFailed Failed to allocate IP for \"default/outside\": [\"203.0.113.5\"] is not "
      "allowed in config\n"
      "text: AllocationFailed Failed to allocate IP for \"default/text\": invalid requested loadBalancer IP "
      "\"localhost\"\n"
      "two: AllocationFailed Failed to allocate IP for \"default/two\": more than one loadBalancer IP of one "
      "family is requested\n"
      "unknown: AllocationFailed Failed to allocate IP for \"default/unknown\": unknown pool \"nowhere\"\n");
}
TEST(LoadBalancerPlan, SharingAsMetalLbAllowsIt) {
  std::map<std::string, std::string> pool{{"a", "192.0.2.10/31"}};
  EXPECT_EQ(plan(pool, R"(tcp age=5 port=53 share=dns
                          udp age=4 port=53/UDP share=dns
                          same-port age=3 port=53 share=dns
                          other age=2 port=80 share=x)"),
            "other: AllocationFailed Failed to allocate IP for \"default/other\": no available IPs\n"
            "same-port: 192.0.2.11 AddressPool pool a\n"
            "tcp: 192.0.2.10 AddressPool pool a\n"
            "udp: 192.0.2.10 AddressPool pool a\n");
  // With externalTrafficPolicy Local only among the same Pods: else a node would have some and not the
  // others.
  EXPECT_EQ(
      plan({{"a", "192.0.2.10/32"}}, R"(one age=5 port=80 share=k local=app%3Dweb
                                              same age=4 port=81 share=k local=app%3Dweb
                                              others age=3 port=82 share=k local=app%3Ddb ip=192.0.2.10
                                              cluster age=2 port=83 share=k)"),
      "cluster: AllocationFailed Failed to allocate IP for \"default/cluster\": no available IPs\n"
      "one: 192.0.2.10 AddressPool pool a\n"
      "others: AllocationFailed Failed to allocate IP for \"default/others\": can't change sharing key for "
      "\"default/others\", address also in use by default/one\n"
      "same: 192.0.2.10 AddressPool pool a\n");
}
TEST(LoadBalancerPlan, OthersAreLeftAloneAndWhatWasOursIsReleased) {
  EXPECT_EQ(plan({{"a", "192.0.2.10/32"}}, R"(theirs age=9 port=80 other
                                              was age=8 port=80 gone has=192.0.2.10@AddressPool
                                              next age=1 port=80)"),
            "next: 192.0.2.10 AddressPool pool a\n"
            "was:  \n");
}
TEST(LoadBalancerPlan, ANodesAddressIsNeverGiven) {
  BalancerWorld world =
      pooled({{"a", "192.0.2.10/31"}}, "web age=2 port=80\nask age=1 port=81 ip=192.0.2.10");
  world.nodes.push_back({"n1", {"192.0.2.10"}, {"192.0.2.10"}, true});
  EXPECT_EQ(text(plan_load_balancers(world)),
            "ask: AllocationFailed Failed to allocate IP for \"default/ask\": [\"192.0.2.10\"] is an address "
            "of a node\n"
            "web: 192.0.2.11 AddressPool pool a\n");
}
TEST(LoadBalancerPlan, WithoutPoolsTheNodes) {
  BalancerWorld world;
  world.nodes = {{"n1", {"192.0.2.11"}, {"192.0.2.11"}, true},
                 {"n2", {"203.0.113.2"}, {"192.0.2.12", "203.0.113.2"}, true},
                 {"n3", {"192.0.2.13"}, {"192.0.2.13"}, false}};
  world.node_ports_in_use = {10250};
  world.services = services(R"(web age=9 port=80 port=443
                               second age=8 port=443
                               udp age=7 port=443/UDP
                               local age=6 port=90 local=app%3Dweb
                               agent age=5 port=10250
                               shell age=5 port=22
                               other-shell age=5 port=22/UDP
                               ask age=4 port=91 ip=192.0.2.11)");
  world.ready_on["default/local"] = {"n2", "n3"};
  auto plan = plan_load_balancers(world);
  EXPECT_EQ(
      text(plan),
      "agent: AllocationFailed Failed to allocate IP for \"default/agent\": port TCP/10250 of the nodes is "
      "already in use by the node agent\n"
      "ask: AllocationFailed Failed to allocate IP for \"default/ask\": there is no address pool: ConfigMap "
      "kube-system/sampan-address-pools is where they are\n"
      "local: 203.0.113.2 NodeAddresses addresses of the nodes\n"
      "other-shell: 192.0.2.11,203.0.113.2 NodeAddresses addresses of the nodes\n"
      "second: AllocationFailed Failed to allocate IP for \"default/second\": port TCP/443 of the nodes is "
      "already in use by default/web\n"
      "shell: AllocationFailed Failed to allocate IP for \"default/shell\": port TCP/22 of the nodes is "
      "their "
      "SSH server's: an address pool has others\n"
      "udp: 192.0.2.11,203.0.113.2 NodeAddresses addresses of the nodes\n"
      "web: 192.0.2.11,203.0.113.2 NodeAddresses addresses of the nodes\n");
  // What is done stays so: also when one comes that says it is older.
  world.services = done(world.services, plan);
  auto older = services("older age=99 port=80");
  world.services.push_back(older[0]);
  auto again = plan_load_balancers(world);
  EXPECT_EQ(again["default/older"].message,
            "Failed to allocate IP for \"default/older\": port TCP/80 of the nodes is already in use by "
            "default/web");
  again.erase("default/older");
  EXPECT_EQ(text(again), text(plan));
}
// From any state, one plan is the last: nothing flaps, and no address is two Services' that don't share it.
TEST(LoadBalancerPlan, SettlesAtOnce) {
  std::string lines;
  for (int i = 0; i < 300; ++i) {
    lines += fmt::format("s{} age={} port={}", i, i * 7919 % 300, 80 + i % 5);
    if (i % 3 == 0) lines += fmt::format(" share=k{}", i % 4);
    if (i % 4 == 0) lines += fmt::format(" has=192.0.2.{}@AddressPool", i * 31 % 256);
    if (i % 7 == 0) lines += fmt::format(" ip=192.0.2.{}", i % 256);
    if (i % 11 == 0) lines += " pool=b";
    lines += "\n";
  }
  BalancerWorld world =
      pooled({{"a", "192.0.2.0-192.0.2.99"}, {"b", "192.0.2.128/26\nauto-assign: false"}}, lines);
  auto first = plan_load_balancers(world);
  std::map<std::string, std::set<std::string>> ports;
  for (const auto& service : world.services)
    for (const std::string& ip : first[service->meta.key()].ips)
      EXPECT_TRUE(ports[ip].insert(std::to_string(service->ports[0].port)).second) << ip;
  EXPECT_GT(ports.size(), 100u);
  world.services = done(world.services, first);
  EXPECT_EQ(text(plan_load_balancers(world)), text(first));
}

}  // namespace master::controllers
