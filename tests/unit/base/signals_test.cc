#include "base/signals.h"

#include <gtest/gtest.h>

#include <csignal>

namespace base {

TEST(Signals, HaveNamesAndNumbers) {
  EXPECT_EQ(signal_number("TERM"), SIGTERM);
  EXPECT_EQ(signal_number("SIGTERM"), SIGTERM);
  EXPECT_EQ(signal_number("sigkill"), SIGKILL);
  EXPECT_EQ(signal_number("9"), 9);
  EXPECT_EQ(signal_number("0"), 0);
  EXPECT_EQ(signal_number("64"), 64);
  EXPECT_EQ(signal_number("RTMIN"), SIGRTMIN);
  EXPECT_EQ(signal_number("RTMIN+3"), SIGRTMIN + 3);
  EXPECT_EQ(signal_number("SIGRTMAX-1"), SIGRTMAX - 1);
  for (const char* none :
       {"", "SIG", "NOPE", "65", "999", "-1", "1x", "RTMIN+99", "RTMIN-1", "RTMAX+1", "RTMIN+"})
    EXPECT_EQ(signal_number(none), std::nullopt) << none;
}

}  // namespace base
