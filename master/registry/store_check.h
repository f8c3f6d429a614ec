// What a master would say to a store if it started on it: whether it starts, and which records it
// could not serve. Looks only; no master may run on the store meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace master {

struct StoreReport {
  size_t records = 0;                                      // those that are whole
  int64_t revision = 0;                                    // of the last write
  std::optional<base::Error> refusal;                      // why a master does not start
  std::vector<std::pair<std::string, std::string>> aside;  // a record's key, and why it is not served
};
// An error: nothing could be looked at, since there is no store or somebody works on it.
base::Result<StoreReport> check_store(const std::string& path);

// One line each, and what to do. 0: whole; 3: records would be set aside; 4: no master starts.
int exit_code(const StoreReport& report);
std::string to_text(const StoreReport& report, const std::string& path);

}  // namespace master
