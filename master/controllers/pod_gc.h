// Ends the Pods that nobody else will end (pod_gc_plan.h). What is to be removed is failed first: whoever
// holds it by a finalizer, as Jobs do, waits for that, and no kubelet will say it.
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/task.h"
#include "master/controllers/pod_gc_plan.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {

class PodGc {
 public:
  explicit PodGc(Hub& hub);

 private:
  base::Task<> remove_surplus(Reconciler::Finish finish);
  base::Task<> judge(std::string key, Reconciler::Finish finish);
  base::Task<> bury(std::string node, Reconciler::Finish finish);
  base::Task<base::Status> end(std::shared_ptr<const Pod> pod, PodVerdict verdict);
  base::Task<base::Status> remove(std::shared_ptr<const Pod> pod);

  Hub& hub_;
  Store<Pod>& pods_;
  Store<Node>& nodes_;
  Hub::Account& account_;
  std::set<FinishedPod> finished_;
  std::map<std::string, base::Steady> missing_since_;  // nodes that Pods name and the cache does not have
  Reconciler surplus_, ending_, nodes_gone_;           // keys: one word; a Pod's; a node's name
  base::Tasks tasks_;
};

}  // namespace master::controllers
