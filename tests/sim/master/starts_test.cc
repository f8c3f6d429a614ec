// Starts of a master over stores in every state: first ones, later ones, and on disks that fail meanwhile.
#include "tests/sim/cluster.h"

namespace simulated {
namespace r = api::resources;

TEST(SimStarts, AFirstStartComesThroughADiskWithErrors) {
  each_seed(10, [](uint64_t seed) {
    Cluster cluster(seed, 0);
    cluster.crash_master();
    cluster.disk->records.clear();
    cluster.disk->failures = 0.2;
    cluster.start_master();
    cluster.disk->failures = 0;
    cluster.settle();
    for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"})
      EXPECT_TRUE(cluster.get(r::namespaces, "", name)) << name;
    EXPECT_TRUE(cluster.get(r::services, "default", "kubernetes"));
  });
}

TEST(SimStarts, WhatWasAcknowledgedIsThereAfterAnyCrash) {
  each_seed(30, [](uint64_t seed) {
    Cluster cluster(seed, 0);
    std::map<std::string, std::string> told;
    int made = 0;
    for (int life = 0; life < 4; ++life) {
      std::vector<std::unique_ptr<api::Transport::Call>> calls;
      auto door = cluster.door({"admin", {"system:masters"}})();
      for (int i = 0; i < 20; ++i) {
        const std::string name = fmt::format("m{}", made++);
        base::http::Request request;
        request.method = "POST";
        request.target = r::config_maps.path("default");
        request.headers.add("Content-Type", "application/json");
        request.body = base::to_json(json::object{{"metadata", {{"name", name}}}, {"data", {{"k", name}}}});
        calls.push_back(
            door->call(std::move(request), [&, name](base::Result<base::http::Response> response) {
              if (!response.ok() || response->status != 201) return;
              const json::value object = base::parse_json(response->body).value();
              told[name] = base::string_at(object, "metadata", "resourceVersion");
            }));
        cluster.pass(base::Duration(static_cast<int64_t>(cluster.random() % 3'000'000)));
      }
      calls.clear();
      door.reset();
      cluster.crash_master();
      cluster.start_master();
      int found = 0;
      for (const auto& [name, version] : told) {
        const json::object* object = cluster.get(r::config_maps, "default", name);
        ASSERT_TRUE(object) << name << " was acknowledged at " << version;
        EXPECT_EQ(base::string_at(json::value(*object), "metadata", "resourceVersion"), version);
        ++found;
      }
      EXPECT_GT(found, 0);
      // No revision is told twice: what comes now is newer than all that was.
      const json::value next = cluster.create(
          r::config_maps, "default", json::object{{"metadata", {{"name", fmt::format("n{}", life)}}}});
      for (const auto& [name, version] : told)
        EXPECT_LT(std::stoll(version),
                  std::stoll(std::string(base::string_at(next, "metadata", "resourceVersion"))));
    }
  });
}

}  // namespace simulated
