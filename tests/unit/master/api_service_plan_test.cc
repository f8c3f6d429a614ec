#include "master/extensions/api_service_plan.h"

#include <gtest/gtest.h>

namespace master {
namespace {

// "served custom yields" and the object's text, null for none.
std::string plan(const std::string& here, const char* object) {
  const ServedVersion served{here.find("served") != here.npos, here.find("custom") != here.npos,
                             here.find("yields") != here.npos};
  return std::string(text_of(plan_api_service(served, read_api_service(base::parse_json(object).value()))));
}
constexpr const char *
    kNone = "null",
   *kLocal = R"({"metadata":{"name":"v1.apps"},"spec":{"group":"apps","version":"v1"}})",
   *kManagedHere =
       R"({"metadata":{"labels":{"kube-aggregator.kubernetes.io/automanaged":"true"}},"spec":{}})",
   *kRemote =
       R"({"metadata":{"name":"v1.x"},"spec":{"group":"x","version":"v1","service":{"namespace":"a","name":"b","port":443}}})";

TEST(ApiServicePlan, WhatIsServedHereIsThereAndAvailable) {
  EXPECT_EQ(plan("served", kNone), "create");
  EXPECT_EQ(plan("served custom", kNone), "create");
  EXPECT_EQ(plan("served", kLocal), "mark local");
  EXPECT_EQ(plan("served", kRemote), "mark local") << "what is served here stays served here";
}
TEST(ApiServicePlan, OthersAreFollowed) {
  EXPECT_EQ(plan("", kRemote), "follow");
  EXPECT_EQ(plan("served yields", kRemote), "follow");
  EXPECT_EQ(plan("served yields", kLocal), "mark local") << "there is nobody to yield to";
  EXPECT_EQ(plan("served yields", kNone), "leave");
}
TEST(ApiServicePlan, ThoseOfCustomKindsGoWithThem) {
  EXPECT_EQ(plan("", kManagedHere), "remove");
  EXPECT_EQ(plan("served custom", kManagedHere), "mark local");
  EXPECT_EQ(plan("", kLocal), "mark local") << "somebody made it: it is his";
  EXPECT_EQ(plan("", kNone), "leave");
  EXPECT_EQ(plan("", "[]"), "leave");
}
TEST(ApiServicePlan, WhatIsMade) {
  EXPECT_EQ(
      base::to_json(base::json::value(api_service_of("example.com", "v1", true))),
      R"({"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.example.com","labels":{"kube-aggregator.kubernetes.io/automanaged":"true"}},"spec":{"groupPriorityMinimum":1000,"versionPriority":100,"version":"v1","group":"example.com"}})");
  EXPECT_EQ(group_priority("apps"), 17800);
  EXPECT_EQ(version_priority("", "v1", false), 1);
}

}  // namespace
}  // namespace master
