// The local volumes of this node as the API server tells them: the data of one that is deleted with the
// policy Delete is removed, and then it is let go; of one with any other policy the data stays. Never removes
// data of a volume that is not deleted, or that is still protected because a claim has it.
#pragma once

#include <map>
#include <string>

#include "api/client/client.h"
#include "base/backoff.h"
#include "kubelet/node/background.h"
#include "kubelet/node/events.h"
#include "kubelet/volumes/local_data.h"

namespace kubelet {

// What is due for a volume: pure.
enum class VolumeDue { kNothing, kRemoveData, kLetGo };
VolumeDue due_of(const base::json::value& volume, const std::string& node, const std::string& directory);

class LocalVolumes {
 public:
  LocalVolumes(base::Loop& loop, api::Client& client, Background& background, Events& events,
               std::string node, std::string directory);
  void start();

 private:
  struct Leaving {
    base::json::value object;
    bool busy = false, removed = false;
    base::Backoff backoff{std::chrono::milliseconds(500), std::chrono::seconds(60)};
    base::Loop::Handle retry;
  };
  void seen(api::Informer::Change change, const base::json::value& object);
  void go_on(const std::string& name);
  void let_go(const std::string& name);
  void later(const std::string& name, const base::Error& error);

  base::Loop& loop_;
  api::Client& client_;
  Background& background_;
  Events& events_;
  const std::string node_, directory_;
  std::map<std::string, Leaving> leaving_;
  api::Informer volumes_;
};

}  // namespace kubelet
