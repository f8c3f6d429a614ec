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
  EXPECT_EQ(volume_text(R"("volumeMode":"Block","local":{"path":"/d"})"), "/d group");
  EXPECT_EQ(volume_text(R"("volumeMode":"Block","hostPath":{"path":"/d"})"),
            "PV v has volumeMode Block, which a hostPath can't be: use local");
  EXPECT_EQ(claimed_volume(read(kBound),
                           read(R"({"metadata":{"name":"v"},"spec":{"claimRef":{"uid":"other"}}})"), kHere)
                .error()
                .reason,
            "PV v is not bound to this claim");
}
// A Pod that names its node asked no scheduler.
TEST(Claims, VolumesThatAreNotForThisNode) {
  const std::string spec =
      R"("local":{"path":"/d"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":)"
      R"("zone","operator":"In","values":["a"]}]}]}})";
  auto text = [&](std::map<std::string, std::string> labels) {
    const base::json::value volume =
        read(R"({"metadata":{"name":"v"},"spec":{"claimRef":{"uid":"c1"},)" + spec + "}}");
    EXPECT_TRUE(needs_node_labels(volume));
    auto found = claimed_volume(read(kBound), volume, {"n1", "/l", std::move(labels)});
    return found.ok() ? found->path : found.error().reason;
  };
  EXPECT_EQ(text({{"zone", "a"}}), "/d");
  const std::string refused =
      R"(MountVolume.NodeAffinity check failed for volume "v" : no matching NodeSelectorTerms)";
  EXPECT_EQ(text({{"zone", "b"}}), refused);
  EXPECT_EQ(text({}), refused);
  EXPECT_EQ(volume_text(spec), refused) << "nobody asked for the labels";
}
TEST(Claims, DevicesAndFileSystemsAreUsedAsWhatTheyAre) {
  auto why = [](const std::string& container, const std::string& mode) {
    const api::Pod pod =
        api::decode<api::Pod>(
            read(R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c",)" + container + "}]}}"))
            .value();
    auto fits = check_mode(pod, "v", read(R"({"spec":{"volumeMode":")" + mode + "\"}}"));
    return fits.ok() ? "" : fits.error().reason;
  };
  const std::string mounts = R"("volumeMounts":[{"name":"v","mountPath":"/d"}])",
                    devices = R"("volumeDevices":[{"name":"v","devicePath":"/d"}])";
  EXPECT_EQ(why(mounts, "Filesystem") + why(devices, "Block"), "");
  EXPECT_EQ(why(mounts, "Block"), "volume v has volumeMode Block, but is specified in volumeMounts");
  EXPECT_EQ(why(devices, "Filesystem"),
            "volume v has volumeMode Filesystem, but is specified in volumeDevices");
}
TEST(Claims, AHostPathIsWhatItsTypeSays) {
  auto found = claimed_volume(
      read(kBound),
      read(
          R"({"metadata":{"name":"v","uid":"u"},"spec":{"claimRef":{"uid":"c1"},"hostPath":{"path":"/d","type":"File"}}})"),
      kHere);
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->is_host_path);
  EXPECT_EQ(found->host_type, "File");
  EXPECT_EQ(found->uid, "u");
  EXPECT_EQ(volume_text(R"("hostPath":{"path":"/d\u0000/e"})"), "PV v has no absolute path");
}

namespace {
// What is due after each event of a volume's life, one line each.
struct Life {
  VolumeErrand errand;
  std::string log;
  base::json::value begun;
  VolumeDue due = VolumeDue::kNothing;
  void see(const std::string& uid, int version, const std::string& more, const std::string& spec) {
    errand.see(read(
        R"({"metadata":{"name":"v","uid":")" + uid + R"(","resourceVersion":")" + std::to_string(version) +
        R"(","annotations":{"pv.kubernetes.io/provisioned-by":)" +
        R"("sampan.io/local","sampan.io/local-size":"1Gi"},"labels":{"sampan.io/local-node":"n1"})" + more +
        R"(},"spec":{"local":{"path":"/l/v"},"persistentVolumeReclaimPolicy":"Delete",)" + spec + "}}"));
    go_on();
  }
  void none() {
    errand.see(nullptr);
    go_on();
  }
  void ended(bool ok = true) {
    errand.end(due, begun, ok);
    log += ok ? "done, " : "failed, ";
    go_on();
  }
  void go_on() {
    if (errand.is_over()) return void(log += "over\n");
    const VolumeDue next = errand.next("n1", "/l");
    if (next == VolumeDue::kNothing) return;
    due = next;
    begun = errand.object();
    errand.begin();
    log +=
        std::string(to_string(due)) + " of " + std::string(base::string_at(begun, "metadata", "uid")) + "\n";
  }
};
const std::string kGoing =
                      R"(,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["sampan.io/local-data"])",
                  kSmall = R"("capacity":{"storage":"1Gi"})", kLarge = R"("capacity":{"storage":"2Gi"})";
}  // namespace

TEST(LocalVolumes, TheirLives) {
  Life grows;
  grows.see("a", 1, "", kLarge);
  grows.ended(false);
  grows.ended();
  grows.ended();
  EXPECT_EQ(grows.log, "grow of a\nfailed, grow of a\ndone, tell size of a\ndone, over\n");
  Life goes;
  goes.see("a", 1, kGoing, kSmall);
  goes.ended();
  goes.see("a", 2, kGoing + R"(,"generation":2)", kSmall);  // changed meanwhile: letting go fails once
  goes.ended(false);
  goes.ended();
  EXPECT_EQ(goes.log, "remove data of a\ndone, let go of a\nfailed, let go of a\ndone, over\n");
}
TEST(LocalVolumes, AnotherOneOfTheName) {
  Life remade;
  remade.see("a", 1, kGoing, kSmall);
  remade.none();  // somebody took the finalizer away; b is a claim's
  remade.ended();
  EXPECT_EQ(remade.log, "remove data of a\ndone, over\n") << "nothing is written to b";
  Life again;
  again.see("a", 1, kGoing, kSmall);
  again.see("b", 5, kGoing, kSmall);
  again.ended();
  again.ended();
  again.ended();
  EXPECT_EQ(again.log, "remove data of a\ndone, remove data of b\ndone, let go of b\ndone, over\n");
  Life larger;
  larger.see("a", 1, "", kLarge);
  larger.see("a", 2, "", R"("capacity":{"storage":"3Gi"})");
  larger.ended();
  larger.ended();
  larger.ended();
  EXPECT_EQ(larger.log, "grow of a\ndone, grow of a\ndone, tell size of a\ndone, over\n");
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
