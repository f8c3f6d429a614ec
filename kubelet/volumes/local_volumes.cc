#include "kubelet/volumes/local_volumes.h"

#include <algorithm>

#include "api/local_volumes.h"
#include "api/quantity.h"
#include "base/json_lists.h"
#include "base/log.h"

namespace kubelet {

namespace json = base::json;
namespace names = api::local_volumes;
using base::string_at;

namespace {
const api::Resource kPersistentVolumes{"", "v1", "persistentvolumes", "PersistentVolume", false};

bool bears(const json::value& volume, std::string_view finalizer) {
  for (const json::value& one : base::list_at(base::find_path(volume, "metadata", "finalizers")))
    if (base::as_string(&one) == finalizer) return true;
  return false;
}
std::string size_of(const json::value& volume) {
  return std::string(string_at(volume, "metadata", "uid"))
      .append(" ")
      .append(string_at(volume, "spec", "capacity", "storage"));
}
}  // namespace

const char* to_string(VolumeDue due) {
  switch (due) {
    case VolumeDue::kNothing: return "nothing";
    case VolumeDue::kRemoveData: return "remove data";
    case VolumeDue::kLetGo: return "let go";
    case VolumeDue::kGrow: return "grow";
    case VolumeDue::kTellSize: return "tell size";
  }
  return "";
}

VolumeDue due_of(const json::value& volume, const std::string& node, const std::string& directory) {
  if (string_at(volume, "metadata", "labels", names::kNodeLabel) != names::node_label(node))
    return VolumeDue::kNothing;
  const std::string name(string_at(volume, "metadata", "name"));
  const bool ours = string_at(volume, "metadata", "annotations", "pv.kubernetes.io/provisioned-by") ==
                        names::kProvisioner &&
                    names::is_volume_name(name) &&
                    string_at(volume, "spec", "local", "path") == directory + "/" + name;
  if (string_at(volume, "metadata", "deletionTimestamp").empty()) {
    const std::string_view capacity = string_at(volume, "spec", "capacity", "storage");
    return ours && !capacity.empty() &&
                   string_at(volume, "metadata", "annotations", names::kSizeAnnotation) != capacity
               ? VolumeDue::kGrow
               : VolumeDue::kNothing;
  }
  if (!bears(volume, names::kDataFinalizer) || bears(volume, "kubernetes.io/pv-protection"))
    return VolumeDue::kNothing;
  return ours && string_at(volume, "spec", "persistentVolumeReclaimPolicy") == "Delete"
             ? VolumeDue::kRemoveData
             : VolumeDue::kLetGo;
}

VolumeDue VolumeErrand::next(const std::string& node, const std::string& directory) const {
  if (busy_ || object_.is_null()) return VolumeDue::kNothing;
  const VolumeDue due = due_of(object_, node, directory);
  if (due == VolumeDue::kRemoveData && removed_ == string_at(object_, "metadata", "uid"))
    return VolumeDue::kLetGo;
  if (due == VolumeDue::kGrow && grown_ == size_of(object_)) return VolumeDue::kTellSize;
  return due;
}
void VolumeErrand::end(VolumeDue due, const json::value& object, bool ok) {
  busy_ = false;
  if (!ok) return;
  if (due == VolumeDue::kRemoveData) removed_ = string_at(object, "metadata", "uid");
  if (due == VolumeDue::kGrow) grown_ = size_of(object);
  // Written to the API server: the watch says what became of it.
  const bool same =
      string_at(object, "metadata", "resourceVersion") == string_at(object_, "metadata", "resourceVersion");
  if ((due == VolumeDue::kLetGo || due == VolumeDue::kTellSize) && same) object_ = nullptr;
}

LocalVolumes::LocalVolumes(base::Loop& loop, api::Client& client, Background& background, Events& events,
                           std::string node, std::string directory)
    : loop_(loop), client_(client), background_(background), events_(events), node_(std::move(node)),
      directory_(std::move(directory)),
      volumes_(loop, client.transport(),
               {.resource = kPersistentVolumes,
                .ns = "",
                .label_selector = std::string(names::kNodeLabel) + "=" + names::node_label(node_),
                .field_selector = ""},
               [this](api::Informer::Change change, const json::value& object) { seen(change, object); }) {}

void LocalVolumes::start() {
  background_.call<HostStorage>(
      [] { return probe_storage(); },
      [this](HostStorage host) {
        if (choose_backing(host) == Backing::kImage) return;
        events_.emit({.kind = "Node", .ns = "", .name = node_, .uid = node_, .container = ""}, true,
                     "LocalVolumesUnlimited",
                     "The size of local volumes is not enforced on this node: it has no loop devices, or no "
                     "mkfs.ext4. They are plain directories.");
      });
  // First: nothing else makes or removes data before it is done.
  background_.call<base::Status>([directory = directory_] { return remove_unfinished_data(directory); },
                                 [this](base::Status status) {
                                   if (!status.ok())
                                     base::log::warning("remove what was left of local volumes: {}",
                                                        status.error().message());
                                   volumes_.start();
                                 });
}

void LocalVolumes::seen(api::Informer::Change change, const json::value& object) {
  const std::string name(string_at(object, "metadata", "name"));
  const bool none =
      change == api::Informer::Change::kDeleted || due_of(object, node_, directory_) == VolumeDue::kNothing;
  if (none && !errands_.contains(name)) return;
  errands_[name].plan.see(none ? json::value() : object);
  go_on(name);
}

void LocalVolumes::go_on(const std::string& name) {
  auto at = errands_.find(name);
  if (at == errands_.end()) return;
  VolumeErrand& plan = at->second.plan;
  if (plan.is_over()) {
    errands_.erase(at);
    return;
  }
  const VolumeDue due = plan.next(node_, directory_);
  if (due == VolumeDue::kNothing) return;
  plan.begin();
  at->second.retry.cancel();
  const json::value object = plan.object();
  const std::string uid(string_at(object, "metadata", "uid"));
  if (due == VolumeDue::kTellSize)
    return patch(name, due, object,
                 {{"annotations", json::object{{names::kSizeAnnotation,
                                                string_at(object, "spec", "capacity", "storage")}}}});
  if (due == VolumeDue::kLetGo) {
    // The finalizer goes from the list as it was seen; who changed it meanwhile brings us here again.
    json::array rest;
    for (const json::value& one : base::list_at(base::find_path(object, "metadata", "finalizers")))
      if (base::as_string(&one) != names::kDataFinalizer) rest.push_back(one);
    return patch(name, due, object, {{"finalizers", std::move(rest)}});
  }
  auto size = api::Quantity::parse(string_at(object, "spec", "capacity", "storage"));
  const LocalVolume volume{directory_, name, uid, size.ok() ? size->to_bytes() : 0,
                           string_at(object, "spec", "volumeMode") == "Block"};
  background_.call<base::Status>(
      [volume, due]() -> base::Status {
        if (due == VolumeDue::kRemoveData)
          return remove_local_data(volume.directory, volume.name, volume.uid);
        if (volume.size_bytes <= 0)
          return base::make_error(base::Kind::kInvalid, "grow local volume", volume.name,
                                  "it has no capacity");
        return grow_local_data(volume, probe_storage());
      },
      [this, name, due, object](base::Status status) { ended(name, due, object, std::move(status)); });
}

void LocalVolumes::patch(const std::string& name, VolumeDue due, const json::value& object,
                         json::object metadata) {
  metadata["uid"] = string_at(object, "metadata", "uid");
  metadata["resourceVersion"] = string_at(object, "metadata", "resourceVersion");
  client_.patch(kPersistentVolumes, "", name, "merge", json::object{{"metadata", std::move(metadata)}},
                [this, name, due, object](base::Result<json::value> result) {
                  const bool gone = !result.ok() && result.error().kind == base::Kind::kNotFound;
                  ended(name, due, object, result.ok() || gone ? base::Status() : result.error());
                });
}

void LocalVolumes::ended(const std::string& name, VolumeDue due, const json::value& object,
                         base::Status status) {
  auto at = errands_.find(name);
  if (at == errands_.end()) return;
  at->second.plan.end(due, object, status.ok());
  if (status.ok()) {
    at->second.backoff.reset();
    return go_on(name);
  }
  if (at->second.plan.is_over()) return go_on(name);
  if (status.error().kind != base::Kind::kConflict) {
    base::log::warning("local volume {}: {}: {}: tried again", name, to_string(due),
                       status.error().message());
    const bool grows = due == VolumeDue::kGrow || due == VolumeDue::kTellSize;
    events_.emit({.kind = "PersistentVolume",
                  .ns = "",
                  .name = name,
                  .uid = std::string(string_at(object, "metadata", "uid")),
                  .container = ""},
                 true, grows ? "VolumeResizeFailed" : "VolumeFailedDelete", status.error().message());
  }
  at->second.retry = loop_.after(at->second.backoff.next(), [this, name] { go_on(name); });
}

}  // namespace kubelet
