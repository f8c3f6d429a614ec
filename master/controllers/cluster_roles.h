// What controllers keep of ClusterRoles: their rules, and which others an aggregated one takes its own from.
#pragma once

#include <memory>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

extern const api::Resource kClusterRoles;

// Its lists as they are written: "verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs".
struct RoleRule {
  static constexpr const char* kMembers[] = {"verbs", "apiGroups", "resources", "resourceNames",
                                             "nonResourceURLs"};
  std::vector<std::string> lists[std::size(kMembers)];
  bool operator==(const RoleRule&) const = default;
};

struct ClusterRole {
  Meta meta;
  Labels labels;
  std::vector<RoleRule> rules;
  bool aggregated = false;
  std::vector<Selector> selectors;  // of an aggregated one; one that can't be read selects nothing

  static Store<ClusterRole>::Reader reader(const api::Resource& resource);
};

}  // namespace master::controllers
