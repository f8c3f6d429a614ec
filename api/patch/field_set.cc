#include "api/patch/field_set.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/json_erase.h"

namespace api {
namespace {

// What the registry sets belongs to nobody.
bool unowned(int depth, std::string_view parent, std::string_view name) {
  if (depth == 0) return name == "apiVersion" || name == "kind";
  if (depth != 1 || parent != "metadata") return false;
  static constexpr std::string_view kNames[] = {"name",
                                                "namespace",
                                                "uid",
                                                "resourceVersion",
                                                "generation",
                                                "creationTimestamp",
                                                "deletionTimestamp",
                                                "deletionGracePeriodSeconds",
                                                "managedFields",
                                                "selfLink",
                                                "generateName"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

std::string field_key(std::string_view name) {
  std::string key;
  key.reserve(name.size() + 2);
  key.append("f:").append(name);
  return key;
}
bool is_member(const FieldSet& node) { return node.empty() || node.contains("."); }
bool has_children(const FieldSet& node) { return node.size() > (node.contains(".") ? 1u : 0u); }

// The items of a list by their keys; duplicates and items without keys are left out.
class Items {
 public:
  Items(const Field& field, const ListRule& rule, const json::array& list) {
    for (const json::value& item : list) {
      std::string element = list_element(field, rule, item);
      if (!element.empty()) items_.emplace_back(std::move(element), &item);
    }
    if (items_.size() > 16)
      for (const auto& [element, item] : items_) index_.emplace(element, item);
  }
  const std::vector<std::pair<std::string, const json::value*>>& all() const { return items_; }
  const json::value* find(const std::string& element) const {
    if (!index_.empty()) {
      auto it = index_.find(element);
      return it == index_.end() ? nullptr : it->second;
    }
    for (const auto& [mine, item] : items_)
      if (mine == element) return item;
    return nullptr;
  }

 private:
  std::vector<std::pair<std::string, const json::value*>> items_;
  std::map<std::string_view, const json::value*> index_;
};

// How one member of an object is looked into.
enum class Inside : uint8_t { kLeaf, kStruct, kMap, kList };
Inside inside(const Field& field, const json::value& value, const ListRule& rule) {
  if (const json::object* object = value.if_object(); object && !object->empty()) {
    if (field.list_type && std::string_view(field.list_type) == "atomic") return Inside::kLeaf;
    if (field.holder == Holder::kOne && field.type) return Inside::kStruct;
    if (field.holder == Holder::kMap) return Inside::kMap;
  }
  if (const json::array* list = value.if_array(); list && !list->empty() && rule.kind != ListKind::kAtomic)
    return Inside::kList;
  return Inside::kLeaf;
}

bool belongs(Part part, std::string_view member) {
  if (part == Part::kStatus && member == "metadata") return true;  // labels and the like, of most kinds
  return part == Part::kAll || (part == Part::kStatus) == (member == "status");
}
void collect(const Type& type, const json::object& in, int depth, std::string_view parent, FieldSet& out,
             Part part = Part::kAll);

void collect_value(const Field& field, const json::value& value, int depth, FieldSet& node) {
  ListRule rule = value.is_array() ? list_rule(field) : ListRule();
  switch (inside(field, value, rule)) {
    case Inside::kLeaf: return;
    case Inside::kStruct: return collect(*field.type, value.get_object(), depth + 1, field.name, node);
    case Inside::kMap:
      node.reserve(value.get_object().size());
      for (const auto& item : value.get_object()) {
        json::object below;
        if (field.type && item.value().is_object())
          collect(*field.type, item.value().get_object(), depth + 2, "", below);
        node.emplace(field_key(item.key()), std::move(below));
      }
      return;
    case Inside::kList:
      node.reserve(value.get_array().size());
      for (const json::value& item : value.get_array()) {
        std::string element = list_element(field, rule, item);
        if (element.empty()) continue;
        json::object below;
        if (rule.kind == ListKind::kMap && item.is_object())
          collect(*field.type, item.get_object(), depth + 2, "", below);
        if (!below.empty()) below.emplace(".", json::object());
        node.emplace(element, std::move(below));
      }
  }
}

void collect(const Type& type, const json::object& in, int depth, std::string_view parent, FieldSet& out,
             Part part) {
  out.reserve(in.size() + 1);  // and "."
  for (const auto& member : in) {
    if (member.value().is_null() || unowned(depth, parent, member.key()) ||
        (depth == 0 && !belongs(part, member.key())))
      continue;
    const Field* field = type.field(member.key());
    if (!field) continue;
    json::object node;
    collect_value(*field, member.value(), depth, node);
    // An object all of whose members are the registry's own is no leaf.
    ListRule rule;
    if (node.empty() && field->holder == Holder::kOne && field->type && member.value().is_object() &&
        !member.value().get_object().empty())
      continue;
    out.emplace(field_key(member.key()), std::move(node));
  }
}

void compare(const Type& type, const json::object& before, const json::object& after, int depth,
             std::string_view parent, FieldChanges& out, Part part = Part::kAll);

void put(FieldSet& into, const std::string& key, FieldSet node) {
  if (!node.empty()) into.emplace(key, std::move(node));
}

void compare_lists(const Field& field, const ListRule& rule, const json::array& before,
                   const json::array& after, int depth, FieldChanges& out) {
  Items had(field, rule, before), has(field, rule, after);
  auto whole = [&](const json::value& item) {
    json::object below;
    if (rule.kind == ListKind::kMap && item.is_object())
      collect(*field.type, item.get_object(), depth, "", below);
    if (!below.empty()) below.emplace(".", json::object());
    return below;
  };
  for (const auto& [element, item] : has.all()) {
    const json::value* old = had.find(element);
    if (!old) {
      out.changed.emplace(element, whole(*item));
    } else if (rule.kind == ListKind::kMap && old->is_object() && item->is_object() && *old != *item) {
      FieldChanges below;
      compare(*field.type, old->get_object(), item->get_object(), depth, "", below);
      put(out.changed, element, std::move(below.changed));
      put(out.removed, element, std::move(below.removed));
    }
  }
  for (const auto& [element, item] : had.all())
    if (!has.find(element)) out.removed.emplace(element, whole(*item));
}

void compare_values(const Field& field, const json::value& before, const json::value& after, int depth,
                    std::string_view key, FieldChanges& out) {
  ListRule rule = before.is_array() || after.is_array() ? list_rule(field) : ListRule();
  Inside was = inside(field, before, rule), is = inside(field, after, rule);
  FieldChanges below;
  if (was != is || is == Inside::kLeaf) {
    FieldSet gone;
    if (was != Inside::kLeaf) collect_value(field, before, depth, gone);
    put(below.removed, field_key(key), std::move(gone));
    FieldSet node;
    collect_value(field, after, depth, node);
    out.changed.emplace(field_key(key), std::move(node));
    if (!below.removed.empty()) unite(out.removed, below.removed);
    return;
  }
  if (is == Inside::kStruct) {
    compare(*field.type, before.get_object(), after.get_object(), depth + 1, field.name, below);
  } else if (is == Inside::kList) {
    compare_lists(field, rule, before.get_array(), after.get_array(), depth + 2, below);
  } else {
    const json::object &old = before.get_object(), &fresh = after.get_object();
    for (const auto& item : fresh) {
      const json::value* had = old.if_contains(item.key());
      if (!had || *had != item.value()) below.changed.emplace(field_key(item.key()), json::object());
    }
    for (const auto& item : old)
      if (!fresh.contains(item.key())) below.removed.emplace(field_key(item.key()), json::object());
  }
  put(out.changed, field_key(key), std::move(below.changed));
  put(out.removed, field_key(key), std::move(below.removed));
}

void compare(const Type& type, const json::object& before, const json::object& after, int depth,
             std::string_view parent, FieldChanges& out, Part part) {
  auto skipped = [&](std::string_view name) {
    return unowned(depth, parent, name) || (depth == 0 && !belongs(part, name));
  };
  for (const auto& member : after) {
    if (member.value().is_null() || skipped(member.key())) continue;
    const Field* field = type.field(member.key());
    if (!field) continue;
    const json::value* old = before.if_contains(member.key());
    if (old && *old == member.value()) continue;
    if (old && !old->is_null()) {
      compare_values(*field, *old, member.value(), depth, member.key(), out);
      continue;
    }
    json::object node;
    collect_value(*field, member.value(), depth, node);
    out.changed.emplace(field_key(member.key()), std::move(node));
  }
  for (const auto& member : before) {
    if (skipped(member.key())) continue;
    const json::value* now = after.if_contains(member.key());
    const Field* field = type.field(member.key());
    if (!field || member.value().is_null() || (now && !now->is_null())) continue;
    json::object node;
    collect_value(*field, member.value(), depth, node);
    out.removed.emplace(field_key(member.key()), std::move(node));
  }
}

// Marks a node as a member or not, in fieldsV1's spelling; false when nothing is left of it.
bool seal(FieldSet& node, bool member) {
  bool children = has_children(node);
  if (member && children) node["."] = json::object();
  else node.erase(".");
  return member || children;
}

// What nobody reads any more: a long key stands in the texts of all that is below it.
constexpr size_t kMaxTextBytes = 1 << 20;

void write_texts(const FieldSet& node, const std::string& path, std::vector<std::string>& out,
                 size_t& bytes) {
  for (const auto& child : node) {
    std::string_view key = child.key();
    if (key == ".") continue;
    if (bytes > kMaxTextBytes) return;
    const FieldSet& below = child.value().get_object();
    std::string rest(key.substr(2)), here = path;
    if (key.starts_with("f:")) {
      here += "." + rest;
    } else if (key.starts_with("k:")) {
      std::string keys;
      if (auto parsed = base::parse_json(rest); parsed.ok() && parsed->is_object())
        for (const auto& part : parsed->get_object())
          keys += (keys.empty() ? "" : ",") + std::string(part.key()) + "=" + base::to_json(part.value());
      here += "[" + keys + "]";
    } else {
      here += "[=" + rest + "]";
    }
    bytes += here.size();
    if (is_member(below)) out.push_back(here);
    write_texts(below, here, out, bytes);
  }
}

void remove_from(const Type* type, const Field* field, json::value& at, const FieldSet& gone,
                 const FieldSet* kept);

bool is_empty(const json::value& value) {
  return value.is_object() ? value.get_object().empty() : value.is_array() && value.get_array().empty();
}

void remove_items(const Field& field, json::array& list, const FieldSet& gone, const FieldSet* kept) {
  ListRule rule = list_rule(field);
  std::map<std::string, size_t, std::less<>> places;
  for (size_t i = 0; i < list.size(); ++i) places.emplace(list_element(field, rule, list[i]), i);
  std::vector<bool> dropped(list.size());
  bool drops = false;
  for (const auto& item : gone) {
    std::string_view key = item.key();
    auto place = key == "." ? places.end() : places.find(key);
    if (place == places.end()) continue;
    const FieldSet& below = item.value().get_object();
    const json::value* kept_value = kept ? kept->if_contains(key) : nullptr;
    const FieldSet* kept_below = kept_value ? kept_value->if_object() : nullptr;
    if (is_member(below) && !kept_below) {
      dropped[place->second] = drops = true;
    } else if (has_children(below)) {
      FieldSet fields = below;  // without the keys, by which the item is found
      fields.erase(".");
      for (const std::string& name : rule.keys) fields.erase(field_key(name));
      if (!fields.empty()) remove_from(field.type, nullptr, list[place->second], fields, kept_below);
    }
  }
  if (!drops) return;
  json::array left(list.storage());
  for (size_t i = 0; i < list.size(); ++i)
    if (!dropped[i]) left.push_back(std::move(list[i]));
  list = std::move(left);
}

void remove_from(const Type* type, const Field* field, json::value& at, const FieldSet& gone,
                 const FieldSet* kept) {
  bool in_map = field && field->holder == Holder::kMap && at.is_object();
  if (json::array* list = at.if_array(); list && field) return remove_items(*field, *list, gone, kept);
  json::object* object = at.if_object();
  if (!object) return;
  std::set<std::string_view> dropped;
  for (const auto& item : gone) {
    std::string_view key = item.key();
    if (!key.starts_with("f:")) continue;
    const FieldSet& below = item.value().get_object();
    const json::value* kept_value = kept ? kept->if_contains(key) : nullptr;
    const FieldSet* kept_below = kept_value ? kept_value->if_object() : nullptr;
    std::string_view name = key.substr(2);
    auto found = object->find(name);
    if (found == object->end()) continue;
    const Field* inner = type && !in_map ? type->field(name) : nullptr;
    // In a map of structs the value's own fields are those of the map's type.
    const Type* inner_type = inner ? inner->type : in_map ? field->type : nullptr;
    bool gone_whole = is_member(below) && !kept_below, was_empty = is_empty(found->value());
    if (!gone_whole && has_children(below)) remove_from(inner_type, inner, found->value(), below, kept_below);
    // What lost its last member goes with it.
    if (gone_whole || (!kept_below && !was_empty && is_empty(found->value()))) dropped.insert(name);
  }
  if (!dropped.empty())
    base::erase_if(*object, [&](const auto& member) { return dropped.contains(member.key()); });
}

}  // namespace

bool is_field_set(const json::value& value) {
  if (!value.is_object()) return false;
  for (const auto& child : value.get_object()) {
    std::string_view key = child.key();
    bool known = key == "." ? child.value().is_object() && child.value().get_object().empty()
                            : key.starts_with("f:") || key.starts_with("k:") || key.starts_with("v:") ||
                                  key.starts_with("i:");
    if (!known || (key != "." && !is_field_set(child.value()))) return false;
  }
  return true;
}

ListRule list_rule(const Field& field) {
  if (field.holder != Holder::kList) return {};
  if (field.list_keys) {
    ListRule out{ListKind::kMap, {std::string()}};
    for (const char* c = field.list_keys; *c; ++c) {
      if (*c == ',') out.keys.emplace_back();
      else out.keys.back().push_back(*c);
    }
    std::sort(out.keys.begin(), out.keys.end());
    return out;
  }
  if (field.list_type)
    return {std::string_view(field.list_type) == "set" ? ListKind::kSet : ListKind::kAtomic, {}};
  if (field.merges && field.merge_key) return {ListKind::kMap, {field.merge_key}};
  if (field.merges && field.shape != Shape::kStruct) return {ListKind::kSet, {}};
  return {};
}

std::string list_element(const Field& field, const ListRule& rule, const json::value& item) {
  if (rule.kind == ListKind::kSet) return "v:" + base::to_json(item);
  if (rule.kind == ListKind::kAtomic) return {};
  json::object keys;
  for (const std::string& name : rule.keys) {
    if (const json::value* value = base::find(item, name)) {
      keys[name] = *value;
      continue;
    }
    const Field* key = field.type ? field.type->field(name) : nullptr;
    if (!key || !key->default_json) return {};
    keys[name] = base::parse_json(key->default_json).value();
  }
  return "k:" + base::to_json(keys);
}

FieldSet fields_of(const Type& type, const json::value& object, Part part) {
  FieldSet out;
  if (object.is_object()) collect(type, object.get_object(), 0, "", out, part);
  return out;
}

FieldChanges compare_fields(const Type& type, const json::value& before, const json::value& after,
                            Part part) {
  FieldChanges out;
  if (before.is_object() && after.is_object())
    compare(type, before.get_object(), after.get_object(), 0, "", out, part);
  return out;
}

void unite(FieldSet& into, const FieldSet& other) {
  for (const auto& child : other) {
    if (child.key() == ".") continue;
    auto [it, added] = into.emplace(child.key(), child.value());
    if (added) continue;
    FieldSet& mine = it->value().get_object();
    const FieldSet& theirs = child.value().get_object();
    bool member = is_member(mine) || is_member(theirs);
    unite(mine, theirs);
    seal(mine, member);
  }
}

void subtract(FieldSet& from, const FieldSet& members) {
  // The smaller set is walked: a change is taken from each of many managers.
  bool drops = false;
  auto take = [&](json::value& mine, const json::value& theirs) {
    FieldSet& fields = mine.get_object();
    bool member = is_member(fields) && !is_member(theirs.get_object());
    subtract(fields, theirs.get_object());
    if (seal(fields, member)) return;
    mine = nullptr;  // goes below
    drops = true;
  };
  if (from.size() <= members.size()) {
    for (auto& child : from)
      if (const json::value* theirs = child.key() == "." ? nullptr : members.if_contains(child.key()))
        take(child.value(), *theirs);
  } else {
    for (const auto& child : members)
      if (json::value* mine = child.key() == "." ? nullptr : from.if_contains(child.key()))
        take(*mine, child.value());
  }
  if (drops) base::erase_if(from, [](const auto& child) { return child.value().is_null(); });
}

FieldSet intersection(const FieldSet& a, const FieldSet& b) {
  if (a.size() > b.size()) return intersection(b, a);
  FieldSet out;
  for (const auto& child : a) {
    if (child.key() == ".") continue;
    const json::value* other = b.if_contains(child.key());
    if (!other) continue;
    const FieldSet &mine = child.value().get_object(), &theirs = other->get_object();
    FieldSet both = intersection(mine, theirs);
    if (seal(both, is_member(mine) && is_member(theirs))) out.emplace(child.key(), std::move(both));
  }
  return out;
}

void remove_fields(const Type& type, json::value& object, const FieldSet& gone, const FieldSet& kept) {
  remove_from(&type, nullptr, object, gone, &kept);
}

std::vector<std::string> field_texts(const FieldSet& set) {
  std::vector<std::string> out;
  size_t bytes = 0;
  write_texts(set, "", out, bytes);
  return out;
}

}  // namespace api
