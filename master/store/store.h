// Store: where objects are durable. Compare-and-swap on revisions, one global revision counter,
// completions in revision order. The API server keeps every object in memory (object_cache.h), reads the
// store once, at start, and follows it from there, its own writes included: what another master wrote comes
// the same way. Implementations: SQLite (store_sqlite.cc), which has one owner; one in memory for tests
// (tests/sim/memory_store.h). tests/unit/master/store_conformance_test.cc says what all of them do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace master {

struct StoreWrite {
  std::string key;            // "/pods/default/web"; see object_key()
  std::string value;          // empty: delete
  int64_t expected_revision;  // what the key must be at; 0: absent
};

// That a key has changed.
struct StoreChange {
  std::string key;
  std::string value;  // empty: deleted
  int64_t revision;
};

// Loop thread only; nothing is called back from within a call, nor after the store is gone.
class Store {
 public:
  virtual ~Store() = default;
  using Each = std::function<void(std::string key, std::string value, int64_t revision)>;
  using Damaged = std::function<void(const std::string& key, int64_t revision, const base::Error& why)>;
  // Every stored object, in key order, before the first submit. Records whose bytes do not check out go to
  // `damaged` instead; they stay where they are. kCorrupt when the store as a whole has lost something.
  virtual base::Status load(const Each& each, const Damaged& damaged = {}) = 0;
  // `done` runs on the loop's thread once the write is on disk, with its revision; kConflict when
  // the key is at another revision; kExhausted when the disk is full (nothing was written).
  // Calls of `done` come in the order of their revisions.
  virtual void submit(StoreWrite write, std::function<void(base::Result<int64_t>)> done) = 0;
  // Every change after revision `after`, whoever made it, in the order of revisions and without a gap, until
  // the handle goes; a write of this process is told before its `done` runs. `lost`, once, where that can't
  // be kept, kConflict when changes after `after` are forgotten: load again. From loaded_revision() it can.
  using Told = std::function<void(const StoreChange& change)>;
  struct Watch {
    virtual ~Watch() = default;
  };
  [[nodiscard]] virtual std::unique_ptr<Watch> watch(int64_t after, Told told,
                                                     std::function<void(base::Error)> lost) = 0;
  // Nobody will watch from before `revision` any more.
  virtual void compact(int64_t revision) = 0;
  // Stands for being the one master that acts (controllers, scheduler): true when it is, false when it is no
  // longer. Once, after load().
  virtual void campaign(std::function<void(bool leads)> told) = 0;
  virtual bool leads() const = 0;
  // A revision greater than all before, for objects that live in memory only. Never given again,
  // not even after a crash. kExhausted while no more can be reserved on disk.
  virtual base::Result<int64_t> next_volatile_revision() = 0;
  virtual int64_t loaded_revision() const = 0;  // after load(): of the last run's end or later
};

struct StoreOptions {
  // Go on with what is there, or with nothing, where acknowledged writes are missing. What is replaced is
  // kept beside it.
  bool accept_data_loss = false;
  bool only_look = false;  // load() alone; nothing is changed, made or deleted
};
// `path` is the database file; made if absent (mode 0600), unless a store was there before.
base::Result<std::unique_ptr<Store>> open_sqlite_store(base::Loop& loop, const std::string& path,
                                                       StoreOptions options = {});

}  // namespace master
