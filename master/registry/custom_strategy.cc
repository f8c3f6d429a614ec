#include "master/registry/custom_strategy.h"

#include "base/json_lists.h"

namespace master {

namespace json = base::json;

std::string_view storage_version(const json::value& definition) {
  const json::value* list = base::find_path(definition, "spec", "versions");
  if (list && list->is_array())
    for (const json::value& version : list->get_array())
      if (base::as_bool(base::find(version, "storage"))) return base::string_at(version, "name");
  return {};
}

void prepare_definition_create(json::value& definition) {
  json::object& root = definition.get_object();
  base::object_at(root, "metadata")["generation"] = 1;
  root["status"] = json::object{{"acceptedNames", json::object{{"kind", ""}, {"plural", ""}}},
                                {"conditions", json::array()},
                                {"storedVersions", json::array{storage_version(definition)}}};
}
void prepare_definition_update(const json::value& current, json::value& updated) {
  json::value& status = updated.get_object()["status"];
  if (!status.is_object()) status = json::object();
  json::value& stored = status.get_object()["storedVersions"];
  if (!stored.is_array()) stored = json::array();
  std::string_view version = storage_version(updated);
  for (const json::value& one : stored.get_array())
    if (base::as_string(&one) == version) return;
  if (storage_version(current) != version || stored.get_array().empty())
    stored.get_array().push_back(json::value(version));
}

void prepare_custom_create(bool has_status, json::value& object) {
  json::object& root = object.get_object();
  if (has_status) root.erase("status");
  base::object_at(root, "metadata")["generation"] = 1;
}

void prepare_custom_update(bool has_status, std::string_view subresource, const json::value& current,
                           json::value& updated) {
  const json::object& old = current.get_object();
  const json::object& old_metadata = current.at("metadata").get_object();
  if (subresource == "status") {
    json::value taken = current;
    base::copy_member(updated.get_object(), taken.get_object(), "status");
    if (const json::value* fields = base::find_path(updated, "metadata", "managedFields"))
      taken.at("metadata").get_object()["managedFields"] = *fields;
    updated = std::move(taken);
    return;
  }
  json::object& fresh = updated.get_object();
  json::object& metadata = base::object_at(fresh, "metadata");
  for (const char* owned : {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
                            "generation", "generateName", "namespace", "name"})
    base::copy_member(old_metadata, metadata, owned);
  if (has_status) base::copy_member(old, fresh, "status");
  // Everything but metadata and a status that has its own door counts as what is wanted.
  json::object was = old, is = fresh;
  for (json::object* one : {&was, &is}) {
    one->erase("metadata");
    one->erase("apiVersion");
    if (has_status) one->erase("status");
  }
  if (was != is) metadata["generation"] = base::as_int(old_metadata.if_contains("generation")) + 1;
}

}  // namespace master
