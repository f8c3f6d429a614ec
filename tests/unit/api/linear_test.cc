// What a client sends is worked on in time that grows with its size: each case is as large as a body may
// be, takes well under a second even without optimisation, and minutes where a step costs the square.
#include <gtest/gtest.h>

#include <ctime>
#include <functional>

#include "api/custom/custom.h"
#include "api/patch/field_set.h"
#include "api/patch/patch.h"
#include "api/structural.h"
#include "api/validate/validate.h"
#include "api/walk.h"
#include "api/yaml.h"

namespace api {
namespace {

constexpr double kSeconds = 8;  // of this thread's CPU: other work on the machine does not count

class Linear : public ::testing::Test {
 protected:
  void SetUp() override { began_ = cpu(); }
  void TearDown() override { EXPECT_LT(cpu() - began_, kSeconds); }
  // What comes before it is no part of the case.
  void begin() { began_ = cpu(); }

 private:
  static double cpu() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
  }
  double began_ = 0;
};

const Type& kind(const char* gvk) { return *find_kind(gvk); }
json::object members(size_t count, const json::value& value) {
  json::object out;
  for (size_t i = 0; i < count; ++i) out.emplace("x" + std::to_string(i), value);
  return out;
}

TEST_F(Linear, UnknownFieldsAndNullsOfABuiltInKind) {
  for (const json::value& value : {json::value(nullptr), json::value(1)}) {
    json::value object{{"kind", "Pod"}, {"spec", members(200'000, value)}};
    std::vector<std::string> unknown;
    prune(kind("v1/Pod"), object, &unknown);
    EXPECT_TRUE(object.at("spec").get_object().empty());
    EXPECT_EQ(unknown.size(), 100u);
    EXPECT_EQ(unknown[0], "spec.x0");
  }
}

TEST_F(Linear, PathsOfUnknownFieldsBelowALongKey) {
  auto compiled = compile_structural(
      base::parse_json(
          R"({"type":"object","additionalProperties":{"type":"object","properties":{"a":{"type":"string"}}}})")
          .value());
  ASSERT_TRUE(compiled.ok());
  json::value object{{std::string(1 << 20, 'k'), members(100'000, 1)}, {"b", members(10, 1)}};
  std::vector<std::string> unknown;
  prune_structural(*compiled, object, &unknown);
  EXPECT_EQ(unknown.size(), 10u);
  // And of values that are wrong.
  json::array wrong(100'000, json::value(1));
  auto lists = compile_structural(
      base::parse_json(
          R"({"type":"object","additionalProperties":{"type":"array","items":{"type":"string"}}})")
          .value());
  ASSERT_TRUE(lists.ok());
  json::value listed{{std::string(1 << 18, 'k'), wrong}};
  FieldErrors errors = validate_structural(*lists, listed, "");
  EXPECT_FALSE(errors.empty());
  EXPECT_LT(errors.size(), 10u);
}

TEST_F(Linear, SetsAndMapsOfACustomKind) {
  auto compiled = compile_structural(base::parse_json(R"({"type":"object","properties":{
    "s":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"integer"}},
    "m":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","properties":{"k":{"type":"integer"}}}}}})")
                                         .value());
  ASSERT_TRUE(compiled.ok());
  json::array set, map;
  for (int i = 0; i < 100'000; ++i) {
    set.push_back(i);
    map.push_back(json::object{{"k", i}});
  }
  json::value object{{"s", std::move(set)}, {"m", std::move(map)}};
  EXPECT_TRUE(validate_structural(*compiled, object, "").empty());
}

TEST_F(Linear, MergePatches) {
  json::value document{{"data", members(200'000, "v")}, {"kept", 1}},
      patch{{"data", members(200'000, nullptr)}};
  json::value merged = merge_patch(document, patch);
  EXPECT_EQ(base::to_json(merged), R"({"data":{},"kept":1})");
  auto strategic = strategic_merge_patch(kind("v1/ConfigMap"), document, patch);
  ASSERT_TRUE(strategic.ok());
  EXPECT_TRUE(strategic->at("data").get_object().empty());
}

json::array variables(size_t from, size_t to, const char* directive = nullptr) {
  json::array out;
  for (size_t i = from; i < to; ++i) {
    json::object one{{"name", "n" + std::to_string(i)}};
    if (directive) one["$patch"] = directive;
    out.push_back(std::move(one));
  }
  return out;
}
json::value pod(json::array env) {
  return {{"kind", "Pod"},
          {"spec", {{"containers", json::array{json::object{{"name", "c"}, {"env", std::move(env)}}}}}}};
}
size_t env_size(const json::value& pod) {
  return pod.at("spec").at("containers").at(0).at("env").get_array().size();
}

TEST_F(Linear, StrategicPatchesOfKeyedLists) {
  json::value live = pod(variables(0, 30'000));
  auto added = strategic_merge_patch(kind("v1/Pod"), live, pod(variables(15'000, 60'000)));
  ASSERT_TRUE(added.ok());
  EXPECT_EQ(env_size(*added), 60'000u);
  auto removed = strategic_merge_patch(kind("v1/Pod"), live, pod(variables(10'000, 40'000, "delete")));
  ASSERT_TRUE(removed.ok());
  EXPECT_EQ(env_size(*removed), 10'000u);
  json::array order = variables(0, 30'000);
  std::reverse(order.begin(), order.end());
  json::value ordered = pod({});
  ordered.at("spec").at("containers").at(0).as_object() = {{"name", "c"}, {"$setElementOrder/env", order}};
  auto turned = strategic_merge_patch(kind("v1/Pod"), live, ordered);
  ASSERT_TRUE(turned.ok()) << turned.error().message();
  EXPECT_EQ(base::string_at(turned->at("spec").at("containers").at(0).at("env").at(0), "name"), "n29999");
}

TEST_F(Linear, StrategicPatchesOfPlainListsAndRetainedKeys) {
  json::array live, more;
  for (int i = 0; i < 40'000; ++i) live.push_back(json::value("f" + std::to_string(i)));
  for (int i = 20'000; i < 60'000; ++i) more.push_back(json::value("f" + std::to_string(i)));
  json::value object{{"metadata", {{"finalizers", live}}}};
  auto added = strategic_merge_patch(kind("v1/Pod"), object, {{"metadata", {{"finalizers", more}}}});
  ASSERT_TRUE(added.ok());
  EXPECT_EQ(added->at("metadata").at("finalizers").get_array().size(), 60'000u);
  auto removed = strategic_merge_patch(kind("v1/Pod"), object,
                                       {{"metadata", {{"$deleteFromPrimitiveList/finalizers", more}}}});
  ASSERT_TRUE(removed.ok());
  EXPECT_EQ(removed->at("metadata").at("finalizers").get_array().size(), 20'000u);
  json::array keys{"x0"};
  for (int i = 0; i < 40'000; ++i) keys.push_back(json::value("r" + std::to_string(i)));
  auto retained = strategic_merge_patch(kind("v1/ConfigMap"), {{"data", members(40'000, "v")}},
                                        {{"data", {{"$retainKeys", keys}}}});
  ASSERT_TRUE(retained.ok());
  EXPECT_EQ(retained->at("data").get_object().size(), 1u);
}

json::value operations(size_t count, const char* op, const std::function<std::string(size_t)>& path,
                       const json::value& value = nullptr) {
  json::array out;
  for (size_t i = 0; i < count; ++i) {
    json::object one{{"op", op}, {"path", path(i)}};
    if (!value.is_null()) one["value"] = value;
    out.push_back(std::move(one));
  }
  return out;
}

TEST_F(Linear, JsonPatches) {
  json::value object{{"data", members(200'000, "v")}};
  auto removed = json_patch(object, operations(kMaxJsonPatchOperations, "remove",
                                               [](size_t i) { return "/data/x" + std::to_string(i); }));
  ASSERT_TRUE(removed.ok());
  EXPECT_EQ(removed->at("data").get_object().size(), 190'000u);
  json::value list{{"l", json::array(2'000, json::value(1))}};
  auto added = json_patch(list, operations(
                                    kMaxJsonPatchOperations / 2, "add", [](size_t) { return "/l/0"; }, 1));
  ASSERT_TRUE(added.ok());
  EXPECT_EQ(added->at("l").get_array().size(), 7'000u);
  // What would move a hundred thousand items ten thousand times is refused.
  json::value wide{{"l", json::array(300'000, json::value(1))}};
  auto many = json_patch(wide, operations(kMaxJsonPatchOperations, "remove", [](size_t) { return "/l/0"; }));
  ASSERT_FALSE(many.ok());
  EXPECT_NE(many.error().reason.find("move more than"), std::string::npos);
  // A large value moves to and fro without being copied.
  json::array moves;
  for (size_t i = 0; i < kMaxJsonPatchOperations; ++i)
    moves.push_back(
        json::object{{"op", "move"}, {"from", i % 2 ? "/b" : "/data"}, {"path", i % 2 ? "/data" : "/b"}});
  auto moved = json_patch(object, moves);
  ASSERT_TRUE(moved.ok());
  EXPECT_TRUE(*moved == object);
}

FieldManager manager(const std::string& name) { return {name, "v1", "", base::Time()}; }

TEST_F(Linear, AppliedLists) {
  json::value manifest = pod(variables(0, 20'000));
  manifest.as_object()["apiVersion"] = "v1";
  auto first = apply_patch(kind("v1/Pod"), nullptr, manifest, manager("a"), false);
  ASSERT_TRUE(first.ok());
  json::value fewer = pod(variables(19'990, 30'000));
  fewer.as_object()["apiVersion"] = "v1";
  auto second = apply_patch(kind("v1/Pod"), first->object, fewer, manager("a"), false);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(env_size(second->object), 10'010u);
  auto twice = variables(0, 20'000);
  twice.push_back(json::object{{"name", "n7"}});
  auto refused = apply_patch(kind("v1/Pod"), nullptr, pod(twice), manager("a"), false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason,
            ".spec.containers[name=\"c\"].env: duplicate entries for key [name=\"n7\"]");
}

TEST_F(Linear, ListsBelowALongKey) {
  json::array ports;
  for (int i = 1; i < 20'000; ++i) ports.push_back(json::object{{"containerPort", i}, {"protocol", "TCP"}});
  json::value manifest{
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"spec",
       {{"containers", json::array{json::object{{"name", std::string(1 << 20, 'n')}, {"ports", ports}}}}}}};
  EXPECT_TRUE(apply_patch(kind("v1/Pod"), nullptr, manifest, manager("a"), false).ok());
}

TEST_F(Linear, FieldsOfManyManagers) {
  json::value before{{"kind", "ConfigMap"}, {"metadata", {{"name", "a"}}}, {"data", members(20'000, "v")}};
  json::array managed;
  for (int i = 0; i < 20'000; ++i)
    managed.push_back(
        json::object{{"manager", "m" + std::to_string(i)},
                     {"operation", "Apply"},
                     {"apiVersion", "v1"},
                     {"fieldsV1", {{"f:data", {{"f:x" + std::to_string(i), json::object()}}}}}});
  json::value after = before;
  after.at("data") = members(20'000, "w");
  after.at("metadata").as_object()["managedFields"] = managed;
  begin();
  track_update(kind("v1/ConfigMap"), before, after, manager("u"));
  EXPECT_EQ(after.at("metadata").at("managedFields").get_array().size(), 1u);
}

TEST_F(Linear, Yaml) {
  std::string lists = "[";
  for (int i = 0; i < 300'000; ++i) lists += "[],";
  auto parsed = parse_yaml(lists + "]");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed->at(0).get_array().size(), 300'000u);
  std::string quotes = "a: '";
  for (int i = 0; i < 700'000; ++i) quotes += "''";
  parsed = parse_yaml(quotes + "'\n");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(base::string_at(parsed->at(0), "a").size(), 700'000u);
  std::string directives;
  for (int i = 0; i < 200'000; ++i) directives += "%TAG !" + std::to_string(i) + "! x\n";
  EXPECT_FALSE(parse_yaml(directives + "--- a\n").ok());
  std::string keys;
  for (int i = 0; i < 100'000; ++i) keys += "k" + std::to_string(i) + ": &a" + std::to_string(i) + " v\n";
  EXPECT_TRUE(parse_yaml(keys).ok());
}

}  // namespace
}  // namespace api
