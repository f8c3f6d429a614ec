// How a controller writes the status of the object that it judged: one merge patch, bound to the object's
// uid, and the key is held back by the gate until the write has come back through the watch. Decides nothing.
// Single-threaded; all references outlive this.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>

#include "master/controllers/reconciler.h"

namespace master::controllers {

class StatusWriter {
 public:
  // `store` is where the written object comes back. `key`: the reconciler's where one is for all objects;
  // else it is the object's.
  StatusWriter(Hub& hub, Hub::Account& account, const api::Resource& resource, const StoreBase& store,
               Reconciler& reconciler, std::string key = {})
      : hub_(hub), account_(account), resource_(resource), store_(store), reconciler_(reconciler),
        key_(std::move(key)) {}

  // kRevision: only if nobody wrote the object since it was seen; kConflict otherwise.
  enum class Bound { kUid, kRevision };
  // `done` gets OK, kNotFound when the object is gone (or another one has its name), or why not.
  void write(const Meta& judged, json::object status, std::function<void(base::Status)> done,
             Bound bound = Bound::kUid);

 private:
  Hub& hub_;
  Hub::Account& account_;
  const api::Resource& resource_;
  const StoreBase& store_;
  Reconciler& reconciler_;
  const std::string key_;
};

inline bool is_gone(const base::Status& written) {
  return !written.ok() && written.error().kind == base::Kind::kNotFound;
}

// `status` says all of it: those of `members` that it lacks go with a merge patch.
json::object whole_status(json::object status, std::initializer_list<const char*> members);

}  // namespace master::controllers
