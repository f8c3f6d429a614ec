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

// An entry of metadata.ownerReferences that makes its object a dependent of this controller.
json::object controller_reference(std::string_view api_version, std::string_view kind, std::string_view name,
                                  std::string_view uid);
// A Pod of `pod_template` (core/v1 PodTemplateSpec) with that owner; its name is the caller's.
json::object pod_of_template(const json::value& pod_template, std::string_view ns, json::object reference);

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
