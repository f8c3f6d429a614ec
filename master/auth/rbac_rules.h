// RBAC's rules as values: does a rule allow a request, do some rules cover others. Pure.
// Source: kubernetes.io, "Using RBAC Authorization"; rbac.authorization.k8s.io/v1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace master {

constexpr std::string_view kRbacGroup = "rbac.authorization.k8s.io";

// What is asked for, without who asks. Views into the request.
struct Access {
  bool is_resource = true;
  std::string_view verb;  // "list"; of a path the HTTP method in lower case
  std::string_view ns;    // "": all namespaces, or a resource that is in none
  std::string_view group, resource, subresource;
  std::string_view name;                 // also of a list with the field selector metadata.name
  std::string_view field_selector;       // as sent
  std::string_view path;                 // of what is no resource
  std::string_view label_selector = {};  // as sent
};

struct PolicyRule {
  std::vector<std::string> verbs, api_groups, resources, resource_names, non_resource_urls;
  bool operator==(const PolicyRule& other) const {
    return verbs == other.verbs && api_groups == other.api_groups && resources == other.resources &&
           resource_names == other.resource_names && non_resource_urls == other.non_resource_urls;
  }
  // Derived from `verbs` by compile(): one bit a well-known verb, all bits for "*".
  uint32_t verb_bits = 0;
  void compile();
};

// The bit of a verb; 0 for one that only some resource knows ("approve").
uint32_t verb_bit(std::string_view verb);
bool has_or_star(const std::vector<std::string>& list, std::string_view value);
bool allows(const PolicyRule& rule, const Access& access);

// `rules` of a Role or ClusterRole, compiled; wrongly typed members count as absent.
std::vector<PolicyRule> read_rules(const base::json::value* list);
base::json::array to_json(const std::vector<PolicyRule>& rules);

// The parts of `wanted` that `held` does not include, one verb, group and resource each.
std::vector<PolicyRule> not_covered(const std::vector<PolicyRule>& held,
                                    const std::vector<PolicyRule>& wanted);
// One line a rule, as a refusal of an escalation shows them: rules that differ in their verb only
// are one, lines are sorted.
std::string describe(const std::vector<PolicyRule>& rules);
// ["a" "b"]: as Kubernetes prints lists in messages.
std::string quoted_list(const std::vector<std::string>& values);

}  // namespace master
