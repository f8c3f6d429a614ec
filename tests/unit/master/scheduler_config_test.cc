#include "master/scheduler/scheduler_config.h"

#include "api/yaml.h"
#include "tests/unit/master/scheduler_text.h"

namespace master::scheduler {
namespace {

base::Result<Config> config(const std::string& text) {
  return read_config(api::parse_yaml("apiVersion: kubescheduler.config.k8s.io/v1\n"
                                     "kind: KubeSchedulerConfiguration\n" +
                                     text)
                         .value()[0]);
}
std::string refusal(const std::string& text) {
  auto read = config(text);
  return read.ok() ? "accepted" : read.error().message();
}

TEST(SchedulerConfig, ProfilesRulesWeightsAndArguments) {
  auto read = config(R"(
leaderElection: {leaderElect: false}
percentageOfNodesToScore: 30
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 20
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  percentageOfNodesToScore: 100
  plugins:
    score:
      disabled: [{name: PodTopologySpread}]
      enabled: [{name: NodeResourcesFit, weight: 9}]
    filter:
      disabled: [{name: NodePorts}]
  pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}]}
  - name: InterPodAffinity
    args: {hardPodAffinityWeight: 50}
- schedulerName: only-fit
  plugins:
    multiPoint:
      disabled: [{name: "*"}]
      enabled: [{name: PrioritySort}, {name: DefaultBinder}, {name: NodeResourcesFit}]
)");
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->first_backoff, std::chrono::seconds(2));
  EXPECT_EQ(read->last_backoff, std::chrono::seconds(20));
  ASSERT_EQ(read->profiles.size(), 3u);
  EXPECT_EQ(read->profiles.at("default-scheduler").percentage_of_nodes_to_score, 30);
  const Profile& packer = read->profiles.at("packer");
  EXPECT_EQ(packer.percentage_of_nodes_to_score, 100);
  EXPECT_EQ(packer.weights, (std::map<std::string, int>{{"NodeResourcesFit", 9}, {"PodTopologySpread", 0}}));
  EXPECT_EQ(packer.without, std::set<std::string>{"NodePorts"});
  EXPECT_EQ(packer.fit.strategy, Fit::Strategy::kMostAllocated);
  EXPECT_EQ(packer.hard_pod_affinity_weight, 50);

  // What it means: the fuller node, and a node that taints would have kept out.
  Picture picture;
  picture.set_node(text_node("a"));
  picture.set_node(text_node("b", R"("taints":[{"key":"k","effect":"NoSchedule"}])"));
  put(picture, "default/x", "b", text_ask(cpu_spec("2")));
  Profile profile = read->profiles.at("only-fit");
  EXPECT_EQ(decide(text_ask(cpu_spec("1")), picture, profile), "a");
  profile.fit = packer.fit;
  EXPECT_EQ(decide(text_ask(cpu_spec("1")), picture, profile), "b");
}
TEST(SchedulerConfig, WhatIsNotKnownIsRefusedByItsPath) {
  EXPECT_EQ(refusal(""), "accepted");
  EXPECT_NE(refusal("extenders: []").find("extenders"), std::string::npos);
  EXPECT_NE(refusal("percentageOfNodesToScore: 101").find("from 0 to 100"), std::string::npos);
  EXPECT_NE(refusal("profiles: [{}, {}]").find("Duplicate value: \"default-scheduler\""), std::string::npos);
  EXPECT_NE(
      refusal("profiles: [{plugins: {score: {enabled: [{name: Mine}]}}}]").find("\"Mine\" is not known here"),
      std::string::npos);
  EXPECT_NE(refusal("profiles: [{plugins: {bind: {}}}]").find("profiles[0].plugins.bind"), std::string::npos);
  EXPECT_NE(refusal("profiles: [{plugins: 3}]").find("must be an object"), std::string::npos);
  EXPECT_NE(refusal("profiles: [3]").find("must be an object"), std::string::npos);
  EXPECT_NE(refusal("profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: "
                    "RequestedToCapacityRatio}}}]}]")
                .find("at least one point"),
            std::string::npos);
  EXPECT_FALSE(read_config(base::json::value()).ok());
  EXPECT_FALSE(read_config(base::parse_json(R"({"kind":"Pod","apiVersion":"v1"})").value()).ok());
}

}  // namespace
}  // namespace master::scheduler
