// A place in an object and its path, so that a rule names a field once for both. Views of what is
// absent are empty and yield "", 0, false and no items. Private to api/.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace api::rules {

class View {
 public:
  explicit View(const base::json::value* value, std::string path = {})
      : value_(value), path_(std::move(path)) {}

  View operator[](std::string_view key) const {
    return View(value_ ? base::find(*value_, key) : nullptr,
                path_.empty() ? std::string(key) : path_ + "." + std::string(key));
  }
  bool has() const { return value_ && !value_->is_null(); }
  // Set to something that Go's encoder would write.
  bool filled() const {
    if (!has()) return false;
    if (const auto* text = value_->if_string()) return !text->empty();
    if (const auto* list = value_->if_array()) return !list->empty();
    if (const auto* map = value_->if_object()) return !map->empty();
    return true;
  }
  std::string_view text() const { return base::as_string(value_); }
  int64_t number(int64_t fallback = 0) const { return base::as_int(value_, fallback); }
  bool flag() const { return base::as_bool(value_); }
  size_t size() const {
    if (!value_) return 0;
    if (const auto* list = value_->if_array()) return list->size();
    if (const auto* map = value_->if_object()) return map->size();
    return 0;
  }
  const std::string& path() const { return path_; }
  const base::json::value& shown() const {  // as an error prints it
    static const base::json::value kNull;
    return value_ ? *value_ : kNull;
  }
  const base::json::value* get() const { return value_; }
  bool same_as(const View& other) const {
    bool here = filled(), there = other.filled();
    return here == there && (!here || *value_ == *other.value_);
  }
  // each(View) of a list, with its index in the path.
  template <typename F>
  void each(F each_item) const {
    const auto* list = value_ ? value_->if_array() : nullptr;
    if (!list) return;
    for (size_t i = 0; i < list->size(); ++i)
      each_item(View(&(*list)[i], path_ + "[" + std::to_string(i) + "]"));
  }
  // each(key, View) of a map, with its key in the path.
  template <typename F>
  void each_entry(F each_item) const {
    const auto* map = value_ ? value_->if_object() : nullptr;
    if (!map) return;
    for (const auto& item : *map) {
      std::string_view key(item.key().data(), item.key().size());
      each_item(key, View(&item.value(), path_ + "[" + std::string(key) + "]"));
    }
  }

 private:
  const base::json::value* value_;
  std::string path_;
};

}  // namespace api::rules
