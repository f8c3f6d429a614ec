#include "master/limit_ranger.h"

#include "master/class_admission.h"
#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using base::string_at;

json::value parse(const char* text) { return base::parse_json(text).value(); }

TEST(LimitRanger, FillsWhatIsNotGiven) {
  auto range = parse(R"({"spec":{"limits":[{"type":"Container","default":{"cpu":"1"},"defaultRequest":{"cpu":"100m","memory":"1Mi"}}]}})");
  auto pod = parse(R"({"metadata":{},"spec":{"initContainers":[{"name":"i"}],"containers":[{"name":"a","resources":{"requests":{"cpu":"2"}}}]}})");
  set_container_defaults(range, pod);
  EXPECT_EQ(base::to_json(pod.at("spec").at("containers").at(0).at("resources")), R"({"requests":{"cpu":"2","memory":"1Mi"},"limits":{"cpu":"1"}})");
  EXPECT_EQ(string_at(pod, "metadata", "annotations", "kubernetes.io/limit-ranger"),
            "LimitRanger plugin set: cpu, memory request for init container i; cpu limit for init container i; "
            "memory request for container a; cpu limit for container a");
}

TEST(LimitRanger, SaysWhatIsOutOfBounds) {
  auto range = parse(R"({"spec":{"limits":[{"type":"Container","min":{"cpu":"100m"},"max":{"cpu":"1"},"maxLimitRequestRatio":{"cpu":"2"}},
                                           {"type":"Pod","max":{"memory":"1Gi"}}]}})");
  auto pod = parse(R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"50m","memory":"600Mi"},"limits":{"cpu":"2","memory":"600Mi"}}},
                                             {"name":"b","resources":{"requests":{"cpu":"500m","memory":"600Mi"},"limits":{"cpu":"1","memory":"600Mi"}}}]}})");
  EXPECT_EQ(pod_violations(range, pod), (std::vector<std::string>{
      "minimum cpu usage per Container is 100m, but request is 50m", "maximum cpu usage per Container is 1, but limit is 2",
      "cpu max limit to request ratio per Container is 2, but provided ratio is 40.000000",
      "maximum memory usage per Pod is 1Gi, but limit is 1200Mi", "maximum memory usage per Pod is 1Gi, but request is 1200Mi"}));
  EXPECT_EQ(pod_violations(range, parse(R"({"spec":{"containers":[{"name":"a"}]}})"))[0],
            "minimum cpu usage per Container is 100m.  No request is specified");
  auto claims = parse(R"({"spec":{"limits":[{"type":"PersistentVolumeClaim","min":{"storage":"1Gi"},"max":{"storage":"2Gi"}}]}})");
  EXPECT_TRUE(claim_violations(claims, parse(R"({"spec":{"resources":{"requests":{"storage":"1Gi"}}}})")).empty());
  EXPECT_EQ(claim_violations(claims, parse(R"({"spec":{"resources":{"requests":{"storage":"3Gi"}}}})")),
            (std::vector<std::string>{"maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"}));
}

class ClassTest : public ServerTest {};

TEST_F(ClassTest, PodsGetTheirPriorityAndClaimsTheirClass) {
  server_->admission().add(make_priority_admission(server_->cache("scheduling.k8s.io", "priorityclasses")));
  server_->admission().add(make_default_storage_class(server_->cache("storage.k8s.io", "storageclasses")));
  server_->admission().add(make_limit_ranger(server_->cache("", "limitranges")));
  api::Client client(transport_, "test");
  ensure_system_priority_classes(server_->cache("scheduling.k8s.io", "priorityclasses"), client);
  wait_for([&] { return call("GET", "/apis/scheduling.k8s.io/v1/priorityclasses/system-cluster-critical").status == 200; });
  const char* pods = "/api/v1/namespaces/default/pods";
  auto pod = [&](const std::string& name, const std::string& spec) {
    return call("POST", pods, R"({"metadata":{"name":")" + name + R"("},"spec":{"containers":[{"name":"c","image":"i"}])" + spec + "}}");
  };
  auto critical = ok(pod("a", R"(,"priorityClassName":"system-cluster-critical")"), 201);
  EXPECT_EQ(base::as_int(base::find_path(critical, "spec", "priority")), 2000000000);
  EXPECT_EQ(refused(pod("b", R"(,"priorityClassName":"nope")"), 403), "Forbidden: pods \"b\" is forbidden: no PriorityClass with name nope was found");
  EXPECT_NE(refused(pod("b", R"(,"priority":5)"), 403).find("must not be provided in pod spec"), std::string::npos);
  const char* classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
  ok(call("POST", classes, R"({"metadata":{"name":"usual"},"value":7,"globalDefault":true,"preemptionPolicy":"Never"})"), 201);
  refused(call("POST", classes, R"({"metadata":{"name":"other"},"value":8,"globalDefault":true})"), 403);
  auto usual = ok(pod("c", ""), 201);
  EXPECT_EQ(string_at(usual, "spec", "priorityClassName"), "usual");
  EXPECT_EQ(string_at(usual, "spec", "preemptionPolicy"), "Never");

  const char* claims = "/api/v1/namespaces/default/persistentvolumeclaims";
  std::string spec = R"("accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}})";
  EXPECT_EQ(string_at(ok(call("POST", claims, R"({"metadata":{"name":"a"},"spec":{)" + spec + "}}"), 201), "spec", "storageClassName"), "");
  ok(call("POST", "/apis/storage.k8s.io/v1/storageclasses",
          R"({"metadata":{"name":"fast","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"x.example"})"), 201);
  EXPECT_EQ(string_at(ok(call("POST", claims, R"({"metadata":{"name":"b"},"spec":{)" + spec + "}}"), 201), "spec", "storageClassName"), "fast");
  EXPECT_EQ(string_at(ok(call("POST", claims, R"({"metadata":{"name":"c"},"spec":{"storageClassName":"",)" + spec + "}}"), 201), "spec", "storageClassName"), "");
  ok(call("POST", "/api/v1/namespaces/default/limitranges", R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","max":{"cpu":"1"}}]}})"), 201);
  EXPECT_NE(refused(pod("d", R"(,"initContainers":[{"name":"i","image":"i","resources":{"limits":{"cpu":"2"}}}])"), 403)
                .find("maximum cpu usage per Container is 1, but limit is 2"), std::string::npos);
}

}  // namespace
}  // namespace master
