#include "master/controllers/namespace_controller.h"

#include <set>

#include "base/log.h"

namespace master::controllers {
using namespace std::chrono_literals;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

struct NamespaceController::Purge {
  std::shared_ptr<const Namespace> ns;
  Reconciler::Finish finish;
  std::vector<api::Resource> kinds;
  size_t next = 0;
  struct Item {
    const api::Resource* kind;
    std::string name, uid;
    bool deleting;
  };
  std::vector<Item> items;
};

NamespaceController::NamespaceController(Hub& hub)
    : hub_(hub), account_(hub.account("namespace-controller")), accounts_account_(hub.account("service-account-controller")),
      ca_account_(hub.account("root-ca-cert-publisher")), ca_hash_(std::hash<std::string_view>()(hub.options.ca_pem)),
      reconciler_(hub, [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }) {
  hub_.namespaces.on_change([this](const auto& before, const auto& after) {
    reconciler_.add((after ? after : before)->meta.name);
  });
  hub_.service_accounts.on_change([this](const auto& before, const auto& after) {
    if (!after && before->meta.name == "default") reconciler_.add(before->meta.ns);
  });
  hub_.config_maps.on_change([this](const auto& before, const auto& after) {
    const ConfigMap& map = after ? *after : *before;
    if (map.meta.name == "kube-root-ca.crt" && (!after || after->ca_hash != ca_hash_)) reconciler_.add(map.meta.ns);
  });
  hub_.on_any([this](const api::Resource& kind, api::Informer::Change change, const json::value& object) {
    if (change != api::Informer::Change::kDeleted || !kind.namespaced) return;
    auto ns = hub_.namespaces.get(std::string(string_at(object, "metadata", "namespace")));
    if (ns && ns->meta.deleting) reconciler_.add_after(ns->meta.name, 20ms);  // it may have been the last
  });
}

void NamespaceController::sync(const std::string& name, Reconciler::Finish finish) {
  auto ns = hub_.namespaces.get(name);
  if (!ns) return finish(Reconciler::Outcome::kDone);
  if (!ns->meta.deleting) return furnish(name, std::move(finish));
  if (!ns->has_finalizer) return finish(Reconciler::Outcome::kDone);
  auto purge = std::make_shared<Purge>();
  purge->ns = ns;
  purge->finish = std::move(finish);
  discover_namespaced(account_.client, [this, purge](base::Result<std::vector<api::Resource>> kinds) {
    if (!kinds.ok()) {
      base::log::warning("empty namespace {}: {}", purge->ns->meta.name, kinds.error().message());
      return purge->finish(Reconciler::Outcome::kRetry);
    }
    purge->kinds = std::move(*kinds);
    list_next(purge);
  });
}

void NamespaceController::furnish(const std::string& name, Reconciler::Finish finish) {
  std::vector<Step> steps;
  auto written = [this, name](const StoreBase& store, std::function<void(base::Status)> done) {
    return [this, name, &store, done](base::Result<json::value> result) {
      if (result.ok()) reconciler_.gate.wrote(name, store, revision_of(*result), hub_.now());
      const bool fine = result.ok() || result.error().kind == base::Kind::kExists ||
                        result.error().kind == base::Kind::kNotFound;  // the namespace went meanwhile
      done(fine ? base::Status() : base::Status(result.error()));
    };
  };
  if (!hub_.service_accounts.get(key_of(name, "default")))
    steps.push_back([this, name, written](auto done) {
      accounts_account_.client.create(api::resources::service_accounts, name,
                         json::object{{"apiVersion", "v1"}, {"kind", "ServiceAccount"}, {"metadata", {{"name", "default"}, {"namespace", name}}}},
                         written(hub_.service_accounts, done));
    });
  auto map = hub_.config_maps.get(key_of(name, "kube-root-ca.crt"));
  if (!map || map->ca_hash != ca_hash_)
    steps.push_back([this, name, written, exists = map != nullptr](auto done) {
      json::object meta{{"name", "kube-root-ca.crt"}, {"namespace", name}};
      meta["annotations"] = json::object{
          {"kubernetes.io/description",
           "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as "
           "the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
           "Kubernetes clusters."}};
      json::object body{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", std::move(meta)},
                        {"data", {{"ca.crt", hub_.options.ca_pem}}}};
      if (exists) ca_account_.client.update(api::resources::config_maps, name, "kube-root-ca.crt", std::move(body), written(hub_.config_maps, done));
      else ca_account_.client.create(api::resources::config_maps, name, std::move(body), written(hub_.config_maps, done));
    });
  all(std::move(steps), [name, finish](base::Status status) {
    if (!status.ok()) base::log::warning("furnish namespace {}: {}", name, status.error().message());
    finish(status.ok() ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
  });
}

void NamespaceController::list_next(std::shared_ptr<Purge> purge) {
  if (purge->next == purge->kinds.size()) {
    if (purge->items.empty()) return finalize(purge);
    return remove_listed(purge);
  }
  const api::Resource& kind = purge->kinds[purge->next++];
  account_.client.list(kind, purge->ns->meta.name, "limit=500", [this, purge, &kind](base::Result<json::value> result) {
    if (!result.ok()) {
      base::log::warning("empty namespace {}: {}", purge->ns->meta.name, result.error().message());
      return purge->finish(Reconciler::Outcome::kRetry);
    }
    if (const json::value* items = find(*result, "items"); items && items->is_array())
      for (const json::value& item : items->get_array()) {
        Meta meta = read_meta(item);
        purge->items.push_back({&kind, meta.name, meta.uid, meta.deleting});
      }
    list_next(purge);
  });
}

void NamespaceController::remove_listed(std::shared_ptr<Purge> purge) {
  std::vector<Step> steps;
  for (const Purge::Item& item : purge->items) {
    if (item.deleting) continue;
    steps.push_back([this, purge, &item](auto done) {
      account_.client.remove(*item.kind, purge->ns->meta.name, item.name,
                         json::object{{"preconditions", {{"uid", item.uid}}}, {"propagationPolicy", "Background"}},
                         [done](base::Result<json::value> result) {
                           const bool gone = result.ok() || result.error().kind == base::Kind::kNotFound ||
                                             result.error().kind == base::Kind::kConflict;
                           done(gone ? base::Status() : base::Status(result.error()));
                         });
    });
  }
  const bool acted = !steps.empty();
  all(std::move(steps), [this, purge, acted](base::Status status) {
    if (!status.ok()) base::log::warning("empty namespace {}: {}", purge->ns->meta.name, status.error().message());
    // Deletions wake us; looking again soon also covers kinds that no informer watches.
    if (acted && status.ok()) reconciler_.add_after(purge->ns->meta.name, 50ms);
    purge->finish(acted && status.ok() ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
  });
}

void NamespaceController::finalize(std::shared_ptr<Purge> purge) {
  const std::string name = purge->ns->meta.name;
  account_.client.get(api::resources::namespaces, "", name, [this, purge, name](base::Result<json::value> result) {
    if (!result.ok())
      return purge->finish(result.error().kind == base::Kind::kNotFound ? Reconciler::Outcome::kDone
                                                                        : Reconciler::Outcome::kRetry);
    json::object object = result->is_object() ? result->get_object() : json::object();
    if (read_meta(*result).uid != purge->ns->meta.uid) return purge->finish(Reconciler::Outcome::kDone);
    json::array kept;
    if (const json::value* list = find_path(*result, "spec", "finalizers"); list && list->is_array())
      for (const json::value& item : list->get_array())
        if (as_string(&item) != "kubernetes") kept.push_back(item);
    base::object_at(object, "spec")["finalizers"] = std::move(kept);
    account_.client.update(
        api::resources::namespaces, "", name, std::move(object),
        [purge, name](base::Result<json::value> result) {
          const bool gone = result.ok() || result.error().kind == base::Kind::kNotFound;
          if (!gone) base::log::warning("finalize namespace {}: {}", name, result.error().message());
          purge->finish(gone ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
        },
        "finalize");
  });
}

static void add_kinds(const json::value& list, std::vector<api::Resource>& out) {
  std::string_view group_version = string_at(list, "groupVersion");
  size_t slash = group_version.find('/');
  std::string group(slash == group_version.npos ? "" : group_version.substr(0, slash));
  std::string version(slash == group_version.npos ? group_version : group_version.substr(slash + 1));
  const json::value* resources = find(list, "resources");
  if (!resources || !resources->is_array()) return;
  for (const json::value& item : resources->get_array()) {
    bool can_list = false, can_delete = false;
    if (const json::value* verbs = find(item, "verbs"); verbs && verbs->is_array())
      for (const json::value& verb : verbs->get_array()) {
        can_list |= as_string(&verb) == "list";
        can_delete |= as_string(&verb) == "delete";
      }
    std::string plural(string_at(item, "name"));
    if (!base::as_bool(find(item, "namespaced")) || !can_list || !can_delete || plural.find('/') != plural.npos) continue;
    out.push_back({group, version, plural, std::string(string_at(item, "kind")), true});
  }
}

// Group versions ("metrics.k8s.io/v1beta1") of other API servers that do not answer now.
static std::set<std::string, std::less<>> unavailable_versions(const json::value& api_services) {
  std::set<std::string, std::less<>> out;
  const json::value* items = find(api_services, "items");
  if (!items || !items->is_array()) return out;
  for (const json::value& item : items->get_array()) {
    const json::value* conditions = find_path(item, "status", "conditions");
    if (!find_path(item, "spec", "service")) continue;
    bool available = false;
    if (conditions && conditions->is_array())
      for (const json::value& condition : conditions->get_array())
        available |= string_at(condition, "type") == "Available" && string_at(condition, "status") == "True";
    if (!available) out.insert(std::string(string_at(item, "spec", "group")) + "/" + std::string(string_at(item, "spec", "version")));
  }
  return out;
}

// The namespaced kinds of each group's preferred version. What an API server that does not answer has
// in a namespace can't be listed: its groups are left out, or no namespace would ever go.
void discover_namespaced(api::Client& client, std::function<void(base::Result<std::vector<api::Resource>>)> done) {
  struct Found {
    std::vector<api::Resource> kinds;
    std::set<std::string, std::less<>> unavailable;
  };
  auto found = std::make_shared<Found>();
  auto get = [&client](std::string path, auto done, auto then) {
    client.call("GET", std::move(path), "", "", [done, then](base::Result<json::value> result) {
      if (!result.ok()) return done(result.error());
      then(*result);
    });
  };
  auto ask_groups = [found, get, done](const json::value& groups) {
    std::vector<Step> steps;
    if (const json::value* list = find(groups, "groups"); list && list->is_array())
      for (const json::value& group : list->get_array()) {
        std::string version(string_at(group, "preferredVersion", "groupVersion"));
        if (version.empty() || found->unavailable.contains(version)) continue;
        steps.push_back([found, get, version](auto step_done) {
          get("/apis/" + version, step_done, [found, step_done](const json::value& list) {
            add_kinds(list, found->kinds);
            step_done(base::Status());
          });
        });
      }
    all(std::move(steps), [found, done](base::Status status) {
      if (!status.ok()) return done(status.error());
      done(std::move(found->kinds));
    });
  };
  get("/api/v1", done, [found, get, done, ask_groups](const json::value& core) {
    add_kinds(core, found->kinds);
    get("/apis/apiregistration.k8s.io/v1/apiservices", done, [found, get, done, ask_groups](const json::value& services) {
      found->unavailable = unavailable_versions(services);
      get("/apis", done, ask_groups);
    });
  });
}

}  // namespace master::controllers
