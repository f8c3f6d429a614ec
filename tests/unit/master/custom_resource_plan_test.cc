#include "master/extensions/custom_resource_plan.h"

#include "master/registry/custom_strategy.h"

#include <gtest/gtest.h>

namespace master {
namespace {

namespace json = base::json;

const base::Time kNow = *base::parse_time("2024-01-01T00:00:00Z");

json::value definition(std::string_view status = "{}", std::string_view metadata = "{}") {
  return base::parse_json(R"({"metadata":)" + std::string(metadata) +
                          R"(,"spec":{"group":"a.io","names":{"plural":"foos","singular":"foo",
      "kind":"Foo","listKind":"FooList","shortNames":["f"]},"versions":[{"name":"v1","storage":true}]},"status":)" +
                          std::string(status) + "}")
      .value();
}
std::string conditions(const json::value& status) {
  std::string out;
  for (const json::value& one : status.at("conditions").get_array())
    out += (out.empty() ? "" : ", ") + std::string(base::string_at(one, "type")) + "=" +
           std::string(base::string_at(one, "status")) + " " + std::string(base::string_at(one, "reason"));
  return out;
}

TEST(CustomResourcePlan, AcceptsFreeNamesAndRests) {
  DefinitionPlan plan = plan_definition(definition(), {}, false, kNow);
  EXPECT_EQ(plan.text(), "serve, write status");
  EXPECT_EQ(conditions(plan.status), "NamesAccepted=True NoConflicts, Established=True InitialNamesAccepted");
  EXPECT_EQ(base::to_json(plan.status.at("acceptedNames")),
            R"({"plural":"foos","singular":"foo","shortNames":["f"],"kind":"Foo","listKind":"FooList"})");
  // Written, it is what it should be, also later.
  EXPECT_EQ(
      plan_definition(definition(base::to_json(plan.status)), {}, false, kNow + std::chrono::hours(1)).text(),
      "serve");
}

TEST(CustomResourcePlan, WaitsForTakenNames) {
  TakenNames others;
  others.add(base::parse_json(R"({"plural":"foos","kind":"Foo"})").value());
  DefinitionPlan plan = plan_definition(definition(), others, false, kNow);
  EXPECT_EQ(plan.text(), "wait, write status");
  EXPECT_EQ(conditions(plan.status), "NamesAccepted=False KindConflict, Established=False NotAccepted");
  TakenNames short_name;
  short_name.add(base::parse_json(R"({"plural":"bars","shortNames":["f"]})").value());
  plan = plan_definition(definition(), short_name, false, kNow);
  EXPECT_EQ(conditions(plan.status), "NamesAccepted=False ShortNamesConflict, Established=False NotAccepted");
  EXPECT_EQ(base::string_at(plan.status.at("conditions").at(0), "message"), "\"f\" is already in use");
  // What is established stays, whoever else asks for the name now.
  DefinitionPlan accepted = plan_definition(definition(), {}, false, kNow);
  EXPECT_EQ(plan_definition(definition(base::to_json(accepted.status)), others, false, kNow).text(), "serve");
}

TEST(CustomResourcePlan, DeletionWaitsForTheInstances) {
  DefinitionPlan accepted = plan_definition(definition(), {}, false, kNow);
  std::string_view going =
      R"({"deletionTimestamp":"2024-01-01T00:00:00Z","finalizers":["customresourcecleanup.apiextensions.k8s.io"]})";
  DefinitionPlan first = plan_definition(definition(base::to_json(accepted.status), going), {}, true, kNow);
  EXPECT_EQ(first.text(), "serve, write status, delete instances");
  EXPECT_NE(conditions(first.status).find("Terminating=True InstanceDeletionInProgress"), std::string::npos);
  EXPECT_EQ(plan_definition(definition(base::to_json(first.status), going), {}, true, kNow).text(),
            "serve, delete instances");
  DefinitionPlan last = plan_definition(definition(base::to_json(first.status), going), {}, false, kNow);
  EXPECT_EQ(last.text(), "serve, write status, drop finalizer");
}

TEST(CustomResourcePlan, StoredVersionsGrow) {
  json::value made = definition();
  prepare_definition_create(made);
  EXPECT_EQ(base::to_json(made.at("status").at("storedVersions")), R"(["v1"])");
  json::value next = made;
  next.at("spec").get_object()["versions"] =
      base::parse_json(R"([{"name":"v1"},{"name":"v2","storage":true}])").value();
  prepare_definition_update(made, next);
  EXPECT_EQ(base::to_json(next.at("status").at("storedVersions")), R"(["v1","v2"])");
}

TEST(CustomResourcePlan, GenerationCountsEverythingButMetadataAndStatus) {
  auto updated = [](bool has_status, std::string_view after) {
    json::value current =
        base::parse_json(R"({"metadata":{"generation":1},"spec":{"a":1},"status":{"s":1},"data":{}})")
            .value();
    json::value next = base::parse_json(after).value();
    prepare_custom_update(has_status, "", current, next);
    return base::to_json(next);
  };
  EXPECT_EQ(updated(true, R"({"metadata":{"labels":{"a":"b"}},"spec":{"a":1},"status":{"s":2},"data":{}})"),
            R"({"metadata":{"labels":{"a":"b"},"generation":1},"spec":{"a":1},"status":{"s":1},"data":{}})");
  EXPECT_NE(updated(true, R"({"metadata":{},"spec":{"a":1},"data":{"x":1}})").find("\"generation\":2"),
            std::string::npos);
  EXPECT_NE(
      updated(false, R"({"metadata":{},"spec":{"a":1},"status":{"s":2},"data":{}})").find("\"generation\":2"),
      std::string::npos);
}

}  // namespace
}  // namespace master
