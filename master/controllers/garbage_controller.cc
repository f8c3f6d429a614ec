#include "master/controllers/garbage_controller.h"

#include <algorithm>

#include "base/log.h"

namespace master::controllers {
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

GarbageController::GarbageController(Hub& hub)
    : hub_(hub), account_(hub.account("generic-garbage-collector")),
      reconciler_(
          hub, [&hub] { return hub.saw_everything(); },
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }) {
  hub_.on_any([this](const api::Resource& resource, api::Informer::Change change, const json::value& object) {
    seen(resource, change, object);
  });
  hub_.follow_everything([this](const api::Resource& gone) { graph_.forget(gone); });
  hub_.on_synced([this] {
    for (const std::string& uid : graph_.forget_present()) reconciler_.add(uid);
  });
}

void GarbageController::seen(const api::Resource& resource, api::Informer::Change change,
                             const json::value& object) {
  std::vector<std::string> look;
  if (change == api::Informer::Change::kDeleted) {
    look = graph_.remove(
        resource, key_of(string_at(object, "metadata", "namespace"), string_at(object, "metadata", "name")));
  } else {
    Meta meta = read_meta(object);
    GraphNode node{&resource,           meta.ns,       meta.name, meta.uid, meta.revision,
                   read_owners(object), meta.deleting, false,     false};
    if (const json::value* list = find_path(object, "metadata", "finalizers"); list && list->is_array())
      for (const json::value& item : list->get_array()) {
        node.foreground |= as_string(&item) == kForeground;
        node.orphan |= as_string(&item) == kOrphan;
      }
    look = graph_.set(std::move(node));
  }
  for (const std::string& uid : look) reconciler_.add(uid);
}

void GarbageController::conclude(const std::string& uid, const base::Status& status,
                                 const Reconciler::Finish& finish) {
  if (status.ok() || status.error().kind == base::Kind::kNotFound) return finish(Reconciler::Outcome::kDone);
  if (status.error().kind != base::Kind::kConflict)
    base::log::warning("collect {}: {}", uid, status.error().message());
  finish(Reconciler::Outcome::kRetry);
}

void GarbageController::sync(const std::string& uid, Reconciler::Finish finish) {
  using Kind = GarbageAction::Kind;
  GarbageAction action = graph_.plan(uid);
  const GraphNode* node = graph_.find(uid);
  if (!node) return finish(Reconciler::Outcome::kDone);
  if (action.kind != Kind::kNothing)
    base::log::debug("collect {} {}: {}", node->resource->kind, key_of(node->ns, node->name), action.text());
  auto done = [this, uid, finish](base::Status status) { conclude(uid, status, finish); };
  switch (action.kind) {
    case Kind::kNothing:
      for (const std::string& dependent : action.dependents) reconciler_.add(dependent);
      return finish(Reconciler::Outcome::kDone);
    case Kind::kAskOwners: return ask(uid, *node, action.ask, std::move(finish));
    case Kind::kStripOwners: return strip(*node, action.strip, done);
    case Kind::kDropFinalizer: return drop_finalizer(*node, action.finalizer, done);
    case Kind::kOrphanDependents: {
      std::vector<Step> steps;
      for (const std::string& dependent : action.dependents)
        if (const GraphNode* child = graph_.find(dependent))
          steps.push_back(
              [this, child = *child, uid](auto step_done) { strip(child, {uid}, std::move(step_done)); });
      return all(std::move(steps), done);  // each change brings the owner back here
    }
    case Kind::kDelete:
      account_.client.remove(
          *node->resource, node->ns, node->name,
          json::object{{"preconditions", {{"uid", uid}}}, {"propagationPolicy", action.policy}},
          [done](base::Result<json::value> result) {
            done(result.ok() ? base::Status() : base::Status(result.error()));
          });
      return;
  }
}

void GarbageController::ask(const std::string& uid, const GraphNode& node,
                            const std::vector<OwnerRef>& owners, Reconciler::Finish finish) {
  std::vector<Step> steps;
  for (const OwnerRef& owner : owners) {
    // Of whatever version the reference speaks: it is the same object.
    size_t slash = owner.api_version.find('/');
    std::string_view group = slash == owner.api_version.npos
                                 ? std::string_view()
                                 : std::string_view(owner.api_version).substr(0, slash);
    const api::Resource* resource = hub_.find(group, owner.kind);
    if (!resource) {
      // A kind we know nothing about: keep its dependents rather than guess.
      graph_.mark_present(owner.uid);
      continue;
    }
    std::string ns = resource->namespaced ? node.ns : "";
    steps.push_back([this, owner, resource, ns](auto done) {
      account_.client.get(*resource, ns, owner.name, [this, owner, done](base::Result<json::value> result) {
        const bool missing = !result.ok() && result.error().kind == base::Kind::kNotFound;
        if (!result.ok() && !missing) return done(result.error());
        if (missing || string_at(*result, "metadata", "uid") != owner.uid) {
          graph_.mark_absent(owner.uid);
          return done({});
        }
        // It exists and its informer will show it: judge then.
        done(base::make_error(base::Kind::kConflict, "look for owner", owner.name, "not yet in the cache"));
      });
    });
  }
  all(std::move(steps), [this, uid, finish](base::Status status) {
    if (status.ok()) reconciler_.add(uid);
    conclude(uid, status, finish);
  });
}

void GarbageController::strip(const GraphNode& node, std::vector<std::string> owners,
                              std::function<void(base::Status)> done) {
  // Read, then write bound to that revision: custom resources know no strategic merge patch.
  account_.client.get(
      *node.resource, node.ns, node.name,
      [this, node, owners = std::move(owners), done](base::Result<json::value> result) {
        if (!result.ok())
          return done(result.error().kind == base::Kind::kNotFound ? base::Status()
                                                                   : base::Status(result.error()));
        if (string_at(*result, "metadata", "uid") != node.uid) return done({});
        json::array kept;
        size_t had = 0;
        if (const json::value* list = find_path(*result, "metadata", "ownerReferences");
            list && list->is_array())
          for (const json::value& item : list->get_array()) {
            ++had;
            if (std::find(owners.begin(), owners.end(), string_at(item, "uid")) == owners.end())
              kept.push_back(item);
          }
        if (kept.size() == had) return done({});
        json::object meta{{"resourceVersion", string_at(*result, "metadata", "resourceVersion")}};
        meta["ownerReferences"] = kept.empty() ? json::value() : json::value(std::move(kept));
        account_.client.patch(
            *node.resource, node.ns, node.name, "merge", json::object{{"metadata", std::move(meta)}},
            [done](base::Result<json::value> patched) {
              const bool gone = !patched.ok() && patched.error().kind == base::Kind::kNotFound;
              done(patched.ok() || gone ? base::Status() : base::Status(patched.error()));
            });
      });
}

void GarbageController::drop_finalizer(const GraphNode& node, const std::string& finalizer,
                                       std::function<void(base::Status)> done) {
  // Read, then write bound to that revision: others may have finalizers here, too.
  account_.client.get(
      *node.resource, node.ns, node.name, [this, node, finalizer, done](base::Result<json::value> result) {
        if (!result.ok()) return done(result.error());
        if (string_at(*result, "metadata", "uid") != node.uid) return done({});
        json::array kept;
        bool had = false;
        if (const json::value* list = find_path(*result, "metadata", "finalizers"); list && list->is_array())
          for (const json::value& item : list->get_array()) {
            if (as_string(&item) == finalizer) had = true;
            else kept.push_back(item);
          }
        if (!had) return done({});
        json::object meta{{"resourceVersion", string_at(*result, "metadata", "resourceVersion")}};
        meta["finalizers"] = kept.empty() ? json::value() : json::value(std::move(kept));
        account_.client.patch(*node.resource, node.ns, node.name, "merge",
                              json::object{{"metadata", std::move(meta)}},
                              [done](base::Result<json::value> patched) {
                                done(patched.ok() ? base::Status() : base::Status(patched.error()));
                              });
      });
}

}  // namespace master::controllers
