// What may lie in the store: nothing too deep to be read back gets in, and whatever lies there, the server
// starts and serves the rest.
#include <sqlite3.h>

#include "master/registry/store_check.h"
#include "master/store/store_file.h"
#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using ::base::string_at;

constexpr size_t kMost = base::kMaxJsonDepth;
constexpr char kTrees[] = "/apis/example.com/v1/namespaces/default/trees";

std::string nested(size_t depth, const std::string& key = "a") {
  std::string out = "{}";
  for (size_t i = 1; i < depth; ++i) out = "{\"" + key + "\":" + out + "}";
  return out;
}

class StoredObjectsTest : public ServerTest {
 protected:
  // Custom objects that keep everything below spec.
  void define_trees() {
    ok(call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            R"({"metadata":{"name":"trees.example.com"},"spec":{"group":"example.com",
      "scope":"Namespaced","names":{"plural":"trees","kind":"Tree"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":
      {"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]}})"),
       201);
    wait_for([&] { return call("GET", kTrees).status == 200; });
  }
  static std::string tree(const std::string& name, size_t depth) {  // of the whole object
    return R"({"apiVersion":"example.com/v1","kind":"Tree","metadata":{"name":")" + name + R"("},"spec":)" +
           nested(depth - 1) + "}";
  }
  static std::string insert(const std::string& key, int64_t revision, const std::string& value) {
    auto quoted = [](const std::string& text) {
      std::string out;
      for (unsigned char c : text) out += "0123456789abcdef"[c >> 4], out += "0123456789abcdef"[c & 15];
      return "x'" + out + "'";
    };
    return "INSERT INTO object(key, revision, value, sum) VALUES(CAST(" + quoted(key) + " AS TEXT), " +
           std::to_string(revision) + ", " + quoted(value) + ", " +
           std::to_string(record_sum(key, revision, value)) + ");";
  }
  // In the store, while no server runs on it.
  void execute(const std::string& sql) {
    transport_.reset();
    server_.reset();
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((dir_ + "/store.db").c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_close(db);
  }
};

TEST_F(StoredObjectsTest, ReadBackWhatTheyTook) {
  define_trees();
  ok(call("POST", kTrees, tree("most", kMost)), 201);
  EXPECT_NE(refused(call("POST", kTrees, tree("more", kMost + 1)), 400).find("exceeded max depth"),
            std::string::npos);
  EXPECT_NE(refused(call("POST", std::string(kTrees) + "?dryRun=All", tree("more", kMost + 1)), 400)
                .find("exceeded max depth"),
            std::string::npos);
  ok(call("POST", kTrees, tree("yaml", kMost), "application/yaml"), 201);
  EXPECT_NE(refused(call("POST", kTrees, tree("more", kMost + 1), "application/yaml"), 400)
                .find("exceeded max depth"),
            std::string::npos);
  // Owners of fields: as deep as the object may be, and one more.
  auto owned = [](const std::string& name, size_t depth) {
    return R"({"metadata":{"name":")" + name +
           R"(","managedFields":[{"manager":"m","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z",
      "fieldsType":"FieldsV1","fieldsV1":)" +
           nested(depth - 4, "f:data") + "}]}}";
  };
  ok(call("POST", kMaps, owned("owned", kMost)), 201);
  EXPECT_NE(refused(call("POST", kMaps, owned("more", kMost + 1)), 400).find("exceeded max depth"),
            std::string::npos);
  reopen();
  for (const char* name : {"most", "yaml"})
    EXPECT_EQ(base::to_json(ok(call("GET", std::string(kTrees) + "/" + name)).at("spec")), nested(kMost - 1))
        << name;
  ok(call("GET", std::string(kMaps) + "/owned"));
  EXPECT_EQ(
      call("GET", kTrees, "", "application/json", "application/json;as=Table;v=v1;g=meta.k8s.io").status,
      200);
}

TEST_F(StoredObjectsTest, ResultsAreNoDeeperThanWhatIsSent) {
  define_trees();
  std::string a = std::string(kTrees) + "/a", too_deep = "exceeded max depth";
  ok(call("POST", kTrees, tree("a", 2)), 201);
  auto refusal = [&](const std::string& body, const char* type, int status, const std::string& query = "") {
    return refused(call("PATCH", a + query, body, std::string("application/") + type), status);
  };
  std::string copies = R"([{"op":"add","path":"/spec/a","value":{}})";
  for (int i = 0; i < 200; ++i) copies += R"(,{"op":"copy","from":"/spec","path":"/spec/a"})";
  for (const char* query : {"", "?dryRun=All"}) {
    EXPECT_NE(refusal(copies + "]", "json-patch+json", 422, query).find(too_deep), std::string::npos);
    EXPECT_NE(refusal(R"([{"op":"add","path":"/spec/a","value":)" + nested(kMost - 1) + "}]",
                      "json-patch+json", 422, query)
                  .find(too_deep),
              std::string::npos);
    EXPECT_NE(refusal(R"({"spec":)" + nested(kMost) + "}", "merge-patch+json", 400, query).find(too_deep),
              std::string::npos);
  }
  ok(call("PATCH", a, R"([{"op":"add","path":"/spec/a","value":)" + nested(kMost - 2) + "}]",
          "application/json-patch+json"));
  ok(call("PATCH", a, R"({"spec":)" + nested(kMost - 1) + "}", "application/merge-patch+json"));
  // Applied: the owners of such depths have no place, and an apply without them would be none.
  EXPECT_NE(refused(call("PATCH", std::string(kTrees) + "/b?fieldManager=m", tree("b", kMost + 1),
                         "application/apply-patch+yaml"),
                    400)
                .find(too_deep),
            std::string::npos);
  for (const char* query : {"?fieldManager=m&dryRun=All", "?fieldManager=m"}) {
    auto answer =
        call("PATCH", std::string(kTrees) + "/b" + query, tree("b", kMost), "application/apply-patch+yaml");
    EXPECT_TRUE(answer.status == 201 || answer.body.find(too_deep) != std::string::npos) << answer.body;
  }
  // A map of the built-in kinds takes its own owners along.
  ok(call("POST", kMaps, config_map("m", "1")), 201);
  std::string owners = "[";
  for (int i = 0; i < 200; ++i)
    owners +=
        std::string(i ? "," : "") +
        R"({"op":"copy","from":"/metadata/managedFields/0/fieldsV1","path":"/metadata/managedFields/0/fieldsV1/f:x"})";
  EXPECT_NE(
      refused(call("PATCH", std::string(kMaps) + "/m", owners + "]", "application/json-patch+json"), 422)
          .find(too_deep),
      std::string::npos);
  reopen();
  EXPECT_EQ(base::to_json(ok(call("GET", a)).at("spec")), nested(kMost - 1));
}

TEST_F(StoredObjectsTest, FollowersSeeTheDeepest) {
  define_trees();
  ok(call("POST", kTrees, tree("listed", kMost)), 201);
  std::vector<std::string> seen;
  api::Informer informer(loop_, *transport_,
                         {{"example.com", "v1", "trees", "Tree", true}, "default", "", ""},
                         [&](api::Informer::Change, const json::value& object) {
                           seen.emplace_back(string_at(object, "metadata", "name"));
                         });
  informer.start();
  wait_for([&] { return informer.synced(); });
  ok(call("POST", kTrees, tree("watched", kMost)), 201);
  wait_for([&] { return seen.size() == 2; });
  EXPECT_EQ(seen, (std::vector<std::string>{"listed", "watched"}));
}

TEST_F(StoredObjectsTest, BadRecordsAreSetAsideAndTheRestServed) {
  define_trees();
  ok(call("POST", kTrees, tree("fine", 3)), 201);
  ok(call("POST", kMaps, config_map("fine", "1")), 201);
  auto map = [](const std::string& name) {
    return R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")" + name +
           R"(","namespace":"default"}})";
  };
  const std::vector<std::pair<std::string, std::string>> records = {
      {"//configmaps/default/cut", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cut")"},
      {"//configmaps/default/empty", ""},
      {"//configmaps/default/bytes",
       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"\xff\xfe\"}}"},
      {"//configmaps/default/scalar", "7"},
      {"//configmaps/default/list", "[]"},
      {"//configmaps/default/bare", R"({"apiVersion":"v1","kind":"ConfigMap"})"},
      {"//configmaps/default/odd", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":[]})"},
      {"//configmaps/default/spaced",
       R"({"apiVersion":"v1","kind":"ConfigMap","metadata": {"name":"spaced","namespace":"default"}})"},
      {"//configmaps/default/other", map("another")},
      {"//configmaps/default/kind",
       R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"kind","namespace":"default"}})"},
      {"//configmaps/default/newer",
       R"({"apiVersion":"v9","kind":"ConfigMap","metadata":{"name":"newer","namespace":"default"}})"},
      {"//configmaps/default/deep",
       R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep","namespace":"default"},"data":)" +
           nested(kMost) + "}"},
      {"//configmaps/default/deeper",
       R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deeper","namespace":"default"},"data":)" +
           nested(100000) + "}"},
      {"/example.com/trees/default/cut",
       R"({"apiVersion":"example.com/v1","kind":"Tree","metadata":{"name":"cut)"},
      {"/example.com/trees/default/scalar", "true"},
      {"/example.com/bushes/default/unknown",
       R"({"apiVersion":"example.com/v1","kind":"Bush","metadata":{"name":"unknown","namespace":"default"}})"},
      {"/apiextensions.k8s.io/customresourcedefinitions//bad.example.com",
       R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"bad.example.com"},"spec":[],"status":{"conditions":[{"type":"Established","status":"True"}]}})"},
      {"/rbac.authorization.k8s.io/clusterroles//cut", "{"},
      {"/apiextensions.k8s.io/customresourcedefinitions//thief.",
       R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"thief."},"spec":{"group":"",
        "scope":"Namespaced","names":{"plural":"configmaps","kind":"ConfigMap"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}},"selectableFields":[{"jsonPath":""}]}]},
        "status":{"acceptedNames":{"plural":"configmaps","kind":"ConfigMap"},"conditions":[{"type":"Established","status":"True"},{"type":"NamesAccepted","status":"True"}]}})"},
      {"/rbac.authorization.k8s.io/clusterroles//odd",
       R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"odd"},"rules":7,"aggregationRule":[1]})"},
      {"/rbac.authorization.k8s.io/clusterrolebindings//odd",
       R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"odd"},"subjects":{"a":1},"roleRef":"x"})"},
      {"//services/default/odd",
       R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"odd","namespace":"default"},"spec":{"ports":7,"clusterIPs":{}}})"},
      {"//resourcequotas/default/odd",
       R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"odd","namespace":"default"},"spec":{"hard":[1],"scopes":{}}})"},
      {"//pods/default/odd",
       R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"odd","namespace":"default","labels":[],"ownerReferences":3},"spec":{"nodeName":7,"containers":{}},"status":[]})"},
      {"//nodes//odd",
       R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"odd"},"spec":3,"status":{"addresses":{},"capacity":[]}})"},
      {"//events/default/odd",
       R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"odd","namespace":"default"},"lastTimestamp":{}})"},
      {"/authentication.k8s.io/tokenreviews//review", "{}"},
      {"/admissionregistration.k8s.io/validatingwebhookconfigurations//odd",
       R"({"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"odd"},"webhooks":{}})"},
      {"/apiregistration.k8s.io/apiservices//v1.odd.example.com",
       R"({"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.odd.example.com"},"spec":[]})"},
      {"/flowcontrol.apiserver.k8s.io/flowschemas//odd",
       R"({"apiVersion":"flowcontrol.apiserver.k8s.io/v1","kind":"FlowSchema","metadata":{"name":"odd"},"spec":{"rules":7,"priorityLevelConfiguration":[]}})"},
      {"no slash at all", "{}"},
      {"/", "{}"},
      {"//configmaps/", "{}"},
      {"", "{}"},
  };
  std::string sql = "BEGIN;";
  int revision = 1;
  for (const auto& [key, value] : records) sql += insert(key, revision++, value);
  execute(sql + "COMMIT;");
  open();
  ok(call("GET", std::string(kMaps) + "/fine"));
  ok(call("GET", std::string(kTrees) + "/fine"));
  for (const char* name : {"cut", "empty", "bytes", "scalar", "list", "bare", "odd", "spaced", "other",
                           "kind", "newer", "deep", "deeper"}) {
    EXPECT_NE(
        refused(call("GET", std::string(kMaps) + "/" + name), 500).find("in the store can't be served: "),
        std::string::npos)
        << name;
    refused(call("DELETE", std::string(kMaps) + "/" + name), 500);
    refused(call("PATCH", std::string(kMaps) + "/" + name, "{}", "application/merge-patch+json"), 500);
    EXPECT_NE(refused(call("POST", kMaps, config_map(name, "2")), 500)
                  .find("the store holds a record of this name that can't be served"),
              std::string::npos)
        << name;
  }
  for (const char* path : {"/api/v1/namespaces/default/pods/odd", "/api/v1/nodes/odd",
                           "/api/v1/namespaces/default/services/odd"})
    refused(call("GET", path), 500);
  refused(call("GET", std::string(kTrees) + "/cut"), 500);
  refused(call("GET", std::string(kMaps) + "/none"), 404);
  // Lists, tables and rights work beside the odd ones.
  for (const char* path :
       {kMaps, "/api/v1/pods", "/api/v1/nodes", "/api/v1/services", "/api/v1/events",
        "/api/v1/resourcequotas", kTrees, "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"}) {
    EXPECT_EQ(call("GET", path).status, 200) << path;
    EXPECT_EQ(
        call("GET", path, "", "application/json", "application/json;as=Table;v=v1;g=meta.k8s.io").status, 200)
        << path;
  }
  ok(call("POST", kMaps, config_map("after", "1")), 201);
  ok(call("POST", kTrees, tree("after", 3)), 201);
  // Nothing is lost: the records lie there as they did.
  transport_.reset();
  server_.reset();
  std::map<std::string, std::string> left;
  auto store = open_sqlite_store(loop_, dir_ + "/store.db");
  ASSERT_TRUE(store.ok());
  ASSERT_TRUE((*store)->load([&](std::string key, std::string value, int64_t) { left[key] = value; }).ok());
  for (const auto& [key, value] : records) EXPECT_EQ(left[key], value) << key;
  store = base::make_error(base::Kind::kCanceled, "closed");
  open();
  // Who asks for it gets rid of one.
  std::string cut = std::string(kMaps) + "/cut";
  ok(call("DELETE", cut + "?ignoreStoreReadErrorWithClusterBreakingPotential=true"));
  refused(call("GET", cut), 404);
  ok(call("POST", kMaps, config_map("cut", "2")), 201);
  reopen();
  EXPECT_EQ(string_at(ok(call("GET", cut)), "data", "k"), "2");
}

TEST_F(StoredObjectsTest, ServesWithoutItsOwnObjects) {
  execute(
      "UPDATE object SET value=CAST('{' AS BLOB) WHERE key LIKE '//namespaces/%' OR key LIKE "
      "'/rbac.authorization.k8s.io/%/s%' OR "
      "key LIKE '/flowcontrol.apiserver.k8s.io/%' OR key LIKE '/scheduling.k8s.io/%' OR key LIKE "
      "'//services/%' OR key LIKE '/discovery.k8s.io/%'");
  auto store = open_sqlite_store(loop_, dir_ + "/store.db");
  ASSERT_TRUE(store.ok()) << store.error().message();
  ServerOptions options;
  options.advertise_address = "192.0.2.1";
  server_ = std::make_unique<ApiServer>(loop_, std::move(*store), options);
  ASSERT_TRUE(server_->start().ok());
  transport_ = server_->local_transport({"admin", {"system:masters"}});
  bool ready = false;
  server_->when_bootstrapped([&] { ready = true; });
  wait_for([&] { return ready; });
  EXPECT_EQ(call("GET", "/api/v1/nodes").status, 200);
  refused(call("GET", "/api/v1/namespaces/kube-system"), 500);
}

TEST_F(StoredObjectsTest, ACheckSaysWhatAStartWould) {
  std::string path = dir_ + "/store.db";
  EXPECT_NE(check_store(path).error().message().find("another master runs on this directory"),
            std::string::npos);
  define_trees();
  ok(call("POST", kTrees, tree("fine", 3)), 201);
  execute("");
  auto text = [&](int code) {
    auto report = check_store(path);
    EXPECT_TRUE(report.ok()) << report.error().message();
    if (!report.ok()) return std::string();
    EXPECT_EQ(exit_code(*report), code) << to_text(*report, path);
    return to_text(*report, path);
  };
  auto says = [](const std::string& whole, const std::string& part) {
    EXPECT_NE(whole.find(part), std::string::npos) << whole;
  };
  std::string whole = text(0);
  says(whole, "\nwhole\n");
  EXPECT_EQ(text(0), whole);  // looking changes nothing
  execute(insert("//configmaps/default/cut", 1, "{") + insert("/example.com/trees/default/cut", 2, "{") +
          insert("/example.com/bushes/default/b", 3, "{}") +
          insert("//configmaps/default/line\nbreak", 4, "{}") +
          "UPDATE object SET value=CAST(replace(value, 'kube-system', 'kube-systen') AS BLOB) WHERE "
          "key='//namespaces//kube-system'");
  std::string aside = text(3);
  says(aside, "set aside: //configmaps/default/cut: ");
  says(aside, "set aside: /example.com/trees/default/cut: ");
  says(aside, "set aside: /example.com/bushes/default/b: serve: nothing here serves such objects");
  says(aside, "set aside: //configmaps/default/line\\x0abreak: ");
  says(aside, "set aside: //namespaces//kube-system: ");
  says(aside, "its bytes are damaged");
  says(aside, "5 records are not served and stay in the store");
  ASSERT_EQ(::rename(path.c_str(), (path + ".away").c_str()), 0);
  says(text(4), "sampan-master does not start on it: open store " + path +
                    ": the file is missing, but a store of revision ");
  EXPECT_FALSE(base::sys::exists(path));
  ASSERT_EQ(::rename((path + ".away").c_str(), path.c_str()), 0);
  text(3);
  auto none = check_store(dir_ + "/none.db");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().kind, base::Kind::kNotFound);
  open();
}

}  // namespace
}  // namespace master
