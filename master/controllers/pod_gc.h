// Removes the oldest finished Pods above a threshold, so that Jobs and bare Pods do not fill the store; and
// says of a Pod that was deleted before it had a node that it failed, which no kubelet will: whoever holds it
// by a finalizer waits for that. Never touches a Pod that still runs.
#pragma once

#include <set>
#include <string>

#include "master/controllers/reconciler.h"

namespace master::controllers {

class PodGc {
 public:
  explicit PodGc(Hub& hub);

 private:
  void sync(Reconciler::Finish finish);
  void sync_unscheduled(const std::string& key, Reconciler::Finish finish);
  Hub& hub_;
  Store<Pod>& pods_;
  Hub::Account& account_;
  std::set<std::pair<base::Time, std::string>> finished_;  // creation time, key
  Reconciler reconciler_, unscheduled_;
};

}  // namespace master::controllers
