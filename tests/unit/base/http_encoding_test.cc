#include "base/http_encoding.h"

#include <gtest/gtest.h>

namespace base::http {
namespace {
bool asks(const char* value) {
  Headers headers;
  headers.add("Accept-Encoding", value);
  return accepts_gzip(headers);
}
TEST(Gzip, IsAskedFor) {
  EXPECT_TRUE(asks("gzip"));
  EXPECT_TRUE(asks("deflate, GZIP;q=0.5"));
  EXPECT_TRUE(asks("*"));
  EXPECT_FALSE(asks("identity"));
  EXPECT_FALSE(asks("gzip;q=0"));
  EXPECT_FALSE(asks("gzip; q=0.000"));
  EXPECT_FALSE(asks(""));
  EXPECT_FALSE(accepts_gzip({}));
}
TEST(Gzip, ThereAndBack) {
  std::string text, noise;
  for (int i = 0; i < 100'000; ++i) text += "pod-" + std::to_string(i % 997);
  for (unsigned i = 0; i < 300'000; ++i) noise.push_back(static_cast<char>(i * 2654435761u >> 13));
  Bytes packed = gzip({bytes(text), nullptr, bytes(noise), bytes("")});
  EXPECT_LT(packed->size(), text.size());
  EXPECT_EQ(gunzip(*packed, 10 << 20).value(), text + noise);
  EXPECT_EQ(gunzip(*packed, 1000).error().kind, Kind::kExhausted);
  EXPECT_FALSE(gunzip(packed->substr(0, packed->size() - 9), 10 << 20).ok());
  EXPECT_FALSE(gunzip("no gzip", 100).ok());
}
}  // namespace
}  // namespace base::http
