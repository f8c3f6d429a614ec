// What claims of devices and slices of devices share. Private to api/validate_device*.cc.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/quantity.h"
#include "api/validate/rules.h"

namespace api::rules {

inline const std::vector<std::string> kDeviceTaintEffects = {"NoExecute", "NoSchedule", "None"};

// False when the list is too long to look at its items.
inline bool bounded(Errors& e, const View& list, size_t limit) {
  if (list.size() <= limit) return true;
  e.too_many(list.path(), list.size(), limit);
  return false;
}
// Items, none of them twice by what `key` says of it.
template <typename Check, typename Key>
void set_of(Errors& e, const View& list, size_t limit, Check check, Key key) {
  if (!bounded(e, list, limit)) return;
  list.each(check);
  std::set<std::string> seen;
  list.each([&](const View& item) {
    std::string name(key(item));
    if (!seen.insert(name).second) e.duplicate(item.path(), name);
  });
}
inline std::string_view by_name(const View& item) { return item["name"].text(); }
inline std::string_view by_text(const View& item) { return item.text(); }

void label_name(Errors& e, const View& at, std::string_view text);
void dns_label(Errors& e, const View& name);  // absent: right
void pool_name(Errors& e, const View& name);  // DNS subdomains with slashes between them; absent: right
// "domain/id", or "id" of the driver's own domain unless that is not enough.
void qualified_name(Errors& e, const std::string& field, std::string_view name, bool domain_required);
std::optional<Quantity> amount(Errors& e, const View& text);  // none when absent or wrong
void binding_conditions(Errors& e, const View& owner);

}  // namespace api::rules
