// How what plan_revisions() says is done: ControllerRevisions are taken, let go, made, numbered anew and
// deleted, each bound to the uid that was judged and held back by the gate. Decides nothing.
#pragma once

#include <functional>
#include <string>

#include "master/controllers/pod_owner.h"
#include "master/controllers/revisions.h"

namespace master::controllers {

class RevisionKeeper {
 public:
  RevisionKeeper(Hub& hub, Hub::Account& account, Store<Revision>& revisions, Reconciler& reconciler)
      : hub_(hub), account_(account), revisions_(revisions), reconciler_(reconciler) {}

  // `collided` is called when the name of a new one is taken by something else: another collisionCount makes
  // another name.
  void settle(const PodOwner::Owner& owner, const RevisionPlan& plan, std::function<void()> collided,
              PodOwner::Done done);
  Step remove(const PodOwner::Owner& owner, const std::string& name);
  // Whose `revision` is or could be: calls `wake` with the key of each.
  template <typename T>
  static void owners_of(const Revision& revision, const char* kind, const Store<T>& sets,
                        const std::function<void(const std::string&)>& wake) {
    if (!revision.controller.uid.empty()) {
      if (revision.controller.kind == kind) wake(key_of(revision.meta.ns, revision.controller.name));
      return;
    }
    for (const auto& set : sets.in_namespace(revision.meta.ns))
      if (set->selector.matches(revision.labels)) wake(set->meta.key());
  }

 private:
  Step patch(const PodOwner::Owner& owner, const std::string& name, json::object body, bool strategic);
  Step create(const PodOwner::Owner& owner, json::object body, std::function<void()> collided);

  Hub& hub_;
  Hub::Account& account_;
  Store<Revision>& revisions_;
  Reconciler& reconciler_;
};

}  // namespace master::controllers
