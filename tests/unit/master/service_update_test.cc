// Every pair of Service types: what a patch of the type alone keeps and drops.
#include "master/registry/service_update.h"

#include <gtest/gtest.h>

namespace master {
namespace {

namespace json = base::json;

json::value parse(std::string_view text) { return base::parse_json(text).value(); }
std::string spec_of(const json::value& service) { return base::to_json(service.at("spec")); }
// As it lies in the store.
json::value stored(std::string_view type) {
  if (type == "ExternalName")
    return parse(
        R"({"spec":{"type":"ExternalName","externalName":"x","sessionAffinity":"None","ports":[{"name":"a","port":1}]}})");
  if (type == "ClusterIP")
    return parse(
        R"({"spec":{"type":"ClusterIP","clusterIP":"10.0.0.9","clusterIPs":["10.0.0.9"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster","ports":[{"name":"a","port":1}]}})");
  json::value out = parse(
      R"({"spec":{"clusterIP":"10.0.0.9","clusterIPs":["10.0.0.9"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster","externalTrafficPolicy":"Local","ports":[{"name":"a","port":1,"nodePort":30001},{"name":"b","port":2,"nodePort":30002}]}})");
  json::object& spec = out.at("spec").get_object();
  spec["type"] = type;
  if (type == "LoadBalancer") {
    spec["allocateLoadBalancerNodePorts"] = true;
    spec["loadBalancerClass"] = "example.com/c";
    spec["healthCheckNodePort"] = 31000;
  }
  return out;
}
json::value patched(std::string_view from, std::string_view to, std::string_view more = "{}") {
  json::value before = stored(from), after = before;
  json::object& spec = after.at("spec").get_object();
  spec["type"] = to;
  json::value changes = parse(more);
  for (const auto& item : changes.get_object()) spec[item.key()] = item.value();
  settle_service_update(before, after);
  return after;
}
// Which of the fields that depend on the type are left.
std::string left(const json::value& service) {
  std::string out;
  for (const char* member :
       {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "externalTrafficPolicy",
        "healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"})
    if (base::find_path(service, "spec", member)) out += std::string(member) + " ";
  for (const json::value& port : service.at("spec").at("ports").get_array())
    if (base::find(port, "nodePort")) out += "nodePort ";
  return out;
}
const std::string kIp = "clusterIP clusterIPs ipFamilies ipFamilyPolicy ", kPorts = "nodePort nodePort ",
                  kPolicy = "externalTrafficPolicy ";
const std::string kBalancer = "healthCheckNodePort allocateLoadBalancerNodePorts loadBalancerClass ";

TEST(ServiceUpdate, EveryPairOfTypes) {
  struct Row {
    const char *from, *to;
    std::string left;
  };
  const Row kRows[] = {
      {"ClusterIP", "ClusterIP", kIp},
      {"ClusterIP", "NodePort", kIp},
      {"ClusterIP", "LoadBalancer", kIp},
      {"ClusterIP", "ExternalName", ""},
      {"NodePort", "ClusterIP", kIp},
      {"NodePort", "NodePort", kIp + kPolicy + kPorts},
      {"NodePort", "LoadBalancer", kIp + kPolicy + kPorts},
      {"NodePort", "ExternalName", ""},
      {"LoadBalancer", "ClusterIP", kIp},
      {"LoadBalancer", "NodePort", kIp + kPolicy + kPorts},
      {"LoadBalancer", "LoadBalancer", kIp + kPolicy + kBalancer + kPorts},
      {"LoadBalancer", "ExternalName", ""},
      {"ExternalName", "ClusterIP", ""},
      {"ExternalName", "NodePort", ""},
      {"ExternalName", "LoadBalancer", ""},
      {"ExternalName", "ExternalName", ""},
  };
  for (const Row& row : kRows)
    EXPECT_EQ(left(patched(row.from, row.to)), row.left) << row.from << " to " << row.to;
}

TEST(ServiceUpdate, WhatTheClientChangedIsLeftToBeRefused) {
  EXPECT_EQ(left(patched("NodePort", "ClusterIP", R"({"ports":[{"name":"a","port":1,"nodePort":30009}]})")),
            kIp + "nodePort ");
  EXPECT_EQ(left(patched("NodePort", "ClusterIP", R"({"externalTrafficPolicy":"Cluster"})")), kIp + kPolicy);
  EXPECT_EQ(left(patched("ClusterIP", "ExternalName", R"({"clusterIP":"10.0.0.7"})")),
            "clusterIP clusterIPs ");
  EXPECT_EQ(left(patched("LoadBalancer", "NodePort", R"({"loadBalancerClass":"example.com/d"})")),
            kIp + kPolicy + "loadBalancerClass " + kPorts);
  // Fewer ports than before are not another.
  EXPECT_EQ(left(patched("NodePort", "ClusterIP", R"({"ports":[{"name":"a","port":1,"nodePort":30001}]})")),
            kIp);
  // A Service with external addresses is public without a node port.
  EXPECT_EQ(left(patched("NodePort", "ClusterIP", R"({"externalIPs":["1.2.3.4"]})")), kIp + kPolicy);
}

TEST(ServiceUpdate, WhatTheServerGaveIsKept) {
  json::value before = stored("NodePort");
  json::value after = parse(
      R"({"spec":{"type":"NodePort","ports":[{"name":"b","port":7},{"name":"c","port":1,"nodePort":30001},{"name":"a","port":3}]}})");
  settle_service_update(before, after);
  EXPECT_EQ(
      spec_of(after),
      R"({"type":"NodePort","ports":[{"name":"b","port":7,"nodePort":30002},{"name":"c","port":1,"nodePort":30001},{"name":"a","port":3}],"clusterIP":"10.0.0.9","clusterIPs":["10.0.0.9"]})");
}

TEST(ServiceUpdate, StatusOfABalancerGoesWithIt) {
  json::value service =
      parse(R"({"spec":{"type":"ClusterIP"},"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}})");
  clear_load_balancer(service, service);
  EXPECT_EQ(base::to_json(service.at("status")), R"({"loadBalancer":{}})");
  service =
      parse(R"({"spec":{"type":"LoadBalancer"},"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}})");
  clear_load_balancer(service, service);
  EXPECT_EQ(base::to_json(service.at("status")), R"({"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}})");
}

}  // namespace
}  // namespace master
