#include "proxy/skeleton.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace proxy {
namespace {

TEST(Skeleton, ReplacesTheTableInOneTransaction) {
  SkeletonConfig config{"blue", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"};
  std::string text = skeleton(config);
  EXPECT_TRUE(text.starts_with("add table ip blue\ndelete table ip blue\ntable ip blue {\n")) << text;
  EXPECT_THAT(text, testing::HasSubstr("chain " + skeleton_version(config) + " { }"));
  EXPECT_THAT(text, testing::HasSubstr(
                        "ip saddr != 10.244.0.0/16 ip daddr . meta l4proto . th dport vmap @external_local"));
}
TEST(Skeleton, VersionFollowsTheRules) {
  SkeletonConfig a{"sampan", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"}, b = a;
  EXPECT_EQ(skeleton_version(a), skeleton_version(b));
  b.cluster_dns = "10.96.0.11";
  EXPECT_NE(skeleton_version(a), skeleton_version(b));
}

}  // namespace
}  // namespace proxy
