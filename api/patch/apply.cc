// Server-side apply: who set which field (field_set.h), kept in metadata.managedFields.
// Source: KEP-555; the texts of conflicts are kube-apiserver's.
#include <algorithm>
#include <map>
#include <set>

#include "api/patch/field_set.h"
#include "api/patch/patch.h"
#include "api/walk.h"

namespace api {
namespace {

// Managers that only updated are folded into one beyond this many, as in Kubernetes.
constexpr size_t kMaxUpdateManagers = 10;

// Ordered maps here and in field_set.cc: a client who knows a hash function can make all keys meet.
std::map<std::string, size_t> first_places(std::vector<std::string> keys) {
  std::map<std::string, size_t> out;
  for (size_t i = 0; i < keys.size(); ++i) out.emplace(std::move(keys[i]), i);
  return out;
}

// Items that `applied` names come in its order; the others each before the first item that stood
// behind it in `live`.
json::array in_order(const Field& field, const ListRule& rule, json::array merged, const json::array& live,
                     const json::array& applied) {
  auto keys = [&](const json::array& list) {
    std::vector<std::string> out;
    for (const json::value& item : list) out.push_back(list_element(field, rule, item));
    return out;
  };
  std::vector<std::string> has = keys(merged);
  std::map<std::string, size_t> wanted = first_places(keys(applied)), had = first_places(keys(live));
  auto at = [](const std::map<std::string, size_t>& places, const std::string& key) {
    auto it = places.find(key);
    return it == places.end() ? SIZE_MAX : it->second;
  };
  std::vector<std::pair<size_t, size_t>> named;  // position in `applied`, index in `merged`
  std::vector<size_t> others;
  for (size_t i = 0; i < has.size(); ++i) {
    size_t position = at(wanted, has[i]);
    if (position != SIZE_MAX) named.emplace_back(position, i);
    else others.push_back(i);  // in their order in `live`
  }
  std::stable_sort(named.begin(), named.end());
  json::array out;
  out.reserve(merged.size());
  size_t i = 0, j = 0;
  while (i < others.size() || j < named.size()) {
    bool other =
        j == named.size() || (i < others.size() && at(had, has[others[i]]) < at(had, has[named[j].second]));
    out.push_back(std::move(merged[other ? others[i++] : named[j++].second]));
  }
  return out;
}

void merge_into(const Type& type, json::object& live, const json::object& applied) {
  for (const auto& member : applied) {
    if (member.value().is_null()) continue;
    const Field* field = type.field(member.key());
    json::value* have = live.if_contains(member.key());
    if (!field || !have) {
      live[member.key()] = member.value();
      continue;
    }
    const json::object* object = member.value().if_object();
    const json::array* list = member.value().if_array();
    bool atomic = field->list_type && std::string_view(field->list_type) == "atomic";
    if (object && have->is_object() && !atomic && field->holder == Holder::kOne && field->type) {
      merge_into(*field->type, have->get_object(), *object);
    } else if (object && have->is_object() && !atomic && field->holder == Holder::kMap) {
      for (const auto& item : *object) {
        json::value& slot = have->get_object()[item.key()];
        if (field->type && slot.is_object() && item.value().is_object())
          merge_into(*field->type, slot.get_object(), item.value().get_object());
        else slot = item.value();
      }
    } else if (ListRule rule = list_rule(*field);
               list && have->is_array() && rule.kind != ListKind::kAtomic) {
      json::array before = have->get_array(), merged = before;
      std::map<std::string, size_t> places;  // of what has keys
      for (size_t i = 0; i < merged.size(); ++i)
        places.insert_or_assign(list_element(*field, rule, merged[i]), i);
      for (const json::value& item : *list) {
        std::string element = list_element(*field, rule, item);
        auto same = element.empty() ? places.end() : places.find(element);
        if (same == places.end()) {
          places.insert_or_assign(std::move(element), merged.size());
          merged.push_back(item);
        } else if (json::value& mine = merged[same->second];
                   rule.kind == ListKind::kMap && mine.is_object() && item.is_object()) {
          merge_into(*field->type, mine.get_object(), item.get_object());
        }
      }
      *have = in_order(*field, rule, std::move(merged), before, *list);
    } else {
      *have = member.value();
    }
  }
}

// Every item of a list that is told apart by keys has them, once. "" or what is wrong, behind the path
// to it, which is put together on the way back: keys may be long.
std::string check_lists(const Type& type, const json::object& object);

std::string check_list(const Field& field, const ListRule& rule, const json::array& list) {
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    std::string element = list_element(field, rule, list[i]);
    if (element.empty()) {
      for (const std::string& key : rule.keys) {
        if (base::find(list[i], key)) continue;
        return ": element " + std::to_string(i) +
               ": associative list with keys has an element that omits key field \"" + key + "\"";
      }
    }
    auto shown = [&] { return field_texts({{element, json::object()}})[0]; };
    if (seen.contains(element)) return ": duplicate entries for key " + shown();
    if (rule.kind == ListKind::kMap && list[i].is_object())
      if (std::string wrong = check_lists(*field.type, list[i].get_object()); !wrong.empty())
        return shown() + wrong;
    seen.insert(std::move(element));
  }
  return {};
}
std::string check_lists(const Type& type, const json::object& object) {
  for (const auto& member : object) {
    const Field* field = type.field(member.key());
    if (!field) continue;
    std::string wrong;
    if (const json::object* inner = member.value().if_object();
        inner && field->holder == Holder::kOne && field->type)
      wrong = check_lists(*field->type, *inner);
    if (const json::array* list = member.value().if_array())
      if (ListRule rule = list_rule(*field); rule.kind != ListKind::kAtomic)
        wrong = check_list(*field, rule, *list);
    if (!wrong.empty()) return "." + std::string(member.key()) + wrong;
  }
  return {};
}

// Where `object` has what can only be replaced as a whole.
void find_atomic(const Type& type, const json::object& object, const std::string& path,
                 std::vector<std::string>& found) {
  for (const auto& member : object) {
    const Field* field = type.field(member.key());
    if (!field) continue;
    const std::string at = path + "." + std::string(member.key());
    const bool atomic = field->list_type && std::string_view(field->list_type) == "atomic";
    if (const json::object* inner = member.value().if_object()) {
      const bool is_struct = field->holder == Holder::kOne && field->type;
      if (atomic || (field->holder == Holder::kOne && !field->type)) found.push_back(at);
      if (is_struct) find_atomic(*field->type, *inner, at, found);
    } else if (const json::array* list = member.value().if_array()) {
      if (list_rule(*field).kind == ListKind::kAtomic) found.push_back(at);
      if (field->holder == Holder::kList && field->type)
        for (size_t i = 0; i < list->size(); ++i)
          if (const json::object* item = (*list)[i].if_object())
            find_atomic(*field->type, *item, at + "[" + std::to_string(i) + "]", found);
    }
  }
}

// ---- managers ----------------------------------------------------------------------------------
struct Entry {
  json::object row;  // of metadata.managedFields, without fieldsV1
  FieldSet fields;
  bool changed = false;
  std::string_view text(const char* name) const { return base::as_string(row.if_contains(name)); }
};
const json::array* managed(const json::value& object) {
  const json::value* list = base::find_path(object, "metadata", "managedFields");
  return list ? list->if_array() : nullptr;
}
std::vector<Entry> read_entries(const json::array* list) {
  std::vector<Entry> out;
  if (!list) return out;
  for (const json::value& row : *list) {
    if (!row.is_object() || row.get_object().empty()) continue;
    Entry entry{row.get_object(), {}};
    if (const json::value* fields = base::find(row, "fieldsV1"); fields && is_field_set(*fields))
      entry.fields = fields->get_object();
    entry.row.erase("fieldsV1");
    out.push_back(std::move(entry));
  }
  return out;
}
bool well_formed(const json::array& list) {
  return std::all_of(list.begin(), list.end(), [](const json::value& row) {
    const json::value* fields = base::find(row, "fieldsV1");
    return !base::string_at(row, "operation").empty() && (!fields || is_field_set(*fields));
  });
}
// Applying managers first, then by time and name, as Kubernetes sorts them.
void write_entries(json::value& object, std::vector<Entry> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    if (a.text("operation") != b.text("operation")) return a.text("operation") < b.text("operation");
    if (a.text("time") != b.text("time")) return a.text("time") < b.text("time");
    return a.text("manager") < b.text("manager");
  });
  json::array list;
  for (Entry& entry : entries) {
    if (entry.fields.empty()) continue;
    entry.row["fieldsType"] = "FieldsV1";
    entry.row["fieldsV1"] = std::move(entry.fields);
    list.push_back(std::move(entry.row));
  }
  json::object& metadata = base::object_at(object.get_object(), "metadata");
  if (list.empty()) metadata.erase("managedFields");
  else metadata["managedFields"] = std::move(list);
}
// This manager's entry, which is made when it has none.
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
void fold_old_updates(std::vector<Entry>& entries) {
  std::vector<size_t> updates;
  for (size_t i = 0; i < entries.size(); ++i)
    if (entries[i].text("operation") == "Update" && !entries[i].fields.empty()) updates.push_back(i);
  if (updates.size() <= kMaxUpdateManagers) return;
  std::stable_sort(updates.begin(), updates.end(),
                   [&](size_t a, size_t b) { return entries[a].text("time") < entries[b].text("time"); });
  // The oldest two become one, until few enough are left.
  Entry& keeper = entries[updates[0]];
  for (size_t i = 1; i <= updates.size() - kMaxUpdateManagers; ++i) {
    Entry& next = entries[updates[i]];
    unite(keeper.fields, next.fields);
    keeper.row["time"] = next.row["time"];
    next.fields.clear();
  }
  keeper.row["manager"] = "ancient-changes";
}

// printManager() of kube-apiserver's conflicts.
std::string shown(const Entry& entry) {
  std::string out = "\"" + std::string(entry.text("manager")) + "\"";
  if (!entry.text("subresource").empty())
    out += " with subresource \"" + std::string(entry.text("subresource")) + "\"";
  if (entry.text("operation") != "Update") return out;
  out += " using " + std::string(entry.text("apiVersion"));
  if (!entry.text("time").empty()) out += " at " + std::string(entry.text("time"));
  return out;
}

// ---- from client-side to server-side apply -----------------------------------------------------
constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

// Fields that kubectl's client-side apply set and that still are as it set them: kubectl may take
// them over from itself.
FieldSet client_applied(const Type& type, const json::value& live) {
  std::string_view text = base::string_at(live, "metadata", "annotations", kLastApplied);
  if (text.empty()) return {};
  auto last = base::parse_json(text);
  if (!last.ok() || !last->is_object()) return {};
  FieldSet fields = fields_of(type, *last);
  FieldChanges changes = compare_fields(type, *last, live);
  subtract(fields, changes.changed);
  subtract(fields, changes.removed);
  return fields;
}

}  // namespace

base::Result<Applied> apply_patch(const Type& type, const json::value& live, const json::value& applied,
                                  const FieldManager& manager, bool force) {
  auto bad = [](std::string why) {
    return base::make_error(base::Kind::kInvalid, "apply", {}, std::move(why));
  };
  if (!applied.is_object()) return bad("the configuration is not an object");
  if (manager.name.empty()) return bad("fieldManager is required for apply patch");
  if (const json::array* sent = managed(applied); sent && !sent->empty())
    return bad("metadata.managedFields must be nil");
  if (std::string wrong = check_lists(type, applied.get_object()); !wrong.empty()) return bad(wrong);
  Applied out;
  json::value before = live.is_object() ? live : json::value(json::object());
  std::vector<Entry> entries = read_entries(managed(before));
  size_t own = own_entry(entries, manager, "Apply");

  json::value merged = before;
  merge_into(type, merged.get_object(), applied.get_object());
  FieldSet now = fields_of(type, applied), kept = now;
  for (size_t i = 0; i < entries.size(); ++i)
    if (i != own) unite(kept, entries[i].fields);
  // What this manager gave up and nobody else owns goes.
  remove_fields(type, merged, entries[own].fields, kept);

  FieldChanges changes = compare_fields(type, before, merged);
  FieldSet from_client;
  if (manager.name == "kubectl" && !force) from_client = client_applied(type, before);
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i == own) continue;
    FieldSet lost = intersection(entries[i].fields, changes.changed);
    FieldSet disputed = lost;
    subtract(disputed, from_client);
    if (!force) {
      std::string owner = shown(entries[i]);
      for (std::string& field : field_texts(disputed)) out.conflicts.push_back({owner, std::move(field)});
    }
    subtract(entries[i].fields, lost);
    subtract(entries[i].fields, changes.removed);
  }
  if (!out.conflicts.empty()) return out;
  bool changed = entries[own].fields != now;
  entries[own].fields = std::move(now);
  entries[own].row["apiVersion"] = manager.api_version;
  if (changed || !entries[own].row.contains("time"))
    entries[own].row["time"] = base::format_time(manager.now);
  if (manager.name == "kubectl" && !base::string_at(merged, "metadata", "annotations", kLastApplied).empty())
    merged.at("metadata").at("annotations").get_object()[kLastApplied] = base::to_json(applied) + "\n";
  out.object = std::move(merged);
  write_entries(out.object, std::move(entries));
  return out;
}

base::Result<json::value> merge_configuration(const Type& type, json::value live,
                                              const json::value& configuration) {
  auto bad = [](std::string why) {
    return base::make_error(base::Kind::kInvalid, "apply", {}, std::move(why));
  };
  const std::string kUntyped = "failed to convert patch object to typed object: ";
  if (!configuration.is_object() || !live.is_object()) return bad(kUntyped + "not an object");
  if (auto right = check_types(type, configuration); !right.ok()) return bad(kUntyped + right.error().reason);
  json::value known = configuration;
  std::vector<std::string> unknown;
  prune(type, known, &unknown);
  if (!unknown.empty()) return bad(kUntyped + "." + unknown[0] + ": field not declared in schema");
  if (std::string wrong = check_lists(type, configuration.get_object()); !wrong.empty())
    return bad(kUntyped + wrong);
  std::vector<std::string> atomic;
  find_atomic(type, configuration.get_object(), "", atomic);
  if (!atomic.empty()) {
    std::string all;
    for (const std::string& path : atomic) all += (all.empty() ? "" : ", ") + path;
    return bad("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: " + all);
  }
  merge_into(type, live.get_object(), configuration.get_object());
  return live;
}

void track_update(const Type& type, const json::value& before, json::value& after,
                  const FieldManager& manager, Part part) {
  if (!after.is_object()) return;
  json::object& metadata = base::object_at(after.get_object(), "metadata");
  const json::array* sent = managed(after);
  if (sent && sent->size() == 1 && sent->front().is_object() && sent->front().get_object().empty()) {
    metadata.erase("managedFields");  // [{}]: a client gives up all tracking
    return;
  }
  // Clients that do not know the list leave it out; it is not theirs to lose.
  const json::array* list = sent && !sent->empty() && well_formed(*sent) ? sent : managed(before);
  FieldChanges changes;
  if (before.is_object()) changes = compare_fields(type, before, after, part);
  else changes.changed = fields_of(type, after, part);
  if (changes.changed.empty() && changes.removed.empty()) {
    if (!list) metadata.erase("managedFields");
    else if (list != sent) metadata["managedFields"] = *list;
    return;
  }
  std::vector<Entry> entries = read_entries(list);
  size_t own = changes.changed.empty() ? SIZE_MAX : own_entry(entries, manager, "Update");
  for (size_t i = 0; i < entries.size(); ++i) {
    subtract(entries[i].fields, changes.removed);
    if (i != own) subtract(entries[i].fields, changes.changed);
  }
  if (own != SIZE_MAX) {
    if (entries[own].fields.empty()) entries[own].fields = std::move(changes.changed);
    else unite(entries[own].fields, changes.changed);
    entries[own].row["time"] = base::format_time(manager.now);
  }
  fold_old_updates(entries);
  write_entries(after, std::move(entries));
}

std::string conflict_text(const std::vector<ApplyConflict>& conflicts) {
  if (conflicts.size() == 1)
    return "Apply failed with 1 conflict: conflict with " + conflicts[0].manager + ": " + conflicts[0].field;
  std::string out = "Apply failed with " + std::to_string(conflicts.size()) + " conflicts: ", last;
  for (const ApplyConflict& conflict : conflicts) {
    if (conflict.manager != last)
      out += (last.empty() ? "" : "\n") + ("conflicts with " + conflict.manager + ":");
    last = conflict.manager;
    out += "\n- " + conflict.field;
  }
  return out;
}

}  // namespace api
