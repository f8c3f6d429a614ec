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
  AddressPool pool(*parse_cidr("10.0.0.0/29"));  // .2 to .6
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
  AddressPool pool(*parse_cidr("10.0.0.0/24"));
  for (const char* bad : {"10.0.0.0", "10.0.0.1", "10.0.0.255", "10.0.1.2"})
    EXPECT_FALSE(pool.reserve(*parse_ipv4(bad)).ok()) << bad;
  EXPECT_EQ(pool.used(), 0u);
}
TEST(HostLinkName, FitsAndDiffers) {
  std::string a = host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a01");
  EXPECT_EQ(a.size(), 15u);  // IFNAMSIZ - 1
  EXPECT_EQ(a, host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a01"));
  EXPECT_NE(a, host_link_name("7b2d61a0-7e4c-4f5e-9a53-0c9f4d8e1a02"));
}

}  // namespace
}  // namespace netns
