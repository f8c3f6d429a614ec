#include "kubelet/node/status.h"

#include <gtest/gtest.h>

#include "api/schema.h"

namespace kubelet {
namespace {

MachineFacts facts() {
  MachineFacts f;
  f.node_name = "n";
  f.cpus = 2;
  f.memory_bytes = int64_t{4} << 30;
  return f;
}

TEST(NodeStatus, ExtendedResourcesOfTheCapacityAreAllocatable) {
  api::Node node = make_node(facts());
  node.status.emplace();
  node.status->capacity = {{"example.com/gpu", "3"}, {"cpu", "64"}, {"kubernetes.io/odd", "1"}};
  node.status->allocatable = {{"example.com/gone", "1"}};
  api::NodeStatus status = node_status(node, facts(), {}, {});
  EXPECT_EQ(status.capacity.at("example.com/gpu"), "3");
  EXPECT_EQ(status.allocatable.at("example.com/gpu"), "3");
  EXPECT_EQ(status.capacity.at("cpu"), "2");  // what the machine has is the kubelet's to say
  EXPECT_FALSE(status.allocatable.contains("kubernetes.io/odd"));
  // What left the capacity is not allocatable any more.
  base::json::object patch = node_status_patch(*node.status, status);
  EXPECT_TRUE(patch.at("allocatable").at("example.com/gone").is_null());
  EXPECT_FALSE(patch.at("allocatable").get_object().contains("kubernetes.io/odd"));
}

TEST(NodeStatus, WhichResourcesAreExtended) {
  for (const char* name : {"example.com/gpu", "a.b/c"}) EXPECT_TRUE(is_extended_resource(name)) << name;
  for (const char* name :
       {"cpu", "hugepages-2Mi", "kubernetes.io/x", "batch.kubernetes.io/x", "requests.example.com/gpu"})
    EXPECT_FALSE(is_extended_resource(name)) << name;
}

}  // namespace
}  // namespace kubelet
