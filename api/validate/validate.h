// What an object must satisfy to be stored: Kubernetes' rules for the kinds we serve, in Kubernetes'
// words. Pure; knows no store, no other object.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/field_errors.h"
#include "api/schema.h"

namespace api {

// The marks of the tables: required, enum=, rule=. Objects have passed check_types().
FieldErrors validate_schema(const Type& type, const json::value& object);

// How metadata.name of a kind may look.
enum class NameRule { kDns1123Subdomain, kDns1123Label, kDns1035Label, kPathSegment };
NameRule name_rule(std::string_view gvk);
FieldErrors validate_metadata(const json::value& object, bool namespaced, NameRule rule);

// gvk: "v1/Pod", "apps/v1/Deployment". Everything (schema, metadata and the kind's own rules);
// a kind without rules of its own gets the general ones. Run after defaults().
FieldErrors validate_create(std::string_view gvk, const json::value& object, bool namespaced);
// Also what may not change. `before` and `after` are whole objects; metadata that the registry
// owns (uid, creationTimestamp, …) is already copied into `after`.
FieldErrors validate_update(std::string_view gvk, const json::value& after, const json::value& before,
                            bool namespaced);
// For the status subresource: types of the status part only.
FieldErrors validate_status_update(std::string_view gvk, const json::value& after, const json::value& before);

// By the part that is written: "" all, "status", or a Pod's "ephemeralcontainers" and "resize".
FieldErrors validate_subresource_update(std::string_view gvk, std::string_view subresource,
                                        const json::value& after, const json::value& before, bool namespaced);

}  // namespace api
