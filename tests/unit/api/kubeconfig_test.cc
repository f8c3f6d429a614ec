#include "api/client/transport.h"

#include <gtest/gtest.h>

#include "api/base64.h"
#include "api/yaml.h"

namespace api {
namespace {

TEST(KubeConfig, WhatWeWriteWeRead) {
  KubeConfig config;
  config.server = "https://[fd00::1]:6443";
  config.ca_pem = "CA\n";
  config.client = {"CERT\n", "KEY\n"};
  config.token = "t: \"x\"";
  auto read = parse_kubeconfig(write_kubeconfig(config, "system:node:a"), ".");
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->server, config.server);
  EXPECT_EQ(read->ca_pem, "CA\n");
  EXPECT_EQ(read->client.certificate_pem, "CERT\n");
  EXPECT_EQ(read->client.key_pem, "KEY\n");
  EXPECT_EQ(read->token, config.token);
}
TEST(KubeConfig, SaysWhatIsMissing) {
  auto message = [](const char* text) { return parse_kubeconfig(text, ".").error().message(); };
  EXPECT_EQ(message("a: b"), "read kubeconfig: current-context is not set: run kubectl config use-context NAME");
  EXPECT_EQ(message("current-context: c"), "read kubeconfig: no context \"c\"");
  EXPECT_NE(message("a: [1").find("line "), std::string::npos) << message("a: [1");
}

std::string as_json(std::string_view yaml) {
  auto documents = parse_yaml(yaml);
  if (!documents.ok()) return documents.error().message();
  std::string out;
  for (const auto& document : *documents) out += base::to_json(document);
  return out;
}
TEST(Yaml, ScalarsResolveAsKubectlDoes) {
  EXPECT_EQ(as_json("a: 1\nb: \"1\"\nc: yes\nd: 0644\ne: 0x10\nf: ~\ng: -1.5\nh: 1.2.3\ni: 'no'\nj: 2026-01-02\nk: y\n"),
            R"({"a":1,"b":"1","c":true,"d":420,"e":16,"f":null,"g":-1.5E0,"h":"1.2.3","i":"no","j":"2026-01-02","k":true})");
  EXPECT_EQ(as_json("a: |\n  x\n  y\nb: >-\n  p\n  q\n"), R"({"a":"x\ny\n","b":"p q"})");
  EXPECT_EQ(as_json("- !!str 5\n- 10.244.0.0/16\n- 500m\n- 1e3\n"), R"(["5","10.244.0.0/16","500m",1E3])");
}
TEST(Yaml, DocumentsAnchorsMergeKeys) {
  EXPECT_EQ(as_json("a: 1\n---\n# nothing\n---\nb: 2\n"), R"({"a":1}{"b":2})");
  EXPECT_EQ(as_json("x: &x {p: 1, q: 2}\ny:\n  <<: *x\n  q: 3\nz: *x\n"),
            R"({"x":{"p":1,"q":2},"y":{"q":3,"p":1},"z":{"p":1,"q":2}})");
  EXPECT_EQ(as_json(R"({"a": [1, {"b": null}]})"), R"({"a":[1,{"b":null}]})");
}
TEST(Yaml, RefusesBadInput) {
  EXPECT_NE(as_json("a: 1\na: 2\n").find("already set"), std::string::npos);
  EXPECT_NE(as_json("a: b: c").find("parse YAML: line 1"), std::string::npos) << as_json("a: b: c");
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i)
    bomb += fmt::format("a{0}: &a{0} [*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1}]\n", i, i - 1);
  EXPECT_NE(as_json(bomb).find("more than a million"), std::string::npos);
}
TEST(Yaml, NestsAsDeepAsJson) {
  constexpr size_t kMost = base::kMaxJsonDepth;
  auto nested = [](size_t depth, const char* open, const char* close) {
    std::string out;
    for (size_t i = 0; i < depth; ++i) out += open;
    for (size_t i = 0; i < depth; ++i) out += close;
    return out;
  };
  auto as_object = [&](size_t depth) { return R"({"a":)" + nested(depth - 1, "[", "]") + "}"; };  // JSON, which is YAML as well
  EXPECT_EQ(as_json(as_object(kMost)), as_object(kMost));
  EXPECT_NE(as_json(as_object(kMost + 1)).find("exceeded max depth"), std::string::npos);
  EXPECT_NE(as_json(R"({"a":1,"b":{"c":1,"c":2}})").find("key \"b.c\" already set in map"), std::string::npos);
  EXPECT_EQ(as_json("{a: 1, b: [x, 'y']}"), R"({"a":1,"b":["x","y"]})");  // flow style that is no JSON
  // Whatever the parser's own limit is, it is an error and no crash, in every way of nesting.
  for (size_t depth : {kMost + 1, size_t{3000}, size_t{300'000}}) {
    EXPECT_EQ(as_json(nested(depth, "[", "]")).find("[["), std::string::npos) << depth;
    EXPECT_FALSE(parse_yaml("a: " + nested(depth, "[", "]")).ok()) << depth;
    EXPECT_FALSE(parse_yaml("a: " + nested(depth, "{b: ", "}")).ok()) << depth;
    EXPECT_FALSE(parse_yaml(nested(depth, "- ", "")).ok()) << depth;
    EXPECT_FALSE(parse_yaml(nested(depth, "? ", "")).ok()) << depth;
    EXPECT_FALSE(parse_kubeconfig("users: " + nested(depth, "[", "]"), ".").ok()) << depth;
  }
  EXPECT_FALSE(parse_yaml("a: &a [*a]\n").ok());
}
TEST(Base64, RoundTrips) {
  for (std::string text : {std::string(), std::string("a"), std::string("ab"), std::string("\0\xff\n", 3)})
    EXPECT_EQ(base64_decode(base64_encode(text)), text);
  EXPECT_EQ(base64_encode("hello"), "aGVsbG8=");
  EXPECT_EQ(base64_decode("aGVs\nbG8="), "hello");
  for (const char* bad : {"a", "aGVsbG8", "aGVsbG8=x", "a===", "a b=", "aGV$bG8="}) EXPECT_FALSE(base64_decode(bad)) << bad;
}

}  // namespace
}  // namespace api
