// What a Pod and a node say of each other: NodeUnschedulable, TaintToleration, NodeAffinity, NodePorts.
#include "master/scheduler/rule.h"

namespace master::scheduler {
namespace {

bool keeps_out(const Taint& taint) { return taint.effect == "NoSchedule" || taint.effect == "NoExecute"; }
const Taint kUnschedulable{"node.kubernetes.io/unschedulable", "", "NoSchedule", ""};

struct UnschedulableFilter : Filter {
  Refusal refuses(const Node& node) const override {
    if (node.unschedulable) return {{"node(s) were unschedulable"}, true};
    return {};
  }
};
struct TaintFilter : Filter {
  explicit TaintFilter(const Ask& ask_in) : ask(ask_in) {}
  Refusal refuses(const Node& node) const override {
    for (const Taint& taint : node.taints)
      if (keeps_out(taint) && !ask.tolerates(taint)) return {{"node(s) had untolerated taint(s)"}, true};
    return {};
  }
  const Ask& ask;
};
struct TaintScorer : Scorer {
  explicit TaintScorer(const Ask& ask_in) : ask(ask_in) {}
  int64_t score(const Node& node) const override {
    int64_t untolerated = 0;
    for (const Taint& taint : node.taints)
      untolerated += taint.effect == "PreferNoSchedule" && !ask.tolerates(taint);
    return untolerated;
  }
  void normalise(std::span<const Node* const>, std::vector<int64_t>& scores) const override {
    scale_scores(scores, true);
  }
  const Ask& ask;
};
struct NodeAffinityFilter : Filter {
  explicit NodeAffinityFilter(const Ask& ask_in) : ask(ask_in) {}
  Refusal refuses(const Node& node) const override {
    if (ask.nodes.admits(node.labels, node.name)) return {};
    return {{"node(s) didn't match Pod's node affinity/selector"}, true};
  }
  const Ask& ask;
};
struct NodeAffinityScorer : Scorer {
  explicit NodeAffinityScorer(const Ask& ask_in) : ask(ask_in) {}
  int64_t score(const Node& node) const override {
    int64_t sum = 0;
    for (const NodeTerm& term : ask.node_preferred)
      if (controllers::matches(term, node.labels, node.name)) sum += term.weight;
    return sum;
  }
  void normalise(std::span<const Node* const>, std::vector<int64_t>& scores) const override {
    scale_scores(scores, false);
  }
  const Ask& ask;
};
struct PortsFilter : Filter {
  explicit PortsFilter(const Ask& ask_in) : ask(ask_in) {}
  Refusal refuses(const Node& node) const override {
    for (const HostPort& wanted : ask.host_ports)
      for (const HostPort& taken : node.host_ports)
        if (wanted.conflicts(taken))
          return {{"node(s) didn't have free ports for the requested pod ports"}, false};
    return {};
  }
  const Ask& ask;
};

}  // namespace

const Rule node_unschedulable_rule = {"NodeUnschedulable",
                                      [](const Question& q) -> std::unique_ptr<Filter> {
                                        if (q.ask.tolerates(kUnschedulable)) return nullptr;
                                        return std::make_unique<UnschedulableFilter>();
                                      },
                                      nullptr, 0,
                                      [](const Ask&, const Change& change) {
                                        return change.what & (Change::kNodeAdded | Change::kNodeTaints) &&
                                               !change.node->unschedulable;
                                      }};

const Rule taint_toleration_rule = {
    "TaintToleration",
    [](const Question& q) -> std::unique_ptr<Filter> { return std::make_unique<TaintFilter>(q.ask); },
    [](const Question& q, std::span<const Node* const>) -> std::unique_ptr<Scorer> {
      return std::make_unique<TaintScorer>(q.ask);
    },
    3,
    [](const Ask& ask, const Change& change) {
      return change.what & (Change::kNodeAdded | Change::kNodeTaints) &&
             !TaintFilter(ask).refuses(*change.node);
    }};

const Rule node_affinity_rule = {
    "NodeAffinity",
    [](const Question& q) -> std::unique_ptr<Filter> {
      if (q.ask.nodes.selector.empty() && !q.ask.nodes.required) return nullptr;
      return std::make_unique<NodeAffinityFilter>(q.ask);
    },
    [](const Question& q, std::span<const Node* const>) -> std::unique_ptr<Scorer> {
      if (q.ask.node_preferred.empty()) return nullptr;
      return std::make_unique<NodeAffinityScorer>(q.ask);
    },
    2,
    [](const Ask& ask, const Change& change) {
      return change.what & (Change::kNodeAdded | Change::kNodeLabels) &&
             ask.nodes.admits(change.node->labels, change.node->name);
    }};

const Rule node_ports_rule = {"NodePorts",
                              [](const Question& q) -> std::unique_ptr<Filter> {
                                if (q.ask.host_ports.empty()) return nullptr;
                                return std::make_unique<PortsFilter>(q.ask);
                              },
                              nullptr, 0,
                              [](const Ask& ask, const Change& change) {
                                if (change.what & Change::kNodeAdded) return true;
                                if (!(change.what & Change::kPodRemoved)) return false;
                                for (const HostPort& wanted : ask.host_ports)
                                  for (const HostPort& freed : change.pod->host_ports)
                                    if (wanted.conflicts(freed)) return true;
                                return false;
                              }};

}  // namespace master::scheduler
