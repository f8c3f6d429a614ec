// What every controller stands on: one informer and one Store for each resource that somebody follows,
// accounts to write as, events, clock and loop. Knows no kind and owns no decision; a kind that cannot
// be listed holds up those who follow it and nobody else. Single-threaded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "base/result.h"
#include "master/controllers/controllers.h"
#include "master/controllers/events.h"
#include "master/controllers/served_kinds.h"
#include "master/controllers/store.h"

namespace master::controllers {

class Hub {
 public:
  Hub(base::Loop& loop, std::shared_ptr<api::Transport> transport, const Options& options);
  ~Hub();

  base::Loop& loop;
  const Options options;
  std::shared_ptr<api::Transport> transport;
  // Who writes: each controller has an account of its own in kube-system, as in Kubernetes.
  struct Account {
    api::Client client;
    EventRecorder events;
    Account(std::shared_ptr<api::Transport> transport, const Options& options)
        : client(std::move(transport), "kube-controller-manager"),
          events(client, "controllermanager", options.now) {}
  };
  Account& account(const std::string& name);
  base::Time now() const { return options.now(); }

  // The store of a resource, shared by all who follow it; always with the same T for one resource. T says
  // how it is read and, if it is looked up by more than its key, under which terms:
  //   static Store<T>::Reader reader(const api::Resource&);
  //   static std::vector<std::string> terms(const T&);        (optional)
  // Before start().
  template <typename T>
  Store<T>& follow(const api::Resource& resource) {
    return static_cast<Store<T>&>(followed(resource, [&resource]() -> std::unique_ptr<StoreBase> {
      if constexpr (requires(const T& t) { T::terms(t); })
        return std::make_unique<Store<T>>(T::reader(resource),
                                          [](const T& object) { return T::terms(object); });
      else return std::make_unique<Store<T>>(T::reader(resource));
    }));
  }

  // Every object of every kind that is followed, after its store. Before start().
  using AnyHandler = std::function<void(const api::Resource&, api::Informer::Change, const json::value&)>;
  void on_any(AnyHandler handler) { any_.push_back(std::move(handler)); }
  // Follow whatever the API server can list and watch, now and when that changes: for the garbage
  // collector, which is told of a kind that is no longer served. Before start().
  using GoneHandler = std::function<void(const api::Resource&)>;
  void follow_everything(GoneHandler gone);
  // Whether everything was listed once. What fails for half a minute is not waited for any longer.
  bool saw_everything() const;

  // After each complete list of any kind.
  void on_synced(std::function<void()> handler) { synced_handlers_.push_back(std::move(handler)); }
  // Those that are followed now.
  const api::Resource* find(std::string_view group, std::string_view kind) const;
  void start();

 private:
  struct Source {
    api::Resource resource;
    std::unique_ptr<StoreBase> store;  // null: nobody but on_any() looks
    bool synced = false;
    base::Time since{};  // when its informer was started
    std::unique_ptr<api::Informer> informer;
  };
  StoreBase& followed(const api::Resource& resource, const std::function<std::unique_ptr<StoreBase>()>& make);
  void start(Source& source);
  bool is_definition(const Source& source) const;
  void definition_changed(const json::value& object);
  void discover();
  void settle(ServedKinds served);
  void tell_synced();

  std::map<std::string, std::unique_ptr<Account>> accounts_;
  // By "group/plural". Never shrinks: others keep references to resources and stores.
  std::map<std::string, std::unique_ptr<Source>> sources_;
  std::vector<AnyHandler> any_;
  std::vector<std::function<void()>> synced_handlers_;

  GoneHandler gone_;  // set: everything is followed
  bool discovered_ = false;
  std::unique_ptr<api::Client> discovery_;
  std::map<std::string, std::string> stored_versions_;  // of custom resources, by "group/plural"
  std::unique_ptr<api::WorkQueue> rediscover_;
  base::Loop::Handle patience_;
};

}  // namespace master::controllers
