#include <gtest/gtest.h>

#include "netns/netns.h"
#include "netns/port_pins.h"

namespace netns {
namespace {

std::string text(const std::vector<Action>& actions) {
  std::string out;
  for (const Action& action : actions) out += action.text() + "\n";
  return out;
}
NodeNetwork two_peers() {
  NodeNetwork desired;
  desired.pod_cidr = *base::Cidr::parse_v4("10.244.0.0/24");
  desired.routes = {{"10.244.1.0/24", "192.0.2.12"}, {"10.244.2.0/24", "192.0.2.13"}};
  return desired;
}

TEST(NodePlan, FromNothing) {
  EXPECT_EQ(text(plan(two_peers(), Observed{})),
            "add-bridge sampan0 0a:58:0a:f4:00:01\n"
            "set-mtu sampan0 1500\n"
            "disable-redirects sampan0\n"
            "add-address sampan0 10.244.0.1/24\n"
            "up sampan0\n"
            "add-route 10.244.1.0/24 via 192.0.2.12\n"
            "add-route 10.244.2.0/24 via 192.0.2.13\n"
            "enable-forwarding\n");
}
TEST(NodePlan, NothingToDo) {
  NodeNetwork desired = two_peers();
  Observed observed{true, true, 1500, {"10.244.0.1/24"}, desired.routes, true, true};
  EXPECT_EQ(text(plan(desired, observed)), "");
}
TEST(NodePlan, MovedRouteAndNewPodCidr) {
  NodeNetwork desired = two_peers();
  Observed observed{
      true, true, 1400, {"10.244.9.1/24"}, {{"10.244.1.0/24", "192.0.2.99"}, {"10.244.7.0/24", "192.0.2.17"}},
      true, true};
  EXPECT_EQ(text(plan(desired, observed)),
            "set-mtu sampan0 1500\n"
            "remove-address sampan0 10.244.9.1/24\n"
            "add-address sampan0 10.244.0.1/24\n"
            "remove-route 10.244.1.0/24\n"
            "remove-route 10.244.7.0/24\n"
            "add-route 10.244.1.0/24 via 192.0.2.12\n"
            "add-route 10.244.2.0/24 via 192.0.2.13\n");
}

TEST(NodePlan, FlushedRulesComeBack) {
  NodeNetwork desired = two_peers();
  Observed observed{true, true, 1500, {"10.244.0.1/24"}, desired.routes, true, true, false};
  EXPECT_EQ(text(plan(desired, observed)), "pin-ports\n");
}

TEST(PortPins, TextAndAlias) {
  constexpr base::Ip kFive = base::Ip::v4(10, 244, 0, 5);
  std::string text = pins_text({{"vetha", kFive}, {"vethb", kFive.plus(1)}}, true);
  EXPECT_NE(text.find("set ports { type ifname; elements = { \"vetha\", \"vethb\" } }"), std::string::npos)
      << text;
  EXPECT_NE(
      text.find("\"vetha\" . 0a:58:0a:f4:00:05 . 10.244.0.5, \"vethb\" . 0a:58:0a:f4:00:06 . 10.244.0.6"),
      std::string::npos)
      << text;
  EXPECT_EQ(pins_text({}, false).find("elements"), std::string::npos);
  EXPECT_EQ(parse_pin_alias(pin_alias(kFive)), kFive);
  for (const char* other : {"", "sampan-pod", "sampan-pod x", "uplink 10.244.0.5"})
    EXPECT_FALSE(parse_pin_alias(other)) << other;
}

}  // namespace
}  // namespace netns
