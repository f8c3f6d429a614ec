// What claims and volumes say of where a Pod can be.
#include "tests/unit/master/scheduler_text.h"

namespace master::scheduler {
namespace {

namespace c = controllers;

void claim(Picture& picture, const std::string& more = "", const std::string& status = R"("phase":"Pending")",
           const std::string& mode = "ReadWriteOnce") {
  auto read = c::Claim::reader(c::kPersistentVolumeClaims);
  auto one = read(*base::parse_json(
      R"({"metadata":{"name":"data","namespace":"default","uid":"c1","annotations":{"x":"y")" +
      std::string(status.find("Bound") == status.npos ? "" : R"(,"pv.kubernetes.io/bind-completed":"yes")") +
      R"(}},"spec":{"accessModes":[")" + mode + R"("],"resources":{"requests":{"storage":"1Gi"}})" + more +
      R"(},"status":{)" + status + "}}"));
  picture.change_volumes().set_claim(one->meta.key(), one);
}
void volume(Picture& picture, const std::string& name, const std::string& node, const std::string& more = "",
            const std::string& labels = "") {
  auto read = c::Volume::reader(c::kPersistentVolumes);
  picture.change_volumes().set_volume(
      name,
      read(*base::parse_json(
          R"({"metadata":{"name":")" + name + R"(","labels":{)" + labels +
          R"(}},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"storageClassName":"s",)"
          R"("nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"host",)"
          R"("operator":"In","values":[")" +
          node + R"("]}]}]}})" + more + "}}")));
}
void storage_class(Picture& picture, const std::string& provisioner, bool waits) {
  auto read = c::StorageClass::reader(c::kStorageClasses);
  picture.change_volumes().set_class(
      "s", read(*base::parse_json(R"({"metadata":{"name":"s"},"provisioner":")" + provisioner +
                                  R"(","volumeBindingMode":")" +
                                  (waits ? "WaitForFirstConsumer" : "Immediate") + "\"}")));
}
Ask asks() { return text_ask(R"("volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data"}}])"); }
void nodes(Picture& picture) {
  picture.set_node(text_node("a host=a"));
  picture.set_node(text_node("b host=b"));
}
std::string message(const Picture& picture, const Ask& ask) {
  return choose(ask, "default/p", picture, Profile()).message;
}
const std::string kBound = R"(,"volumeName":"v","storageClassName":"s")",
                  kWaits = R"(,"storageClassName":"s")",
                  kNone = " refused for good: node(s) didn't find available persistent volumes to bind\n";

}  // namespace

TEST(SchedulerVolumes, WhatIsWrongWhereverThePodGoes) {
  Picture picture;
  nodes(picture);
  EXPECT_EQ(message(picture, asks()), "0/2 nodes are available: persistentvolumeclaim \"data\" not found.");
  claim(picture, kWaits);
  EXPECT_EQ(message(picture, asks()),
            "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
  storage_class(picture, "example.com/disks", false);
  EXPECT_EQ(message(picture, asks()),
            "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
  storage_class(picture, "example.com/disks", true);
  EXPECT_EQ(message(picture, asks()), "");
  claim(picture, kBound, R"("phase":"Lost")");
  EXPECT_EQ(message(picture, asks()),
            "0/2 nodes are available: persistentvolumeclaim \"data\" bound to non-existent persistentvolume "
            "\"v\".");
}
TEST(SchedulerVolumes, BoundVolumesKeepTheirPodsWhereTheyAre) {
  Picture picture;
  nodes(picture);
  claim(picture, kBound, R"("phase":"Bound")");
  EXPECT_EQ(
      rule_text("VolumeBinding", asks(), picture),
      "a refused for good: node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)\n"
      "b refused for good: node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)\n");
  volume(picture, "v", "b");
  EXPECT_EQ(rule_text("VolumeBinding", asks(), picture),
            "a refused for good: node(s) had volume node affinity conflict\nb fits\n");
  EXPECT_EQ(rule_text("VolumeBinding", text_ask(""), picture), "a fits\nb fits\n") << "asks for none";
}
TEST(SchedulerVolumes, FirstConsumersGoWhereAVolumeIsOrCanBeMade) {
  Picture picture;
  nodes(picture);
  storage_class(picture, "kubernetes.io/no-provisioner", true);
  claim(picture, kWaits);
  EXPECT_EQ(rule_text("VolumeBinding", asks(), picture), "a" + kNone + "b" + kNone);
  volume(picture, "v", "b");
  EXPECT_EQ(rule_text("VolumeBinding", asks(), picture), "a" + kNone + "b fits\n");
  volume(picture, "v", "b", R"(,"claimRef":{"namespace":"default","name":"other"})");
  EXPECT_EQ(rule_text("VolumeBinding", asks(), picture), "a" + kNone + "b" + kNone);
  storage_class(picture, "sampan.io/local", true);
  EXPECT_EQ(rule_text("VolumeBinding", asks(), picture), "a" + kNone + "b" + kNone) << "no agent offers them";
  json::value offers = *base::parse_json(node_json("a host=a"));
  offers.at("metadata").as_object()["annotations"] = json::object{{"sampan.io/local-volumes", "/v"}};
  EXPECT_EQ(picture.set_node(read_node(offers)), uint32_t{Change::kVolumes});
  EXPECT_EQ(rule_text("VolumeBinding", asks(), picture), "a fits\nb" + kNone);
}
// The smallest claim first, and each the smallest volume that fits: whatever their names and their order.
TEST(SchedulerVolumes, TwoClaimsOfAPodFindWhatFitsBoth) {
  Picture picture;
  nodes(picture);
  storage_class(picture, "kubernetes.io/no-provisioner", true);
  auto claims = c::Claim::reader(c::kPersistentVolumeClaims);
  for (auto [name, size] : {std::pair("big", "10Gi"), {"small", "1Gi"}}) {
    auto one = claims(*base::parse_json(
        std::string(R"({"metadata":{"name":")") + name + R"(","namespace":"default","uid":")" + name +
        R"("},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"s","resources":{"requests":{"storage":")" +
        size + R"("}}},"status":{"phase":"Pending"}})"));
    picture.change_volumes().set_claim(one->meta.key(), one);
  }
  auto volumes = c::Volume::reader(c::kPersistentVolumes);
  for (auto [name, size] : {std::pair("pa", "10Gi"), {"pb", "1Gi"}})
    picture.change_volumes().set_volume(
        name,
        volumes(*base::parse_json(std::string(R"({"metadata":{"name":")") + name +
                                  R"("},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"s",)" +
                                  R"("capacity":{"storage":")" + size + R"("}}})")));
  const char* small_first = R"("volumes":[{"name":"s","persistentVolumeClaim":{"claimName":"small"}},)"
                            R"({"name":"b","persistentVolumeClaim":{"claimName":"big"}}])";
  EXPECT_EQ(rule_text("VolumeBinding", text_ask(small_first), picture), "a fits\nb fits\n");
  const char* big_first = R"("volumes":[{"name":"b","persistentVolumeClaim":{"claimName":"big"}},)"
                          R"({"name":"s","persistentVolumeClaim":{"claimName":"small"}}])";
  EXPECT_EQ(rule_text("VolumeBinding", text_ask(big_first), picture), "a fits\nb fits\n");
}
TEST(SchedulerVolumes, AClaimForOnePodHasOne) {
  Picture picture;
  nodes(picture);
  claim(picture, kWaits, R"("phase":"Pending")", "ReadWriteOncePod");
  EXPECT_EQ(rule_text("VolumeRestrictions", asks(), picture), "a fits\nb fits\n");
  Placed other;
  other.ask = picture.share(asks());
  other.node = "a";
  other.uid = "u";
  picture.place("default/other", other);
  const std::string taken =
      " refused: node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access "
      "mode\n";
  EXPECT_EQ(rule_text("VolumeRestrictions", asks(), picture), "a" + taken + "b" + taken);
  picture.remove("default/other");
  EXPECT_EQ(rule_text("VolumeRestrictions", asks(), picture), "a fits\nb fits\n");
}
TEST(SchedulerVolumes, Zones) {
  Picture picture;
  picture.set_node(text_node("a topology.kubernetes.io/zone=x host=a"));
  picture.set_node(text_node("b topology.kubernetes.io/zone=y host=a"));
  claim(picture, kBound, R"("phase":"Bound")");
  volume(picture, "v", "a", "", R"("topology.kubernetes.io/zone":"w__x")");
  EXPECT_EQ(rule_text("VolumeZone", asks(), picture),
            "a fits\nb refused for good: node(s) had no available volume zone\n");
}
TEST(SchedulerVolumes, NodesTakeSoManyVolumesOfADriver) {
  Picture picture;
  nodes(picture);
  auto csi = [&](const std::string& name, const std::string& handle) {
    picture.change_volumes().set_volume(
        "v-" + name,
        c::Volume::reader(c::kPersistentVolumes)(*base::parse_json(
            R"({"metadata":{"name":"v-)" + name + R"("},"spec":{"csi":{"driver":"disks.example.com",)" +
            R"("volumeHandle":")" + handle + R"("}}})")));
    picture.change_volumes().set_claim(
        "default/" + name,
        c::Claim::reader(c::kPersistentVolumeClaims)(*base::parse_json(
            R"({"metadata":{"name":")" + name +
            R"(","namespace":"default","annotations":{"pv.kubernetes.io/bind-completed":"yes"}},"spec":{"volumeName":"v-)" +
            name + R"("},"status":{"phase":"Bound"}})")));
  };
  auto uses = [](const std::string& name) {
    return text_ask(R"("volumes":[{"name":"d","persistentVolumeClaim":{"claimName":")" + name + R"("}}])");
  };
  for (const char* name : {"one", "two", "three"}) csi(name, std::string("h-") + name);
  csi("again", "h-one");
  auto place = [&](const std::string& pod, const std::string& name) {
    Placed placed;
    placed.ask = picture.share(uses(name));
    placed.node = "a";
    placed.uid = pod;
    picture.place("default/" + pod, placed);
  };
  place("p1", "one");
  place("p2", "one");
  place("p3", "two");
  const std::string full = "a refused: node(s) exceed max volume count\nb fits\n", fits = "a fits\nb fits\n";
  EXPECT_EQ(rule_text("NodeVolumeLimits", uses("three"), picture), fits) << "no node says a number";
  auto limits = [&](const char* count) {
    picture.change_volumes().set_limits(
        "a",
        read_limits(*base::parse_json(
            std::string(
                R"({"spec":{"drivers":[{"name":"other"},{"name":"disks.example.com","allocatable":{"count":)") +
            count + "}}]}}")));
  };
  limits("3");
  EXPECT_EQ(rule_text("NodeVolumeLimits", uses("three"), picture), fits) << "two Pods share a volume";
  limits("2");
  EXPECT_EQ(rule_text("NodeVolumeLimits", uses("three"), picture), full);
  EXPECT_EQ(rule_text("NodeVolumeLimits", uses("two"), picture), fits) << "it is there already";
  EXPECT_EQ(rule_text("NodeVolumeLimits", uses("again"), picture), fits) << "by another claim";
  EXPECT_EQ(rule_text("NodeVolumeLimits", text_ask(""), picture), fits);
  storage_class(picture, "disks.example.com", true);
  claim(picture, kWaits);
  EXPECT_EQ(rule_text("NodeVolumeLimits", asks(), picture), full) << "one that is to be made";
  picture.remove("default/p2");
  EXPECT_EQ(rule_text("NodeVolumeLimits", uses("three"), picture), full);
  picture.remove("default/p1");
  EXPECT_EQ(rule_text("NodeVolumeLimits", uses("three"), picture), fits);
}
TEST(SchedulerVolumes, ChangesThatHelp) {
  Picture picture;
  EXPECT_TRUE(rule("VolumeBinding")->helps(asks(), {Change::kVolumes, nullptr, nullptr}));
  EXPECT_FALSE(rule("VolumeBinding")->helps(text_ask(""), {Change::kVolumes, nullptr, nullptr}));
}

}  // namespace master::scheduler
