#include "base/printable.h"

#include <gtest/gtest.h>

namespace base {

TEST(PrintableLine, ControlsAreShownAndTextStays) {
  EXPECT_EQ(printable_line("plain – 舢板"), "plain – 舢板");
  EXPECT_EQ(printable_line("a\nb\tc\r\x1b[2J\x7f"), "a\\nb\\tc\\r\\x1b[2J\\x7f");
  EXPECT_EQ(printable_line(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable_line("\xc2\x9b"
                           "31m"),
            "\\xc2\\x9b31m")
      << "C1's CSI";
  EXPECT_EQ(printable_line("\xff\xc0\xaf\xe8"), "\\xff\\xc0\\xaf\\xe8") << "no UTF-8";
}
TEST(PrintableLine, HasAnEnd) {
  for (const std::string& text : {std::string(110000, 'x'), std::string(110000, '\x01')}) {
    std::string line = printable_line(text);
    EXPECT_LE(line.size(), kMaxLineBytes);
    EXPECT_TRUE(line.ends_with("…"));
  }
  EXPECT_EQ(printable_line("舢板舢板", 10), "舢板…") << "cut between characters";
}

}  // namespace base
