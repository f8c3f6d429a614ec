// What the registry does to CustomResourceDefinitions and to custom resources that are written. Pure.
// Source: kube-apiserver's strategies of both (apiextensions-apiserver).
#pragma once

#include <string_view>

#include "base/json.h"

namespace master {

// What a definition waits for that goes: its instances.
constexpr std::string_view kCleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";

// What the registry does to a definition that is written: generation and status.storedVersions.
void prepare_definition_create(base::json::value& definition);
void prepare_definition_update(const base::json::value& current, base::json::value& updated);
std::string_view storage_version(const base::json::value& definition);

// The same for a custom resource; `has_status` says whether status is a subresource.
void prepare_custom_create(bool has_status, base::json::value& object);
void prepare_custom_update(bool has_status, std::string_view subresource, const base::json::value& current,
                           base::json::value& updated);

}  // namespace master
