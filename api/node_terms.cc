#include "api/node_terms.h"

#include <algorithm>

#include "base/json_lists.h"

namespace api {

using base::find;
using base::list_at;
using base::string_at;

namespace {
Selector read_node_requirements(const json::value* list) {
  Selector selector;
  for (const json::value& item : list_at(list)) {
    Selector::Requirement requirement{std::string(string_at(item, "key")), Selector::Op::kExists, {}};
    std::string_view op = string_at(item, "operator");
    requirement.op = op == "In"             ? Selector::Op::kIn
                     : op == "NotIn"        ? Selector::Op::kNotIn
                     : op == "DoesNotExist" ? Selector::Op::kDoesNotExist
                     : op == "Gt"           ? Selector::Op::kGreater
                     : op == "Lt"           ? Selector::Op::kLess
                                            : Selector::Op::kExists;
    for (const json::value& value : list_at(item, "values"))
      requirement.values.emplace_back(base::as_string(&value));
    std::sort(requirement.values.begin(), requirement.values.end());
    selector.requirements.push_back(std::move(requirement));
  }
  return selector;
}
}  // namespace

NodeTerm read_node_term(const json::value& in) {
  NodeTerm term{read_node_requirements(find(in, "matchExpressions")),
                read_node_requirements(find(in, "matchFields")), false, 0};
  term.empty = term.labels.requirements.empty() && term.fields.requirements.empty();
  return term;
}
bool matches(const NodeTerm& term, const std::map<std::string, std::string>& labels,
             const std::string& node) {
  using Fields = std::map<std::string, std::string>;
  if (term.empty || !term.labels.matches(labels)) return false;
  return term.fields.requirements.empty() || term.fields.matches(Fields{{"metadata.name", node}});
}

std::vector<NodeTerm> volume_node_terms(const json::value& volume) {
  std::vector<NodeTerm> terms;
  for (const json::value& term :
       list_at(base::find_path(volume, "spec", "nodeAffinity", "required", "nodeSelectorTerms")))
    terms.push_back(read_node_term(term));
  return terms;
}
bool admits(const std::vector<NodeTerm>& terms, const std::map<std::string, std::string>& labels,
            const std::string& node) {
  return terms.empty() || std::any_of(terms.begin(), terms.end(),
                                      [&](const NodeTerm& term) { return matches(term, labels, node); });
}

}  // namespace api
