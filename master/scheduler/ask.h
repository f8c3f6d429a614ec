// What a Pod asks of a place, read once from JSON: requests, node terms, Pod terms, spread, tolerations,
// ports, images. A plain value; Pods of one template are equal and share one (Picture::share). Equality is
// the compiler's, so a field that is added here can't be forgotten where Pods share what was worked out for
// one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "master/controllers/node_terms.h"

namespace master::scheduler {

namespace json = base::json;
using controllers::Labels;
using controllers::NodeTerm;
using controllers::Selector;
using controllers::Taint;
using controllers::Toleration;

// Amounts of one container or node are capped at 2^52; sums wrap rather than overflow, since what was added
// is taken away again.
struct Resources {
  int64_t cpu_milli = 0, memory = 0, ephemeral = 0;
  std::map<std::string, int64_t> extended;  // never 0
  void add(const Resources& other, int sign = 1);
  void raise_to(const Resources& other);  // the larger of each
  void cap();
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
  bool operator==(const HostPort&) const = default;
};

// Which Pods a term of an affinity, or a constraint, speaks of. What matchLabelKeys and mismatchLabelKeys add
// stands in `pods`.
struct PodTerm {
  Selector pods;
  std::set<std::string> namespaces;
  std::optional<Selector> namespace_selector;  // those it selects, too
  std::string topology_key;
  int weight = 0;  // preferred terms
  bool operator==(const PodTerm&) const = default;
};
struct SpreadConstraint {
  Selector pods;
  std::string topology_key;
  int max_skew = 1, min_domains = 1;
  bool hard = true;                                    // DoNotSchedule
  bool honour_affinity = true, honour_taints = false;  // which nodes' domains count
  bool operator==(const SpreadConstraint&) const = default;
};

struct Ask {
  std::string ns;
  Labels labels;
  Resources requests, score_requests;  // the latter with Kubernetes' defaults for what is absent
  controllers::NodeFilter nodes;       // required
  std::vector<NodeTerm> node_preferred;
  // The nodes that required terms name by metadata.name, where each term names one.
  std::optional<std::set<std::string>> named_nodes;
  std::vector<PodTerm> affinity, anti_affinity, preferred_affinity, preferred_anti_affinity;
  std::vector<SpreadConstraint> spread;
  std::vector<Toleration> tolerations;
  std::vector<HostPort> host_ports;
  std::vector<std::string> images;  // of containers, with a tag or digest
  std::vector<std::string> claims;  // names, with those of ephemeral volumes
  std::set<std::string> ephemeral_claims;
  std::string owner_uid;  // of a ReplicaSet, ReplicationController or StatefulSet: such Pods spread
  int priority = 0;
  bool never_preempts = false;
  bool operator==(const Ask&) const = default;
  bool tolerates(const Taint& taint) const;
};
Ask read_ask(const json::value& pod);

}  // namespace master::scheduler
