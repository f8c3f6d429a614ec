#include "master/controllers/autoscaler_plan.h"

#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

namespace {

constexpr const char* kCpuHalf =
    R"([{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}])";

// An autoscaler "a" of Deployment "web"; `more` are further members of its spec.
Autoscaler autoscaler(int least, int most, const std::string& metrics = kCpuHalf,
                      const std::string& more = "", const std::string& status = "{}") {
  return *Autoscaler::reader(kAutoscalers)(
      base::parse_json(
          fmt::format(
              R"({{"metadata":{{"namespace":"default","name":"a","uid":"u1"}},"spec":{{"scaleTargetRef":)"
              R"({{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}},"minReplicas":{},"maxReplicas":{},)"
              R"("metrics":{}{}}},"status":{}}})",
              least, most, metrics, more, status))
          .value());
}
// "a cpu=100 request=200 ready" by line: what it uses and requests in thousandths; without cpu= it is not
// measured. Also: pending, failed, deleting, unready, started=SECONDS ago (3600).
AutoscalerSeen seen(int replicas, const std::string& text) {
  AutoscalerSeen out;
  out.scale = {replicas, replicas, "app=web"};
  out.metrics.emplace_back();
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    ScaledPod pod;
    if (!(words >> pod.name)) continue;
    pod.phase = "Running";
    pod.ready = true;
    pod.started = ago(3600);
    pod.ready_since = ago(3500);
    int64_t request = 200;
    for (std::string word; words >> word;) {
      const std::string value = word.substr(word.find('=') + 1);
      if (word.starts_with("cpu="))
        out.metrics[0].pods[pod.name] = {std::stoll(value), kNow, std::chrono::seconds(30)};
      if (word.starts_with("request=")) request = std::stoll(value);
      if (word.starts_with("started=")) pod.started = ago(std::stoi(value));
      if (word == "unready") pod.ready = false;
      if (word == "pending") pod.phase = "Pending";
      if (word == "failed") pod.phase = "Failed";
      if (word == "deleting") pod.deleting = true;
    }
    pod.containers.push_back({"c", {}});
    if (request) pod.containers[0].requests["cpu"] = request;
    out.pods.push_back(std::move(pod));
  }
  return out;
}
std::string scaled(const Autoscaler& autoscaler, const AutoscalerSeen& seen, ScalingMemory memory = {}) {
  const AutoscalerPlan plan = plan_autoscaler(autoscaler, seen, std::move(memory), kNow);
  return plan.scale_to ? fmt::format("{}: {}", *plan.scale_to, plan.reason) : "stays";
}
constexpr const char* kAbove = "cpu resource utilization (percentage of request) above target";

}  // namespace

TEST(AutoscalerPlan, FollowsUtilization) {
  const Autoscaler a = autoscaler(1, 10);
  EXPECT_EQ(scaled(a, seen(2, "a cpu=200\nb cpu=200")), fmt::format("4: {}", kAbove));
  EXPECT_EQ(scaled(a, seen(4, "a cpu=50\nb cpu=50\nc cpu=50\nd cpu=50")), "2: All metrics below target");
  EXPECT_EQ(scaled(a, seen(2, "a cpu=105\nb cpu=105")), "stays") << "within the tolerance";
  EXPECT_EQ(scaled(a, seen(2, "a cpu=113\nb cpu=113")), fmt::format("3: {}", kAbove));
  EXPECT_EQ(scaled(a, seen(3, "a cpu=2000\nb cpu=2000\nc cpu=2000")), fmt::format("6: {}", kAbove))
      << "at most the double";
  EXPECT_EQ(
      scaled(
          a,
          seen(8, "a cpu=200\nb cpu=200\nc cpu=200\nd cpu=200\ne cpu=200\nf cpu=200\ng cpu=200\nh cpu=200")),
      fmt::format("10: {}", kAbove));
}
TEST(AutoscalerPlan, WhatIsNotKnownSpeaksAgainstTheChange) {
  const Autoscaler a = autoscaler(1, 20);
  // Not measured: nothing is used when more are wanted, all when fewer.
  EXPECT_EQ(scaled(a, seen(3, "a cpu=200\nb cpu=200\nc")), fmt::format("4: {}", kAbove));
  EXPECT_EQ(scaled(a, seen(3, "a cpu=20\nb cpu=20\nc")), "stays");
  // Starting: its load is no load.
  EXPECT_EQ(scaled(a, seen(3, "a cpu=200\nb cpu=200\nc cpu=900 unready started=10")),
            fmt::format("4: {}", kAbove));
  EXPECT_EQ(scaled(a, seen(3, "a cpu=200\nb cpu=200\nc pending")), fmt::format("4: {}", kAbove));
  // Gone, or going: not counted at all.
  EXPECT_EQ(scaled(a, seen(3, "a cpu=200\nb cpu=200\nc cpu=0 deleting")), fmt::format("4: {}", kAbove));
  EXPECT_EQ(scaled(a, seen(3, "a cpu=200\nb cpu=200\nc cpu=0 failed")), fmt::format("4: {}", kAbove));
}
TEST(AutoscalerPlan, SaysWhatItCannotCompute) {
  const Autoscaler a = autoscaler(1, 10);
  EXPECT_EQ(plan_autoscaler(a, seen(2, "a cpu=200 request=0\nb cpu=200"), {}, kNow).text(),
            "status current=2 desired=2 AbleToScale=True/SucceededGetScale "
            "ScalingActive=False/FailedGetResourceMetric\n"
            "event Warning FailedGetResourceMetric: failed to get cpu utilization: missing request for cpu "
            "in container c "
            "of Pod a\n"
            "event Warning FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error "
            "is: failed to get "
            "cpu utilization: missing request for cpu in container c of Pod a\n");
  EXPECT_EQ(scaled(a, seen(2, "a\nb")), "stays");
  EXPECT_EQ(scaled(a, seen(2, "")), "stays");
  AutoscalerSeen none = seen(2, "a cpu=1");
  none.scale_error = "deployments.apps \"web\" not found";
  EXPECT_EQ(plan_autoscaler(a, none, {}, kNow).text(),
            "status current=0 desired=0 AbleToScale=False/FailedGetScale\n"
            "event Warning FailedGetScale: deployments.apps \"web\" not found\n");
}
TEST(AutoscalerPlan, TheMetricThatAsksForMostWins) {
  const Autoscaler a = autoscaler(
      1, 10,
      R"([{"type":"Resource","resource":{"name":"cpu","target":{"type":"AverageValue","averageValue":"100m"}}},)"
      R"({"type":"External","external":{"metric":{"name":"queue","selector":{"matchLabels":{"q":"a"}}},)"
      R"("target":{"type":"AverageValue","averageValue":"10"}}}])");
  AutoscalerSeen both = seen(2, "a cpu=100\nb cpu=100");
  both.metrics.push_back({"", {}, {35000, 5000}});
  EXPECT_EQ(scaled(a, both), "4: external metric queue(q=a) above target");
  // One that fails keeps what is there, and lets others ask for more.
  AutoscalerSeen failed = seen(2, "a cpu=10\nb cpu=10");
  failed.metrics.push_back({"unable to fetch metrics from external metrics API: away", {}, {}});
  EXPECT_EQ(scaled(a, failed), "stays");
  AutoscalerSeen more = seen(2, "a cpu=200\nb cpu=200");
  more.metrics.push_back({"unable to fetch metrics from external metrics API: away", {}, {}});
  EXPECT_EQ(scaled(a, more), "4: cpu resource above target");
}
TEST(AutoscalerPlan, AnObjectsMetric) {
  const Autoscaler a = autoscaler(
      1, 10,
      R"([{"type":"Object","object":{"describedObject":{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","name":"main"},)"
      R"("metric":{"name":"requests"},"target":{"type":"Value","value":"100"}}}])");
  AutoscalerSeen busy = seen(2, "a\nb");
  busy.metrics[0].values = {250000};
  EXPECT_EQ(scaled(a, busy), "4: Ingress metric requests above target") << "5, but at most the double";
  EXPECT_EQ(
      metric_path(a, a.metrics[0], "app=web", "ingresses.networking.k8s.io"),
      "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/ingresses.networking.k8s.io/main/requests");
}
TEST(AutoscalerPlan, BoundsAreKeptWithoutMetrics) {
  EXPECT_EQ(scaled(autoscaler(3, 5), seen(1, "")), "3: Current number of replicas below Spec.MinReplicas");
  EXPECT_EQ(scaled(autoscaler(1, 5), seen(9, "")), "5: Current number of replicas above Spec.MaxReplicas");
  EXPECT_EQ(scaled(autoscaler(1, 5), seen(0, "")), "stays") << "scaled to zero by hand: left alone";
}
TEST(AutoscalerPlan, FromAndToZeroWhereThatIsAllowed) {
  const Autoscaler a = autoscaler(
      0, 5,
      R"([{"type":"External","external":{"metric":{"name":"queue"},"target":{"type":"AverageValue","averageValue":"10"}}}])");
  AutoscalerSeen idle = seen(1, "a");
  idle.metrics[0].values = {0};
  EXPECT_EQ(scaled(a, idle), "0: All metrics below target");
  AutoscalerSeen woken = seen(0, "");
  woken.metrics[0].values = {25000};
  EXPECT_EQ(scaled(a, woken), "3: external metric queue(nil) above target");
}
TEST(AutoscalerPlan, TheWindowHoldsBack) {
  ScalingMemory memory;
  memory.recommendations = {{ago(400), 9}, {ago(200), 4}};
  EXPECT_EQ(scaled(autoscaler(1, 10), seen(5, "a cpu=1\nb cpu=1\nc cpu=1\nd cpu=1\ne cpu=1"), memory),
            "4: All metrics below target");
  const Autoscaler quick =
      autoscaler(1, 10, kCpuHalf, R"(,"behavior":{"scaleDown":{"stabilizationWindowSeconds":0}})");
  EXPECT_EQ(scaled(quick, seen(5, "a cpu=1\nb cpu=1\nc cpu=1\nd cpu=1\ne cpu=1"), memory),
            "1: All metrics below target");
}
TEST(AutoscalerPlan, PoliciesBoundTheSpeed) {
  const std::string slow =
      R"(,"behavior":{"scaleUp":{"policies":[{"type":"Pods","value":2,"periodSeconds":60},{"type":"Percent","value":10,"periodSeconds":60}]},)"
      R"("scaleDown":{"stabilizationWindowSeconds":0,"selectPolicy":"Min","policies":[{"type":"Pods","value":3,"periodSeconds":60},{"type":"Percent","value":50,"periodSeconds":60}]}})";
  const Autoscaler a = autoscaler(1, 100, kCpuHalf, slow);
  std::string busy, idle;
  for (int i = 0; i < 10; ++i)
    busy += fmt::format("p{} cpu=2000\n", i), idle += fmt::format("p{} cpu=1\n", i);
  EXPECT_EQ(scaled(a, seen(10, busy)), fmt::format("12: {}", kAbove));
  EXPECT_EQ(scaled(a, seen(10, idle)), "7: All metrics below target");
  ScalingMemory memory;
  memory.added = {{ago(30), 1}};  // one of the two is used up
  EXPECT_EQ(scaled(a, seen(10, busy), memory), fmt::format("11: {}", kAbove));
  memory.added = {{ago(90), 5}};
  EXPECT_EQ(scaled(a, seen(10, busy), memory), fmt::format("12: {}", kAbove));
  const Autoscaler never =
      autoscaler(1, 100, kCpuHalf, R"(,"behavior":{"scaleDown":{"selectPolicy":"Disabled"}})");
  EXPECT_EQ(scaled(never, seen(10, idle)), "stays");
}
TEST(AutoscalerPlan, ReadsMetrics) {
  const Autoscaler a = autoscaler(
      1, 10,
      R"([{"type":"ContainerResource","containerResource":{"name":"memory","container":"app","target":{"type":"AverageValue","averageValue":"1Gi"}}},)"
      R"({"type":"Pods","pods":{"metric":{"name":"rps","selector":{"matchLabels":{"v":"1"}}},"target":{"type":"AverageValue","averageValue":"5"}}}])");
  EXPECT_EQ(metric_path(a, a.metrics[0], "app=web,tier in (a,b)", ""),
            "/apis/metrics.k8s.io/v1beta1/namespaces/default/"
            "pods?labelSelector=app%3Dweb%2Ctier%20in%20%28a%2Cb%29");
  EXPECT_EQ(metric_path(a, a.metrics[1], "app=web", ""),
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/"
            "rps?labelSelector=app%3Dweb&metricLabelSelector=v%3D1");
  const MetricSeen memory = read_metric(
      a.metrics[0],
      base::parse_json(
          R"({"items":[{"metadata":{"name":"p"},"timestamp":"2027-01-15T08:00:00Z","window":"15s","containers":[)"
          R"({"name":"app","usage":{"cpu":"1","memory":"2Mi"}},{"name":"other","usage":{"memory":"9Mi"}}]},)"
          R"({"metadata":{"name":"q"},"containers":[{"name":"other","usage":{"memory":"9Mi"}}]},{"metadata":null},7]})")
          .value());
  ASSERT_EQ(memory.pods.size(), 1u);
  EXPECT_EQ(memory.pods.at("p").value, int64_t{2} * 1024 * 1024 * 1000);
  EXPECT_EQ(memory.pods.at("p").window, std::chrono::seconds(15));
  const MetricSeen rates = read_metric(
      a.metrics[1],
      base::parse_json(R"({"items":[{"describedObject":{"kind":"Pod","name":"p"},"value":"1500m"}]})")
          .value());
  EXPECT_EQ(rates.pods.at("p").value, 1500);
}
TEST(AutoscalerPlan, ShowsWhatItSaw) {
  EXPECT_EQ(
      plan_autoscaler(autoscaler(1, 10), seen(2, "a cpu=200\nb cpu=200"), {}, kNow).text(),
      fmt::format(
          "scale to 4: {}\n"
          "status current=2 desired=4 AbleToScale=True/SucceededRescale ScalingActive=True/ValidMetricFound "
          "ScalingLimited=False/DesiredWithinRange "
          R"([{{"type":"Resource","resource":{{"name":"cpu","current":{{"averageValue":"200m","averageUtilization":100}}}}}}])"
          "\n",
          kAbove));
}

}  // namespace master::controllers
