// Events of the kubelet in Kubernetes' wording. The same event again raises the count of the first
// one; a Pod that talks too much is cut short. Sending yields to everything else and may fail.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "api/client/client.h"
#include "base/loop.h"

namespace kubelet {

struct EventSubject {
  std::string kind = "Pod", ns, name, uid, container;   // container: sets fieldPath
  bool init = false;
};

class Events {
 public:
  Events(base::Loop& loop, api::Client& client, std::string node_name)
      : loop_(loop), client_(client), node_name_(std::move(node_name)) {}
  void emit(const EventSubject& subject, bool warning, std::string reason, std::string message);

 private:
  struct Known {
    std::string ns, name;
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
  std::map<std::string, base::json::object> bodies_;   // waiting to be created
  std::deque<std::string> order_, pending_;
  std::map<std::string, std::pair<double, base::Time>> budgets_;  // by uid: events left, since
  base::Loop::Handle timer_;
};

}  // namespace kubelet
