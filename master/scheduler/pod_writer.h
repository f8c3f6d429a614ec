// What the scheduler writes: bindings, conditions with nominations, evictions, Events. Best effort, each told
// to its caller; decides nothing. On the loop's thread.
#pragma once

#include <functional>
#include <string>

#include "master/controllers/events.h"
#include "master/controllers/volumes.h"

namespace master::scheduler {

class PodWriter {
 public:
  using Done = std::function<void(base::Status)>;
  PodWriter(std::shared_ptr<api::Transport> transport, std::function<base::Time()> now);

  void bind(const controllers::ObjectRef& pod, const std::string& node, Done done);
  // PodScheduled is False; `nominated` is the node promised to it, or "". An empty `since` is now.
  void not_scheduled(const controllers::ObjectRef& pod, const std::string& reason, const std::string& message,
                     const std::string& since, const std::string* nominated, Done done);
  // Of a claim that waits for its first consumer, if nobody wrote it since it was seen.
  void select_node(const controllers::Claim& claim, const std::string& node, Done done);
  void clear_nomination(const controllers::ObjectRef& pod);
  // The condition DisruptionTarget, the deletion, the Event Preempted; OK, too, where it is gone already.
  void evict(const controllers::ObjectRef& victim, const std::string& preemptor_uid,
             const std::string& scheduler_name, const std::string& node, Done done);
  void event(const controllers::ObjectRef& pod, std::string_view type, std::string_view reason,
             std::string_view message, const std::string& scheduler_name) {
    events_.record(pod, type, reason, message, scheduler_name);
  }

 private:
  void patch_status(const controllers::ObjectRef& pod, base::json::object status, Done done);
  std::function<base::Time()> now_;
  api::Client client_;
  controllers::EventRecorder events_;
};

}  // namespace master::scheduler
