#include "kubelet/volumes/local_volumes.h"

#include <algorithm>

#include "api/local_volumes.h"
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
}  // namespace

VolumeDue due_of(const json::value& volume, const std::string& node, const std::string& directory) {
  if (string_at(volume, "metadata", "deletionTimestamp").empty() || !bears(volume, names::kDataFinalizer) ||
      bears(volume, "kubernetes.io/pv-protection"))
    return VolumeDue::kNothing;
  if (string_at(volume, "metadata", "labels", names::kNodeLabel) != names::node_label(node))
    return VolumeDue::kNothing;
  const std::string name(string_at(volume, "metadata", "name"));
  const bool ours = string_at(volume, "metadata", "annotations", "pv.kubernetes.io/provisioned-by") ==
                        names::kProvisioner &&
                    names::is_volume_name(name) &&
                    string_at(volume, "spec", "local", "path") == directory + "/" + name;
  return ours && string_at(volume, "spec", "persistentVolumeReclaimPolicy") == "Delete"
             ? VolumeDue::kRemoveData
             : VolumeDue::kLetGo;
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
  if (change == api::Informer::Change::kDeleted || due_of(object, node_, directory_) == VolumeDue::kNothing) {
    if (auto at = leaving_.find(name); at != leaving_.end() && !at->second.busy) leaving_.erase(at);
    return;
  }
  leaving_[name].object = object;
  go_on(name);
}

void LocalVolumes::go_on(const std::string& name) {
  Leaving& volume = leaving_[name];
  if (volume.busy) return;
  volume.busy = true;
  if (volume.removed || due_of(volume.object, node_, directory_) == VolumeDue::kLetGo) return let_go(name);
  background_.call<base::Status>(
      [directory = directory_, name] { return remove_local_data(directory, name); },
      [this, name](base::Status status) {
        if (!status.ok()) return later(name, status.error());
        leaving_[name].removed = true;
        let_go(name);
      });
}

// The finalizer goes from the list as it was seen; who changed it meanwhile brings us here again.
void LocalVolumes::let_go(const std::string& name) {
  const json::value& object = leaving_[name].object;
  json::array rest;
  for (const json::value& one : base::list_at(base::find_path(object, "metadata", "finalizers")))
    if (base::as_string(&one) != names::kDataFinalizer) rest.push_back(one);
  json::object metadata{{"uid", string_at(object, "metadata", "uid")},
                        {"resourceVersion", string_at(object, "metadata", "resourceVersion")},
                        {"finalizers", std::move(rest)}};
  client_.patch(kPersistentVolumes, "", name, "merge", json::object{{"metadata", std::move(metadata)}},
                [this, name](base::Result<json::value> result) {
                  if (!result.ok() && result.error().kind != base::Kind::kNotFound)
                    return later(name, result.error());
                  leaving_.erase(name);
                });
}

void LocalVolumes::later(const std::string& name, const base::Error& error) {
  Leaving& volume = leaving_[name];
  volume.busy = false;
  if (error.kind != base::Kind::kConflict) {
    base::log::warning("remove local volume {}: {}: tried again", name, error.message());
    events_.emit({.kind = "PersistentVolume",
                  .ns = "",
                  .name = name,
                  .uid = std::string(string_at(volume.object, "metadata", "uid")),
                  .container = ""},
                 true, "VolumeFailedDelete", error.message());
  }
  volume.retry = loop_.after(volume.backoff.next(), [this, name] {
    if (leaving_.count(name)) go_on(name);
  });
}

}  // namespace kubelet
