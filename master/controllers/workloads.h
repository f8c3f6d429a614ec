// What controllers keep of those who own Pods, and of those who own the owners. Read straight from
// JSON; templates stay JSON. Shapes of core/v1 and apps/v1.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

// A ReplicationController or ReplicaSet.
struct ReplicaOwner {
  Meta meta;
  std::string kind, api_version;
  OwnerRef controller;  // a Deployment
  Labels labels;
  Selector selector;
  json::value pod_template;
  std::map<std::string, std::string> annotations;
  int replicas = 1, min_ready_seconds = 0;
  json::value status;

  static Store<ReplicaOwner>::Reader reader(const api::Resource& resource);
  static std::vector<std::string> terms(const ReplicaOwner& owner);
};

struct Deployment {
  Meta meta;
  std::map<std::string, std::string> annotations;
  Selector selector;
  json::value selector_json, pod_template;
  int replicas = 1, min_ready_seconds = 0;
  std::optional<int> progress_deadline_seconds, revision_history_limit;
  bool paused = false, recreate = false;
  json::value max_surge, max_unavailable;
  json::value status;

  static Store<Deployment>::Reader reader(const api::Resource& resource);
};

}  // namespace master::controllers
