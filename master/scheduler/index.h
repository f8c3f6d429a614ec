// Counts that Pods' rules ask for, kept as Pods and nodes come and go, so that a decision looks them up
// instead of walking over all Pods: how many Pods of a set (a selector, a term, an owner) are in each value
// of a topology among the nodes that count. A set is counted from the first question about it until nobody
// asks any more. What a Pod's own terms say of others (Held) is counted the same way. Selectors are found by
// the one label that they require, so a Pod meets the few that may mean it. Always equal to a fresh count:
// the property test.
#pragma once

#include <array>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "master/scheduler/node.h"

namespace master::scheduler {

// A label of nodes; its values get small numbers.
struct Topology {
  std::string key;
  std::unordered_map<std::string, int> numbers;
  std::vector<int> of_slot;  // -1: the node has no such label
  int value(int slot) const {
    return static_cast<size_t>(slot) < of_slot.size() ? of_slot[static_cast<size_t>(slot)] : -1;
  }
  int number(const std::string& value);
  void see(const Node& node);
};
// Which nodes count for a Pod's spread.
struct Eligibility {
  controllers::NodeFilter nodes;
  bool by_taints = false;
  std::vector<Toleration> tolerations;  // empty unless by_taints
  std::vector<std::string> keys;        // labels that a node must have
  std::vector<char> of_slot;
  bool same(const Eligibility& other) const;
  bool admits(const Node& node) const;
  bool has(int slot) const {
    return static_cast<size_t>(slot) < of_slot.size() && of_slot[static_cast<size_t>(slot)];
  }
};
// The values of a topology that eligible nodes have.
struct Region {
  std::shared_ptr<Topology> topology;
  std::shared_ptr<Eligibility> eligibility;
  std::unordered_map<int, int> nodes;  // by value
  int value(int slot) const { return eligibility->has(slot) ? topology->value(slot) : -1; }
};
// Pods of a set by value of a region.
struct Domain {
  std::shared_ptr<Region> region;
  std::unordered_map<int, int> counts;  // never 0
  std::map<int, int> values_by_count;
  void add(int value, int more);
  int count(int value) const {
    auto at = counts.find(value);
    return at == counts.end() ? 0 : at->second;
  }
  // The fewest Pods in any value, if `changes` were made; 0 with fewer values than `min_domains`.
  int least(int min_domains, const std::map<int, int>& changes = {}) const;
};
// Which Pods are meant: those that all terms select, or those of an owner in a namespace.
struct PodQuery {
  std::vector<PodTerm> all;  // without topology key and weight
  std::string ns, owner_uid;
  bool living = false;  // who is being deleted does not count
  bool operator==(const PodQuery&) const = default;
};
struct PodSet {
  PodQuery query;
  std::unordered_map<int, int> per_slot;  // never 0
  int total = 0;
  std::vector<std::shared_ptr<Domain>> domains;
  int on(int slot) const {
    auto at = per_slot.find(slot);
    return at == per_slot.end() ? 0 : at->second;
  }
};
// A term that placed Pods hold about others.
struct Held {
  enum class About { kApart, kTogether, kRatherTogether, kRatherApart };
  About about;
  PodTerm term;
  std::shared_ptr<Topology> topology;
  std::unordered_map<int, int> counts;  // Pods that hold it, by value; never 0
};

// What an Ask needs counted: parallel to its terms and constraints.
struct Asked {
  struct Count {
    std::shared_ptr<PodSet> pods;
    std::shared_ptr<Domain> domain;
    bool self = false;  // the Pod is one of them
  };
  std::vector<Count> affinity, anti_affinity, preferred_affinity, preferred_anti_affinity, spread;
  std::vector<Count> default_spread;  // by host, by zone; only without constraints of its own
  bool self_matches_affinity = false;
};

// All Pods of one Ask.
struct Kind {
  std::shared_ptr<const Ask> ask;
  std::unordered_map<int, std::array<int, 2>> per_slot;  // living, terminating
  std::vector<PodSet*> in;
  std::vector<std::shared_ptr<Held>> holds;
  std::unique_ptr<Asked> asked;
  bool grouped = false;  // `in` and `holds` are made
};

class Index {
 public:
  using Nodes = std::map<std::string, Node>;
  explicit Index(const Nodes& nodes) : nodes_(nodes) {}
  Index(const Index&) = delete;

  Kind& kind(const Ask& ask);  // the one of all equal Asks
  Kind& kind(const std::shared_ptr<const Ask>& ask);
  void count(Kind& kind, int slot, bool terminating, int sign);
  // A node's labels and taints change between these two, while none of its Pods is counted.
  void leave(const Node& node);
  void enter(const Node& node);
  void set_namespace(const std::string& name, Labels labels);
  void remove_namespace(const std::string& name) { set_namespace(name, {}); }

  const Asked& asked(const Ask& ask);
  bool selects(const PodTerm& term, const Ask& pod) const;
  bool matches(const PodQuery& query, const Ask& pod) const;
  // The terms of placed Pods that mean such a Pod.
  std::vector<const Held*> held_about(const Ask& pod) const;

  // Every count, one a line, for tests: equal pictures give equal texts.
  std::string text() const;
  size_t kinds() const { return kinds_.size(); }

 private:
  struct ByValue {
    using is_transparent = void;
    static const Ask& of(const Ask& ask) { return ask; }
    static const Ask& of(const std::shared_ptr<const Ask>& ask) { return *ask; }
    size_t operator()(const auto& ask) const { return hash(of(ask)); }
    bool operator()(const auto& a, const auto& b) const { return &of(a) == &of(b) || of(a) == of(b); }
    static size_t hash(const Ask& ask);
  };
  template <typename T>
  using Buckets = std::unordered_map<std::string, std::vector<T>>;

  void group(Kind& kind);
  void join_sets(Kind& kind);
  std::shared_ptr<Topology> topology(const std::string& key);
  std::shared_ptr<Eligibility> eligibility(Eligibility wanted);
  std::shared_ptr<Region> region(const std::string& key, Eligibility wanted);
  std::shared_ptr<PodSet> set(PodQuery query);
  Asked::Count counted(PodQuery query, const std::string& key, Eligibility wanted, const Ask& ask);
  std::shared_ptr<Held> held(Held::About about, const PodTerm& term);
  static void add(PodSet& set, int slot, int more);
  void sweep();

  const Nodes& nodes_;
  std::unordered_map<std::string, Labels> namespaces_;
  std::unordered_map<std::shared_ptr<const Ask>, std::unique_ptr<Kind>, ByValue, ByValue> kinds_;
  Buckets<Kind*> kinds_by_label_;
  Buckets<std::shared_ptr<PodSet>> sets_;
  Buckets<std::shared_ptr<Held>> held_;
  std::unordered_map<std::string, std::shared_ptr<Topology>> topologies_;
  std::unordered_map<size_t, std::vector<std::shared_ptr<Eligibility>>> eligibilities_;
  std::map<std::pair<Topology*, Eligibility*>, std::shared_ptr<Region>> regions_;
  size_t sweep_at_ = 1024;
};

}  // namespace master::scheduler
