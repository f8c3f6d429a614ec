// The scheduler against a real API server: what it tells about Pods that fit nowhere.
#include "master/scheduler/scheduler.h"

#include "tests/unit/master/server_fixture.h"

namespace master {
namespace {

class SchedulerTest : public ServerTest {
 protected:
  static constexpr const char* kPods = "/api/v1/namespaces/default/pods";
  void TearDown() override {
    scheduler_.reset();
    ServerTest::TearDown();
  }
  void start() {
    scheduler_.reset();
    scheduler_ = std::make_unique<scheduler::Scheduler>(
        loop_, server_->local_transport({"system:kube-scheduler", {"system:authenticated"}}), config_,
        [this] { return now_; });
    scheduler_->start();
  }
  base::json::value scheduled() {
    auto pod = ok(call("GET", std::string(kPods) + "/p"));
    const auto* conditions = base::find_path(pod, "status", "conditions");
    return conditions && conditions->is_array() && !conditions->get_array().empty()
               ? conditions->get_array()[0]
               : base::json::value(nullptr);
  }
  int64_t events() {
    int64_t count = 0;
    auto list = ok(call("GET", "/api/v1/namespaces/default/events?fieldSelector=reason=FailedScheduling"));
    for (const auto& event : list.at("items").get_array())
      count += std::max<int64_t>(1, base::as_int(base::find(event, "count")));
    return count;
  }
  std::string version() {
    return std::string(
        base::string_at(ok(call("GET", std::string(kPods) + "/p")), "metadata", "resourceVersion"));
  }

  base::Time now_ = base::parse_time("2026-01-01T00:00:00Z").value_or(base::Time{});
  scheduler::Config config_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;
};

TEST_F(SchedulerTest, AConditionStaysWhatItIsOverARestart) {
  start();
  ok(call("POST", kPods, R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})"),
     201);
  wait_for([&] { return base::string_at(scheduled(), "message") == "no nodes available to schedule pods"; });
  EXPECT_EQ(base::string_at(scheduled(), "lastTransitionTime"), "2026-01-01T00:00:00Z");
  wait_for([&] { return events() == 1; });
  const std::string before = version();

  now_ += std::chrono::hours(1);
  start();
  wait_for([&] { return events() == 2; });
  ok(call("POST", kMaps, config_map("after", "whatever was on its way")), 201);
  EXPECT_EQ(version(), before) << "nothing about it has changed";

  // Another message is no other status.
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n"},"spec":{"unschedulable":true}})"), 201);
  wait_for([&] { return base::string_at(scheduled(), "message").starts_with("0/1 nodes are available"); });
  EXPECT_EQ(base::string_at(scheduled(), "lastTransitionTime"), "2026-01-01T00:00:00Z");
}

TEST_F(SchedulerTest, RoomIsPromisedUntilItIsThere) {
  start();
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n"}})"), 201);
  ok(call("PATCH", "/api/v1/nodes/n/status",
          R"({"status":{"allocatable":{"cpu":"2","memory":"1Gi","pods":"9"}}})",
          "application/merge-patch+json"));
  auto create = [&](const char* name, const char* cpu, const char* more) {
    ok(call("POST", kPods,
            fmt::format(
                R"({{"metadata":{{"name":"{}"}},"spec":{{"terminationGracePeriodSeconds":30{},"containers":[
                {{"name":"c","image":"i","resources":{{"requests":{{"cpu":"{}"}}}}}}]}}}})",
                name, more, cpu)),
       201);
  };
  auto get = [&](const char* name) { return ok(call("GET", fmt::format("{}/{}", kPods, name))); };
  auto node_of = [&](const char* name) {
    return std::string(base::string_at(get(name), "spec", "nodeName"));
  };
  create("low", "2", "");
  wait_for([&] { return node_of("low") == "n"; });
  ok(call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
          R"({"metadata":{"name":"high"},"value":100})"),
     201);
  create("p", "1", R"(,"priorityClassName":"high")");
  wait_for([&] { return base::string_at(get("p"), "status", "nominatedNodeName") == "n"; });
  EXPECT_EQ(base::string_at(scheduled(), "message"), "0/1 nodes are available: 1 Insufficient cpu.");
  wait_for([&] { return !base::string_at(get("low"), "metadata", "deletionTimestamp").empty(); });

  // While it waits, no other takes its place, and nobody is sent away once more; a scheduler that comes after
  // this one keeps the promise.
  create("other", "2", "");
  wait_for([&] { return base::find_path(get("other"), "status", "conditions") != nullptr; });
  start();
  wait_for([&] { return events() >= 3; });
  EXPECT_EQ(base::string_at(get("p"), "status", "nominatedNodeName"), "n");
  ok(call("DELETE", std::string(kPods) + "/low", R"({"gracePeriodSeconds":0})"));
  wait_for([&] { return node_of("p") == "n"; });
  EXPECT_EQ(node_of("other"), "");
}

TEST_F(SchedulerTest, GatedPodsAreToldSo) {
  start();
  ok(call("POST", kPods, R"({"metadata":{"name":"p"},"spec":{"schedulingGates":[{"name":"example.com/g"}],
      "containers":[{"name":"c","image":"i"}]}})"),
     201);
  wait_for([&] { return base::string_at(scheduled(), "reason") == "SchedulingGated"; });
  const std::string before = version();
  start();
  ok(call("PATCH", std::string(kPods) + "/p", R"({"spec":{"schedulingGates":null}})",
          "application/merge-patch+json"));
  wait_for([&] { return base::string_at(scheduled(), "reason") == "Unschedulable"; });
  EXPECT_NE(version(), before);
}

TEST_F(SchedulerTest, PodsOfOtherSchedulersAreLeftAloneAndThoseOfProfilesAreNot) {
  config_.profiles["packer"].scheduler_name = "packer";
  start();
  for (const char* name : {"packer", "another"})
    ok(call("POST", kPods,
            fmt::format(R"({{"metadata":{{"name":"{0}"}},"spec":{{"schedulerName":"{0}",
                "containers":[{{"name":"c","image":"i"}}]}}}})",
                        name)),
       201);
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n"}})"), 201);
  ok(call("PATCH", "/api/v1/nodes/n/status",
          R"({"status":{"allocatable":{"cpu":"2","memory":"1Gi","pods":"9"}}})",
          "application/merge-patch+json"));
  auto node_of = [&](const char* name) {
    return std::string(
        base::string_at(ok(call("GET", fmt::format("{}/{}", kPods, name))), "spec", "nodeName"));
  };
  wait_for([&] { return node_of("packer") == "n"; });
  EXPECT_EQ(node_of("another"), "");
  wait_for([&] {
    auto list = ok(call("GET", "/api/v1/namespaces/default/events?fieldSelector=reason=Scheduled"));
    const auto& items = list.at("items").get_array();
    return items.size() == 1 && base::string_at(items[0], "source", "component") == "packer";
  });
}

}  // namespace
}  // namespace master
