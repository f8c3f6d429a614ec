// ControllerRevisions: the templates that a DaemonSet or StatefulSet has had, and which of them is the
// newest. Pure but for reading JSON. The form of their data is Kubernetes', since kubectl rollout undo
// applies it as a patch; what others wrote into it is never trusted to be one.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

extern const api::Resource kControllerRevisions;

constexpr const char* kRevisionHash = "controller-revision-hash";  // label of Pods

struct Revision {
  Meta meta;
  OwnerRef controller;
  Labels labels;
  int64_t number = 0;
  json::value pod_template;  // of the data; null: it holds none
  std::string content;       // of the template, to compare: canonical_text

  static Store<Revision>::Reader reader(const api::Resource& resource);
  static std::vector<std::string> terms(const Revision& revision);
};
using Revisions = std::vector<std::shared_ptr<const Revision>>;

// Whose revisions, and what they would be made from now.
struct RevisionOwner {
  const Meta& meta;
  std::string kind;
  const Selector& selector;
  const json::value& pod_template;
  const std::map<std::string, std::string>& annotations;
  int64_t collisions = 0;  // status.collisionCount
  // The label that keeps the hash: "controller-revision-hash" (DaemonSets) or
  // "controller.kubernetes.io/hash".
  std::string hash_label;
};

struct RevisionPlan {
  // First these; then nothing else happens this round.
  std::vector<std::string> adopt, release;
  std::optional<json::object> create;
  std::string renumber;  // the template of this one is the newest again…
  int64_t number = 0;    // …with this number
  bool settled() const { return adopt.empty() && release.empty() && !create && renumber.empty(); }
  // Once settled: the newest, all that say the same, and all others by their age, the oldest first.
  const Revision* newest = nullptr;
  std::set<std::string_view> same;  // names
  std::vector<const Revision*> old;
  std::string text() const;
};
// `revisions`: those whose controller is the owner, and those of its namespace without one.
RevisionPlan plan_revisions(const RevisionOwner& owner, const Revisions& revisions);

}  // namespace master::controllers
