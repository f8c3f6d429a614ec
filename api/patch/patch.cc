#include "api/patch/patch.h"

#include <algorithm>

#include "base/json_erase.h"
#include "base/json_limits.h"

namespace api {
namespace {

constexpr size_t kMaxCopiedBytes = 16u << 20;  // "copy" can double a document at each step
// What operations inside long lists move, in all: a second or two. Ten thousand of them before
// a million items would take minutes.
// Values looked through, in all, because they move to a deeper place.
constexpr size_t kMaxLookedAt = 50'000'000;
constexpr size_t kMaxMovedItems = 200'000'000;
// Members of larger objects lose their order rather than all to be moved for one that goes.
constexpr size_t kMaxOrderedMembers = 64;

base::Error malformed(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "apply JSON patch", {}, std::move(reason));
}
base::Error inapplicable(std::string reason) {
  return base::make_error(base::Kind::kConflict, "apply JSON patch", {}, std::move(reason));
}

// RFC 6901
base::Result<std::vector<std::string>> parse_pointer(std::string_view text) {
  std::vector<std::string> out;
  if (text.empty()) return out;
  if (text[0] != '/') return malformed("path \"" + std::string(text) + "\" does not start with '/'");
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '/') {
      out.emplace_back();
    } else if (text[i] == '~') {
      char next = i + 1 < text.size() ? text[i + 1] : 0;
      if (next != '0' && next != '1')
        return malformed("path \"" + std::string(text) + "\" has a '~' that quotes nothing");
      out.back().push_back(next == '0' ? '~' : '/');
      ++i;
    } else {
      out.back().push_back(text[i]);
    }
  }
  return out;
}
// Of an element that is there; SIZE_MAX otherwise.
size_t index_of(const std::string& token, size_t size) {
  if (token.empty() || token.size() > 9 || (token[0] == '0' && token.size() > 1)) return SIZE_MAX;
  size_t n = 0;
  for (char c : token) {
    if (c < '0' || c > '9') return SIZE_MAX;
    n = n * 10 + static_cast<size_t>(c - '0');
  }
  return n < size ? n : SIZE_MAX;
}
json::value* step(json::value& at, const std::string& token) {
  if (json::object* object = at.if_object()) return object->if_contains(token);
  if (json::array* array = at.if_array()) {
    size_t i = index_of(token, array->size());
    return i == SIZE_MAX ? nullptr : &(*array)[i];
  }
  return nullptr;
}
json::value* walk_to(json::value& root, const std::vector<std::string>& path, size_t steps) {
  json::value* at = &root;
  for (size_t i = 0; at && i < steps; ++i) at = step(*at, path[i]);
  return at;
}

class JsonPatch {
 public:
  explicit JsonPatch(const json::value& document) : root_(document) {}

  base::Status run(const json::value& operation) {
    if (!operation.is_object()) return malformed("an operation is not an object");
    std::string_view op = base::string_at(operation, "op");
    const json::value* path = base::find(operation, "path");
    if (!path || !path->is_string()) return malformed("an operation has no path");
    text_ = base::as_string(path);
    auto to = TRY(parse_pointer(text_));
    const json::value* value = base::find(operation, "value");
    if (op == "remove") return remove(to);
    if (op == "add" || op == "replace" || op == "test") {
      if (!value && op != "test")
        return malformed("\"" + std::string(op) + "\" of " + text_ + " has no value");
      if (op == "add") return add(to, *value);
      if (op == "replace") return replace(to, *value);
      return test(to, value ? *value : json::value(nullptr));
    }
    if (op == "move" || op == "copy") {
      const json::value* from_value = base::find(operation, "from");
      if (!from_value || !from_value->is_string())
        return malformed("\"" + std::string(op) + "\" has no from");
      auto from = TRY(parse_pointer(base::as_string(from_value)));
      json::value* source = walk_to(root_, from, from.size());
      if (!source)
        return inapplicable("from \"" + std::string(base::as_string(from_value)) + "\" does not exist");
      if (op == "copy") {
        copied_bytes_ += base::to_json(*source).size();
        if (copied_bytes_ > kMaxCopiedBytes) return inapplicable("the copies are larger than 16 MiB");
        return add(to, json::value(*source));
      }
      if (to.size() > from.size() && std::equal(from.begin(), from.end(), to.begin()))
        return inapplicable("a value cannot move into itself");
      json::value moved = std::move(*source);
      if (auto status = remove(from); !status.ok()) return status;
      // Up or sideways it nests no deeper than before: a large value moves to and fro without being looked
      // through.
      if (to.size() <= from.size()) return put(to, std::move(moved));
      if (!within(moved, base::kMaxJsonDepth - std::min(base::kMaxJsonDepth, to.size())))
        return inapplicable(base::kTooDeep);
      return put(to, std::move(moved));
    }
    return inapplicable("unknown op \"" + std::string(op) + "\"");
  }
  json::value take() { return std::move(root_); }

 private:
  base::Error missing() const { return inapplicable("path \"" + text_ + "\" does not exist"); }

  // Checked at each step: some hundred copies of a value into itself are deeper than any stack.
  static bool fits(const std::vector<std::string>& path, const json::value& value) {
    return path.size() <= base::kMaxJsonDepth && base::nests_within(value, base::kMaxJsonDepth - path.size());
  }
  // nests_within() of what moves deeper, until all of them together have been looked at for long enough.
  bool within(const json::value& value, size_t levels) {
    if (++looked_at_ > kMaxLookedAt) return false;
    if (const json::array* list = value.if_array())
      return levels > 0 && std::all_of(list->begin(), list->end(),
                                       [&](const json::value& item) { return within(item, levels - 1); });
    if (const json::object* object = value.if_object())
      return levels > 0 && std::all_of(object->begin(), object->end(), [&](const auto& member) {
               return within(member.value(), levels - 1);
             });
    return true;
  }
  base::Status add(const std::vector<std::string>& path, json::value value) {
    if (!fits(path, value)) return inapplicable(base::kTooDeep);
    return put(path, std::move(value));
  }
  base::Status put(const std::vector<std::string>& path, json::value value) {
    if (path.empty()) return root_ = std::move(value), base::Status();
    json::value* parent = walk_to(root_, path, path.size() - 1);
    if (!parent) return missing();
    if (json::object* object = parent->if_object()) {
      (*object)[path.back()] = std::move(value);
      return {};
    }
    json::array* array = parent->if_array();
    if (!array) return missing();
    size_t at = path.back() == "-" ? array->size() : index_of(path.back(), array->size() + 1);
    if (at == SIZE_MAX) return missing();
    if (auto status = moves(array->size() - at); !status.ok()) return status;
    array->insert(array->begin() + static_cast<std::ptrdiff_t>(at), std::move(value));
    return {};
  }
  base::Status remove(const std::vector<std::string>& path) {
    if (path.empty()) return inapplicable("the whole document cannot be removed");
    json::value* parent = walk_to(root_, path, path.size() - 1);
    if (!parent || !step(*parent, path.back())) return missing();
    if (json::object* object = parent->if_object()) {
      auto it = object->find(path.back());
      if (object->size() > kMaxOrderedMembers) object->erase(it);
      else object->stable_erase(it);
      return {};
    }
    json::array& array = parent->get_array();
    size_t at = index_of(path.back(), array.size());
    if (auto status = moves(array.size() - at); !status.ok()) return status;
    array.erase(array.begin() + static_cast<std::ptrdiff_t>(at));
    return {};
  }
  base::Status moves(size_t items) {
    moved_items_ += items;
    if (moved_items_ > kMaxMovedItems)
      return inapplicable("the operations move more than 200,000,000 list items");
    return {};
  }
  base::Status replace(const std::vector<std::string>& path, json::value value) {
    json::value* at = walk_to(root_, path, path.size());
    if (!at) return missing();
    if (!fits(path, value)) return inapplicable(base::kTooDeep);
    *at = std::move(value);
    return {};
  }
  base::Status test(const std::vector<std::string>& path, const json::value& value) {
    json::value* at = walk_to(root_, path, path.size());
    if (at ? *at == value : value.is_null()) return {};
    return inapplicable("testing value " + text_ + " failed");
  }
  json::value root_;
  std::string text_;
  size_t copied_bytes_ = 0, moved_items_ = 0, looked_at_ = 0;
};

}  // namespace

base::Result<json::value> json_patch(const json::value& document, const json::value& patch) {
  const json::array* operations = patch.if_array();
  if (!operations) return malformed("a JSON patch is a list of operations");
  if (operations->size() > kMaxJsonPatchOperations)
    return base::make_error(base::Kind::kExhausted, "apply JSON patch", {},
                            "The allowed maximum operations in a JSON patch is " +
                                std::to_string(kMaxJsonPatchOperations) + ", got " +
                                std::to_string(operations->size()));
  JsonPatch run(document);
  for (const json::value& operation : *operations)
    if (auto status = run.run(operation); !status.ok()) return std::move(status).error();
  return run.take();
}

json::value merge_patch(json::value document, const json::value& patch) {
  const json::object* changes = patch.if_object();
  if (!changes) return patch;
  if (!document.is_object()) document = json::object();
  json::object& out = document.get_object();
  bool removes = false;
  for (const auto& item : *changes) {
    json::value* live = out.if_contains(item.key());
    if (item.value().is_null()) removes |= live != nullptr;
    else if (!live) out.emplace(item.key(), merge_patch(nullptr, item.value()));
    else *live = merge_patch(std::move(*live), item.value());
  }
  if (removes)
    base::erase_if(out, [&](const auto& member) {
      const json::value* change = changes->if_contains(member.key());
      return change && change->is_null();
    });
  return document;
}

json::value diff_merge_patch(const json::value& before, const json::value& after) {
  const json::object* a = before.if_object();
  const json::object* b = after.if_object();
  if (!a || !b) return after;
  json::object out;
  for (const auto& item : *a)
    if (!b->contains(item.key())) out.emplace(item.key(), nullptr);
  for (const auto& item : *b) {
    const json::value* old = a->if_contains(item.key());
    if (old && *old == item.value()) continue;
    out.emplace(item.key(), old && old->is_object() && item.value().is_object()
                                ? diff_merge_patch(*old, item.value())
                                : item.value());
  }
  return out;
}

}  // namespace api
