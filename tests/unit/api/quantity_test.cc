#include "api/quantity.h"

#include <gtest/gtest.h>

#include <random>

namespace api {
namespace {

std::string canonical(std::string_view text) {
  auto q = Quantity::parse(text);
  return q.ok() ? q->text() : "error";
}
TEST(Quantity, CanonicalText) {
  const char* cases[][2] = {{"0", "0"},
                            {"0Ki", "0"},
                            {"1000m", "1"},
                            {"0.5", "500m"},
                            {".5", "500m"},
                            {"1.", "1"},
                            {"1500m", "1500m"},
                            {"1024Ki", "1Mi"},
                            {"1500Ki", "1500Ki"},
                            {"1Gi", "1Gi"},
                            {"0.5Gi", "512Mi"},
                            {"0.1Gi", "107374182400m"},
                            {"100Ki", "100Ki"},
                            {"0.5Ki", "512"},
                            {"1e3", "1e3"},
                            {"12e6", "12e6"},
                            {"1000", "1k"},
                            {"1000000", "1M"},
                            {"123456", "123456"},
                            {"1E", "1E"},
                            {"1E3", "1e3"},
                            {"-1500m", "-1500m"},
                            {"+5", "5"},
                            {"100u", "100u"},
                            {"0.1n", "1n"},
                            {"1.5n", "2n"},
                            {"-0.1n", "-1n"},
                            {"9223372036854775807", "9223372036854775807"},
                            {"100E", "9223372036854775807"},
                            {"8Ei", "9223372036854775807"},
                            {"7Ei", "7Ei"},
                            {"1e-3", "1e-3"},
                            {"100000000000000000000000000000000000000000000000", "9223372036854775807"},
                            {"0.00000000000000000000000000000000000001", "1n"}};
  for (auto& c : cases) EXPECT_EQ(canonical(c[0]), c[1]) << c[0];
  EXPECT_EQ(Quantity::parse("1e999999")->to_units(), INT64_MAX);
}
TEST(Quantity, Refusals) {
  for (const char* bad :
       {"", "-", "m", "1.2.3", "1 Gi", "1gi", "1KI", "1mm", "1e", "1e1.5", "--1", "1K", "abc", "1Gi "})
    EXPECT_EQ(canonical(bad), "error") << bad;
}
TEST(Quantity, Numbers) {
  EXPECT_EQ(milli_of("0.1"), 100);
  EXPECT_EQ(milli_of("1.0001"), 1001);
  EXPECT_EQ(milli_of("2"), 2000);
  EXPECT_EQ(bytes_of("1Mi"), 1 << 20);
  EXPECT_EQ(bytes_of("1500m"), 2);
  EXPECT_EQ(bytes_of("1.5Ki"), 1536);
}
TEST(Quantity, Arithmetic) {
  Quantity sum;
  sum += *Quantity::parse("64Mi");
  sum += *Quantity::parse("64Mi");
  EXPECT_EQ(sum.text(), "128Mi");
  EXPECT_EQ((*Quantity::parse("1") - *Quantity::parse("250m")).text(), "750m");
  EXPECT_LT(*Quantity::parse("1023Mi"), *Quantity::parse("1Gi"));
  EXPECT_EQ(*Quantity::parse("1024"), *Quantity::parse("1Ki"));
}
TEST(Quantity, TextParsesToTheSameAmount) {
  uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  static constexpr const char* kSuffixes[] = {"",   "m",  "u",  "n",  "k",  "M",   "G",
                                              "Ki", "Mi", "Gi", "Ti", "e2", "e-2", "E4"};
  for (int i = 0; i < 20000; ++i) {
    std::string text = std::to_string(random() % 100000);
    if (random() % 2) text += "." + std::to_string(random() % 1000);
    text += kSuffixes[random() % std::size(kSuffixes)];
    auto q = Quantity::parse(text);
    ASSERT_TRUE(q.ok()) << text;
    auto again = Quantity::parse(q->text());
    ASSERT_TRUE(again.ok()) << "seed " << seed << " " << text << " " << q->text();
    ASSERT_EQ(*q, *again) << "seed " << seed << " " << text << " " << q->text();
    // A binary amount that is no multiple of 1024 prints without a suffix and is decimal when read
    // again, as in Kubernetes; from there the text stays.
    ASSERT_EQ(Quantity::parse(again->text()).value().text(), again->text()) << "seed " << seed << " " << text;
  }
}

}  // namespace
}  // namespace api
