#include "master/registry/strategy.h"

#include <gtest/gtest.h>

namespace master {
namespace json = base::json;

TEST(DaemonSetStrategy, CountsChangesOfTheTemplate) {
  ResourceTable resources;
  const ResourceInfo& kind = *resources.find("apps", "v1", "daemonsets");
  auto generation = [](const json::value& set) {
    return std::string(
        base::string_at(set, "metadata", "annotations", "deprecated.daemonset.template.generation"));
  };
  json::value set = base::parse_json(R"({"metadata":{"name":"d"},"spec":{"template":{"a":1}}})").value();
  prepare_create(kind, set);
  EXPECT_EQ(generation(set), "1");
  json::value next =
      base::parse_json(R"({"metadata":{"name":"d"},"spec":{"template":{"a":1},"b":2}})").value();
  prepare_update(kind, "", set, next);
  EXPECT_EQ(generation(next), "1");
  json::value changed = base::parse_json(R"({"metadata":{"name":"d","annotations":
    {"deprecated.daemonset.template.generation":"9"}},"spec":{"template":{"a":2}}})")
                            .value();
  prepare_update(kind, "", next, changed);
  EXPECT_EQ(generation(changed), "2");
  json::value odd = base::parse_json(R"({"metadata":{"name":"d","annotations":
    {"deprecated.daemonset.template.generation":"x"}},"spec":{}})")
                        .value();
  prepare_create(kind, odd);
  EXPECT_EQ(generation(odd), "1");
}

// The finalizers that a deletion leaves, of an object that has `had`.
static std::string left(Dependents by_default, const char* options, const char* had = "[]") {
  json::object metadata{{"finalizers", base::parse_json(had).value()}};
  set_deletion_finalizers(by_default, base::parse_json(options).value(), metadata);
  return metadata.contains("finalizers") ? base::to_json(metadata["finalizers"]) : "none";
}

TEST(DeletionFinalizers, WhatTheOptionsSayGoesFirst) {
  for (Dependents kind : {Dependents::kDelete, Dependents::kOrphan}) {
    EXPECT_EQ(left(kind, R"({"propagationPolicy":"Orphan"})", R"(["foregroundDeletion","mine"])"),
              R"(["mine","orphan"])");
    EXPECT_EQ(left(kind, R"({"propagationPolicy":"Foreground"})", R"(["orphan"])"),
              R"(["foregroundDeletion"])");
    EXPECT_EQ(left(kind, R"({"propagationPolicy":"Background"})", R"(["orphan","foregroundDeletion"])"),
              "none");
    EXPECT_EQ(left(kind, R"({"orphanDependents":true})"), R"(["orphan"])");
    EXPECT_EQ(left(kind, R"({"orphanDependents":false})", R"(["orphan"])"), "none");
  }
}
TEST(DeletionFinalizers, ThenWhatTheObjectHas) {
  for (Dependents kind : {Dependents::kDelete, Dependents::kOrphan}) {
    EXPECT_EQ(left(kind, "{}", R"(["orphan"])"), R"(["orphan"])");
    EXPECT_EQ(left(kind, "{}", R"(["foregroundDeletion"])"), R"(["foregroundDeletion"])");
  }
}
TEST(DeletionFinalizers, ThenTheKind) {
  EXPECT_EQ(left(Dependents::kDelete, "{}"), "none");
  EXPECT_EQ(left(Dependents::kOrphan, "{}", R"(["mine"])"), R"(["mine","orphan"])");
  EXPECT_EQ(left(Dependents::kUnsupported, R"({"propagationPolicy":"Orphan"})"), "none");
}
TEST(DeletionFinalizers, OnlyTheOldKindsOrphanByDefault) {
  ResourceTable resources;
  std::string orphaning;
  for (const ResourcePtr& resource : resources.all())
    if (default_dependents(*resource) == Dependents::kOrphan) orphaning += resource->qualified() + " ";
  EXPECT_EQ(orphaning, "replicationcontrollers jobs.batch ");
  EXPECT_EQ(default_dependents(*resources.find("events.k8s.io", "v1", "events")), Dependents::kUnsupported);
}

}  // namespace master
