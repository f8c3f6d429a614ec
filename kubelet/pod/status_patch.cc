#include "kubelet/pod/status_patch.h"

#include <algorithm>
#include <set>

namespace kubelet {

namespace json = base::json;

namespace {

constexpr const char* kConditions = "conditions";

json::object diff(const api::Type* type, const json::object& have, const json::object& want);

bool unique_keys(const json::array& list, const char* key) {
  std::set<std::string_view> seen;
  for (const json::value& item : list) {
    const std::string_view name = base::string_at(item, key);
    if (name.empty() || !seen.insert(name).second) return false;
  }
  return true;
}

const json::object* find_item(const json::array& list, const char* key, std::string_view name) {
  for (const json::value& item : list)
    if (base::string_at(item, key) == name) return item.if_object();
  return nullptr;
}

json::array whole(const json::array& want) {
  json::array out{json::object{{"$patch", "replace"}}};
  out.insert(out.end(), want.begin(), want.end());
  return out;
}

// Items that differ, with null for a member that is over; items that are not wanted any more are
// named.
json::array by_key(const api::Field& field, const json::array& have, const json::array& want) {
  json::array out;
  for (const json::value& item : want) {
    const json::object* old = find_item(have, field.merge_key, base::string_at(item, field.merge_key));
    if (old && *old == item.get_object()) continue;
    json::object changed = item.get_object();
    if (old)
      for (const auto& member : *old)
        if (!changed.contains(member.key())) changed[member.key()] = nullptr;
    out.push_back(std::move(changed));
  }
  for (const json::value& item : have)
    if (const std::string_view name = base::string_at(item, field.merge_key);
        !find_item(want, field.merge_key, name))
      out.push_back(json::object{{"$patch", "delete"}, {field.merge_key, name}});
  return out;
}

void add_list(const api::Field& field, const json::value* old, const json::array& want, json::object& out) {
  const json::array none;
  const json::array& have = old && old->is_array() ? old->get_array() : none;
  if (std::string_view(field.name) != kConditions || !field.merge_key ||
      !unique_keys(have, field.merge_key) || !unique_keys(want, field.merge_key)) {
    out[field.name] = whole(want);
    return;
  }
  json::array order;
  for (const json::value& item : want)
    order.push_back(json::object{{field.merge_key, base::string_at(item, field.merge_key)}});
  out["$setElementOrder/" + std::string(field.name)] = std::move(order);
  json::array changed = by_key(field, have, want);
  if (!changed.empty()) out[field.name] = std::move(changed);
}

json::object diff(const api::Type* type, const json::object& have, const json::object& want) {
  json::object out;
  for (const auto& member : have)
    if (!want.contains(member.key())) out[member.key()] = nullptr;
  for (const auto& member : want) {
    const json::value& value = member.value();
    const json::value* old = have.if_contains(member.key());
    if (old && *old == value) continue;
    const api::Field* field = type ? type->field(member.key()) : nullptr;
    if (value.is_array() && field && field->merges) {
      add_list(*field, old, value.get_array(), out);
    } else if (value.is_object() && old && old->is_object()) {
      const bool one = field && field->holder == api::Holder::kOne;
      out[member.key()] = diff(one ? field->type : nullptr, old->get_object(), value.get_object());
    } else {
      out[member.key()] = value;
    }
  }
  return out;
}

// Without the times of conditions: they are taken from what the API shows, and change when it does.
json::value without_times(json::value status) {
  json::value* conditions = status.is_object() ? status.get_object().if_contains(kConditions) : nullptr;
  if (conditions && conditions->is_array())
    for (json::value& condition : conditions->get_array())
      if (condition.is_object()) condition.get_object().erase("lastTransitionTime");
  return status;
}

}  // namespace

json::object status_patch(const api::Type& type, const json::value& have, const json::value& want) {
  const json::object none;
  return diff(&type, have.is_object() ? have.get_object() : none,
              want.is_object() ? want.get_object() : none);
}

StatusStep plan_status(const StatusSeen& seen, bool in_motion, base::Time now) {
  if (seen.since == base::Time{} || seen.in_flight) return {};  // its answer wakes
  const base::Time due = std::max(seen.retry_at, in_motion ? std::min(seen.since, now) + kInMotion : now);
  if (now < due) return {.send = false, .wake = due};
  return {.send = true, .wake = {}};
}

void StatusSent::answered(const json::value& want, const json::value& answer) {
  want_ = without_times(want);
  answer_ = answer;
}

bool StatusSent::settled(const json::value& have, const json::value& want) const {
  return !want_.is_null() && have == answer_ && without_times(want) == want_;
}

}  // namespace kubelet
