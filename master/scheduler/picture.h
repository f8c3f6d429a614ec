// What the scheduler knows: nodes with what is free and who runs there, Pods that have a node or are
// nominated for one, budgets. Plain values; the counts that rules ask for are kept beside them (index.h).
#pragma once

#include "master/scheduler/index.h"
#include "master/scheduler/volumes.h"

namespace master::scheduler {

// A Pod that waits for room on a node that was made for it.
struct Nominated {
  std::shared_ptr<const Ask> ask;
  std::string node;
};
// A PodDisruptionBudget as preemption sees it.
struct Budget {
  std::string ns;
  Selector pods;
  int allowed = 0;
  std::set<std::string> disrupted;  // Pods whose end is granted and counted already
  bool operator==(const Budget&) const = default;
};
Budget read_budget(const json::value& object);

// What happened that may let a Pod be placed that was not: rules say which of these help (rule.h).
struct Change {
  enum What : uint32_t {
    kNodeAdded = 1,
    kNodeLabels = 2,
    kNodeTaints = 4,  // spec.unschedulable, too
    kNodeAllocatable = 8,
    kPodRemoved = 16,  // from its node, or it has ended
    kPodPlaced = 32,
    kPodLabels = 64,  // of a placed Pod
    kNamespaceLabels = 128,
    kVolumes = 256,
  };
  uint32_t what = 0;
  const Node* node = nullptr;                // of the first four
  const Ask* pod = nullptr;                  // of the next three
  const controllers::Meta* claim = nullptr;  // of kVolumes: it alone; null: a volume or a class
};

class Picture {
 public:
  Picture() : index_(nodes_) {}
  Picture(const Picture&) = delete;

  std::shared_ptr<const Ask> share(const Ask& ask) { return index_.kind(ask).ask; }

  // What of a node's own facts differs from before (Change::What); keeps what runs there.
  uint32_t set_node(Node node);
  void remove_node(const std::string& name);
  void place(const std::string& pod, Placed placed);
  void remove(const std::string& pod);
  void nominate(const std::string& pod, Nominated nominated);
  void denominate(const std::string& pod);
  void set_namespace(const std::string& name, Labels labels) {
    ++version_;
    index_.set_namespace(name, std::move(labels));
  }
  void set_budget(const std::string& key, Budget budget);
  void remove_budget(const std::string& key);
  // While it stays, equal questions have equal answers.
  uint64_t version() const { return version_; }

  Volumes& change_volumes() {
    ++version_;
    return volumes_;
  }
  const Volumes& volumes() const { return volumes_; }
  const std::map<std::string, Node>& nodes() const { return nodes_; }
  const Node* node(const std::string& name) const;
  const Placed* placed(const std::string& pod) const;
  const std::unordered_map<std::string, Placed>& all_placed() const { return placed_; }
  const std::map<std::string, Budget>& budgets() const { return budgets_; }
  const Nominated* nominated(const std::string& pod) const;
  // By Pod key; null: nobody.
  const std::map<std::string, Nominated>* nominated_for(const std::string& node) const;
  bool anybody_nominated() const { return !nominations_.empty(); }
  // Nodes of all zones in turn, so that a stretch of the list is a fair sample.
  const std::vector<const Node*>& order() const;
  // How many nodes have an image; 0: none.
  int nodes_with_image(const std::string& name) const;
  // Its counts are made when first asked for, which changes nothing that can be seen.
  Index& index() const { return index_; }

 private:
  void see_images(const Node& node, int sign);
  void count_claims(const Ask& ask, int sign);
  Volumes volumes_;
  std::map<std::string, Node> nodes_;
  mutable Index index_;
  std::unordered_map<std::string, Placed> placed_;
  std::unordered_map<std::string, std::set<std::string>> homeless_;  // Pods by the node that is not known yet
  std::map<std::string, std::map<std::string, Nominated>> nominated_;  // by node
  std::unordered_map<std::string, std::string> nominations_;           // node by Pod
  std::map<std::string, Budget> budgets_;
  std::unordered_map<std::string, int> images_;
  std::vector<int> free_slots_;
  int next_slot_ = 0;
  uint64_t version_ = 0;
  mutable std::vector<const Node*> order_;
  mutable bool order_known_ = false;
};

}  // namespace master::scheduler
