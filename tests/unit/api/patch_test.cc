#include "api/patch/patch.h"

#include <gtest/gtest.h>

#include "base/json_limits.h"

#include <random>

#include "api/types.h"
#include "api/walk.h"

namespace api {
namespace {

json::value j(std::string_view text) {
  auto value = base::parse_json(text);
  EXPECT_TRUE(value.ok()) << text;
  return value.ok() ? *value : json::value();
}
std::string jp(std::string_view document, std::string_view patch) {
  auto operations = base::parse_json_carrier(patch);  // they carry values as deep as an object's
  EXPECT_TRUE(operations.ok()) << patch;
  auto out = json_patch(j(document), operations.ok() ? *operations : json::value());
  return out.ok() ? base::to_json(*out)
                  : std::string(base::kind_name(out.error().kind)) + " " + out.error().reason;
}

TEST(JsonPatch, Operations) {
  EXPECT_EQ(
      jp(R"({"a":[1,2]})", R"([{"op":"add","path":"/a/1","value":9},{"op":"add","path":"/a/-","value":3}])"),
      R"({"a":[1,9,2,3]})");
  EXPECT_EQ(jp(R"({"a":{"b/c":1,"d~":2}})",
               R"([{"op":"remove","path":"/a/b~1c"},{"op":"replace","path":"/a/d~0","value":5}])"),
            R"({"a":{"d~":5}})");
  EXPECT_EQ(jp(R"({"a":{"b":1},"c":{}})",
               R"([{"op":"move","from":"/a/b","path":"/c/x"},{"op":"copy","from":"/c","path":"/d"}])"),
            R"({"a":{},"c":{"x":1},"d":{"x":1}})");
  EXPECT_EQ(
      jp(R"({"a":1})", R"([{"op":"test","path":"/a","value":1},{"op":"add","path":"","value":{"z":0}}])"),
      R"({"z":0})");
}
TEST(JsonPatch, Refusals) {
  EXPECT_EQ(jp(R"({"a":1})", R"([{"op":"test","path":"/a","value":2}])"), "conflict testing value /a failed");
  EXPECT_EQ(jp(R"({})", R"([{"op":"remove","path":"/a"}])"), "conflict path \"/a\" does not exist");
  EXPECT_EQ(jp(R"({"a":[1]})", R"([{"op":"add","path":"/a/2","value":1}])"),
            "conflict path \"/a/2\" does not exist");
  EXPECT_EQ(jp(R"({})", R"([{"op":"frob","path":"/a"}])"), "conflict unknown op \"frob\"");
  EXPECT_EQ(jp(R"({})", R"({"op":"add"})"), "invalid a JSON patch is a list of operations");
  EXPECT_EQ(jp(R"({})", R"([{"op":"add","path":"a","value":1}])"),
            "invalid path \"a\" does not start with '/'");
  EXPECT_EQ(jp(R"({"a":{"b":{}}})", R"([{"op":"move","from":"/a","path":"/a/b/c"}])"),
            "conflict a value cannot move into itself");
  json::array many(kMaxJsonPatchOperations + 1, j(R"({"op":"add","path":"/a","value":1})"));
  EXPECT_NE(json_patch(json::object(), many).error().reason.find("maximum operations"), std::string::npos);
  json::array doubling{
      j(R"({"op":"add","path":"/a","value":{"x":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}})")};
  for (int i = 0; i < 40; ++i)
    doubling.push_back(j(R"({"op":"copy","from":"","path":"/a)" + std::to_string(i) + R"("})"));
  EXPECT_NE(json_patch(json::object(), doubling).error().reason.find("16 MiB"), std::string::npos);
}

TEST(JsonPatch, StopsWhereResultsNestTooDeep) {
  auto nested = [](size_t depth) {
    std::string out = "{}";
    for (size_t i = 1; i < depth; ++i) out = R"({"a":)" + out + "}";
    return out;
  };
  constexpr size_t kMost = base::kMaxJsonDepth;
  auto document = [&](size_t depth) { return R"({"x":)" + nested(depth) + R"(,"y":{}})"; };
  auto put = [&](const char* op, const char* path, size_t depth) {
    return jp(document(1), R"([{"op":")" + std::string(op) + R"(","path":")" + path + R"(","value":)" +
                               nested(depth) + "}]");
  };
  for (const char* op : {"add", "replace"}) {
    EXPECT_TRUE(put(op, "/x", kMost - 1).starts_with("{")) << op;
    EXPECT_EQ(put(op, "/x", kMost), "conflict exceeded max depth") << op;
  }
  EXPECT_TRUE(jp(document(kMost - 2), R"([{"op":"copy","from":"/x","path":"/y/b"}])").starts_with("{"));
  EXPECT_EQ(jp(document(kMost - 1), R"([{"op":"copy","from":"/x","path":"/y/b"}])"),
            "conflict exceeded max depth");
  EXPECT_TRUE(jp(document(kMost - 2), R"([{"op":"move","from":"/x","path":"/y/b"}])").starts_with("{"));
  EXPECT_EQ(jp(document(kMost - 1), R"([{"op":"move","from":"/x","path":"/y/b"}])"),
            "conflict exceeded max depth");
  // Each step adds a level.
  json::array doubling;
  for (int i = 0; i < 200; ++i) doubling.push_back(j(R"({"op":"copy","from":"/x","path":"/x/a"})"));
  EXPECT_EQ(json_patch(j(document(2)), doubling).error().reason, "exceeded max depth");
}

TEST(MergePatch, Rfc7386Examples) {
  const char* cases[][3] = {{R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
                            {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
                            {R"({"a":"b"})", R"({"a":null})", R"({})"},
                            {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
                            {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
                            {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
                            {R"(["a"])", R"({"a":1})", R"({"a":1})"},
                            {R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
                            {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"}};
  for (auto& c : cases) EXPECT_EQ(merge_patch(j(c[0]), j(c[1])), j(c[2])) << c[0] << c[1];
}

// Documents without nulls: a merge patch cannot say null.
json::value random_value(std::mt19937_64& random, int depth) {
  switch (random() % (depth > 0 ? 5 : 3)) {
    case 0: return static_cast<int64_t>(random() % 5);
    case 1: return json::value(std::string(1, static_cast<char>('a' + random() % 4)));
    case 2: return random() % 2 == 0;
    case 3: {
      json::array out;
      for (size_t n = random() % 4; n; --n) out.push_back(random_value(random, depth - 1));
      return out;
    }
    default: {
      json::object out;
      for (size_t n = random() % 5; n; --n)
        out[std::string(1, static_cast<char>('k' + random() % 5))] = random_value(random, depth - 1);
      return out;
    }
  }
}
TEST(MergePatch, DiffThenPatchRoundTrips) {
  uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  for (int i = 0; i < 3000; ++i) {
    json::value a = json::object{{"x", random_value(random, 3)}, {"y", random_value(random, 3)}};
    json::value b = json::object{{"x", random_value(random, 3)}, {"z", random_value(random, 3)}};
    ASSERT_EQ(merge_patch(a, diff_merge_patch(a, b)), b) << "seed " << seed << "\n" << a << "\n" << b;
    ASSERT_EQ(diff_merge_patch(a, a), json::object()) << "seed " << seed;
  }
}

std::string smp(const char* kind, std::string_view document, std::string_view patch) {
  auto out = strategic_merge_patch(*find_kind(kind), j(document), j(patch));
  return out.ok() ? base::to_json(*out) : out.error().reason;
}
TEST(StrategicMerge, ListsMergeByKey) {
  EXPECT_EQ(smp("v1/Pod", R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"}]}})",
                R"({"spec":{"containers":[{"name":"b","image":"3"},{"name":"c"}]}})"),
            R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"3"},{"name":"c"}]}})");
  EXPECT_EQ(smp("v1/Pod", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                R"({"spec":{"containers":[{"name":"a","$patch":"delete"}]}})"),
            R"({"spec":{"containers":[{"name":"b"}]}})");
  EXPECT_EQ(smp("v1/Pod", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                R"({"spec":{"containers":[{"name":"z"},{"$patch":"replace"}]}})"),
            R"({"spec":{"containers":[{"name":"z"}]}})");
  EXPECT_EQ(
      smp("v1/Pod", R"({"spec":{"tolerations":[{"key":"a"}]}})", R"({"spec":{"tolerations":[{"key":"b"}]}})"),
      R"({"spec":{"tolerations":[{"key":"b"}]}})")
      << "a list without a merge key is replaced";
  EXPECT_EQ(smp("v1/Pod", R"({})", R"({"spec":{"containers":[{"image":"x"}]}})"),
            R"(field containers: map: {"image":"x"} does not contain declared merge key: name)");
}
TEST(StrategicMerge, OrderDirective) {
  EXPECT_EQ(
      smp("v1/Pod", R"({"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]}})",
          R"({"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"a"},{"name":"n"}],"containers":[{"name":"n","image":"i"}]}})"),
      R"({"spec":{"containers":[{"name":"b"},{"name":"c"},{"name":"a"},{"name":"n","image":"i"}]}})");
  EXPECT_EQ(smp("v1/Pod", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}})"),
            R"({"spec":{"containers":[{"name":"b"},{"name":"a"}]}})");
}
TEST(StrategicMerge, PrimitiveLists) {
  EXPECT_EQ(
      smp("v1/Pod", R"({"metadata":{"finalizers":["a","b"]}})", R"({"metadata":{"finalizers":["c","a"]}})"),
      R"({"metadata":{"finalizers":["b","c","a"]}})");
  EXPECT_EQ(
      smp("v1/Pod", R"({"metadata":{"finalizers":["a","b","c"]}})",
          R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["b"],"$setElementOrder/finalizers":["a","c"]}})"),
      R"({"metadata":{"finalizers":["a","c"]}})");
}
TEST(StrategicMerge, ObjectDirectives) {
  EXPECT_EQ(smp("apps/v1/Deployment",
                R"({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}})",
                R"({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}})"),
            R"({"spec":{"strategy":{"type":"Recreate"}}})");
  EXPECT_EQ(
      smp("v1/Pod", R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}]}})",
          R"({"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}})"),
      R"({"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}})");
  EXPECT_EQ(smp("v1/Pod", R"({"spec":{"securityContext":{"runAsUser":1}}})",
                R"({"spec":{"securityContext":{"$patch":"replace","fsGroup":2}}})"),
            R"({"spec":{"securityContext":{"fsGroup":2}}})");
  EXPECT_EQ(smp("v1/Pod", R"({"metadata":{"labels":{"a":"1","b":"2"}}})",
                R"({"metadata":{"labels":{"a":null,"c":"3"},"annotations":{"x":null}}})"),
            R"({"metadata":{"labels":{"b":"2","c":"3"},"annotations":{}}})");
  EXPECT_EQ(smp("v1/Pod", "{}", R"({"$patch":"frob"})"), R"(unknown directive $patch: "frob")");
}

}  // namespace
}  // namespace api
