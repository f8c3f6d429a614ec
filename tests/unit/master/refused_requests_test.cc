// What kube-apiserver 1.36 refuses, with its code and its reason: clients decide by both.
#include "server_fixture.h"

namespace master {
namespace {

struct Refused {
  const char* method;
  const char* target;  // below /api/v1/namespaces/default/ where it begins with no slash
  const char* body;
  const char* type;
  int code;
  const char* reason;   // null: kube-apiserver answers in plain text, or with no reason
  const char* message;  // a part of it
};

constexpr const char *kJson = "application/json", *kMerge = "application/merge-patch+json",
                     *kStrategic = "application/strategic-merge-patch+json",
                     *kPatch = "application/json-patch+json", *kApply = "application/apply-patch+yaml";

class RefusedTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    ok(call("POST", kMaps, config_map("a", "1")), 201);
    ok(call("POST", kMaps, R"({"metadata":{"name":"fixed"},"immutable":true,"data":{"k":"1"}})"), 201);
    ok(call("PATCH", std::string(kMaps) + "/owned?fieldManager=first",
            R"({"apiVersion":"v1","kind":"ConfigMap","data":{"k":"1"}})", kApply),
       201);
    ok(call("POST", "/api/v1/namespaces/default/pods",
            R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})"),
       201);
    ok(call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"robot"}})"), 201);
    ok(call(
           "POST", "/api/v1/namespaces/default/replicationcontrollers",
           R"({"metadata":{"name":"rc"},"spec":{"replicas":1,"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"),
       201);
    ok(call("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"a"}})"),
       201);
    ok(call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            R"({"metadata":{"name":"things.example.com"},"spec":{"group":"example.com",
        "names":{"plural":"things","singular":"thing","kind":"Thing","listKind":"ThingList"},"scope":"Namespaced","versions":[{"name":"v1","served":true,"storage":true,
        "schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"count":{"type":"integer"}}}}}}}]}})"),
       201);
    wait_for([&] { return call("GET", kThings).status == 200; });
    ok(call("POST", kThings,
            R"({"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"t"},"spec":{"count":1}})"),
       201);
  }
  void expect(std::initializer_list<Refused> all) {
    for (const Refused& one : all) {
      std::string target =
          one.target[0] == '/' ? one.target : std::string("/api/v1/namespaces/default/") + one.target;
      auto answer = call(one.method, target, one.body, one.type);
      std::string what = std::string(one.method) + " " + target + " " + std::string(one.body).substr(0, 200) +
                         "\n  " + answer.body.substr(0, 500);
      EXPECT_EQ(answer.status, one.code) << what;
      if (!one.reason) continue;
      auto status = base::parse_json(answer.body).value_or(nullptr);
      EXPECT_EQ(base::string_at(status, "kind"), "Status") << what;
      EXPECT_EQ(base::string_at(status, "reason"), one.reason) << what;
      EXPECT_NE(base::string_at(status, "message").find(one.message), std::string_view::npos)
          << what << "\n  wanted: " << one.message;
    }
  }
  static constexpr const char* kThings = "/apis/example.com/v1/namespaces/default/things";
};

TEST_F(RefusedTest, PathsAndMethods) {
  expect({{"GET", "/api/v1/nosuch", "", kJson, 404, nullptr, ""},
          {"GET", "/api/v2/pods", "", kJson, 404, nullptr, ""},
          {"GET", "/apis/nosuch.example.com/v1/things", "", kJson, 404, nullptr, ""},
          {"GET", "/apis/apps/v1/configmaps", "", kJson, 404, nullptr, ""},
          {"GET", "/api/v1/configmaps/a", "", kJson, 404, nullptr, ""},
          {"GET", "/api/v1/namespaces/default/nodes", "", kJson, 404, nullptr, ""},
          {"GET", "configmaps/a/nosuch", "", kJson, 404, nullptr, ""},
          {"GET", "configmaps/a/scale", "", kJson, 404, nullptr, ""},
          {"GET", "configmaps/none", "", kJson, 404, "NotFound", "configmaps \"none\" not found"},
          {"GET", "/apis/example.com/v1/namespaces/default/things/none", "", kJson, 404, "NotFound",
           "things.example.com \"none\" not found"},
          {"POST", "configmaps/a", "{}", kJson, 405, nullptr, ""},
          {"PUT", "configmaps", "{}", kJson, 405, nullptr, ""},
          {"PATCH", "configmaps", "{}", kMerge, 405, nullptr, ""},
          {"GET", "bindings", "", kJson, 405, nullptr, ""},
          {"POST", "/apis/apps/v1/deployments", "{}", kJson, 405, nullptr, ""},
          {"DELETE", "/api/v1/pods", "", kJson, 405, nullptr, ""},
          {"GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", kJson, 405, nullptr, ""},
          {"DELETE", "pods/p/status", "", kJson, 405, nullptr, ""},
          {"POST", "/version", "", kJson, 405, nullptr, ""}});
}

TEST_F(RefusedTest, QueriesOfReads) {
  expect({{"GET", "configmaps?labelSelector=a%3Db%3Dc", "", kJson, 400, "BadRequest",
           "unable to parse requirement"},
          {"GET", "configmaps?labelSelector=a+in+b", "", kJson, 400, "BadRequest", ""},
          {"GET", "configmaps?labelSelector=-a", "", kJson, 400, "BadRequest", ""},
          {"GET", "configmaps?fieldSelector=bogus", "", kJson, 400, "BadRequest",
           "invalid selector: 'bogus'; can't understand 'bogus'"},
          {"GET", "configmaps?fieldSelector=spec.nosuch%3Dx", "", kJson, 400, "BadRequest", ""},
          {"GET", "configmaps?limit=x", "", kJson, 400, "BadRequest",
           "strconv.ParseInt: parsing \"x\": invalid syntax"},
          {"GET", "configmaps?watch=1&timeoutSeconds=x", "", kJson, 400, "BadRequest",
           "strconv.ParseInt: parsing \"x\": invalid syntax"},
          {"GET", "configmaps?resourceVersionMatch=Exact", "", kJson, 422, "Invalid",
           "resourceVersionMatch is forbidden unless resourceVersion is provided"},
          {"GET", "configmaps?resourceVersion=0&resourceVersionMatch=Exact", "", kJson, 422, "Invalid",
           "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""},
          {"GET", "configmaps?resourceVersion=1&resourceVersionMatch=Bogus", "", kJson, 422, "Invalid",
           "supported values: \"Exact\", \"NotOlderThan\""},
          {"GET", "configmaps?continue=garbage", "", kJson, 400, "BadRequest", "continue key is not valid"},
          {"GET", "configmaps?sendInitialEvents=true", "", kJson, 422, "Invalid",
           "sendInitialEvents is forbidden for list"},
          {"GET", "configmaps?watch=1&sendInitialEvents=true", "", kJson, 422, "Invalid",
           "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"},
          {"GET", "configmaps?watch=1&resourceVersion=1&resourceVersionMatch=NotOlderThan", "", kJson, 422,
           "Invalid", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"},
          {"GET", "configmaps?resourceVersion=999999999", "", kJson, 504, "Timeout",
           "Too large resource version: 999999999"}});
  auto bad = call("GET", kMaps, "", kJson, "text/plain");
  EXPECT_EQ(bad.status, 406) << bad.body;
  EXPECT_EQ(base::string_at(base::parse_json(bad.body).value_or(nullptr), "reason"), "NotAcceptable");
}

TEST_F(RefusedTest, BodiesOfCreations) {
  expect(
      {{"POST", "configmaps", "{", kJson, 400, "BadRequest", ""},
       {"POST", "configmaps", "", kJson, 400, "BadRequest", ""},
       {"POST", "configmaps", "[]", kJson, 400, "BadRequest", ""},
       {"POST", "configmaps", R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}})", kJson, 400,
        "BadRequest", "cannot be handled as a ConfigMap"},
       {"POST", "configmaps", R"({"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"x"}})", kJson, 400,
        "BadRequest", ""},
       {"POST", "configmaps", R"({"metadata":{"name":"x"},"data":{"k":1}})", kJson, 400, "BadRequest",
        "cannot unmarshal number into Go struct field ConfigMap.data of type string"},
       {"POST", "configmaps", R"({"metadata":"x"})", kJson, 400, "BadRequest", ""},
       {"POST", "configmaps", R"({"metadata":{}})", kJson, 422, "Invalid",
        "name or generateName is required"},
       {"POST", "configmaps", R"({"metadata":{"name":"Upper"}})", kJson, 422, "Invalid",
        "RFC 1123 subdomain"},
       {"POST", "configmaps", R"({"metadata":{"name":"x","labels":{"a b":"c"}}})", kJson, 422, "Invalid",
        "metadata.labels"},
       {"POST", "configmaps", R"({"metadata":{"name":"x","namespace":"other"}})", kJson, 400, "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request"},
       {"POST", "configmaps", R"({"metadata":{"name":"a"}})", kJson, 409, "AlreadyExists",
        "configmaps \"a\" already exists"},
       {"POST", "configmaps", R"({"metadata":{"name":"x","resourceVersion":"1"}})", kJson, 500, "",
        "resourceVersion should not be set on objects to be created"},
       {"POST", "configmaps",
        R"({"metadata":{"name":"x","ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p"}]}})", kJson,
        422, "Invalid", "uid"},
       {"POST", "configmaps", "<x/>", "application/xml", 415, "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml"},
       {"POST", "configmaps?dryRun=Some", R"({"metadata":{"name":"x"}})", kJson, 422, "Invalid", "dryRun"},
       {"POST", "configmaps?fieldValidation=Maybe", R"({"metadata":{"name":"x"}})", kJson, 422, "Invalid",
        "fieldValidation"},
       {"POST", "configmaps?fieldManager=a%00b", R"({"metadata":{"name":"x"}})", kJson, 422, "Invalid",
        "fieldManager"},
       {"POST", "configmaps?fieldValidation=Strict", R"({"metadata":{"name":"x"},"foo":1})", kJson, 400,
        "BadRequest", "strict decoding error: unknown field \"foo\""},
       {"POST", "configmaps?fieldValidation=Strict", R"({"metadata":{"name":"x"},"data":{},"data":{}})",
        kJson, 400, "BadRequest", "strict decoding error: duplicate field \"data\""},
       {"POST", "/api/v1/namespaces/nowhere/configmaps", R"({"metadata":{"name":"x"}})", kJson, 404,
        "NotFound", "namespaces \"nowhere\" not found"},
       {"POST", "pods", R"({"metadata":{"name":"x"},"spec":{}})", kJson, 422, "Invalid",
        "spec.containers: Required value"},
       {"POST", "pods",
        R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"lots"}}}]}})",
        kJson, 400, "BadRequest", "quantities must match the regular expression"},
       {"POST", kThings,
        R"({"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"x"},"spec":{"count":"many"}})",
        kJson, 422, "Invalid", "spec.count"},
       {"POST", kThings, R"({"apiVersion":"example.com/v1","kind":"Other","metadata":{"name":"x"}})", kJson,
        400, "BadRequest", ""}});
}

TEST_F(RefusedTest, Updates) {
  expect(
      {{"PUT", "configmaps/a", R"({"metadata":{"name":"b"}})", kJson, 400, "BadRequest",
        "the name of the object (b) does not match the name on the URL (a)"},
       {"PUT", "configmaps/a", R"({"metadata":{}})", kJson, 400, "BadRequest",
        "the name of the object (a based on URL) was undeterminable: name must be provided"},
       {"PUT", "configmaps/a", R"({"metadata":{"name":"a","namespace":"other"}})", kJson, 400, "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request"},
       {"PUT", "configmaps/none", R"({"metadata":{"name":"none"}})", kJson, 404, "NotFound",
        "configmaps \"none\" not found"},
       {"PUT", "configmaps/a", R"({"metadata":{"name":"a","resourceVersion":"1"}})", kJson, 409, "Conflict",
        "the object has been modified; please apply your changes to the latest version and try again"},
       {"PUT", "configmaps/a", R"({"metadata":{"name":"a","uid":"other"}})", kJson, 409, "Conflict",
        "Precondition failed: UID in precondition: other, UID in object meta: "},
       {"PUT", "configmaps/fixed", R"({"metadata":{"name":"fixed"},"immutable":true,"data":{"k":"2"}})",
        kJson, 422, "Invalid", "field is immutable when `immutable` is set"},
       {"PUT", "configmaps/a", "{", kJson, 400, "BadRequest", ""},
       {"PUT", "configmaps/a", "x", "text/plain", 415, "UnsupportedMediaType", ""},
       {"PUT", "configmaps/a", R"({"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}})", kJson, 400,
        "BadRequest", ""},
       {"PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/l", R"({"metadata":{"name":"l"}})",
        kJson, 422, "Invalid",
        "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"},
       {"PUT", "/apis/example.com/v1/namespaces/default/things/t",
        R"({"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"t"}})", kJson, 422, "Invalid",
        "must be specified for an update"}});
}

TEST_F(RefusedTest, Patches) {
  std::string many = "[";
  for (int i = 0; i < 10001; ++i)
    many += std::string(i ? "," : "") + R"({"op":"test","path":"/kind","value":"ConfigMap"})";
  many += "]";
  expect(
      {{"PATCH", "configmaps/a", "{}", kJson, 415, "UnsupportedMediaType",
        "accepted media types include: application/json-patch+json, application/merge-patch+json, "
        "application/strategic-merge-patch+json, application/apply-patch+yaml"},
       {"PATCH", "configmaps/a", "{", kMerge, 400, "BadRequest", ""},
       {"PATCH", "configmaps/a", "[]", kMerge, 400, "BadRequest", ""},
       {"PATCH", "configmaps/a", "{", kStrategic, 400, "BadRequest", ""},
       {"PATCH", "configmaps/a", "{}", kPatch, 400, "BadRequest", ""},
       {"PATCH", "configmaps/a", R"([{"op":"bogus","path":"/data"}])", kPatch, 422, "Invalid",
        "the server rejected our request due to an error in our request"},
       {"PATCH", "configmaps/a", R"([{"op":"test","path":"/data/k","value":"9"}])", kPatch, 422, "Invalid",
        "the server rejected our request due to an error in our request"},
       {"PATCH", "configmaps/a", R"([{"op":"remove","path":"/data/none"}])", kPatch, 422, "Invalid",
        "the server rejected our request due to an error in our request"},
       {"PATCH", "configmaps/a", many.c_str(), kPatch, 413, "RequestEntityTooLarge",
        "The allowed maximum operations in a JSON patch is 10000, got 10001"},
       {"PATCH", "configmaps/a", R"({"data":{"k":1}})", kMerge, 422, "Invalid", "patch: Invalid value"},
       {"PATCH", "configmaps/a", R"({"data":{"k":1}})", kStrategic, 422, "Invalid", "patch: Invalid value"},
       {"PATCH", "configmaps/none", "{}", kMerge, 404, "NotFound", "configmaps \"none\" not found"},
       {"PATCH", "configmaps/a", R"({"metadata":{"name":"b"}})", kMerge, 400, "BadRequest",
        "the name of the object (b) does not match the name on the URL (a)"},
       {"PATCH", "configmaps/a", R"({"metadata":{"namespace":"other"}})", kMerge, 400, "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request"},
       {"PATCH", "configmaps/a", R"({"metadata":{"resourceVersion":"1"}})", kMerge, 409, "Conflict",
        "the object has been modified"},
       {"PATCH", "configmaps/a", R"({"metadata":{"uid":"other"}})", kMerge, 422, "Invalid",
        "metadata.uid: Invalid value: \"other\": field is immutable"},
       {"PATCH", "configmaps/a?force=true", "{}", kMerge, 422, "Invalid",
        "may not be specified for non-apply patch"},
       {"PATCH", "configmaps/a", R"({"apiVersion":"v1","kind":"ConfigMap"})", kApply, 422, "Invalid",
        "fieldManager: Required value: is required for apply patch"},
       {"PATCH", "configmaps/owned?fieldManager=second",
        R"({"apiVersion":"v1","kind":"ConfigMap","data":{"k":"2"}})", kApply, 409, "Conflict",
        "Apply failed with 1 conflict: conflict with \"first\": .data.k"},
       {"PATCH", "configmaps/a?fieldManager=m",
        R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[{"manager":"x","operation":"Apply"}]}})",
        kApply, 400, "BadRequest", "metadata.managedFields must be nil"},
       {"PATCH", "configmaps/a?fieldManager=m", "a: [", kApply, 400, "BadRequest", ""},
       {"PATCH", "/apis/example.com/v1/namespaces/default/things/t", "{}", kStrategic, 415,
        "UnsupportedMediaType", ""}});
}

TEST_F(RefusedTest, Deletions) {
  expect(
      {{"DELETE", "configmaps/none", "", kJson, 404, "NotFound", "configmaps \"none\" not found"},
       {"DELETE", "configmaps/a", R"({"preconditions":{"uid":"other"}})", kJson, 409, "Conflict",
        "Precondition failed: UID in precondition: other, UID in object meta: "},
       {"DELETE", "configmaps/a", R"({"preconditions":{"resourceVersion":"1"}})", kJson, 409, "Conflict",
        "Precondition failed: ResourceVersion in precondition: 1, ResourceVersion in object meta: "},
       {"DELETE", "configmaps/a?propagationPolicy=Sideways", "", kJson, 422, "Invalid", "propagationPolicy"},
       {"DELETE", "configmaps/a", R"({"propagationPolicy":"Orphan","orphanDependents":true})", kJson, 422,
        "Invalid", "orphanDependents and deletionPropagation cannot be both set"},
       {"DELETE", "configmaps/a?dryRun=Some", "", kJson, 422, "Invalid", "dryRun"},
       {"DELETE", "configmaps/a?gracePeriodSeconds=soon", "", kJson, 400, "BadRequest",
        "strconv.ParseInt: parsing \"soon\": invalid syntax"},
       {"DELETE", "/api/v1/namespaces/kube-system", "", kJson, 403, "Forbidden",
        "this namespace may not be deleted"}});
}

TEST_F(RefusedTest, PartsOfObjectsAndReviews) {
  expect(
      {{"PUT", "replicationcontrollers/rc/scale", R"({"metadata":{"name":"rc"},"spec":{"replicas":-1}})",
        kJson, 422, "Invalid", "must be greater than or equal to 0"},
       {"PUT", "replicationcontrollers/none/scale", R"({"metadata":{"name":"none"},"spec":{"replicas":1}})",
        kJson, 404, "NotFound", "\"none\" not found"},
       {"PUT", "replicationcontrollers/rc/scale", R"({"metadata":{"name":"other"},"spec":{"replicas":1}})",
        kJson, 400, "BadRequest", "the name of the object (other) does not match the name on the URL (rc)"},
       {"PATCH", "replicationcontrollers/rc/scale", "[]", kMerge, 400, "BadRequest", ""},
       {"PATCH", "replicationcontrollers/rc/scale", R"({"spec":{"replicas":"two"}})", kMerge, 422, "Invalid",
        ""},
       {"POST", "pods/p/eviction", R"({"metadata":{"name":"other"}})", kJson, 400, "BadRequest",
        "name in URL does not match name in Eviction object"},
       {"POST", "pods/none/eviction", R"({"metadata":{"name":"none"}})", kJson, 404, "NotFound",
        "pods \"none\" not found"},
       {"POST", "pods/p/binding", R"({"metadata":{"name":"p"},"target":{}})", kJson, 422, "Invalid",
        "target.name: Required value"},
       {"POST", "pods/none/binding", R"({"metadata":{"name":"none"},"target":{"kind":"Node","name":"n"}})",
        kJson, 404, "NotFound", "pods \"none\" not found"},
       {"POST", "serviceaccounts/robot/token", R"({"spec":{"expirationSeconds":1}})", kJson, 422, "Invalid",
        "may not specify a duration less than 10 minutes"},
       {"POST", "serviceaccounts/none/token", "{}", kJson, 404, "NotFound",
        "serviceaccounts \"none\" not found"},
       {"GET", "pods/none/log", "", kJson, 404, "NotFound", "pods \"none\" not found"},
       {"GET", "pods/p/log?container=x", "", kJson, 400, "BadRequest", "container x is not valid for pod p"},
       {"GET", "pods/p/log?tailLines=-1", "", kJson, 422, "Invalid", "tailLines"},
       {"GET", "pods/p/log?tailLines=x", "", kJson, 400, "BadRequest",
        "strconv.ParseInt: parsing \"x\": invalid syntax"},
       {"GET", "pods/p/log?sinceSeconds=0", "", kJson, 422, "Invalid", "must be greater than 0"},
       {"GET", "pods/p/log?sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", "", kJson, 422, "Invalid",
        "at most one of `sinceTime` or `sinceSeconds` may be specified"},
       {"GET", "pods/p/log?limitBytes=0", "", kJson, 422, "Invalid", "must be greater than 0"},
       {"GET", "pods/p/log?stream=Bogus", "", kJson, 422, "Invalid", "stream"},
       {"GET", "pods/p/exec?command=ls", "", kJson, 400, "BadRequest", "pod p does not have a host assigned"},
       {"GET", "pods/none/exec?command=ls", "", kJson, 404, "NotFound", "pods \"none\" not found"},
       {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", R"({"spec":{}})", kJson, 422,
        "Invalid", "exactly one of nonResourceAttributes or resourceAttributes must be specified"},
       {"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        R"({"spec":{"resourceAttributes":{"verb":"get"}}})", kJson, 422, "Invalid",
        "at least one of user or group must be specified"},
       {"POST", "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
        R"({"spec":{"user":"u","resourceAttributes":{"namespace":"other","verb":"get"}}})", kJson, 422,
        "Invalid", "must match metadata.namespace"},
       {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"spec":{}})", kJson, 400, "BadRequest",
        "token is required for TokenReview in authentication"}});
}

}  // namespace
}  // namespace master
