#include "base/http/encoding.h"

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

namespace base::http {
namespace {

TEST(Compressor, CompressesBesideTheLoopAndAnswersOnIt) {
  Loop loop;
  Compressor compressor(loop);
  std::vector<std::string> done;
  auto thread = std::this_thread::get_id();
  for (int i = 0; i < 3; ++i)
    compressor.gzip({bytes(std::string(100'000, static_cast<char>('a' + i))), nullptr, bytes("end")},
                    [&, i](Bytes made) {
                      EXPECT_EQ(std::this_thread::get_id(), thread);
                      EXPECT_LT(made->size(), 2000u);
                      done.push_back(gunzip(*made, 1 << 20).value_or(""));
                      EXPECT_EQ(done.back(), std::string(100'000, static_cast<char>('a' + i)) + "end");
                    });
  for (int i = 0; i < 1000 && done.size() < 3; ++i) loop.run_once(std::chrono::milliseconds(10));
  EXPECT_EQ(done.size(), 3u);
}

TEST(Compressor, DropsWhatWaitsWhenItEnds) {
  Loop loop;
  auto held = std::make_shared<int>(0);
  {
    Compressor compressor(loop);
    for (int i = 0; i < 50; ++i)
      compressor.gzip({bytes(std::string(1 << 20, 'x'))}, [held](Bytes) { ++*held; });
  }
  EXPECT_EQ(*held, 0);
}

}  // namespace
}  // namespace base::http
