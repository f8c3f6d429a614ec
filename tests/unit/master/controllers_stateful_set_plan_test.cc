#include "master/controllers/stateful_set_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

namespace {

constexpr const char* kClaims =
    R"("volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"]}}])";

// StatefulSet "web" with uid u1 of namespace default and two revisions: web-old, which the status calls the
// current one, and the newest, which the texts call "new".
struct Stateful {
  base::json::value object;
  Revisions revisions;
  std::map<std::string, std::shared_ptr<const Claim>> claims;

  explicit Stateful(const std::string& spec = R"("replicas":3)", bool updating = false) {
    object = base::parse_json(R"({"metadata":{"namespace":"default","name":"web","uid":"u1","generation":1},
      "status":{},"spec":{)" + spec +
                              "}}")
                 .value();
    base::json::object& in = object.get_object()["spec"].get_object();
    in["serviceName"] = "nginx";
    in["selector"] = base::parse_json(R"({"matchLabels":{"app":"web"}})").value();
    in["template"] =
        base::parse_json(R"({"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c"}]}})")
            .value();
    revisions = {made()};
    auto old = std::make_shared<Revision>();
    old->meta.name = "web-old";
    old->controller.uid = "u1";
    old->labels = {{"app", "web"}};
    old->pod_template =
        base::parse_json(R"({"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"before"}]}})")
            .value();
    old->content = "old";
    if (!updating) return;
    auto newest = std::make_shared<Revision>(*revisions[0]);
    newest->number = 2;
    old->number = 1;
    revisions = {newest, old};
    object.get_object()["status"].get_object()["currentRevision"] = "web-old";
  }
  std::shared_ptr<const StatefulSet> set() const { return StatefulSet::reader(kStatefulSets)(object); }
  StatefulSetView view(std::vector<std::shared_ptr<const Pod>> pods) const {
    return {set(), std::move(pods), revisions, [this](const std::string& name) {
              auto at = claims.find(name);
              return at == claims.end() ? nullptr : at->second;
            }};
  }
  std::shared_ptr<const Revision> made() {
    RevisionPlan plan = plan_stateful_set(view({}), kNow).revisions;
    return Revision::reader(kControllerRevisions)(base::json::value(*plan.create));
  }
  const std::string& newest() const { return revisions[0]->meta.name; }
  std::vector<std::shared_ptr<const Pod>> pods_of(const std::string& text) const {
    std::vector<std::shared_ptr<const Pod>> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
      std::string rest, name;
      std::istringstream words(line);
      for (std::string word; words >> word;) {
        if (name.empty()) name = word;
        rest += (word == "new"   ? fmt::format("{}={}", kRevisionHash, newest())
                 : word == "old" ? fmt::format("{}=web-old", kRevisionHash)
                                 : word) +
                " ";
      }
      if (rest.empty()) continue;
      if (rest.find("app=") == rest.npos) rest += "app=web ";
      if (rest.find("orphan") == rest.npos && rest.find("owner=") == rest.npos) rest += "owner=u1 ";
      if (rest.find("unlabelled") == rest.npos) rest += fmt::format("{}={}", kPodNameLabel, name);
      out.push_back(pod(rest));
    }
    return out;
  }
  std::string plan(const std::string& pods = "") const {
    std::string text = plan_stateful_set(view(pods_of(pods)), kNow).text();
    for (size_t at; (at = text.find(newest())) != text.npos;) text.replace(at, newest().size(), "NEW");
    return text;
  }
  std::string acts(const std::string& pods = "") const {
    std::string text = plan(pods);
    const size_t at = text.find("status");
    if (at != text.npos) text.erase(at, text.find('\n', at) + 1 - at);
    return text;
  }
  void claim(const std::string& name, std::vector<OwnerRef> owners = {}, bool deleting = false) {
    auto claim = std::make_shared<Claim>();
    claim->meta.name = name;
    claim->meta.deleting = deleting;
    claim->owners = std::move(owners);
    claims[name] = claim;
  }
};
const OwnerRef kSet{"apps/v1", "StatefulSet", "web", "u1", true, true};
OwnerRef by_pod(const std::string& name) { return {"v1", "Pod", name, "uid-" + name, true, true}; }

}  // namespace

TEST(StatefulSetPlan, FirstItsRevision) {
  Stateful s;
  s.revisions.clear();
  EXPECT_EQ(plan_stateful_set(s.view(s.pods_of("")), kNow).text(), "create revision 1\n");
}
TEST(StatefulSetPlan, ASelectorOverWhatItSetsMakesNothingWithoutEnd) {
  for (const char* key :
       {"controller-revision-hash", "controller.kubernetes.io/hash", "apps.kubernetes.io/pod-index"}) {
    Stateful s;
    base::json::object& spec = s.object.get_object()["spec"].get_object();
    const std::string labels = fmt::format(R"({{"app":"web","{}":"x"}})", key);
    spec["selector"] = base::parse_json(R"({"matchLabels":)" + labels + "}").value();
    spec["template"] =
        base::parse_json(R"({"metadata":{"labels":)" + labels + R"(},"spec":{"containers":[{"name":"c"}]}})")
            .value();
    s.revisions.clear();
    s.revisions = {s.made()};
    const std::string acts = s.acts();
    EXPECT_EQ(acts.find("release"), std::string::npos) << acts;
    EXPECT_EQ(acts.find("create revision"), std::string::npos) << acts;
    // The Pods do not bear the hash of ControllerRevisions; what they bear by number and revision is refused.
    EXPECT_EQ(acts.find("event Warning FailedCreate") != std::string::npos,
              std::string_view(key) != "controller.kubernetes.io/hash")
        << acts;
  }
}
TEST(StatefulSetPlan, ANameRestsBeforeAPodHasItAgain) {
  using std::chrono::milliseconds;
  Stateful s;
  StatefulSetView view = s.view(s.pods_of(""));
  view.left["web-0"] = kNow - milliseconds(50);
  StatefulSetPlan resting = plan_stateful_set(view, kNow);
  EXPECT_TRUE(resting.create.empty());
  EXPECT_EQ(resting.again, std::optional<base::Duration>(milliseconds(150)));
  for (base::Time left : {kNow - milliseconds(200), kNow + std::chrono::hours(1)}) {  // or a clock put back
    view.left["web-0"] = left;
    EXPECT_EQ(plan_stateful_set(view, kNow).create.size(), 1u);
  }
}
TEST(StatefulSetPlan, OneAfterTheOther) {
  Stateful s;
  EXPECT_EQ(s.plan(), "create web-0 of NEW\nstatus NEW -> NEW\n");
  EXPECT_EQ(s.acts("web-0 new phase=Pending"), "");
  EXPECT_EQ(s.acts("web-0 new"), "") << "it runs, but is not ready";
  EXPECT_EQ(s.plan("web-0 new ready=1"),
            "create web-1 of NEW\nstatus replicas=1 ready=1 available=1 current=1 updated=1 NEW -> NEW\n");
  EXPECT_EQ(s.acts("web-0 new ready=1 deleting\nweb-1 new ready=1"), "") << "none comes while one goes";
  EXPECT_EQ(s.acts("web-0 new\nweb-2 new ready=1"), "");
  EXPECT_EQ(s.acts("web-0 new ready=1\nweb-2 new ready=1"), "create web-1 of NEW\n");
  EXPECT_EQ(s.acts("web-0 new ready=1\nweb-1 new ready=1\nweb-2 new ready=1"), "");
}
TEST(StatefulSetPlan, AllAtOnceWhenParallel) {
  Stateful s(R"("replicas":3,"podManagementPolicy":"Parallel")");
  EXPECT_EQ(s.acts(), "create web-0 of NEW\ncreate web-1 of NEW\ncreate web-2 of NEW\n");
  EXPECT_EQ(s.acts("web-1 new deleting\nweb-5 new\nweb-4 new ready=1"),
            "create web-0 of NEW\ncreate web-2 of NEW\ndelete web-5\ndelete web-4\n");
  Stateful huge(R"("replicas":2147483647,"podManagementPolicy":"Parallel","ordinals":{"start":2147483647})");
  EXPECT_EQ(plan_stateful_set(huge.view({}), kNow).create.size(), kStatefulBurst);
}
TEST(StatefulSetPlan, AvailableBeforeTheNext) {
  Stateful s(R"("replicas":2,"minReadySeconds":10)");
  EXPECT_EQ(s.plan("web-0 new ready=4"),
            "status replicas=1 ready=1 current=1 updated=1 NEW -> NEW\nagain in 6000ms\n");
  EXPECT_EQ(s.acts("web-0 new ready=10"), "create web-1 of NEW\n");
}
TEST(StatefulSetPlan, NumbersFromTheStart) {
  Stateful s(R"("replicas":2,"ordinals":{"start":5})");
  EXPECT_EQ(s.acts(), "create web-5 of NEW\n");
  EXPECT_EQ(s.acts("web-5 new ready=1\nweb-6 new ready=1\nweb-0 new ready=1"), "delete web-0\n");
}
TEST(StatefulSetPlan, TheLastGoesFirstAndOneAtATime) {
  Stateful s(R"("replicas":1)");
  EXPECT_EQ(s.acts("web-0 new ready=1\nweb-1 new ready=1\nweb-2 new ready=1\nweb-10 new ready=1"),
            "delete web-10\n");
  EXPECT_EQ(s.acts("web-0 new ready=1\nweb-1 new ready=1\nweb-2 new ready=1 deleting"), "");
  EXPECT_EQ(s.acts("web-0 new\nweb-1 new ready=1"), "") << "none goes while one that stays is ill";
  EXPECT_EQ(s.acts("web-0 new ready=1\nweb-1 new"), "delete web-1\n") << "it is the one that is ill";
  EXPECT_EQ(s.acts("web-0 new ready=1\nweb-1 new\nweb-2 new"), "") << "the lower one is ill, too";
  EXPECT_EQ(s.acts("web-0 new ready=1\nweb-1 new phase=Failed\nweb-2 new phase=Failed"), "delete web-2\n");
}
TEST(StatefulSetPlan, WhatEndedIsMadeAgain) {
  Stateful s(R"("replicas":2)");
  EXPECT_EQ(s.acts("web-0 new phase=Failed\nweb-1 new ready=1"), "delete web-0\n");
  EXPECT_EQ(s.acts("web-0 new phase=Succeeded deleting\nweb-1 new ready=1"), "");
  EXPECT_EQ(s.acts("web-0 new phase=Failed created=1\nweb-1 new ready=1"), "again in 1000ms\n") << "no storm";
  EXPECT_EQ(s.acts("web-0 new phase=Failed created=-3600\nweb-1 new ready=1"), "delete web-0\n")
      << "a clock that jumped";
}
TEST(StatefulSetPlan, OnlyWhatBearsItsNameIsIts) {
  Stateful s(R"("replicas":1)");
  EXPECT_EQ(s.acts("web-0 new ready=1 orphan\nother-0 orphan\nweb-x orphan\nweb-01 orphan\nweb-1 owner=u2\n"
                   "web orphan\nweb-2 new app=x\nweb-3 new orphan deleting"),
            "adopt web-0\nrelease web-2\n");
  EXPECT_EQ(s.acts("web-0 new ready=1 unlabelled=1"), "relabel web-0\n");
}
TEST(StatefulSetPlan, UpdatesFromTheLast) {
  Stateful s(R"("replicas":3)", true);
  EXPECT_EQ(s.plan("web-0 old ready=1\nweb-1 old ready=1\nweb-2 old ready=1"),
            "delete web-2\nstatus replicas=3 ready=3 available=3 current=2 web-old -> NEW\n");
  EXPECT_EQ(s.acts("web-0 old ready=1\nweb-1 old ready=1"), "create web-2 of NEW\n");
  EXPECT_EQ(s.acts("web-0 old ready=1\nweb-1 old ready=1\nweb-2 new"), "");
  EXPECT_EQ(s.acts("web-0 old ready=1\nweb-1 old ready=1\nweb-2 new ready=1"), "delete web-1\n");
  EXPECT_EQ(s.acts("web-0 old ready=1\nweb-1 old\nweb-2 new ready=1"), "")
      << "in order: not while one is ill";
  EXPECT_EQ(s.plan("web-0 new ready=1\nweb-1 new ready=1\nweb-2 new ready=1"),
            "status replicas=3 ready=3 available=3 current=3 updated=3 NEW -> NEW\n");
  Stateful hand(R"("replicas":2,"updateStrategy":{"type":"OnDelete"})", true);
  EXPECT_EQ(hand.acts("web-0 old ready=1\nweb-1 old ready=1"), "");
  EXPECT_EQ(hand.acts("web-0 old ready=1"), "create web-1 of NEW\n");
}
TEST(StatefulSetPlan, APartitionKeepsTheOthers) {
  Stateful s(R"("replicas":3,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}})",
             true);
  EXPECT_EQ(s.acts("web-0 old ready=1\nweb-1 old ready=1\nweb-2 old ready=1"), "delete web-2\n");
  EXPECT_EQ(s.acts("web-0 old ready=1\nweb-1 old ready=1\nweb-2 new ready=1"), "");
  EXPECT_EQ(s.acts("web-0 old ready=1\nweb-2 new ready=1"), "create web-1 of web-old\n");
  const auto plan = plan_stateful_set(s.view(s.pods_of("web-0 old ready=1\nweb-2 new ready=1")), kNow);
  EXPECT_EQ(base::string_at(base::json::value(plan.create[0].body).at("spec").at("containers").at(0), "name"),
            "before");
}
TEST(StatefulSetPlan, MaxUnavailable) {
  const std::string two =
      R"("replicas":4,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"50%"}})";
  EXPECT_EQ(
      Stateful(two, true).acts("web-0 old ready=1\nweb-1 old ready=1\nweb-2 old ready=1\nweb-3 old ready=1"),
      "delete web-3\ndelete web-2\n");
  Stateful s(two + R"(,"podManagementPolicy":"Parallel")", true);
  EXPECT_EQ(s.acts("web-0 old\nweb-1 old\nweb-2 old ready=1\nweb-3 old ready=1"),
            "delete web-1\ndelete web-0\n")
      << "what is ill goes first, and uses up what may be missing";
  EXPECT_EQ(s.acts("web-0 old\nweb-1 old ready=1\nweb-2 old ready=1\nweb-3 old ready=1"),
            "delete web-0\ndelete web-3\n");
  EXPECT_EQ(s.acts("web-0 old ready=1\nweb-1 old ready=1\nweb-2 old ready=1 deleting\nweb-3 new"), "");
  EXPECT_EQ(s.acts("web-0 old\nweb-1 old\nweb-2 old\nweb-3 old"),
            "delete web-3\ndelete web-2\ndelete web-1\ndelete web-0\n")
      << "a template that cannot work is mended";
}
TEST(StatefulSetPlan, ClaimsComeBeforeTheirPod) {
  Stateful s(std::string(R"("replicas":2,)") + kClaims);
  EXPECT_EQ(s.acts(), "claim data-web-0 for web-0\ncreate web-0 of NEW\n");
  EXPECT_EQ(s.acts("web-0 new phase=Pending"), "claim data-web-0 for web-0\n");
  s.claim("data-web-0");
  EXPECT_EQ(s.acts("web-0 new ready=1"), "claim data-web-1 for web-1\ncreate web-1 of NEW\n");
  s.claim("data-web-1", {}, true);
  EXPECT_EQ(s.acts("web-0 new ready=1"), "event Warning FailedCreate\n") << "it is being deleted";
  const json::value pod(pod_of_stateful_set(*s.set(), s.set()->pod_template, "r", 1));
  EXPECT_EQ(base::to_json(*base::find_path(pod, "spec", "volumes")),
            R"([{"name":"data","persistentVolumeClaim":{"claimName":"data-web-1"}}])");
  const json::value claim(claim_of_set(*s.set(), s.set()->claim_templates[0], 1));
  EXPECT_EQ(base::to_json(*base::find_path(claim, "metadata")),
            R"({"name":"data-web-1","namespace":"default","labels":{"app":"web"}})");
}
TEST(StatefulSetPlan, ClaimsAreWhoseThePolicySays) {
  auto policy = [](const char* deleted, const char* scaled) {
    return Stateful(fmt::format(
        R"("replicas":1,"persistentVolumeClaimRetentionPolicy":{{"whenDeleted":"{}","whenScaled":"{}"}},{})",
        deleted, scaled, kClaims));
  };
  const std::string one = "web-0 new ready=1", two = "web-0 new ready=1\nweb-1 new ready=1";
  Stateful keeps = policy("Retain", "Retain");
  keeps.claim("data-web-0", {kSet});
  EXPECT_EQ(keeps.acts(one), "claim data-web-0 is of\n");
  Stateful with_set = policy("Delete", "Retain");
  EXPECT_EQ(
      controller_owner(base::json::value(plan_stateful_set(with_set.view({}), kNow).claims[0].body)).uid,
      "u1");
  with_set.claim("data-web-0");
  EXPECT_EQ(with_set.acts(one), "claim data-web-0 is of StatefulSet/web\n");
  with_set.claim("data-web-0", {kSet});
  EXPECT_EQ(with_set.acts(one), "");
  Stateful both = policy("Delete", "Delete");
  both.claim("data-web-0", {kSet}), both.claim("data-web-1", {kSet});
  EXPECT_EQ(both.acts(two), "claim data-web-1 is of Pod/web-1\ndelete web-1\n");
  both.claim("data-web-1", {by_pod("web-1")});
  EXPECT_EQ(both.acts(two), "delete web-1\n");
  Stateful scaled = policy("Retain", "Delete");
  scaled.claim("data-web-0");
  EXPECT_EQ(scaled.acts(one), "");
  scaled.claim("data-web-0", {by_pod("web-0")});
  EXPECT_EQ(scaled.acts(one), "claim data-web-0 is of\n") << "it is within the size again";
  EXPECT_EQ(scaled.acts(), "") << "what goes with a Pod that was is not for the next one";
  scaled.claim("data-web-0", {{"example.com/v1", "Disk", "d", "x", true, false}});
  EXPECT_EQ(scaled.acts(one), "") << "somebody else's";
  scaled.claim("data-web-0", {{"apps/v1", "StatefulSet", "web", "u0", true, true}});
  EXPECT_EQ(scaled.acts(one), "") << "of one that was";
}
TEST(StatefulSetPlan, KeepsTheHistoryThatIsAskedFor) {
  Stateful s(R"("replicas":1,"revisionHistoryLimit":1)", true);
  for (int i : {5, 3, 4}) {
    auto revision = std::make_shared<Revision>(*s.revisions[1]);
    revision->meta.name = fmt::format("web-{}", i);
    revision->number = i;
    s.revisions.push_back(revision);
  }
  auto newest = std::make_shared<Revision>(*s.revisions[0]);
  newest->number = 6;
  s.revisions[0] = newest;
  EXPECT_EQ(s.acts(fmt::format("web-0 {}=web-3 ready=1", kRevisionHash)), "delete web-0\nforget web-4\n")
      << "web-old is the current one, web-3 that of a Pod";
}
TEST(StatefulSetPlan, TheBodyOfAPod) {
  Stateful s;
  const json::value pod(pod_of_stateful_set(*s.set(), s.set()->pod_template, "web-r", 4));
  EXPECT_EQ(base::string_at(pod, "metadata", "name"), "web-4");
  EXPECT_EQ(base::string_at(pod, "spec", "hostname"), "web-4");
  EXPECT_EQ(base::string_at(pod, "spec", "subdomain"), "nginx");
  const Labels labels = read_labels(base::find_path(pod, "metadata", "labels"));
  EXPECT_EQ(label(labels, kPodNameLabel), "web-4");
  EXPECT_EQ(label(labels, kPodIndexLabel), "4");
  EXPECT_EQ(label(labels, kRevisionHash), "web-r");
  EXPECT_EQ(controller_owner(pod).kind, "StatefulSet");
}

}  // namespace master::controllers
