#include "proxy/announce_plan.h"

#include <gtest/gtest.h>

#include "proxy/arp.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy {
namespace {

using Names = std::set<std::string>;
const Names kThree = {"n1", "n2", "n3"};
Ip ip(const char* text) { return *Ip::parse(text); }

TEST(AnnouncePlan, EachAddressIsOnesAndOnlyTheLostMove) {
  std::map<std::string, int> counts;
  for (int i = 0; i < 600; ++i) {
    Ip address = Ip::v4(192, 0, 2, 0).plus(static_cast<uint64_t>(i));
    auto winner = announcer_of(address, std::nullopt, kThree);
    ASSERT_TRUE(winner);
    ++counts[*winner];
    for (const std::string& lost : kThree) {
      Names left = kThree;
      left.erase(lost);
      EXPECT_EQ(announcer_of(address, std::nullopt, left) == winner, lost != *winner);
    }
    int mine = 0;
    for (const std::string& node : kThree)
      mine += static_cast<int>(plan_announcements({{address, std::nullopt}}, kThree, node).size());
    EXPECT_EQ(mine, 1);
  }
  for (const auto& [node, count] : counts) EXPECT_TRUE(count > 140 && count < 260) << node << " " << count;
}
TEST(AnnouncePlan, OfLocalTrafficOnlyNodesWithEndpoints) {
  EXPECT_EQ(announcer_of(ip("192.0.2.9"), Names{"n2"}, kThree), "n2");
  EXPECT_EQ(announcer_of(ip("192.0.2.9"), Names{"n4"}, kThree), std::nullopt);
  EXPECT_EQ(announcer_of(ip("192.0.2.9"), Names{}, kThree), std::nullopt);
  EXPECT_EQ(announcer_of(ip("192.0.2.9"), std::nullopt, {}), std::nullopt);

  Service web = service("web 10.96.0.5 http:80/tcp");
  web.load_balancer_ips = {"192.0.2.9", "192.0.2.11"};
  EndpointSlice all =
      slice("s web http:8080/tcp | 10.244.0.5@n1 10.244.1.5@n2,unready 10.244.2.5@n3,terminating");
  EXPECT_TRUE(announced_by(web, {&all}).empty());  // addresses of nodes, or another's
  web.announced_ips = {"192.0.2.9", "127.0.0.1", "fd00::1", "x"};
  EXPECT_EQ(announced_by(web, {&all}), (Announced{{ip("192.0.2.9"), std::nullopt}}));
  web.external_local = true;
  EXPECT_EQ(announced_by(web, {&all}), (Announced{{ip("192.0.2.9"), Names{"n1"}}}));
  EndpointSlice ending = slice("s web http:8080/tcp | 10.244.1.5@n2,dead 10.244.2.5@n3,terminating");
  EXPECT_EQ(announced_by(web, {&ending}), (Announced{{ip("192.0.2.9"), Names{"n3"}}}));
  web.rules = false;
  EXPECT_TRUE(announced_by(web, {&all}).empty());
}
TEST(Heartbeats, DeadIsWhoIsSilentWhileOursComeBack) {
  Heartbeats h("n1");
  auto beat = [&](const std::string& node, int n) { return h.heard(node, std::to_string(n), false); };
  EXPECT_TRUE(beat("n2", 1));
  EXPECT_EQ(h.live(), Names{"n2"});  // ours has not come back yet
  EXPECT_TRUE(beat("n1", 1));
  EXPECT_EQ(h.live(), (Names{"n1", "n2"}));
  // A list that says the same again is no heartbeat.
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(beat("n1", 1));
  EXPECT_EQ(h.live(), (Names{"n1", "n2"}));
  beat("n1", 2);
  EXPECT_EQ(h.live(), (Names{"n1", "n2"}));
  EXPECT_FALSE(beat("n2", 2));  // alive, and was
  beat("n1", 4);
  beat("n1", 5);
  EXPECT_EQ(h.live(), (Names{"n1", "n2"}));
  beat("n1", 6);
  EXPECT_EQ(h.live(), Names{"n1"});
  EXPECT_TRUE(beat("n2", 3));
  EXPECT_EQ(h.live(), (Names{"n1", "n2"}));
  // Who wants no address is gone at once, and comes back at once.
  EXPECT_TRUE(h.heard("n2", "4", true));
  EXPECT_EQ(h.live(), Names{"n1"});
  EXPECT_TRUE(h.heard("n2", "5", false));
  EXPECT_EQ(h.live(), (Names{"n1", "n2"}));
  // Nothing is heard: nobody dies.
  EXPECT_EQ(h.live(), (Names{"n1", "n2"}));
}
TEST(Heartbeats, ManyBeatMoreSlowly) {
  EXPECT_EQ(heartbeat_period(0).count(), 200);
  EXPECT_EQ(heartbeat_period(16).count(), 200);
  EXPECT_EQ(heartbeat_period(17).count(), 400);
  EXPECT_EQ(heartbeat_period(160).count(), 2000);
}

constexpr Mac kOwn = {2, 0, 0, 0, 0, 1}, kClient = {2, 0, 0, 0, 0, 9};
TEST(Arp, AnswersForItsAddressesAlone) {
  const std::set<Ip> mine = {ip("192.0.2.100")};
  ArpMessage ask{true, kClient, {}, ip("192.0.2.50"), ip("192.0.2.100")};
  std::string wire = encode_arp(ask) + std::string(18, '\0');  // padded to the least frame
  auto read = parse_arp(wire);
  ASSERT_TRUE(read);
  auto answer = arp_answer(*read, mine, kOwn);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->is_request);
  EXPECT_EQ(answer->sender_mac, kOwn);
  EXPECT_EQ(answer->target_mac, kClient);
  EXPECT_EQ(answer->sender, ip("192.0.2.100"));
  EXPECT_EQ(answer->target, ip("192.0.2.50"));
  ask.target = ip("192.0.2.101");
  EXPECT_FALSE(arp_answer(ask, mine, kOwn));
  ask.target = ask.sender = ip("192.0.2.100");  // somebody announces it
  EXPECT_FALSE(arp_answer(ask, mine, kOwn));
  ask.sender = ip("0.0.0.0");  // a probe: it is taken
  EXPECT_TRUE(arp_answer(ask, mine, kOwn));
  ask.is_request = false;
  EXPECT_FALSE(arp_answer(ask, mine, kOwn));
  auto news = arp_announcement(ip("192.0.2.100"), kOwn);
  ASSERT_EQ(news.size(), 2u);
  for (const ArpMessage& one : news) {
    EXPECT_EQ(one.sender, one.target);
    EXPECT_FALSE(arp_answer(one, mine, kOwn));
  }
}
TEST(Arp, WhatIsNoArpIsNothing) {
  const std::string good = encode_arp({true, kClient, {}, ip("192.0.2.50"), ip("192.0.2.100")});
  ASSERT_EQ(good.size(), kArpBytes);
  for (size_t cut = 0; cut < good.size(); ++cut) EXPECT_FALSE(parse_arp(good.substr(0, cut))) << cut;
  for (size_t at = 0; at < 8; ++at)
    for (int value = 0; value < 256; ++value) {
      std::string bad = good;
      bad[at] = static_cast<char>(value);
      if (at == 7 && (value == 1 || value == 2)) continue;
      EXPECT_EQ(parse_arp(bad).has_value(), bad == good) << at << " " << value;
    }
}

}  // namespace
}  // namespace proxy
