#include "master/admission/service_account_admission.h"

#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using base::string_at;

TEST(ServiceAccountMount, OneVolumeForAllContainersThatHaveNone) {
  auto pod = base::parse_json(R"({"spec":{"initContainers":[{"name":"i"}],"containers":[{"name":"a"},
      {"name":"b","volumeMounts":[{"name":"own","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]}]}})")
                 .value();
  mount_account_token(pod, "kube-api-access-abcde");
  EXPECT_EQ(
      base::to_json(pod.at("spec").at("volumes")),
      R"([{"name":"kube-api-access-abcde","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},)"
      R"({"configMap":{"items":[{"key":"ca.crt","path":"ca.crt"}],"name":"kube-root-ca.crt"}},)"
      R"({"downwardAPI":{"items":[{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"},"path":"namespace"}]}}]}}])");
  EXPECT_EQ(
      base::to_json(pod.at("spec").at("containers").at(0).at("volumeMounts")),
      R"([{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"kube-api-access-abcde","readOnly":true}])");
  EXPECT_EQ(string_at(pod.at("spec").at("containers").at(1).at("volumeMounts").at(0), "name"), "own");
  EXPECT_EQ(pod.at("spec").at("initContainers").at(0).at("volumeMounts").as_array().size(), 1u);
  auto again = pod;
  mount_account_token(again, "kube-api-access-fghij");  // a copied Pod keeps what it brings
  EXPECT_EQ(again, pod);
}

class ServiceAccountServer : public ServerTest {
 protected:
  void configure(ServerOptions& options) override { options.admits_accounts = true; }
  base::http::Response pod(const std::string& name, const std::string& spec = "") {
    return call("POST", "/api/v1/namespaces/default/pods",
                R"({"metadata":{"name":")" + name + R"("},"spec":{"containers":[{"name":"c","image":"i"}])" +
                    spec + "}}");
  }
  void account(const std::string& name, const std::string& more = "") {
    ok(call("POST", "/api/v1/namespaces/default/serviceaccounts",
            R"({"metadata":{"name":")" + name + "\"}" + more + "}"),
       201);
  }
};

TEST_F(ServiceAccountServer, APodGetsWhatItsAccountHas) {
  EXPECT_EQ(refused(pod("a", R"(,"serviceAccountName":"robot")"), 403),
            "Forbidden: pods \"a\" is forbidden: error looking up service account default/robot: "
            "serviceaccount \"robot\" not found");
  account("robot", R"(,"imagePullSecrets":[{"name":"pull"}])");
  account("quiet", R"(,"automountServiceAccountToken":false)");
  auto made = ok(pod("a", R"(,"serviceAccountName":"robot")"), 201);
  EXPECT_TRUE(string_at(made.at("spec").at("volumes").at(0), "name").starts_with("kube-api-access-"));
  EXPECT_EQ(string_at(made.at("spec").at("imagePullSecrets").at(0), "name"), "pull");
  EXPECT_FALSE(
      ok(pod("b", R"(,"serviceAccountName":"quiet")"), 201).at("spec").as_object().contains("volumes"));
  EXPECT_TRUE(ok(pod("c", R"(,"serviceAccountName":"quiet","automountServiceAccountToken":true)"), 201)
                  .at("spec")
                  .as_object()
                  .contains("volumes"));
}

TEST_F(ServiceAccountServer, ThatOfANewNamespaceIsWaitedFor) {
  EXPECT_EQ(refused(pod("a"), 403),
            "Forbidden: pods \"a\" is forbidden: error looking up service account default/default: "
            "serviceaccount \"default\" not found");
  base::http::Request request;
  request.method = "POST";
  request.target = "/api/v1/namespaces/default/pods";
  request.headers.add("Content-Type", "application/json");
  request.body = R"({"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}})";
  int status = 0;
  auto handle = transport_->call(
      std::move(request), [&](base::Result<base::http::Response> response) { status = response->status; });
  loop_.run_once(std::chrono::milliseconds(1));
  EXPECT_EQ(status, 0);
  account("default");
  wait_for([&] { return status != 0; });
  EXPECT_EQ(status, 201);
}

}  // namespace
}  // namespace master
