// What the defaulting of the kinds shares. Private to api/defaults*.cc.
#pragma once

#include "api/schema.h"

namespace api::defaulting {

// Absent, or Go's zero value, which its encoder leaves out.
bool unset(const json::object& in, const char* name);
void set_default(json::object& in, const char* name, json::value value);
json::object* object_in(json::object& in, const char* name);
json::array* list_in(json::object& in, const char* name);
std::string_view text_in(const json::object& in, const char* name);
// Of the template below `in`: a workload's spec, or a PodTemplate.
void pod_template(json::object& in);

// A kind's own defaulting, after the tables'; null for none.
using Defaulter = void (*)(json::object& root, json::object& spec);
Defaulter kind_defaulter(std::string_view gvk);
// Of a CustomResourceDefinition: names.singular, names.listKind, conversion.strategy.
void custom_resource_definition(json::value& definition);

}  // namespace api::defaulting
