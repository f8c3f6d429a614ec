#include "master/controllers/garbage_graph.h"

#include <gtest/gtest.h>

namespace master::controllers {

static GraphNode node(const std::string& uid, std::vector<std::string> owners = {}, bool block = true) {
  GraphNode out;
  out.resource = &api::resources::pods;
  out.ns = "default";
  out.name = out.uid = uid;
  for (const std::string& owner : owners) out.owners.push_back({"apps/v1", "ReplicaSet", owner, owner, true, block});
  return out;
}

TEST(GarbageGraph, AbsenceIsAskedForBeforeItKills) {
  GarbageGraph graph;
  EXPECT_EQ(graph.set(node("pod", {"rs"})), std::vector<std::string>{"pod"});
  EXPECT_EQ(graph.plan("pod").text(), "ask for ReplicaSet/rs");
  graph.mark_absent("rs");
  EXPECT_EQ(graph.plan("pod").text(), "delete Background");
}
TEST(GarbageGraph, AnOwnerSeenToGoTakesItsDependents) {
  GarbageGraph graph;
  graph.set(node("rs"));
  EXPECT_TRUE(graph.set(node("pod", {"rs"})).empty()) << "a living owner is no work";
  EXPECT_EQ(graph.plan("pod").text(), "nothing");
  EXPECT_EQ(graph.remove(api::resources::pods, "default/rs"), std::vector<std::string>{"pod"});
  EXPECT_EQ(graph.plan("pod").text(), "delete Background");
}
TEST(GarbageGraph, OneLivingOwnerIsEnough) {
  GarbageGraph graph;
  graph.set(node("a"));
  graph.set(node("pod", {"a", "b"}));
  graph.mark_absent("b");
  EXPECT_EQ(graph.plan("pod").text(), "strip b");
}
TEST(GarbageGraph, ForegroundWaitsForTheBlocking) {
  GarbageGraph graph;
  GraphNode rs = node("rs");
  graph.set(rs);
  graph.set(node("pod", {"rs"}));
  graph.set(node("loose", {"rs"}, false));
  rs.deleting = rs.foreground = true;
  graph.set(rs);
  EXPECT_EQ(graph.plan("rs").text(), "wait for loose pod");
  EXPECT_EQ(graph.plan("pod").text(), "delete Background");
  graph.remove(api::resources::pods, "default/pod");
  EXPECT_EQ(graph.plan("rs").text(), "drop finalizer foregroundDeletion");
}
TEST(GarbageGraph, OrphansAreFreedFirst) {
  GarbageGraph graph;
  GraphNode rs = node("rs");
  graph.set(rs);
  graph.set(node("pod", {"rs"}));
  rs.deleting = rs.orphan = true;
  EXPECT_EQ(graph.set(rs), std::vector<std::string>{"rs"});
  EXPECT_EQ(graph.plan("rs").text(), "orphan pod");
  EXPECT_EQ(graph.set(node("pod")), (std::vector<std::string>{"rs", "pod"}));
  EXPECT_EQ(graph.plan("rs").text(), "drop finalizer orphan");
}
TEST(GarbageGraph, TheSameNameAgainIsAnotherObject) {
  GarbageGraph graph;
  GraphNode first = node("u1");
  first.name = "web";
  graph.set(first);
  graph.set(node("pod", {"u1"}));
  GraphNode second = node("u2");
  second.name = "web";
  EXPECT_EQ(graph.set(second), std::vector<std::string>{"pod"});
  EXPECT_EQ(graph.plan("pod").text(), "delete Background");
}
TEST(GarbageGraph, CyclesInForegroundAskEachOther) {
  GarbageGraph graph;
  graph.set(node("a", {"b"}));
  GraphNode b = node("b", {"a"});
  b.deleting = b.foreground = true;
  graph.set(b);
  EXPECT_EQ(graph.plan("a").text(), "delete Foreground");
  EXPECT_EQ(graph.plan("b").text(), "wait for a");
}

}  // namespace master::controllers
