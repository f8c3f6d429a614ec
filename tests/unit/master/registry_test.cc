// What the registry takes, keeps, drops and says, through requests as clients send them.
#include "tests/unit/master/server_fixture.h"

namespace master {
namespace {

using base::json::value;

constexpr char kMerge[] = "application/merge-patch+json";
constexpr char kPods[] = "/api/v1/namespaces/default/pods";
constexpr char kServices[] = "/api/v1/namespaces/default/services";

class RegistryTest : public ServerTest {
 protected:
  static std::string text(const value& object, std::initializer_list<const char*> path) {
    const value* v = &object;
    for (const char* part : path) v = v ? base::find(*v, part) : nullptr;
    return v ? base::to_json(*v) : "";
  }
  static std::string warnings(const base::http::Response& response) {
    std::string out;
    for (const auto& [name, value] : response.headers.list)
      if (name == "Warning") out += value + "\n";
    return out;
  }
  static std::string pod(const std::string& name, const std::string& spec = "",
                         const std::string& metadata = "") {
    return R"({"metadata":{"name":")" + name + "\"" + metadata +
           R"(},"spec":{"containers":[{"name":"c","image":"i"}])" + spec + "}}";
  }
  // Names that a list shows, in order.
  std::string selected(const std::string& path, const std::string& selector) {
    std::string escaped;
    for (char c : selector)
      escaped += c == '=' ? "%3D" : c == '!' ? "%21" : c == ',' ? "%2C" : std::string(1, c);
    value list = ok(call("GET", path + "?fieldSelector=" + escaped));
    std::string out;
    for (const value& item : list.at("items").get_array())
      out += (out.empty() ? "" : " ") + std::string(base::string_at(item, "metadata", "name"));
    return out;
  }
};

// Absent, false and empty are one thing: what Go prints of the zero value.
TEST_F(RegistryTest, FieldSelectorsSeeZeroValues) {
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"absent"}})"), 201);
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"false"},"spec":{"unschedulable":false}})"), 201);
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"true"},"spec":{"unschedulable":true}})"), 201);
  EXPECT_EQ(selected("/api/v1/nodes", "spec.unschedulable=false"), "absent false");
  EXPECT_EQ(selected("/api/v1/nodes", "spec.unschedulable!=false"), "true");
  EXPECT_EQ(selected("/api/v1/nodes", "spec.unschedulable=true"), "true");
  EXPECT_EQ(selected("/api/v1/nodes", "spec.unschedulable="), "");
  ok(call("POST", kPods, pod("host", R"(,"hostNetwork":true,"nodeName":"n")")), 201);
  ok(call("POST", kPods, pod("plain")), 201);
  EXPECT_EQ(selected(kPods, "spec.hostNetwork=false"), "plain");
  EXPECT_EQ(selected(kPods, "spec.hostNetwork=true"), "host");
  EXPECT_EQ(selected(kPods, "spec.nodeName="), "plain");
  EXPECT_EQ(selected(kPods, "spec.host=n"), "host");  // its older name
  EXPECT_EQ(selected(kPods, "status.podIPs=,status.podIP=,status.nominatedNodeName="), "host plain");
  EXPECT_EQ(selected(kPods,
                     "spec.serviceAccountName=default,spec.schedulerName=default-scheduler,spec."
                     "restartPolicy=Always,status.phase=Pending"),
            "host plain");
  const std::string jobs = "/apis/batch/v1/namespaces/default/jobs";
  for (const char* name : {"idle", "done"})
    ok(call(
           "POST", jobs,
           std::string(R"({"metadata":{"name":")") + name +
               R"("},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})"),
       201);
  ok(call("PATCH", jobs + "/done/status", R"({"status":{"succeeded":2}})", kMerge));
  EXPECT_EQ(selected(jobs, "status.successful=0"), "idle");
  EXPECT_EQ(selected(jobs, "status.successful=2"), "done");
  const std::string sets = "/apis/apps/v1/namespaces/default/replicasets";
  ok(call(
         "POST", sets,
         R"({"metadata":{"name":"r"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"),
     201);
  EXPECT_EQ(selected(sets, "status.replicas=0"), "r");
  EXPECT_EQ(selected("/api/v1/namespaces", "status.phase=Active").substr(0, 7), "default");
  ok(call("POST", "/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"s"}})"), 201);
  EXPECT_EQ(selected("/api/v1/namespaces/default/secrets", "type=Opaque"), "s");
}

TEST_F(RegistryTest, AnEventsSourceMayBeItsReportingController) {
  const std::string events = "/api/v1/namespaces/default/events";
  auto event = [](const char* name, const char* more) {
    return std::string(R"({"metadata":{"name":")") + name +
           R"("},"involvedObject":{"name":"p","namespace":"default"})" + more + "}";
  };
  ok(call("POST", events, event("old", R"(,"source":{"component":"kubelet"})")), 201);
  ok(call("POST", events, event("new", R"(,"reportingComponent":"kubelet","reportingInstance":"n")")), 201);
  ok(call("POST", events, event("none", "")), 201);
  EXPECT_EQ(selected(events, "source=kubelet"), "new old");
  EXPECT_EQ(selected(events, "source="), "none");
  EXPECT_EQ(selected(events, "reportingComponent=kubelet"), "new");
  EXPECT_EQ(selected("/apis/events.k8s.io/v1/namespaces/default/events", "reportingController=kubelet"),
            "new");
}

TEST_F(RegistryTest, UnknownFieldLabelsAreRefusedInKubernetesWords) {
  EXPECT_EQ(refused(call("GET", std::string(kPods) + "?fieldSelector=spec.foo%3Da"), 400),
            "BadRequest: field label not supported: spec.foo");
  EXPECT_EQ(refused(call("GET", std::string(kMaps) + "?fieldSelector=spec.foo%3Da"), 400),
            "BadRequest: \"spec.foo\" is not a known field selector: only \"metadata.name\", "
            "\"metadata.namespace\"");
}

// ---- /status --------------------------------------------------------------------------------------
constexpr char kSentMetadata[] =
    R"({"metadata":{"labels":{"l":"new"},"annotations":{"a":"new"},"finalizers":["example.com/f"],"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"o","uid":"u"}],"generateName":"x","creationTimestamp":"2001-01-01T00:00:00Z"},"status":{}})";

TEST_F(RegistryTest, MetadataInAWriteToStatus) {
  struct Row {
    const char *path, *body, *taken;  // taken: l(abels), a(nnotations), f(inalizers), o(wners)
  };
  const char* kTemplate =
      R"({"metadata":{"name":"x"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})";
  const char* kWithout =
      R"({"metadata":{"name":"x"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})";
  const Row kRows[] = {
      {"/api/v1/nodes", R"({"metadata":{"name":"x"}})", "lafo"},
      {"/api/v1/namespaces", R"({"metadata":{"name":"x"}})", "lafo"},
      {"/api/v1/namespaces/default/pods",
       R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i"}]}})", "laf"},
      {"/api/v1/namespaces/default/services", R"({"metadata":{"name":"x"},"spec":{"ports":[{"port":1}]}})",
       "lafo"},
      {"/api/v1/namespaces/default/resourcequotas",
       R"({"metadata":{"name":"x"},"spec":{"hard":{"pods":"100"}}})", "lafo"},
      {"/api/v1/namespaces/default/persistentvolumeclaims",
       R"({"metadata":{"name":"x"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})",
       "lafo"},
      {"/apis/apps/v1/namespaces/default/deployments", kTemplate, "afo"},
      {"/apis/apps/v1/namespaces/default/replicasets", kTemplate, "lafo"},
      {"/apis/apps/v1/namespaces/default/daemonsets", kWithout, "lafo"},
      {"/apis/batch/v1/namespaces/default/jobs",
       R"({"metadata":{"name":"x"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})",
       "lafo"},
      {"/apis/policy/v1/namespaces/default/poddisruptionbudgets",
       R"({"metadata":{"name":"x"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"a":"b"}}}})", "lafo"},
      {"/apis/storage.k8s.io/v1/volumeattachments",
       R"({"metadata":{"name":"x"},"spec":{"attacher":"a.b","nodeName":"n","source":{"persistentVolumeName":"p"}}})",
       ""},
      {"/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
       R"({"metadata":{"name":"x"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"limitResponse":{"type":"Reject"}}}})",
       ""},
      {"/apis/resource.k8s.io/v1/namespaces/default/resourceclaims",
       R"({"metadata":{"name":"x"},"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"c"}}]}}})",
       ""},
  };
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.path);
    value made = ok(call("POST", row.path, row.body), 201);
    value written = ok(call("PATCH", std::string(row.path) + "/x/status", kSentMetadata, kMerge));
    std::string taken;
    if (base::string_at(written, "metadata", "labels", "l") == "new") taken += "l";
    if (base::string_at(written, "metadata", "annotations", "a") == "new") taken += "a";
    if (text(written, {"metadata", "finalizers"}).find("example.com/f") != std::string::npos) taken += "f";
    if (base::find_path(written, "metadata", "ownerReferences")) taken += "o";
    EXPECT_EQ(taken, row.taken);
    EXPECT_EQ(text(written, {"metadata", "creationTimestamp"}),
              text(made, {"metadata", "creationTimestamp"}));
    EXPECT_EQ(text(written, {"metadata", "generateName"}), "");
    EXPECT_EQ(text(written, {"metadata", "generation"}), text(made, {"metadata", "generation"}));
    EXPECT_EQ(text(written, {"spec"}), text(made, {"spec"}));
  }
  // What is taken is looked at.
  EXPECT_NE(
      refused(call("PATCH", "/api/v1/nodes/x/status", R"({"metadata":{"labels":{"a b":"c"}}})", kMerge), 422)
          .find("metadata.labels"),
      std::string::npos);
  // A write that changes nothing is none.
  value node = ok(call("GET", "/api/v1/nodes/x"));
  EXPECT_EQ(
      text(ok(call("PUT", "/api/v1/nodes/x/status", base::to_json(node))), {"metadata", "resourceVersion"}),
      text(node, {"metadata", "resourceVersion"}));
  // The last finalizer may go by this door.
  ok(call("DELETE", "/api/v1/nodes/x"));
  ok(call("PATCH", "/api/v1/nodes/x/status", R"({"metadata":{"finalizers":null}})", kMerge));
  refused(call("GET", "/api/v1/nodes/x"), 404);
}

TEST_F(RegistryTest, WhoWroteALabelByStatusOwnsIt) {
  ok(call("POST", "/api/v1/nodes?fieldManager=maker", R"({"metadata":{"name":"n"}})"), 201);
  value node = ok(call("PATCH", "/api/v1/nodes/n/status?fieldManager=labeller",
                       R"({"metadata":{"labels":{"l":"x"}}})", kMerge));
  std::string managers = text(node, {"metadata", "managedFields"});
  size_t at = managers.find("labeller");
  ASSERT_NE(at, std::string::npos) << managers;
  EXPECT_NE(managers.find("f:l", at), std::string::npos) << managers;
}

// ---- Services -------------------------------------------------------------------------------------
TEST_F(RegistryTest, AServiceChangesItsTypeByAPatchOfTheTypeAlone) {
  auto to = [&](const std::string& type, const std::string& more = "") {
    return call("PATCH", std::string(kServices) + "/s", R"({"spec":{"type":")" + type + "\"" + more + "}}",
                kMerge);
  };
  value made = ok(call("POST", kServices,
                       R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80}]}})"),
                  201);
  std::string ip(base::string_at(made, "spec", "clusterIP"));
  value service = ok(to("ClusterIP"));
  EXPECT_EQ(base::string_at(service, "spec", "clusterIP"), ip);
  EXPECT_EQ(text(service, {"spec", "ports"}), R"([{"port":80,"protocol":"TCP","targetPort":80}])");
  EXPECT_EQ(text(service, {"spec", "externalTrafficPolicy"}), "");
  service = ok(to("LoadBalancer"));
  EXPECT_NE(text(service, {"spec", "ports"}).find("nodePort"), std::string::npos);
  ok(call("PATCH", std::string(kServices) + "/s/status",
          R"({"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}}})", kMerge));
  service = ok(to("ExternalName", R"(,"externalName":"a.example.com")"));
  for (const char* gone : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "externalTrafficPolicy",
                           "allocateLoadBalancerNodePorts"})
    EXPECT_EQ(text(service, {"spec", gone}), "") << gone;
  EXPECT_EQ(text(service, {"status"}), R"({"loadBalancer":{}})");
  // The address is free again.
  ok(call("POST", kServices,
          R"({"metadata":{"name":"t"},"spec":{"clusterIP":")" + ip + R"(","ports":[{"port":1}]}})"),
     201);
  service = ok(to("ClusterIP"));
  EXPECT_NE(base::string_at(service, "spec", "clusterIP"), ip);
  EXPECT_NE(refused(to("ClusterIP", R"(,"ports":[{"port":80,"nodePort":30111}])"), 422)
                .find("spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
            std::string::npos);
}

TEST_F(RegistryTest, ErrorsShowTheValueOfTheirField) {
  EXPECT_EQ(
      refused(
          call("POST", kServices,
               R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":80}]}})"),
          422),
      "Invalid: Service \"s\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in "
      "the valid range. The range of valid ports is 30000-32767");
  EXPECT_EQ(refused(call("POST", "/api/v1/namespaces/default/secrets",
                         R"({"metadata":{"name":"s"},"data":{"a":"not base64"}})"),
                    400),
            "BadRequest: Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at "
            "input byte 3");
  EXPECT_EQ(
      refused(
          call(
              "POST", kPods,
              R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1x"}}}]}})"),
          400),
      "BadRequest: Pod in version \"v1\" cannot be handled as a Pod: quantities must match the regular "
      "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_EQ(
      refused(
          call(
              "POST", kPods,
              R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1mm"}}}]}})"),
          400),
      "BadRequest: Pod in version \"v1\" cannot be handled as a Pod: unable to parse quantity's suffix");
}

// ---- what is refused --------------------------------------------------------------------------------
// kubectl apply of a manifest too large for an annotation, and of files too large for a ConfigMap: what
// clients match on is what validation says, however much larger than the store's limit the whole is.
TEST_F(RegistryTest, WhatIsTooLargeIsNamedBeforeTheStoreIs) {
  const std::string big(2 << 20, 'x'), annotated = R"("annotations":{"a":")" + big + "\"}";
  const std::string annotations = "metadata.annotations: Too long: may not be more than 262144 bytes";
  EXPECT_EQ(refused(call("POST", kMaps, R"({"metadata":{"name":"c",)" + annotated + "}}"), 422),
            "Invalid: ConfigMap \"c\" is invalid: " + annotations);
  EXPECT_EQ(refused(call("POST", "/api/v1/namespaces/default/serviceaccounts",
                         R"({"metadata":{"name":"c",)" + annotated + "}}"),
                    422),
            "Invalid: ServiceAccount \"c\" is invalid: " + annotations);
  EXPECT_EQ(refused(call("POST", kMaps, config_map("c", big)), 422),
            "Invalid: ConfigMap \"c\" is invalid: []: Too long: may not be more than 1048576 bytes");
  EXPECT_EQ(refused(call("POST", "/api/v1/namespaces/default/secrets",
                         R"({"metadata":{"name":"c"},"stringData":{"k":")" + big + "\"}}"),
                    422),
            "Invalid: Secret \"c\" is invalid: data: Too long: may not be more than 1048576 bytes");
  ok(call("POST", kMaps, config_map("c", "v")), 201);
  EXPECT_EQ(refused(call("PATCH", std::string(kMaps) + "/c", R"({"metadata":{)" + annotated + "}}",
                         "application/merge-patch+json"),
                    422),
            "Invalid: ConfigMap \"c\" is invalid: " + annotations);
  EXPECT_EQ(refused(call("PATCH", std::string(kMaps) + "/c", R"({"data":{"k":")" + big + "\"}}",
                         "application/strategic-merge-patch+json"),
                    422),
            "Invalid: ConfigMap \"c\" is invalid: []: Too long: may not be more than 1048576 bytes");
  EXPECT_EQ(refused(call("POST", "/apis/apps/v1/namespaces/default/controllerrevisions",
                         R"({"metadata":{"name":"c"},"revision":1,"data":{"k":")" + big + "\"}}"),
                    500),
            ": etcdserver: request is too large");
}

TEST_F(RegistryTest, NamesAndNamespacesStay) {
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  const std::string path = std::string(kMaps) + "/a";
  for (const char* type : {kMerge, "application/strategic-merge-patch+json"}) {
    EXPECT_EQ(
        refused(call("PATCH", path, R"({"metadata":{"namespace":"other"}})", type), 400),
        "BadRequest: the namespace of the provided object does not match the namespace sent on the request");
    EXPECT_EQ(refused(call("PATCH", path, R"({"metadata":{"name":"b"}})", type), 400),
              "BadRequest: the name of the object (b) does not match the name on the URL (a)");
  }
  EXPECT_EQ(
      refused(call("PUT", path, R"({"metadata":{"name":"a","namespace":"other"}})"), 400),
      "BadRequest: the namespace of the provided object does not match the namespace sent on the request");
  EXPECT_EQ(refused(call("PUT", path, R"({"metadata":{}})"), 400),
            "BadRequest: the name of the object (a based on URL) was undeterminable: name must be provided");
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n"}})"), 201);
  EXPECT_EQ(text(ok(call("PATCH", "/api/v1/nodes/n", R"({"metadata":{"namespace":"x"}})", kMerge)),
                 {"metadata", "namespace"}),
            "");
}

TEST_F(RegistryTest, MirrorPodsHaveANode) {
  const std::string mirror = R"(,"annotations":{"kubernetes.io/config.mirror":"x"})";
  EXPECT_NE(refused(call("POST", kPods, pod("m", "", mirror)), 422)
                .find("metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set "
                      "spec.nodeName if mirror pod annotation is set"),
            std::string::npos);
  ok(call("POST", kPods, pod("m", R"(,"nodeName":"n")", mirror)), 201);
  EXPECT_NE(
      refused(call("PATCH", std::string(kPods) + "/m", R"({"metadata":{"annotations":null}})", kMerge), 422)
          .find("may not remove or update mirror pod annotation"),
      std::string::npos);
  ok(call("POST", kPods, pod("p", R"(,"nodeName":"n")")), 201);
  EXPECT_NE(refused(call("PATCH", std::string(kPods) + "/p",
                         R"({"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"}}})", kMerge),
                    422)
                .find("may not add mirror pod annotation"),
            std::string::npos);
}

// ---- what is said -----------------------------------------------------------------------------------
TEST_F(RegistryTest, WarningsOfWritesAndOfDeprecatedKinds) {
  auto made = call("POST", kPods, pod("p", R"(,"nodeSelector":{"beta.kubernetes.io/os":"linux"})"));
  EXPECT_EQ(warnings(made),
            "299 - \"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "
            "\\\"kubernetes.io/os\\\" instead\"\n");
  EXPECT_EQ(
      warnings(call("PATCH", std::string(kPods) + "/p", R"({"metadata":{"labels":{"a":"b"}}})", kMerge)), "");
  const std::string endpoints =
      "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"\n";
  EXPECT_EQ(warnings(call("GET", "/api/v1/endpoints")), endpoints);
  EXPECT_EQ(warnings(call("POST", "/api/v1/namespaces/default/endpoints", R"({"metadata":{"name":"e"}})")),
            endpoints);
  EXPECT_EQ(warnings(call("PATCH", "/api/v1/namespaces/default/endpoints/e",
                          R"({"metadata":{"labels":{"a":"b"}}})", kMerge)),
            endpoints);
  EXPECT_EQ(warnings(call("GET", "/api/v1/componentstatuses")),
            "299 - \"v1 ComponentStatus is deprecated in v1.19+\"\n");
  EXPECT_EQ(warnings(call("GET", kPods)), "");
}

// A kind that no controller of ours acts on says so, and only to who writes it.
TEST_F(RegistryTest, KindsWithoutAControllerSaySo) {
  const std::string claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
  auto made = call("POST", claims, R"({"metadata":{"name":"c"},"spec":{"devices":{}}})");
  ok(made, 201);
  const std::string said =
      "299 - \"this version of Sampan has no controller for ResourceClaim: the object is stored, and nothing "
      "acts on it\"\n";
  EXPECT_EQ(warnings(made), said);
  EXPECT_EQ(warnings(call("PATCH", claims + "/c", R"({"metadata":{"labels":{"a":"b"}}})", kMerge)), said);
  EXPECT_EQ(warnings(call("GET", claims)), "");
  EXPECT_EQ(warnings(call("PATCH", claims + "/c/status", R"({"status":{"reservedFor":[]}})", kMerge)), "");
  EXPECT_EQ(warnings(call("DELETE", claims + "/c")), "");
}

TEST_F(RegistryTest, ANegativeGracePeriodIsOneSecond) {
  value made =
      ok(call("POST", kPods, pod("p", R"(,"nodeName":"n","terminationGracePeriodSeconds":-5)")), 201);
  EXPECT_EQ(text(made, {"spec", "terminationGracePeriodSeconds"}), "1");
  const std::string sets = "/apis/apps/v1/namespaces/default/deployments";
  auto deployment = call(
      "POST", sets,
      R"({"metadata":{"name":"d"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"terminationGracePeriodSeconds":-5,"containers":[{"name":"c","image":"i"}]}}}})");
  EXPECT_EQ(text(ok(deployment, 201), {"spec", "template", "spec", "terminationGracePeriodSeconds"}), "-5");
  EXPECT_EQ(warnings(deployment),
            "299 - \"spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are "
            "invalid and will be treated as 1\"\n");
  value going = ok(call("DELETE", std::string(kPods) + "/p", R"({"gracePeriodSeconds":-3})"));
  EXPECT_EQ(text(going, {"metadata", "deletionGracePeriodSeconds"}), "1");
}

}  // namespace
}  // namespace master
