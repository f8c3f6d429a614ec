// NodeAuthorizer: a node (user system:node:NAME, group system:nodes) reads and writes what its work
// needs: secrets, config maps, claims and tokens only where a Pod of it refers to them, or a volume bound
// to a claim of such a Pod does; and it follows the local volumes that bear its label (api/local_volumes.h),
// and lets them go when it has removed their data, which admission looks at. Kept by the caches of Pods and
// volumes: which node refers to what is counted when a Pod is bound. Loop thread only. Source: kubernetes.io,
// "Using Node Authorization".
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "master/auth/rbac_rules.h"
#include "master/registry/object_cache.h"
#include "master/registry/request.h"

namespace master {

// Is the user a node's? The node that it is; "" for others, and for a node's user without its name.
bool is_node(const User& user);
std::string_view node_of(const User& user);

// What a Pod refers to, as "secrets/NS/NAME", "configmaps/…", "persistentvolumeclaims/…",
// "serviceaccounts/…", "resourceclaims/…".
std::vector<std::string> pod_references(const base::json::value& pod);
// What a bound PersistentVolume's node part reads, as "secrets/NS/NAME": not what controllers read.
std::vector<std::string> volume_secrets(const base::json::value& volume);

class NodeAuthorizer {
 public:
  // `rules`: of ClusterRole system:node, for everything that is not told apart by object.
  explicit NodeAuthorizer(std::vector<PolicyRule> rules) : rules_(std::move(rules)) {}
  void follow(ObjectCache& pods, ObjectCache& volumes);
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
  // A volume names these secrets, and is bound to this claim ("persistentvolumeclaims/NS/NAME").
  void bind_volume(const std::string& volume, std::string claim, std::vector<std::string> secrets);
  void forget_volume(const std::string& volume);

 private:
  bool related(std::string_view node, std::string_view kind, const Access& access, std::string* reason) const;
  bool refers(std::string_view node, std::string_view kind, std::string_view ns, std::string_view name) const;
  bool refers_by_volume(std::string_view node, const std::string& secret) const;
  bool allows_pod(std::string_view node, const Access& access, std::string* reason) const;
  bool allows_node(std::string_view node, const Access& access, std::string* reason) const;
  bool allows_own(std::string_view node, std::string_view what, const Access& access,
                  std::string* reason) const;
  bool allows_slice(std::string_view node, const Access& access, std::string* reason) const;
  bool allows_volume(std::string_view node, const Access& access, std::string* reason) const;

  std::vector<PolicyRule> rules_;
  struct Pod {
    std::string node;
    std::vector<std::string> references;
  };
  std::unordered_map<std::string, Pod> pods_;  // bound ones, by key
  std::unordered_map<std::string, std::map<std::string, int, std::less<>>>
      uses_;                                                                  // reference -> node -> Pods
  std::map<std::string, std::map<std::string, int>, std::less<>> claims_of_;  // node -> claim -> Pods
  struct Volume {
    std::string claim;
    std::vector<std::string> secrets;
  };
  std::unordered_map<std::string, Volume> bound_volumes_;                  // those that name secrets
  std::unordered_map<std::string, std::map<std::string, int>> by_secret_;  // secret -> claim -> volumes
  const ObjectCache* volumes_ = nullptr;
  const ObjectCache* attachments_ = nullptr;
  const ObjectCache* slices_ = nullptr;
};

}  // namespace master
