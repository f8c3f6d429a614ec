#include "base/base64.h"

#include <gtest/gtest.h>

namespace base {

// RFC 4648, 10.
TEST(Base64, OfTheRfc) {
  const std::pair<const char*, const char*> kVectors[] = {{"", ""},
                                                          {"f", "Zg=="},
                                                          {"fo", "Zm8="},
                                                          {"foo", "Zm9v"},
                                                          {"foob", "Zm9vYg=="},
                                                          {"fooba", "Zm9vYmE="},
                                                          {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : kVectors) {
    EXPECT_EQ(base64_encode(plain), text);
    EXPECT_EQ(base64_decode(text), plain);
  }
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  for (size_t size = 250; size <= all.size(); ++size) {
    EXPECT_EQ(base64_decode(base64_encode(all.substr(0, size))), all.substr(0, size));
    EXPECT_EQ(base64url_decode(base64url_encode(all.substr(0, size))), all.substr(0, size));
  }
  EXPECT_EQ(base64url_encode("\xfb\xff\xfe"), "-__-");
}

TEST(Base64, RefusesWhatIsNone) {
  EXPECT_EQ(base64_decode("Zm9v\r\nYmFy\n"), "foobar");  // as Go does
  for (const char* none :
       {"Z", "Zg", "Zg=", "Zg===", "=Zg=", "Zg=A", "Zm9v=", "====", "Z===", "Zm9v Zg==", "Zm9-", "Zm9\xc3"})
    EXPECT_EQ(base64_decode(none), std::nullopt) << none;
  for (const char* none : {"Zg==", "Zm9+", "Zm9v\n", "Z"})
    EXPECT_EQ(base64url_decode(none), std::nullopt) << none;
}

}  // namespace base
