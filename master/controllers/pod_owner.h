// What all controllers that own Pods do in the same way: take an orphan, let one go, create in batches that
// double, delete; each bound to the uid that was judged, told in an Event, and held back by the gate until
// it has come back through the watch. Decides nothing: which and how many are the plan's.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "master/controllers/reconciler.h"

namespace master::controllers {

// What Events say; {pod}, {owner} and {error} are filled in.
struct PodEventWords {
  std::string created = "Created pod: {pod}", create_failed = "Error creating: {error}",
              deleted = "Deleted pod: {pod}", delete_failed = "Error deleting: {error}";
};

class PodOwner {
 public:
  // `component` is the Events' source. All references outlive this.
  PodOwner(Hub& hub, Hub::Account& account, Store<Pod>& pods, Reconciler& reconciler, std::string component,
           PodEventWords words = {})
      : hub_(hub), account_(account), pods_(pods), reconciler_(reconciler), component_(std::move(component)),
        words_(std::move(words)) {}

  // Whose Pods: the reconciler's key, and the object as ownerReferences and Events name it.
  struct Owner {
    std::string key;
    ObjectRef ref;
    std::string finalizer = {};  // that its Pods bear; an orphan gets it when it is taken
  };
  using Done = std::function<void(base::Status)>;

  // Pods of the owner's namespace, by name. What is gone meanwhile counts as done.
  Step take(const Owner& owner, const std::string& pod);
  Step release(const Owner& owner, const std::string& pod);
  // 1, 2, 4, … at a time, up to the first batch with a failure: a template that cannot work costs one
  // request, not five hundred. `done` gets the first failure.
  void create(const Owner& owner, std::vector<json::object> bodies, Done done);
  void remove(const Owner& owner, const std::vector<std::string>& pods, Done done);

 private:
  struct Batch;
  void tell(const Owner& owner, const char* type, const char* reason, const std::string& words,
            std::string_view pod, std::string_view error = {});
  void create_some(std::shared_ptr<Batch> batch, size_t count);
  Step patch(const Owner& owner, const std::string& pod, json::object metadata);

  Hub& hub_;
  Hub::Account& account_;
  Store<Pod>& pods_;
  Reconciler& reconciler_;
  const std::string component_;
  const PodEventWords words_;
};

}  // namespace master::controllers
