#include "master/admission/token_audience.h"

#include <algorithm>
#include <vector>

#include "base/json_lists.h"

namespace master {

namespace json = base::json;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

namespace {

// In-tree kinds and the drivers that took them over.
constexpr std::pair<const char*, std::string_view> kMigrated[] = {
    {"awsElasticBlockStore", "ebs.csi.aws.com"},
    {"azureDisk", "disk.csi.azure.com"},
    {"azureFile", "file.csi.azure.com"},
    {"cinder", "cinder.csi.openstack.org"},
    {"gcePersistentDisk", "pd.csi.storage.gke.io"},
    {"portworxVolume", "pxd.portworx.com"},
    {"vsphereVolume", "csi.vsphere.vmware.com"}};

std::string driver_of(const json::value& source) {
  if (std::string_view driver = string_at(source, "csi", "driver"); !driver.empty())
    return std::string(driver);
  for (const auto& [kind, driver] : kMigrated)
    if (const json::value* found = find(source, kind); found && !found->is_null()) return std::string(driver);
  return {};
}

class Search {
 public:
  Search(const json::value& pod, std::string_view audience, const AudienceCaches& caches)
      : pod_(pod), audience_(audience), caches_(caches) {}
  base::Result<bool> run() {
    for (const json::value& volume : list_at(find_path(pod_, "spec", "volumes"))) {
      for (const json::value& source : list_at(find_path(volume, "projected", "sources")))
        if (const json::value* token = find(source, "serviceAccountToken"))
          if (string_at(*token, "audience") == audience_) return true;
      if (wanted_by(driver_behind(volume))) return true;
    }
    if (missing_.empty()) return false;
    std::string text = missing_[0];
    for (size_t i = 1; i < missing_.size(); ++i) text += ", " + missing_[i];
    if (missing_.size() > 1) text = "[" + text + "]";
    return base::make_error(base::Kind::kNotFound, "find the drivers of a Pod's volumes", "", text);
  }

 private:
  ObjectRef look_up(const ObjectCache& cache, std::string_view ns, std::string_view name, const char* kind) {
    ObjectRef found = cache.find(object_key(ns, name));
    if (!found) {
      std::string text = std::string(kind) + " " + base::quoted(name) + " not found";
      if (std::find(missing_.begin(), missing_.end(), text) == missing_.end()) missing_.push_back(text);
    }
    return found;
  }
  // "": none, or it can't be found.
  std::string driver_behind(const json::value& volume) {
    std::string claim(string_at(volume, "persistentVolumeClaim", "claimName"));
    if (const json::value* own = find(volume, "ephemeral"); own && !own->is_null())
      claim = std::string(string_at(pod_, "metadata", "name")) + "-" + std::string(string_at(volume, "name"));
    if (claim.empty()) return driver_of(volume);
    ObjectRef found =
        look_up(caches_.claims, string_at(pod_, "metadata", "namespace"), claim, "persistentvolumeclaim");
    if (!found) return {};
    json::value parsed = parse_object(*found->text);
    std::string_view bound = string_at(parsed, "spec", "volumeName");
    if (bound.empty()) return {};
    found = look_up(caches_.volumes, "", bound, "persistentvolume");
    if (!found) return {};
    parsed = parse_object(*found->text);
    const json::value* spec = find(parsed, "spec");
    return spec ? driver_of(*spec) : std::string();
  }
  bool wanted_by(const std::string& driver) {
    if (driver.empty()) return false;
    ObjectRef found = look_up(caches_.drivers, "", driver, "csidriver.storage.k8s.io");
    if (!found) return false;
    json::value parsed = parse_object(*found->text);
    for (const json::value& request : list_at(find_path(parsed, "spec", "tokenRequests")))
      if (string_at(request, "audience") == audience_) return true;
    return false;
  }

  const json::value& pod_;
  std::string_view audience_;
  const AudienceCaches& caches_;
  std::vector<std::string> missing_;
};

}  // namespace

base::Result<bool> asks_for_audience(const json::value& pod, std::string_view audience,
                                     const AudienceCaches& caches) {
  return Search(pod, audience, caches).run();
}

}  // namespace master
