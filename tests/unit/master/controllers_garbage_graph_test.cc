#include "master/controllers/garbage_graph.h"

#include <gtest/gtest.h>

#include <sstream>

namespace master::controllers {

static GraphNode node(const std::string& uid, std::vector<std::string> owners = {}, bool block = true) {
  GraphNode out;
  out.resource = &api::resources::pods;
  out.ns = "default";
  out.name = out.uid = uid;
  for (const std::string& owner : owners)
    out.owners.push_back({"apps/v1", "ReplicaSet", owner, owner, true, block});
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

// "a<b,c" is a, owned by b and c; with "!" it is being deleted in the foreground.
static void put(GarbageGraph& graph, std::string text) {
  const bool ends = text.ends_with('!');
  if (ends) text.pop_back();
  const size_t at = text.find('<');
  std::vector<std::string> owners;
  if (at != text.npos) {
    std::istringstream in(text.substr(at + 1));
    for (std::string owner; std::getline(in, owner, ',');) owners.push_back(owner);
  }
  GraphNode one = node(text.substr(0, at), owners);
  one.deleting = one.foreground = ends;
  graph.set(one);
}
TEST(GarbageGraph, ACircleInForegroundDoesNotWaitForItself) {
  GarbageGraph graph;
  for (const char* one : {"a<c!", "b<a!", "c<b"}) put(graph, one);
  EXPECT_EQ(graph.plan("a").text(), "wait for b") << "c may live on until it is deleted, too";
  EXPECT_EQ(graph.plan("c").text(), "delete Foreground");
  put(graph, "c<b!");
  for (const char* one : {"a", "b", "c"})
    EXPECT_EQ(graph.plan(one).text(), "drop finalizer foregroundDeletion") << one;
}
TEST(GarbageGraph, ACircleStillWaitsForThoseOutsideOfIt) {
  GarbageGraph graph;
  for (const char* one : {"a<b!", "b<a!", "pod<b"}) put(graph, one);
  EXPECT_EQ(graph.plan("a").text(), "wait for b");
  EXPECT_EQ(graph.plan("b").text(), "wait for a pod");
  // A second circle below the first is not the first one's.
  for (const char* one : {"x<b,y!", "y<x!"}) put(graph, one);
  graph.remove(api::resources::pods, "default/pod");
  EXPECT_EQ(graph.plan("a").text(), "wait for b");
  EXPECT_EQ(graph.plan("x").text(), "drop finalizer foregroundDeletion");
  graph.remove(api::resources::pods, "default/x");
  graph.remove(api::resources::pods, "default/y");
  EXPECT_EQ(graph.plan("a").text(), "drop finalizer foregroundDeletion");
}
TEST(GarbageGraph, WhoOwnsItselfGoes) {
  GarbageGraph graph;
  put(graph, "a<a!");
  EXPECT_EQ(graph.plan("a").text(), "drop finalizer foregroundDeletion");
}
TEST(GarbageGraph, AKindThatIsNoLongerShownLeavesNothingToJudgeBy) {
  GarbageGraph graph;
  graph.set(node("a"));
  GraphNode map = node("map", {"a"});
  map.resource = &api::resources::config_maps;
  graph.set(map);
  graph.forget(api::resources::pods);
  EXPECT_FALSE(graph.find("a"));
  EXPECT_EQ(graph.plan("map").text(), "ask for ReplicaSet/a") << "not absent: only out of sight";
  graph.mark_present("a");
  EXPECT_EQ(graph.plan("map").text(), "nothing");
  EXPECT_EQ(graph.forget_present(), std::vector<std::string>{"map"});
  EXPECT_EQ(graph.plan("map").text(), "ask for ReplicaSet/a");
}

}  // namespace master::controllers
