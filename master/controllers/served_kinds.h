// Which kinds the API server serves now, told by its discovery documents: those of other API servers
// behind it included. Used to follow all of them (hub.h) and to empty a namespace.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "base/result.h"

namespace master::controllers {

struct ServedKind {
  api::Resource resource;  // in its group's preferred version
  bool can_list = false, can_watch = false, can_delete = false;
};
struct ServedKinds {
  std::vector<ServedKind> kinds;
  // Groups behind an API server that does not answer now: what it has is not in `kinds`.
  std::set<std::string, std::less<>> unavailable;
  base::Status trouble;  // a group that counts as available did not answer: it is in `unavailable`, too
};

// `done` is called once, on the loop's thread. An error when the API server itself can't be asked.
void discover_kinds(api::Client& client, std::function<void(base::Result<ServedKinds>)> done);

}  // namespace master::controllers
