// What every answer says besides its body, and requests that Kubernetes refuses before it looks at them.
#include "master/registry/request.h"

#include "tests/unit/master/server_fixture.h"

namespace master {
namespace {

TEST(Warnings, AreToldOnceAndAsFarAsClientsCanBear) {
  EXPECT_EQ(bounded_warnings({"b", "", "a", "b"}), (std::vector<std::string>{"b", "a"}));
  std::vector<std::string> long_ones;
  for (int i = 0; i < 3; ++i) long_ones.push_back(std::to_string(i) + std::string(1300, 'x'));
  EXPECT_EQ(bounded_warnings(long_ones), long_ones);
  // One more than fits: all are cut to 256 characters, and go on until there are 4096.
  for (int i = 3; i < 100; ++i) long_ones.push_back("\u00e4" + std::to_string(i) + std::string(1300, 'x'));
  auto cut = bounded_warnings(long_ones);
  ASSERT_EQ(cut.size(), 16u);
  EXPECT_EQ(cut[0], "0" + std::string(255, 'x'));
  EXPECT_EQ(cut[3], "\u00e43" + std::string(254, 'x')) << "characters are counted, not bytes";
  std::vector<std::string> fields;
  for (int i = 0; i < 5000; ++i) fields.push_back("unknown field \"f" + std::to_string(i) + "\"");
  size_t size = 0;
  for (const std::string& each : bounded_warnings(fields)) size += each.size();
  EXPECT_LE(size, 4096u + 256);
}

using Requests = ServerTest;

TEST_F(Requests, VersionAnswersGetAlone) {
  EXPECT_EQ(call("GET", "/version").status, 200);
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH"})
    EXPECT_EQ(call(method, "/version").status, 405) << method;
}

TEST_F(Requests, AWatchThatIsOverAlreadyEnds) {
  auto w = watch(std::string(kMaps) + "?watch=1&timeoutSeconds=-5");
  wait_for([&] { return w->ended; });
  EXPECT_NE(
      refused(call("GET", std::string(kMaps) + "?watch=1&timeoutSeconds=abc"), 400).find("invalid syntax"),
      std::string::npos);
}

}  // namespace
}  // namespace master
