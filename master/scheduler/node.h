// A node as the scheduler sees it: what it offers, what runs or is about to run there, who. Plain values.
#pragma once

#include <unordered_map>

#include "base/clock.h"
#include "master/scheduler/ask.h"

namespace master::scheduler {

struct Kind;
struct Node;

// A Pod that has a node, or is being bound to one.
struct Placed {
  std::shared_ptr<const Ask> ask;
  std::string node, uid;
  base::Time started{};      // for preemption: of equals the youngest goes first
  bool terminating = false;  // being deleted
  bool preempted = false;    // being deleted to make room
  std::string key;           // the Picture's
  Kind* kind = nullptr;      // the Picture's
};

struct Node {
  std::string name;
  Labels labels;
  std::vector<Taint> taints;
  bool unschedulable = false;
  bool has_local_volumes = false;  // its agent offers them; api/local_volumes.h
  Resources allocatable;
  int64_t max_pods = 110;
  std::unordered_map<std::string, int64_t> images;  // bytes by name
  // What runs or is about to run there:
  Resources used, score_used;
  int64_t pods = 0;
  std::vector<HostPort> host_ports;
  std::vector<const Placed*> here;  // in no order
  int slot = -1;                    // small, its own while it exists

  void count(const Ask& ask, int sign);  // `used` and its like; not `here`
  const std::string* label(const std::string& key) const {
    auto at = labels.find(key);
    return at == labels.end() ? nullptr : &at->second;
  }
};
Node read_node(const json::value& node);

}  // namespace master::scheduler
