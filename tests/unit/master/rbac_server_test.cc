// RBAC through a whole server and its controllers: roles, bindings, escalation, impersonation, reviews.
#include "master/controllers/controllers.h"
#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using base::string_at;

constexpr const char* kRbac = "/apis/rbac.authorization.k8s.io/v1";

class RbacTest : public ServerTest {
 protected:
  // Aggregated roles are filled by their controller.
  void SetUp() override {
    ServerTest::SetUp();
    controllers::Options options;
    options.transport_of = [this](const std::string& account) {
      return server_->local_transport(
          {"system:serviceaccount:kube-system:" + account, {"system:authenticated"}});
    };
    controllers_ = std::make_unique<controllers::Controllers>(
        loop_, server_->local_transport({"system:kube-controller-manager", {"system:authenticated"}}),
        options);
    controllers_->start();
  }
  void TearDown() override {
    controllers_.reset();
    ServerTest::TearDown();
  }
  std::unique_ptr<controllers::Controllers> controllers_;
  void as(std::string name, std::vector<std::string> groups = {}) {
    if (groups.empty()) groups = {"system:authenticated"};
    transport_ = server_->local_transport({std::move(name), std::move(groups)});
  }
  void as_admin() { as("admin", {"system:masters"}); }
  void role(const std::string& name, const std::string& rules) {
    ok(call("POST", std::string(kRbac) + "/namespaces/default/roles",
            R"({"metadata":{"name":")" + name + R"("},"rules":)" + rules + "}"),
       201);
  }
  void bind(const std::string& name, const std::string& kind, const std::string& role,
            const std::string& subjects) {
    ok(call("POST", std::string(kRbac) + "/namespaces/default/rolebindings",
            R"({"metadata":{"name":")" + name +
                R"("},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":")" + kind + R"(","name":")" +
                role + R"("},"subjects":)" + subjects + "}"),
       201);
  }
};

TEST_F(RbacTest, ABindingGrantsAtOnceAndItsEndTakesAway) {
  as("bob");
  EXPECT_EQ(refused(call("GET", kMaps), 403),
            "Forbidden: configmaps is forbidden: User \"bob\" cannot list resource \"configmaps\" in API "
            "group \"\" in the namespace \"default\"");
  EXPECT_EQ(refused(call("GET", std::string(kMaps) + "/a"), 403),
            "Forbidden: configmaps \"a\" is forbidden: User \"bob\" cannot get resource \"configmaps\" in "
            "API group \"\" in the namespace \"default\"");
  EXPECT_EQ(refused(call("GET", "/api/v1/nodes"), 403),
            "Forbidden: nodes is forbidden: User \"bob\" cannot list resource \"nodes\" in API group \"\" at "
            "the cluster scope");
  EXPECT_EQ(refused(call("GET", "/metrics"), 403),
            "Forbidden: forbidden: User \"bob\" cannot get path \"/metrics\"");
  ok(call("GET", "/api/v1"));
  as_admin();
  role("reader", R"([{"verbs":["get","list"],"apiGroups":[""],"resources":["configmaps"]}])");
  bind("b", "Role", "reader", R"([{"kind":"User","name":"bob"}])");
  as("bob");
  ok(call("GET", kMaps));
  refused(call("POST", kMaps, config_map("a", "1")), 403);
  refused(call("GET", "/api/v1/configmaps"), 403);
  refused(call("GET", "/api/v1/namespaces/kube-system/configmaps"), 403);
  as_admin();
  ok(call(
      "PATCH", std::string(kRbac) + "/namespaces/default/roles/reader",
      R"({"rules":[{"verbs":["list"],"apiGroups":[""],"resources":["configmaps"],"resourceNames":["a"]}]})",
      "application/merge-patch+json"));
  as("bob");
  refused(call("GET", kMaps), 403);
  ok(call("GET", std::string(kMaps) + "?fieldSelector=metadata.name%3Da"));
  as_admin();
  ok(call("DELETE", std::string(kRbac) + "/namespaces/default/rolebindings/b"));
  as("bob");
  refused(call("GET", std::string(kMaps) + "?fieldSelector=metadata.name%3Da"), 403);
}

TEST_F(RbacTest, AWebSocketThatBeginsWithGetStillNeedsCreate) {
  role("looks", R"([{"verbs":["get"],"apiGroups":[""],"resources":["pods/exec","pods/proxy"]}])");
  bind("b", "Role", "looks", R"([{"kind":"User","name":"bob"}])");
  as("bob");
  EXPECT_EQ(refused(call("GET", "/api/v1/namespaces/default/pods/p/exec?command=sh"), 403),
            "Forbidden: pods \"p\" is forbidden: User \"bob\" cannot create resource \"pods/exec\" in API "
            "group \"\" in the namespace \"default\"");
  EXPECT_EQ(refused(call("GET", "/api/v1/namespaces/default/pods/p/proxy/"), 404),
            "NotFound: pods \"p\" not found");
}

TEST_F(RbacTest, RightsSurviveARestart) {
  role("reader", R"([{"verbs":["list"],"apiGroups":[""],"resources":["configmaps"]}])");
  bind("b", "Role", "reader", R"([{"kind":"ServiceAccount","name":"robot"},{"kind":"Group","name":"dev"}])");
  controllers_.reset();
  reopen();
  as("system:serviceaccount:default:robot");
  ok(call("GET", kMaps));
  as("eve", {"dev"});
  ok(call("GET", kMaps));
  as("eve");
  refused(call("GET", kMaps), 403);
}

TEST_F(RbacTest, NobodyGrantsWhatHeDoesNotHold) {
  bind("admins", "ClusterRole", "admin", R"([{"kind":"User","name":"bob"}])");
  wait_for([&] {
    return call("GET", std::string(kRbac) + "/clusterroles/admin").body.find("impersonate") !=
           std::string::npos;
  });
  as("bob");
  role("fine", R"([{"verbs":["get"],"apiGroups":[""],"resources":["secrets"]}])");
  std::string roles = std::string(kRbac) + "/namespaces/default/roles",
              bindings = std::string(kRbac) + "/namespaces/default/rolebindings";
  EXPECT_EQ(
      refused(
          call(
              "POST", roles,
              R"({"metadata":{"name":"x"},"rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["nodes"]}]})"),
          403),
      "Forbidden: roles.rbac.authorization.k8s.io \"x\" is forbidden: user \"bob\" "
      "(groups=[\"system:authenticated\"]) is attempting to grant "
      "RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" "
      "\"list\"]}");
  refused(call("PATCH", roles + "/fine",
               R"({"rules":[{"verbs":["*"],"apiGroups":[""],"resources":["secrets"]}]})",
               "application/merge-patch+json"),
          403);
  ok(call("PATCH", roles + "/fine", R"({"metadata":{"labels":{"a":"b"}}})", "application/merge-patch+json"));
  std::string to_admin =
      R"({"metadata":{"name":"x"},"roleRef":{"kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"User","name":"bob"}]})";
  EXPECT_NE(refused(call("POST", bindings, to_admin), 403).find("not currently held"), std::string::npos);
  EXPECT_EQ(
      refused(call("POST", bindings,
                   R"({"metadata":{"name":"x"},"roleRef":{"kind":"Role","name":"nope"},"subjects":[]})"),
              404),
      "NotFound: roles.rbac.authorization.k8s.io \"nope\" not found");
  as_admin();
  role(
      "binder",
      R"([{"verbs":["bind"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"resourceNames":["cluster-admin"]}])");
  bind("binders", "Role", "binder", R"([{"kind":"User","name":"bob"}])");
  as("bob");
  ok(call("POST", bindings, to_admin), 201);
}

TEST_F(RbacTest, BadObjectsAreRefused) {
  std::string roles = std::string(kRbac) + "/namespaces/default/roles",
              bindings = std::string(kRbac) + "/namespaces/default/rolebindings";
  EXPECT_NE(
      refused(call("POST", roles,
                   R"({"metadata":{"name":"x"},"rules":[{"verbs":["get"],"resources":["pods"]}]})"),
              422)
          .find("rules[0].apiGroups: Required value: resource rules must supply at least one api group"),
      std::string::npos);
  EXPECT_NE(refused(call("POST", roles,
                         R"({"metadata":{"name":"x"},"rules":[{"verbs":["get"],"nonResourceURLs":["/x"]}]})"),
                    422)
                .find("namespaced rules cannot apply to non-resource URLs"),
            std::string::npos);
  EXPECT_NE(
      refused(call("POST", bindings, R"({"metadata":{"name":"x"},"roleRef":{"kind":"Thing","name":"a"}})"),
              422)
          .find("roleRef.kind: Unsupported value: \"Thing\": supported values: \"ClusterRole\", \"Role\""),
      std::string::npos);
  bind("b", "ClusterRole", "view", "[]");
  EXPECT_NE(refused(call("PATCH", bindings + "/b", R"({"roleRef":{"name":"edit"}})",
                         "application/merge-patch+json"),
                    422)
                .find("cannot change roleRef"),
            std::string::npos);
}

TEST_F(RbacTest, ClusterRolesAggregate) {
  ok(call("POST", std::string(kRbac) + "/clusterroles",
          R"({"metadata":{"name":"mine","labels":{"rbac.authorization.k8s.io/aggregate-to-view":"true"}},
              "rules":[{"verbs":["get"],"apiGroups":["example.com"],"resources":["crontabs"]}]})"),
     201);
  for (const char* name : {"view", "edit", "admin"})
    wait_for([&] {
      return call("GET", std::string(kRbac) + "/clusterroles/" + name).body.find("crontabs") !=
             std::string::npos;
    });
  ok(call("DELETE", std::string(kRbac) + "/clusterroles/mine"));
  wait_for([&] {
    return call("GET", std::string(kRbac) + "/clusterroles/admin").body.find("crontabs") == std::string::npos;
  });
}

// Rules that a manifest names beside an aggregationRule are the controller's, by the name that tools look
// for.
TEST_F(RbacTest, AggregatedRulesAreAppliedByTheirController) {
  std::string path = std::string(kRbac) + "/clusterroles/all";
  auto apply = [&](const char* rules) {
    return call(
        "PATCH", path + "?fieldManager=me",
        R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"all"},"aggregationRule":{"clusterRoleSelectors":[
                    {"matchLabels":{"part-of":"all"}}]})" +
            std::string(rules) + "}",
        "application/apply-patch+yaml");
  };
  ok(apply(R"(,"rules":[])"), 201);
  ok(call(
         "POST", std::string(kRbac) + "/clusterroles",
         R"({"metadata":{"name":"part","labels":{"part-of":"all"}},"rules":[{"verbs":["get"],"apiGroups":["example.com"],"resources":["crontabs"]}]})"),
     201);
  wait_for([&] { return call("GET", path).body.find("crontabs") != std::string::npos; });
  EXPECT_EQ(
      refused(apply(R"(,"rules":[])"), 409),
      "Conflict: Apply failed with 1 conflict: conflict with \"clusterrole-aggregation-controller\": .rules");
  ok(apply(""));
  auto left = ok(call("GET", path));
  EXPECT_EQ(base::find(left, "rules")->get_array().size(), 1u)
      << "applied without rules, they stay the controller's";
  ok(call("DELETE", std::string(kRbac) + "/clusterroles/part"));
  wait_for([&] { return call("GET", path).body.find("crontabs") == std::string::npos; });
}

TEST_F(RbacTest, ReviewsAnswerForOthersAndOneself) {
  role("reader", R"([{"verbs":["get","list"],"apiGroups":[""],"resources":["configmaps"]}])");
  bind("b", "Role", "reader", R"([{"kind":"User","name":"bob"}])");
  const char* question =
      R"({"spec":{"user":"bob","resourceAttributes":{"verb":"list","resource":"configmaps","namespace":"default"}}})";
  auto answer = ok(call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", question), 201);
  EXPECT_TRUE(base::as_bool(base::find_path(answer, "status", "allowed")));
  EXPECT_EQ(string_at(answer, "status", "reason"),
            "RBAC: allowed by RoleBinding \"b/default\" of Role \"reader\" to User \"bob\"");
  ok(call("POST", "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews", question),
     201);
  refused(call("POST", "/apis/authorization.k8s.io/v1/namespaces/kube-system/localsubjectaccessreviews",
               question),
          422);
  refused(call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", R"({"spec":{"user":"bob"}})"),
          422);
  refused(call("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews"), 405);
  as("bob");
  refused(call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", question), 403);
  auto self = ok(
      call(
          "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
          R"({"spec":{"resourceAttributes":{"verb":"delete","resource":"configmaps","namespace":"default"}}})"),
      201);
  EXPECT_FALSE(base::as_bool(base::find_path(self, "status", "allowed"), true));
  auto path = ok(call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                      R"({"spec":{"nonResourceAttributes":{"verb":"get","path":"/api"}}})"),
                 201);
  EXPECT_TRUE(base::as_bool(base::find_path(path, "status", "allowed")));
  auto rules = ok(call("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                       R"({"spec":{"namespace":"default"}})"),
                  201);
  EXPECT_NE(base::to_json(rules.at("status").at("resourceRules")).find("configmaps"), std::string::npos);
  EXPECT_NE(base::to_json(rules.at("status").at("nonResourceRules")).find("/openapi/*"), std::string::npos);
  auto who = ok(call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}"), 201);
  EXPECT_EQ(string_at(who, "status", "userInfo", "username"), "bob");
}

TEST_F(RbacTest, ImpersonationIsAllowedPartByPart) {
  auto call_as = [&](const base::http::Headers& headers) {
    base::http::Request request;
    request.target = kMaps;
    request.headers = headers;
    base::http::Response out;
    out.status = 0;
    auto handle = transport_->call(
        std::move(request), [&](base::Result<base::http::Response> response) { out = std::move(*response); });
    wait_for([&] { return out.status != 0; });
    return out;
  };
  role("reader", R"([{"verbs":["list"],"apiGroups":[""],"resources":["configmaps"]}])");
  bind("b", "Role", "reader", R"([{"kind":"Group","name":"dev"}])");
  base::http::Headers headers;
  headers.add("Impersonate-User", "bob");
  refused(call_as(headers), 403);  // bob is not in dev
  headers.add("Impersonate-Group", "dev");
  ok(call_as(headers));
  ok(call(
         "POST", std::string(kRbac) + "/clusterroles",
         R"({"metadata":{"name":"imp"},"rules":[{"verbs":["impersonate"],"apiGroups":[""],"resources":["users"],"resourceNames":["bob"]}]})"),
     201);
  ok(call(
         "POST", std::string(kRbac) + "/clusterrolebindings",
         R"({"metadata":{"name":"imp"},"roleRef":{"kind":"ClusterRole","name":"imp"},"subjects":[{"kind":"User","name":"eve"}]})"),
     201);
  as("eve");
  EXPECT_EQ(refused(call_as(headers), 403),
            "Forbidden: groups \"dev\" is forbidden: User \"eve\" cannot impersonate resource \"groups\" in "
            "API group \"\" at the cluster scope");
  base::http::Headers only_user;
  only_user.add("Impersonate-User", "bob");
  EXPECT_NE(refused(call_as(only_user), 403).find("User \"bob\" cannot list"), std::string::npos);
  base::http::Headers only_group;
  only_group.add("Impersonate-Group", "dev");
  refused(call_as(only_group), 500);
}

}  // namespace
}  // namespace master
