#include "base/ip.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <random>
#include <unordered_set>

namespace base {
namespace {

constexpr Ip kNode = Ip::v4(192, 0, 2, 11);
static_assert(kNode.is_v4() && kNode.v4_bits() == 0xc000020b && kNode.plus(1) == Ip::v4(192, 0, 2, 12));
static_assert(Cidr{kNode, 24}.contains(Ip::v4(192, 0, 2, 255)));

TEST(Ip, TextOfBothFamilies) {
  for (const char* text : {"0.0.0.0", "10.244.0.5", "255.255.255.255", "::", "::1", "2001:db8::9",
                           "fe80::1:2", "2001:db8:1:2:3:4:5:6"}) {
    auto ip = Ip::parse(text);
    ASSERT_TRUE(ip) << text;
    EXPECT_EQ(ip->text(), text);
    EXPECT_EQ(Ip::from_bytes(ip->bytes()), *ip);
  }
  EXPECT_EQ(Ip::parse("2001:DB8:0:0::0:9")->text(), "2001:db8::9");
  EXPECT_EQ(Ip::parse("::ffff:10.0.0.1"), Ip::v4(10, 0, 0, 1));
  EXPECT_EQ(Ip::parse_v4("::ffff:10.0.0.1"), std::nullopt);
  EXPECT_EQ(Ip::parse_v6("10.0.0.1"), std::nullopt);
  EXPECT_EQ(Ip().text(), "::");
}
TEST(Ip, HostileText) {
  using namespace std::string_view_literals;
  for (std::string_view bad : {""sv,
                               "."sv,
                               "..."sv,
                               "10.244.0"sv,
                               "10.244.0.256"sv,
                               "10.244.0.05"sv,
                               "00.0.0.0"sv,
                               "10.244.0.5.6"sv,
                               "10.244.0.5."sv,
                               ".10.244.0.5"sv,
                               "a.b.c.d"sv,
                               "10.244.0.5 "sv,
                               " 10.244.0.5"sv,
                               "10..0.5"sv,
                               "-1.0.0.0"sv,
                               "+1.0.0.0"sv,
                               "1e1.0.0.0"sv,
                               "0x1.0.0.0"sv,
                               "4294967297.0.0.1"sv,
                               "1.2.3.4\0"sv,
                               "1.2.3.4\n"sv,
                               "1.2.3.0000000000000000000000000000000000000000000000000000004"sv,
                               "10.0.0.1%eth0"sv,
                               "\xff.0.0.1"sv,
                               "١.0.0.1"sv,
                               ":"sv,
                               ":::"sv,
                               "1::2::3"sv,
                               "12345::"sv,
                               "g::"sv,
                               "fe80::1%eth0"sv,
                               "[::1]"sv,
                               "::1\0"sv,
                               "::1 "sv,
                               "1:2:3:4:5:6:7"sv,
                               "1:2:3:4:5:6:7:8:9"sv,
                               "::ffff:10.0.0.01"sv,
                               "::ffff:10.0.0"sv,
                               "::10.0.0.1.2"sv,
                               "0000000000000000000000000000000000000000000000000000000000::1"sv}) {
    EXPECT_EQ(Ip::parse(bad), std::nullopt) << bad;
    EXPECT_EQ(Cidr::parse(std::string(bad) + "/8"), std::nullopt) << bad;
  }
}
// Whatever stands in a text, inet_pton(3) is the judge.
TEST(Ip, TakesWhatInetPtonTakes) {
  std::mt19937 random(7);
  const std::string_view alphabet = "0123456789.:af%/ ";
  int taken = 0;
  for (int i = 0; i < 300'000; ++i) {
    std::string text;
    if (i % 3 == 0) {
      for (int part = 0; part < 4; ++part)
        text += (part ? "." : "") + std::to_string(random() % (random() % 4 ? 260 : 12));
      if (random() % 4 == 0) text[random() % text.size()] = alphabet[random() % alphabet.size()];
    } else {
      for (size_t n = random() % 16; n > 0; --n)
        text += alphabet[random() % (i % 3 == 1 ? 11 : alphabet.size())];
    }
    in_addr four{};
    in6_addr six{};
    bool is_four = ::inet_pton(AF_INET, text.c_str(), &four) == 1;
    bool is_six = ::inet_pton(AF_INET6, text.c_str(), &six) == 1;
    auto ip = Ip::parse(text);
    ASSERT_EQ(ip.has_value(), is_four || is_six) << text;
    EXPECT_EQ(is_four ? ip->v4_bits() : 0, is_four ? ntohl(four.s_addr) : 0) << text;
    taken += ip.has_value();
  }
  EXPECT_GT(taken, 1000);
}
TEST(Ip, OrderDistanceAndHash) {
  Ip a = Ip::v4(10, 0, 0, 255), b = a.plus(1);
  EXPECT_EQ(b.text(), "10.0.1.0");
  EXPECT_LT(a, b);
  EXPECT_EQ(a.distance_to(b), 1u);
  EXPECT_EQ(b.distance_to(a), 0u);
  EXPECT_LT(Ip::v4(255, 255, 255, 255), *Ip::parse("2001:db8::"));
  EXPECT_EQ(Ip::parse("2001:db8::ffff:ffff:ffff:ffff")->plus(1).text(), "2001:db8:0:1::");
  EXPECT_EQ(Ip::parse("1::")->distance_to(*Ip::parse("2::")), UINT64_MAX);
  std::unordered_set<size_t> hashes;
  for (uint32_t i = 0; i < 10'000; ++i) hashes.insert(std::hash<Ip>()(Ip::v4(10u << 24 | i)) & 0xfffff);
  EXPECT_GT(hashes.size(), 9'800u);
}
TEST(Ip, WhatLeadsToNoOtherHost) {
  EXPECT_TRUE(Ip::parse("127.3.2.1")->is_loopback() && Ip::parse("::1")->is_loopback());
  EXPECT_TRUE(Ip::parse("169.254.169.254")->is_link_local() && Ip::parse("febf::1")->is_link_local());
  EXPECT_FALSE(Ip::parse("fec0::1")->is_link_local());
  EXPECT_TRUE(Ip::parse("224.0.0.1")->is_multicast() && Ip::parse("ff02::1")->is_multicast());
  EXPECT_TRUE(Ip().is_unspecified() && Ip::v4(0).is_unspecified());
  EXPECT_FALSE(Ip::v4(1).is_unspecified() || Ip::parse("::2")->is_loopback());
}
TEST(Cidr, ContainsFirstLastCanonical) {
  Cidr cidr = *Cidr::parse("10.244.3.7/24");
  EXPECT_EQ(cidr.text(), "10.244.3.7/24");
  EXPECT_FALSE(cidr.is_canonical());
  EXPECT_EQ(cidr.canonical().text(), "10.244.3.0/24");
  EXPECT_EQ(cidr.first().text(), "10.244.3.0");
  EXPECT_EQ(cidr.last().text(), "10.244.3.255");
  EXPECT_TRUE(cidr.contains(*Ip::parse("10.244.3.255")));
  EXPECT_FALSE(cidr.contains(*Ip::parse("10.244.4.0")));
  EXPECT_FALSE(cidr.contains(*Ip::parse("fd00::1")));
  EXPECT_EQ(Cidr::parse("1.2.3.4/0")->canonical().text(), "0.0.0.0/0");
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(Ip::v4(255, 255, 255, 255)));
  EXPECT_FALSE(Cidr::parse("0.0.0.0/0")->contains(Ip()));
  EXPECT_FALSE(Cidr::parse("::/0")->contains(Ip::v4(1)));
  EXPECT_EQ(Cidr::parse("10.0.0.9/32")->first(), Cidr::parse("10.0.0.9/32")->last());
  for (auto [text, first, last] :
       {std::array<const char*, 3>{"2001:db8::1/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"},
        {"2001:db8:ff::/33", "2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"},
        {"fd00::5/127", "fd00::4", "fd00::5"},
        {"fd00::5/128", "fd00::5", "fd00::5"},
        {"fd00::5/65", "fd00::", "fd00::7fff:ffff:ffff:ffff"}}) {
    EXPECT_EQ(Cidr::parse(text)->first().text(), first);
    EXPECT_EQ(Cidr::parse(text)->last().text(), last);
  }
  EXPECT_TRUE(Cidr::parse("10.0.0.0/8")->overlaps(*Cidr::parse("10.9.0.0/16")));
  EXPECT_TRUE(Cidr::parse("10.9.0.0/16")->overlaps(*Cidr::parse("10.0.0.0/8")));
  EXPECT_FALSE(Cidr::parse("10.8.0.0/16")->overlaps(*Cidr::parse("10.9.0.0/16")));
}
TEST(Cidr, TextThatIsNoRange) {
  for (const char* bad : {"",
                          "/",
                          "10.0.0.0",
                          "10.0.0.0/",
                          "10.0.0.0/33",
                          "10.0.0.0/-1",
                          "10.0.0.0/+8",
                          "/8",
                          "10.0.0.0/08",
                          "10.0.0.0/00",
                          "10.0.0.0/ 8",
                          "10.0.0.0/8 ",
                          "10.0.0.0/8/8",
                          "fd00::/129",
                          "10.0.0.0/2147483648",
                          "10.0.0.0/99999999999999999999",
                          "10.0.0.0/24\n",
                          "10.0.0/24",
                          "::ffff:10.0.0.0/104",
                          "10.0.0.0/0x8",
                          "\xff/8"})
    EXPECT_EQ(Cidr::parse(bad), std::nullopt) << bad;
  EXPECT_EQ(Cidr::parse_v4("fd00::/64"), std::nullopt);
}

}  // namespace
}  // namespace base
