// Watches: every WATCH that is under way. Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/loop.h"
#include "master/registry/registry.h"

namespace master {

class Watches {
 public:
  explicit Watches(Registry& registry) : registry_(registry) {}
  void serve(RequestPtr request);
  // Ends those of a resource that goes or changes its form: their clients come back.
  void end(const ObjectCache& objects);

 private:
  struct Watcher;
  void send_bookmarks();

  Registry& registry_;
  std::map<uint64_t, std::shared_ptr<Watcher>> watchers_;
  uint64_t next_ = 1;
  base::Loop::Handle bookmark_timer_;
};

}  // namespace master
