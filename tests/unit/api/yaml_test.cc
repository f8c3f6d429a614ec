#include "api/yaml.h"

#include <gtest/gtest.h>

namespace api {
namespace {

std::string as_json(std::string_view yaml) {
  auto documents = parse_yaml(yaml);
  if (!documents.ok()) return documents.error().message();
  std::string out;
  for (const auto& document : *documents) out += base::to_json(document);
  return out;
}

TEST(Yaml, ScalarsResolveAsKubectlDoes) {
  EXPECT_EQ(
      as_json("a: 1\nb: \"1\"\nc: yes\nd: 0644\ne: 0x10\nf: ~\ng: -1.5\nh: 1.2.3\ni: 'no'\nj: 2026-01-02\nk: "
              "y\n"),
      R"({"a":1,"b":"1","c":true,"d":420,"e":16,"f":null,"g":-1.5E0,"h":"1.2.3","i":"no","j":"2026-01-02","k":true})");
  EXPECT_EQ(as_json("a: |\n  x\n  y\nb: >-\n  p\n  q\n"), R"({"a":"x\ny\n","b":"p q"})");
  EXPECT_EQ(as_json("- 10.244.0.0/16\n- 500m\n- 1Gi\n- 10:30\n- 1.2.3.4\n"),
            R"(["10.244.0.0/16","500m","1Gi","10:30","1.2.3.4"])");
}
TEST(Yaml, Numbers) {
  // Go writes a float64 that is whole without a fraction.
  EXPECT_EQ(as_json("[1e3, 3.0, .5, 5., 1_000, +7, -0]"), R"([1000,3,5E-1,5,1000,7,0])");
  EXPECT_EQ(as_json("[0b101, 0o17, 0O17, -0x1F, 010, 089, 08]"), R"([5,15,15,-31,8,89,8])");
  EXPECT_EQ(as_json("[9223372036854775807, -9223372036854775808, 18446744073709551615]"),
            "[9223372036854775807,-9223372036854775808,18446744073709551615]");
  EXPECT_EQ(as_json("[1e400, 0x, 0x0x1, 1e, '1', ., +, -, --1, 1-2, e3]"),
            R"(["1e400","0x","0x0x1","1e","1",".","+","-","--1","1-2","e3"])");
  EXPECT_NE(as_json("a: .inf").find("unsupported value"), std::string::npos);
  EXPECT_NE(as_json("a: .NaN").find("unsupported value"), std::string::npos);
}
TEST(Yaml, Tags) {
  EXPECT_EQ(
      as_json(
          "- !!str 5\n- !!int 5\n- !!float 5\n- !!bool yes\n- !!null ~\n- !!binary aGk=\n- !mine x\n- ! 5\n"),
      R"(["5",5,5,true,null,"hi","x","5"])");
  EXPECT_EQ(as_json("- !!binary aGkbina=\n- !!binary 4pyTw77/\n"),
            "[\"hi\\u001b\ufffdv\",\"\u2713\u00fe\ufffd\"]");
  EXPECT_NE(as_json("a: !!int x").find("cannot decode !!str `x` as a !!int"), std::string::npos)
      << as_json("a: !!int x");
}
TEST(Yaml, KeysAreTexts) {
  EXPECT_EQ(as_json("1: a\n0x10: b\nyes: c\n'yes': d\n1.5: e\n"),
            R"({"1":"a","16":"b","true":"c","yes":"d","1.5":"e"})");
  EXPECT_NE(as_json("~: a").find("not a scalar"), std::string::npos);
  EXPECT_NE(as_json("[a]: b").find("not a scalar"), std::string::npos);
  EXPECT_NE(as_json("? {a: b}\n: c\n").find("not a scalar"), std::string::npos);
}
TEST(Yaml, DocumentsAnchorsMergeKeys) {
  EXPECT_EQ(as_json("a: 1\n---\n# nothing\n---\nb: 2\n"), R"({"a":1}{"b":2})");
  EXPECT_EQ(as_json(""), "");
  EXPECT_EQ(as_json("x: &x {p: 1, q: 2}\nu:\n  <<: *x\n  q: 3\nz: *x\n"),
            R"({"x":{"p":1,"q":2},"u":{"q":3,"p":1},"z":{"p":1,"q":2}})");
  EXPECT_EQ(as_json("a: &a {p: 1}\nb: &b {p: 2, q: 2}\nc: {<<: [*a, *b], r: 3}\n"),
            R"({"a":{"p":1},"b":{"p":2,"q":2},"c":{"r":3,"p":1,"q":2}})");
  EXPECT_EQ(as_json("a: &k key\n*k : v\n"), R"({"a":"key","key":"v"})");
  EXPECT_EQ(as_json(R"({"a": [1, {"b": null}]})"), R"({"a":[1,{"b":null}]})");
  EXPECT_EQ(as_json("'<<': 1\n"), R"({"<<":1})");
}
TEST(Yaml, RefusesBadInput) {
  EXPECT_NE(as_json("a: 1\na: 2\n").find("line 2: key \"a\" already set in map"), std::string::npos)
      << as_json("a: 1\na: 2\n");
  EXPECT_NE(as_json(R"({"a": 1, "a": 2})").find("already set in map"), std::string::npos);
  EXPECT_NE(as_json("a: b: c").find("parse YAML: line 1"), std::string::npos) << as_json("a: b: c");
  EXPECT_NE(as_json("a: *b").find("unknown anchor 'b' referenced"), std::string::npos);
  EXPECT_NE(as_json("&a [*a]").find("anchor 'a' value contains itself"), std::string::npos);
  EXPECT_NE(as_json("<<: 1").find("map merge requires map"), std::string::npos);
  EXPECT_NE(as_json("a: \xff").find("UTF-8"), std::string::npos) << as_json("a: \xff");
  EXPECT_NE(as_json("a: \x01").find("control characters"), std::string::npos) << as_json("a: \x01");
  EXPECT_NE(as_json("{a: [1").find("line "), std::string::npos);
}
TEST(Yaml, DuplicatesAreToldOfWhereAsked) {
  std::vector<std::string> duplicates;
  auto parsed = parse_yaml("a: {b: 1, b: 2}\nc:\n- d: 1\n  d: 3\n", &duplicates);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(base::to_json(parsed->at(0)), R"({"a":{"b":2},"c":[{"d":3}]})");
  EXPECT_EQ(duplicates, (std::vector<std::string>{"a.b", "c[0].d"}));
}
TEST(Yaml, AliasesAreBounded) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i)
    bomb +=
        fmt::format("a{0}: &a{0} [*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1}]\n", i, i - 1);
  EXPECT_NE(as_json(bomb).find("excessive aliasing"), std::string::npos);
  std::string wide = "a: &a " + std::string(100'000, 'x') + "\nb: [";  // few values, but long ones
  for (int i = 0; i < 100'000; ++i) wide += "*a,";
  EXPECT_NE(as_json(wide + "]").find("excessive aliasing"), std::string::npos);
}
TEST(Yaml, DepthIsThatOfJson) {
  auto nested = [](size_t levels) {
    return "- " + std::string(levels - 1, '[') + std::string(levels - 1, ']') + "\n";
  };
  auto deepest = parse_yaml(nested(base::kMaxJsonDepth));
  ASSERT_TRUE(deepest.ok()) << deepest.error().message();
  EXPECT_TRUE(base::parse_json(base::to_json(deepest->at(0))).ok());
  EXPECT_FALSE(parse_yaml(nested(base::kMaxJsonDepth + 1)).ok());
  EXPECT_FALSE(parse_yaml(nested(100'000)).ok());
  // An alias brings its depth along.
  auto aliased = [&](size_t levels) {
    return "a: &a " + nested(100).substr(2) + "b: " + std::string(levels, '[') + "*a" +
           std::string(levels, ']') + "\n";
  };
  EXPECT_TRUE(parse_yaml(aliased(28)).ok()) << as_json(aliased(28));
  EXPECT_FALSE(parse_yaml(aliased(29)).ok());
}

}  // namespace
TEST(Yaml, NestsAsDeepAsJson) {
  constexpr size_t kMost = base::kMaxJsonDepth;
  auto nested = [](size_t depth, const char* open, const char* close) {
    std::string out;
    for (size_t i = 0; i < depth; ++i) out += open;
    for (size_t i = 0; i < depth; ++i) out += close;
    return out;
  };
  EXPECT_TRUE(parse_yaml("a: " + nested(kMost - 1, "[", "]")).ok());
  // Whatever the parser's own limit is, it is an error and no crash, in every way of nesting.
  for (size_t depth : {kMost, size_t{3000}, size_t{300'000}}) {
    EXPECT_FALSE(parse_yaml(R"({"a":)" + nested(depth, "[", "]") + "}").ok()) << depth;
    EXPECT_FALSE(parse_yaml("a: " + nested(depth, "[", "]")).ok()) << depth;
    EXPECT_FALSE(parse_yaml("a: " + nested(depth, "{b: ", "}")).ok()) << depth;
    EXPECT_FALSE(parse_yaml("a:\n  " + nested(depth, "- ", "")).ok()) << depth;
    EXPECT_FALSE(parse_yaml(nested(depth + 1, "? ", "")).ok()) << depth;
  }
  EXPECT_FALSE(parse_yaml("a: &a [*a]\n").ok());
}

}  // namespace api
