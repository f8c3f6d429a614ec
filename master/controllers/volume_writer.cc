#include "master/controllers/volume_writer.h"

#include "base/log.h"

namespace master::controllers {

namespace {
constexpr const char* kBinderComponent = "persistentvolume-controller";
}

ObjectRef ref_of(const Claim& claim) {
  return {"v1", "PersistentVolumeClaim", claim.meta.ns, claim.meta.name, claim.meta.uid};
}
ObjectRef ref_of(const Volume& volume) {
  return {"v1", "PersistentVolume", "", volume.meta.name, volume.meta.uid};
}

void VolumeWriter::send(const VolumeWrite& write, api::Client::Done done) {
  const bool claim = write.of == VolumeWrite::Of::kClaim;
  const api::Resource& resource = claim ? kPersistentVolumeClaims : kPersistentVolumes;
  const Meta& judged = write.judged;
  switch (write.verb) {
    case VolumeWrite::Verb::kCreate:
      return account_.client.create(resource, judged.ns, write.body, std::move(done));
    case VolumeWrite::Verb::kRemove:
      return account_.client.remove(
          resource, judged.ns, judged.name,
          json::object{
              {"preconditions", {{"uid", judged.uid}, {"resourceVersion", std::to_string(judged.revision)}}}},
          std::move(done));
    case VolumeWrite::Verb::kPatch:
    case VolumeWrite::Verb::kPatchStatus: {
      json::object body = write.body;
      json::object& metadata = base::object_at(body, "metadata");
      metadata["uid"] = judged.uid;
      metadata["resourceVersion"] = std::to_string(judged.revision);
      return account_.client.patch(resource, judged.ns, judged.name, "merge", std::move(body),
                                   std::move(done),
                                   write.verb == VolumeWrite::Verb::kPatchStatus ? "status" : "");
    }
  }
}

void VolumeWriter::carry_out(Reconciler& reconciler, const std::string& key, const ObjectRef& about,
                             VolumePlan plan, Reconciler::Finish finish) {
  if (base::log::enabled(base::log::Level::kDebug) && (plan.write || !plan.events.empty()))
    base::log::debug("{} {}: {}", about.kind, key, plan.text());
  account_.events.record(about, plan.events, kBinderComponent);
  if (!plan.write) return finish(Reconciler::Outcome::kDone);
  const VolumeWrite write = *plan.write;
  send(write, [this, &reconciler, key, about, write, events = std::move(plan.done_events),
               finish = std::move(finish)](base::Result<json::value> result) {
    if (!result.ok()) {
      // What is gone comes through the watch, and is judged anew.
      const bool gone =
          result.error().kind == base::Kind::kNotFound && write.verb != VolumeWrite::Verb::kCreate;
      return Reconciler::end(about.kind.c_str(), key, gone ? base::Status() : base::Status(result.error()),
                             finish);
    }
    account_.events.record(about, events, kBinderComponent);
    const bool claim = write.of == VolumeWrite::Of::kClaim;
    const StoreBase& store = claim ? static_cast<const StoreBase&>(claims_) : volumes_;
    if (write.verb != VolumeWrite::Verb::kRemove)
      reconciler.gate.wrote(key, store, revision_of(*result), hub_.now());
    else
      reconciler.gate.deleted(
          key,
          [this, meta = write.judged] {
            auto now = volumes_.get(meta.key());
            return !now || now->meta.uid != meta.uid || now->meta.deleting;
          },
          hub_.now());
    finish(Reconciler::Outcome::kDone);
  });
}

}  // namespace master::controllers
