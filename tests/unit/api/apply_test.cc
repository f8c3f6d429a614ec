#include <gtest/gtest.h>

#include <random>

#include "api/patch/patch.h"
#include "api/walk.h"

namespace api {
namespace {

json::value j(std::string_view text) {
  auto value = base::parse_json(text);
  EXPECT_TRUE(value.ok()) << text;
  return value.ok() ? *value : json::value();
}
const Type& kDeployment = *find_kind("apps/v1/Deployment");
const base::Time kNow = *base::parse_time("2026-01-02T12:00:00Z");
FieldManager who(const char* name) { return {name, "apps/v1", "", kNow}; }

json::value must_apply(const json::value& live, std::string_view text, const char* manager,
                       bool force = false) {
  auto out = apply_patch(kDeployment, live, j(text), who(manager), force);
  EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message());
  if (!out.ok()) return nullptr;
  for (const auto& c : out->conflicts) ADD_FAILURE() << c.manager << " " << c.field;
  return out->object;
}
std::string fields(const json::value& object, size_t i) {
  return base::to_json(object.at("metadata").at("managedFields").at(i).at("fieldsV1"));
}
std::string without_managers(json::value object) {
  object.get_object()["metadata"].get_object().erase("managedFields");
  return base::to_json(object);
}

constexpr const char* kFirst =
    R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"a":"1","b":"2"}},
  "spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"c","image":"i:1","ports":[{"containerPort":80}]},{"name":"s","image":"t"}]}}}})";

TEST(Apply, CreateRecordsWhoOwnsWhat) {
  json::value d = must_apply(nullptr, kFirst, "kubectl");
  const json::value& row = d.at("metadata").at("managedFields").at(0);
  EXPECT_EQ(base::string_at(row, "manager"), "kubectl");
  EXPECT_EQ(base::string_at(row, "operation"), "Apply");
  EXPECT_EQ(base::string_at(row, "time"), "2026-01-02T12:00:00Z");
  EXPECT_EQ(
      base::parse_json(fields(d, 0)).value(),
      j(R"({"f:metadata":{"f:labels":{"f:a":{},"f:b":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{
              "k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:image":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}},
              "k:{\"name\":\"s\"}":{".":{},"f:name":{},"f:image":{}}}}}}})"));
}
TEST(Apply, LeavingSomethingOutRemovesIt) {
  json::value d = must_apply(nullptr, kFirst, "kubectl");
  d.get_object()["spec"].get_object()["paused"] = true;  // nobody's: stays
  d = must_apply(d, R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"a":"9"}},
    "spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:2"}]}}}})",
                 "kubectl");
  EXPECT_EQ(without_managers(d),
            base::to_json(
                j(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"a":"9"}},
    "spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:2"}]}},"paused":true}})")));
}
TEST(Apply, ConflictsAndForce) {
  json::value d = must_apply(nullptr, kFirst, "kubectl");
  json::value scaled = d;
  scaled.get_object()["spec"].get_object()["replicas"] = 5;
  track_update(kDeployment, d, scaled, who("kubectl-scale"));
  EXPECT_EQ(fields(scaled, 1), R"({"f:spec":{"f:replicas":{}}})");
  EXPECT_EQ(fields(scaled, 0).find("replicas"), std::string::npos) << "an update takes the field over";
  auto out = apply_patch(kDeployment, scaled, j(kFirst), who("kubectl"), false);
  ASSERT_TRUE(out.ok());
  ASSERT_EQ(out->conflicts.size(), 1u);
  EXPECT_EQ(out->conflicts[0].manager, "\"kubectl-scale\" using apps/v1 at 2026-01-02T12:00:00Z");
  EXPECT_EQ(out->conflicts[0].field, ".spec.replicas");
  json::value forced = must_apply(scaled, kFirst, "kubectl", true);
  EXPECT_EQ(base::as_int(base::find_path(forced, "spec", "replicas")), 3);
  EXPECT_EQ(forced.at("metadata").at("managedFields").get_array().size(), 1u)
      << "a manager without fields goes";
  // The same value is no conflict: both own it, and it stays when one lets go.
  json::value shared = must_apply(forced, R"({"metadata":{"name":"d"},"spec":{"replicas":3}})", "other");
  shared = must_apply(shared, R"({"metadata":{"name":"d"},"spec":{}})", "other");
  EXPECT_EQ(base::as_int(base::find_path(shared, "spec", "replicas")), 3);
}
TEST(Apply, ListItemsOfOthersStay) {
  json::value d = must_apply(nullptr, kFirst, "kubectl");
  d = must_apply(
      d,
      R"({"metadata":{"name":"d"},"spec":{"template":{"spec":{"containers":[{"name":"x","image":"x"},{"name":"s","args":["y"]}]}}}})",
      "sidecar");
  d = must_apply(
      d,
      R"({"metadata":{"name":"d"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:1"}]}}}})",
      "kubectl");
  EXPECT_EQ(base::to_json(d.at("spec").at("template").at("spec").at("containers")),
            R"([{"name":"c","image":"i:1"},{"name":"x","image":"x"},{"name":"s","args":["y"]}])");
}
TEST(Apply, Refusals) {
  EXPECT_FALSE(apply_patch(kDeployment, nullptr, j("[]"), who("a"), false).ok());
  EXPECT_FALSE(apply_patch(kDeployment, nullptr, j("{}"), who(""), false).ok());
  EXPECT_FALSE(
      apply_patch(kDeployment, nullptr, j(R"({"metadata":{"managedFields":[{}]}})"), who("a"), false).ok());
}
TEST(Apply, UpdatesForgetWhatIsGone) {
  json::value d = must_apply(nullptr, kFirst, "kubectl");
  json::value after = d;
  after.get_object()["metadata"].get_object()["labels"] = json::object{{"a", "1"}};
  track_update(kDeployment, d, after, who("edit"));
  EXPECT_EQ(fields(after, 0).find("f:b"), std::string::npos);
  EXPECT_EQ(after.at("metadata").at("managedFields").get_array().size(), 1u) << "removing owns nothing";
  json::value same = after;
  track_update(kDeployment, after, same, who("edit"));
  EXPECT_EQ(same, after);
}
TEST(Apply, AWriteOwnsInItsPartOnly) {
  json::value d = must_apply(nullptr, kFirst, "kubectl"), after = d;
  after.get_object()["spec"].get_object()["replicas"] = 9;
  after.get_object()["status"] = json::object{{"replicas", 1}};
  for (auto [part, owned] :
       {std::pair{Part::kStatus, R"({"f:status":{"f:replicas":{}}})"},
        std::pair{Part::kAllButStatus, R"({"f:spec":{"f:replicas":{}}})"},
        std::pair{Part::kAll, R"({"f:spec":{"f:replicas":{}},"f:status":{"f:replicas":{}}})"}}) {
    json::value written = after;
    track_update(kDeployment, d, written, who("controller"), part);
    EXPECT_EQ(base::parse_json(fields(written, 1)).value(), j(owned));
  }
}
// What one manager applies is there, whatever was there before, and applying again changes nothing.
TEST(Apply, IsIdempotent) {
  uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  auto manifest = [&] {
    json::object labels, spec;
    for (const char* key : {"a", "b", "c"})
      if (random() % 2) labels[key] = std::to_string(random() % 3);
    if (random() % 2) spec["replicas"] = static_cast<int64_t>(random() % 4);
    json::array containers;
    for (const char* name : {"x", "y", "z"})
      if (random() % 2) {
        json::object container{{"name", name}, {"image", std::to_string(random() % 3)}};
        if (random() % 2) container["args"] = json::array{std::to_string(random() % 3)};
        containers.push_back(std::move(container));
      }
    spec["template"] = json::object{{"spec", json::object{{"containers", std::move(containers)}}}};
    return json::value(json::object{{"metadata", json::object{{"name", "d"}, {"labels", std::move(labels)}}},
                                    {"spec", std::move(spec)}});
  };
  json::value live = nullptr;
  for (int i = 0; i < 300; ++i) {
    FieldManager manager = who(random() % 2 ? "one" : "two");
    json::value wanted = manifest();
    auto first = apply_patch(kDeployment, live, wanted, manager, true);
    ASSERT_TRUE(first.ok()) << "seed " << seed;
    auto second = apply_patch(kDeployment, first->object, wanted, manager, false);
    ASSERT_TRUE(second.ok()) << "seed " << seed;
    ASSERT_TRUE(second->conflicts.empty()) << conflict_text(second->conflicts) << "\n"
                                           << base::to_json(live) << "\n"
                                           << base::to_json(wanted) << "\nseed " << seed;
    ASSERT_EQ(first->object, second->object) << "seed " << seed;
    if (const json::value* value = base::find_path(wanted, "spec", "replicas")) {
      ASSERT_EQ(*base::find_path(first->object, "spec", "replicas"), *value) << "seed " << seed;
    }
    live = first->object;
  }
}

}  // namespace
}  // namespace api
