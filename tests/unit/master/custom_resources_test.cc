#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using ::base::string_at;

constexpr char kDefinitions[] = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
constexpr char kTabs[] = "/apis/stable.example.com/v1/namespaces/default/crontabs";

std::string version(const std::string& name, bool storage, const std::string& more = "",
                    const std::string& spec_more = "") {
  return R"({"name":")" + name + R"(","served":true,"storage":)" + (storage ? "true" : "false") +
         R"(,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","required":["cronSpec"],"properties":{
           "cronSpec":{"type":"string","pattern":"^[0-9*/ ]+$"},"image":{"type":"string","default":"busybox"},
           "replicas":{"type":"integer","minimum":1,"maximum":10})" +
         spec_more + R"(}},
           "status":{"type":"object","properties":{"replicas":{"type":"integer"},"selector":{"type":"string"}}}}}})" +
         more + "}";
}
constexpr char kSubresources[] =
    R"(,"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas",
  "labelSelectorPath":".status.selector"}},"selectableFields":[{"jsonPath":".spec.image"}],
  "additionalPrinterColumns":[{"name":"Spec","type":"string","jsonPath":".spec.cronSpec"},{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}])";
std::string definition(const std::string& versions, const std::string& metadata = "") {
  return R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"crontabs.stable.example.com")" +
         metadata +
         R"(},"spec":{"group":"stable.example.com","scope":"Namespaced","names":{"plural":"crontabs","kind":"CronTab","shortNames":["ct"],
         "categories":["all"]},"versions":[)" +
         versions + "]}}";
}
std::string tab(const std::string& name, const std::string& spec, const std::string& more = "") {
  return R"({"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":")" + name + "\"" +
         more + R"(},"spec":)" + spec + "}";
}

class CustomResourcesTest : public ServerTest {
 protected:
  std::string one() { return std::string(kDefinitions) + "/crontabs.stable.example.com"; }
  bool established() {
    auto found = call("GET", one());
    return found.status == 200 &&
           found.body.find(R"("type":"Established","status":"True")") != std::string::npos;
  }
  void define(const std::string& versions) {
    ok(call("POST", kDefinitions, definition(versions)), 201);
    wait_for([&] { return established(); });
  }
};

TEST_F(CustomResourcesTest, AreDefinedAndServed) {
  define(version("v1", true, kSubresources));
  auto made = ok(call("POST", kTabs, tab("a", R"({"cronSpec":"* *","unknown":1})")), 201);
  EXPECT_EQ(string_at(made, "spec", "image"), "busybox");
  EXPECT_FALSE(base::find_path(made, "spec", "unknown"));
  EXPECT_EQ(base::as_int(base::find_path(made, "metadata", "generation")), 1);
  EXPECT_EQ(ok(call("GET", std::string(kTabs) + "/a")), made);
  EXPECT_EQ(refused(call("POST", kTabs, tab("b", R"({"cronSpec":"x","replicas":15})")), 422),
            "Invalid: CronTab.stable.example.com \"b\" is invalid: [spec.cronSpec: Invalid value: \"x\": "
            "spec.cronSpec in body should match "
            "'^[0-9*/ ]+$', spec.replicas: Invalid value: 15: spec.replicas in body should be less than or "
            "equal to 10]");
  EXPECT_NE(refused(call("POST", std::string(kTabs) + "?fieldValidation=Strict",
                         tab("b", R"({"cronSpec":"* *","unknown":1})")),
                    400)
                .find("strict decoding error: unknown field \"spec.unknown\""),
            std::string::npos);
  auto patched = ok(
      call("PATCH", std::string(kTabs) + "/a", R"({"spec":{"replicas":2}})", "application/merge-patch+json"));
  EXPECT_EQ(base::as_int(base::find_path(patched, "metadata", "generation")), 2);
  refused(call("PATCH", std::string(kTabs) + "/a", "{}", "application/strategic-merge-patch+json"), 415);
  auto list = ok(call("GET", kTabs));
  EXPECT_EQ(string_at(list, "kind"), "CronTabList");
  EXPECT_EQ(ok(call("GET", std::string(kTabs) + "?fieldSelector=spec.image%3Dbusybox"))
                .at("items")
                .get_array()
                .size(),
            1u);
  EXPECT_EQ(ok(call("GET", std::string(kTabs) + "?fieldSelector=spec.image%3Dother"))
                .at("items")
                .get_array()
                .size(),
            0u);
  auto table = ok(call("GET", kTabs, "", "application/json", "application/json;as=Table;v=v1;g=meta.k8s.io"));
  EXPECT_EQ(base::to_json(table.at("rows").at(0).at("cells")), R"(["a","* *",2])");
  EXPECT_EQ(string_at(table.at("columnDefinitions").at(1), "name"), "Spec");
}

TEST_F(CustomResourcesTest, StatusAndScaleAreTheirOwnDoors) {
  define(version("v1", true, kSubresources));
  ok(call("POST", kTabs, tab("a", R"({"cronSpec":"* *","replicas":1})")), 201);
  std::string a = std::string(kTabs) + "/a";
  auto status =
      ok(call("PATCH", a + "/status", R"({"spec":{"replicas":9},"status":{"replicas":4,"selector":"a=b"}})",
              "application/merge-patch+json"));
  EXPECT_EQ(base::as_int(base::find_path(status, "spec", "replicas")), 1);
  EXPECT_EQ(base::as_int(base::find_path(status, "metadata", "generation")), 1);
  ok(call("PATCH", a, R"({"status":{"replicas":7}})", "application/merge-patch+json"));
  auto scale = ok(call("GET", a + "/scale"));
  EXPECT_EQ(base::as_int(base::find_path(scale, "status", "replicas")), 4);
  EXPECT_EQ(string_at(scale, "status", "selector"), "a=b");
  scale.at("spec").get_object()["replicas"] = 3;
  ok(call("PUT", a + "/scale", base::to_json(scale)));
  EXPECT_EQ(base::as_int(base::find_path(ok(call("GET", a)), "spec", "replicas")), 3);
  scale.at("spec").get_object()["replicas"] = 30;
  scale.at("metadata").get_object().erase("resourceVersion");
  refused(call("PUT", a + "/scale", base::to_json(scale)), 422);
}

TEST_F(CustomResourcesTest, AreAppliedServerSide) {
  define(version("v1", true, kSubresources));
  std::string a = std::string(kTabs) + "/a";
  ok(call("PATCH", a + "?fieldManager=one", tab("a", R"({"cronSpec":"* *","replicas":1})"),
          "application/apply-patch+yaml"),
     201);
  refused(call("PATCH", a + "?fieldManager=two", tab("a", R"({"cronSpec":"* *","replicas":2})"),
               "application/apply-patch+yaml"),
          409);
  auto forced = ok(call("PATCH", a + "?fieldManager=two&force=true",
                        tab("a", R"({"cronSpec":"* *","replicas":2})"), "application/apply-patch+yaml"));
  EXPECT_EQ(base::as_int(base::find_path(forced, "spec", "replicas")), 2);
}

TEST_F(CustomResourcesTest, AreDiscoveredAndDocumented) {
  // Documents are made on a thread of low priority: a busy machine takes its time for them.
  auto document_at = [&](const std::string& path) {
    base::http::Response response = call("GET", path);
    for (int i = 0; i < 9 && response.status == 0; ++i) response = call("GET", path);
    return response;
  };
  std::string before = document_at("/openapi/v3").body;
  define(version("v1", true, kSubresources) + "," + version("v1beta1", false));
  auto groups = ok(call("GET", "/apis/stable.example.com"));
  EXPECT_EQ(string_at(groups, "preferredVersion", "version"), "v1");
  EXPECT_EQ(groups.at("versions").get_array().size(), 2u);
  auto list = ok(call("GET", "/apis/stable.example.com/v1"));
  EXPECT_EQ(list.at("resources").get_array().size(), 3u);
  EXPECT_EQ(string_at(list.at("resources").at(0), "singularName"), "crontab");
  EXPECT_EQ(base::to_json(list.at("resources").at(0).at("shortNames")), R"(["ct"])");
  std::string aggregated = call("GET", "/apis", "", "application/json",
                                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
                               .body;
  EXPECT_NE(aggregated.find("\"crontabs\""), std::string::npos);
  EXPECT_NE(document_at("/openapi/v3").body, before);
  auto document = ok(document_at("/openapi/v3/apis/stable.example.com/v1"));
  EXPECT_TRUE(base::find_path(document, "components", "schemas", "com.example.stable.v1.CronTab",
                              "properties", "spec", "properties", "cronSpec"));
  EXPECT_NE(document_at("/openapi/v2").body.find("com.example.stable.v1.CronTab"), std::string::npos);
  ok(call("DELETE", one()));
  wait_for([&] { return call("GET", "/apis/stable.example.com").status == 404; });
}

TEST_F(CustomResourcesTest, VersionsShareTheirObjects) {
  define(version("v1", true) + "," + version("v2", false, "", R"(,"extra":{"type":"string","default":"e"})"));
  ok(call("POST", kTabs, tab("a", R"({"cronSpec":"* *"})")), 201);
  std::string v2 = "/apis/stable.example.com/v2/namespaces/default/crontabs";
  auto other = ok(call("GET", v2 + "/a"));
  EXPECT_EQ(string_at(other, "apiVersion"), "stable.example.com/v2");
  EXPECT_EQ(string_at(other, "spec", "extra"), "e");
  EXPECT_FALSE(base::find_path(ok(call("GET", std::string(kTabs) + "/a")), "spec", "extra"));
  // The other version becomes the stored one; objects stay.
  auto current = ok(call("GET", one()));
  json::array& versions = current.at("spec").at("versions").get_array();
  versions[0].get_object()["storage"] = false;
  versions[1].get_object()["storage"] = true;
  auto updated = ok(call("PUT", one(), base::to_json(current)));
  EXPECT_EQ(base::to_json(updated.at("status").at("storedVersions")), R"(["v1","v2"])");
  wait_for([&] { return call("GET", v2 + "/a").body.find("\"extra\":\"e\"") != std::string::npos; });
  EXPECT_EQ(string_at(ok(call("GET", std::string(kTabs) + "/a")), "apiVersion"), "stable.example.com/v1");
  reopen();
  EXPECT_EQ(string_at(ok(call("GET", v2 + "/a")), "spec", "extra"), "e");
  EXPECT_EQ(string_at(ok(call("GET", std::string(kTabs) + "/a")), "apiVersion"), "stable.example.com/v1");
}

TEST_F(CustomResourcesTest, SurviveARestart) {
  define(version("v1", true));
  auto made = ok(call("POST", kTabs, tab("a", R"({"cronSpec":"* *"})")), 201);
  reopen();
  EXPECT_EQ(ok(call("GET", std::string(kTabs) + "/a")), made);
}

TEST_F(CustomResourcesTest, SchemaChangesReachCacheAndWatches) {
  define(version("v1", true));
  ok(call("POST", kTabs, tab("a", R"({"cronSpec":"* *"})")), 201);
  auto w = watch(std::string(kTabs) + "?watch=1");
  wait_for([&] { return w->lines.size() == 1; });
  auto current = ok(call("GET", one()));
  current.at("spec")
      .at("versions")
      .at(0)
      .at("schema")
      .at("openAPIV3Schema")
      .at("properties")
      .at("spec")
      .at("properties")
      .get_object()["fresh"] = json::object{{"type", "string"}, {"default", "f"}};
  ok(call("PUT", one(), base::to_json(current)));
  wait_for([&] { return w->ended; });
  EXPECT_EQ(string_at(ok(call("GET", std::string(kTabs) + "/a")), "spec", "fresh"), "f");
}

TEST_F(CustomResourcesTest, DeletionTakesTheInstances) {
  define(version("v1", true));
  ok(call("POST", kTabs, tab("a", R"({"cronSpec":"* *"})")), 201);
  ok(call("POST", kTabs, tab("held", R"({"cronSpec":"* *"})", R"(,"finalizers":["example.com/hold"])")), 201);
  auto w = watch(std::string(kTabs) + "?watch=1");
  ok(call("DELETE", one()));
  wait_for([&] { return call("GET", std::string(kTabs) + "/a").status == 404; });
  wait_for([&] { return call("GET", one()).body.find("InstanceDeletionInProgress") != std::string::npos; });
  refused(call("POST", kTabs, tab("late", R"({"cronSpec":"* *"})")), 405);
  ok(call("PATCH", std::string(kTabs) + "/held", R"({"metadata":{"finalizers":null}})",
          "application/merge-patch+json"));
  wait_for([&] { return call("GET", one()).status == 404; });
  wait_for([&] { return w->ended; });
  EXPECT_EQ(call("GET", kTabs).status, 404);
  // The name is free for another of the same kind, whose objects are none of the old.
  define(version("v1", true));
  EXPECT_EQ(ok(call("GET", kTabs)).at("items").get_array().size(), 0u);
}

TEST_F(CustomResourcesTest, NamesAreTakenOnce) {
  define(version("v1", true));
  ok(call(
         "POST", kDefinitions,
         R"({"metadata":{"name":"tabs.stable.example.com"},"spec":{"group":"stable.example.com","scope":"Cluster",
     "names":{"plural":"tabs","kind":"CronTab"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}})"),
     201);
  std::string other = std::string(kDefinitions) + "/tabs.stable.example.com";
  wait_for([&] { return call("GET", other).body.find("KindConflict") != std::string::npos; });
  refused(call("GET", "/apis/stable.example.com/v1/tabs"), 404);
  ok(call("DELETE", one()));
  wait_for([&] { return call("GET", "/apis/stable.example.com/v1/tabs").status == 200; });
}

}  // namespace
}  // namespace master
