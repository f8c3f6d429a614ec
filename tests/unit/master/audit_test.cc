#include "master/server/audit.h"

#include "tests/unit/master/server_fixture.h"

namespace master {
namespace {

namespace json = base::json;

constexpr const char* kPolicy = R"(
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
- level: RequestResponse
  omitManagedFields: true
  resources:
  - group: ""
    resources: ["configmaps"]
- level: Request
  verbs: [create]
  namespaces: [default]
- level: Metadata
  resources:
  - group: ""
    resources: ["pods/*", "secrets"]
- level: None
  nonResourceURLs: ["/livez*", "/version"]
- level: Metadata
  nonResourceURLs: ["/metrics"]
)";

class AuditTest : public ServerTest {
 protected:
  std::vector<json::value> events() {
    loop_.run_once(base::Duration::zero());
    std::vector<json::value> out;
    std::string text = base::sys::read_file(dir_ + "/audit/audit.log").value_or("");
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      out.push_back(base::parse_json(std::string_view(text).substr(at, end - at)).value_or(nullptr));
    return out;
  }
  void audit(AuditLog::Options options = {}) {
    options.path = dir_ + "/audit/audit.log";
    auto policy = AuditPolicy::parse(kPolicy);
    ASSERT_TRUE(policy.ok()) << policy.error().message();
    auto log = AuditLog::open(loop_, options);
    ASSERT_TRUE(log.ok()) << log.error().message();
    server_->front().audit(std::move(*policy), std::move(*log));
  }
};

TEST_F(AuditTest, RecordsWhatThePolicyAsks) {
  audit();
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  ok(call("GET", "/version"));
  ok(call("GET", "/api/v1/pods"));
  refused(call("GET", "/api/v1/namespaces/default/secrets/none"), 404);
  auto all = events();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(base::string_at(all[1], "requestURI"), "/api/v1/pods");  // "pods/*" is pods, too
  const json::value& made = all[0];
  EXPECT_EQ(base::string_at(made, "apiVersion"), "audit.k8s.io/v1");
  EXPECT_EQ(base::string_at(made, "kind"), "Event");
  EXPECT_EQ(base::string_at(made, "level"), "RequestResponse");
  EXPECT_EQ(base::string_at(made, "stage"), "ResponseComplete");
  EXPECT_EQ(base::string_at(made, "requestURI"), kMaps);
  EXPECT_EQ(base::string_at(made, "verb"), "create");
  EXPECT_EQ(base::string_at(made, "user", "username"), "admin");
  EXPECT_EQ(base::string_at(made, "objectRef", "resource"), "configmaps");
  EXPECT_EQ(base::string_at(made, "objectRef", "namespace"), "default");
  EXPECT_EQ(base::as_int(base::find_path(made, "responseStatus", "code")), 201);
  EXPECT_EQ(base::string_at(made, "requestObject", "data", "k"), "1");
  EXPECT_EQ(base::string_at(made, "responseObject", "metadata", "name"), "a");
  EXPECT_EQ(base::find_path(made, "responseObject", "metadata", "managedFields"), nullptr);
  EXPECT_EQ(base::string_at(made, "auditID").size(), 36u);
  EXPECT_EQ(base::string_at(made, "annotations", "authorization.k8s.io/decision"), "allow");
  const json::value& missed = all[2];
  EXPECT_EQ(base::string_at(missed, "level"), "Metadata");
  EXPECT_EQ(base::find(missed, "requestObject"), nullptr);
  EXPECT_EQ(base::as_int(base::find_path(missed, "responseStatus", "code")), 404);
  EXPECT_EQ(base::string_at(missed, "responseStatus", "reason"), "NotFound");
}

TEST_F(AuditTest, AWatchIsRecordedWhenItStartsAndWhenItEnds) {
  audit();
  auto w = watch(std::string(kMaps) + "?watch=true");
  loop_.run_once(base::Duration::zero());
  ASSERT_EQ(events().size(), 1u);
  EXPECT_EQ(base::string_at(events()[0], "stage"), "ResponseStarted");
  w->handle.reset();
  for (int i = 0; i < 10 && events().size() < 2; ++i) loop_.run_once(base::Duration::zero());
  ASSERT_EQ(events().size(), 2u);
  EXPECT_EQ(base::string_at(events()[1], "stage"), "ResponseComplete");
  EXPECT_EQ(base::string_at(events()[0], "auditID"), base::string_at(events()[1], "auditID"));
}

TEST_F(AuditTest, RotatesBySizeAndKeepsACountOfFiles) {
  AuditLog::Options options;
  options.max_size_bytes = 2000;
  options.max_backups = 2;
  audit(options);
  for (int i = 0; i < 20; ++i)
    ok(call("POST", kMaps, config_map("m" + std::to_string(i), std::string(300, 'x'))), 201);
  loop_.run_once(base::Duration::zero());
  auto names = base::sys::list_dir(dir_ + "/audit");
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(names->size(), 3u);
  for (const auto& name : *names) {
    struct stat status;
    ASSERT_EQ(::stat((dir_ + "/audit/" + name).c_str(), &status), 0);
    EXPECT_LE(status.st_size, 4000);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
}

TEST(AuditPolicyTest, RefusesWhatItWouldMisread) {
  for (const char* text :
       {"", "a: 1", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []",
        "apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: None}]",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Everything}]",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, omitStages: [Late]}]",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, namespaces: [a], nonResourceURLs: "
        "[/x]}]"})
    EXPECT_FALSE(AuditPolicy::parse(text).ok()) << text;
}

}  // namespace
}  // namespace master
