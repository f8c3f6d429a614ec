#include "base/resolver.h"

#include <gtest/gtest.h>

namespace base {
namespace {

// Names of /etc/hosts only: nothing is sent.
struct ResolverTest : ::testing::Test {
  Loop loop;
  std::string found(const std::string& host) {
    Resolver resolver(loop);
    std::string out;
    resolver.resolve(host, [&](Result<std::string> address) {
      out = address.ok() ? *address : "error: " + address.error().message();
    });
    for (int i = 0; i < 500 && out.empty(); ++i) loop.run_once(std::chrono::milliseconds(10));
    return out;
  }
};

TEST_F(ResolverTest, AnAddressIsItself) {
  Resolver resolver(loop);
  std::string got;
  resolver.resolve("192.0.2.7", [&](Result<std::string> address) { got = *address; });
  EXPECT_EQ(got, "192.0.2.7");  // at once
  resolver.resolve("::1", [&](Result<std::string> address) { got = *address; });
  EXPECT_EQ(got, "::1");
}

TEST_F(ResolverTest, ANameOfTheHost) {
  std::string address = found("localhost");
  EXPECT_TRUE(address == "127.0.0.1" || address == "::1") << address;
}

TEST_F(ResolverTest, AllWhoWaitGetOneAnswerAndLaterOnesAtOnce) {
  Resolver resolver(loop);
  int answers = 0;
  for (int i = 0; i < 3; ++i)
    resolver.resolve("localhost", [&](Result<std::string> address) { answers += address.ok(); });
  EXPECT_EQ(answers, 0);
  for (int i = 0; i < 500 && answers < 3; ++i) loop.run_once(std::chrono::milliseconds(10));
  EXPECT_EQ(answers, 3);
  resolver.resolve("localhost", [&](Result<std::string>) { ++answers; });
  EXPECT_EQ(answers, 4);
}

TEST_F(ResolverTest, NoCallbackAfterItsEnd) {
  bool called = false;
  {
    Resolver resolver(loop);
    resolver.resolve("localhost", [&](Result<std::string>) { called = true; });
  }
  for (int i = 0; i < 5; ++i) loop.run_once(std::chrono::milliseconds(10));
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace base
