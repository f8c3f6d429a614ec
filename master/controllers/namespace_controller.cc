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
    : hub_(hub), namespaces_(hub.follow<Namespace>(api::resources::namespaces)),
      config_maps_(hub.follow<ConfigMap>(api::resources::config_maps)),
      service_accounts_(hub.follow<ServiceAccount>(api::resources::service_accounts)),
      account_(hub.account("namespace-controller")),
      accounts_account_(hub.account("service-account-controller")),
      ca_account_(hub.account("root-ca-cert-publisher")),
      ca_hash_(std::hash<std::string_view>()(hub.options.ca_pem)),
      reconciler_(
          hub, {&namespaces_, &config_maps_, &service_accounts_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }) {
  namespaces_.on_change([this](const auto& before, const auto& after) {
    reconciler_.add((after ? after : before)->meta.name);
  });
  service_accounts_.on_change([this](const auto& before, const auto& after) {
    if (!after && before->meta.name == "default") reconciler_.add(before->meta.ns);
  });
  config_maps_.on_change([this](const auto& before, const auto& after) {
    const ConfigMap& map = after ? *after : *before;
    if (map.meta.name == "kube-root-ca.crt" && (!after || after->ca_hash != ca_hash_))
      reconciler_.add(map.meta.ns);
  });
  hub_.on_any([this](const api::Resource& kind, api::Informer::Change change, const json::value& object) {
    if (change != api::Informer::Change::kDeleted || !kind.namespaced) return;
    auto ns = namespaces_.get(std::string(string_at(object, "metadata", "namespace")));
    if (ns && ns->meta.deleting) reconciler_.add_after(ns->meta.name, 20ms);  // it may have been the last
  });
}

void NamespaceController::sync(const std::string& name, Reconciler::Finish finish) {
  auto ns = namespaces_.get(name);
  if (!ns) return finish(Reconciler::Outcome::kDone);
  if (!ns->meta.deleting) return furnish(name, std::move(finish));
  if (!ns->has_finalizer) return finish(Reconciler::Outcome::kDone);
  auto purge = std::make_shared<Purge>();
  purge->ns = ns;
  purge->finish = std::move(finish);
  discover_kinds(account_.client, [this, purge](base::Result<ServedKinds> served) {
    // What an API server that does not answer has in a namespace can't be listed: its groups are left
    // out, or no namespace would ever go.
    base::Status status = served.ok() ? served->trouble : base::Status(served.error());
    if (!status.ok()) {
      base::log::warning("empty namespace {}: {}", purge->ns->meta.name, status.error().message());
      return purge->finish(Reconciler::Outcome::kRetry);
    }
    for (ServedKind& kind : served->kinds)
      if (kind.resource.namespaced && kind.can_list && kind.can_delete)
        purge->kinds.push_back(std::move(kind.resource));
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
  if (!service_accounts_.get(key_of(name, "default")))
    steps.push_back([this, name, written](auto done) {
      accounts_account_.client.create(api::resources::service_accounts, name,
                                      json::object{{"apiVersion", "v1"},
                                                   {"kind", "ServiceAccount"},
                                                   {"metadata", {{"name", "default"}, {"namespace", name}}}},
                                      written(service_accounts_, done));
    });
  auto map = config_maps_.get(key_of(name, "kube-root-ca.crt"));
  if (!map || map->ca_hash != ca_hash_)
    steps.push_back([this, name, written, exists = map != nullptr](auto done) {
      json::object meta{{"name", "kube-root-ca.crt"}, {"namespace", name}};
      meta["annotations"] = json::object{{"kubernetes.io/description",
                                          "Contains a CA bundle that can be used to verify the "
                                          "kube-apiserver when using internal endpoints such as "
                                          "the internal service IP or kubernetes.default.svc. No other usage "
                                          "is guaranteed across distributions of "
                                          "Kubernetes clusters."}};
      json::object body{{"apiVersion", "v1"},
                        {"kind", "ConfigMap"},
                        {"metadata", std::move(meta)},
                        {"data", {{"ca.crt", hub_.options.ca_pem}}}};
      if (exists)
        ca_account_.client.update(api::resources::config_maps, name, "kube-root-ca.crt", std::move(body),
                                  written(config_maps_, done));
      else
        ca_account_.client.create(api::resources::config_maps, name, std::move(body),
                                  written(config_maps_, done));
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
  account_.client.list(
      kind, purge->ns->meta.name, "limit=500", [this, purge, &kind](base::Result<json::value> result) {
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
      account_.client.remove(
          *item.kind, purge->ns->meta.name, item.name,
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
    if (!status.ok())
      base::log::warning("empty namespace {}: {}", purge->ns->meta.name, status.error().message());
    // Deletions wake us; looking again soon also covers kinds that no informer watches.
    if (acted && status.ok()) reconciler_.add_after(purge->ns->meta.name, 50ms);
    purge->finish(acted && status.ok() ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
  });
}

void NamespaceController::finalize(std::shared_ptr<Purge> purge) {
  const std::string name = purge->ns->meta.name;
  account_.client.get(
      api::resources::namespaces, "", name, [this, purge, name](base::Result<json::value> result) {
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

}  // namespace master::controllers
