// The scheduler: watches Pods and Nodes, chooses a node for every Pod without one, binds it.
// Decides from an in-memory picture of requests per node; never polls: a Pod that fits nowhere
// waits until a node or Pod changes in a way that could help. All on the loop's thread.
#pragma once

#include <functional>
#include <memory>

#include "api/client/client.h"
#include "base/clock.h"
#include "base/loop.h"
#include "master/scheduler/scheduler_config.h"

namespace master::scheduler {

class Scheduler {
 public:
  // Does nothing until start(). Destroying it stops all work; requests in flight are dropped.
  Scheduler(base::Loop& loop, std::shared_ptr<api::Transport> transport, Config config = {},
            std::function<base::Time()> now = base::wall_now);
  ~Scheduler();
  void start();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace master::scheduler
