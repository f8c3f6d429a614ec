#include "master/controllers/revision_keeper.h"

#include "master/controllers/workloads.h"

namespace master::controllers {

void RevisionKeeper::settle(const PodOwner::Owner& owner, const RevisionPlan& plan,
                            std::function<void()> collided, PodOwner::Done done) {
  const ObjectRef& ref = owner.ref;
  std::vector<Step> steps;
  auto own = [&](const std::string& name, json::object reference) {
    steps.push_back(
        patch(owner, name,
              json::object{{"metadata", {{"ownerReferences", json::array{std::move(reference)}}}}}, true));
  };
  for (const std::string& name : plan.adopt)
    own(name, controller_reference(ref.api_version, ref.kind, ref.name, ref.uid));
  for (const std::string& name : plan.release)
    own(name, json::object{{"$patch", "delete"}, {"uid", owner.ref.uid}});
  if (!plan.renumber.empty())
    steps.push_back(patch(owner, plan.renumber, json::object{{"revision", plan.number}}, false));
  if (plan.create) steps.push_back(create(owner, *plan.create, std::move(collided)));
  all(std::move(steps), std::move(done));
}

Step RevisionKeeper::patch(const PodOwner::Owner& owner, const std::string& name, json::object body,
                           bool strategic) {
  return [this, owner, name, body = std::move(body), strategic](PodOwner::Done done) mutable {
    auto revision = revisions_.get(key_of(owner.ref.ns, name));
    if (!revision) return done({});
    base::object_at(body, "metadata")["uid"] = revision->meta.uid;
    account_.client.patch(kControllerRevisions, owner.ref.ns, name, strategic ? "strategic-merge" : "merge",
                          std::move(body), [this, owner, name, done](base::Result<json::value> result) {
                            if (!result.ok()) {
                              if (result.error().kind == base::Kind::kNotFound) return done({});
                              return done(base::wrap(result.error(), "change ControllerRevision", name));
                            }
                            reconciler_.gate.wrote(owner.key, revisions_, revision_of(*result), hub_.now());
                            done({});
                          });
  };
}

Step RevisionKeeper::create(const PodOwner::Owner& owner, json::object body, std::function<void()> collided) {
  return [this, owner, body = std::move(body), collided = std::move(collided)](PodOwner::Done done) {
    const auto made = Revision::reader(kControllerRevisions)(json::value(body));
    account_.client.create(kControllerRevisions, owner.ref.ns, body,
                           [this, owner, name = made->meta.name, content = made->content, collided,
                            done](base::Result<json::value> result) {
                             if (result.ok()) {
                               reconciler_.gate.wrote(owner.key, revisions_, revision_of(*result),
                                                      hub_.now());
                               return done({});
                             }
                             // Not seen yet: look again. Ours, made by a request whose answer was lost: the
                             // watch showed it.
                             auto other = revisions_.get(key_of(owner.ref.ns, name));
                             if (other && result.error().kind == base::Kind::kExists) {
                               const bool ours = other->controller.uid == owner.ref.uid;
                               // Of the same template it is no collision, whoever has it: it will be taken,
                               // or goes.
                               if (other->content != content) collided();
                               if (other->content != content || (ours && !other->meta.deleting))
                                 return done({});
                             }
                             done(base::wrap(result.error(), "create ControllerRevision", name));
                           });
  };
}

Step RevisionKeeper::remove(const PodOwner::Owner& owner, const std::string& name) {
  return [this, owner, name](PodOwner::Done done) {
    const std::string key = key_of(owner.ref.ns, name);
    auto revision = revisions_.get(key);
    if (!revision || revision->meta.deleting) return done({});
    account_.client.remove(
        kControllerRevisions, owner.ref.ns, name,
        json::object{{"preconditions", {{"uid", revision->meta.uid}}}},
        [this, owner, key, uid = revision->meta.uid, done](base::Result<json::value> result) {
          if (!result.ok() && result.error().kind != base::Kind::kNotFound) return done(result.error());
          reconciler_.gate.deleted(
              owner.key,
              [this, key, uid] {
                auto now = revisions_.get(key);
                return !now || now->meta.uid != uid || now->meta.deleting;
              },
              hub_.now());
          done({});
        });
  };
}

}  // namespace master::controllers
