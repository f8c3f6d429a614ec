// Texts of JSON that are equal when two templates mean the same, and short hashes of them that are safe in
// names. Whoever tells old Pods from new ones stands on these: a change here rolls every workload once.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace master::controllers {

// Sorted keys, no nulls: the same template always gives the same text. No JSON.
std::string canonical_text(const base::json::value& value);
// FNV-1a, 32 bits, in the letters of names: no vowels and no look-alikes.
std::string safe_hash(std::string_view text);

}  // namespace master::controllers
