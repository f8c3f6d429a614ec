#include <gtest/gtest.h>

#include "netns/netns.h"

namespace netns {
namespace {

TEST(AddressPool, GoesRoundBeforeReusing) {
  AddressPool pool = *AddressPool::of(*base::Cidr::parse_v4("10.0.0.0/29"));  // .2 to .6
  EXPECT_EQ((pool.gateway()).text(), "10.0.0.1");
  EXPECT_EQ((*pool.allocate()).text(), "10.0.0.2");
  ASSERT_TRUE(pool.reserve(*base::Ip::parse_v4("10.0.0.3")).ok());
  EXPECT_FALSE(pool.reserve(*base::Ip::parse_v4("10.0.0.3")).ok());
  pool.release(*base::Ip::parse_v4("10.0.0.2"));
  EXPECT_EQ((*pool.allocate()).text(), "10.0.0.4");
  EXPECT_EQ((*pool.allocate()).text(), "10.0.0.5");
  EXPECT_EQ((*pool.allocate()).text(), "10.0.0.6");
  EXPECT_EQ((*pool.allocate()).text(), "10.0.0.2");
  auto none = pool.allocate();
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().kind, base::Kind::kExhausted);
  EXPECT_EQ(none.error().subject, "10.0.0.0/29");
  EXPECT_EQ(none.error().reason, "all 5 addresses are in use");
  pool.release(*base::Ip::parse_v4("10.0.0.5"));
  EXPECT_EQ((*pool.allocate()).text(), "10.0.0.5");
}
TEST(AddressPool, RefusesWhatIsNotAPods) {
  AddressPool pool = *AddressPool::of(*base::Cidr::parse_v4("10.0.0.0/24"));
  for (const char* bad : {"10.0.0.0", "10.0.0.1", "10.0.0.255", "10.0.1.2"})
    EXPECT_FALSE(pool.reserve(*base::Ip::parse_v4(bad)).ok()) << bad;
  EXPECT_EQ(pool.used(), 0u);
}
// spec.podCIDR is input: what has no room for a Pod is refused, never asserted on.
TEST(AddressPool, NetworksWithoutRoomAreRefused) {
  for (const char* bad : {"10.0.0.0/31", "10.0.0.1/32", "10.0.0.0/7", "0.0.0.0/0"}) {
    auto pool = AddressPool::of(*base::Cidr::parse_v4(bad));
    ASSERT_FALSE(pool.ok()) << bad;
    EXPECT_EQ(pool.error().kind, base::Kind::kInvalid);
    EXPECT_EQ(pool.error().hint, "give the node another spec.podCIDR");
  }
  AddressPool smallest = *AddressPool::of(*base::Cidr::parse_v4("10.0.0.0/30"));
  EXPECT_EQ((*smallest.allocate()).text(), "10.0.0.2");
  EXPECT_EQ(smallest.allocate().error().kind, base::Kind::kExhausted);
  AddressPool last = *AddressPool::of(*base::Cidr::parse_v4("255.255.255.252/30"));
  EXPECT_EQ((*last.allocate()).text(), "255.255.255.254");
  EXPECT_FALSE(last.allocate().ok());
}
TEST(HostLinkName, FitsAndDiffers) {
  std::string a = host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a01");
  EXPECT_EQ(a.size(), 15u);  // IFNAMSIZ - 1
  EXPECT_EQ(a, host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a01"));
  EXPECT_NE(a, host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a02"));
}

}  // namespace
}  // namespace netns
