// Kinds of CustomResourceDefinitions: compiled with their rules, and their objects checked. Pure; what is
// compiled is immutable and safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "api/field_errors.h"
#include "api/structural.h"

namespace api {

// `schema` is a JSONSchemaProps object that validate_custom_resource_definition() accepts.
base::Result<Structural> compile_structural(const json::value& schema);
// `definition` is a whole CustomResourceDefinition; `version` one of spec.versions.
base::Result<std::shared_ptr<const CustomKind>> compile_custom_kind(const json::value& definition,
                                                                    std::string_view version);

// Compiles the rules of a whole schema; the errors name rules below `path`, in kube-apiserver's words.
FieldErrors compile_rules(Structural& root, const std::string& path);

// Value validation in kube-apiserver's words. With `before`, what did not change is not checked
// (validation ratcheting).
FieldErrors validate_custom_object(const Type& type, const json::value& object, const json::value* before);
// The CEL rules of a custom resource's schema. Rules that look at oldSelf are asked where an old value
// belongs to the new one; what did not change is not refused. Bounded by cel::kObjectBudget.
FieldErrors validate_rules(const Structural& root, const json::value& object, const json::value* before);
FieldErrors validate_structural(const Structural& schema, const json::value& value, const std::string& path);

}  // namespace api
