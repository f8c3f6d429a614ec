// Claims and volumes with the real controllers over many seeds: users who make and delete claims and volumes
// while requests and answers are lost and views lag. The scheduler's and the node agents' parts are played.
#include "master/controllers/volumes.h"
#include "api/local_volumes.h"
#include "tests/sim/cluster.h"

namespace simulated {
namespace r = api::resources;
namespace names = api::local_volumes;
using base::find_path;
using base::string_at;
using master::controllers::kPersistentVolumeClaims;
using master::controllers::kPersistentVolumes;
using master::controllers::kStorageClasses;

namespace {

struct World {
  explicit World(uint64_t seed) : cluster(seed), random(seed + 7) {
    make_class("soon", "Delete", false);
    make_class("kept", "Retain", false);
    make_class("later", "Delete", true);
    for (const std::string& node : cluster.node_names) {
      cluster.merge(r::nodes, "", node,
                    json::object{{"metadata", {{"annotations", {{names::kDirectoryAnnotation, "/v"}}}}}});
      disks[node];
    }
  }
  void make_class(const char* name, const char* policy, bool waits) {
    cluster.create(kStorageClasses, "",
                   json::object{{"apiVersion", "storage.k8s.io/v1"},
                                {"kind", "StorageClass"},
                                {"metadata", {{"name", name}}},
                                {"provisioner", names::kProvisioner},
                                {"reclaimPolicy", policy},
                                {"volumeBindingMode", waits ? "WaitForFirstConsumer" : "Immediate"}});
  }
  void make_claim(const std::string& name, const std::string& storage_class,
                  const std::string& size = "1Gi") {
    cluster.create(
        kPersistentVolumeClaims, "default",
        json::object{
            {"apiVersion", "v1"},
            {"kind", "PersistentVolumeClaim"},
            {"metadata", {{"name", name}, {"finalizers", json::array{"kubernetes.io/pvc-protection"}}}},
            {"spec",
             {{"storageClassName", storage_class},
              {"accessModes", json::array{"ReadWriteOnce"}},
              {"resources", {{"requests", {{"storage", size}}}}}}},
            {"status", {{"phase", "Pending"}}}});
  }
  void make_volume(const std::string& name, const std::string& policy) {
    cluster.create(kPersistentVolumes, "",
                   json::object{{"apiVersion", "v1"},
                                {"kind", "PersistentVolume"},
                                {"metadata", {{"name", name}}},
                                {"spec",
                                 {{"accessModes", json::array{"ReadWriteOnce"}},
                                  {"capacity", {{"storage", "2Gi"}}},
                                  {"storageClassName", "static"},
                                  {"persistentVolumeReclaimPolicy", policy},
                                  {"hostPath", {{"path", "/data"}}}}},
                                {"status", {{"phase", "Pending"}}}});
    static_volumes.insert(name);
  }
  int upto(int n) { return static_cast<int>(random() % static_cast<uint64_t>(n + 1)); }

  // What scheduler and node agents do: choose a node for claims that wait, keep data, remove that of volumes
  // that go.
  void play() {
    for (const json::object& claim : cluster.list(kPersistentVolumeClaims)) {
      const json::value c(claim);
      if (string_at(c, "spec", "storageClassName") == "later" && string_at(c, "spec", "volumeName").empty() &&
          string_at(c, "metadata", "annotations", "volume.kubernetes.io/selected-node").empty())
        cluster.merge(kPersistentVolumeClaims, "default", string_at(c, "metadata", "name"),
                      json::object{{"metadata",
                                    {{"annotations", {{"volume.kubernetes.io/selected-node", "node-1"}}}}}});
    }
    for (const json::object& volume : cluster.list(kPersistentVolumes)) {
      const json::value v(volume);
      const std::string name(string_at(v, "metadata", "name")),
          node(string_at(v, "metadata", "labels", names::kNodeLabel));
      if (node.empty()) continue;
      ASSERT_TRUE(disks.count(node));
      if (string_at(v, "metadata", "deletionTimestamp").empty()) {
        if (string_at(v, "status", "phase") == "Bound") disks[node].insert(name);
        continue;
      }
      if (string_at(v, "spec", "persistentVolumeReclaimPolicy") == "Delete") disks[node].erase(name);
      json::array rest;
      for (const json::value& one : find_path(v, "metadata", "finalizers")->get_array())
        if (base::as_string(&one) != names::kDataFinalizer) rest.push_back(one);
      cluster.merge(kPersistentVolumes, "", name,
                    json::object{{"metadata", {{"finalizers", std::move(rest)}}}});
    }
  }
  // At any time.
  void check() {
    std::map<std::string, std::string> holder;
    for (const json::object& claim : cluster.list(kPersistentVolumeClaims)) {
      const json::value c(claim);
      const std::string volume(string_at(c, "spec", "volumeName"));
      if (volume.empty()) continue;
      auto [at, fresh] = holder.emplace(volume, string_at(c, "metadata", "name"));
      EXPECT_TRUE(fresh) << volume << " has two claims: " << at->second << " and "
                         << string_at(c, "metadata", "name");
      if (string_at(c, "status", "phase") != "Bound") continue;
      const json::object* its = cluster.get(kPersistentVolumes, "", volume);
      ASSERT_TRUE(its) << volume;
      EXPECT_EQ(string_at(json::value(*its), "spec", "claimRef", "uid"), string_at(c, "metadata", "uid"));
      EXPECT_TRUE(string_at(json::value(*its), "metadata", "deletionTimestamp").empty())
          << "the volume of a bound claim is deleted";
    }
    for (const std::string& name : static_volumes)
      EXPECT_TRUE(cluster.get(kPersistentVolumes, "", name)) << name << " is no one's to delete";
    for (const std::string& name : kept)
      EXPECT_TRUE(cluster.get(kPersistentVolumes, "", name)) << name << " is to be kept";
    for (const json::object& volume : cluster.list(kPersistentVolumes))
      if (string_at(json::value(volume), "spec", "storageClassName") == "kept")
        kept.emplace(string_at(json::value(volume), "metadata", "name"));
  }
  bool settled() {
    for (const json::object& claim : cluster.list(kPersistentVolumeClaims)) {
      const json::value c(claim);
      if (!string_at(c, "metadata", "deletionTimestamp").empty()) return false;
      if (string_at(c, "spec", "storageClassName") != "static" && string_at(c, "status", "phase") != "Bound")
        return false;
    }
    size_t ours = 0, claims = 0, on_disk = 0;
    for (const json::object& volume : cluster.list(kPersistentVolumes)) {
      const json::value v(volume);
      if (!string_at(v, "metadata", "deletionTimestamp").empty()) return false;
      const std::string_view phase = string_at(v, "status", "phase"),
                             kind = string_at(v, "spec", "storageClassName");
      ours += kind == "soon" || kind == "later";
      if (phase == "Pending" || phase.empty()) return false;
    }
    for (const json::object& claim : cluster.list(kPersistentVolumeClaims)) {
      const std::string kind(string_at(json::value(claim), "spec", "storageClassName"));
      claims += kind == "soon" || kind == "later";
    }
    for (const auto& [node, disk] : disks)
      for (const std::string& name : disk) on_disk += !kept.count(name);
    return ours == claims && on_disk == claims;
  }

  std::string text() {
    std::string out;
    for (const auto* kind : {&kPersistentVolumeClaims, &kPersistentVolumes})
      for (const json::object& object : cluster.list(*kind)) out += base::to_json(object) + "\n";
    for (const auto& [node, disk] : disks)
      for (const std::string& name : disk) out += node + " has " + name + "\n";
    return out;
  }

  Cluster cluster;
  std::mt19937_64 random;
  std::map<std::string, std::set<std::string>> disks;
  std::set<std::string> static_volumes, kept;
};

}  // namespace

TEST(SimVolumes, EveryClaimHasAVolumeOfItsOwnWhateverIsLost) {
  each_seed(8, [](uint64_t seed) {
    World world(seed);
    Cluster& server = world.cluster;
    server.network.fail_before = server.network.fail_after = 0.1;
    int claims = 0, volumes = 0;
    for (int round = 0; round < 40 && !::testing::Test::HasFailure(); ++round) {
      server.pass(5s);
      switch (world.upto(4)) {
        case 0:
        case 1: {
          const char* kinds[] = {"soon", "kept", "later", "static"};
          world.make_claim("c" + std::to_string(world.upto(8)), kinds[world.upto(3)]);
          ++claims;
          break;
        }
        case 2:
          if (volumes < 5)
            world.make_volume("s" + std::to_string(volumes++), world.upto(1) ? "Retain" : "Delete");
          break;
        case 3: server.remove(kPersistentVolumeClaims, "default", "c" + std::to_string(world.upto(8))); break;
        default: break;
      }
      if (world.upto(1)) world.cluster.settle();
      if (world.upto(1)) world.play();
      world.check();
    }
    server.network.fail_before = server.network.fail_after = 0;
    for (int round = 0; round < 300 && !(world.settled() && round > 5); ++round) {
      server.pass(5s);
      world.cluster.settle();
      world.play();
      world.check();
    }
    EXPECT_TRUE(world.settled()) << world.text();
    EXPECT_GT(claims, 5);
  });
}

TEST(SimVolumes, AClaimStaysWhileAPodOfANodeUsesIt) {
  World world(0);
  Cluster& server = world.cluster;
  world.make_claim("c", "soon");
  json::object pod{{"metadata", {{"name", "p"}}},
                   {"spec",
                    {{"nodeName", "node-0"},
                     {"containers", json::array{json::object{{"name", "a"}, {"image", "i"}}}},
                     {"volumes", json::array{json::object{
                                     {"name", "d"}, {"persistentVolumeClaim", {{"claimName", "c"}}}}}}}}};
  server.create(r::pods, "default", pod);
  world.cluster.settle();
  server.remove(kPersistentVolumeClaims, "default", "c");
  world.cluster.settle();
  const json::object* claim = server.get(kPersistentVolumeClaims, "default", "c");
  ASSERT_TRUE(claim);
  EXPECT_FALSE(string_at(json::value(*claim), "metadata", "deletionTimestamp").empty());
  EXPECT_EQ(string_at(json::value(*claim), "status", "phase"), "Bound");
  server.remove(r::pods, "default", "p", json::object{{"gracePeriodSeconds", 0}});
  world.cluster.settle();
  EXPECT_FALSE(server.get(kPersistentVolumeClaims, "default", "c"));
}

TEST(SimVolumes, AnEphemeralVolumeGetsAClaimThatGoesWithItsPod) {
  World world(0);
  Cluster& server = world.cluster;
  json::object pod{{"apiVersion", "v1"},
                   {"kind", "Pod"},
                   {"metadata", {{"name", "p"}}},
                   {"spec",
                    {{"containers", json::array{json::object{{"name", "a"}, {"image", "i"}}}},
                     {"volumes", json::array{json::object{
                                     {"name", "d"},
                                     {"ephemeral",
                                      {{"volumeClaimTemplate",
                                        {{"spec",
                                          {{"storageClassName", "soon"},
                                           {"accessModes", json::array{"ReadWriteOnce"}},
                                           {"resources", {{"requests", {{"storage", "1Gi"}}}}}}}}}}}}}}}}};
  server.create(r::pods, "default", pod);
  world.cluster.settle();
  const json::object* claim = server.get(kPersistentVolumeClaims, "default", "p-d");
  ASSERT_TRUE(claim);
  EXPECT_EQ(string_at(json::value(*claim), "status", "phase"), "Bound");
  server.remove(r::pods, "default", "p", json::object{{"gracePeriodSeconds", 0}});
  for (int round = 0; round < 10 && server.get(kPersistentVolumeClaims, "default", "p-d"); ++round) {
    server.pass(5s);
    world.cluster.settle();
  }
  EXPECT_FALSE(server.get(kPersistentVolumeClaims, "default", "p-d"));
}

}  // namespace simulated
