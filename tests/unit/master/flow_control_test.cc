#include "master/server/flow_control.h"

#include <gtest/gtest.h>

#include "base/http/whole_answer.h"
#include "master/registry/object_cache.h"

namespace master {
namespace {

namespace json = base::json;

class FakeExchange final : public base::http::WholeAnswerExchange {
 public:
  using WholeAnswerExchange::WholeAnswerExchange;
  void respond(int, base::http::Headers, std::vector<base::http::Bytes>) override {}
};

class FlowControlTest : public ::testing::Test {
 protected:
  RequestInfo request(User user, std::string method, std::string target) {
    RequestInfo info;
    base::http::Request http;
    http.method = std::move(method);
    http.target = std::move(target);
    info.exchange = std::make_shared<FakeExchange>(http);
    info.user = std::move(user);
    if (!parse_resource_path(table_, http.path(), http.method, &info)) {
      info.resource = nullptr;
      info.verb = "get";
    }
    return info;
  }
  std::string sorted(User user, std::string method, std::string target) {
    FlowControl::Flow flow = flows_.classify(request(std::move(user), std::move(method), std::move(target)));
    return flow.schema + " " + std::string(FlowControl::level_name(flow)) + " " + flow.distinguisher;
  }
  FlowControl::Counts counts(std::string_view level) {
    for (const auto& one : flows_.counts())
      if (one.level == level) return one;
    return {};
  }
  void settle() {
    for (int i = 0; i < 20; ++i) loop_.run_once(base::Duration::zero());
  }
  const User node_{"system:node:n1", {"system:nodes", "system:authenticated"}};
  const User greedy_{"greedy", {"system:authenticated"}};
  ResourceTable table_;
  base::Loop loop_;
  FlowControl flows_{loop_, 600};
};

TEST_F(FlowControlTest, SortsAsKubernetesDoesByDefault) {
  EXPECT_EQ(sorted({"admin", {"system:masters"}}, "GET", "/api/v1/pods"), "exempt exempt ");
  EXPECT_EQ(sorted({"system:anonymous", {"system:unauthenticated"}}, "GET", "/readyz"), "probes exempt ");
  EXPECT_EQ(sorted(node_, "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"),
            "system-node-high node-high system:node:n1");
  EXPECT_EQ(sorted(node_, "PATCH", "/api/v1/nodes/n1/status"), "system-node-high node-high system:node:n1");
  EXPECT_EQ(sorted(node_, "GET", "/api/v1/pods?watch=true"), "system-nodes system system:node:n1");
  EXPECT_EQ(sorted({"system:kube-scheduler", {"system:authenticated"}}, "PUT",
                   "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/s"),
            "system-leader-election leader-election system:kube-scheduler");
  EXPECT_EQ(sorted({"system:kube-scheduler", {"system:authenticated"}}, "GET", "/api/v1/namespaces/a/pods"),
            "kube-scheduler workload-high a");
  EXPECT_EQ(
      sorted({"system:serviceaccount:kube-system:x", {"system:serviceaccounts", "system:authenticated"}},
             "GET", "/api/v1/namespaces/a/pods"),
      "kube-system-service-accounts workload-high a");
  EXPECT_EQ(sorted({"system:serviceaccount:a:x", {"system:serviceaccounts", "system:authenticated"}}, "GET",
                   "/api/v1/namespaces/a/pods"),
            "service-accounts workload-low system:serviceaccount:a:x");
  EXPECT_EQ(sorted(greedy_, "GET", "/api/v1/pods"), "global-default global-default greedy");
  EXPECT_EQ(sorted(greedy_, "GET", "/openapi/v2"), "global-default global-default greedy");
}

TEST_F(FlowControlTest, SharesSeatsByNominalConcurrencyShares) {
  // 5 + 30 + 40 + 10 + 40 + 100 + 20 shares
  EXPECT_EQ(counts("workload-low").seats, 245);
  EXPECT_EQ(counts("global-default").seats, 49);
  EXPECT_EQ(counts("catch-all").seats, 13);
}

TEST_F(FlowControlTest, AFullLevelQueuesThenRefusesAndOthersGoOn) {
  FlowControl::Flow greedy = flows_.classify(request(greedy_, "GET", "/api/v1/pods"));
  FlowControl::Flow node = flows_.classify(request(node_, "GET", "/api/v1/nodes/n1"));
  std::vector<FlowControl::Seat> held;
  int refused = 0, ran = 0;
  auto run = [&](FlowControl::Seat seat) { held.push_back(std::move(seat)); };
  auto refuse = [&] { ++refused; };
  // 49 seats, and its hand of 6 queues of 50.
  for (int i = 0; i < 500; ++i) flows_.admit(greedy, run, refuse);
  settle();
  EXPECT_EQ(held.size(), 49u);
  EXPECT_EQ(counts("global-default").queued, 300u);
  EXPECT_EQ(refused, 151);
  flows_.admit(
      node, [&](FlowControl::Seat) { ++ran; }, refuse);
  settle();
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(refused, 151);
  // Another user of the same level finds a queue of its own.
  FlowControl::Flow modest =
      flows_.classify(request({"modest", {"system:authenticated"}}, "GET", "/api/v1/pods"));
  flows_.admit(
      modest, [&](FlowControl::Seat) { ++ran; }, refuse);
  settle();
  EXPECT_EQ(ran, 1);
  held.resize(45);  // four seats are free: its turn comes among the first
  settle();
  EXPECT_EQ(ran, 2);
  while (!held.empty()) {
    held.pop_back();
    settle();
    if (counts("global-default").queued == 0) held.clear();
  }
  settle();
  EXPECT_EQ(counts("global-default").executing, 0);
}

TEST_F(FlowControlTest, ABusyLoopServesTheNodesBetweenAGreedyClientsRequests) {
  FlowControl::Flow greedy = flows_.classify(request(greedy_, "GET", "/api/v1/pods"));
  FlowControl::Flow node = flows_.classify(request(node_, "GET", "/api/v1/nodes/n1"));
  std::vector<char> order;
  auto work = [&](char who) {
    return [&order, who](FlowControl::Seat) {
      auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
      while (std::chrono::steady_clock::now() < until) {
      }
      order.push_back(who);
    };
  };
  auto refuse = [] { FAIL() << "refused"; };
  for (int i = 0; i < 100; ++i) flows_.admit(greedy, work('g'), refuse);
  for (int i = 0; i < 10; ++i) flows_.admit(node, work('n'), refuse);
  for (int i = 0; i < 1000 && order.size() < 110; ++i) loop_.run_once(base::Duration::zero());
  ASSERT_EQ(order.size(), 110u);
  // node-high has twice the shares: its ten are done long before the hundred.
  size_t last_node = 0;
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] == 'n') last_node = i;
  EXPECT_LT(last_node, 40u);
}

TEST_F(FlowControlTest, FollowsItsObjects) {
  auto schemas = FlowControl::default_schemas();
  schemas.push_back(
      base::parse_json(R"({"metadata":{"name":"mine","uid":"u1"},"spec":{"matchingPrecedence":50,
    "priorityLevelConfiguration":{"name":"slow"},"distinguisherMethod":{"type":"ByUser"},"rules":[{"subjects":[{"kind":"User","user":{"name":"greedy"}}],
    "resourceRules":[{"verbs":["list"],"apiGroups":[""],"resources":["pods"],"clusterScope":true,"namespaces":["*"]}]}]}})")
          .value());
  auto levels = FlowControl::default_levels();
  levels.push_back(
      base::parse_json(
          R"({"metadata":{"name":"slow","uid":"u2"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,
    "limitResponse":{"type":"Reject"}}}})")
          .value());
  flows_.configure(schemas, levels);
  EXPECT_EQ(sorted(greedy_, "GET", "/api/v1/pods"), "mine slow greedy");
  EXPECT_EQ(sorted(greedy_, "GET", "/api/v1/namespaces/a/pods/b"), "global-default global-default greedy");
  FlowControl::Flow flow = flows_.classify(request(greedy_, "GET", "/api/v1/pods"));
  EXPECT_EQ(flow.schema_uid, "u1");
  EXPECT_EQ(FlowControl::level_uid(flow), "u2");
  std::vector<FlowControl::Seat> held;
  int refused = 0;
  for (int i = 0; i < 10; ++i)
    flows_.admit(
        flow, [&](FlowControl::Seat seat) { held.push_back(std::move(seat)); }, [&] { ++refused; });
  EXPECT_EQ(static_cast<int>(held.size()), counts("slow").seats);
  EXPECT_EQ(refused, 10 - counts("slow").seats);
  // Without the objects only the mandatory ones are left.
  flows_.configure({}, {});
  EXPECT_EQ(sorted(greedy_, "GET", "/api/v1/pods"), "catch-all catch-all greedy");
  EXPECT_EQ(sorted({"admin", {"system:masters"}}, "GET", "/api/v1/pods"), "exempt exempt ");
}

}  // namespace
}  // namespace master
