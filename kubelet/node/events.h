// Events of the kubelet in Kubernetes' wording. The same event again raises the count of the first
// one; a Pod that talks too much is cut short, with what is new and with what it repeats. Sending
// yields to everything else and may fail.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "api/client/client.h"
#include "base/loop.h"

namespace kubelet {

struct EventSubject {
  std::string kind = "Pod", ns, name, uid, container;  // container: sets fieldPath
  bool init = false;
};

// client-go's spam filter: of each object a burst of 25 events, then one in five minutes. Bounded: of
// kMaxObjects the one that was quiet for the longest time is forgotten, which costs it nothing but
// the memory of having been loud.
class EventBudget {
 public:
  static constexpr size_t kMaxObjects = 4096;
  bool take(const std::string& uid, base::Time now);
  size_t size() const { return left_.size(); }

 private:
  struct Left {
    double events;
    base::Time since;
  };
  std::map<std::string, Left> left_;
};

class Events {
 public:
  Events(base::Loop& loop, api::Client& client, std::string node_name)
      : loop_(loop), client_(client), node_name_(std::move(node_name)) {}
  void emit(const EventSubject& subject, bool warning, std::string reason, std::string message);

 private:
  struct Known {
    std::string ns, name, uid;
    int count = 0;
    base::Time first{};
    bool creating = false, dirty = false;
  };
  void flush();
  void send(const std::string& key);

  base::Loop& loop_;
  api::Client& client_;
  std::string node_name_;
  std::map<std::string, Known> known_;
  std::map<std::string, base::json::object> bodies_;  // waiting to be created
  std::deque<std::string> order_, pending_;
  EventBudget budget_;
  base::Loop::Handle timer_;
  base::Time first_pending_{};
};

}  // namespace kubelet
