#include "master/controllers/deployment_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

static json::value pod_template(const std::string& image) {
  return base::parse_json(
             fmt::format(
                 R"({{"metadata":{{"labels":{{"app":"web"}}}},"spec":{{"containers":[{{"name":"c","image":"{}"}}]}}}})",
                 image))
      .value();
}
static std::shared_ptr<Deployment> deployment(int replicas, const char* image, json::value surge = "25%",
                                              json::value unavailable = "25%") {
  auto d = std::make_shared<Deployment>();
  d->meta = {"default", "web", "d1", 9, 4, ago(5000), false};
  d->selector = api::selector_of(Labels{{"app", "web"}});
  d->selector_json = base::parse_json(R"({"matchLabels":{"app":"web"}})").value();
  d->pod_template = pod_template(image);
  d->replicas = replicas;
  d->progress_deadline_seconds = 600;
  d->revision_history_limit = 10;
  d->max_surge = surge;
  d->max_unavailable = unavailable;
  d->status = base::parse_json(R"({"observedGeneration":4})").value();
  return d;
}
// available counts as ready and existing, too, unless `current` says how many exist.
static std::shared_ptr<const ReplicaOwner> rs(const std::string& name, const char* image, int age,
                                              int replicas, int available, int desired, int most,
                                              int64_t revision, int current = -1) {
  auto out = std::make_shared<ReplicaOwner>();
  out->meta = {"default", name, "uid-" + name, 7, 1, ago(age), false};
  out->controller = {"apps/v1", "Deployment", "web", "d1", true, true};
  out->labels = {{"app", "web"}, {kHashLabel, name}};
  out->pod_template = pod_template(image);
  base::object_at(out->pod_template.get_object(), "metadata", "labels")[kHashLabel] = name;
  out->annotations = {{kRevision, std::to_string(revision)},
                      {"deployment.kubernetes.io/desired-replicas", std::to_string(desired)},
                      {"deployment.kubernetes.io/max-replicas", std::to_string(most)}};
  out->replicas = replicas;
  out->status = json::object{{"replicas", current < 0 ? replicas : current},
                             {"readyReplicas", available},
                             {"availableReplicas", available},
                             {"observedGeneration", 1}};
  return out;
}
static std::string plan(std::shared_ptr<Deployment> d, std::vector<std::shared_ptr<const ReplicaOwner>> sets,
                        std::set<std::string> running = {}) {
  std::string text = plan_deployment({d, std::move(sets), std::move(running)}, kNow).text();
  return text.substr(0, text.find("status "));  // the counts have tests of their own
}

TEST(DeploymentPlan, FencesRoundUpAndDown) {
  auto fences = [](json::value surge, json::value unavailable, int replicas) {
    Fences f = resolve_fences(surge, unavailable, replicas);
    return std::pair(f.surge, f.unavailable);
  };
  EXPECT_EQ(fences("25%", "25%", 3), std::pair(1, 0));
  EXPECT_EQ(fences("25%", "25%", 10), std::pair(3, 2));
  EXPECT_EQ(fences(nullptr, nullptr, 10), std::pair(3, 2));
  EXPECT_EQ(fences(0, 0, 5), std::pair(0, 1));
  EXPECT_EQ(fences("0%", "10%", 5), std::pair(0, 1));
  EXPECT_EQ(fences(2, "100%", 5), std::pair(2, 5));
}
TEST(DeploymentPlan, FirstReplicaSet) {
  auto d = deployment(3, "a");
  std::string name = "web-" + template_hash(d->pod_template, 0);
  EXPECT_EQ(plan(d, {}), "create " + name + " replicas=3\nrevision 1\n");
  EXPECT_NE(template_hash(d->pod_template, 0), template_hash(d->pod_template, 1));
  EXPECT_EQ(plan_deployment({d, {}, {}}, kNow).text().find("Progressing=True/NewReplicaSetCreated") ==
                std::string::npos,
            false);
}
TEST(DeploymentPlan, RevisionsAre64BitsWide) {
  auto d = deployment(3, "b");
  std::string name = "web-" + template_hash(d->pod_template, 0);
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 3, 3, 3, 4, 4294967296)}),
            "create " + name + " replicas=1\nrevision 4294967297\n");
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 3, 3, 3, 4, INT64_MAX)}),
            "create " + name + " replicas=1\nrevision 9223372036854775807\n");
}
TEST(DeploymentPlan, TheOrderOfKeysAndNullsIsNoNewTemplate) {
  EXPECT_TRUE(same_template(
      base::parse_json(R"({"metadata":{"creationTimestamp":null,"labels":{"app":"w"}},"spec":{"a":1,"b":2}})")
          .value(),
      base::parse_json(R"({"spec":{"b":2,"a":1},"metadata":{"labels":{"pod-template-hash":"x","app":"w"}}})")
          .value()));
  EXPECT_FALSE(same_template(pod_template("a"), pod_template("b")));
}
TEST(DeploymentPlan, ARollingUpdateStepByStep) {
  auto d = deployment(10, "b");
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 10, 10, 10, 13, 1)}).substr(0, 7), "create ");
  // As in Kubernetes' documentation: 3 more at once, then 2 of the old may go.
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 10, 10, 10, 13, 1), rs("new", "b", 50, 3, 0, 10, 13, 2)}),
            "scale old 10 -> 8\nrevision 2\n");
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 8, 8, 10, 13, 1), rs("new", "b", 50, 3, 0, 10, 13, 2)}),
            "scale new 3 -> 5\nrevision 2\n");
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 8, 8, 10, 13, 1), rs("new", "b", 50, 5, 0, 10, 13, 2)}),
            "revision 2\n");
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 8, 8, 10, 13, 1), rs("new", "b", 50, 5, 2, 10, 13, 2)}),
            "scale old 8 -> 6\nrevision 2\n");
  // Told to shrink but not yet done: neither counts as room, nor as serving.
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 6, 8, 10, 13, 1, 8), rs("new", "b", 50, 5, 2, 10, 13, 2)}),
            "revision 2\n");
}
TEST(DeploymentPlan, ABrokenMiddleRevisionGoesFirst) {
  EXPECT_EQ(
      plan(deployment(10, "c"), {rs("one", "a", 300, 8, 8, 10, 13, 1), rs("two", "b", 200, 5, 0, 10, 13, 2),
                                 rs("three", "c", 100, 0, 0, 10, 13, 3)}),
      "scale two 5 -> 0\nrevision 3\n");
}
TEST(DeploymentPlan, RevisionsOf64BitsAreAdoptedAndUndone) {
  const int64_t revision = int64_t{1} << 40;
  EXPECT_EQ(plan(deployment(10, "b"), {rs("old", "a", 100, 8, 8, 10, 13, revision),
                                       rs("new", "b", 50, 5, 0, 10, 13, revision + 1)}),
            "revision " + std::to_string(revision + 1) + "\n");
  DeploymentPlan undo =
      plan_deployment({deployment(3, "a"),
                       {rs("one", "a", 300, 0, 0, 3, 4, 1), rs("two", "b", 200, 3, 3, 3, 4, revision)},
                       {}},
                      kNow);
  EXPECT_EQ(undo.revision, std::to_string(revision + 1));
}
TEST(DeploymentPlan, UndoBumpsTheRevisionAndKeepsHistory) {
  auto d = deployment(3, "a");
  DeploymentPlan undo = plan_deployment(
      {d, {rs("one", "a", 300, 0, 0, 3, 4, 1), rs("two", "b", 200, 3, 3, 3, 4, 2)}, {}}, kNow);
  ASSERT_EQ(undo.changes.size(), 1u);
  EXPECT_EQ(
      base::to_json(undo.changes[0].patch),
      R"({"metadata":{"resourceVersion":"7","annotations":{"deployment.kubernetes.io/revision":"3","deployment.kubernetes.io/revision-history":"1"}},"spec":{"replicas":1}})");
  EXPECT_EQ(undo.revision, "3");
}
TEST(DeploymentPlan, ScaledInTheMiddleIsShared) {
  auto d = deployment(15, "b", 3, 2);
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 8, 8, 10, 13, 1), rs("new", "b", 50, 5, 0, 10, 13, 2)}),
            "scale old 8 -> 11\nscale new 5 -> 7\nrevision 2\n");
  d->replicas = 0;
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 8, 8, 10, 13, 1), rs("new", "b", 50, 5, 0, 10, 13, 2)}),
            "scale old 8 -> 0\nscale new 5 -> 0\nrevision 2\n");
}
TEST(DeploymentPlan, PausedMakesNoReplicaSet) {
  auto d = deployment(3, "b");
  d->paused = true;
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 3, 3, 3, 4, 1)}), "");
  d->replicas = 5;
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 3, 3, 3, 4, 1)}), "scale old 3 -> 5\n");
}
TEST(DeploymentPlan, RecreateWaitsForTheLastOldPod) {
  auto d = deployment(2, "b");
  d->recreate = true;
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 2, 2, 2, 2, 1)}), "scale old 2 -> 0\n");
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 0, 0, 2, 2, 1)}, {"uid-old"}), "");
  EXPECT_EQ(plan(d, {rs("old", "a", 100, 0, 0, 2, 2, 1)}).substr(0, 7), "create ");
}
TEST(DeploymentPlan, HistoryPastItsLimitGoesOldestFirst) {
  auto d = deployment(1, "d");
  d->revision_history_limit = 1;
  d->annotations[kRevision] = "4";
  EXPECT_EQ(plan(d, {rs("one", "a", 400, 0, 0, 1, 2, 1), rs("two", "b", 300, 0, 0, 1, 2, 3),
                     rs("three", "c", 200, 0, 0, 1, 2, 2), rs("four", "d", 100, 1, 1, 1, 2, 4)}),
            "delete one\ndelete three\n");
}
TEST(DeploymentPlan, AdoptsAndReleasesBeforeAnythingElse) {
  auto d = deployment(3, "a");
  auto orphan = std::make_shared<ReplicaOwner>(*rs("orphan", "a", 100, 3, 3, 3, 4, 1));
  orphan->controller = {};
  auto stray = std::make_shared<ReplicaOwner>(*rs("stray", "a", 100, 3, 3, 3, 4, 1));
  stray->labels = {{"app", "db"}};
  EXPECT_EQ(plan(d, {orphan, stray}), "adopt orphan\nrelease stray\n\n");
}
TEST(DeploymentPlan, StatusTellsCompleteProgressAndDeadline) {
  auto d = deployment(3, "a");
  auto words = [&](std::vector<std::shared_ptr<const ReplicaOwner>> sets) {
    std::string text = plan_deployment({d, std::move(sets), {}}, kNow).text();
    return text.substr(text.find("status "));
  };
  EXPECT_EQ(words({rs("one", "a", 100, 3, 3, 3, 4, 1)}),
            "status replicas=3 updated=3 ready=3 available=3 unavailable=0 "
            "Progressing=True/NewReplicaSetAvailable Available=True/MinimumReplicasAvailable\n");
  d->status =
      base::parse_json(
          R"({"observedGeneration":4,"replicas":3,"updatedReplicas":3,"readyReplicas":1,"availableReplicas":1,"conditions":[
      {"type":"Progressing","status":"True","reason":"ReplicaSetUpdated","lastUpdateTime":")" +
          base::format_time(ago(601)) + R"(","lastTransitionTime":")" + base::format_time(ago(900)) +
          R"("}]})")
          .value();
  EXPECT_EQ(words({rs("one", "a", 100, 3, 1, 3, 4, 1)}),
            "status replicas=3 updated=3 ready=1 available=1 unavailable=2 "
            "Progressing=False/ProgressDeadlineExceeded Available=False/MinimumReplicasUnavailable\n");
  EXPECT_EQ(words({rs("one", "a", 100, 3, 2, 3, 4, 1)}),
            "status replicas=3 updated=3 ready=2 available=2 unavailable=1 "
            "Available=False/MinimumReplicasUnavailable Progressing=True/ReplicaSetUpdated\n");
}

TEST(DeploymentPlan, WhoWishesItGoesBackWhenTheDeadlinePassed) {
  auto failed = [](const char* wish, const char* reason = "ProgressDeadlineExceeded") {
    auto d = deployment(3, "new");
    if (*wish) d->annotations[kRollback] = wish;
    d->status =
        base::parse_json(
            fmt::format(
                R"({{"observedGeneration":4,"conditions":[{{"type":"Progressing","status":"False","reason":"{}","lastUpdateTime":"{}"}}]}})",
                reason, base::format_time(ago(700))))
            .value();
    return d;
  };
  auto current = rs("cur", "new", 800, 1, 0, 3, 4, 3);
  auto serves = rs("old", "good", 4000, 3, 3, 3, 4, 2), older = rs("older", "first", 5000, 1, 1, 3, 4, 1);
  auto goes_back = [&](std::shared_ptr<Deployment> d, std::vector<std::shared_ptr<const ReplicaOwner>> sets) {
    auto plan = plan_deployment({std::move(d), std::move(sets), {}}, kNow);
    EXPECT_TRUE(!plan.rollback || (plan.text().find("scale") == std::string::npos && !plan.create))
        << plan.text();
    return plan.rollback ? plan.rollback->revision + " " + base::to_json(plan.rollback->pod_template) : "";
  };
  EXPECT_EQ(goes_back(failed("true"), {current, serves, older}),
            R"(2 {"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"good"}]}})");
  EXPECT_EQ(goes_back(failed(""), {current, serves}), "") << "it was not wished";
  EXPECT_EQ(goes_back(failed("false"), {current, serves}), "");
  EXPECT_EQ(goes_back(failed("true", "ReplicaSetUpdated"), {current, serves}), "")
      << "who waits has to see the deadline pass first";
  EXPECT_EQ(goes_back(failed("true"), {current, rs("old", "good", 4000, 3, 0, 3, 4, 2)}), "")
      << "the older one serves nobody either";
  auto again = std::make_shared<ReplicaOwner>(*current);
  again->annotations["deployment.kubernetes.io/revision-history"] = "1";
  EXPECT_EQ(goes_back(failed("true"), {again, serves}), "") << "it was gone back to";
  auto changed = failed("true");
  changed->meta.generation = 5;
  EXPECT_EQ(goes_back(changed, {current, serves}), "") << "the condition is about what was before";
  auto paused = failed("true");
  paused->paused = true;
  EXPECT_EQ(goes_back(paused, {current, serves}), "");
}

}  // namespace master::controllers
