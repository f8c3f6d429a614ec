// Strategic merge patch: what kubectl apply, edit and label send. Directives: keys that start
// with '$' stand in the patch only and never reach the document.
#include <algorithm>
#include <map>

#include "api/patch/patch.h"
#include "base/json_erase.h"

namespace api {
namespace {

constexpr std::string_view kDirective = "$patch", kRetain = "$retainKeys", kOrder = "$setElementOrder/",
                           kDelete = "$deleteFromPrimitiveList/";

base::Error bad_merge(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "apply strategic merge patch", {}, std::move(reason));
}
using Item = const json::value&;

bool same_item(Item a, Item b, const char* key) {
  if (!key) return a == b;
  const json::value* x = base::find(a, key);
  const json::value* y = base::find(b, key);
  return x && y && *x == *y;
}

// Where the items of a list stand, by their merge key (null: by their whole value): the first of equal ones.
// Ordered by text, since a client who knows a hash function can make all keys meet in one bucket.
class Positions {
 public:
  Positions(const json::array& list, const char* key) : list_(list), key_(key) {
    if (list.size() <= kFew) return;
    for (size_t i = 0; i < list.size(); ++i) add(i);
  }
  // Of the item of `list` that is the same; SIZE_MAX without one.
  size_t of(Item item) const {
    if (list_.size() <= kFew) {
      for (size_t i = 0; i < list_.size(); ++i)
        if (same_item(list_[i], item, key_)) return i;
      return SIZE_MAX;
    }
    const json::value* value = key_ ? base::find(item, key_) : &item;
    if (!value) return SIZE_MAX;
    auto it = index_.find(base::to_json(*value));
    return it == index_.end() ? SIZE_MAX : it->second;
  }
  bool has(Item item) const { return of(item) != SIZE_MAX; }
  // An item has been put at the end of the list.
  void appended() {
    if (list_.size() == kFew + 1)
      for (size_t i = 0; i < kFew; ++i) add(i);
    if (list_.size() > kFew) add(list_.size() - 1);
  }

 private:
  static constexpr size_t kFew = 16;  // are looked at one by one
  void add(size_t i) {
    if (const json::value* value = key_ ? base::find(list_[i], key_) : &list_[i])
      index_.emplace(base::to_json(*value), i);
  }
  const json::array& list_;
  const char* key_;
  std::map<std::string, size_t> index_;
};

// Items that `wanted` names come in its order; the others keep theirs, each before the first item
// that stood behind it in `live`.
json::array order(json::array items, const json::array& wanted_list, const json::array& live_list,
                  const char* key) {
  struct Placed {
    size_t wanted, live;
    json::value item;
  };
  Positions wanted(wanted_list, key), live(live_list, key);
  std::vector<Placed> named, others;
  for (json::value& item : items) {
    Placed placed{wanted.of(item), live.of(item), nullptr};
    placed.item = std::move(item);
    (placed.wanted == SIZE_MAX ? others : named).push_back(std::move(placed));
  }
  std::stable_sort(named.begin(), named.end(),
                   [](const Placed& a, const Placed& b) { return a.wanted < b.wanted; });
  std::stable_sort(others.begin(), others.end(),
                   [](const Placed& a, const Placed& b) { return a.live < b.live; });
  json::array out;
  out.reserve(items.size());
  size_t i = 0, j = 0;
  while (i < others.size() || j < named.size()) {
    bool take_other = j == named.size() || (i < others.size() && others[i].live < named[j].live);
    out.push_back(std::move(take_other ? others[i++].item : named[j++].item));
  }
  return out;
}

base::Status merge_object(const Type* type, json::object& document, const json::object& patch);

base::Result<json::value> fresh(const Type* type, Item patch) {
  if (!patch.is_object()) return json::value(patch);
  json::object out;
  if (auto status = merge_object(type, out, patch.get_object()); !status.ok())
    return std::move(status).error();
  return json::value(std::move(out));
}

base::Result<json::array> merge_keyed_list(const Field& field, const json::array& live,
                                           const json::array& patch, const json::array* wanted) {
  json::array merged = live, plain, deleted;
  for (Item item : patch) {
    if (!item.is_object())
      return bad_merge("field " + std::string(field.name) + ": an element is not an object");
    std::string_view directive = base::string_at(item, kDirective);
    if (directive == "replace") {  // of the list; its other elements are the new ones
      merged.clear();
      deleted.clear();
      continue;
    }
    if (directive == "merge" && item.get_object().size() == 1) continue;
    const json::value* key = base::find(item, field.merge_key);
    if (!key)
      return bad_merge("field " + std::string(field.name) + ": map: " + base::to_json(item) +
                       " does not contain declared merge key: " + field.merge_key);
    (directive == "delete" ? deleted : plain).push_back(item);
  }
  if (!deleted.empty()) {
    Positions gone(deleted, field.merge_key);
    json::array left;
    for (json::value& item : merged)
      if (!gone.has(item)) left.push_back(std::move(item));
    merged = std::move(left);
  }
  Positions positions(merged, field.merge_key);
  for (Item item : plain) {
    size_t at = positions.of(item);
    if (at == SIZE_MAX) {
      merged.push_back(TRY(fresh(field.type, item)));
      positions.appended();
    } else {
      if (!merged[at].is_object()) merged[at] = json::object();
      if (auto status = merge_object(field.type, merged[at].get_object(), item.get_object()); !status.ok())
        return std::move(status).error();
    }
  }
  return order(std::move(merged), wanted ? *wanted : plain, live, field.merge_key);
}

base::Status merge_list(const Field& field, json::value* live, const json::array& patch,
                        const json::array* wanted, json::object& document) {
  json::array before;
  if (live && live->is_array()) before = live->get_array();
  if (field.merge_key) {
    document[field.name] = TRY(merge_keyed_list(field, before, patch, wanted));
    return {};
  }
  json::array merged = before;
  Positions positions(merged, nullptr);
  for (Item item : patch) {
    if (positions.has(item)) continue;
    merged.push_back(item);
    positions.appended();
  }
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
    if (word != "merge") return bad_merge("unknown directive $patch: " + base::to_json(*directive));
  }
  if (const json::value* retain = patch.if_contains(kRetain)) {
    if (!retain->is_array()) return bad_merge("$retainKeys is not a list");
    const json::array& keys = retain->get_array();
    Positions retained(keys, nullptr);
    auto kept = [&](std::string_view key) { return retained.has(json::value(key)); };
    for (const auto& item : patch)
      if (!item.key().starts_with("$") && !item.value().is_null() && !kept(item.key()))
        return bad_merge("field " + std::string(item.key()) + " is patched but not in $retainKeys");
    base::erase_if(document, [&](const auto& member) { return !kept(member.key()); });
  }
  for (const auto& item : patch) {  // deletions and orders first: they meet the lists as they were
    std::string_view key(item.key().data(), item.key().size());
    if (!key.starts_with(kDelete)) continue;
    json::value* list = document.if_contains(key.substr(kDelete.size()));
    if (!item.value().is_array()) return bad_merge(std::string(key) + " is not a list");
    if (!list || !list->is_array()) continue;
    Positions gone(item.value().get_array(), nullptr);
    json::array left;
    for (json::value& value : list->get_array())
      if (!gone.has(value)) left.push_back(std::move(value));
    *list = std::move(left);
  }
  bool removes = false;
  for (const auto& item : patch) {
    std::string_view key(item.key().data(), item.key().size());
    bool is_order = key.starts_with(kOrder);
    if (key.starts_with('$') && !is_order) continue;
    if (is_order) {
      key.remove_prefix(kOrder.size());
      if (!item.value().is_array())
        return bad_merge("$setElementOrder/" + std::string(key) + " is not a list");
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
      removes |= document.contains(key);
      continue;
    }
    const Field* field = type ? type->field(key) : nullptr;
    json::value* live = document.if_contains(key);
    if (item.value().is_object()) {
      const Type* inner = field && field->holder == Holder::kOne ? field->type : nullptr;
      if (!live || !live->is_object()) live = &(document[key] = json::object());
      if (auto status = merge_object(inner, live->get_object(), item.value().get_object()); !status.ok())
        return status;
    } else if (item.value().is_array() && field && field->merges && field->holder == Holder::kList) {
      const json::value* wanted = patch.if_contains(std::string(kOrder) + std::string(key));
      auto status =
          merge_list(*field, live, item.value().get_array(), wanted ? wanted->if_array() : nullptr, document);
      if (!status.ok()) return status;
    } else {
      document[key] = item.value();
    }
  }
  if (removes)
    base::erase_if(document, [&](const auto& member) {
      const json::value* change = member.key().starts_with('$') ? nullptr : patch.if_contains(member.key());
      return change && change->is_null();
    });
  return {};
}

}  // namespace

base::Result<json::value> strategic_merge_patch(const Type& type, json::value document,
                                                const json::value& patch) {
  if (!patch.is_object()) return bad_merge("the patch is not an object");
  if (!document.is_object()) document = json::object();
  if (auto status = merge_object(&type, document.get_object(), patch.get_object()); !status.ok())
    return std::move(status).error();
  return document;
}

}  // namespace api
