// What the scheduler knows: per node what is free and who runs there, per Pod what it asks for.
// Plain values read from JSON; what Pods of one template ask for is shared. Never whole objects.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "master/controllers/node_terms.h"

namespace master::scheduler {

namespace json = base::json;
using controllers::Labels;
using controllers::NodeTerm;
using controllers::Selector;
using controllers::Taint;
using controllers::Toleration;

struct Resources {
  int64_t cpu_milli = 0, memory = 0, ephemeral = 0;
  std::map<std::string, int64_t> extended;
  void add(const Resources& other, int sign = 1);
  void raise_to(const Resources& other);  // the larger of each
  bool operator==(const Resources&) const = default;
};
Resources read_resources(const json::value* map);
// Containers and sidecars together, or the largest init step, whichever is more, plus overhead.
// For scores, a container that asks for no CPU or memory counts as asking for a little (kube-scheduler,
// util.DefaultMilliCPURequest and DefaultMemoryRequest), or Pods without requests would all land on one node.
enum class Absent { kNothing, kALittle };
Resources pod_requests(const json::value& spec, Absent absent = Absent::kNothing);

struct HostPort {
  std::string ip, protocol;
  int port = 0;
  bool conflicts(const HostPort& other) const;
};
struct PodTerm {
  Selector pods;
  std::set<std::string> namespaces;  // empty: all
  std::string topology_key;
};
struct SpreadConstraint {
  Selector pods;
  std::string topology_key;
  int max_skew = 1;
};
// What a Pod asks for.
struct Ask {
  std::string ns;
  Labels labels;
  Resources requests, score_requests;  // the latter with Kubernetes' defaults for what is absent
  std::map<std::string, std::string> node_selector;
  std::optional<std::vector<NodeTerm>> node_required;  // any of them
  std::vector<NodeTerm> node_preferred;
  std::vector<PodTerm> affinity, anti_affinity;
  std::vector<SpreadConstraint> spread;
  std::vector<Toleration> tolerations;
  std::vector<HostPort> host_ports;
  std::string required_node;  // spec.nodeName never stands here; matchFields does
  int priority = 0;
};
std::shared_ptr<const Ask> read_ask(const json::value& pod);

struct Node {
  std::string name;
  Labels labels;
  std::vector<Taint> taints;
  bool unschedulable = false;
  Resources allocatable;
  int64_t max_pods = 110;
  // What runs or is about to run there:
  Resources used, score_used;
  int64_t pods = 0;
  std::vector<HostPort> host_ports;
  std::unordered_map<std::string, int> per_owner;
  bool same_spec(const Node& other) const;  // nothing that could make a Pod fit differs
};
Node read_node(const json::value& node);

struct Placed {
  std::shared_ptr<const Ask> ask;
  std::string owner_uid, node;
};
class Picture {
 public:
  std::map<std::string, Node> nodes;
  std::unordered_map<std::string, Placed> placed;  // by Pod key
  std::set<std::string> with_anti_affinity;        // Pod keys

  void set_node(Node node);  // keeps what runs there
  void remove_node(const std::string& name) { nodes.erase(name); }
  void place(const std::string& pod, Placed placed);
  void remove(const std::string& pod);

 private:
  static void count(Node& node, const Placed& placed, int sign);
};

}  // namespace master::scheduler
