#include "master/controllers/namespaces.h"

namespace master::controllers {
using base::as_string;
using base::find_path;
using base::string_at;

namespace {
std::shared_ptr<const Namespace> read_namespace(const json::value& object) {
  auto ns = std::make_shared<Namespace>();
  ns->meta = read_meta(object);
  ns->phase = string_at(object, "status", "phase");
  ns->deletion_at = read_time(string_at(object, "metadata", "deletionTimestamp"));
  if (const json::value* list = find_path(object, "status", "conditions"); list && list->is_array())
    ns->conditions = list->get_array();
  if (const json::value* list = find_path(object, "spec", "finalizers"); list && list->is_array())
    for (const json::value& item : list->get_array()) ns->has_finalizer |= as_string(&item) == "kubernetes";
  return ns;
}
std::shared_ptr<const ConfigMap> read_config_map(const json::value& object) {
  auto map = std::make_shared<ConfigMap>();
  map->meta = read_meta(object);
  if (map->meta.name == "kube-root-ca.crt")
    map->ca_hash = std::hash<std::string_view>()(string_at(object, "data", "ca.crt"));
  if (map->meta.name == "sampan-address-pools" && map->meta.ns == "kube-system")
    if (const json::value* data = base::find(object, "data"); data && data->is_object())
      for (const auto& item : data->get_object())
        map->address_pools.emplace(item.key(), base::as_string(&item.value()));
  return map;
}
}  // namespace

Store<Namespace>::Reader Namespace::reader(const api::Resource&) { return read_namespace; }
Store<ConfigMap>::Reader ConfigMap::reader(const api::Resource&) { return read_config_map; }
Store<ServiceAccount>::Reader ServiceAccount::reader(const api::Resource&) {
  return [](const json::value& object) {
    return std::make_shared<const ServiceAccount>(ServiceAccount{read_meta(object)});
  };
}

}  // namespace master::controllers
