// Registry: every object of the cluster, and the one way to change one. A write runs from strategy and
// defaults through admission and validation to the store; handlers, controllers (by the API) and the first
// start all end here. What one kind does besides is its Strategy's (strategy.h), never an `if` of this
// class. Knows no path, no verb and no form of an answer: of a request it reads who asks, for what, and tells
// it warnings. Loop thread only; heavy steps run in base::compute().
// Files: registry.cc (start, records, commit), registry_write.cc (create, update), registry_remove.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/client/client.h"
#include "api/patch/patch.h"
#include "base/loop.h"
#include "master/registry/admission.h"
#include "master/registry/allocator.h"
#include "master/registry/event_keeper.h"
#include "master/registry/object_cache.h"
#include "master/registry/request.h"
#include "master/store/store.h"

namespace master {

class Registry {
 public:
  // What the registry asks of the server around it.
  struct Around {
    // A write ("create", "update", "delete") of a resource ("deployments.apps") took so long in the store.
    std::function<void(const char* operation, const std::string& resource, double seconds)> stored;
    // A resource goes or changes its form: who watches it has to come back.
    std::function<void(const ObjectCache& objects)> withdrawn;
    // The API server as a client of its own: no socket, the same rules.
    std::function<std::shared_ptr<api::Transport>(User)> transport;
    // The store can't say any more what changes in it: whoever starts anew reads it whole.
    std::function<void(const base::Error& why)> store_lost = {};
  };
  // Addresses that are parts of the cluster.
  struct Network {
    std::string service_cidr, cluster_cidr, cluster_dns, master;
  };
  Registry(base::Loop& loop, std::unique_ptr<Store> store, Network network, Around around);

  base::Loop& loop() const { return loop_; }
  ResourceTable& resources() { return resources_; }
  const ResourceTable& resources() const { return resources_; }
  static ObjectCache& cache(const ResourceInfo& resource) { return *resource.objects; }
  // The stored objects of a built-in resource.
  ObjectCache& cache(std::string_view group, std::string_view plural) const {
    return *resources_.find_stored(group, plural)->objects;
  }
  const Network& network() const { return network_; }
  AdmissionChain& admission() { return admission_; }
  ServiceAllocator& service_addresses() { return service_addresses_; }
  std::shared_ptr<api::Transport> transport(User user) const { return around_.transport(std::move(user)); }
  void withdraw(const ObjectCache& objects) const { around_.withdrawn(objects); }

  // Everything from the store into the caches. `definitions_loaded` adds the rows of custom resources: their
  // objects come after it.
  base::Status load(const std::function<void()>& definitions_loaded);
  // Follows the store and sweeps Events from here on.
  void start();
  // For who acts: controllers and the like (see store.h).
  Store& store() { return *store_; }

  // All writes up to here are in the caches.
  int64_t durable_revision() const { return durable_revision_; }
  // That a read of the resource shows.
  int64_t current_revision(const ResourceInfo& resource) const;
  bool store_failed() const { return store_failed_; }  // the last write

  // What a write did, or the Status to answer with.
  struct Outcome {
    ObjectRef object;
    base::json::value status;  // null on success
    bool deleted = false;
  };
  using Written = std::function<void(Outcome)>;
  // From what is stored (stored form) to what shall be; null or the Status that refuses. Called again when
  // the write met another one.
  using Mutate =
      std::function<base::json::value(const base::json::value& current, base::json::value* updated)>;
  // `object` is in its stored form.
  void create(RequestPtr request, base::json::value object, Written done);
  void update(RequestPtr request, std::string subresource, Mutate mutate, Written done);
  // `options` are DeleteOptions that were checked.
  void remove(RequestPtr request, std::string key, base::json::value options, Written done);
  // Writes `object` (null: deletes) where `current` is what it replaces, null to create; past strategy,
  // admission and validation.
  using Committed = std::function<void(base::Result<ObjectRef>)>;
  void commit(ResourceInfo& resource, std::string key, const base::json::value& object, ObjectRef current,
              Committed done);

  // A write as admission sees it.
  static AttributesPtr attributes_of(RequestPtr request, Operation operation, std::string subresource,
                                     std::string name);

  // Records of the store that can't be served stay in it, and keep their names.
  bool is_set_aside(const std::string& record) const { return set_aside_.contains(record); }
  // The Status for an object that is in no cache.
  base::json::value absent(const ResourceInfo& resource, std::string_view key) const;
  // Deletes a record that was set aside, without a look at it.
  void remove_record(const std::string& record, std::function<void(base::Status)> done);

 private:
  // Objects of the store whose kinds the built-in table does not know.
  struct Unclaimed {
    std::string key, value;
    int64_t revision;
  };
  void load_custom(std::vector<Unclaimed> unclaimed);
  // One record of the store, into its cache or aside.
  using Into = void (ObjectCache::*)(ObjectRef);
  void load_object(ResourceInfo& resource, const std::string& record, std::string_view key,
                   std::string_view text, int64_t revision, Into into);
  // What the store tells, own writes and those of other masters.
  void take(const StoreChange& change);
  void set_aside(const std::string& record, int64_t revision, const base::Error& why);

  // registry_write.cc
  void create(RequestPtr request, base::json::value object, Written done, int tries);
  void commit_create(AttributesPtr attributes, Written done);
  void update(RequestPtr request, std::string subresource, Mutate mutate, Written done, int tries);
  void update_current(RequestPtr request, std::string subresource, ObjectRef current, Mutate mutate,
                      Written done, int tries);
  base::json::value prepare(RequestInfo& request, const std::string& subresource,
                            const base::json::value& current, base::json::value* updated);
  using Retry = std::function<void()>;
  void commit_update(AttributesPtr attributes, ObjectRef current, Written done, Retry retry);
  // Writes what was admitted, in its stored form; a conversion that fails is an Outcome.
  void commit_worked(AttributesPtr attributes, std::string key, ObjectRef current, Written refused,
                     Committed done);
  // registry_remove.cc
  void remove(RequestPtr request, std::string key, base::json::value options, Written done, int tries);
  void remove_current(RequestPtr request, ObjectRef current, base::json::value options, Written done,
                      int tries);
  void commit_removal(AttributesPtr attributes, ObjectRef current, base::json::value updated, bool removes,
                      Written done, int tries);

  base::Loop& loop_;
  std::unique_ptr<Store> store_;
  const Network network_;
  const Around around_;
  ResourceTable resources_;
  AdmissionChain admission_;
  ServiceAllocator service_addresses_;
  int64_t durable_revision_ = 0;
  bool store_failed_ = false;
  struct SetAside {
    int64_t revision;
    std::string why;
  };
  std::map<std::string, SetAside> set_aside_;
  // Own writes that the store has not told yet, by record: what they are made of, and what that made.
  struct UnderWay {
    ObjectCache& objects;
    std::string key, text;  // text empty: deletes
    SelectorValues values;
    ObjectRef made = nullptr;
  };
  std::multimap<std::string, std::shared_ptr<UnderWay>> under_way_;
  std::unique_ptr<Store::Watch> watch_;
  std::unique_ptr<EventKeeper> event_keeper_;
};

// An update or patch changes neither name nor namespace; null or the Status that refuses.
base::json::value check_place(const RequestInfo& request, const base::json::object& metadata);

// An object of a custom resource as the store had it, in the form in which the cache keeps it: today's
// storage version, pruned and with the schema's defaults.
ObjectRef reform_custom(const ResourceInfo& stored, std::string key, base::json::value object,
                        int64_t revision);

// Who wrote which field, into after.metadata.managedFields (managed_fields.cc; KEP-555). `before` is null for
// a create.
void track_fields(const RequestInfo& request, const base::json::value& before, base::json::value& after);
api::FieldManager field_manager(const RequestInfo& request);

}  // namespace master
