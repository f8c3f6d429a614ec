// Strategic merge patch: what kubectl apply, edit and label send. Directives: keys that start
// with '$' stand in the patch only and never reach the document.
#include <algorithm>

#include "api/patch.h"

namespace api {
namespace {

constexpr std::string_view kDirective = "$patch", kRetain = "$retainKeys", kOrder = "$setElementOrder/",
                           kDelete = "$deleteFromPrimitiveList/";

base::Error bad(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "apply strategic merge patch", {}, std::move(reason));
}
using Item = const json::value&;

bool same(Item a, Item b, const char* key) {
  if (!key) return a == b;
  const json::value* x = base::find(a, key);
  const json::value* y = base::find(b, key);
  return x && y && *x == *y;
}
size_t position(const json::array& list, Item item, const char* key) {
  for (size_t i = 0; i < list.size(); ++i)
    if (same(list[i], item, key)) return i;
  return SIZE_MAX;
}

// Items that `wanted` names come in its order; the others keep theirs, each before the first item
// that stood behind it in `live`.
json::array order(json::array items, const json::array& wanted, const json::array& live, const char* key) {
  std::vector<std::pair<size_t, json::value>> named, others;
  for (json::value& item : items) {
    size_t at = position(wanted, item, key);
    if (at != SIZE_MAX) named.emplace_back(at, std::move(item));
    else {
      size_t in_live = position(live, item, key);
      others.emplace_back(in_live, std::move(item));
    }
  }
  auto by_first = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::stable_sort(named.begin(), named.end(), by_first);
  std::stable_sort(others.begin(), others.end(), by_first);
  json::array out;
  size_t i = 0, j = 0;
  while (i < others.size() || j < named.size()) {
    bool take_other = j == named.size() ||
                      (i < others.size() && others[i].first < position(live, named[j].second, key));
    out.push_back(std::move(take_other ? others[i++].second : named[j++].second));
  }
  return out;
}

base::Status merge_object(const Type* type, json::object& document, const json::object& patch);

base::Result<json::value> fresh(const Type* type, Item patch) {
  if (!patch.is_object()) return json::value(patch);
  json::object out;
  if (auto status = merge_object(type, out, patch.get_object()); !status.ok()) return std::move(status).error();
  return json::value(std::move(out));
}

base::Result<json::array> merge_keyed_list(const Field& field, const json::array& live, const json::array& patch,
                                           const json::array* wanted) {
  json::array merged = live, plain;
  for (Item item : patch) {
    if (!item.is_object()) return bad("field " + std::string(field.name) + ": an element is not an object");
    std::string_view directive = base::string_at(item, kDirective);
    if (directive == "replace") {  // of the list; its other elements are the new ones
      merged.clear();
      continue;
    }
    if (directive == "merge" && item.get_object().size() == 1) continue;
    const json::value* key = base::find(item, field.merge_key);
    if (!key) return bad("field " + std::string(field.name) + ": map: " + base::to_json(item) +
                         " does not contain declared merge key: " + field.merge_key);
    if (directive == "delete") {
      for (size_t at; (at = position(merged, item, field.merge_key)) != SIZE_MAX;)
        merged.erase(merged.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      plain.push_back(item);
    }
  }
  for (Item item : plain) {
    size_t at = position(merged, item, field.merge_key);
    if (at == SIZE_MAX) {
      merged.push_back(TRY(fresh(field.type, item)));
    } else {
      if (!merged[at].is_object()) merged[at] = json::object();
      if (auto status = merge_object(field.type, merged[at].get_object(), item.get_object()); !status.ok())
        return std::move(status).error();
    }
  }
  return order(std::move(merged), wanted ? *wanted : plain, live, field.merge_key);
}

base::Status merge_list(const Field& field, json::value* live, const json::array& patch, const json::array* wanted,
                        json::object& document) {
  json::array before;
  if (live && live->is_array()) before = live->get_array();
  if (field.merge_key) {
    document[field.name] = TRY(merge_keyed_list(field, before, patch, wanted));
    return {};
  }
  json::array merged = before;
  for (Item item : patch)
    if (position(merged, item, nullptr) == SIZE_MAX) merged.push_back(item);
  document[field.name] = order(std::move(merged), wanted ? *wanted : patch, before, nullptr);
  return {};
}

base::Status merge_object(const Type* type, json::object& document, const json::object& patch) {
  if (const json::value* directive = patch.if_contains(kDirective)) {
    std::string_view word = base::as_string(directive);
    if (word == "replace" || word == "delete") {
      document.clear();
      if (word == "replace")
        for (const auto& item : patch)
          if (item.key() != kDirective) document.insert_or_assign(item.key(), item.value());
      return {};
    }
    if (word != "merge") return bad("unknown directive $patch: " + base::to_json(*directive));
  }
  if (const json::value* retain = patch.if_contains(kRetain)) {
    if (!retain->is_array()) return bad("$retainKeys is not a list");
    const json::array& keys = retain->get_array();
    auto kept = [&](std::string_view key) { return position(keys, json::value(key), nullptr) != SIZE_MAX; };
    for (const auto& item : patch)
      if (!item.key().starts_with("$") && !item.value().is_null() && !kept(item.key()))
        return bad("field " + std::string(item.key()) + " is patched but not in $retainKeys");
    for (auto it = document.begin(); it != document.end();)
      it = kept(it->key()) ? it + 1 : document.stable_erase(it);
  }
  for (const auto& item : patch) {  // deletions and orders first: they meet the lists as they were
    std::string_view key(item.key().data(), item.key().size());
    if (!key.starts_with(kDelete)) continue;
    json::value* list = document.if_contains(key.substr(kDelete.size()));
    if (!item.value().is_array()) return bad(std::string(key) + " is not a list");
    if (!list || !list->is_array()) continue;
    json::array left;
    for (json::value& value : list->get_array())
      if (position(item.value().get_array(), value, nullptr) == SIZE_MAX) left.push_back(std::move(value));
    *list = std::move(left);
  }
  for (const auto& item : patch) {
    std::string_view key(item.key().data(), item.key().size());
    bool is_order = key.starts_with(kOrder);
    if (key.starts_with('$') && !is_order) continue;
    if (is_order) {
      key.remove_prefix(kOrder.size());
      if (!item.value().is_array()) return bad("$setElementOrder/" + std::string(key) + " is not a list");
      if (patch.contains(key)) continue;  // used together with the list itself
      const Field* field = type ? type->field(key) : nullptr;
      json::value* live = document.if_contains(key);
      if (field && field->merges && live && live->is_array()) {
        json::array before = live->get_array();
        *live = order(before, item.value().get_array(), before, field->merge_key);
      }
      continue;
    }
    if (item.value().is_null()) {
      if (auto it = document.find(key); it != document.end()) document.stable_erase(it);
      continue;
    }
    const Field* field = type ? type->field(key) : nullptr;
    json::value* live = document.if_contains(key);
    if (item.value().is_object()) {
      const Type* inner = field && field->holder == Holder::kOne ? field->type : nullptr;
      if (!live || !live->is_object()) live = &(document[key] = json::object());
      if (auto status = merge_object(inner, live->get_object(), item.value().get_object()); !status.ok()) return status;
    } else if (item.value().is_array() && field && field->merges && field->holder == Holder::kList) {
      const json::value* wanted = patch.if_contains(std::string(kOrder) + std::string(key));
      auto status = merge_list(*field, live, item.value().get_array(), wanted ? wanted->if_array() : nullptr, document);
      if (!status.ok()) return status;
    } else {
      document[key] = item.value();
    }
  }
  return {};
}

}  // namespace

base::Result<json::value> strategic_merge_patch(const Type& type, json::value document, const json::value& patch) {
  if (!patch.is_object()) return bad("the patch is not an object");
  if (!document.is_object()) document = json::object();
  if (auto status = merge_object(&type, document.get_object(), patch.get_object()); !status.ok())
    return std::move(status).error();
  return document;
}

}  // namespace api
