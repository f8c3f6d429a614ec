#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using ::base::string_at;

TEST_F(ServerTest, CreatesReadsUpdatesDeletes) {
  auto made = ok(call("POST", kMaps, config_map("a", "1")), 201);
  EXPECT_EQ(string_at(made, "kind"), "ConfigMap");
  EXPECT_EQ(string_at(made, "metadata", "namespace"), "default");
  EXPECT_EQ(string_at(made, "metadata", "uid").size(), 36u);
  std::string version(string_at(made, "metadata", "resourceVersion"));
  EXPECT_EQ(ok(call("GET", std::string(kMaps) + "/a")), made);
  EXPECT_EQ(refused(call("POST", kMaps, config_map("a", "1")), 409),
            "AlreadyExists: configmaps \"a\" already exists");

  made.at("data").get_object()["k"] = "2";
  auto changed = ok(call("PUT", std::string(kMaps) + "/a", base::to_json(made)));
  EXPECT_NE(string_at(changed, "metadata", "resourceVersion"), version);
  EXPECT_EQ(string_at(changed, "metadata", "uid"), string_at(made, "metadata", "uid"));
  EXPECT_NE(refused(call("PUT", std::string(kMaps) + "/a", base::to_json(made)), 409)
                .find("the object has been modified"),
            std::string::npos);
  // Nothing changes: no write.
  EXPECT_EQ(ok(call("PUT", std::string(kMaps) + "/a", base::to_json(changed))), changed);

  EXPECT_EQ(string_at(ok(call("DELETE", std::string(kMaps) + "/a")), "status"), "Success");
  EXPECT_EQ(refused(call("GET", std::string(kMaps) + "/a"), 404), "NotFound: configmaps \"a\" not found");
  EXPECT_EQ(refused(call("DELETE", std::string(kMaps) + "/a"), 404), "NotFound: configmaps \"a\" not found");
}

TEST_F(ServerTest, KeepsEverythingOverARestart) {
  auto made = ok(call("POST", kMaps, config_map("a", "1")), 201);
  ok(call("POST", kMaps, config_map("b", "1")), 201);
  ok(call("DELETE", std::string(kMaps) + "/b"));
  reopen();
  EXPECT_EQ(ok(call("GET", std::string(kMaps) + "/a")), made);
  refused(call("GET", std::string(kMaps) + "/b"), 404);
  auto later = ok(call("POST", kMaps, config_map("c", "1")), 201);
  EXPECT_GT(std::stoll(std::string(string_at(later, "metadata", "resourceVersion"))),
            std::stoll(std::string(string_at(made, "metadata", "resourceVersion"))));
}

TEST_F(ServerTest, PatchesInThreeWays) {
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  std::string a = std::string(kMaps) + "/a";
  EXPECT_EQ(
      string_at(ok(call("PATCH", a, R"({"data":{"k":"2"}})", "application/merge-patch+json")), "data", "k"),
      "2");
  EXPECT_EQ(string_at(ok(call("PATCH", a, R"({"data":{"k":"3"}})", "application/strategic-merge-patch+json")),
                      "data", "k"),
            "3");
  EXPECT_EQ(string_at(ok(call("PATCH", a, R"([{"op":"replace","path":"/data/k","value":"4"}])",
                              "application/json-patch+json")),
                      "data", "k"),
            "4");
  refused(call("PATCH", a, "{}", "text/plain"), 415);
  refused(call("PATCH", a, R"({"metadata":{"name":"b"}})", "application/merge-patch+json"), 400);
  EXPECT_NE(
      refused(call("PATCH", a, R"({"metadata":{"resourceVersion":"1"}})", "application/merge-patch+json"),
              409)
          .find("modified"),
      std::string::npos);
}

TEST_F(ServerTest, WatchSeesEveryChangeOnceAndResumes) {
  auto list = ok(call("GET", kMaps));
  std::string version(string_at(list, "metadata", "resourceVersion"));
  auto w = watch(std::string(kMaps) + "?watch=1&resourceVersion=" + version);
  auto made = ok(call("POST", kMaps, config_map("a", "1")), 201);
  ok(call("PATCH", std::string(kMaps) + "/a", R"({"data":{"k":"2"}})", "application/merge-patch+json"));
  ok(call("DELETE", std::string(kMaps) + "/a"));
  wait_for([&] { return w->lines.size() >= 3; });
  EXPECT_EQ(w->names(), (std::vector<std::string>{"ADDED a", "MODIFIED a", "DELETED a"}));
  auto resumed = watch(std::string(kMaps) + "?watch=1&resourceVersion=" +
                       std::string(string_at(made, "metadata", "resourceVersion")));
  wait_for([&] { return resumed->lines.size() >= 2; });
  EXPECT_EQ(resumed->names(), (std::vector<std::string>{"MODIFIED a", "DELETED a"}));
}

TEST_F(ServerTest, SelectorsMakeObjectsEnterAndLeaveAWatch) {
  std::string version(string_at(ok(call("GET", kMaps)), "metadata", "resourceVersion"));
  auto w = watch(std::string(kMaps) + "?watch=1&labelSelector=app%3Dx&resourceVersion=" + version);
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  ok(call("PATCH", std::string(kMaps) + "/a", R"({"metadata":{"labels":{"app":"x"}}})",
          "application/merge-patch+json"));
  ok(call("PATCH", std::string(kMaps) + "/a", R"({"data":{"k":"2"}})", "application/merge-patch+json"));
  ok(call("PATCH", std::string(kMaps) + "/a", R"({"metadata":{"labels":null}})",
          "application/merge-patch+json"));
  wait_for([&] { return w->lines.size() >= 3; });
  EXPECT_EQ(w->names(), (std::vector<std::string>{"ADDED a", "MODIFIED a", "DELETED a"}));
  EXPECT_EQ(
      ok(call("GET", std::string(kMaps) + "?fieldSelector=metadata.name%3Da")).at("items").as_array().size(),
      1u);
  EXPECT_NE(
      refused(call("GET", std::string(kMaps) + "?fieldSelector=spec.foo%3Da"), 400)
          .find("\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""),
      std::string::npos);
}

TEST_F(ServerTest, WatchTooOldIsGone) {
  reopen();
  auto w = watch(std::string(kMaps) + "?watch=1&resourceVersion=1");
  wait_for([&] { return w->ended; });
  auto event = base::parse_json(w->lines.at(0)).value();
  EXPECT_EQ(string_at(event, "type"), "ERROR");
  EXPECT_EQ(base::as_int(base::find_path(event, "object", "code")), 410);
}

TEST_F(ServerTest, WatchListEndsWithABookmark) {
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  auto w =
      watch(std::string(kMaps) +
            "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan");
  wait_for([&] { return w->lines.size() >= 2; });
  EXPECT_EQ(w->names().at(0), "ADDED a");
  EXPECT_NE(w->lines.back().find("k8s.io/initial-events-end"), std::string::npos);
}

TEST_F(ServerTest, ListsInPagesOfOneSnapshot) {
  for (char c = 'a'; c <= 'e'; ++c) ok(call("POST", kMaps, config_map(std::string(1, c), "1")), 201);
  auto first = ok(call("GET", std::string(kMaps) + "?limit=2"));
  EXPECT_EQ(first.at("items").as_array().size(), 2u);
  EXPECT_EQ(base::as_int(base::find_path(first, "metadata", "remainingItemCount")), 3);
  ok(call("DELETE", std::string(kMaps) + "/d"));
  std::string token(string_at(first, "metadata", "continue"));
  auto second = ok(call("GET", std::string(kMaps) + "?limit=2&continue=" + token));
  auto third = ok(call("GET", std::string(kMaps) + "?limit=2&continue=" +
                                  std::string(string_at(second, "metadata", "continue"))));
  EXPECT_EQ(base::as_int(base::find_path(second, "metadata", "remainingItemCount")), 1);
  EXPECT_FALSE(base::find_path(third, "metadata", "remainingItemCount"));
  EXPECT_EQ(string_at(second.at("items").at(1), "metadata", "name"), "d");  // gone now, not in this snapshot
  EXPECT_EQ(string_at(third.at("items").at(0), "metadata", "name"), "e");
  EXPECT_EQ(string_at(third, "metadata", "continue"), "");
  EXPECT_EQ(refused(call("GET", std::string(kMaps) + "?limit=2&continue=999.2"), 400),
            "BadRequest: continue key is not valid: 999.2");
  // The same over all namespaces, page for page: each says how many come yet.
  size_t all = ok(call("GET", "/api/v1/configmaps")).at("items").as_array().size(), seen = 0;
  for (std::string more = "?limit=3"; !more.empty();) {
    auto page = ok(call("GET", "/api/v1/configmaps" + more));
    seen += page.at("items").as_array().size();
    EXPECT_EQ(base::as_int(base::find_path(page, "metadata", "remainingItemCount")),
              static_cast<int64_t>(all - seen));
    std::string next(string_at(page, "metadata", "continue"));
    more = next.empty() ? "" : "?limit=3&continue=" + next;
  }
  EXPECT_EQ(seen, all);
}

TEST_F(ServerTest, ListsOfNamedVersions) {
  std::string before(string_at(ok(call("GET", kMaps)), "metadata", "resourceVersion"));
  ok(call("POST", kMaps, config_map("b", "1")), 201);
  auto two = ok(call("POST", kMaps, config_map("a", "1")), 201);
  std::string at_two(string_at(two, "metadata", "resourceVersion"));
  ok(call("PATCH", std::string(kMaps) + "/a", R"({"data":{"k":"2"}})", "application/merge-patch+json"));
  ok(call("DELETE", std::string(kMaps) + "/b"));
  ok(call("POST", kMaps, config_map("c", "1")), 201);
  auto list = [&](std::string query) {
    auto out = ok(call("GET", std::string(kMaps) + "?" + query));
    std::string text = std::string(string_at(out, "metadata", "resourceVersion")) == at_two ? "@two" : "";
    for (const auto& item : out.at("items").as_array())
      text += " " + std::string(string_at(item, "metadata", "name")) + "=" +
              std::string(string_at(item, "data", "k"));
    return text;
  };
  EXPECT_EQ(list(""), " a=2 c=1");
  EXPECT_EQ(list("resourceVersion=" + at_two + "&resourceVersionMatch=NotOlderThan"), " a=2 c=1");
  EXPECT_EQ(list("resourceVersion=" + at_two + "&resourceVersionMatch=Exact"), "@two a=1 b=1");
  EXPECT_EQ(list("resourceVersion=" + at_two + "&limit=1"), "@two a=1")
      << "a page of a version is of that version";
  EXPECT_EQ(list("resourceVersion=" + before + "&resourceVersionMatch=Exact"), "");
  EXPECT_EQ(list("resourceVersion=0&limit=5"), " a=2 c=1");
  auto refusal = [&](std::string query, int code) {
    return refused(call("GET", std::string(kMaps) + "?" + query), code);
  };
  EXPECT_EQ(refusal("resourceVersionMatch=Exact", 422),
            "Invalid: ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
            "resourceVersionMatch is forbidden unless resourceVersion is provided");
  refusal("resourceVersion=0&resourceVersionMatch=Exact", 422);
  refusal("resourceVersion=1&resourceVersionMatch=Nearly", 422);
  refusal("sendInitialEvents=true", 422);
  refusal("watch=1&sendInitialEvents=true", 422);
  refusal("watch=1&resourceVersion=1&resourceVersionMatch=NotOlderThan", 422);
  EXPECT_NE(refusal("resourceVersion=999999999&resourceVersionMatch=NotOlderThan", 504)
                .find("Too large resource version: 999999999"),
            std::string::npos);
  EXPECT_NE(refused(call("GET", std::string(kMaps) + "/a?resourceVersion=999999999"), 504).find("Too large"),
            std::string::npos);
  // After a restart the history is gone: an old page says so, and how to go on.
  auto page = ok(call("GET", std::string(kMaps) + "?limit=1"));
  std::string token(string_at(page, "metadata", "continue"));
  reopen();
  ok(call("POST", kMaps, config_map("d", "1")), 201);
  auto expired = ok(call("GET", std::string(kMaps) + "?limit=5&resourceVersion=" + at_two), 410);
  EXPECT_EQ(string_at(expired, "reason"), "Expired");
  auto stale = ok(call("GET", std::string(kMaps) + "?limit=5&continue=" + token), 410);
  EXPECT_EQ(list("limit=5&continue=" + std::string(string_at(stale, "metadata", "continue"))), " c=1 d=1");
}

TEST_F(ServerTest, PodsAreDeletedWithGrace) {
  const char* pods = "/api/v1/namespaces/default/pods";
  ok(call("POST", pods, R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})"),
     201);
  ok(call("POST", std::string(pods) + "/p/binding", R"({"target":{"kind":"Node","name":"n1"}})"), 201);
  auto pod = ok(call("GET", std::string(pods) + "/p"));
  EXPECT_EQ(string_at(pod, "spec", "nodeName"), "n1");
  EXPECT_EQ(string_at(pod.at("status").at("conditions").at(0), "type"), "PodScheduled");
  EXPECT_EQ(string_at(pod, "spec", "restartPolicy"), "Always");
  EXPECT_EQ(string_at(pod, "spec", "serviceAccount"), "default");
  ok(call("PATCH", std::string(pods) + "/p", R"({"metadata":{"labels":{"a":"b"}}})",
          "application/merge-patch+json"));
  refused(call("POST", std::string(pods) + "/p/binding", R"({"target":{"kind":"Node","name":"n2"}})"), 409);
  auto deleting = ok(call("DELETE", std::string(pods) + "/p"));
  EXPECT_EQ(base::as_int(base::find_path(deleting, "metadata", "deletionGracePeriodSeconds")), 30);
  EXPECT_NE(string_at(deleting, "metadata", "deletionTimestamp"), "");
  EXPECT_EQ(
      ok(call("GET", std::string(pods) + "?fieldSelector=spec.nodeName%3Dn1")).at("items").as_array().size(),
      1u);
  ok(call("DELETE", std::string(pods) + "/p", R"({"gracePeriodSeconds":0})"));
  refused(call("GET", std::string(pods) + "/p"), 404);
}

TEST_F(ServerTest, FinalizersHoldADeletion) {
  std::string a = std::string(kMaps) + "/a";
  ok(call("POST", kMaps, R"({"metadata":{"name":"a","finalizers":["example.com/hold"]}})"), 201);
  EXPECT_NE(string_at(ok(call("DELETE", a)), "metadata", "deletionTimestamp"), "");
  ok(call("GET", a));
  ok(call("PATCH", a, R"({"metadata":{"finalizers":null}})", "application/merge-patch+json"));
  refused(call("GET", a), 404);
}

TEST_F(ServerTest, ANameOfWhatIsGoingIsTakenInOtherWords) {
  ok(call("POST", kMaps, R"({"metadata":{"name":"a","finalizers":["example.com/x"]}})"), 201);
  EXPECT_EQ(refused(call("POST", kMaps, config_map("a", "1")), 409),
            "AlreadyExists: configmaps \"a\" already exists");
  ok(call("DELETE", std::string(kMaps) + "/a"));
  EXPECT_EQ(refused(call("POST", kMaps, config_map("a", "1")), 409),
            "AlreadyExists: object is being deleted: configmaps \"a\" already exists");
}

TEST_F(ServerTest, AContainerIsOneOfThePods) {
  const std::string kPods = "/api/v1/namespaces/default/pods";
  ok(call(
         "POST", kPods,
         R"({"metadata":{"name":"p","annotations":{"kubectl.kubernetes.io/default-container":"b HTTP/1.1\r\nX: y"}},)"
         R"("spec":{"initContainers":[{"name":"i","image":"x"}],"containers":[{"name":"a","image":"x"},{"name":"b","image":"x"}]}})"),
     201);
  EXPECT_EQ(refused(call("GET", kPods + "/p/log"), 400),
            "BadRequest: a container name must be specified for pod p, choose one of: [i a b]");
  EXPECT_EQ(refused(call("GET", kPods + "/p/log?container=c"), 400),
            "BadRequest: container c is not valid for pod p");
  EXPECT_EQ(call("GET", kPods + "/p/log?container=i").status, 204);  // of no node yet
  EXPECT_EQ(refused(call("GET", kPods + "/p/exec?container=i&command=ls"), 400),
            "BadRequest: pod p does not have a host assigned");
}

TEST_F(ServerTest, WhatIsGoingGetsNoNewFinalizers) {
  std::string a = std::string(kMaps) + "/a";
  ok(call("POST", kMaps, R"({"metadata":{"name":"a","finalizers":["example.com/hold"]}})"), 201);
  ok(call("DELETE", a));
  EXPECT_NE(refused(call("PATCH", a, R"({"metadata":{"finalizers":["example.com/hold","example.com/more"]}})",
                         "application/merge-patch+json"),
                    422)
                .find("metadata.finalizers: Forbidden: no new finalizers can be added if the object is being "
                      "deleted, found new finalizers "
                      "[]string{\"example.com/more\"}"),
            std::string::npos);
}

TEST_F(ServerTest, OptionsOfWritesAreChecked) {
  EXPECT_EQ(refused(call("POST", std::string(kMaps) + "?dryRun=Some", config_map("a", "1")), 422),
            "Invalid: CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: "
            "supported values: \"All\"");
  refused(call("POST", std::string(kMaps) + "?fieldValidation=Maybe", config_map("a", "1")), 422);
  refused(call("POST", std::string(kMaps) + "?fieldManager=" + std::string(129, 'm'), config_map("a", "1")),
          422);
  ok(call("POST", std::string(kMaps) + "?dryRun=All", config_map("a", "1")), 201);
  refused(call("GET", std::string(kMaps) + "/a"), 404);
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  std::string a = std::string(kMaps) + "/a";
  refused(call("DELETE", a, R"({"propagationPolicy":"Sideways"})"), 422);
  refused(call("DELETE", a, R"({"propagationPolicy":"Orphan","orphanDependents":true})"), 422);
  ok(call("DELETE", a + "?dryRun=All", R"({"gracePeriodSeconds":-1})"));  // counts as 1
  refused(call("DELETE", a, R"({"preconditions":{"resourceVersion":"1"}})"), 409);
  ok(call("DELETE", a + "?dryRun=All"));
  ok(call("DELETE", a));
  refused(call("POST", "/api/v1/configmaps", config_map("a", "1")), 405);
  refused(call("DELETE", "/api/v1/configmaps"), 405);
}

TEST_F(ServerTest, SomeKindsAreMadeByPut) {
  const char* lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
  ok(call("PUT", lease, R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"a"}})"), 201);
  EXPECT_EQ(refused(call("PUT", lease, R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"b"}})"), 422),
            "Invalid: leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: "
            "0x0: must be specified for an update");
  refused(call("PUT", std::string(kMaps) + "/nothing", config_map("nothing", "1")), 404);
}

TEST_F(ServerTest, StatusAndSpecAreKeptApart) {
  const char* rcs = "/api/v1/namespaces/default/replicationcontrollers";
  auto rc =
      ok(call("POST", rcs, R"({"metadata":{"name":"r"},"spec":{"replicas":2,"selector":{"a":"b"},"template":{
      "metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"replicas":9}})"),
         201);
  EXPECT_EQ(base::as_int(base::find_path(rc, "status", "replicas")), 0);
  EXPECT_EQ(base::as_int(base::find_path(rc, "metadata", "generation")), 1);
  std::string r = std::string(rcs) + "/r";
  auto patched = ok(call("PATCH", r + "/status", R"({"status":{"replicas":2},"spec":{"replicas":7}})",
                         "application/merge-patch+json"));
  EXPECT_EQ(base::as_int(base::find_path(patched, "spec", "replicas")), 2);
  EXPECT_EQ(base::as_int(base::find_path(patched, "status", "replicas")), 2);
  EXPECT_EQ(base::as_int(base::find_path(patched, "metadata", "generation")), 1);

  auto scale = ok(call("GET", r + "/scale"));
  EXPECT_EQ(string_at(scale, "status", "selector"), "a=b");
  ok(call("PATCH", r + "/scale", R"({"spec":{"replicas":5}})", "application/merge-patch+json"));
  auto scaled = ok(call("GET", r));
  EXPECT_EQ(base::as_int(base::find_path(scaled, "spec", "replicas")), 5);
  EXPECT_EQ(base::as_int(base::find_path(scaled, "metadata", "generation")), 2);
  refused(call("PATCH", r + "/scale", R"({"spec":{"replicas":-1}})", "application/merge-patch+json"), 422);
}

TEST_F(ServerTest, RefusalsSayWhatPeopleKnow) {
  const char* pods = "/api/v1/namespaces/default/pods";
  EXPECT_NE(
      refused(call("POST", std::string(pods) + "?fieldValidation=Strict",
                   R"({"metadata":{"name":"p"},"spec":{"foo":1,"containers":[{"name":"c","image":"i"}]}})"),
              400)
          .find("strict decoding error: unknown field \"spec.foo\""),
      std::string::npos);
  refused(call("POST", pods, R"({"metadata":{"name":"p"},"spec":{"containers":"x"}})"), 400);
  refused(call("POST", pods, "{"), 400);
  auto bad = call("POST", pods, R"({"metadata":{"name":"P_"},"spec":{"containers":[]}})");
  auto status = base::parse_json(bad.body).value();
  EXPECT_EQ(bad.status, 422);
  EXPECT_EQ(string_at(status, "reason"), "Invalid");
  EXPECT_GE(status.at("details").at("causes").as_array().size(), 2u);
  refused(call("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a", "1")), 404);
  refused(call("GET", "/api/v1/nonsense"), 404);
  refused(call("GET", std::string(kMaps) + "?resourceVersion=nonsense"), 400);
  refused(call("GET", std::string(kMaps) + "?watch=1&resourceVersion=-1"), 400);
  refused(call("POST", std::string(kMaps) + "/a", config_map("a", "1")), 405);
  refused(call("GET", kMaps, "", "application/json", "text/plain"), 406);
}

TEST_F(ServerTest, ServicesGetAddresses) {
  const char* services = "/api/v1/namespaces/default/services";
  auto one = ok(
      call("POST", services, R"({"metadata":{"name":"a"},"spec":{"type":"NodePort","ports":[{"port":80}]}})"),
      201);
  std::string ip(string_at(one, "spec", "clusterIP"));
  EXPECT_TRUE(ip.starts_with("10.96."));
  int64_t port = base::as_int(base::find(one.at("spec").at("ports").at(0), "nodePort"));
  EXPECT_GE(port, 30000);
  EXPECT_NE(
      refused(call("POST", services,
                   R"({"metadata":{"name":"b"},"spec":{"clusterIP":")" + ip + R"(","ports":[{"port":80}]}})"),
              422)
          .find("already allocated"),
      std::string::npos);
  ok(call("DELETE", std::string(services) + "/a"));
  ok(call("POST", services,
          R"({"metadata":{"name":"b"},"spec":{"clusterIP":")" + ip + R"(","ports":[{"port":80}]}})"),
     201);
  EXPECT_EQ(string_at(ok(call("GET", std::string(services) + "/kubernetes")), "spec", "clusterIP"),
            "10.96.0.1");
}

TEST_F(ServerTest, AHealthCheckHasANodePortOfItsOwn) {
  const std::string services = "/api/v1/namespaces/default/services";
  auto made = [&](const char* name, const char* more) {
    return call("POST", services,
                R"({"metadata":{"name":")" + std::string(name) +
                    R"("},"spec":{"type":"LoadBalancer","ports":[{"port":80}])" + more + "}}");
  };
  auto port_of = [](const json::value& service) {
    return base::as_int(base::find(service.at("spec"), "healthCheckNodePort"));
  };
  EXPECT_EQ(port_of(ok(made("cluster", ""), 201)), 0);
  auto local = ok(made("local", R"(,"externalTrafficPolicy":"Local")"), 201);
  const int64_t port = port_of(local);
  EXPECT_GE(port, 30000);
  EXPECT_NE(port, base::as_int(base::find(local.at("spec").at("ports").at(0), "nodePort")));
  const std::string asked =
      R"(,"externalTrafficPolicy":"Local","healthCheckNodePort":)" + std::to_string(port);
  std::string why = refused(made("thief", asked.c_str()), 422);
  EXPECT_NE(why.find("spec.healthCheckNodePort"), std::string::npos) << why;
  EXPECT_NE(why.find("provided port is already allocated"), std::string::npos) << why;
  // It stays through an update that does not name it, and goes with the policy.
  auto patch = [&](const char* spec) {
    return ok(call("PATCH", services + "/local", spec, "application/merge-patch+json"));
  };
  EXPECT_EQ(port_of(patch(R"({"spec":{"sessionAffinity":"ClientIP"}})")), port);
  EXPECT_EQ(port_of(patch(R"({"spec":{"externalTrafficPolicy":"Cluster"}})")), 0);
  ok(made("heir", asked.c_str()), 201);
}

TEST_F(ServerTest, AddressesOfTheClusterAreGivenByName) {
  auto services = [](const char* ns) { return "/api/v1/namespaces/" + std::string(ns) + "/services"; };
  auto with_ip = [](const char* name, const char* ip) {
    return R"({"metadata":{"name":")" + std::string(name) + R"("},"spec":{"clusterIP":")" + ip +
           R"(","ports":[{"port":443}]}})";
  };
  auto taken = [](const char* ip) {
    return "failed to allocate IP " + std::string(ip) + ": provided IP is already allocated";
  };
  for (auto [ns, name] : std::initializer_list<std::pair<const char*, const char*>>{
           {"default", "thief"}, {"kube-system", "kubernetes"}})
    EXPECT_NE(refused(call("POST", services(ns), with_ip(name, "10.96.0.1")), 422).find(taken("10.96.0.1")),
              std::string::npos)
        << name;
  EXPECT_NE(refused(call("POST", services("default"), with_ip("kube-dns", "10.96.0.10")), 422)
                .find(taken("10.96.0.10")),
            std::string::npos);
  // By an update of one that has none, or another.
  ok(call("POST", services("default"),
          R"({"metadata":{"name":"ext"},"spec":{"type":"ExternalName","externalName":"example.org"}})"),
     201);
  refused(
      call(
          "PATCH", services("default") + "/ext",
          R"({"spec":{"type":"ClusterIP","clusterIP":"10.96.0.1","externalName":null,"ports":[{"port":443}]}})",
          "application/merge-patch+json"),
      422);
  // When it is gone for a moment, nobody else gets it; nor when its Service comes and goes.
  ok(call("DELETE", services("default") + "/kubernetes"));
  EXPECT_NE(
      refused(call("POST", services("default"), with_ip("thief", "10.96.0.1")), 422).find(taken("10.96.0.1")),
      std::string::npos);
  ok(call("POST", services("default"), with_ip("kubernetes", "10.96.0.1")), 201);
  ok(call("POST", services("kube-system"), with_ip("kube-dns", "10.96.0.10")), 201);
  ok(call("DELETE", services("kube-system") + "/kube-dns"));
  EXPECT_NE(refused(call("POST", services("default"), with_ip("thief", "10.96.0.10")), 422)
                .find(taken("10.96.0.10")),
            std::string::npos);
}

// A Service of an earlier time that has another's address: its end frees nothing of the other's.
TEST_F(ServerTest, AStoredThiefFreesNothing) {
  ServiceAllocator allocator("10.96.0.0/16", "10.96.0.10");
  auto service = [](const char* ns, const char* name, const char* ip, int port = 0) {
    json::value out =
        base::parse_json(R"({"metadata":{},"spec":{"type":"NodePort","ports":[{"port":80}]}})").value();
    out.at("metadata").as_object() = {{"namespace", ns}, {"name", name}};
    out.at("spec").as_object()["clusterIP"] = ip;
    if (port) out.at("spec").at("ports").at(0).as_object()["nodePort"] = port;
    return out;
  };
  json::value kubernetes = service("default", "kubernetes", "10.96.0.1"),
              thief = service("a", "thief", "10.96.0.1");
  json::value web = service("a", "web", "10.96.0.50", 30080),
              twin = service("b", "twin", "10.96.0.50", 30080);
  for (const json::value* one : {&kubernetes, &thief, &web, &twin}) allocator.take(*one);
  allocator.release_difference(thief, nullptr);
  allocator.release_difference(twin, nullptr);
  json::value next = service("c", "next", "10.96.0.1");
  EXPECT_FALSE(allocator.allocate(next, nullptr).ok());
  next = service("c", "next", "10.96.0.50");
  EXPECT_FALSE(allocator.allocate(next, nullptr).ok());
  next = service("c", "next", "", 30080);
  EXPECT_FALSE(allocator.allocate(next, nullptr).ok());
  allocator.release_difference(web, nullptr);
  next = service("c", "next", "10.96.0.50", 30080);
  EXPECT_TRUE(allocator.allocate(next, nullptr).ok());
  json::value again = service("default", "kubernetes", "10.96.0.1");
  EXPECT_TRUE(allocator.allocate(again, nullptr).ok()) << "whoever holds it";
}

TEST_F(ServerTest, ExternalAddressesAreNoPartOfTheCluster) {
  const std::string services = "/api/v1/namespaces/default/services";
  auto with = [](const char* name, const std::string& ip) {
    return R"({"metadata":{"name":")" + std::string(name) + R"("},"spec":{"externalIPs":[")" + ip +
           R"("],"ports":[{"port":80}]}})";
  };
  ok(call(
         "POST", "/api/v1/nodes",
         R"({"metadata":{"name":"n1"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.11"}]}})"),
     201);
  for (auto [ip, why] : std::initializer_list<std::pair<const char*, const char*>>{
           {"10.96.0.1", "may not be in the range of Services (10.96.0.0/16)"},
           {"10.244.0.7", "may not be in the range of Pods (10.244.0.0/16)"},
           {"192.0.2.1", "may not be an address of the API server"},
           {"192.0.2.11", "may not be an address of a node"},
           {"127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
           {"::ffff:127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
           {"0.0.0.0", "may not be unspecified (0.0.0.0)"},
           {"169.254.169.254", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
           {"fe90::1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
           {"224.0.0.5", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"}}) {
    std::string text = refused(call("POST", services, with("x", ip)), 422);
    EXPECT_NE(text.find("spec.externalIPs[0]"), std::string::npos) << text;
    EXPECT_NE(text.find(why), std::string::npos) << text;
  }
  ok(call("POST", services, with("x", "203.0.113.7")), 201);
  // A node that comes later takes the address away from nobody's object: it may be kept, and no other may
  // name it.
  ok(call(
         "POST", "/api/v1/nodes",
         R"({"metadata":{"name":"n2"},"status":{"addresses":[{"type":"InternalIP","address":"203.0.113.7"}]}})"),
     201);
  ok(call("PATCH", services + "/x", R"({"metadata":{"labels":{"a":"b"}}})", "application/merge-patch+json"));
  refused(call("POST", services, with("y", "203.0.113.7")), 422);
  ok(call("DELETE", "/api/v1/nodes/n2"));
  ok(call("POST", services, with("y", "203.0.113.7")), 201);
}
class DenyExternalIps : public ServerTest {
  void configure(ServerOptions& options) override { options.deny_external_ips = true; }
};
TEST_F(DenyExternalIps, NoneIsNamedAnew) {
  const std::string services = "/api/v1/namespaces/default/services";
  EXPECT_NE(
      refused(
          call("POST", services,
               R"({"metadata":{"name":"x"},"spec":{"externalIPs":["203.0.113.7"],"ports":[{"port":80}]}})"),
          403)
          .find("services \"x\" is forbidden: Use of external IPs is denied by admission control"),
      std::string::npos);
  ok(call("POST", services, R"({"metadata":{"name":"x"},"spec":{"ports":[{"port":80}]}})"), 201);
  refused(call("PATCH", services + "/x", R"({"spec":{"externalIPs":["203.0.113.7"]}})",
               "application/merge-patch+json"),
          403);
}

TEST_F(ServerTest, BalancersAddressesAreNotTheirUsers) {
  const std::string services = "/api/v1/namespaces/default/services";
  const char* status = R"({"status":{"loadBalancer":{"ingress":[{"ip":"10.96.0.1"}]}}})";
  auto made = ok(call("POST", services,
                      R"({"metadata":{"name":"x"},"spec":{"type":"LoadBalancer","ports":[{"port":443}]},
      "status":{"loadBalancer":{"ingress":[{"ip":"10.96.0.1"}]}}})"),
                 201);
  EXPECT_EQ(base::find_path(made, "status", "loadBalancer", "ingress"), nullptr)
      << "status of a create is nobody's";
  made = ok(call("PATCH", services + "/x", status, "application/merge-patch+json"));
  EXPECT_EQ(base::find_path(made, "status", "loadBalancer", "ingress"), nullptr);
}

TEST_F(ServerTest, EndpointsAreHosts) {
  for (const char* ip : {"127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"}) {
    std::string address(ip);
    refused(call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                 R"({"metadata":{"name":"s"},"addressType":"IPv4","endpoints":[{"addresses":[")" + address +
                     R"("]}],"ports":[]})"),
            422);
    refused(call("POST", "/api/v1/namespaces/default/endpoints",
                 R"({"metadata":{"name":"s"},"subsets":[{"addresses":[{"ip":")" + address +
                     R"("}],"ports":[{"port":80}]}]})"),
            422);
  }
}

TEST_F(ServerTest, NamespacesEndWithTheirFinalizer) {
  ok(call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"x"}})"), 201);
  auto ns = ok(call("DELETE", "/api/v1/namespaces/x"));
  EXPECT_EQ(string_at(ns, "status", "phase"), "Terminating");
  EXPECT_NE(refused(call("POST", "/api/v1/namespaces/x/configmaps", config_map("a", "1")), 403)
                .find("being terminated"),
            std::string::npos);
  ns.at("spec").as_object().erase("finalizers");
  ok(call("PUT", "/api/v1/namespaces/x/finalize", base::to_json(ns)));
  refused(call("GET", "/api/v1/namespaces/x"), 404);
  refused(call("DELETE", "/api/v1/namespaces/default"), 403);
}

TEST_F(ServerTest, LeasesLiveInMemoryWithRisingVersions) {
  const char* leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
  auto made = ok(call("POST", leases, R"({"metadata":{"name":"n1"},"spec":{"holderIdentity":"n1"}})"), 201);
  auto again = ok(call("PATCH", std::string(leases) + "/n1", R"({"spec":{"holderIdentity":"n2"}})",
                       "application/merge-patch+json"));
  EXPECT_GT(std::stoll(std::string(string_at(again, "metadata", "resourceVersion"))),
            std::stoll(std::string(string_at(made, "metadata", "resourceVersion"))));
  std::string last(string_at(again, "metadata", "resourceVersion"));
  reopen();
  refused(call("GET", std::string(leases) + "/n1"), 404);
  auto after = ok(call("POST", leases, R"({"metadata":{"name":"n1"}})"), 201);
  EXPECT_GT(std::stoll(std::string(string_at(after, "metadata", "resourceVersion"))), std::stoll(last));
}

TEST_F(ServerTest, TablesAndPartialMetadata) {
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  auto table = ok(call("GET", kMaps, "", "application/json",
                       "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"));
  EXPECT_EQ(string_at(table, "kind"), "Table");
  EXPECT_EQ(string_at(table.at("rows").at(0).at("object"), "metadata", "name"), "a");
  auto partial = ok(call("GET", kMaps, "", "application/json",
                         "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"));
  EXPECT_EQ(string_at(partial, "kind"), "PartialObjectMetadataList");
}

TEST_F(ServerTest, NodesMayDoTheirWorkAndNoMore) {
  const char* pods = "/api/v1/namespaces/default/pods";
  const char* merge = "application/merge-patch+json";
  auto pod_on = [&](const std::string& name, const std::string& node) {
    ok(call(
           "POST", pods,
           R"({"metadata":{"name":")" + name +
               R"("},"spec":{"containers":[{"name":"c","image":"i","envFrom":[{"configMapRef":{"name":"used"}}]}]}})"),
       201);
    ok(call("POST", std::string(pods) + "/" + name + "/binding",
            R"({"target":{"kind":"Node","name":")" + node + R"("}})"),
       201);
  };
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n2"}})"), 201);
  ok(call("POST", kMaps, config_map("used", "1")), 201);
  ok(call("POST", kMaps, config_map("unused", "1")), 201);
  pod_on("mine", "n1");
  pod_on("other", "n2");
  transport_ = server_->local_transport({"system:node:n1", {"system:nodes", "system:authenticated"}});
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n1","labels":{"kubernetes.io/hostname":"n1"}}})"),
     201);
  ok(call("PATCH", "/api/v1/nodes/n1/status", R"({"status":{"phase":"Running"}})", merge));
  EXPECT_EQ(refused(call("PATCH", "/api/v1/nodes/n2/status", R"({"status":{"phase":"x"}})", merge), 403),
            "Forbidden: nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"");
  EXPECT_NE(refused(call("PATCH", "/api/v1/nodes/n1",
                         R"({"metadata":{"labels":{"node-role.kubernetes.io/x":""}}})", merge),
                    403)
                .find("is not allowed to modify labels: node-role.kubernetes.io/x"),
            std::string::npos);
  EXPECT_NE(refused(call("PATCH", "/api/v1/nodes/n1",
                         R"({"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}})", merge),
                    403)
                .find("is not allowed to modify taints"),
            std::string::npos);
  ok(call("GET", std::string(kMaps) + "/used"));
  EXPECT_NE(
      refused(call("GET", std::string(kMaps) + "/unused"), 403)
          .find("in the namespace \"default\": no relationship found between node 'n1' and this object"),
      std::string::npos);
  refused(call("GET", kMaps), 403);
  ok(call("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1"));
  refused(call("GET", "/api/v1/pods"), 403);
  ok(call("PATCH", std::string(pods) + "/mine/status", R"({"status":{"message":"x"}})", merge));
  refused(call("PATCH", std::string(pods) + "/other/status", R"({"status":{"message":"x"}})", merge), 403);
  refused(call("DELETE", std::string(pods) + "/other"), 403);
  ok(call("DELETE", std::string(pods) + "/mine", R"({"gracePeriodSeconds":0})"));
  refused(call("GET", std::string(kMaps) + "/used"), 403);  // no Pod of it refers to that any more
  refused(call("DELETE", "/api/v1/namespaces/default"), 403);
  refused(call("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
               R"({"metadata":{"name":"n2"}})"),
          403);
  ok(call("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
          R"({"metadata":{"name":"n1"}})"),
     201);
  transport_ = server_->local_transport({"nobody", {"system:authenticated"}});
  refused(call("GET", kMaps), 403);
  transport_ = server_->local_transport({"system:anonymous", {"system:unauthenticated"}});
  refused(call("GET", kMaps), 403);
  refused(call("GET", "/api"), 403);
  EXPECT_EQ(call("GET", "/livez").body, "ok");
}

TEST_F(ServerTest, DiscoveryTellsWhatIsServed) {
  EXPECT_EQ(string_at(ok(call("GET", "/api/v1")), "groupVersion"), "v1");
  EXPECT_EQ(string_at(ok(call("GET", "/apis/apps")), "kind"), "APIGroup");
  auto all =
      ok(call("GET", "/apis", "", "application/json",
              "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"));
  EXPECT_EQ(string_at(all, "kind"), "APIGroupDiscoveryList");
  refused(call("GET", "/apis/nonsense.example.com/v1"), 404);
}

// Of large custom resources the documents are megabytes: nobody else waits while they are made.
TEST_F(ServerTest, SchemasAreMadeBesideTheLoop) {
  std::vector<std::string> order;
  std::vector<std::unique_ptr<api::Transport::Call>> calls;
  auto ask = [&](const std::string& target, const std::string& accept = "application/json") {
    base::http::Request request;
    request.method = "GET";
    request.target = target;
    request.headers.add("Accept", accept);
    calls.push_back(
        transport_->call(std::move(request), [&order, target](base::Result<base::http::Response> answer) {
          ASSERT_TRUE(answer.ok() && answer->status == 200 && !answer->body.empty()) << target;
          order.push_back(target);
        }));
  };
  ask("/openapi/v2");
  ask("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
  ask("/openapi/v3");
  ask("/openapi/v3/apis/apps/v1");
  ask("/livez");
  // They are made on a thread of low priority: a busy machine takes its time for them.
  for (int i = 0; i < 10'000 && order.size() < 5; ++i) loop_.run_once(std::chrono::milliseconds(10));
  ASSERT_EQ(order.size(), 5u);
  EXPECT_EQ(order.front(), "/livez");
  EXPECT_EQ(call("GET", "/openapi/v3/apis/nobody.example.com/v1").status, 404);
}

TEST_F(ServerTest, MetricsHaveKubernetesNamesAndLabels) {
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  refused(call("GET", std::string(kMaps) + "/none"), 404);
  auto w = watch(std::string(kMaps) + "?watch=true");
  loop_.run_once(std::chrono::milliseconds(1));
  std::string page = call("GET", "/metrics").body;
  for (
      const char* line :
      {R"(apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1)",
       R"(apiserver_request_total{code="404",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="GET",version="v1"} 1)",
       R"(apiserver_request_duration_seconds_count{component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1)",
       R"(apiserver_longrunning_requests{component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="WATCH",version="v1"} 1)",
       R"(apiserver_watch_events_total{group="",resource="configmaps",version="v1"} 1)",
       R"(apiserver_storage_objects{resource="configmaps"} 1)",
       R"(etcd_request_duration_seconds_count{operation="create",type="configmaps"} 1)",
       R"(apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} 245)"})
    EXPECT_NE(page.find(std::string(line) + "\n"), std::string::npos) << line;
  // How many there are is the bootstrap's affair.
  EXPECT_NE(page.find("apiserver_current_inflight_requests{request_kind=\"mutating\"} "), std::string::npos);
  EXPECT_NE(page.find("process_resident_memory_bytes "), std::string::npos);
  w->handle.reset();
  loop_.run_once(std::chrono::milliseconds(1));
  EXPECT_NE(call("GET", "/metrics")
                .body.find(
                    R"(resource="configmaps",scope="namespace",subresource="",verb="WATCH",version="v1"} 0)"),
            std::string::npos);
}

TEST_F(ServerTest, IsReadyOnceItsControllersAreAndUntilItStops) {
  EXPECT_EQ(call("GET", "/livez").body, "ok");
  EXPECT_EQ(call("GET", "/readyz").status, 500);
  server_->set_ready();
  EXPECT_EQ(call("GET", "/readyz").body, "ok");
  EXPECT_EQ(call("GET", "/readyz?verbose").body,
            "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]poststarthook/start-controllers ok\n[+]shutdown "
            "ok\nreadyz check passed\n");
  server_->set_stopping();
  EXPECT_EQ(call("GET", "/readyz").status, 500);
  EXPECT_EQ(call("GET", "/livez").body, "ok");
}

}  // namespace
}  // namespace master
