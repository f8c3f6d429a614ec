// Master: the API server and all that acts on what it serves, controllers and scheduler, put together over a
// store. The program (main.cc) gives it the store's file, listens and hands
// it requests; a simulation gives it a store and a loop of its own. All on the loop's thread.
#pragma once

#include <functional>
#include <memory>

#include "api/client/client.h"
#include "base/loop.h"
#include "master/controllers/controllers.h"
#include "master/scheduler/scheduler.h"
#include "master/server/server.h"

namespace master {

struct MasterOptions {
  ServerOptions server;
  controllers::Options controllers;  // what leads to the API server is the master's to set
  scheduler::Config scheduling;
  // What controllers and scheduler speak through, made of what leads straight to the API server. Empty: that.
  std::function<std::shared_ptr<api::Transport>(std::shared_ptr<api::Transport>)> around_transport = {};
};

class Master {
 public:
  Master(base::Loop& loop, std::unique_ptr<Store> store, MasterOptions options);
  // As a crash: what is under way is dropped. The loop may still hold tasks of its own, so it goes next.
  ~Master();
  // Loads the store and serves. `ready`, once: what every cluster has is written, and who acts does, here or
  // in another master.
  base::Status start(std::function<void()> ready);
  ApiServer& api() { return *api_; }

 private:
  struct Acting;
  std::shared_ptr<api::Transport> client(User user);
  void act(bool leads);

  base::Loop& loop_;
  const MasterOptions options_;
  std::unique_ptr<ApiServer> api_;
  std::unique_ptr<Acting> acting_;  // while this master leads
};

}  // namespace master
