#include "master/controllers/node_terms.h"

#include "base/json_lists.h"

namespace master::controllers {
using base::as_string;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

namespace {
const json::value* required_terms(const json::value& pod_spec) {
  const json::value* terms = find_path(pod_spec, "affinity", "nodeAffinity",
                                       "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms");
  return terms && terms->is_array() ? terms : nullptr;
}
}  // namespace

bool NodeFilter::admits(const Labels& labels, const std::string& node) const {
  for (const auto& [key, value] : selector)
    if (auto at = labels.find(key); at == labels.end() || at->second != value) return false;
  if (!required) return true;
  for (const NodeTerm& term : *required)
    if (matches(term, labels, node)) return true;
  return false;
}
NodeFilter read_node_filter(const json::value& pod_spec) {
  NodeFilter filter;
  filter.selector = read_labels(find(pod_spec, "nodeSelector"));
  if (const json::value* terms = required_terms(pod_spec)) {
    filter.required.emplace();
    for (const json::value& term : terms->get_array()) filter.required->push_back(read_node_term(term));
  }
  return filter;
}

std::string node_by_affinity(const json::value& pod_spec) {
  for (const json::value& term : list_at(required_terms(pod_spec)))
    for (const json::value& field : list_at(term, "matchFields")) {
      const json::array& values = list_at(field, "values");
      if (string_at(field, "key") == "metadata.name" && string_at(field, "operator") == "In" &&
          values.size() == 1)
        return std::string(as_string(&values[0]));
    }
  return {};
}

}  // namespace master::controllers
