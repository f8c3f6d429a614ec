#include "master/registry/strategy.h"

#include <gtest/gtest.h>

namespace master {
namespace json = base::json;

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
