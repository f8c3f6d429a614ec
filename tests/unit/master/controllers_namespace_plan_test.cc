#include "master/controllers/namespace_plan.h"

#include <sstream>

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

// "pods: a b(deleting) c(deleting,held-by)" a line; a kind of a group as "plural.group".
static NamespaceContent content(const std::string& text, bool everything) {
  NamespaceContent out;
  out.everything = everything;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    if (!(words >> word)) continue;
    word.pop_back();
    const size_t dot = word.find('.');
    NamespaceContent::Kind kind{dot == word.npos ? "" : word.substr(dot + 1), word.substr(0, dot), {}, 0};
    while (words >> word) {
      const size_t open = word.find('('), comma = word.find(',');
      NamespaceContent::Item item{word.substr(0, open), "uid-" + word.substr(0, open), open != word.npos, {}};
      if (comma != word.npos) item.finalizers.push_back(word.substr(comma + 1, word.size() - comma - 2));
      kind.items.push_back(std::move(item));
    }
    out.kinds.push_back(std::move(kind));
  }
  return out;
}
static std::string plan(const NamespaceContent& content) { return plan_namespace(content).text(content); }
static std::string said(const NamespaceContent& content, int age = 60, json::array before = {}) {
  Namespace ns;
  ns.deletion_at = ago(age);
  ns.conditions = std::move(before);
  auto conditions = namespace_conditions(ns, content, kNow);
  if (!conditions) return "nothing";
  std::string out;
  for (const json::value& condition : *conditions)
    if (base::string_at(condition, "status") == "True")
      out += std::string(base::string_at(condition, "type")) + " " +
             std::string(base::string_at(condition, "reason")) + ": " +
             std::string(base::string_at(condition, "message")) + "\n";
  return out;
}

TEST(NamespacePlan, PodsGoFirstAndAlone) {
  EXPECT_EQ(plan(content("pods: a b", false)), "remove pods a\nremove pods b\n");
  EXPECT_EQ(plan(content("pods: a(deleting)", false)), "") << "what guards it stays while it ends";
  EXPECT_EQ(plan(content("pods:", false)), "list everything\n");
}
TEST(NamespacePlan, ThenEverythingElseThenTheFinalizer) {
  EXPECT_EQ(plan(content("pods:\nconfigmaps: a\ndeployments.apps: d e(deleting)", true)),
            "remove configmaps a\nremove deployments d\n");
  EXPECT_EQ(plan(content("pods:\nconfigmaps: a(deleting,x/held)", true)), "") << "never forced";
  EXPECT_EQ(plan(content("pods:\nconfigmaps:", true)), "finalize\n");
}
TEST(NamespacePlan, WhatCouldNotBeSeenIsNotTakenForNothing) {
  NamespaceContent failed = content("pods:\nconfigmaps:", true);
  failed.failures.push_back("list configmaps: timed out");
  EXPECT_EQ(plan(failed), "");
  NamespaceContent unknown = content("", true);
  unknown.discovery = "GET /apis: connection refused";
  EXPECT_EQ(plan(unknown), "");
  NamespaceContent half = content("pods:\nconfigmaps: a", true);
  half.discovery = "GET /apis/example.com: connection refused";
  EXPECT_EQ(plan(half), "remove configmaps a\n") << "what can go goes";
}

TEST(NamespacePlan, ConditionsSayWhatIsWaitedFor) {
  EXPECT_EQ(
      said(content("pods: a(deleting) b(deleting)\nwidgets.example.com: w(deleting,x/held)", true)),
      "NamespaceContentRemaining SomeResourcesRemain: Some resources are remaining: pods. has 2 resource "
      "instances, widgets.example.com has 1 resource instances\n"
      "NamespaceFinalizersRemaining SomeFinalizersRemain: Some content in the namespace has finalizers "
      "remaining: x/held in 1 resource instances\n");
  NamespaceContent more = content("pods: a", false);
  more.kinds[0].more = 700;
  EXPECT_EQ(said(more),
            "NamespaceContentRemaining SomeResourcesRemain: Some resources are remaining: pods. has "
            "701 resource instances\n");
}
TEST(NamespacePlan, ConditionsSayWhatFailed) {
  NamespaceContent trouble = content("", true);
  trouble.discovery = "GET /apis: refused";
  trouble.failures = {"z", "delete pods a: denied"};
  EXPECT_EQ(said(trouble),
            "NamespaceDeletionDiscoveryFailure DiscoveryFailed: GET /apis: refused\n"
            "NamespaceDeletionContentFailure ContentDeletionFailed: Failed to delete all resource types, 2 "
            "remaining: delete pods a: denied, z\n");
  trouble.failures.assign(5000, std::string(100, 'x'));
  EXPECT_LT(said(trouble).size(), 9000u) << "many errors are few words";
}
TEST(NamespacePlan, AYoungDeletionIsNotWrittenAbout) {
  EXPECT_EQ(said(content("pods: a(deleting)", false), 1), "nothing");
  EXPECT_NE(said(content("pods: a(deleting)", false), 3), "nothing");
}
TEST(NamespacePlan, TheSameIsSaidOnce) {
  Namespace ns;
  ns.deletion_at = ago(60);
  const NamespaceContent held = content("pods: a(deleting)", false);
  auto first = namespace_conditions(ns, held, kNow);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->size(), 5u) << "what is fine is said, too";
  ns.conditions = *first;
  EXPECT_FALSE(namespace_conditions(ns, held, kNow + std::chrono::hours(1)));
}

}  // namespace master::controllers
