// Sets of fields of an object, as metadata.managedFields writes them (fieldsV1): a tree of JSON
// objects whose keys are "f:<name>", "k:<list keys>" or "v:<value>". An empty object is a member;
// "." marks a member that has children. Pure.
// Source of the rules: KEP-555 (server-side apply) and structured-merge-diff.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/patch/patch.h"
#include "api/schema.h"

namespace api {

using FieldSet = json::object;

// Whether a client's fieldsV1 is such a tree; the other functions need that.
bool is_field_set(const json::value& value);

// How the items of a list are told apart.
enum class ListKind : uint8_t { kAtomic, kSet, kMap };
struct ListRule {
  ListKind kind = ListKind::kAtomic;
  std::vector<std::string> keys = {};  // of kMap, sorted
};
ListRule list_rule(const Field& field);
// The key of an item in a set: "k:{\"name\":\"a\"}", "v:\"x\""; empty when the item lacks a key that has
// no default.
std::string list_element(const Field& field, const ListRule& rule, const json::value& item);

// Every field of `object` that somebody can own, not what the registry itself sets; of the part that is
// asked for.
FieldSet fields_of(const Type& type, const json::value& object, Part part = Part::kAll);
struct FieldChanges {
  FieldSet changed;  // added or of another value
  FieldSet removed;
};
FieldChanges compare_fields(const Type& type, const json::value& before, const json::value& after,
                            Part part = Part::kAll);

void unite(FieldSet& into, const FieldSet& other);
void subtract(FieldSet& from, const FieldSet& members);
FieldSet intersection(const FieldSet& a, const FieldSet& b);
// Removes from `object` the fields of `gone` that `kept` has neither itself nor below; the keys of a
// list's item go with the item only.
void remove_fields(const Type& type, json::value& object, const FieldSet& gone, const FieldSet& kept);
// One ".spec.containers[name=\"a\"].image" a member.
std::vector<std::string> field_texts(const FieldSet& set);

}  // namespace api
