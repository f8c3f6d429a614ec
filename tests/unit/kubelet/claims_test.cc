#include "kubelet/volumes/claims.h"

#include <gtest/gtest.h>

#include "api/local_volumes.h"

#include "kubelet/volumes/local_volumes.h"

namespace kubelet {
namespace {

base::json::value read(const std::string& text) { return base::parse_json(text).value(); }
api::Pod pod_with(const std::string& volumes) {
  return api::decode<api::Pod>(
             read(R"({"metadata":{"name":"p","namespace":"default","uid":"p1"},"spec":{"volumes":[)" +
                  volumes + "]}}"))
      .value();
}
const std::string
    kUnbound = R"({"metadata":{"name":"c","namespace":"default","uid":"c1"},"status":{"phase":"Pending"}})",
    kBound =
        R"({"metadata":{"name":"c","namespace":"default","uid":"c1"},"spec":{"volumeName":"v"},"status":{"phase":"Bound"}})";
const NodePlace kHere{"n1", "/root/local-volumes"};

std::string volume_text(const std::string& spec, const std::string& meta = "") {
  auto found =
      claimed_volume(read(kBound),
                     read(R"({"metadata":{"name":"v")" + meta +
                          R"(},"spec":{"claimRef":{"uid":"c1"},"capacity":{"storage":"1Gi"},)" + spec + "}}"),
                     kHere);
  if (!found.ok()) return found.error().reason;
  return found->path + (found->is_local ? " local " + std::to_string(found->size_bytes) : "") +
         (found->takes_group ? " group" : "");
}
const std::string kOurs =
    R"(,"annotations":{"pv.kubernetes.io/provisioned-by":"sampan.io/local"},"labels":{"sampan.io/local-node":"n1"})";

}  // namespace

TEST(Claims, AreThoseOfVolumesAndOfEphemeralOnes) {
  const api::Pod pod = pod_with(
      R"({"name":"a","persistentVolumeClaim":{"claimName":"c"}},{"name":"b","emptyDir":{}},{"name":"d","ephemeral":{}})");
  EXPECT_EQ(claims_of(pod), (std::map<std::string, std::string>{{"a", "c"}, {"d", "p-d"}}));
}
TEST(Claims, WhatAPodWaitsFor) {
  const api::Pod pod =
      pod_with(R"({"name":"a","persistentVolumeClaim":{"claimName":"c"}},{"name":"d","ephemeral":{}})");
  EXPECT_TRUE(check_claim(pod, "a", read(kBound)).ok());
  EXPECT_EQ(check_claim(pod, "a", read(kUnbound)).error().reason,
            "PVC default/c has non-bound phase (\"Pending\") or empty pvc.Spec.VolumeName (\"\")");
  EXPECT_EQ(
      check_claim(pod, "a", read(R"({"metadata":{"name":"c","deletionTimestamp":"2026-01-01T00:00:00Z"}})"))
          .error()
          .reason,
      "PVC is being deleted");
  EXPECT_EQ(check_claim(pod, "d", read(kBound)).error().reason,
            "PVC default/c was not created for pod default/p (pod is not owner)");
}
TEST(Claims, VolumesThisNodeCanMount) {
  EXPECT_EQ(volume_text(R"("hostPath":{"path":"/d"})"), "/d");
  EXPECT_EQ(volume_text(R"("local":{"path":"/d"})"), "/d group");
  EXPECT_EQ(volume_text(R"("local":{"path":"/root/local-volumes/v"})", kOurs),
            "/root/local-volumes/v local 1073741824 group");
}
TEST(Claims, ALocalVolumesNameIsOneThatTheMasterGives) {
  for (const char* name : {"", ".", "..", "v.new", "v.deleted", "../v", "a/b"})
    EXPECT_FALSE(api::local_volumes::is_volume_name(name)) << name;
  EXPECT_TRUE(api::local_volumes::is_volume_name("pvc-0e8f"));
}
TEST(Claims, WhatItRefuses) {
  EXPECT_EQ(volume_text(R"("local":{"path":"/etc"})", kOurs),
            "PV v is not below this node's directory /root/local-volumes");
  EXPECT_EQ(volume_text(R"("local":{"path":"/root/local-volumes/v"})",
                        R"(,"annotations":{"pv.kubernetes.io/provisioned-by":"sampan.io/local"})"),
            "PV v lies on another node");
  EXPECT_EQ(volume_text(R"("hostPath":{"path":"/a/../b"})"), "PV v has no absolute path");
  EXPECT_EQ(volume_text(R"("nfs":{"server":"s","path":"/"})"),
            "PV v is of a kind that is not supported: use hostPath, local, or a class of provisioner "
            "sampan.io/local");
  EXPECT_EQ(volume_text(R"("volumeMode":"Block","local":{"path":"/d"})"),
            "PV v has volumeMode Block, which this version of Sampan can't mount");
  EXPECT_EQ(claimed_volume(read(kBound),
                           read(R"({"metadata":{"name":"v"},"spec":{"claimRef":{"uid":"other"}}})"), kHere)
                .error()
                .reason,
            "PV v is not bound to this claim");
}
TEST(LocalVolumes, DataGoesOnlyWithADeletedVolumeOfThePolicyDelete) {
  const std::string gone = R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")",
                    held = R"(,"finalizers":["sampan.io/local-data"])",
                    used = R"(,"finalizers":["sampan.io/local-data","kubernetes.io/pv-protection"])",
                    spec = R"("local":{"path":"/l/v"},"persistentVolumeReclaimPolicy":)";
  auto due = [](const std::string& meta, const std::string& of) {
    return due_of(read(R"({"metadata":{"name":"v")" + meta + R"(},"spec":{)" + of + "}}"), "n1", "/l");
  };
  EXPECT_EQ(due(kOurs + held, spec + R"("Delete")"), VolumeDue::kNothing);
  EXPECT_EQ(due(kOurs + used + gone, spec + R"("Delete")"), VolumeDue::kNothing) << "a claim has it";
  EXPECT_EQ(due(kOurs + held + gone, spec + R"("Delete")"), VolumeDue::kRemoveData);
  EXPECT_EQ(due(kOurs + held + gone, spec + R"("Retain")"), VolumeDue::kLetGo);
  EXPECT_EQ(due(kOurs + held + gone, R"("local":{"path":"/etc"},"persistentVolumeReclaimPolicy":"Delete")"),
            VolumeDue::kLetGo)
      << "not where ours lie";
  EXPECT_EQ(due(held + gone, spec + R"("Delete")"), VolumeDue::kNothing) << "another node's";
  EXPECT_EQ(due(kOurs + gone, spec + R"("Delete")"), VolumeDue::kNothing) << "let go already";
}

}  // namespace kubelet
