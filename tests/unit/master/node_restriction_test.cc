// What a node's own credentials may and may not do, a row for each line of NodeRestriction and of the Node
// authorizer: asked of the whole server, so that authorizer and admission are judged together.
#include "base/base64.h"
#include "base/tls_request.h"
#include "tests/unit/master/server_fixture.h"

namespace master {

class NodeRestrictionTest : public ServerTest {
 protected:
  void configure(ServerOptions& options) override {
    key_ = jws::Key::make("ES256").value();
    options.tokens = {"https://master.example", {jws::Key::read(key_).value()}, {}, {}};
  }
  void SetUp() override {
    ServerTest::SetUp();
    ok(call(
           "POST", "/api/v1/nodes",
           R"({"metadata":{"name":"n1","labels":{"a":"b"}},"spec":{"taints":[{"key":"k","effect":"NoSchedule"}]}})"),
       201);
    ok(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n2"}})"), 201);
    ok(call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"builder"}})"), 201);
    ok(call("POST", "/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"used"}})"), 201);
    ok(call("POST", "/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"other"}})"), 201);
    ok(call(
           "POST", "/api/v1/namespaces/default/persistentvolumeclaims",
           R"({"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})"),
       201);
    for (const char* name : {"mine", "theirs"})
      ok(call("POST", "/api/v1/namespaces/default/pods",
              pod(name, std::string(name) == "mine" ? "n1" : "n2")),
         201);
    for (const char* node : {"n1", "n2"})
      ok(call("POST", "/apis/resource.k8s.io/v1/resourceslices", slice(std::string("slice-") + node, node)),
         201);
    uid_ = std::string(base::string_at(ok(call("GET", "/api/v1/nodes/n1")), "metadata", "uid"));
    pod_uid_ = std::string(
        base::string_at(ok(call("GET", "/api/v1/namespaces/default/pods/mine")), "metadata", "uid"));
    transport_ = server_->local_transport({"system:node:n1", {"system:nodes", "system:authenticated"}});
  }
  static std::string pod(const std::string& name, const std::string& node) {
    return R"({"metadata":{"name":")" + name + R"("},"spec":{"nodeName":")" + node +
           R"(","serviceAccountName":"builder","containers":[{"name":"c","image":"i"}],"volumes":[{"name":"s","secret":{"secretName":"used"}},{"name":"d","persistentVolumeClaim":{"claimName":"data"}},)"
           R"({"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"t","audience":"vault"}},{"serviceAccountToken":{"path":"api"}}]}}]}})";
  }
  static std::string slice(const std::string& name, const std::string& node) {
    return R"({"metadata":{"name":")" + name + R"("},"spec":{"driver":"d.example.org","nodeName":")" + node +
           R"(","pool":{"name":"p","generation":1,"resourceSliceCount":1}}})";
  }
  std::string mirror(const std::string& owner, const std::string& spec = {}, const std::string& node = "n1") {
    return R"({"metadata":{"name":"mirror","annotations":{"kubernetes.io/config.mirror":"x"},"ownerReferences":[)" +
           owner + R"(]},"spec":{"nodeName":")" + node + R"(","containers":[{"name":"c","image":"i"}])" +
           (spec.empty() ? "" : "," + spec) + "}}";
  }
  std::string owner(const std::string& more = R"("controller":true)") {
    return R"({"apiVersion":"v1","kind":"Node","name":"n1","uid":")" + uid_ + "\"," + more + "}";
  }
  // "ok", or what stands behind "is forbidden: " or "in API group".
  std::string asked(std::string method, std::string target, std::string body = {}) {
    auto response = call(method, std::move(target), std::move(body),
                         method == "PATCH" ? "application/merge-patch+json" : "application/json");
    if (response.status / 100 == 2) return "ok";
    if (response.status != 403) return std::to_string(response.status) + " " + response.body;
    std::string message(base::string_at(base::parse_json(response.body).value_or(nullptr), "message"));
    size_t at = message.find("is forbidden: ");
    message = at == message.npos ? message : message.substr(at + 14);
    if (message.starts_with("User "))
      return "denied" + (message.find(": ") == message.npos ? "" : message.substr(message.find(": ")));
    return message;
  }
  static constexpr const char* kPods = "/api/v1/namespaces/default/pods";
  static constexpr const char* kSlices = "/apis/resource.k8s.io/v1/resourceslices";
  std::string key_, uid_, pod_uid_;
};

TEST_F(NodeRestrictionTest, ItsOwnNode) {
  EXPECT_EQ(asked("PATCH", "/api/v1/nodes/n1", R"({"metadata":{"annotations":{"a":"b"}}})"), "ok");
  EXPECT_EQ(asked("PATCH", "/api/v1/nodes/n2", R"({"metadata":{"annotations":{"a":"b"}}})"),
            "node \"n1\" is not allowed to modify node \"n2\"");
  EXPECT_EQ(asked("PATCH", "/api/v1/nodes/n1", R"({"spec":{"taints":null}})"),
            "node \"n1\" is not allowed to modify taints");
  EXPECT_EQ(asked("PATCH", "/api/v1/nodes/n1", R"({"metadata":{"labels":{"node-role.kubernetes.io/x":""}}})"),
            "is not allowed to modify labels: node-role.kubernetes.io/x");
  const std::string ghost =
      R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"ghost","uid":"no-such"}]}})";
  EXPECT_EQ(asked("PATCH", "/api/v1/nodes/n1", ghost),
            "node \"n1\" is not allowed to modify ownerReferences");
  EXPECT_EQ(asked("PATCH", "/api/v1/nodes/n1/status", ghost),
            "node \"n1\" is not allowed to modify ownerReferences");
  EXPECT_EQ(
      asked("PATCH", "/api/v1/nodes/n1",
            R"({"spec":{"configSource":{"configMap":{"name":"a","namespace":"b","kubeletConfigKey":"k"}}}})"),
      "node \"n1\" is not allowed to update configSource to a new non-nil configSource");
  EXPECT_EQ(asked("DELETE", "/api/v1/nodes/n1").substr(0, 6), "denied");
}

TEST_F(NodeRestrictionTest, ANewNode) {
  transport_ = server_->local_transport({"system:node:n3", {"system:nodes", "system:authenticated"}});
  EXPECT_EQ(
      asked(
          "POST", "/api/v1/nodes",
          R"({"metadata":{"name":"n3","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"ghost","uid":"no-such"}]}})"),
      "node \"n3\" is not allowed to set ownerReferences");
  EXPECT_EQ(asked("POST", "/api/v1/nodes",
                  R"({"metadata":{"name":"n3","labels":{"node-restriction.kubernetes.io/x":"y"}}})"),
            "node \"n3\" is not allowed to set the following labels: node-restriction.kubernetes.io/x");
  EXPECT_EQ(asked("POST", "/api/v1/nodes", R"({"metadata":{"name":"n4"}})"),
            "node \"n3\" is not allowed to modify node \"n4\"");
  EXPECT_EQ(asked("POST", "/api/v1/nodes",
                  R"({"metadata":{"name":"n3","labels":{"kubernetes.io/hostname":"n3"}}})"),
            "ok");
}

TEST_F(NodeRestrictionTest, StatusOfItsPods) {
  const std::string mine = std::string(kPods) + "/mine/status";
  EXPECT_EQ(asked("PATCH", mine, R"({"status":{"phase":"Running"}})"), "ok");
  EXPECT_EQ(asked("PATCH", std::string(kPods) + "/theirs/status", R"({"status":{"phase":"Running"}})"),
            "node \"n1\" can only update pod status for pods with spec.nodeName set to itself");
  EXPECT_EQ(asked("PATCH", mine,
                  R"({"status":{"resourceClaimStatuses":[{"name":"gpu","resourceClaimName":"somebodys"}]}})"),
            "node \"n1\" cannot update resource claim statues");
  EXPECT_EQ(
      asked(
          "PATCH", mine,
          R"({"status":{"extendedResourceClaimStatus":{"resourceClaimName":"somebodys","requestMappings":[]}}})"),
      "node \"n1\" cannot update extended resource claim status");
  EXPECT_EQ(asked("POST", std::string(kPods) + "/theirs/eviction",
                  R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"theirs"}})"),
            "node n1 can only evict pods with spec.nodeName set to itself");
  EXPECT_EQ(asked("DELETE", std::string(kPods) + "/theirs"),
            "node \"n1\" can only delete pods with spec.nodeName set to itself");
  EXPECT_EQ(asked("PATCH", std::string(kPods) + "/mine", R"({"metadata":{"labels":{"a":"b"}}})").substr(0, 6),
            "denied");
  EXPECT_EQ(asked("PATCH", std::string(kPods) + "/mine/ephemeralcontainers", R"({"spec":{}})").substr(0, 6),
            "denied");
}

TEST_F(NodeRestrictionTest, MirrorPods) {
  EXPECT_EQ(asked("POST", kPods, pod("p", "n1")),
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create "
            "mirror pods");
  EXPECT_EQ(asked("POST", kPods, mirror(owner(), {}, "n2")),
            "node \"n1\" can only create pods with spec.nodeName set to itself");
  EXPECT_EQ(asked("POST", kPods, mirror("")),
            "node \"n1\" can only create pods with an owner reference set to itself");
  EXPECT_EQ(asked("POST", kPods,
                  mirror(owner() + "," + R"({"apiVersion":"v1","kind":"ConfigMap","name":"c","uid":"u"})")),
            "node \"n1\" can only create pods with a single owner reference set to itself");
  EXPECT_EQ(
      asked("POST", kPods,
            mirror(R"({"apiVersion":"v1","kind":"ConfigMap","name":"n1","uid":"u","controller":true})")),
      "node \"n1\" can only create pods with an owner reference set to itself");
  EXPECT_EQ(asked("POST", kPods, mirror(owner(R"("controller":false)"))),
            "node \"n1\" can only create pods with a controller owner reference set to itself");
  EXPECT_EQ(asked("POST", kPods, mirror(owner(R"("controller":true,"blockOwnerDeletion":true)"))),
            "node \"n1\" must not set blockOwnerDeletion on an owner reference");
  EXPECT_EQ(asked("POST", kPods,
                  mirror(R"({"apiVersion":"v1","kind":"Node","name":"n1","uid":"stale","controller":true})")),
            "node n1 UID mismatch: expected stale got " + uid_);
  EXPECT_EQ(asked("POST", kPods, mirror(owner(), R"("serviceAccountName":"builder")")),
            "node \"n1\" can not create pods that reference a service account");
  EXPECT_EQ(
      asked("POST", kPods, mirror(owner(), R"("volumes":[{"name":"s","secret":{"secretName":"other"}}])")),
      "node \"n1\" can not create pods that reference secrets");
  EXPECT_EQ(asked("POST", kPods, mirror(owner(), R"("volumes":[{"name":"s","configMap":{"name":"m"}}])")),
            "node \"n1\" can not create pods that reference configmaps");
  EXPECT_EQ(
      asked("POST", kPods,
            mirror(owner(), R"("volumes":[{"name":"s","persistentVolumeClaim":{"claimName":"data"}}])")),
      "node \"n1\" can not create pods that reference persistentvolumeclaims");
  EXPECT_EQ(asked("POST", kPods,
                  mirror(owner(), R"("resourceClaims":[{"name":"gpu","resourceClaimTemplateName":"t"}])")),
            "node \"n1\" can not create pods that reference resourceclaims");
  EXPECT_EQ(
      asked(
          "POST", kPods,
          mirror(
              owner(),
              R"("volumes":[{"name":"s","projected":{"sources":[{"clusterTrustBundle":{"name":"b","path":"p"}}]}}])")),
      "node \"n1\" can not create pods that reference clustertrustbundles");
  // Somebody else's mirror Pod gives its node no right to what it names either.
  auto node = transport_;
  transport_ = server_->local_transport({"admin", {"system:masters"}});
  ok(call("POST", kPods, mirror(owner(), R"("volumes":[{"name":"s","secret":{"secretName":"other"}}])")),
     201);
  std::string nobody =
      mirror(R"({"apiVersion":"v1","kind":"Node","name":"n9","uid":"u","controller":true})", {}, "n9");
  transport_ = server_->local_transport({"system:node:n9", {"system:nodes", "system:authenticated"}});
  nobody.replace(nobody.find("\"mirror\""), 8, "\"mirror9\"");
  EXPECT_EQ(asked("POST", kPods, nobody).substr(0, 3), "404");
  transport_ = node;
  EXPECT_EQ(asked("GET", std::string(kPods) + "/mirror"), "ok");
  EXPECT_EQ(asked("GET", "/api/v1/namespaces/default/secrets/other"),
            "denied: no relationship found between node 'n1' and this object");
}

TEST_F(NodeRestrictionTest, WhatItsPodsReferTo) {
  const std::string unrelated = "denied: no relationship found between node 'n1' and this object";
  EXPECT_EQ(asked("GET", "/api/v1/namespaces/default/secrets/used"), "ok");
  EXPECT_EQ(asked("GET", "/api/v1/namespaces/default/secrets/other"), unrelated);
  EXPECT_EQ(asked("GET", "/api/v1/namespaces/default/secrets"), "denied: No Object name found");
  EXPECT_EQ(asked("DELETE", "/api/v1/namespaces/default/secrets/used"),
            "denied: can only read resources of this type");
  EXPECT_EQ(asked("GET", std::string(kPods) + "/mine"), "ok");
  EXPECT_EQ(asked("GET", std::string(kPods) + "/theirs"), unrelated);
  EXPECT_EQ(asked("GET", kPods), "denied: can only list/watch pods with spec.nodeName field selector");
  EXPECT_EQ(asked("GET", std::string(kPods) + "?fieldSelector=spec.nodeName%3Dn1"), "ok");
  EXPECT_EQ(asked("GET", "/api/v1/namespaces/default/persistentvolumeclaims/data"), "ok");
  EXPECT_EQ(asked("GET", "/api/v1/namespaces/default/persistentvolumeclaims/data/status"),
            "denied: can only get/update/patch this type");
  EXPECT_EQ(asked("PATCH", "/api/v1/namespaces/default/persistentvolumeclaims/data/status",
                  R"({"status":{"capacity":{"storage":"1Gi"}}})"),
            "ok");
}

TEST_F(NodeRestrictionTest, TokensOfItsPods) {
  const std::string path = "/api/v1/namespaces/default/serviceaccounts/builder/token";
  auto body = [&](const std::string& audiences, const std::string& uid, const std::string& pod = "mine") {
    return R"({"spec":{"audiences":[)" + audiences +
           R"(],"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":")" + pod + R"(","uid":")" + uid +
           "\"}}}";
  };
  EXPECT_EQ(asked("POST", path, R"({"spec":{}})"), "node requested token not bound to a pod");
  EXPECT_EQ(asked("POST", path, body("", "")), "node requested token with a pod binding without a uid");
  EXPECT_EQ(asked("POST", path, body("", pod_uid_)), "ok");
  EXPECT_EQ(asked("POST", path, body("\"vault\"", pod_uid_)), "ok");
  EXPECT_EQ(
      asked("POST", path, body("\"elsewhere\"", pod_uid_)),
      "audience \"elsewhere\" not found in pod spec volume, system:node:n1 is not authorized to request "
      "tokens for this audience");
  EXPECT_EQ(asked("POST", path, body("\"vault\",\"vault\"", pod_uid_)),
            "node may only request 0 or 1 audiences");
  EXPECT_EQ(
      asked("POST", path, body("", "another")),
      "the UID in the bound object reference (another) does not match the UID in record. The object might "
      "have been deleted and then recreated");
  EXPECT_EQ(asked("POST", path, body("", pod_uid_, "absent")).substr(0, 3), "404");
  EXPECT_EQ(asked("POST", path, body("", pod_uid_, "theirs")).substr(0, 11), "the UID in ");
  EXPECT_EQ(asked("PUT", path, body("", pod_uid_)).substr(0, 6), "denied");
  EXPECT_EQ(asked("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", body("", pod_uid_)),
            "denied: no relationship found between node 'n1' and this object");

  // A Pod that mounts no token has none for the API server either; a right to an audience is given by RBAC.
  auto node = transport_;
  transport_ = server_->local_transport({"admin", {"system:masters"}});
  ok(call(
         "POST", kPods,
         R"({"metadata":{"name":"bare"},"spec":{"nodeName":"n1","serviceAccountName":"builder","automountServiceAccountToken":false,"containers":[{"name":"c","image":"i"}],"volumes":[{"name":"i","csi":{"driver":"inline.example.org"}},{"name":"d","persistentVolumeClaim":{"claimName":"data"}}]}})"),
     201);
  std::string uid(base::string_at(ok(call("GET", std::string(kPods) + "/bare")), "metadata", "uid"));
  ok(call(
         "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
         R"({"metadata":{"name":"aud"},"rules":[{"apiGroups":[""],"resources":["registry"],"verbs":["request-serviceaccounts-token-audience"],"resourceNames":["builder"]}]})"),
     201);
  ok(call(
         "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
         R"({"metadata":{"name":"aud"},"subjects":[{"kind":"Group","apiGroup":"rbac.authorization.k8s.io","name":"system:nodes"}],"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"aud"}})"),
     201);
  auto admin = std::exchange(transport_, node);
  const std::string missing =
      ": [csidriver.storage.k8s.io \"inline.example.org\" not found, persistentvolume \"pv\" not found]";
  std::swap(transport_, admin);
  ok(call("PATCH", "/api/v1/namespaces/default/persistentvolumeclaims/data",
          R"({"spec":{"volumeName":"pv"}})", "application/merge-patch+json"));
  std::swap(transport_, admin);
  EXPECT_EQ(asked("POST", path, body("\"registry\"", uid, "bare")),
            "error validating audience \"registry\"" + missing);
  std::swap(transport_, admin);
  ok(call("POST", "/apis/storage.k8s.io/v1/csidrivers",
          R"({"metadata":{"name":"inline.example.org"},"spec":{"tokenRequests":[{"audience":"inline"}]}})"),
     201);
  ok(call("POST", "/apis/storage.k8s.io/v1/csidrivers",
          R"({"metadata":{"name":"file.csi.azure.com"},"spec":{"tokenRequests":[{"audience":"cloud"}]}})"),
     201);
  ok(call(
         "POST", "/api/v1/persistentvolumes",
         R"({"metadata":{"name":"pv"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"azureFile":{"secretName":"s","shareName":"x"},"claimRef":{"namespace":"default","name":"data"}}})"),
     201);
  std::swap(transport_, admin);
  EXPECT_EQ(asked("POST", path, body("\"registry\"", uid, "bare")), "ok");
  EXPECT_EQ(asked("POST", path, body("\"inline\"", uid, "bare")), "ok");
  EXPECT_EQ(asked("POST", path, body("\"cloud\"", uid, "bare")), "ok");
  EXPECT_EQ(
      asked("POST", path, body("", uid, "bare")),
      "audience \"\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for "
      "this audience");
}

// What kubelet-side parts of volume plugins read, by way of the claim of a Pod of the node; controllers'
// parts are not the node's.
TEST_F(NodeRestrictionTest, SecretsOfItsVolumes) {
  auto node = transport_;
  transport_ = server_->local_transport({"admin", {"system:masters"}});
  ok(call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"drivers"}})"), 201);
  struct {
    const char *source, *secret;
    bool readable;
  } rows[] = {
      {R"("azureFile":{"shareName":"x","secretName":"S"})", "default", true},
      {R"("azureFile":{"shareName":"x","secretName":"S","secretNamespace":"drivers"})", "drivers", true},
      {R"("cephfs":{"monitors":["m"],"secretRef":{"name":"S"}})", "default", true},
      {R"("cephfs":{"monitors":["m"],"secretRef":{"name":"S","namespace":"drivers"}})", "drivers", true},
      {R"("cinder":{"volumeID":"v","secretRef":{"name":"S","namespace":"drivers"}})", "drivers", true},
      {R"("flexVolume":{"driver":"a/b","secretRef":{"name":"S"}})", "default", true},
      {R"("flexVolume":{"driver":"a/b","secretRef":{"name":"S","namespace":"drivers"}})", "drivers", true},
      {R"("rbd":{"monitors":["m"],"image":"i","secretRef":{"name":"S","namespace":"drivers"}})", "drivers",
       true},
      {R"("scaleIO":{"gateway":"g","system":"s","volumeName":"v","secretRef":{"name":"S"}})", "default",
       true},
      {R"("iscsi":{"targetPortal":"10.0.0.1:3260","iqn":"iqn.2001-04.com.example:x","lun":0,"secretRef":{"name":"S","namespace":"drivers"}})",
       "drivers", true},
      {R"("storageos":{"volumeName":"v","secretRef":{"name":"S","namespace":"drivers"}})", "drivers", true},
      {R"("csi":{"driver":"d.e","volumeHandle":"h","nodePublishSecretRef":{"name":"S","namespace":"drivers"}})",
       "drivers", true},
      {R"("csi":{"driver":"d.e","volumeHandle":"h","nodeStageSecretRef":{"name":"S","namespace":"drivers"}})",
       "drivers", true},
      {R"("csi":{"driver":"d.e","volumeHandle":"h","nodeExpandSecretRef":{"name":"S","namespace":"drivers"}})",
       "drivers", true},
      {R"("csi":{"driver":"d.e","volumeHandle":"h","controllerPublishSecretRef":{"name":"S","namespace":"drivers"}})",
       "drivers", false},
      {R"("csi":{"driver":"d.e","volumeHandle":"h","controllerExpandSecretRef":{"name":"S","namespace":"drivers"}})",
       "drivers", false}};
  const std::string unrelated = "denied: no relationship found between node 'n1' and this object";
  int number = 0;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.source);
    std::string name = "s" + std::to_string(number), volume = "pv" + std::to_string(number),
                source = row.source;
    ++number;
    source.replace(source.find("\"S\""), 3, '"' + name + '"');
    const std::string secrets = std::string("/api/v1/namespaces/") + row.secret + "/secrets";
    std::string spec = R"("spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],)" + source;
    ok(call("POST", secrets, R"({"metadata":{"name":")" + name + "\"}}"), 201);
    auto made = call("POST", "/api/v1/persistentvolumes",
                     R"({"metadata":{"name":")" + volume + R"("},)" + spec +
                         R"(,"claimRef":{"namespace":"default","name":"data"}}})");
    ok(made, 201);
    std::swap(transport_, node);
    EXPECT_EQ(asked("GET", secrets + "/" + name), row.readable ? "ok" : unrelated);
    std::swap(transport_, node);
    ok(call("DELETE", "/api/v1/persistentvolumes/" + volume));
    // The protection of volumes in use is a finalizer: without it the object is gone.
    call("PATCH", "/api/v1/persistentvolumes/" + volume, R"({"metadata":{"finalizers":null}})",
         "application/merge-patch+json");
    std::swap(transport_, node);
    EXPECT_EQ(asked("GET", secrets + "/" + name), unrelated) << "after its volume";
    std::swap(transport_, node);
  }
}

TEST_F(NodeRestrictionTest, RequestsForItsCertificates) {
  auto body = [](const std::string& name, const std::string& common_name, const std::string& signer) {
    base::tls::RequestedName wanted;
    wanted.common_name = common_name;
    wanted.organizations = {"system:nodes"};
    std::string pem = base::tls::make_signing_request(wanted).value().request_pem;
    return R"({"metadata":{"name":")" + name + R"("},"spec":{"request":")" + base::base64_encode(pem) +
           R"(","signerName":")" + signer + R"(","usages":["client auth","digital signature"]}})";
  };
  const std::string path = "/apis/certificates.k8s.io/v1/certificatesigningrequests",
                    client = "kubernetes.io/kube-apiserver-client-kubelet",
                    serving = "kubernetes.io/kubelet-serving";
  EXPECT_EQ(asked("POST", path, body("a", "system:node:n1", client)), "ok");
  EXPECT_EQ(asked("POST", path, body("b", "system:node:n2", client)),
            "can only create a node CSR with CN=system:node:n1");
  EXPECT_EQ(asked("POST", path, body("c", "system:node:n2", serving)),
            "can only create a node CSR with CN=system:node:n1");
  EXPECT_EQ(asked("POST", path, body("d", "somebody", "example.org/other")), "ok");
}

TEST_F(NodeRestrictionTest, WhoIsANode) {
  // In the group, but of no node's name: RBAC alone says what it may.
  transport_ = server_->local_transport({"robot", {"system:nodes", "system:authenticated"}});
  EXPECT_EQ(asked("GET", "/api/v1/namespaces/default/secrets/used"), "denied");
  transport_ = server_->local_transport({"robot", {"system:nodes", "system:masters"}});
  EXPECT_EQ(asked("PATCH", "/api/v1/nodes/n1", R"({"metadata":{"annotations":{"a":"b"}}})"), "ok");
  transport_ = server_->local_transport({"system:node:", {"system:nodes", "system:authenticated"}});
  EXPECT_EQ(asked("GET", "/api/v1/namespaces/default/secrets/used"),
            "denied: unknown node for user \"system:node:\"");
  transport_ = server_->local_transport({"system:node:", {"system:nodes", "system:masters"}});
  EXPECT_EQ(asked("PATCH", "/api/v1/nodes/n1", R"({"metadata":{"annotations":{"a":"c"}}})"),
            "could not determine node from user \"system:node:\"");
}

TEST_F(NodeRestrictionTest, ItsResourceSlices) {
  EXPECT_EQ(asked("POST", kSlices, slice("more", "n1")), "ok");
  EXPECT_EQ(asked("POST", kSlices, slice("theirs", "n2")),
            "can only create ResourceSlice with the same NodeName as the requesting node");
  EXPECT_EQ(asked("GET", std::string(kSlices) + "/slice-n1"), "ok");
  EXPECT_EQ(asked("GET", std::string(kSlices) + "/slice-n2"),
            "denied: no relationship found between node 'n1' and this object");
  EXPECT_EQ(asked("DELETE", std::string(kSlices) + "/slice-n2"),
            "denied: no relationship found between node 'n1' and this object");
  EXPECT_EQ(asked("GET", kSlices),
            "denied: can only list/watch/deletecollection resourceslices with nodeName field selector");
  EXPECT_EQ(asked("GET", std::string(kSlices) + "?fieldSelector=spec.nodeName%3Dn1"), "ok");
  EXPECT_EQ(asked("DELETE", std::string(kSlices) + "/slice-n1"), "ok");
}

// Those that bear its label it may follow and, once they are deleted, let go.
TEST_F(NodeRestrictionTest, ItsLocalVolumes) {
  const std::string volumes = "/api/v1/persistentvolumes";
  auto as_node = std::exchange(transport_, server_->local_transport({"admin", {"system:masters"}}));
  for (const char* node : {"n1", "n2"})
    ok(call("POST", volumes,
            std::string(R"({"metadata":{"name":"v-)") + node + R"(","labels":{"sampan.io/local-node":")" +
                node +
                R"("},"finalizers":["sampan.io/local-data"]},"spec":{"capacity":{"storage":"1Gi"},)"
                R"("accessModes":["ReadWriteOnce"],"hostPath":{"path":"/d"}}})"),
       201);
  std::swap(as_node, transport_);
  EXPECT_EQ(asked("GET", volumes), "denied: can only get individual resources of this type");
  EXPECT_EQ(asked("GET", volumes + "?labelSelector=sampan.io%2Flocal-node%3Dn1"), "ok");
  EXPECT_EQ(asked("GET", volumes + "?labelSelector=sampan.io%2Flocal-node%3Dn2"),
            "denied: can only get individual resources of this type");
  EXPECT_EQ(asked("GET", volumes + "?labelSelector=sampan.io%2Flocal-node%20in%20%28n1%2Cn2%29"),
            "denied: can only get individual resources of this type");
  EXPECT_EQ(asked("GET", volumes + "/v-n1"), "ok");
  const std::string
      no_relation = "denied: no relationship found between node 'n1' and this object",
      may_only =
          R"(node "n1" may only say how large its volumes are, and let go of the data of those that are )"
          "deleted";
  EXPECT_EQ(asked("GET", volumes + "/v-n2"), no_relation);
  const std::string let_go = R"({"metadata":{"finalizers":["kubernetes.io/pv-protection"]}})";
  EXPECT_EQ(asked("PATCH", volumes + "/v-n1", let_go), may_only);
  std::swap(as_node, transport_);
  for (const char* name : {"/v-n1", "/v-n2"}) ok(call("DELETE", volumes + name));
  std::swap(as_node, transport_);
  EXPECT_EQ(asked("PATCH", volumes + "/v-n2", let_go), no_relation);
  EXPECT_EQ(asked("PATCH", volumes + "/v-n1", R"({"metadata":{"finalizers":[]}})"), may_only);
  EXPECT_EQ(asked("PATCH", volumes + "/v-n1", R"({"metadata":{"labels":{"a":"b"}}})"), may_only);
  EXPECT_EQ(asked("PATCH", volumes + "/v-n1", R"({"spec":{"persistentVolumeReclaimPolicy":"Delete"}})"),
            may_only);
  EXPECT_EQ(asked("PATCH", volumes + "/v-n1/status", R"({"status":{"phase":"Failed"}})"),
            "denied: cannot get subresource");
  EXPECT_EQ(asked("DELETE", volumes + "/v-n1"), "denied: can only get individual resources of this type");
  EXPECT_EQ(asked("PATCH", volumes + "/v-n1", let_go), "ok");
}

TEST_F(NodeRestrictionTest, ItsLeaseAndCsiNode) {
  const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/";
  EXPECT_EQ(asked("POST", leases + "kube-node-lease/leases", R"({"metadata":{"name":"n1"}})"), "ok");
  EXPECT_EQ(asked("POST", leases + "kube-node-lease/leases", R"({"metadata":{"name":"n2"}})"),
            "can only access node lease with the same name as the requesting node");
  EXPECT_EQ(asked("POST", leases + "default/leases", R"({"metadata":{"name":"n1"}})"),
            "denied: can only access leases in the \"kube-node-lease\" system namespace");
  EXPECT_EQ(asked("GET", leases + "default/leases"),
            "denied: can only get, create, update, patch, or delete a node lease");
  EXPECT_EQ(asked("GET", leases + "kube-node-lease/leases"),
            "denied: can only get, create, update, patch, or delete a node lease");
  EXPECT_EQ(asked("POST", "/apis/storage.k8s.io/v1/csinodes",
                  R"({"metadata":{"name":"n2"},"spec":{"drivers":[{"name":"d.example.org","nodeID":"n"}]}})"),
            "can only access CSINode with the same name as the requesting node");
  EXPECT_EQ(asked("POST", "/apis/storage.k8s.io/v1/csinodes",
                  R"({"metadata":{"name":"n1"},"spec":{"drivers":[{"name":"d.example.org","nodeID":"n"}]}})"),
            "ok");
}

}  // namespace master
