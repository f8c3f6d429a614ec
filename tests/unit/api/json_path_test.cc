#include "api/json_path.h"

#include <gtest/gtest.h>

namespace api {
namespace {

namespace json = base::json;

std::string found(std::string_view path, const char* object) {
  auto parsed = JsonPath::parse(path);
  if (!parsed.ok()) return "error: " + parsed.error().reason;
  json::value root = base::parse_json(object).value();
  std::string out;
  for (const json::value* value : parsed->find(root)) out += (out.empty() ? "" : " ") + base::to_json(*value);
  return out;
}

constexpr char kObject[] =
    R"({"spec":{"a":1,"b.c":2,"list":[{"name":"x","n":1},{"name":"y","n":2},{"name":"z"}]},
  "status":{"conditions":[{"type":"Ready","status":"True"},{"type":"Other","status":"False"}]}})";

TEST(JsonPath, FollowsNamesIndicesAndFilters) {
  EXPECT_EQ(found(".spec.a", kObject), "1");
  EXPECT_EQ(found("{.spec.a}", kObject), "1");
  EXPECT_EQ(found("$.spec.a", kObject), "1");
  EXPECT_EQ(found(".spec['b.c']", kObject), "2");
  EXPECT_EQ(found(".spec.b\\.c", kObject), "2");
  EXPECT_EQ(found(".spec.list[0].name", kObject), "\"x\"");
  EXPECT_EQ(found(".spec.list[-1].name", kObject), "\"z\"");
  EXPECT_EQ(found(".spec.list[0:2].name", kObject), "\"x\" \"y\"");
  EXPECT_EQ(found(".spec.list[*].n", kObject), "1 2");
  EXPECT_EQ(found(".status.conditions[?(@.type==\"Ready\")].status", kObject), "\"True\"");
  EXPECT_EQ(found(".status.conditions[?(@.type=='Other')].status", kObject), "\"False\"");
  EXPECT_EQ(found(".spec.list[?(@.n>1)].name", kObject), "\"y\"");
  EXPECT_EQ(found(".spec.list[?(@.n)].name", kObject), "\"x\" \"y\"");
  EXPECT_EQ(found("..name", kObject), "\"x\" \"y\" \"z\"");
  EXPECT_EQ(found(".spec.absent.deeper", kObject), "");
  EXPECT_EQ(found(".spec.a.deeper", kObject), "");
}

TEST(JsonPath, RefusesWhatItCannotFollow) {
  for (const char* bad : {"spec", ".a[", ".a[b]", ".a[?(b)]", ".a[?(@.b==c)]", ".a..b..c"})
    EXPECT_TRUE(found(bad, "{}").starts_with("error: ")) << bad;
  EXPECT_TRUE(found("." + std::string(2000, 'a'), "{}").starts_with("error: "));
}

TEST(JsonPath, TellsPlainPaths) {
  EXPECT_EQ(JsonPath::parse(".spec.replicas")->plain_names(), (std::vector<std::string>{"spec", "replicas"}));
  EXPECT_TRUE(JsonPath::parse(".spec.list[0]")->plain_names().empty());
}

}  // namespace
}  // namespace api
