// The local volumes of this node as the API server tells them: the data of one that is deleted with the
// policy Delete is removed, and then it is let go; of one with any other policy the data stays. The data of
// one that is to be larger than it says it is grows, in use or not, and then it says so. Never removes data
// of a volume that is not deleted, or that is still protected because a claim has it.
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
enum class VolumeDue { kNothing, kRemoveData, kLetGo, kGrow, kTellSize };
const char* to_string(VolumeDue due);
VolumeDue due_of(const base::json::value& volume, const std::string& node, const std::string& directory);

// What is due under one name, step by step, while the volume may change, go, or be made anew with another
// uid: what was done for one is never taken to have been done for the other. Pure.
class VolumeErrand {
 public:
  void see(base::json::value object) {
    object_ = std::move(object);
  }  // null: there is none, or nothing is due
  VolumeDue next(const std::string& node,
                 const std::string& directory) const;  // kNothing while a step is done
  void begin() { busy_ = true; }
  // The step `due` for the volume as it was when it began.
  void end(VolumeDue due, const base::json::value& object, bool ok);
  bool is_over() const { return !busy_ && object_.is_null(); }
  const base::json::value& object() const { return object_; }

 private:
  base::json::value object_;
  bool busy_ = false;
  std::string removed_;  // uid of the volume whose data is removed
  std::string grown_;    // uid and capacity of the volume whose data is so large
};

class LocalVolumes {
 public:
  LocalVolumes(base::Loop& loop, api::Client& client, Background& background, Events& events,
               std::string node, std::string directory);
  void start();

 private:
  struct Errand {
    VolumeErrand plan;
    base::Backoff backoff{std::chrono::milliseconds(500), std::chrono::seconds(60)};
    base::Loop::Handle retry;
  };
  void seen(api::Informer::Change change, const base::json::value& object);
  void go_on(const std::string& name);
  void patch(const std::string& name, VolumeDue due, const base::json::value& object,
             base::json::object metadata);
  void ended(const std::string& name, VolumeDue due, const base::json::value& object, base::Status status);

  base::Loop& loop_;
  api::Client& client_;
  Background& background_;
  Events& events_;
  const std::string node_, directory_;
  std::map<std::string, Errand> errands_;
  api::Informer volumes_;
};

}  // namespace kubelet
