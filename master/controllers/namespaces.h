// What controllers keep of Namespaces and of what each of them is given.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "master/controllers/store.h"

namespace master::controllers {

struct Namespace {
  Meta meta;
  bool has_finalizer = false;  // "kubernetes" in spec.finalizers
  std::string phase;
  std::optional<base::Time> deletion_at;  // metadata.deletionTimestamp
  json::array conditions;

  static Store<Namespace>::Reader reader(const api::Resource& resource);
};

struct ConfigMap {
  Meta meta;
  size_t ca_hash = 0;                                // of data["ca.crt"], for kube-root-ca.crt only
  std::map<std::string, std::string> address_pools;  // its data, for kube-system/sampan-address-pools only

  static Store<ConfigMap>::Reader reader(const api::Resource& resource);
};

struct ServiceAccount {
  Meta meta;

  static Store<ServiceAccount>::Reader reader(const api::Resource& resource);
};

}  // namespace master::controllers
