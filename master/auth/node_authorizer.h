// NodeAuthorizer: a node (user system:node:NAME, group system:nodes) reads and writes what its work
// needs: secrets, config maps, claims and tokens only where a Pod of it refers to them.
// Kept by the Pod cache: which node refers to what is counted when a Pod is bound. Loop thread only.
// Source: kubernetes.io, "Using Node Authorization".
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "master/auth/rbac_rules.h"
#include "master/registry/object_cache.h"
#include "master/registry/request.h"

namespace master {

// The node that a user is; "" for others.
std::string_view node_of(const User& user);

// What a Pod refers to, as "secrets/NS/NAME", "configmaps/…", "persistentvolumeclaims/…",
// "serviceaccounts/…", "resourceclaims/…".
std::vector<std::string> pod_references(const base::json::value& pod);

class NodeAuthorizer {
 public:
  // `rules`: of ClusterRole system:node, for everything that is not told apart by object.
  explicit NodeAuthorizer(std::vector<PolicyRule> rules) : rules_(std::move(rules)) {}
  void follow(ObjectCache& pods);
  // Persistent volumes, attachments and resource slices are looked at when they are asked for. Null where not
  // served.
  void look_up(const ObjectCache* volumes, const ObjectCache* attachments, const ObjectCache* slices) {
    volumes_ = volumes;
    attachments_ = attachments;
    slices_ = slices;
  }
  // *reason says why not, where Kubernetes says why.
  bool allows(std::string_view node, const Access& access, std::string* reason) const;

  void bind(const std::string& pod_key, std::string_view node, std::vector<std::string> references);
  void forget(const std::string& pod_key);

 private:
  bool related(std::string_view node, std::string_view kind, const Access& access, std::string* reason) const;
  bool refers(std::string_view node, std::string_view kind, std::string_view ns, std::string_view name) const;
  bool allows_pod(std::string_view node, const Access& access, std::string* reason) const;
  bool allows_node(std::string_view node, const Access& access, std::string* reason) const;
  bool allows_own(std::string_view node, std::string_view what, const Access& access,
                  std::string* reason) const;
  bool allows_slice(std::string_view node, const Access& access, std::string* reason) const;
  bool allows_volume(std::string_view node, const Access& access) const;

  std::vector<PolicyRule> rules_;
  struct Pod {
    std::string node;
    std::vector<std::string> references;
  };
  std::unordered_map<std::string, Pod> pods_;  // bound ones, by key
  std::unordered_map<std::string, std::map<std::string, int, std::less<>>>
      uses_;  // reference -> node -> Pods
  const ObjectCache* volumes_ = nullptr;
  const ObjectCache* attachments_ = nullptr;
  const ObjectCache* slices_ = nullptr;
};

}  // namespace master
