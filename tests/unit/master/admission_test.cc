// The admission plugins of a real server, driven through its API; webhooks are a TLS server of ours.
#include "base/base64.h"
#include "base/http/server.h"
#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using ::base::string_at;

constexpr char kPods[] = "/api/v1/namespaces/default/pods";
std::string pod(const std::string& name, const std::string& resources = "{}", const std::string& more = "") {
  return R"({"metadata":{"name":")" + name +
         R"("},"spec":{"containers":[{"name":"c","image":"i","resources":)" + resources + "}]" + more + "}}";
}

class AdmissionTest : public ServerTest {
 protected:
  std::string warnings(const base::http::Response& response) {
    std::string out;
    for (const auto& [name, value] : response.headers.list)
      if (name == "Warning") out += value + "\n";
    return out;
  }
};

TEST_F(AdmissionTest, NamespacesMustExistAndStay) {
  EXPECT_EQ(refused(call("POST", "/api/v1/namespaces/absent/configmaps", config_map("a", "1")), 404),
            "NotFound: namespaces \"absent\" not found");
  EXPECT_NE(
      refused(call("DELETE", "/api/v1/namespaces/default"), 403).find("this namespace may not be deleted"),
      std::string::npos);
}

TEST_F(AdmissionTest, QuotasHoldAlsoForWritesAtOnce) {
  ok(call("POST", "/api/v1/namespaces/default/resourcequotas",
          R"({"metadata":{"name":"q"},"spec":{"hard":{"configmaps":"3","count/secrets":"1"}}})"),
     201);
  int made = 0, refused_count = 0, open = 0;
  std::vector<std::unique_ptr<api::Transport::Call>> calls;
  for (int i = 0; i < 8; ++i) {
    base::http::Request request;
    request.method = "POST";
    request.target = kMaps;
    request.body = config_map("m" + std::to_string(i), "1");
    request.headers.add("Content-Type", "application/json");
    ++open;
    calls.push_back(transport_->call(std::move(request), [&](base::Result<base::http::Response> response) {
      --open;
      (response->status == 201 ? made : refused_count)++;
    }));
  }
  wait_for([&] { return open == 0; });
  EXPECT_EQ(made, 3);
  EXPECT_EQ(refused_count, 5);
  EXPECT_EQ(refused(call("POST", kMaps, config_map("late", "1")), 403),
            "Forbidden: configmaps \"late\" is forbidden: exceeded quota: q, requested: configmaps=1, used: "
            "configmaps=3, limited: configmaps=3");
  wait_for([&] {
    return call("GET", "/api/v1/namespaces/default/resourcequotas/q")
               .body.find(R"("used":{"configmaps":"3","count/secrets":"0"})") != std::string::npos;
  });
  auto list = ok(call("GET", kMaps));
  ok(call("DELETE",
          std::string(kMaps) + "/" + std::string(string_at(list.at("items").at(0), "metadata", "name"))));
  ok(call("POST", kMaps, config_map("late", "1")), 201);
}

TEST_F(AdmissionTest, ClaimsGrowOnlyWhereTheirClassAllowsIt) {
  const std::string claims = "/api/v1/namespaces/default/persistentvolumeclaims",
                    classes = "/apis/storage.k8s.io/v1/storageclasses";
  auto claim = [&](const std::string& name, const std::string& cls) {
    ok(call("POST", claims,
            R"({"metadata":{"name":")" + name +
                R"("},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":")" + cls +
                R"(","resources":{"requests":{"storage":"1Gi"}}}})"),
       201);
    return claims + "/" + name;
  };
  auto grow = [&](const std::string& path) {
    return call("PATCH", path, R"({"spec":{"resources":{"requests":{"storage":"2Gi"}}}})",
                "application/merge-patch+json");
  };
  auto bind = [&](const std::string& path) {
    ok(call("PATCH", path + "/status", R"({"status":{"phase":"Bound","capacity":{"storage":"1Gi"}}})",
            "application/merge-patch+json"));
  };
  for (auto [name, expands] : {std::pair("grows", "true"), {"stays", "false"}})
    ok(call("POST", classes,
            std::string(R"({"metadata":{"name":")") + name +
                R"("},"provisioner":"example.com/x","allowVolumeExpansion":)" + expands + "}"),
       201);
  const std::string grows = claim("a", "grows"), stays = claim("b", "stays"), hand = claim("c", "");
  // Of one that is not bound nothing changes; that is found before anybody asks for its class.
  EXPECT_NE(refused(grow(grows), 422).find("for bound claims"), std::string::npos);
  for (const std::string& path : {grows, stays, hand}) bind(path);
  ok(grow(grows));
  for (const std::string& path : {stays, hand})
    EXPECT_EQ(
        refused(grow(path), 403),
        "Forbidden: persistentvolumeclaims \"" + path.substr(path.size() - 1) +
            "\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that "
            "provisions the pvc must support resize");
}

// Whatever order quotas and objects come in, an object is counted once.
TEST_F(AdmissionTest, QuotasCountAsAFreshCountDoesWhenAllComeAtOnce) {
  struct Kind {
    const char *hard, *path, *body;
  };
  const Kind kinds[] = {
      {"configmaps", "/api/v1/namespaces/default/configmaps", "{}"},
      {"count/secrets", "/api/v1/namespaces/default/secrets", "{}"},
      {"services", "/api/v1/namespaces/default/services", R"({"spec":{"ports":[{"port":80}]}})"},
      {"persistentvolumeclaims", "/api/v1/namespaces/default/persistentvolumeclaims",
       R"({"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})"},
      {"replicationcontrollers", "/api/v1/namespaces/default/replicationcontrollers",
       R"({"spec":{"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"},
      {"pods", kPods, R"({"spec":{"containers":[{"name":"c","image":"i"}]}})"},
      {"count/roles.rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
       "{}"},
      {"count/leases.coordination.k8s.io", "/apis/coordination.k8s.io/v1/namespaces/default/leases", "{}"},
      {"count/resourcequotas", "/api/v1/namespaces/default/resourcequotas", ""},
      {"resourcequotas", "/api/v1/namespaces/default/resourcequotas", ""}};
  json::object hard;
  for (const Kind& kind : kinds) hard[kind.hard] = "1k";
  int open = 0;
  std::vector<std::unique_ptr<api::Transport::Call>> calls;
  for (int i = 0; i < 5; ++i)
    for (const Kind& kind : kinds) {
      json::value body =
          *kind.body ? base::parse_json(kind.body).value() : json::value{{"spec", {{"hard", hard}}}};
      // The two names of quotas make the same ones; the second is refused.
      base::object_at(body.get_object(), "metadata")["name"] = "o" + std::to_string(i);
      base::http::Request request;
      request.method = "POST";
      request.target = kind.path;
      request.body = base::to_json(body);
      request.headers.add("Content-Type", "application/json");
      ++open;
      calls.push_back(transport_->call(std::move(request), [&](base::Result<base::http::Response> response) {
        --open;
        EXPECT_TRUE(response->status == 201 || response->status == 409) << response->body;
      }));
    }
  wait_for([&] { return open == 0; });
  auto fresh = [&] {
    std::map<std::string, std::string> out;
    for (const Kind& kind : kinds)
      out[kind.hard] = std::to_string(ok(call("GET", kind.path)).at("items").get_array().size());
    return out;
  };
  auto told = [&](int i) {
    std::map<std::string, std::string> out;
    auto quota = ok(call("GET", "/api/v1/namespaces/default/resourcequotas/o" + std::to_string(i)));
    if (const json::value* used = base::find_path(quota, "status", "used"))
      for (const auto& item : used->get_object())
        out[std::string(item.key())] = base::as_string(&item.value());
    return out;
  };
  for (int i = 0; i < 5; ++i) {
    for (int turns = 0; turns < 100 && told(i) != fresh(); ++turns)
      loop_.run_once(std::chrono::milliseconds(5));
    EXPECT_EQ(told(i), fresh()) << i;
  }
  // One goes of each, and a quota is changed meanwhile.
  for (const Kind& kind : kinds) (void)call("DELETE", std::string(kind.path) + "/o0");
  hard["pods"] = "2k";
  ok(call("PATCH", "/api/v1/namespaces/default/resourcequotas/o1",
          base::to_json(json::value{{"spec", {{"hard", hard}}}}), "application/merge-patch+json"));
  for (int i = 1; i < 5; ++i) {
    for (int turns = 0; turns < 100 && told(i) != fresh(); ++turns)
      loop_.run_once(std::chrono::milliseconds(5));
    EXPECT_EQ(told(i), fresh()) << i;
  }
}

TEST_F(AdmissionTest, LimitRangesFillAndBoundPods) {
  ok(call(
         "POST", "/api/v1/namespaces/default/limitranges",
         R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","default":{"cpu":"1"},"defaultRequest":{"cpu":"100m"},"max":{"cpu":"2"}}]}})"),
     201);
  auto made = ok(call("POST", kPods, pod("a")), 201);
  EXPECT_EQ(string_at(made.at("spec").at("containers").at(0), "resources", "requests", "cpu"), "100m");
  EXPECT_EQ(refused(call("POST", kPods, pod("b", R"({"limits":{"cpu":"3"}})")), 403),
            "Forbidden: pods \"b\" is forbidden: maximum cpu usage per Container is 2, but limit is 3");
}

TEST_F(AdmissionTest, PrioritiesComeFromClasses) {
  auto plain = ok(call("POST", kPods, pod("plain")), 201);
  EXPECT_EQ(base::as_int(base::find_path(plain, "spec", "priority"), -1), 0);
  ok(call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
          R"({"metadata":{"name":"high"},"value":1000,"globalDefault":true})"),
     201);
  auto made = ok(call("POST", kPods, pod("a")), 201);
  EXPECT_EQ(base::as_int(base::find_path(made, "spec", "priority")), 1000);
  EXPECT_EQ(string_at(made, "spec", "priorityClassName"), "high");
  EXPECT_NE(refused(call("POST", kPods, pod("b", "{}", R"(,"priorityClassName":"none")")), 403)
                .find("no PriorityClass with name none was found"),
            std::string::npos);
  EXPECT_NE(refused(call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
                         R"({"metadata":{"name":"more"},"value":1,"globalDefault":true})"),
                    403)
                .find("already marked as default"),
            std::string::npos);
  auto critical =
      ok(call("POST", kPods, pod("c", "{}", R"(,"priorityClassName":"system-node-critical")")), 201);
  EXPECT_EQ(base::as_int(base::find_path(critical, "spec", "priority")), 2000001000);
  EXPECT_EQ(critical.at("spec").at("tolerations").get_array().size(), 2u);
}

TEST_F(AdmissionTest, DefaultClasses) {
  ok(call(
         "POST", "/apis/storage.k8s.io/v1/storageclasses",
         R"({"metadata":{"name":"fast","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"example.com/x"})"),
     201);
  auto claim = ok(
      call(
          "POST", "/api/v1/namespaces/default/persistentvolumeclaims",
          R"({"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})"),
      201);
  EXPECT_EQ(string_at(claim, "spec", "storageClassName"), "fast");
  EXPECT_EQ(base::to_json(*base::find_path(claim, "metadata", "finalizers")),
            R"(["kubernetes.io/pvc-protection"])");
  auto volume = ok(
      call(
          "POST", "/api/v1/persistentvolumes",
          R"({"metadata":{"name":"v","finalizers":["a.io/x"]},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"hostPath":{"path":"/d"}}})"),
      201);
  EXPECT_EQ(base::to_json(*base::find_path(volume, "metadata", "finalizers")),
            R"(["a.io/x","kubernetes.io/pv-protection"])");
}

TEST_F(AdmissionTest, PodSecurityPerNamespace) {
  ok(call("POST", kPods, pod("old")), 201);
  auto labelled = call("PATCH", "/api/v1/namespaces/default",
                       R"({"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}})",
                       "application/merge-patch+json");
  ok(labelled);
  EXPECT_NE(refused(call("POST", kPods, pod("a")), 403)
                .find("violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false "
                      "(container \"c\""),
            std::string::npos);
  EXPECT_EQ(refused(call("PATCH", "/api/v1/namespaces/default",
                         R"({"metadata":{"labels":{"pod-security.kubernetes.io/warn":"x"}}})",
                         "application/merge-patch+json"),
                    422),
            "Invalid: Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/warn]: "
            "Invalid value: \"x\": must be one of privileged, baseline, restricted");
  ok(call("PATCH", std::string(kPods) + "/old", R"({"metadata":{"labels":{"a":"b"}}})",
          "application/merge-patch+json"));
}

// ---- webhooks ------------------------------------------------------------------------------------
class WebhookTest : public AdmissionTest {
 protected:
  void SetUp() override {
    AdmissionTest::SetUp();
    auto ca = base::tls::make_ca("test", std::chrono::hours(1));
    base::tls::CertificateRequest wanted;
    wanted.common_name = "hook";
    wanted.ip_addresses = {"127.0.0.1"};
    wanted.dns_names = {"hook.default.svc", "localhost"};
    wanted.server = true;
    auto pair = base::tls::sign(*ca, wanted);
    ca_ = ca->certificate_pem;
    http_ = std::make_unique<base::http::Server>(
        loop_, *base::tls::Context::server(*pair, ""), base::http::Server::Options{},
        base::http::with_bodies([this](std::shared_ptr<base::http::Exchange> exchange) {
          if (holds_) return held_.push_back(exchange);
          json::value review = base::parse_json(exchange->request().body).value();
          reviews_.push_back(review);
          paths_.push_back(exchange->request().target);
          json::value response = answer_(review);
          if (repeats_uid_) response.get_object()["uid"] = string_at(review, "request", "uid");
          base::http::Headers headers;
          headers.add("Content-Type", "application/json");
          exchange->respond(
              status_, std::move(headers),
              {base::http::bytes(base::to_json(json::object{{"kind", "AdmissionReview"},
                                                            {"apiVersion", string_at(review, "apiVersion")},
                                                            {"response", response}}))});
        }));
    ASSERT_TRUE(http_->listen("127.0.0.1:0").ok());
    port_ = http_->ports()[0];
    base::ignore(http_->listen("[::1]:" + std::to_string(port_)),
                 "where the host knows no IPv6, localhost is no address of it either");
  }
  void TearDown() override {
    http_.reset();
    AdmissionTest::TearDown();
  }
  std::string hook(const std::string& more, const std::string& resources = R"(["configmaps"])",
                   const std::string& name = "a.hook.example.com") {
    return R"({"name":")" + name +
           R"(","admissionReviewVersions":["v1"],"sideEffects":"None","rules":[{"apiGroups":["*"],"apiVersions":["*"],"operations":["*"],"resources":)" +
           resources + R"(}],"clientConfig":{"url":"https://127.0.0.1:)" + std::to_string(port_) +
           R"(/review","caBundle":")" + base::base64_encode(ca_) + "\"}" + more + "}";
  }
  using ServerTest::configure;
  void configure(const char* kind, const std::string& hooks) {
    std::string plural =
        kind == std::string("Mutating") ? "mutatingwebhookconfigurations" : "validatingwebhookconfigurations";
    ok(call("POST", "/apis/admissionregistration.k8s.io/v1/" + plural,
            R"({"metadata":{"name":"test"},"webhooks":[)" + hooks + "]}"),
       201);
  }
  std::string ca_;
  int port_ = 0, status_ = 200;
  bool repeats_uid_ = true;
  bool holds_ = false;  // answers nothing
  std::vector<std::shared_ptr<base::http::Exchange>> held_;
  std::unique_ptr<base::http::Server> http_;
  std::vector<json::value> reviews_;
  std::vector<std::string> paths_;
  std::function<json::value(const json::value&)> answer_ = [](const json::value&) {
    return json::object{{"allowed", true}};
  };
};

TEST_F(WebhookTest, ValidatingOnesRefuse) {
  configure("Validating", hook(""));
  answer_ = [](const json::value& review) -> json::value {
    if (string_at(review, "request", "name") != "bad")
      return json::object{{"allowed", true}, {"warnings", json::array{"careful"}}};
    return json::object{{"allowed", false},
                        {"status", json::object{{"code", 403}, {"reason", "Forbidden"}, {"message", "no"}}}};
  };
  auto fine = call("POST", kMaps, config_map("fine", "1"));
  ok(fine, 201);
  EXPECT_EQ(refused(call("POST", kMaps, config_map("bad", "1")), 403),
            "Forbidden: admission webhook \"a.hook.example.com\" denied the request: no");
  ASSERT_EQ(reviews_.size(), 2u);
  EXPECT_EQ(string_at(reviews_[0], "request", "operation"), "CREATE");
  EXPECT_EQ(string_at(reviews_[0], "request", "resource", "resource"), "configmaps");
  EXPECT_EQ(string_at(reviews_[0], "request", "userInfo", "username"), "admin");
  EXPECT_EQ(string_at(reviews_[0], "request", "object", "data", "k"), "1");
  EXPECT_EQ(paths_[0], "/review?timeout=10s");
  ok(call("DELETE", std::string(kMaps) + "/fine"));
  EXPECT_EQ(string_at(reviews_[2], "request", "operation"), "DELETE");
  EXPECT_EQ(string_at(reviews_[2], "request", "oldObject", "metadata", "name"), "fine");
}

// Webhooks older than admission.k8s.io/v1, as MetalLB's: the first version of their list that is known.
TEST_F(WebhookTest, OlderReviewsAreSpokenToo) {
  auto versions = [&](std::string list) {
    std::string text = hook("");
    return text.replace(text.find(R"(["v1"])"), 6, list);
  };
  const std::string webhooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
  EXPECT_NE(refused(call("POST", webhooks,
                         R"({"metadata":{"name":"test"},"webhooks":[)" + versions(R"(["v2","v2"])") + "]}"),
                    422)
                .find("webhooks[0].admissionReviewVersions[1]: Invalid value: \"v2\": duplicate version, "
                      "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\",\"v2\"]: must include at "
                      "least one of v1, v1beta1"),
            std::string::npos);
  configure("Mutating", versions(R"(["v2","v1beta1","v1"])"));
  repeats_uid_ = false;  // v1beta1 asks neither for the uid nor for the patch's type
  answer_ = [](const json::value&) -> json::value {
    return json::object{
        {"allowed", true},
        {"patch", base::base64_encode(R"([{"op":"add","path":"/data/hooked","value":"yes"}])")}};
  };
  EXPECT_EQ(string_at(ok(call("POST", kMaps, config_map("a", "1")), 201), "data", "hooked"), "yes");
  EXPECT_EQ(string_at(reviews_.at(0), "apiVersion"), "admission.k8s.io/v1beta1");
  ok(call("PATCH", webhooks + "/test",
          R"([{"op":"replace","path":"/webhooks/0/admissionReviewVersions","value":["v1"]}])",
          "application/json-patch+json"));
  EXPECT_NE(refused(call("POST", kMaps, config_map("b", "1")), 500).find("expected response.uid="),
            std::string::npos);
}

TEST_F(WebhookTest, MutatingOnesPatchAndAreAskedAgain) {
  configure("Mutating",
            hook(R"(,"reinvocationPolicy":"IfNeeded")", R"(["configmaps"])", "one.hook.example.com") + "," +
                hook("", R"(["configmaps"])", "two.hook.example.com"));
  answer_ = [](const json::value& review) -> json::value {
    const json::value* data = base::find_path(review, "request", "object", "data");
    std::string patch = base::find(*data, "first") ? R"([{"op":"add","path":"/data/second","value":"2"}])"
                                                   : R"([{"op":"add","path":"/data/first","value":"1"}])";
    return json::object{{"allowed", true}, {"patchType", "JSONPatch"}, {"patch", base::base64_encode(patch)}};
  };
  auto made = ok(call("POST", kMaps, config_map("a", "1")), 201);
  EXPECT_EQ(base::to_json(made.at("data")), R"({"k":"1","first":"1","second":"2"})");
  EXPECT_EQ(reviews_.size(), 3u);  // one, two, and one again
}

TEST_F(WebhookTest, MutatedObjectsNestNoDeeperThanSentOnes) {
  configure("Mutating", hook("", R"(["controllerrevisions"])"));
  size_t depth = base::kMaxJsonDepth - 1;
  answer_ = [&](const json::value&) -> json::value {
    std::string patch =
        R"([{"op":"add","path":"/data","value":)" + std::string(depth, '[') + std::string(depth, ']') + "}]";
    return json::object{{"allowed", true}, {"patchType", "JSONPatch"}, {"patch", base::base64_encode(patch)}};
  };
  const char* kRevisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
  ok(call("POST", kRevisions, R"({"metadata":{"name":"most"},"revision":1})"), 201);
  ++depth;
  EXPECT_NE(refused(call("POST", kRevisions, R"({"metadata":{"name":"more"},"revision":1})"), 500)
                .find("exceeded max depth"),
            std::string::npos);
  reopen();
  ok(call("GET", std::string(kRevisions) + "/most"));
}

TEST_F(WebhookTest, ConnectionsAreAdmittedByTheirOptions) {
  ok(call("POST", kPods, pod("p")), 201);
  configure(
      "Validating",
      hook("",
           R"(["pods/exec","pods/attach","pods/portforward","pods/proxy","services/proxy","nodes/proxy"])"));
  answer_ = [](const json::value&) -> json::value {
    return json::object{{"allowed", false}, {"status", json::object{{"message", "no way in"}}}};
  };
  const std::tuple<const char*, const char*, const char*> kConnections[] = {
      {"/api/v1/namespaces/default/pods/p/"
       "exec?command=sh&command=-c&stdin&stdout=true&stderr=0&tty=False&container=c",
       "PodExecOptions", R"("command":["sh","-c"],"container":"c","stdin":true,"stdout":true)"},
      {"/api/v1/namespaces/default/pods/p/attach?stdin=1", "PodAttachOptions", R"("stdin":true)"},
      {"/api/v1/namespaces/default/pods/p/portforward?ports=80,81&ports=82", "PodPortForwardOptions",
       R"("ports":[80,81,82])"},
      {"/api/v1/namespaces/default/pods/https:p:80/proxy/a/b/?x=1", "PodProxyOptions", R"("path":"/a/b/")"},
      {"/api/v1/namespaces/default/services/s/proxy/", "ServiceProxyOptions", R"("path":"/")"},
      {"/api/v1/nodes/n/proxy/stats", "NodeProxyOptions", R"("path":"/stats")"}};
  for (const auto& [path, kind, options] : kConnections) {
    for (const char* method : {"GET", "POST"}) {
      reviews_.clear();
      EXPECT_EQ(refused(call(method, path), 400),
                ": admission webhook \"a.hook.example.com\" denied the request: no way in")
          << path;
      ASSERT_EQ(reviews_.size(), 1u) << path;
      const json::value& asked = reviews_[0].at("request");
      EXPECT_EQ(string_at(asked, "operation"), "CONNECT");
      EXPECT_EQ(base::to_json(asked.at("kind")),
                std::string(R"({"group":"","version":"v1","kind":")") + kind + "\"}");
      EXPECT_EQ(asked.at("kind"), asked.at("requestKind"));
      EXPECT_EQ(base::to_json(asked.at("object")),
                std::string(R"({"kind":")") + kind + R"(","apiVersion":"v1",)" + options + "}");
      EXPECT_TRUE(asked.at("oldObject").is_null());
      EXPECT_TRUE(asked.at("options").is_null());
    }
  }
  EXPECT_NE(refused(call("GET", std::string(kPods) + "/p/portforward?ports=x"), 400)
                .find("strconv.ParseUint: parsing \"x\": invalid syntax"),
            std::string::npos);
  EXPECT_EQ(refused(call("GET", std::string(kPods) + "/p/exec?dryRun=All"), 400),
            "BadRequest: dryRun is not supported");
}

TEST_F(WebhookTest, OptionsOfAConnectionCanBeChangedAndHaveNoLabels) {
  ok(call("POST", kPods, pod("p")), 201);
  configure("Mutating", hook("", R"(["pods/exec"])"));
  answer_ = [](const json::value&) -> json::value {
    return json::object{
        {"allowed", true},
        {"patchType", "JSONPatch"},
        {"patch", base::base64_encode(R"([{"op":"add","path":"/container","value":"other"}])")}};
  };
  EXPECT_EQ(refused(call("GET", std::string(kPods) + "/p/exec?command=ls&container=c"), 400),
            "BadRequest: container other is not valid for pod p");
  ok(call(
      "PATCH", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/test",
      R"([{"op":"add","path":"/webhooks/0/objectSelector","value":{"matchExpressions":[{"key":"x","operator":"DoesNotExist"}]}}])",
      "application/json-patch+json"));
  EXPECT_EQ(refused(call("GET", std::string(kPods) + "/p/exec?command=ls&container=c"), 400),
            "BadRequest: pod p does not have a host assigned");
}

TEST_F(WebhookTest, EvictionsAreAdmittedAsSuch) {
  ok(call("POST", kPods, pod("p")), 201);
  configure("Validating", hook("", R"(["pods/eviction","pods"])"));
  answer_ = [](const json::value&) -> json::value {
    return json::object{{"allowed", false}, {"status", json::object{{"code", 429}, {"message", "later"}}}};
  };
  std::string eviction = R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}})";
  EXPECT_NE(refused(call("POST", std::string(kPods) + "/p/eviction", eviction), 429).find("later"),
            std::string::npos);
  ASSERT_EQ(reviews_.size(), 1u);
  EXPECT_EQ(base::to_json(reviews_[0].at("request").at("kind")),
            R"({"group":"policy","version":"v1","kind":"Eviction"})");
  EXPECT_EQ(string_at(reviews_[0], "request", "operation"), "CREATE");
  answer_ = [](const json::value&) -> json::value { return json::object{{"allowed", true}}; };
  ok(call("POST", std::string(kPods) + "/p/eviction", eviction), 201);
  EXPECT_EQ(reviews_.size(), 2u) << "the deletion behind it is none of its own";
  EXPECT_EQ(call("GET", std::string(kPods) + "/p").status, 404);
  ok(call("POST", kPods, pod("p")), 201);
  ok(call("DELETE", std::string(kPods) + "/p"));
  EXPECT_EQ(string_at(reviews_.back(), "request", "operation"), "DELETE");
}

TEST_F(WebhookTest, PartsOfObjectsAreAdmittedInTheFormTheyAreSentIn) {
  ok(call("POST", kPods, pod("p")), 201);
  ok(call(
         "POST", "/apis/apps/v1/namespaces/default/deployments",
         R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"),
     201);
  ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n"}})"), 201);
  configure("Mutating",
            hook("", R"(["deployments","deployments/scale","pods/binding","serviceaccounts/token"])"));
  ok(call("POST", std::string(kPods) + "/p/binding",
          R"({"metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}})"),
     201);
  ASSERT_EQ(reviews_.size(), 1u);
  EXPECT_EQ(base::to_json(reviews_[0].at("request").at("kind")),
            R"({"group":"","version":"v1","kind":"Binding"})");
  EXPECT_EQ(string_at(reviews_[0], "request", "object", "target", "name"), "n");
  answer_ = [](const json::value&) -> json::value {
    return json::object{
        {"allowed", true},
        {"patchType", "JSONPatch"},
        {"patch", base::base64_encode(R"([{"op":"replace","path":"/spec/replicas","value":3}])")}};
  };
  const std::string kScale = "/apis/apps/v1/namespaces/default/deployments/d/scale";
  auto scaled = ok(call("PATCH", kScale, R"({"spec":{"replicas":9}})", "application/merge-patch+json"));
  EXPECT_EQ(base::as_int(base::find_path(scaled, "spec", "replicas")), 3);
  ASSERT_EQ(reviews_.size(), 2u);  // not once more as a Deployment
  EXPECT_EQ(base::to_json(reviews_[1].at("request").at("kind")),
            R"({"group":"autoscaling","version":"v1","kind":"Scale"})");
  EXPECT_EQ(string_at(reviews_[1], "request", "subResource"), "scale");
  EXPECT_EQ(base::as_int(base::find_path(reviews_[1], "request", "object", "spec", "replicas")), 9);
  EXPECT_EQ(base::as_int(base::find_path(reviews_[1], "request", "oldObject", "spec", "replicas")), 1);
}

TEST_F(WebhookTest, WhatFailedIsSaidInTheWordsThatClientsLookFor) {
  std::string silent = hook(R"(,"timeoutSeconds":1)"),
              url = "https://127.0.0.1:" + std::to_string(port_) + "/review";
  auto text = [&](std::string hooks) {
    configure("Validating", hooks);
    std::string out = refused(call("POST", kMaps, config_map("a", "1")), 500);
    ok(call("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/test"));
    return out;
  };
  auto changed = [&](std::string in, const std::string& from, const std::string& to) {
    return in.replace(in.find(from), from.size(), to);
  };
  const std::string kFailed =
      "InternalError: Internal error occurred: failed calling webhook \"a.hook.example.com\": ";
  holds_ = true;
  EXPECT_EQ(text(silent),
            kFailed + "failed to call webhook: Post \"" + url + "?timeout=1s\": context deadline exceeded");
  holds_ = false;
  EXPECT_EQ(text(changed(hook(""), std::to_string(port_), "1")),
            kFailed +
                "failed to call webhook: Post \"https://127.0.0.1:1/review?timeout=10s\": dial tcp "
                "127.0.0.1:1: connect: connection refused");
  auto other = base::tls::make_ca("other", std::chrono::hours(1));
  EXPECT_EQ(
      text(changed(hook(""), base::base64_encode(ca_), base::base64_encode(other->certificate_pem))),
      kFailed + "failed to call webhook: Post \"" + url +
          "?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority");
  status_ = 503;
  EXPECT_EQ(text(hook("")),
            kFailed + "failed to call webhook: the server is currently unable to handle the request");
}

TEST_F(WebhookTest, FailuresFailOrAreIgnored) {
  answer_ = [](const json::value&) {
    return json::object{{"allowed", true}, {"patch", "x"}};
  };  // no patchType
  configure("Validating", hook(R"(,"failurePolicy":"Fail")"));
  EXPECT_NE(refused(call("POST", kMaps, config_map("a", "1")), 500)
                .find("failed calling webhook \"a.hook.example.com\""),
            std::string::npos);
  ok(call("PATCH", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/test",
          R"([{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}])",
          "application/json-patch+json"));
  ok(call("POST", kMaps, config_map("a", "1")), 201);
}

TEST_F(WebhookTest, OnlyWhatIsSelected) {
  configure(
      "Validating",
      hook(
          R"(,"namespaceSelector":{"matchLabels":{"guarded":"yes"}},"objectSelector":{"matchLabels":{"app":"x"}})"));
  ok(call("POST", kMaps, config_map("a", "1", R"({"app":"x"})")), 201);
  EXPECT_EQ(reviews_.size(), 0u);
  ok(call("PATCH", "/api/v1/namespaces/default", R"({"metadata":{"labels":{"guarded":"yes"}}})",
          "application/merge-patch+json"));
  ok(call("POST", kMaps, config_map("b", "1")), 201);
  EXPECT_EQ(reviews_.size(), 0u);
  ok(call("POST", kMaps, config_map("c", "1", R"({"app":"x"})")), 201);
  EXPECT_EQ(reviews_.size(), 1u);
  ok(call("POST", std::string(kMaps) + "?dryRun=All", config_map("d", "1", R"({"app":"x"})")), 201);
  EXPECT_TRUE(base::as_bool(base::find_path(reviews_.at(1), "request", "dryRun")));
}

TEST_F(WebhookTest, ServicesAreReachedByTheirEndpoints) {
  ok(call("POST", "/api/v1/namespaces/default/services",
          R"({"metadata":{"name":"hook"},"spec":{"ports":[{"port":443}]}})"),
     201);
  std::string through = hook("");
  size_t at = through.find("\"url\""), end = through.find(",\"caBundle\"");
  through.replace(at, end - at, R"("service":{"namespace":"default","name":"hook","path":"/by-service"})");
  configure("Validating", through);
  EXPECT_NE(refused(call("POST", kMaps, config_map("a", "1")), 500)
                .find("no endpoints available for service \"hook\""),
            std::string::npos);
  // Not a slice that a client could write (loopback is refused): it is put where the plugin looks.
  ResourceInfo& slices = *server_->registry().resources().find("discovery.k8s.io", "v1", "endpointslices");
  slices.objects->load(make_object(
      slices, "default/hook-1",
      R"({"metadata":{"name":"hook-1","namespace":"default","labels":{"kubernetes.io/service-name":"hook"}},"addressType":"IPv4",
          "endpoints":[{"addresses":["127.0.0.1"],"conditions":{"ready":true}}],"ports":[{"name":"","port":)" +
          std::to_string(port_) + "}]}",
      1));
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  EXPECT_EQ(paths_.at(0), "/by-service?timeout=10s");
  // Of two each has its share, whatever else the client counts: one of these refuses connections.
  slices.objects->load(make_object(
      slices, "default/hook-2",
      R"({"metadata":{"name":"hook-2","namespace":"default","labels":{"kubernetes.io/service-name":"hook"}},"addressType":"IPv4",
          "endpoints":[{"addresses":["127.0.0.2"],"conditions":{"ready":true}}],"ports":[{"name":"","port":)" +
          std::to_string(port_) + "}]}",
      1));
  int made = 0;
  for (int i = 0; i < 32; ++i)
    made += call("POST", kMaps, config_map("b" + std::to_string(i), "1")).status == 201;
  EXPECT_GT(made, 0);
  EXPECT_LT(made, 32);
}

TEST_F(WebhookTest, AHostIsLookedUpByItsName) {
  std::string by_name = hook("");
  by_name.replace(by_name.find("127.0.0.1"), 9, "LocalHost");  // in /etc/hosts in any spelling
  configure("Validating", by_name);
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  EXPECT_EQ(reviews_.size(), 1u);
}

TEST_F(WebhookTest, AuditAnnotationsReachTheLog) {
  auto policy = AuditPolicy::parse(
      "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]");
  AuditLog::Options options;
  options.path = dir_ + "/audit.log";
  auto log = AuditLog::open(loop_, options);
  server_->front().audit(std::move(*policy), std::move(*log));
  configure("Validating", hook("", R"(["configmaps","pods"])"));
  answer_ = [](const json::value&) {
    return json::object{{"allowed", true}, {"auditAnnotations", json::object{{"why", "because"}}}};
  };
  ok(call(
      "PATCH", "/api/v1/namespaces/default",
      R"({"metadata":{"labels":{"pod-security.kubernetes.io/audit":"restricted","pod-security.kubernetes.io/enforce":"baseline"}}})",
      "application/merge-patch+json"));
  ok(call("POST", kMaps, config_map("a", "1")), 201);
  ok(call("POST", kPods, pod("a")), 201);
  refused(call("POST", kPods, pod("b", "{}", R"(,"hostNetwork":true)")), 403);
  loop_.run_once(base::Duration::zero());
  std::map<std::string, json::value> noted;  // "configmaps a"
  std::string text = base::sys::read_file(options.path).value();
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    auto event = base::parse_json(std::string_view(text).substr(at, end - at)).value();
    if (string_at(event, "verb") == "create" && base::find(event, "annotations"))
      noted[std::string(string_at(event, "objectRef", "resource")) +
            std::to_string(base::as_int(base::find_path(event, "responseStatus", "code")))] =
          event.at("annotations");
  }
  EXPECT_EQ(string_at(noted["configmaps201"], "a.hook.example.com/why"), "because");
  json::value& allowed = noted["pods201"];
  EXPECT_EQ(string_at(allowed, "a.hook.example.com/why"), "because");
  EXPECT_EQ(string_at(allowed, "pod-security.kubernetes.io/enforce-policy"), "baseline:latest");
  EXPECT_TRUE(string_at(allowed, "pod-security.kubernetes.io/audit-violations")
                  .starts_with("would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation"));
  EXPECT_TRUE(string_at(noted["pods403"], "pod-security.kubernetes.io/audit-violations")
                  .starts_with("would violate PodSecurity \"restricted:latest\": "));
}

class AccountsAndWebhooks : public WebhookTest {
  void configure(ServerOptions& options) override { options.admits_accounts = true; }
};
TEST_F(AccountsAndWebhooks, MutatingWebhooksSeeTokenVolumes) {
  ok(call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})"), 201);
  WebhookTest::configure("Mutating", hook("", R"(["pods"])"));
  ok(call("POST", kPods, pod("a")), 201);
  ASSERT_EQ(reviews_.size(), 1u);
  const json::value* volumes = base::find_path(reviews_[0], "request", "object", "spec", "volumes");
  ASSERT_TRUE(volumes);
  EXPECT_TRUE(string_at(volumes->at(0), "name").starts_with("kube-api-access-"));
}

}  // namespace
}  // namespace master
