#include "base/number.h"

#include <gtest/gtest.h>

namespace base {

TEST(Number, TheWholeTextOrNothing) {
  EXPECT_EQ(parse_number<int>("42"), 42);
  EXPECT_EQ(parse_number<int>("-7"), -7);
  for (const char* text : {"", " 1", "1 ", "+1", "0x1", "1e3", "1.0", "abc", "12abc", "2147483648",
                           "-2147483649", "99999999999999999999", "--1"})
    EXPECT_EQ(parse_number<int>(text), std::nullopt) << text;
  EXPECT_EQ(parse_number<uint32_t>("-1"), std::nullopt);
  EXPECT_EQ(parse_number<int>("8", 0, 7), std::nullopt);
  EXPECT_EQ(parse_number<int>("7", 0, 7), 7);
}
TEST(Number, NoIdIsTheOneThatLeavesRootAsItIs) {
  EXPECT_EQ(parse_id("0"), 0u);
  EXPECT_EQ(parse_id("4294967294"), 4294967294u);
  for (const char* text : {"4294967295", "4294967296", "-1", "0x1", "abc", ""})
    EXPECT_EQ(parse_id(text), std::nullopt) << text;
}

}  // namespace base
