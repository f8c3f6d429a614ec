// The labels of field selectors: how a row's `field_selectors` becomes ResourceInfo::selector_names and
// selector_paths, and what an object's value is. Pure. Source: the field label conversions and
// ToSelectableFields() of each kind in Kubernetes.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "master/registry/resource.h"

namespace master {

constexpr int kAlwaysEmpty = -3;  // beside -1 and -2, name and namespace (list_options.h)

// "a.b,c=d.e|f,g=a.b,h=": the label a.b is the field of that name; c is what d.e says, or f where that is
// empty; g is another name of a.b; h is known and always empty. The last two kinds stand last. Sets names and
// paths of `info`, whose type is known. A path names members from the outside in; "|" stands before an
// alternative, "=" before the text that counts where nothing is set: what Go prints of the type's zero value.
void read_field_labels(ResourceInfo& info);
// The index of a label's value in StoredObject::fields, or kAlwaysEmpty; nothing for a label that is unknown.
std::optional<int> field_index(const ResourceInfo& info, std::string_view label);
// How many values of an object are kept: one for each label that is no other's second name.
size_t kept_fields(const ResourceInfo& info);
std::string field_text(const base::json::value& object, const std::vector<std::string_view>& path);

}  // namespace master
