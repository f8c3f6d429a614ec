#include "master/controllers/daemon_set_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

namespace {

constexpr const char* kHostNetwork = R"({"hostNetwork":true,"containers":[{"name":"c"}]})";

// DaemonSet "d" with uid u1 of namespace default, generation 2, which has been seen.
struct Daemons {
  base::json::value object;
  Revisions revisions;
  std::vector<std::shared_ptr<const Node>> nodes;
  FailedDaemons failed;

  explicit Daemons(const std::string& spec = "{}",
                   const std::string& pod_spec = R"({"containers":[{"name":"c"}]})") {
    object = base::parse_json(R"({"metadata":{"namespace":"default","name":"d","uid":"u1","generation":2,
      "annotations":{"deprecated.daemonset.template.generation":"7"}},"status":{"observedGeneration":2,
      "currentNumberScheduled":0,"desiredNumberScheduled":0,"numberMisscheduled":0,"numberReady":0},"spec":)" +
                              spec + "}")
                 .value();
    base::json::object& in = object.get_object()["spec"].get_object();
    in["selector"] = base::parse_json(R"({"matchLabels":{"app":"d"}})").value();
    in["template"] =
        base::parse_json(R"({"metadata":{"labels":{"app":"d"}},"spec":)" + pod_spec + "}").value();
    revisions = {made()};
    for (const char* node : {"n1", "n2", "n3"}) add_node(node);
  }
  std::shared_ptr<const DaemonSet> set() const { return DaemonSet::reader(kDaemonSets)(object); }
  // The revision that the plan would make now.
  std::shared_ptr<const Revision> made() {
    RevisionPlan plan = plan_daemon_set({set(), {}, {}, {}, {}}, kNow).revisions;
    plan.create->at("metadata").get_object()["uid"] = "r1";
    return Revision::reader(kControllerRevisions)(base::json::value(*plan.create));
  }
  std::string hash() const { return std::string(label(revisions[0]->labels, kRevisionHash)); }
  void add_node(const std::string& name, std::vector<Taint> taints = {}, Labels labels = {}) {
    auto node = std::make_shared<Node>();
    node->meta.name = name;
    node->taints = std::move(taints);
    node->labels = std::move(labels);
    nodes.push_back(node);
  }
  // As controllers_plan_text.h writes Pods; "new" and "old" name the template that they are of.
  std::vector<std::shared_ptr<const Pod>> pods_of(const std::string& text) const {
    std::vector<std::shared_ptr<const Pod>> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
      std::string rest;
      std::istringstream words(line);
      for (std::string word; words >> word;)
        rest += (word == "new"   ? fmt::format("{}={}", kRevisionHash, hash())
                 : word == "old" ? fmt::format("{}=old", kRevisionHash)
                                 : word) +
                " ";
      if (rest.empty()) continue;
      if (rest.find("app=") == rest.npos) rest += "app=d ";
      if (rest.find("orphan") == rest.npos && rest.find("owner=") == rest.npos) rest += "owner=u1 ";
      out.push_back(pod(rest));
    }
    return out;
  }
  std::string plan(const std::string& pods = "") const {
    return plan_daemon_set({set(), nodes, pods_of(pods), revisions, failed}, kNow).text();
  }
  // Without its status.
  std::string acts(const std::string& pods = "") const {
    std::string text = plan(pods);
    const size_t at = text.find("status");
    if (at != text.npos) text.erase(at, text.find('\n', at) + 1 - at);
    return text;
  }
};

}  // namespace

TEST(DaemonSetPlan, FirstItsRevision) {
  Daemons d;
  d.revisions.clear();
  EXPECT_EQ(d.plan("a node=n1 orphan"), "adopt a\ncreate revision 1\n");
}
TEST(DaemonSetPlan, OneForEachNode) {
  EXPECT_EQ(Daemons().plan(), "create on n1\ncreate on n2\ncreate on n3\nstatus desired=3 unavailable=3\n");
  EXPECT_EQ(Daemons().plan("a node=n1 new ready=9\nb for=n2 new phase=Pending"),
            "create on n3\nstatus desired=3 current=2 ready=1 updated=2 available=1 unavailable=2\n");
  Daemons none;
  none.nodes.clear();
  EXPECT_EQ(none.plan(), "");
  EXPECT_EQ(none.acts("a for=gone new phase=Pending\nb node=gone new"), "delete a\n");
}
TEST(DaemonSetPlan, OneThatEndsHasItsPlaceUntilItIsGone) {
  EXPECT_EQ(Daemons().acts("a node=n1 new deleting\nb node=n2 new\nc node=n3 new"), "");
  EXPECT_EQ(Daemons().acts("a node=n1 new deleting phase=Failed\nb node=n2 new\nc node=n3 new"),
            "create on n1\n");
}
TEST(DaemonSetPlan, WhereItMayBe) {
  auto where = [](const std::string& pod_spec, std::vector<Taint> taints, Labels labels = {}) {
    Daemons d("{}", pod_spec);
    d.nodes.clear();
    d.add_node("n1", std::move(taints), std::move(labels));
    const Placement found = placement(*d.set(), *d.nodes[0]);
    return std::string(found.start ? "start" : "") + (found.stay ? " stay" : "");
  };
  const std::string plain = R"({"containers":[]})";
  EXPECT_EQ(where(plain, {}), "start stay");
  EXPECT_EQ(where(plain, {{"a", "b", "NoSchedule", ""}}), " stay");
  EXPECT_EQ(where(plain, {{"a", "b", "NoExecute", ""}}), "");
  EXPECT_EQ(where(plain, {{"a", "b", "PreferNoSchedule", ""}}), "start stay");
  for (const char* key : {"unschedulable", "disk-pressure", "memory-pressure", "pid-pressure"})
    EXPECT_EQ(where(plain, {{std::string("node.kubernetes.io/") + key, "", "NoSchedule", ""}}), "start stay");
  for (const char* key : {"not-ready", "unreachable"}) {
    EXPECT_EQ(where(plain, {{std::string("node.kubernetes.io/") + key, "", "NoExecute", ""}}), "start stay");
    EXPECT_EQ(where(plain, {{std::string("node.kubernetes.io/") + key, "", "NoSchedule", ""}}), " stay");
  }
  const Taint network{"node.kubernetes.io/network-unavailable", "", "NoSchedule", ""};
  EXPECT_EQ(where(plain, {network}), " stay");
  EXPECT_EQ(where(kHostNetwork, {network}), "start stay");
  EXPECT_EQ(where(R"({"tolerations":[{"operator":"Exists"}]})", {{"a", "b", "NoExecute", ""}}), "start stay");
  EXPECT_EQ(where(R"({"nodeSelector":{"disk":"ssd"}})", {}), "");
  EXPECT_EQ(where(R"({"nodeSelector":{"disk":"ssd"}})", {}, {{"disk", "ssd"}}), "start stay");
  EXPECT_EQ(where(R"({"nodeName":"n2"})", {}), "");
  EXPECT_EQ(where(R"({"nodeName":"n1"})", {}), "start stay");
  auto affinity = [&](const char* terms) {
    return where(
        fmt::format(R"({{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":
                                {{"nodeSelectorTerms":[{}]}}}}}}}})",
                    terms),
        {}, {{"zone", "b"}});
  };
  EXPECT_EQ(affinity(R"({"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]})"), "");
  EXPECT_EQ(affinity(R"({"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]},
                        {"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]})"),
            "start stay");
  EXPECT_EQ(affinity("{}"), "") << "an empty term matches no node";
}
TEST(DaemonSetPlan, LeavesWhereItMayNotStay) {
  Daemons d;
  d.nodes.clear();
  d.add_node("n1", {{"a", "b", "NoSchedule", ""}});
  d.add_node("n2", {{"a", "b", "NoExecute", ""}});
  EXPECT_EQ(d.plan("a node=n1 new ready=9\nb node=n2 new ready=9\nc node=n2 new deleting"),
            "delete b\nstatus misscheduled=2\n");
}
TEST(DaemonSetPlan, TheOldestStays) {
  EXPECT_EQ(Daemons().acts("a for=n1 new created=50\nb node=n1 new created=40\nc node=n1 new created=30\n"
                           "d node=n2 new\ne node=n3 new"),
            "delete c\ndelete a\n");
}
TEST(DaemonSetPlan, AdoptsAndReleases) {
  EXPECT_EQ(Daemons().acts("a node=n1 new orphan\nb node=n2 new app=x\nc node=n2 new\nd node=n3 new\n"
                           "e node=n3 owner=u2 new\nf node=n3 orphan app=y\ng node=n3 orphan deleting"),
            "adopt a\nrelease b\n");
}
TEST(DaemonSetPlan, WhatEndedIsReplacedAndFailuresAreNotHurried) {
  Daemons d;
  const std::string others = "\nb node=n2 new\nc node=n3 new";
  EXPECT_EQ(d.acts("a node=n1 new phase=Succeeded" + others), "delete a\nevent Normal SucceededDaemonPod\n");
  EXPECT_EQ(d.acts("a node=n1 new phase=Failed" + others),
            "delete a\nfailed on n1\nevent Warning FailedDaemonPod\n");
  d.failed["n1"] = {ago(1), std::chrono::seconds(4), 2};
  EXPECT_EQ(d.acts("a node=n1 new phase=Failed" + others), "again in 3000ms\n");
  d.failed["n1"].generation = 1;  // of a template before
  EXPECT_EQ(d.acts("a node=n1 new phase=Failed" + others),
            "delete a\nfailed on n1\nevent Warning FailedDaemonPod\n");
  d.failed["n1"] = {ago(-3600), std::chrono::seconds(4), 2};  // a clock that jumped
  EXPECT_EQ(d.acts("a node=n1 new phase=Failed" + others),
            "delete a\nfailed on n1\nevent Warning FailedDaemonPod\n");
}
TEST(DaemonSetPlan, FailuresWaitLonger) {
  FailedDaemons failed;
  std::string delays;
  base::Time now = kNow;
  for (int i = 0; i < 12; ++i) {
    note_failed_daemon(failed, "n1", 1, now);
    delays +=
        fmt::format("{} ", std::chrono::duration_cast<std::chrono::seconds>(failed["n1"].delay).count());
    now += failed["n1"].delay;
  }
  EXPECT_EQ(delays, "1 2 4 8 16 32 64 128 256 512 900 900 ");
  note_failed_daemon(failed, "n1", 1, now + std::chrono::hours(2));
  EXPECT_EQ(failed["n1"].delay, kFailedDaemonBackoff);
}
TEST(DaemonSetPlan, UpdatesInPlace) {
  const std::string one =
      R"({"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":1,"maxSurge":0}}})";
  Daemons d(one);
  EXPECT_EQ(d.acts("a node=n1 old ready=9\nb node=n2 old ready=9\nc node=n3 old ready=9"), "delete a\n");
  EXPECT_EQ(d.acts("a node=n1 old ready=9 deleting\nb node=n2 old ready=9\nc node=n3 old ready=9"), "");
  EXPECT_EQ(d.acts("a node=n1 new\nb node=n2 old ready=9\nc node=n3 old ready=9"), "");
  EXPECT_EQ(d.acts("a node=n1 new ready=9\nb node=n2 old ready=9\nc node=n3 old ready=9"), "delete b\n");
  EXPECT_EQ(d.acts("a node=n1 new ready=9\nb node=n2 old\nc node=n3 old"), "delete b\ndelete c\n")
      << "what does not serve is replaced at once";
  EXPECT_EQ(d.acts("a node=n1 new ready=9\nb node=n2 new ready=9\nc node=n3 new ready=9"), "");
  Daemons half(R"({"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"50%"}}})");
  EXPECT_EQ(half.acts("a node=n1 old ready=9\nb node=n2 old ready=9\nc node=n3 old ready=9"),
            "delete a\ndelete b\n");
  Daemons hand(R"({"updateStrategy":{"type":"OnDelete"}})");
  EXPECT_EQ(hand.acts("a node=n1 old ready=9\nb node=n2 old\nc node=n3 old ready=9"), "");
}
TEST(DaemonSetPlan, ANewPodCountsWhenItHasBeenReadyForLongEnough) {
  Daemons d(R"({"minReadySeconds":30})");
  EXPECT_EQ(d.plan("a node=n1 new ready=10\nb node=n2 old ready=99\nc node=n3 old ready=99"),
            "status desired=3 current=3 ready=3 updated=1 available=2 unavailable=1\nagain in 20000ms\n");
  EXPECT_EQ(d.acts("a node=n1 new ready=30\nb node=n2 old ready=99\nc node=n3 old ready=99"), "delete b\n");
}
TEST(DaemonSetPlan, UpdatesBySurge) {
  Daemons d(
      R"({"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":0,"maxSurge":1}}})");
  const std::string rest = "\nb node=n2 old ready=9\nc node=n3 old ready=9";
  EXPECT_EQ(d.acts("a node=n1 old ready=9" + rest), "create on n1\n");
  EXPECT_EQ(d.acts("a node=n1 old ready=9\na2 node=n1 new" + rest), "");
  EXPECT_EQ(d.acts("a node=n1 old ready=9\na2 node=n1 new ready=1" + rest), "delete a\n");
  EXPECT_EQ(d.acts("a node=n1 old\na2 node=n1 new" + rest), "delete a\n")
      << "the old one does not serve any more";
  EXPECT_EQ(d.acts("a2 node=n1 new ready=9" + rest), "create on n2\n");
  EXPECT_EQ(d.acts("a node=n1 old\nb node=n2 old\nc node=n3 old ready=9"),
            "create on n1\ncreate on n2\ncreate on n3\n");
  EXPECT_EQ(d.acts("a node=n1 old ready=9 deleting" + rest), "create on n1\n");
  EXPECT_EQ(d.acts("a node=n1 new phase=Failed" + rest),
            "delete a\nfailed on n1\nevent Warning FailedDaemonPod\n");
  d.failed["n1"] = {ago(1), std::chrono::seconds(4), 2};
  EXPECT_EQ(d.acts("a node=n1 new phase=Failed\nb node=n2 new ready=9\nc node=n3 new ready=9"),
            "again in 3000ms\n")
      << "beside a failed one that waits, none is made";
}
TEST(DaemonSetPlan, KeepsTheHistoryThatIsAskedFor) {
  Daemons d(R"({"revisionHistoryLimit":1})");
  auto old = [&](const std::string& name, int64_t number) {
    auto revision = std::make_shared<Revision>();
    revision->meta.name = "d-" + name;
    revision->meta.uid = "uid-" + name;
    revision->controller.uid = "u1";
    revision->labels = {{"app", "d"}, {kRevisionHash, name}};
    revision->number = number;
    revision->content = name;
    d.revisions.push_back(revision);
  };
  auto newest = std::make_shared<Revision>(*d.revisions[0]);
  newest->number = 9;
  d.revisions[0] = newest;
  old("x", 3), old("old", 1), old("y", 2);
  EXPECT_EQ(d.acts("a node=n1 new\nb node=n2 old deleting\nc node=n3 new"), "forget d-y\nforget d-x\n");
}
TEST(DaemonSetPlan, ASelectorOverTheHashMakesNothingWithoutEnd) {
  Daemons d;
  base::json::object& spec = d.object.get_object()["spec"].get_object();
  spec["selector"] =
      base::parse_json(R"({"matchLabels":{"app":"d","controller-revision-hash":"x"}})").value();
  spec["template"] =
      base::parse_json(
          R"({"metadata":{"labels":{"app":"d","controller-revision-hash":"x"}},"spec":{"containers":[{"name":"c"}]}})")
          .value();
  d.revisions.clear();
  d.revisions = {d.made()};  // it is its own, although the selector does not match it
  EXPECT_EQ(d.acts(""), "event Warning FailedCreate\n");
}
TEST(DaemonSetPlan, AnOldTemplateIsTheNewestAgain) {
  Daemons d;
  auto other = std::make_shared<Revision>();
  other->meta.name = "d-x";
  other->controller.uid = "u1";
  other->labels = {{"app", "d"}};
  other->number = 4;
  d.revisions.push_back(other);
  EXPECT_EQ(d.plan(), fmt::format("revision {} is number 5\n", d.revisions[0]->meta.name));
  other->controller.uid = "";
  EXPECT_EQ(d.plan(), "adopt revision d-x\n");
  other->controller.uid = "u1";
  other->labels = {};
  EXPECT_EQ(d.plan(), "release revision d-x\n");
}
TEST(DaemonSetPlan, TheOrderOfWhatIsSeenIsNoMatter) {
  Daemons d;
  auto pods = d.pods_of("a node=n1 new\nb node=n1 new\nc node=n2 old\nd for=n3 old\ne node=n3 new orphan");
  const std::string expected = plan_daemon_set({d.set(), d.nodes, pods, d.revisions, {}}, kNow).text();
  std::reverse(pods.begin(), pods.end());
  std::reverse(d.nodes.begin(), d.nodes.end());
  EXPECT_EQ(plan_daemon_set({d.set(), d.nodes, pods, d.revisions, {}}, kNow).text(), expected);
}
TEST(DaemonSetPlan, TheBodyOfAPod) {
  Daemons d("{}", R"({"containers":[{"name":"c"}],"tolerations":[{"key":"a","operator":"Exists"},
      {"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":5}]})");
  const base::json::value pod(pod_of_daemon_set(*d.set(), "n1", "h"));
  EXPECT_EQ(base::string_at(pod, "metadata", "generateName"), "d-");
  EXPECT_EQ(base::to_json(*base::find_path(pod, "metadata", "labels")),
            R"({"app":"d","controller-revision-hash":"h","pod-template-generation":"7"})");
  EXPECT_EQ(node_by_affinity(*base::find(pod, "spec")), "n1");
  const auto tolerations = read_tolerations(base::find_path(pod, "spec", "tolerations"));
  ASSERT_EQ(tolerations.size(), 7u);
  for (const Toleration& one : tolerations) EXPECT_FALSE(one.seconds) << one.key;
  EXPECT_EQ(controller_owner(pod).kind, "DaemonSet");
}
TEST(Revisions, DataIsAPatchThatKubectlApplies) {
  Daemons d;
  RevisionPlan plan = plan_daemon_set({d.set(), {}, {}, {}, {}}, kNow).revisions;
  EXPECT_EQ(
      base::to_json(plan.create->at("data")),
      R"({"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"d"}},"spec":{"containers":[{"name":"c"}]}}}})");
  const std::string hash = d.hash();
  EXPECT_EQ(base::string_at(base::json::value(*plan.create), "metadata", "name"), "d-" + hash);
  d.object.get_object()["status"].get_object()["collisionCount"] = 1;
  EXPECT_NE(label(d.made()->labels, kRevisionHash), hash);
}

}  // namespace master::controllers
