// What the API server serves: one row per resource. Everything that differs between kinds and is
// not in the schema tables stands here; what needs code is a Strategy (strategy.h).
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "api/schema.h"
#include "api/status.h"

namespace master {

struct ResourceInfo {
  const char* group;        // "" for core
  const char* version;
  const char* plural;       // "pods"
  const char* singular;
  const char* kind;         // "Pod"
  const char* short_names;  // "po", "rs,…"; "" for none
  const char* categories;   // "all"
  bool namespaced;
  bool has_status;          // a status subresource; create and update keep status out
  bool has_scale;
  bool is_volatile;         // lives in memory only (leases)
  const char* package;      // of its type in the tables
  const char* field_selectors;  // "spec.nodeName,status.phase" besides metadata.name/namespace
  const char* subresources;     // further ones: "log,exec,binding"
  // Set once at start:
  const api::Type* type = nullptr;
  std::vector<std::vector<std::string_view>> selector_paths = {};
  std::vector<std::string_view> selector_names = {};

  std::string group_version_text = {};

  std::string_view group_version() const { return group_version_text; }  // "v1", "apps/v1"
  std::string gvk() const { return group_version_text + "/" + kind; }  // "v1/Pod": as api/ names kinds
  api::GroupResource named() const { return {group, plural}; }         // for Status objects
  std::string qualified() const;  // "pods", "deployments.apps": as messages name it
};

// All served resources, in discovery order. The first call resolves the types.
std::vector<ResourceInfo>& resources();
ResourceInfo* find_resource(std::string_view group, std::string_view version, std::string_view plural);
ResourceInfo* find_kind(std::string_view group, std::string_view kind);
// Verbs a client may use: "create delete … watch".
std::vector<std::string_view> verbs_of(const ResourceInfo& resource);
struct Subresource {
  std::string_view name, group, version, kind;
  std::vector<std::string_view> verbs;
};
std::vector<Subresource> subresources_of(const ResourceInfo& resource);

}  // namespace master
