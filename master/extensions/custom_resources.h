// CustomResources: what CustomResourceDefinitions make of the resource table. Follows the
// definitions, accepts their names, adds and removes rows, and empties what a deleted definition
// leaves. Decisions: custom_resource_plan.h. Loop thread only; owned by the ApiServer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "master/extensions/custom_resource_plan.h"
#include "master/registry/object_cache.h"
#include "master/registry/resource.h"

namespace master {

class Registry;
class WebhookClient;

class CustomResources {
 public:
  explicit CustomResources(Registry& registry);
  ~CustomResources();
  // Adds the rows of the definitions that were loaded, before their objects are.
  void load();
  // Follows definitions from here on; after the server started.
  void start();

 private:
  struct Served {
    std::string uid;
    int64_t generation = 0;
    bool terminating = false;
    std::string group, plural;
    std::vector<std::string> versions;
    std::shared_ptr<ObjectCache> objects;
    uint64_t listener = 0;
  };
  void reconcile(const std::string& name);
  void look(const std::string& name);
  void act(const std::string& name, const base::json::value& definition, const DefinitionPlan& plan);
  base::Status serve(const std::string& name, const base::json::value& definition);
  void withdraw(const std::string& name);
  TakenNames taken_by_others(const std::string& name, std::string_view group) const;
  void wake_group(std::string_view group);
  void conclude(const std::string& name, const base::Status& status);

  Registry& registry_;
  std::shared_ptr<api::Transport> transport_;
  api::Client client_;
  api::WorkQueue queue_;
  std::shared_ptr<WebhookClient> webhooks_;
  std::shared_ptr<ObjectCache> definitions_;
  uint64_t listener_ = 0;
  std::map<std::string, Served> served_;  // by the definition's name
  std::map<std::string, bool> busy_;      // names that are looked at now; true: they came again meanwhile
};

}  // namespace master
