// Server-side apply: who set which field. A set of fields is a set of paths; a path is its
// elements as fieldsV1 spells them ("f:spec", "k:{\"name\":\"a\"}", "v:\"x\""), joined by kJoin.
#include <algorithm>
#include <set>

#include "api/patch.h"
#include "api/walk.h"

namespace api {
namespace {

constexpr char kJoin = '\x01';
using Paths = std::set<std::string>;

std::vector<std::string_view> elements(std::string_view path) {
  std::vector<std::string_view> out;
  while (true) {
    size_t end = path.find(kJoin);
    out.push_back(path.substr(0, end));
    if (end == std::string_view::npos) return out;
    path.remove_prefix(end + 1);
  }
}
std::string joined(const std::string& path, const std::string& element) {
  return path.empty() ? element : path + kJoin + element;
}

// ---- fieldsV1 <-> paths ------------------------------------------------------------------------
void read_fields(const json::object& in, const std::string& path, Paths& out) {
  for (const auto& item : in) {
    if (item.key() == ".") {
      out.insert(path);
      continue;
    }
    std::string here = joined(path, std::string(item.key()));
    const json::object* inner = item.value().if_object();
    if (!inner || inner->empty()) out.insert(here);
    else read_fields(*inner, here, out);
  }
}
json::object write_fields(const Paths& paths) {
  json::object out;
  for (const std::string& path : paths) {
    json::object* at = &out;
    for (std::string_view element : elements(path)) {
      json::value& child = (*at)[element];
      if (!child.is_object()) child = json::object();
      at = &child.get_object();
    }
  }
  for (const std::string& path : paths) {  // a member that also has children
    json::object* at = &out;
    for (std::string_view element : elements(path)) at = &(*at)[element].get_object();
    if (!at->empty()) (*at)["."] = json::object();
  }
  return out;
}

// ---- how lists merge ---------------------------------------------------------------------------
enum class ListKind { kAtomic, kSet, kMap };
struct ListRule {
  ListKind kind = ListKind::kAtomic;
  std::vector<std::string> keys;
};
ListRule rule_of(const Field& field) {
  if (field.list_keys) {
    ListRule out{ListKind::kMap, {std::string()}};
    for (const char* c = field.list_keys; *c; ++c) {
      if (*c == ',') out.keys.emplace_back();
      else out.keys.back().push_back(*c);
    }
    return out;
  }
  if (field.list_type) return {std::string_view(field.list_type) == "set" ? ListKind::kSet : ListKind::kAtomic, {}};
  if (field.merges && field.merge_key) return {ListKind::kMap, {field.merge_key}};
  if (field.merges && field.shape != Shape::kStruct) return {ListKind::kSet, {}};
  return {};
}
// "k:{…}" of an item; empty when it lacks a key that has no default.
std::string item_element(const Field& field, const ListRule& rule, const json::value& item) {
  if (rule.kind == ListKind::kSet) return "v:" + base::to_json(item);
  json::object keys;
  std::vector<std::string> names = rule.keys;
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const json::value* value = base::find(item, name);
    if (value) {
      keys[name] = *value;
      continue;
    }
    const Field* key = field.type ? field.type->field(name) : nullptr;
    if (!key || !key->default_json) return {};
    keys[name] = base::parse_json(key->default_json).value();
  }
  return "k:" + base::to_json(keys);
}
json::value* item_at(const Field& field, const ListRule& rule, json::array& list, const std::string& element) {
  for (json::value& item : list)
    if (item_element(field, rule, item) == element) return &item;
  return nullptr;
}

// The registry's own fields belong to nobody.
bool unowned(const std::string& parent, std::string_view name) {
  if (parent.empty()) return name == "apiVersion" || name == "kind";
  if (parent != "f:metadata") return false;
  static constexpr std::string_view kNames[] = {
      "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
      "deletionGracePeriodSeconds", "managedFields", "selfLink", "generateName"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

void collect(const Type& type, const json::object& in, const std::string& path, Paths& out) {
  for (const auto& member : in) {
    std::string name(member.key());
    if (member.value().is_null() || unowned(path, name)) continue;
    const Field* field = type.field(name);
    if (!field) continue;
    std::string here = joined(path, "f:" + name);
    const json::object* object = member.value().if_object();
    const json::array* list = member.value().if_array();
    if (object && field->holder == Holder::kOne && field->type && !object->empty()) {
      collect(*field->type, *object, here, out);
    } else if (object && field->holder == Holder::kMap && !field->list_type && !object->empty()) {
      for (const auto& item : *object) out.insert(joined(here, "f:" + std::string(item.key())));
    } else if (ListRule rule = rule_of(*field); list && field->holder == Holder::kList && rule.kind != ListKind::kAtomic && !list->empty()) {
      for (const json::value& item : *list) {
        std::string element = item_element(*field, rule, item);
        if (element.empty()) continue;
        out.insert(joined(here, element));
        if (rule.kind == ListKind::kMap && item.is_object()) collect(*field->type, item.get_object(), joined(here, element), out);
      }
    } else {
      out.insert(here);
    }
  }
}
Paths paths_of(const Type& type, const json::value& object) {
  Paths out;
  if (object.is_object()) collect(type, object.get_object(), "", out);
  return out;
}

// Where a path leads in an object, or null. With `erase`, it is removed there.
const json::value* look(const Type* type, json::value& root, std::string_view path, bool erase) {
  json::value* at = &root;
  const Field* field = nullptr;
  auto all = elements(path);
  for (size_t i = 0; i < all.size(); ++i) {
    std::string_view element = all[i], rest = element.substr(2);
    bool last = i + 1 == all.size();
    if (element.starts_with("f:")) {
      json::object* object = at->if_object();
      auto found = object ? object->find(rest) : nullptr;
      if (!object || found == object->end()) return nullptr;
      if (last && erase) {
        object->stable_erase(found);
        return nullptr;
      }
      bool in_map = field && field->holder == Holder::kMap;
      field = type && !in_map ? type->field(rest) : nullptr;
      type = field ? field->type : nullptr;
      at = &found->value();
      continue;
    }
    json::array* list = at->if_array();
    if (!list || !field) return nullptr;
    ListRule rule = rule_of(*field);
    json::value* item = item_at(*field, rule, *list, std::string(element));
    if (!item) return nullptr;
    if (last && erase) {
      list->erase(list->begin() + (item - list->data()));
      return nullptr;
    }
    at = item;
  }
  return at;
}

void merge_into(const Type& type, json::object& live, const json::object& applied) {
  for (const auto& member : applied) {
    std::string name(member.key());
    if (member.value().is_null()) continue;
    const Field* field = type.field(name);
    json::value* have = live.if_contains(name);
    if (!field || !have) {
      live[name] = member.value();
      continue;
    }
    const json::object* object = member.value().if_object();
    const json::array* list = member.value().if_array();
    if (object && have->is_object() && field->holder == Holder::kOne && field->type) {
      merge_into(*field->type, have->get_object(), *object);
    } else if (object && have->is_object() && field->holder == Holder::kMap && !field->list_type) {
      for (const auto& item : *object) have->get_object()[item.key()] = item.value();
    } else if (ListRule rule = rule_of(*field); list && have->is_array() && rule.kind != ListKind::kAtomic) {
      for (const json::value& item : *list) {
        std::string element = item_element(*field, rule, item);
        json::value* same = element.empty() ? nullptr : item_at(*field, rule, have->get_array(), element);
        if (!same) have->get_array().push_back(item);
        else if (rule.kind == ListKind::kMap && same->is_object() && item.is_object())
          merge_into(*field->type, same->get_object(), item.get_object());
      }
    } else {
      *have = member.value();
    }
  }
}

// ---- managers ----------------------------------------------------------------------------------
struct Entry {
  json::object row;  // of metadata.managedFields, without fieldsV1
  Paths paths;
  std::string_view text(const char* name) const { return base::as_string(row.if_contains(name)); }
};
std::vector<Entry> read_entries(const json::value& object) {
  std::vector<Entry> out;
  const json::value* list = base::find_path(object, "metadata", "managedFields");
  if (!list || !list->is_array()) return out;
  for (const json::value& row : list->get_array()) {
    if (!row.is_object()) continue;
    Entry entry{row.get_object(), {}};
    if (const json::value* fields = base::find(row, "fieldsV1"); fields && fields->is_object()) read_fields(fields->get_object(), "", entry.paths);
    entry.row.erase("fieldsV1");
    out.push_back(std::move(entry));
  }
  return out;
}
void write_entries(json::value& object, const std::vector<Entry>& entries) {
  json::array list;
  for (const Entry& entry : entries) {
    if (entry.paths.empty()) continue;
    json::object row = entry.row;
    row["fieldsType"] = "FieldsV1";
    row["fieldsV1"] = write_fields(entry.paths);
    list.push_back(std::move(row));
  }
  json::object& metadata = base::object_at(object.get_object(), "metadata");
  if (list.empty()) metadata.erase("managedFields");
  else metadata["managedFields"] = std::move(list);
}
// The index of this manager's entry, which is made when it has none.
size_t own_entry(std::vector<Entry>& entries, const FieldManager& manager, const char* operation) {
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    if (entry.text("manager") == manager.name && entry.text("operation") == operation &&
        entry.text("subresource") == manager.subresource &&
        (entry.text("apiVersion") == manager.api_version || std::string_view(operation) == "Apply"))
      return i;
  }
  Entry entry;
  entry.row = {{"manager", manager.name}, {"operation", operation}, {"apiVersion", manager.api_version}};
  if (!manager.subresource.empty()) entry.row["subresource"] = manager.subresource;
  entries.push_back(std::move(entry));
  return entries.size() - 1;
}

std::string shown(std::string_view path) {  // ".spec.containers[name=\"a\"].image"
  std::string out;
  for (std::string_view element : elements(path)) {
    std::string rest(element.substr(2));
    if (element.starts_with("f:")) {
      out += "." + rest;
    } else if (element.starts_with("k:")) {
      std::string keys;
      if (auto parsed = base::parse_json(rest); parsed.ok() && parsed->is_object())
        for (const auto& key : parsed->get_object()) keys += (keys.empty() ? "" : ",") + std::string(key.key()) + "=" + base::to_json(key.value());
      out += "[" + keys + "]";
    } else {
      out += "[=" + rest + "]";
    }
  }
  return out;
}
// The field of a list's item that the item is found by: it goes with the item only.
bool is_key(std::string_view path) {
  auto all = elements(path);
  if (all.size() < 2 || !all[all.size() - 2].starts_with("k:")) return false;
  auto keys = base::parse_json(all[all.size() - 2].substr(2));
  return keys.ok() && base::find(*keys, all.back().substr(2));
}
bool has_below(const Paths& paths, const std::string& path) {
  auto it = paths.lower_bound(path);
  if (it != paths.end() && *it == path) return true;
  it = paths.lower_bound(path + kJoin);
  return it != paths.end() && it->starts_with(path + kJoin);
}

}  // namespace

base::Result<Applied> apply_patch(const Type& type, const json::value& live, const json::value& applied,
                                  const FieldManager& manager, bool force) {
  auto bad = [](std::string why) { return base::make_error(base::Kind::kInvalid, "apply", {}, std::move(why)); };
  if (!applied.is_object()) return bad("the configuration is not an object");
  if (manager.name.empty()) return bad("fieldManager is required for apply patch");
  if (const json::value* fields = base::find_path(applied, "metadata", "managedFields"); fields && fields->is_array() && !fields->get_array().empty())
    return bad("metadata.managedFields must be nil");
  Applied out;
  json::value before = live.is_object() ? live : json::value(json::object());
  json::value wanted = applied;
  Paths now = paths_of(type, wanted);
  std::vector<Entry> entries = read_entries(before);
  size_t own = own_entry(entries, manager, "Apply");
  Paths others;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i == own) continue;
    Entry& entry = entries[i];
    for (auto it = entry.paths.begin(); it != entry.paths.end();) {
      bool lost = false;
      if (now.contains(*it)) {
        const json::value* have = look(&type, before, *it, false);
        const json::value* want = look(&type, wanted, *it, false);
        bool item = elements(*it).back().starts_with("k:");  // its fields are compared one by one
        if (!item && have && want && *have != *want) {
          if (!force) out.conflicts.push_back({std::string(entry.text("manager")), shown(*it)});
          lost = force;
        }
      }
      it = lost ? entry.paths.erase(it) : std::next(it);
    }
    others.insert(entry.paths.begin(), entry.paths.end());
  }
  if (!out.conflicts.empty()) return out;
  out.object = before;
  merge_into(type, out.object.get_object(), wanted.get_object());
  // What this manager gave up and nobody else owns goes: a list's item before its fields.
  for (const std::string& path : entries[own].paths)
    if (!has_below(now, path) && !has_below(others, path) && !is_key(path)) look(&type, out.object, path, true);
  bool changed = entries[own].paths != now;
  entries[own].paths = std::move(now);
  entries[own].row["apiVersion"] = manager.api_version;
  if (changed || !entries[own].row.contains("time")) entries[own].row["time"] = base::format_time(manager.now);
  write_entries(out.object, entries);
  return out;
}

void track_update(const Type& type, const json::value& before, json::value& after, const FieldManager& manager) {
  if (!after.is_object()) return;
  json::value old = before.is_object() ? before : json::value(json::object());
  std::vector<Entry> entries = read_entries(old);
  Paths had = paths_of(type, old), have = paths_of(type, after), changed;
  for (const std::string& path : have) {
    const json::value* was = had.contains(path) ? look(&type, old, path, false) : nullptr;
    const json::value* is = look(&type, after, path, false);
    bool item = elements(path).back().starts_with("k:");
    if (!was || (!item && is && *was != *is)) changed.insert(path);
  }
  size_t own = changed.empty() ? SIZE_MAX : own_entry(entries, manager, "Update");
  for (size_t i = 0; i < entries.size(); ++i)
    std::erase_if(entries[i].paths, [&](const std::string& path) {
      return !have.contains(path) || (i != own && changed.contains(path));
    });
  if (own != SIZE_MAX) {
    entries[own].paths.insert(changed.begin(), changed.end());
    entries[own].row["time"] = base::format_time(manager.now);
  }
  write_entries(after, entries);
}

}  // namespace api
