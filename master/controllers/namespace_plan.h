// What is done next about a namespace that is being deleted, and what its conditions say. Pure. The order is
// kube-controller-manager's (KEP-5080): its Pods go first and alone, for as long as one runs what guards or
// feeds it (NetworkPolicies, Secrets) stays; then everything else; then the finalizer. Never forces: what has
// finalizers or a grace period is waited for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "master/controllers/namespaces.h"

namespace master::controllers {

// What one round has seen of a namespace's content.
struct NamespaceContent {
  struct Item {
    std::string name, uid;
    bool deleting = false;
    std::vector<std::string> finalizers;
  };
  struct Kind {
    std::string group, plural;
    std::vector<Item> items;
    size_t more = 0;  // that were not listed
  };
  std::vector<Kind> kinds;  // that were listed: the Pods, or every kind
  bool everything = false;  // every kind that is served
  // Errors as the API server words them: of discovery; of lists and deletions in this round.
  std::optional<std::string> discovery;
  std::vector<std::string> failures;
};

struct NamespacePlan {
  struct Act {
    enum class What { kListEverything, kRemove, kFinalize } what;
    size_t kind = 0, item = 0;  // of a removal: places in the content
  };
  std::vector<Act> acts;
  std::string text(const NamespaceContent& content) const;
};
NamespacePlan plan_namespace(const NamespaceContent& content);

// status.conditions after a round; nothing when they say so already, or when the deletion is so young that
// what remains is merely on its way.
std::optional<json::array> namespace_conditions(const Namespace& ns, const NamespaceContent& content,
                                                base::Time now);

}  // namespace master::controllers
