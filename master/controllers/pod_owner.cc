#include "master/controllers/pod_owner.h"

#include "master/controllers/workloads.h"

namespace master::controllers {
using base::string_at;

Step PodOwner::take(const Owner& owner, const std::string& pod) {
  const ObjectRef& ref = owner.ref;
  json::object metadata{
      {"ownerReferences", json::array{controller_reference(ref.api_version, ref.kind, ref.name, ref.uid)}}};
  if (!owner.finalizer.empty()) metadata["finalizers"] = json::array{owner.finalizer};
  return patch(owner, pod, std::move(metadata));
}
Step PodOwner::release(const Owner& owner, const std::string& pod) {
  json::object metadata{
      {"ownerReferences", json::array{json::object{{"$patch", "delete"}, {"uid", owner.ref.uid}}}}};
  if (!owner.finalizer.empty())
    metadata["$deleteFromPrimitiveList/finalizers"] = json::array{owner.finalizer};
  return patch(owner, pod, std::move(metadata));
}

Step PodOwner::patch(const Owner& owner, const std::string& name, json::object metadata) {
  return [this, owner, name, metadata = std::move(metadata)](Done done) {
    auto pod = pods_.get(key_of(owner.ref.ns, name));
    if (!pod) return done({});
    json::object meta = metadata;
    meta["uid"] = pod->meta.uid;  // it fails when the Pod is not the one we saw
    account_.client.patch(api::resources::pods, owner.ref.ns, name, "strategic-merge",
                          json::object{{"metadata", std::move(meta)}},
                          [this, owner, name, done](base::Result<json::value> result) {
                            if (!result.ok()) {
                              if (result.error().kind == base::Kind::kNotFound) return done({});
                              return done(base::wrap(result.error(), "take or release Pod", name));
                            }
                            reconciler_.gate.wrote(owner.key, pods_, revision_of(*result), hub_.now());
                            done({});
                          });
  };
}

struct PodOwner::Batch {
  Owner owner;
  std::vector<json::object> bodies;
  size_t next = 0;
  Done done;
};

void PodOwner::tell(const Owner& owner, const char* type, const char* reason, const std::string& words,
                    std::string_view pod, std::string_view error) {
  account_.events.record(owner.ref, type, reason,
                         fmt::format(fmt::runtime(words), fmt::arg("pod", pod),
                                     fmt::arg("owner", owner.ref.name), fmt::arg("error", error)),
                         component_);
}

void PodOwner::create(const Owner& owner, std::vector<json::object> bodies, Done done) {
  create_some(std::make_shared<Batch>(Batch{owner, std::move(bodies), 0, std::move(done)}), 1);
}

void PodOwner::create_some(std::shared_ptr<Batch> batch, size_t count) {
  count = std::min(count, batch->bodies.size() - batch->next);
  if (count == 0) return batch->done({});
  std::vector<Step> steps;
  for (size_t i = 0; i < count; ++i)
    steps.push_back([this, batch, at = batch->next + i](Done done) {
      const json::value* given = batch->bodies[at]["metadata"].is_object()
                                     ? batch->bodies[at]["metadata"].get_object().if_contains("name")
                                     : nullptr;
      account_.client.create(
          api::resources::pods, batch->owner.ref.ns, std::move(batch->bodies[at]),
          [this, batch, done, name = std::string(base::as_string(given))](base::Result<json::value> result) {
            const Owner& owner = batch->owner;
            if (!result.ok()) {
              if (result.error().kind != base::Kind::kExists)  // a name that is taken: not ours to tell of
                tell(owner, "Warning", "FailedCreate", words_.create_failed, name, answered(result.error()));
              return done(result.error());
            }
            reconciler_.gate.wrote(owner.key, pods_, revision_of(*result), hub_.now());
            tell(owner, "Normal", "SuccessfulCreate", words_.created, string_at(*result, "metadata", "name"));
            done({});
          });
    });
  batch->next += count;
  all(std::move(steps), [this, batch, count](base::Status status) {
    if (!status.ok()) return batch->done(std::move(status));
    create_some(batch, count * 2);
  });
}

void PodOwner::remove(const Owner& owner, const std::vector<std::string>& names, Done done) {
  std::vector<Step> steps;
  for (const std::string& name : names) {
    auto pod = pods_.get(key_of(owner.ref.ns, name));
    if (!pod) continue;
    steps.push_back([this, owner, pod](Done step_done) {
      account_.client.remove(api::resources::pods, pod->meta.ns, pod->meta.name,
                             json::object{{"preconditions", {{"uid", pod->meta.uid}}}},
                             [this, owner, pod, step_done](base::Result<json::value> result) {
                               const bool gone = !result.ok() && result.error().kind == base::Kind::kNotFound;
                               if (!result.ok() && !gone) {
                                 tell(owner, "Warning", "FailedDelete", words_.delete_failed, pod->meta.name,
                                      answered(result.error()));
                                 return step_done(result.error());
                               }
                               reconciler_.gate.deleted(
                                   owner.key,
                                   [this, pod] {
                                     auto now = pods_.get(pod->meta.key());
                                     return !now || now->meta.uid != pod->meta.uid || now->meta.deleting;
                                   },
                                   hub_.now());
                               if (!gone)
                                 tell(owner, "Normal", "SuccessfulDelete", words_.deleted, pod->meta.name);
                               step_done({});
                             });
    });
  }
  all(std::move(steps), std::move(done));
}

}  // namespace master::controllers
