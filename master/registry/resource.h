// What the API server serves: one ResourceInfo per resource and version. Everything that differs
// between kinds and is not in the schema tables stands here; what needs code is a Strategy
// (strategy.h). Built-in rows: builtin_resources.cc; custom resources are added while running.
// Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/schema.h"
#include "api/status.h"

namespace master {

class Conversion;
class ObjectCache;
struct Strategy;
extern const Strategy kNoStrategy;  // does nothing

struct ResourceInfo {
  std::string group = {};  // "" for core
  std::string version = {};
  std::string plural = {};  // "pods"
  std::string singular = {};
  std::string kind = {};         // "Pod"
  std::string short_names = {};  // "po", "rs,…"; "" for none
  std::string categories = {};   // "all"
  bool namespaced = false;
  bool has_status = false;  // a status subresource; create and update keep status out
  bool has_scale = false;
  bool is_volatile = false;          // lives in memory only (leases)
  std::string package = {};          // of its type in the tables
  std::string field_selectors = {};  // "spec.nodeName,status.phase" besides metadata.name/namespace
  std::string subresources = {};     // further ones: "log,exec,binding"
  // What clients may do, "create" for reviews that are answered and never stored; "": everything.
  std::string verbs = {};
  bool creates_on_update = false;  // PUT of what is not there makes it
  // "autoscaling/v2": the group version of the same plural whose objects this one shows in another
  // form; "": this one is stored.
  std::string stored_as = {};
  // Between the shapes of this version and of the stored one; null: only apiVersion differs.
  base::json::value (*to_stored)(base::json::value) = nullptr;
  base::json::value (*from_stored)(base::json::value) = nullptr;

  // False: no path leads to it; a custom resource's version that is only stored.
  bool served = true;
  // Steps aside for another API server's of the same group version, and has no APIService of its own: who
  // brings a metrics server brings one.
  bool yields = false;
  // Another API server's (aggregator.h): group, version and plural are all that is known of it.
  bool remote = false;
  // The webhook of a custom resource whose versions differ in more than apiVersion.
  std::shared_ptr<Conversion> conversion = {};

  // Set by ResourceTable::add, unless given:
  const api::Type* type = nullptr;
  std::shared_ptr<const void> type_owner = {};  // of a type made at run time
  std::string list_kind = {};                   // "PodList"
  std::vector<std::vector<std::string_view>> selector_paths = {};
  std::vector<std::string_view> selector_names = {};
  std::string group_version_text = {};
  std::shared_ptr<ResourceInfo> stored_version = {};  // null: itself
  const Strategy* strategy = &kNoStrategy;            // strategy.h
  std::shared_ptr<ObjectCache> objects = {};          // shared by all versions; null for reviews

  std::string_view group_version() const { return group_version_text; }  // "v1", "apps/v1"
  std::string gvk() const { return group_version_text + "/" + kind; }    // "v1/Pod": as api/ names kinds
  api::GroupResource named() const { return {group, plural}; }           // for Status objects
  std::string qualified() const;  // "pods", "deployments.apps": as messages name it
  bool is(std::string_view g, std::string_view p) const { return plural == p && group == g; }
  ResourceInfo& stored() { return stored_version ? *stored_version : *this; }
  const ResourceInfo& stored() const { return stored_version ? *stored_version : *this; }
  // The version in which a write is defaulted, admitted and validated: the stored one, but that of the
  // request where a webhook converts, which happens at the store's door (custom_conversion.h).
  ResourceInfo& worked() { return conversion ? *this : stored(); }
  const ResourceInfo& worked() const { return conversion ? *this : stored(); }
};
using ResourcePtr = std::shared_ptr<ResourceInfo>;
// An object of this version as it is worked on, and such a one as this version shows it.
base::json::value stored_form(const ResourceInfo& resource, base::json::value object);
base::json::value served_form(const ResourceInfo& resource, base::json::value object);

// All resources that one server serves, in discovery order.
class ResourceTable {
 public:
  ResourceTable();  // the built-in ones
  const std::vector<ResourcePtr>& all() const { return all_; }
  // If it is served, here or (a row made for the call) by another API server.
  ResourcePtr find(std::string_view group, std::string_view version, std::string_view plural) const;
  ResourcePtr find_kind(std::string_view group, std::string_view kind) const;  // its first version
  // The version whose objects are stored.
  ResourcePtr find_stored(std::string_view group, std::string_view plural) const;
  // Fills what is derived; a row that names another by `stored_as` comes after it. Replaces a row of
  // the same group, version and plural; requests under way keep the old one.
  ResourcePtr add(ResourceInfo row);
  void remove(std::string_view group, std::string_view version, std::string_view plural);
  // Group versions ("metrics.k8s.io/v1beta1") that other API servers serve.
  void set_remote(std::set<std::string, std::less<>> group_versions);
  // Group versions that are served here, versions of a group side by side and the newest first.
  std::vector<std::pair<std::string, std::string>> group_versions() const;
  // Rises with add and remove: what is made from the table (discovery, OpenAPI) is stale.
  uint64_t generation() const { return generation_; }
  // Called after each of them; must not change the table.
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }

 private:
  std::vector<ResourcePtr> all_;
  std::map<std::string, ResourcePtr, std::less<>> by_path_;  // "apps/v1/deployments"
  std::set<std::string, std::less<>> remote_;
  uint64_t generation_ = 1;
  std::function<void()> changed_;
};
std::vector<ResourceInfo> builtin_resources();
// Kubernetes' order of versions: v2 before v1 before v1beta2 before v1alpha1 before any other word.
bool newer_version(std::string_view a, std::string_view b);

// Verbs a client may use: "create delete … watch".
std::vector<std::string_view> verbs_of(const ResourceInfo& resource);
struct Subresource {
  std::string_view name, group, version, kind;
  std::vector<std::string_view> verbs;
};
std::vector<Subresource> subresources_of(const ResourceInfo& resource);
// The row of what a subresource takes; its type in the tables.
std::optional<Subresource> subresource_of(const ResourceInfo& resource, std::string_view name);
const api::Type* type_of(const Subresource& subresource);

}  // namespace master
