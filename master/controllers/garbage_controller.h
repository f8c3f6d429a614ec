// The garbage collector: feeds the graph from every informer and carries out what it plans, one
// object at a time, always bound to the uid that was judged. Never deletes on a guess: an owner
// that no informer shows is asked for at the API server first.
#pragma once

#include <string>

#include "master/controllers/garbage_graph.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {

class GarbageController {
 public:
  explicit GarbageController(Hub& hub);

 private:
  void seen(const api::Resource& resource, api::Informer::Change change, const json::value& object);
  void sync(const std::string& uid, Reconciler::Finish finish);
  void ask(const std::string& uid, const GraphNode& node, const std::vector<OwnerRef>& owners,
           Reconciler::Finish finish);
  void strip(const GraphNode& node, std::vector<std::string> owners, std::function<void(base::Status)> done);
  void drop_finalizer(const GraphNode& node, const std::string& finalizer,
                      std::function<void(base::Status)> done);
  void conclude(const std::string& uid, const base::Status& status, const Reconciler::Finish& finish);

  Hub& hub_;
  Hub::Account& account_;
  GarbageGraph graph_;
  Reconciler reconciler_;
};

}  // namespace master::controllers
