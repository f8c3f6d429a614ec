#include "api/selector.h"

#include <gtest/gtest.h>

#include <random>

#include "api/types.h"

namespace api {
namespace {

using Labels = std::map<std::string, std::string>;

bool match(std::string_view text, const Labels& labels) {
  auto selector = parse_selector(text);
  EXPECT_TRUE(selector.ok()) << text << ": " << (selector.ok() ? "" : selector.error().message());
  return selector.ok() && selector->matches(labels);
}
TEST(Selector, Matches) {
  Labels l{{"app", "web"}, {"tier", "front"}, {"n", "5"}, {"example.com/x", ""}};
  for (const char* yes :
       {"", "app=web", "app==web", " app = web , tier!=back ", "app in (api, web)", "app notin (api)", "app",
        "!gone", "gone!=x", "n>4", "n<6", "example.com/x", "example.com/x=", "tier in (front),n"})
    EXPECT_TRUE(match(yes, l)) << yes;
  for (const char* no :
       {"app=api", "app!=web", "!app", "gone", "n>5", "app>1", "app in (a,b)", "app notin (web)", "gone="})
    EXPECT_FALSE(match(no, l)) << no;
}
TEST(Selector, Refusals) {
  for (const char* bad : {",", "a=b,", "a=b=c", "a in b", "a in (b", "a foo b", "=x", "a b", "!", "-a", "a=-",
                          "a>x", "a/b/c", "a=b c"})
    EXPECT_FALSE(parse_selector(bad).ok()) << bad;
}
TEST(Selector, OfStructsAndJson) {
  auto parse = [](const char* text) { return base::parse_json(text).value(); };
  json::value both = parse(
      R"({"matchLabels":{"a":"b"},"matchExpressions":[{"key":"c","operator":"In","values":["e","d"]},{"key":"f","operator":"DoesNotExist"}]})");
  EXPECT_EQ(selector_of_json(&both)->text(), "a=b,c in (d,e),!f");
  json::value empty = json::object();
  EXPECT_TRUE(selector_of_json(&empty)->everything());
  EXPECT_FALSE(selector_of_json(nullptr)->matches(Labels{}));
  json::value labels = parse(R"({"a":"b"})");
  EXPECT_TRUE(selector_of_map(&labels).matches(&labels));
  EXPECT_FALSE(selector_of_map(&labels).matches(nullptr));
}
TEST(Selector, TextParsesToTheSame) {
  uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  for (int i = 0; i < 3000; ++i) {
    Selector s;
    for (size_t n = 1 + random() % 3; n; --n) {
      Selector::Requirement r{
          "k" + std::to_string(random() % 9), static_cast<Selector::Op>(random() % 6), {}};
      if (r.op == Selector::Op::kIn || r.op == Selector::Op::kNotIn)
        for (size_t v = 1 + random() % 3, first = random() % 5; v; --v)
          r.values.push_back("v" + std::to_string(first + 4 - v));
      if (r.op == Selector::Op::kGreater || r.op == Selector::Op::kLess)
        r.values = {std::to_string(random() % 100)};
      s.requirements.push_back(r);
    }
    auto again = parse_selector(s.text());
    ASSERT_TRUE(again.ok()) << "seed " << seed << " " << s.text();
    ASSERT_EQ(*again, s) << "seed " << seed << " " << s.text();
  }
}
TEST(FieldSelector, ParsesAndMatches) {
  auto s = parse_field_selector("metadata.name=a,status.phase!=Failed,spec.nodeName==n1");
  ASSERT_TRUE(s.ok());
  EXPECT_EQ(*s->required_value("metadata.name"), "a");
  EXPECT_EQ(s->required_value("status.phase"), nullptr);
  EXPECT_TRUE(s->matches({{"metadata.name", "a"}, {"spec.nodeName", "n1"}, {"status.phase", "Running"}}));
  EXPECT_FALSE(s->matches({{"metadata.name", "a"}, {"spec.nodeName", "n1"}, {"status.phase", "Failed"}}));
  EXPECT_FALSE(s->matches({{"metadata.name", "a"}}));
  EXPECT_TRUE(parse_field_selector("spec.nodeName=")->matches({}));
  EXPECT_EQ(parse_field_selector(R"(a=x\,y\=z)")->terms[0].value, "x,y=z");
  EXPECT_FALSE(parse_field_selector("name").ok());
}

}  // namespace
}  // namespace api
