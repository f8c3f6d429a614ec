#include <gtest/gtest.h>

#include "netns/netns.h"

namespace netns {
namespace {

TEST(Address, ParsesAndFormats) {
  EXPECT_EQ(parse_ipv4("10.244.0.5"), 0x0af40005u);
  EXPECT_EQ(format_ipv4(0x0af40005), "10.244.0.5");
  for (const char* bad : {"", "10.244.0", "10.244.0.256", "10.244.0.05", "10.244.0.5.6", "a.b.c.d",
                          "10.244.0.5 ", "10..0.5", "-1.0.0.0"})
    EXPECT_EQ(parse_ipv4(bad), std::nullopt) << bad;
}
TEST(Address, Cidrs) {
  auto cidr = parse_cidr("10.244.3.7/24");
  ASSERT_TRUE(cidr);
  EXPECT_EQ(format_cidr(*cidr), "10.244.3.0/24");
  EXPECT_TRUE(cidr->contains(*parse_ipv4("10.244.3.255")));
  EXPECT_FALSE(cidr->contains(*parse_ipv4("10.244.4.0")));
  EXPECT_EQ(format_cidr(*parse_cidr("1.2.3.4/0")), "0.0.0.0/0");
  for (const char* bad : {"10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "/8"})
    EXPECT_FALSE(parse_cidr(bad)) << bad;
}
TEST(AddressPool, GoesRoundBeforeReusing) {
  AddressPool pool = *AddressPool::of(*parse_cidr("10.0.0.0/29"));  // .2 to .6
  EXPECT_EQ(format_ipv4(pool.gateway()), "10.0.0.1");
  EXPECT_EQ(format_ipv4(*pool.allocate()), "10.0.0.2");
  ASSERT_TRUE(pool.reserve(*parse_ipv4("10.0.0.3")).ok());
  EXPECT_FALSE(pool.reserve(*parse_ipv4("10.0.0.3")).ok());
  pool.release(*parse_ipv4("10.0.0.2"));
  EXPECT_EQ(format_ipv4(*pool.allocate()), "10.0.0.4");
  EXPECT_EQ(format_ipv4(*pool.allocate()), "10.0.0.5");
  EXPECT_EQ(format_ipv4(*pool.allocate()), "10.0.0.6");
  EXPECT_EQ(format_ipv4(*pool.allocate()), "10.0.0.2");
  auto none = pool.allocate();
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().kind, base::Kind::kExhausted);
  EXPECT_EQ(none.error().subject, "10.0.0.0/29");
  EXPECT_EQ(none.error().reason, "all 5 addresses are in use");
  pool.release(*parse_ipv4("10.0.0.5"));
  EXPECT_EQ(format_ipv4(*pool.allocate()), "10.0.0.5");
}
TEST(AddressPool, RefusesWhatIsNotAPods) {
  AddressPool pool = *AddressPool::of(*parse_cidr("10.0.0.0/24"));
  for (const char* bad : {"10.0.0.0", "10.0.0.1", "10.0.0.255", "10.0.1.2"})
    EXPECT_FALSE(pool.reserve(*parse_ipv4(bad)).ok()) << bad;
  EXPECT_EQ(pool.used(), 0u);
}
// spec.podCIDR is input: what has no room for a Pod is refused, never asserted on.
TEST(AddressPool, NetworksWithoutRoomAreRefused) {
  for (const char* bad : {"10.0.0.0/31", "10.0.0.1/32", "10.0.0.0/7", "0.0.0.0/0"}) {
    auto pool = AddressPool::of(*parse_cidr(bad));
    ASSERT_FALSE(pool.ok()) << bad;
    EXPECT_EQ(pool.error().kind, base::Kind::kInvalid);
    EXPECT_EQ(pool.error().hint, "give the node another spec.podCIDR");
  }
  AddressPool smallest = *AddressPool::of(*parse_cidr("10.0.0.0/30"));
  EXPECT_EQ(format_ipv4(*smallest.allocate()), "10.0.0.2");
  EXPECT_EQ(smallest.allocate().error().kind, base::Kind::kExhausted);
  AddressPool last = *AddressPool::of(*parse_cidr("255.255.255.252/30"));
  EXPECT_EQ(format_ipv4(*last.allocate()), "255.255.255.254");
  EXPECT_FALSE(last.allocate().ok());
}
TEST(Address, TextThatIsNoIpv4Network) {
  for (const char* bad :
       {"fd00::/64", "10.0.0.0/24/24", "10.0.0.0/ 24", "10.0.0.0/2147483648", "10.0.0.0/99999999999999999999",
        "10.0.0.0/24\n", "garbage", "", "10.0.0/24", "\xff/8"})
    EXPECT_FALSE(parse_cidr(bad)) << bad;
}
TEST(HostLinkName, FitsAndDiffers) {
  std::string a = host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a01");
  EXPECT_EQ(a.size(), 15u);  // IFNAMSIZ - 1
  EXPECT_EQ(a, host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a01"));
  EXPECT_NE(a, host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a02"));
}

}  // namespace
}  // namespace netns
