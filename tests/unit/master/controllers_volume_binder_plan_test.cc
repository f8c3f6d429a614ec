#include "master/controllers/volume_binder_plan.h"

#include <gtest/gtest.h>

#include "api/local_volumes.h"
#include "master/controllers/ephemeral_volume_controller.h"
#include "master/controllers/volume_protection_controller.h"

namespace master::controllers {
namespace {

constexpr base::Time kAt{std::chrono::seconds(1800000000)};

template <typename T>
std::shared_ptr<const T> read(const api::Resource& resource, const std::string& text) {
  auto object = base::parse_json(text);
  EXPECT_TRUE(object.ok()) << text;
  return T::reader(resource)(*object);
}
// metadata and spec as JSON members; the claim is default/c with uid c1 and asks for 1Gi, ReadWriteOnce.
std::shared_ptr<const Claim> claim(const std::string& spec = "", const std::string& meta = "",
                                   const std::string& status = R"("phase":"Pending")") {
  return read<Claim>(
      kPersistentVolumeClaims,
      R"({"metadata":{"name":"c","namespace":"default","uid":"c1","resourceVersion":"7")" + meta +
          R"(},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}})" + spec +
          R"(},"status":{)" + status + "}}");
}
std::shared_ptr<const Volume> volume(const std::string& name, const std::string& size = "1Gi",
                                     const std::string& spec = "", const std::string& meta = "",
                                     const std::string& phase = "Available",
                                     const std::string& modes = R"("ReadWriteOnce")") {
  return read<Volume>(kPersistentVolumes, R"({"metadata":{"name":")" + name + R"(","uid":"u-)" + name +
                                              R"(","resourceVersion":"9")" + meta +
                                              R"(},"spec":{"accessModes":[)" + modes +
                                              R"(],"capacity":{"storage":")" + size + "\"}" + spec +
                                              R"(},"status":{"phase":")" + phase + "\"}}");
}
std::shared_ptr<const StorageClass> storage_class(const std::string& more = "",
                                                  const std::string& provisioner = "sampan.io/local") {
  return read<StorageClass>(
      kStorageClasses, R"({"metadata":{"name":"local"},"provisioner":")" + provisioner + "\"" + more + "}");
}
std::shared_ptr<const Node> node(const std::string& name, const std::string& more = "") {
  return read<Node>(api::resources::nodes,
                    R"({"metadata":{"name":")" + name + R"(","labels":{"kubernetes.io/hostname":"h-)" + name +
                        R"("},"annotations":{"sampan.io/local-volumes":"/v"}},"spec":{)" + more +
                        R"(},"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
}
const std::string
    kOurs = R"(,"claimRef":{"namespace":"default","name":"c","uid":"c1"})",
    kOthers = R"(,"claimRef":{"namespace":"default","name":"c","uid":"old"})",
    kLocalClass = R"(,"storageClassName":"local")",
    kProvisioned = R"(,"annotations":{"volume.kubernetes.io/storage-provisioner":"sampan.io/local",)"
                   R"("volume.beta.kubernetes.io/storage-provisioner":"sampan.io/local"})",
    kBoundClaim =
        R"(,"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"})";

std::string plan(std::shared_ptr<const Claim> of, std::vector<std::shared_ptr<const Volume>> volumes = {},
                 std::shared_ptr<const StorageClass> cls = nullptr,
                 std::vector<std::shared_ptr<const Node>> nodes = {}) {
  ClaimView view;
  view.claim = of;
  view.storage_class = cls;
  view.nodes = std::move(nodes);
  view.now = kAt;
  for (auto& one : volumes)
    if (one->meta.name == of->volume) view.named = one;
  if (of->volume.empty()) view.volumes = std::move(volumes);
  return plan_claim(view).text();
}
std::string plan(std::shared_ptr<const Volume> of, std::shared_ptr<const Claim> its = nullptr,
                 bool claim_is_gone = false, bool node_is_gone = false) {
  return plan_volume({of, its, claim_is_gone, node_is_gone, kAt}).text();
}
constexpr const char* kNone =
    "event Normal FailedBinding: no persistent volumes available for this claim and no storage class is "
    "set\n";

}  // namespace

TEST(VolumeBinderPlan, TheSmallestThatFits) {
  EXPECT_EQ(plan(claim()), kNone);
  EXPECT_EQ(plan(claim(), {volume("small", "512Mi"), volume("large", "9Gi"), volume("fits", "2Gi")}),
            "volume fits: bind to default/c\n");
  EXPECT_EQ(plan(claim(), {volume("b"), volume("a")}), "volume a: bind to default/c\n");
  EXPECT_EQ(plan(claim(), {volume("more", "1Gi", "", "", "Available", R"("ReadWriteOnce","ReadOnlyMany")"),
                           volume("exact", "5Gi")}),
            "volume exact: bind to default/c\n")
      << "the fewest modes too many come first";
}
TEST(VolumeBinderPlan, WhatDoesNotFit) {
  EXPECT_EQ(plan(claim(), {volume("v", "1Gi", R"(,"storageClassName":"fast")")}), kNone);
  EXPECT_EQ(plan(claim(), {volume("v", "1Gi", R"(,"volumeMode":"Block")")}), kNone);
  EXPECT_EQ(plan(claim(), {volume("v", "1Gi", "", "", "Available", R"("ReadOnlyMany")")}), kNone);
  EXPECT_EQ(plan(claim(), {volume("v", "1Gi", kOthers)}), kNone) << "another's, who had the same name";
  EXPECT_EQ(plan(claim(), {volume("v", "1Gi", "", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")")}), kNone);
  const std::string wants = R"(,"selector":{"matchLabels":{"disk":"ssd"}})";
  EXPECT_EQ(plan(claim(wants), {volume("v")}), kNone);
  EXPECT_EQ(plan(claim(wants), {volume("v", "1Gi", "", R"(,"labels":{"disk":"ssd"})")}),
            "volume v: bind to default/c\n");
  EXPECT_EQ(plan(claim(R"(,"selector":{})"), {volume("v")}), "volume v: bind to default/c\n");
}
TEST(VolumeBinderPlan, FourWritesEachOfWhichMayBeTheLastBeforeACrash) {
  EXPECT_EQ(plan(claim(), {volume("v", "2Gi")}), "volume v: bind to default/c\n");
  EXPECT_EQ(plan(claim(), {volume("v", "2Gi", kOurs)}), "volume v: phase Bound\n");
  EXPECT_EQ(plan(claim(), {volume("v", "2Gi", kOurs, "", "Bound")}), "claim default/c: bind to v\n");
  auto half = claim(R"(,"volumeName":"v")", kBoundClaim);
  EXPECT_EQ(plan(half, {volume("v", "2Gi", kOurs, "", "Bound")}), "claim default/c: phase Bound\n");
  auto whole = claim(R"(,"volumeName":"v")", kBoundClaim,
                     R"("phase":"Bound","accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"})");
  EXPECT_EQ(plan(whole, {volume("v", "2Gi", kOurs, "", "Bound")}), "")
      << "the capacity of a bound claim is for who has made it larger to say";
  ClaimView view;
  view.claim = claim();
  view.volumes = {volume("v")};
  EXPECT_EQ(
      base::to_json(plan_claim(view).write->body),
      R"({"metadata":{"annotations":{"pv.kubernetes.io/bound-by-controller":"yes"}},"spec":{"claimRef":)"
      R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","namespace":"default","name":"c","uid":"c1",)"
      R"("resourceVersion":"7"}}})");
}
TEST(VolumeBinderPlan, WhatUsersBoundBefore) {
  const std::string by_name = R"(,"claimRef":{"namespace":"default","name":"c"})";
  EXPECT_EQ(plan(claim(), {volume("a"), volume("v", "5Gi", by_name)}), "volume v: bind to default/c\n");
  EXPECT_EQ(plan(claim(), {volume("a"), volume("v", "1Mi", by_name)}), "volume a: bind to default/c\n")
      << "too small for who it is reserved for";
  auto named = claim(R"(,"volumeName":"v")");
  EXPECT_EQ(plan(named), "") << "comes later, perhaps";
  EXPECT_EQ(plan(named, {volume("v")}), "volume v: bind to default/c\n");
  EXPECT_EQ(plan(named, {volume("v", "1Gi", by_name)}), "volume v: bind to default/c\n");
  EXPECT_EQ(
      plan(named, {volume("v", "1Mi")}),
      "event Warning VolumeMismatch: Cannot bind to requested volume \"v\": requested PV is too small\n");
  EXPECT_EQ(plan(named, {volume("v", "1Gi", R"(,"storageClassName":"x")")}),
            "event Warning VolumeMismatch: Cannot bind to requested volume \"v\": storageClassName does not "
            "match\n");
  EXPECT_EQ(plan(named, {volume("v", "1Gi", kOthers)}),
            "event Warning FailedBinding: volume \"v\" already bound to a different claim.\n");
}
TEST(VolumeBinderPlan, LostClaims) {
  EXPECT_EQ(plan(claim("", kBoundClaim, R"("phase":"Bound")")),
            "claim default/c: phase Lost\nthen event Warning ClaimLost: Bound claim has lost reference to "
            "PersistentVolume. Data on the volume is lost!\n");
  auto bound = claim(R"(,"volumeName":"v")", kBoundClaim, R"("phase":"Bound","capacity":{"storage":"1Gi"})");
  EXPECT_EQ(plan(bound),
            "claim default/c: phase Lost\nthen event Warning ClaimLost: Bound claim has lost its "
            "PersistentVolume. Data on the volume is lost!\n");
  EXPECT_EQ(plan(bound, {volume("v", "1Gi", kOthers)}),
            "claim default/c: phase Lost\nthen event Warning ClaimMisbound: Two claims are bound to the same "
            "volume, this one is bound incorrectly\n");
  EXPECT_EQ(plan(bound, {volume("v")}), "volume v: bind to default/c\n") << "somebody took its claimRef away";
}
TEST(VolumeBinderPlan, ClassesAndTheDefaultOne) {
  ClaimView view;
  view.claim = claim();
  view.by_default = storage_class();
  EXPECT_EQ(plan_claim(view).text(), "claim default/c: class local\n") << "also long after it was made";
  view.claim = claim(R"(,"storageClassName":"")");
  EXPECT_EQ(plan_claim(view).text(), kNone);
  EXPECT_EQ(plan(claim(kLocalClass)),
            "event Warning ProvisioningFailed: storageclass.storage.k8s.io \"local\" not found\n");
  EXPECT_EQ(
      plan(claim(kLocalClass), {}, storage_class("", "kubernetes.io/no-provisioner")),
      "event Warning ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner\n");
  EXPECT_EQ(plan(claim(kLocalClass), {}, storage_class("", "example.com/disks")),
            "claim default/c: provisioner example.com/disks\n");
  EXPECT_EQ(plan(claim(kLocalClass,
                       R"(,"annotations":{"volume.kubernetes.io/storage-provisioner":"example.com/disks",)"
                       R"("volume.beta.kubernetes.io/storage-provisioner":"example.com/disks"})"),
                 {}, storage_class("", "example.com/disks")),
            "event Normal ExternalProvisioning: Waiting for a volume to be created either by the external "
            "provisioner 'example.com/disks' or manually by the system administrator. If volume creation is "
            "delayed, please verify that the provisioner is running and correctly registered.\n");
}
TEST(VolumeBinderPlan, FirstConsumers) {
  const std::string waits = R"(,"volumeBindingMode":"WaitForFirstConsumer")";
  EXPECT_EQ(plan(claim(kLocalClass), {volume("v", "1Gi", kLocalClass)}, storage_class(waits), {node("n1")}),
            "event Normal WaitForFirstConsumer: waiting for first consumer to be created before binding\n");
  ClaimView view;
  view.claim = claim(kLocalClass);
  view.storage_class = storage_class(waits);
  view.waiting_pods = {"p"};
  EXPECT_EQ(plan_claim(view).text(), "event Normal WaitForPodScheduled: waiting for pod p to be scheduled\n");
  view.waiting_pods = {"q", "p"};
  EXPECT_EQ(plan_claim(view).text(),
            "event Normal WaitForPodScheduled: waiting for pods p,q to be scheduled\n");
  view.consumer_node = "n3";
  EXPECT_EQ(plan_claim(view).text(), "claim default/c: selected node n3\n");
  const std::string selected =
      R"(,"annotations":{"volume.kubernetes.io/storage-provisioner":"sampan.io/local",)"
      R"("volume.beta.kubernetes.io/storage-provisioner":"sampan.io/local","volume.kubernetes.io/selected-node":"n2"})";
  EXPECT_EQ(
      plan(claim(kLocalClass, selected), {}, storage_class(waits), {node("n1"), node("n2")}),
      "volume pvc-c1: create for default/c on n2\nthen event Normal ProvisioningSucceeded: Successfully "
      "provisioned volume pvc-c1 using sampan.io/local\n");
  EXPECT_EQ(plan(claim(kLocalClass, selected), {}, storage_class(waits), {node("n1")}),
            "event Warning ProvisioningFailed: Failed to provision volume with StorageClass \"local\": node "
            "\"n2\" not found\nclaim default/c: forget the selected node\n");
  auto bare = std::make_shared<Node>(*node("n2"));
  bare->local_volumes.clear();
  EXPECT_EQ(plan(claim(kLocalClass, selected), {}, storage_class(waits), {node("n1"), bare}),
            "event Warning ProvisioningFailed: Failed to provision volume with StorageClass \"local\": node "
            "\"n2\" offers no local volumes\nclaim default/c: forget the selected node\n");
}
TEST(VolumeBinderPlan, LocalVolumes) {
  auto wants = claim(kLocalClass, kProvisioned);
  EXPECT_EQ(plan(claim(kLocalClass), {}, storage_class(), {node("n1")}),
            "claim default/c: provisioner sampan.io/local\n");
  EXPECT_EQ(
      plan(wants, {}, storage_class(), {node("n1", R"("unschedulable":true)")}),
      "event Warning ProvisioningFailed: Failed to provision volume with StorageClass \"local\": no node "
      "that is ready offers local volumes\n");
  ClaimView view;
  view.claim = wants;
  view.storage_class = storage_class();
  view.nodes = {node("n1"), node("n2")};
  view.volumes_on = {{"n1", 2}, {"n2", 1}};
  VolumePlan made = plan_claim(view);
  EXPECT_EQ(
      base::to_json(made.write->body),
      R"({"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"pvc-c1","annotations":)"
      R"({"pv.kubernetes.io/provisioned-by":"sampan.io/local","pv.kubernetes.io/bound-by-controller":"yes",)"
      R"("sampan.io/local-size":"1Gi"},"labels":{"sampan.io/local-node":"n2"},"finalizers":["sampan.io/local-data"]},"spec":{"capacity":)"
      R"({"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"persistentVolumeReclaimPolicy":"Delete",)"
      R"("storageClassName":"local","volumeMode":"Filesystem","local":{"path":"/v/pvc-c1"},"nodeAffinity":)"
      R"({"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In",)"
      R"("values":["h-n2"]}]}]}},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","namespace":)"
      R"("default","name":"c","uid":"c1","resourceVersion":"7"}}})");
  view.claim = claim(kLocalClass + R"(,"volumeMode":"Block")", kProvisioned);
  EXPECT_NE(base::to_json(plan_claim(view).write->body).find(R"("volumeMode":"Block")"), std::string::npos);
}
// The claim asks for 2Gi and is bound to a volume of 1Gi; what a round writes is what the next one sees.
TEST(VolumeBinderPlan, AClaimGrowsStepByStep) {
  auto bound = [](const std::string& request, const std::string& status) {
    auto one = std::make_shared<Claim>(
        *claim(R"(,"volumeName":"v")", kBoundClaim,
               R"("phase":"Bound","accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"})" + status));
    one->request_text = request;
    one->request = *api::Quantity::parse(request);
    return one;
  };
  auto sized = [](const std::string& capacity, const std::string& told,
                  const std::string& by = "sampan.io/local") {
    return volume("v", capacity, kOurs,
                  R"(,"annotations":{"pv.kubernetes.io/provisioned-by":")" + by +
                      R"(","sampan.io/local-size":")" + told + "\"}",
                  "Bound");
  };
  auto condition = [](const char* type) {
    return std::string(R"(,"conditions":[{"type":"Odd","status":"True"},{"type":")") + type +
           R"(","status":"True"}])";
  };
  const std::string asked =
      R"(,"allocatedResources":{"storage":"2Gi"},"allocatedResourceStatuses":{"storage":")";
  EXPECT_EQ(plan(bound("1Gi", ""), {sized("1Gi", "1Gi")}), "");
  EXPECT_EQ(plan(bound("2Gi", ""), {sized("1Gi", "1Gi")}),
            "claim default/c: resizing to 2Gi\n"
            "then event Normal Resizing: External resizer is resizing volume v\n");
  const std::string resizing = asked + R"(ControllerResizeInProgress"})" + condition("Resizing");
  EXPECT_EQ(plan(bound("2Gi", resizing), {sized("1Gi", "1Gi")}), "volume v: capacity 2Gi\n");
  EXPECT_EQ(plan(bound("3Gi", resizing), {sized("1Gi", "1Gi")}),
            "claim default/c: resizing to 3Gi\n"
            "then event Normal Resizing: External resizer is resizing volume v\n")
      << "more was asked for meanwhile";
  EXPECT_EQ(plan(bound("2Gi", resizing), {sized("2Gi", "1Gi")}),
            "claim default/c: file system resize pending\n"
            "then event Normal FileSystemResizeRequired: Require file system resize of volume on node\n");
  const std::string pending = asked + R"(NodeResizePending"})" + condition("FileSystemResizePending");
  EXPECT_EQ(plan(bound("2Gi", pending), {sized("2Gi", "1Gi")}), "") << "its node's turn";
  EXPECT_EQ(plan(bound("2Gi", pending), {sized("2Gi", "2Gi")}),
            "claim default/c: capacity 2Gi\nthen event Normal FileSystemResizeSuccessful: "
            "MountVolume.NodeExpandVolume succeeded for volume \"v\"\n");
  ClaimView view;
  view.claim = bound("2Gi", pending);
  view.named = sized("2Gi", "2Gi");
  EXPECT_EQ(
      base::to_json(plan_claim(view).write->body),
      R"({"status":{"capacity":{"storage":"2Gi"},"allocatedResources":{"storage":"2Gi"},)"
      R"("allocatedResourceStatuses":{"storage":null},"conditions":[{"type":"Odd","status":"True"}]}})");
  EXPECT_EQ(plan(bound("1Gi", resizing), {sized("1Gi", "1Gi")}).substr(0, 33),
            "claim default/c: capacity 1Gi\nthe")
      << "taken back before anything was done";
  EXPECT_EQ(plan(bound("17Ti", ""), {sized("1Gi", "1Gi")}),
            "event Warning VolumeResizeFailed: requested 17Ti, and a volume of sampan.io/local holds 15Ti at "
            "most\n");
  EXPECT_EQ(plan(bound("2Gi", ""), {sized("1Gi", "1Gi", "example.com/disks")}),
            "event Normal ExternalExpanding: waiting for an external controller to expand this PVC\n");
}
TEST(VolumeBinderPlan, VolumesFollowTheirClaims) {
  EXPECT_EQ(plan(volume("v", "1Gi", "", "", "Pending")), "volume v: phase Available\n");
  EXPECT_EQ(plan(volume("v", "1Gi", R"(,"claimRef":{"namespace":"default","name":"c"})", "", "Pending")),
            "volume v: phase Available\n");
  EXPECT_EQ(plan(volume("v", "1Gi", kOurs), claim(R"(,"volumeName":"v")")), "volume v: phase Bound\n");
  EXPECT_EQ(plan(volume("v", "1Gi", kOurs), claim()), "") << "the claim's round binds it";
  EXPECT_EQ(
      plan(volume("v", "1Gi", kOurs, R"(,"annotations":{"pv.kubernetes.io/bound-by-controller":"yes"})"),
           claim(R"(,"volumeName":"w")")),
      "volume v: unbind from default/c\n");
  EXPECT_EQ(plan(volume("v", "1Gi", kOurs), claim(R"(,"volumeName":"w")")),
            "volume v: forget the uid of default/c\n");
}
TEST(VolumeBinderPlan, WhatBecomesOfAVolumeWithoutItsClaim) {
  auto at = [&](const std::string& policy, const std::string& phase, const std::string& meta = "") {
    return volume("v", "1Gi", kOthers + R"(,"persistentVolumeReclaimPolicy":")" + policy + "\"", meta, phase);
  };
  const std::string local = R"(,"annotations":{"pv.kubernetes.io/provisioned-by":"sampan.io/local"})";
  for (auto its : {std::shared_ptr<const Claim>(), claim()}) {
    VolumeView view{at("Delete", "Bound", local), its, false, false, kAt};
    EXPECT_TRUE(needs_proof(view));
    EXPECT_EQ(plan_volume(view).text(), "") << "nobody has said yet that there is none";
    EXPECT_EQ(plan(at("Delete", "Bound", local), its, true), "volume v: phase Released\n");
    EXPECT_EQ(plan(at("Delete", "Released", local), its, true), "volume v: delete\n");
    EXPECT_EQ(plan(at("Retain", "Released", local), its, true), "");
  }
  EXPECT_EQ(
      plan(at("Delete", "Released"), nullptr, true),
      "volume v: phase Failed\nthen event Warning VolumeFailedDelete: error getting deleter volume plugin "
      "for volume \"v\": no deletable volume plugin matched\n");
  EXPECT_EQ(plan(at("Delete", "Released",
                    R"(,"annotations":{"pv.kubernetes.io/provisioned-by":"example.com/disks"})"),
                 nullptr, true),
            "")
      << "its provisioner deletes it";
  EXPECT_EQ(
      plan(at("Recycle", "Released"), nullptr, true),
      "volume v: phase Failed\nthen event Warning VolumeFailedRecycle: No recycler plugin found for the "
      "volume!\n");
  const std::string going =
      R"(,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["sampan.io/local-data"])" + local;
  EXPECT_EQ(plan(at("Delete", "Released", going), nullptr, true), "");
  EXPECT_EQ(plan(at("Delete", "Released", going), nullptr, true, true),
            "volume v: let go, its node is gone\n");
}
TEST(VolumeProtection, FinalizersWhileInUse) {
  EXPECT_EQ(plan_claim_protection(*claim(), false).text(), "claim default/c: protect\n");
  const std::string has = R"(,"finalizers":["a.io/x","kubernetes.io/pvc-protection"])",
                    going = R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")";
  EXPECT_EQ(plan_claim_protection(*claim("", has), false).text(), "");
  EXPECT_EQ(plan_claim_protection(*claim("", has + going), true).text(), "");
  VolumePlan plan = plan_claim_protection(*claim("", has + going), false);
  EXPECT_EQ(base::to_json(plan.write->body), R"({"metadata":{"finalizers":["a.io/x"]}})");
  EXPECT_EQ(plan_claim_protection(*claim("", going), false).text(), "") << "too late to protect";
  const std::string kept = R"(,"finalizers":["kubernetes.io/pv-protection"])";
  EXPECT_EQ(plan_volume_protection(*volume("v", "1Gi", "", kept + going, "Bound")).text(), "");
  EXPECT_EQ(plan_volume_protection(*volume("v", "1Gi", "", kept + going, "Released")).text(),
            "volume v: let go\n");
}
TEST(EphemeralVolumes, ClaimsAreTheirPods) {
  auto pod = Pod::reader(api::resources::pods)(*base::parse_json(
      R"({"metadata":{"name":"p","namespace":"default","uid":"p1"},"spec":{"volumes":[)"
      R"({"name":"a","persistentVolumeClaim":{"claimName":"c"}},{"name":"b","emptyDir":{}},)"
      R"({"name":"d","ephemeral":{"volumeClaimTemplate":{"metadata":{"labels":{"x":"y"}},)"
      R"("spec":{"accessModes":["ReadWriteOnce"]}}}}]}})"));
  ASSERT_TRUE(pod->volumes);
  EXPECT_EQ(pod->volumes->claims, (std::vector<std::string>{"c", "p-d"}));
  EXPECT_EQ(
      base::to_json(claim_of_pod(*pod, pod->volumes->ephemeral.at(0))),
      R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"p-d","namespace":"default",)"
      R"("ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"p1","controller":true,)"
      R"("blockOwnerDeletion":true}],"labels":{"x":"y"}},"spec":{"accessModes":["ReadWriteOnce"]}})");
  EXPECT_FALSE(is_claim_of(*claim(), *pod));
  EXPECT_FALSE(keeps_claims(*pod)) << "no node has it yet";
}
TEST(LocalVolumes, ANodesLabelHasRoomForEveryName) {
  EXPECT_EQ(api::local_volumes::node_label("n1"), "n1");
  const std::string a(200, 'a'), b = a + "b";
  EXPECT_EQ(api::local_volumes::node_label(a).size(), 63u);
  EXPECT_NE(api::local_volumes::node_label(a), api::local_volumes::node_label(b));
}

}  // namespace master::controllers
