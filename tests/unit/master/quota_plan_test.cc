#include "master/admission/quota_plan.h"

#include <gtest/gtest.h>

#include "master/admission/limit_ranger.h"

namespace master {
namespace {

namespace json = base::json;

json::value parse(std::string_view text) { return base::parse_json(text).value(); }
ResourceInfo resource(const char* group, const char* plural) {
  ResourceInfo out;
  out.group = group;
  out.plural = plural;
  return out;
}
std::string text(const Usage& usage) {
  std::string out;
  for (const auto& [name, amount] : usage) out += (out.empty() ? "" : " ") + name + "=" + amount.text();
  return out;
}
constexpr char kPod[] =
    R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"100m","memory":"1Gi"},"limits":{"cpu":"1"}}},
  {"name":"b","resources":{"requests":{"cpu":"200m","example.com/gpu":"1"}}}],"initContainers":[{"name":"i","resources":{"requests":{"cpu":"250m"}}}]}})";

TEST(QuotaPlan, CountsObjects) {
  EXPECT_EQ(text(usage_of(resource("", "pods"), parse(kPod))),
            "count/pods=1 cpu=300m limits.cpu=1 memory=1Gi pods=1 requests.cpu=300m "
            "requests.example.com/gpu=1 requests.memory=1Gi");
  json::value over = parse(kPod);
  over.get_object()["status"] = json::object{{"phase", "Succeeded"}};
  EXPECT_EQ(text(usage_of(resource("", "pods"), over)), "count/pods=1");
  EXPECT_EQ(
      text(usage_of(resource("", "services"), parse(R"({"spec":{"type":"NodePort","ports":[{},{}]}})"))),
      "count/services=1 services=1 services.nodeports=2");
  EXPECT_EQ(
      text(usage_of(
          resource("", "persistentvolumeclaims"),
          parse(R"({"spec":{"storageClassName":"fast","resources":{"requests":{"storage":"5Gi"}}}})"))),
      "count/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/persistentvolumeclaims=1 "
      "fast.storageclass.storage.k8s.io/requests.storage=5Gi persistentvolumeclaims=1 requests.storage=5Gi");
  EXPECT_EQ(text(usage_of(resource("batch", "jobs"), parse("{}"))), "count/jobs.batch=1");
}

TEST(QuotaPlan, SaysWhatIsExceededAndMissing) {
  Quota quota =
      read_quota(parse(R"({"metadata":{"name":"q"},"spec":{"hard":{"pods":"2","requests.cpu":"1"}}})"));
  Usage used{{"pods", api::Quantity::of(1)}, {"requests.cpu", api::Quantity::of_milli(800)}};
  Usage wanted = limited(quota, usage_of(resource("", "pods"), parse(kPod)));
  EXPECT_EQ(text(wanted), "pods=1 requests.cpu=300m");
  EXPECT_EQ(
      exceeded(quota, used, wanted),
      "exceeded quota: q, requested: requests.cpu=300m, used: requests.cpu=800m, limited: requests.cpu=1");
  EXPECT_EQ(exceeded(quota, {}, wanted), "");
  EXPECT_EQ(unspecified(quota, resource("", "pods"),
                        parse(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})")),
            "failed quota: q: must specify requests.cpu for: a,b");
  EXPECT_EQ(base::to_json(quota_status(quota, used)),
            R"({"hard":{"pods":"2","requests.cpu":"1"},"used":{"pods":"1","requests.cpu":"800m"}})");
}

TEST(QuotaPlan, Scopes) {
  auto scoped = [](std::string_view spec, std::string_view pod) {
    return in_scope(read_quota(parse(R"({"metadata":{},"spec":)" + std::string(spec) + "}")),
                    resource("", "pods"), parse(pod));
  };
  EXPECT_FALSE(scoped(R"({"scopes":["BestEffort"]})", kPod));
  EXPECT_TRUE(scoped(R"({"scopes":["BestEffort"]})", R"({"spec":{"containers":[{"name":"a"}]}})"));
  EXPECT_TRUE(scoped(R"({"scopes":["NotTerminating","NotBestEffort"]})", kPod));
  EXPECT_TRUE(scoped(R"({"scopes":["Terminating"]})", R"({"spec":{"activeDeadlineSeconds":5}})"));
  std::string_view high =
      R"({"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["high"]}]}})";
  EXPECT_TRUE(scoped(high, R"({"spec":{"priorityClassName":"high"}})"));
  EXPECT_FALSE(scoped(high, R"({"spec":{"priorityClassName":"low"}})"));
}

TEST(LimitRanges, DefaultAndBound) {
  json::value range = parse(
      R"({"spec":{"limits":[{"type":"Container","default":{"cpu":"1"},"defaultRequest":{"cpu":"100m"},"max":{"cpu":"2"},"min":{"cpu":"50m"}},
     {"type":"Pod","max":{"cpu":"2500m"}},{"type":"PersistentVolumeClaim","max":{"storage":"1Gi"}}]}})");
  json::value pod = parse(
      R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"},{"name":"b","resources":{"limits":{"cpu":"2"}}}]}})");
  apply_limit_defaults(range, pod);
  EXPECT_EQ(base::to_json(pod.at("spec").at("containers").at(0).at("resources")),
            R"({"requests":{"cpu":"100m"},"limits":{"cpu":"1"}})");
  EXPECT_EQ(pod.at("metadata").at("annotations").at("kubernetes.io/limit-ranger").as_string(),
            "LimitRanger plugin set: cpu request for container a; cpu limit for container a; cpu request for "
            "container b");
  EXPECT_EQ(check_limits(range, pod, false),
            (std::vector<std::string>{"maximum cpu usage per Pod is 2500m, but limit is 3"}));
  json::value big = parse(
      R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"10m"},"limits":{"cpu":"3"}}}]}})");
  EXPECT_EQ(check_limits(range, big, false),
            (std::vector<std::string>{"minimum cpu usage per Container is 50m, but request is 10m",
                                      "maximum cpu usage per Container is 2, but limit is 3",
                                      "maximum cpu usage per Pod is 2500m, but limit is 3"}));
  EXPECT_EQ(check_limits(range, parse(R"({"spec":{"resources":{"requests":{"storage":"2Gi"}}}})"), true),
            (std::vector<std::string>{
                "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"}));
}

}  // namespace
}  // namespace master
