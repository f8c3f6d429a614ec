// What every controller's loop stands on: one key at a time, never twice at once; and Gate, which
// holds a key back until its own writes have come back through the watch. The Gate is why a stale
// cache never makes a surplus Pod (Kubernetes' "expectations", told by revisions and uids instead
// of counts). Owns no API knowledge.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "master/controllers/hub.h"

namespace master::controllers {

class Gate {
 public:
  explicit Gate(base::Duration expiry = std::chrono::seconds(30)) : expiry_(expiry) {}
  // A write for `key` was acknowledged with this revision: wait until `store` has seen it.
  void wrote(const std::string& key, const StoreBase& store, uint64_t revision, base::Time now);
  // A delete was acknowledged: wait until `gone` says so.
  void deleted(const std::string& key, std::function<bool()> gone, base::Time now);
  bool open(const std::string& key, base::Time now);  // forgets what is fulfilled or expired
  void forget(const std::string& key) { waits_.erase(key); }
  base::Duration expiry() const { return expiry_; }

 private:
  struct Wait {
    const StoreBase* store;
    uint64_t revision;
    std::function<bool()> gone;
    base::Time until;
  };
  base::Duration expiry_;
  std::unordered_map<std::string, std::vector<Wait>> waits_;
};

class Reconciler {
 public:
  enum class Outcome { kDone, kRetry };  // kRetry: again with back-off
  using Finish = std::function<void(Outcome)>;
  using Sync = std::function<void(const std::string& key, Finish finish)>;
  // `sync` must call finish exactly once, now or later. It is not called before all of `needs` were
  // listed once, nor while the gate holds the key.
  Reconciler(Hub& hub, std::vector<const StoreBase*> needs, Sync sync);
  // The same, with another idea of when to begin: asked again after each list.
  Reconciler(Hub& hub, std::function<bool()> ready, Sync sync);
  bool ready() const { return ready_(); }
  void add(const std::string& key);
  void add_after(const std::string& key, base::Duration delay);  // no-op when due sooner anyway
  // Ends a round by what came of it: again with back-off unless it went well. The failure is logged, but
  // for a conflict, which the watch explains.
  static void end(const char* kind, const std::string& key, const base::Status& status, const Finish& finish);
  Gate gate;

 private:
  void work(const std::string& key);
  Hub& hub_;
  std::function<bool()> ready_;
  Sync sync_;
  std::set<std::string> waiting_;     // until ready
  std::map<std::string, bool> busy_;  // value: came again meanwhile
  api::WorkQueue queue_;
};

// Calls each step at once; then `done` with the first error, or OK. `done` is called once.
using Step = std::function<void(std::function<void(base::Status)>)>;
void all(std::vector<Step> steps, std::function<void(base::Status)> done);

}  // namespace master::controllers
