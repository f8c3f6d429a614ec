// Which node a Pod goes to, or why none: every rule's filter asks every node in turn from a starting point
// until enough are left, the rules' scores choose among those. Pure: the same picture, start and tie give the
// same answer. Order, sampling, scores and wording are kube-scheduler's.
#pragma once

#include "master/scheduler/rule.h"

namespace master::scheduler {

struct Choice {
  std::string node;                                   // empty: none fits
  std::string message;                                // then: "0/3 nodes are available: 3 Insufficient cpu."
  uint32_t refused_by = 0;                            // then: a bit for each row of rules()
  std::vector<std::pair<const Node*, bool>> refused;  // then: and whether for good
  size_t looked_at = 0;                               // the next decision starts so much further
};
// `pod` is its key, for its own nomination; `tie` decides between equals.
Choice choose(const Ask& ask, const std::string& pod, const Picture& picture, const Profile& profile,
              size_t start = 0, size_t tie = 0);

// What all rules' filters say of nodes, prepared once a decision.
class Filters {
 public:
  // `pod` is left out of those nominated.
  Filters(const Question& question, const std::string& pod);
  // The first refusal; `rule` becomes its row. Pods nominated for the node that are not less important count
  // as if they were there, and as if they were not.
  Refusal refuses(const Node& node, int* rule = nullptr) const;
  // Without those nominated.
  Refusal refuses_as_is(const Node& node, int* rule = nullptr) const;
  void move(const Ask& pod, bool terminating, const Node& node, int sign);

 private:
  Question question_;
  std::string pod_;
  std::vector<std::pair<int, std::unique_ptr<Filter>>> filters_;
};

// How many fitting nodes are enough.
size_t nodes_to_find(size_t nodes, int percentage);
// "0/3 nodes are available: 1 a, 2 b."
std::string unavailable(size_t nodes, const std::map<std::string, int>& reasons);

}  // namespace master::scheduler
