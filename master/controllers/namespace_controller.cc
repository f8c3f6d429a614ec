#include "master/controllers/namespace_controller.h"

#include <algorithm>

#include "base/log.h"

namespace master::controllers {
using namespace std::chrono_literals;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

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
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }),
      status_(hub, account_, api::resources::namespaces, namespaces_, reconciler_) {
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
  purges_.start(purge(ns, std::move(finish)));
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

// One round: what there is, what to do about it, what to say about it.
base::Task<> NamespaceController::purge(std::shared_ptr<const Namespace> ns, Reconciler::Finish finish) {
  const std::string name = ns->meta.name;
  NamespaceContent content;
  std::vector<api::Resource> kinds{api::resources::pods};
  content.kinds.push_back(co_await list(kinds.front(), name, content.failures));
  NamespacePlan plan = plan_namespace(content);
  if (!plan.acts.empty() && plan.acts.front().what == NamespacePlan::Act::What::kListEverything) {
    auto served = co_await base::later<base::Result<ServedKinds>>(
        [this](auto done) { discover_kinds(account_.client, done); });
    const base::Status discovered = served.ok() ? served->trouble : base::Status(served.error());
    if (!discovered.ok()) content.discovery = discovered.error().message();
    // What an API server that does not answer has in a namespace can't be listed: its groups are left
    // out, or no namespace would ever go.
    content.kinds.clear();
    kinds.clear();
    if (served.ok())
      for (ServedKind& kind : served->kinds)
        if (kind.resource.namespaced && kind.can_list && kind.can_delete)
          kinds.push_back(std::move(kind.resource));
    for (const api::Resource& kind : kinds)
      content.kinds.push_back(co_await list(kind, name, content.failures));
    content.everything = true;
    plan = plan_namespace(content);
  }
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("empty namespace {}: {}", name, plan.text(content));

  if (!plan.acts.empty() && plan.acts.front().what == NamespacePlan::Act::What::kFinalize) {
    const base::Status finalized = co_await finalize(name, ns->meta.uid);
    if (!finalized.ok()) base::log::warning("finalize namespace {}: {}", name, finalized.error().message());
    finish(finalized.ok() ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
    co_return;
  }
  co_await remove(name, plan, kinds, content);
  base::Status said;
  if (auto conditions = namespace_conditions(*ns, content, hub_.now()))
    said = co_await base::later<base::Status>([this, &ns, &conditions](auto done) {
      status_.write(ns->meta, {{"conditions", std::move(*conditions)}}, done);
    });
  if (!said.ok() && !is_gone(said))
    base::log::warning("conditions of namespace {}: {}", name, said.error().message());
  for (const std::string& failure : content.failures)
    base::log::warning("empty namespace {}: {}", name, failure);
  if (content.discovery) base::log::warning("empty namespace {}: {}", name, *content.discovery);
  // Deletions wake us; looking again soon also covers kinds that no informer watches.
  const bool acted = !plan.acts.empty() && content.failures.empty();
  if (acted) reconciler_.add_after(name, 50ms);
  finish(acted ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
}

base::Task<NamespaceContent::Kind> NamespaceController::list(api::Resource kind, std::string ns,
                                                             std::vector<std::string>& failures) {
  NamespaceContent::Kind out{kind.group, kind.plural, {}, 0};
  auto listed = co_await base::later<base::Result<json::value>>(
      [&](auto done) { account_.client.list(kind, ns, "limit=500", done); });
  if (!listed.ok()) {
    if (listed.error().kind != base::Kind::kNotFound)  // or its definition went meanwhile
      failures.push_back(listed.error().message());
    co_return out;
  }
  if (const json::value* items = find(*listed, "items"); items && items->is_array())
    for (const json::value& item : items->get_array()) {
      Meta meta = read_meta(item);
      out.items.push_back({meta.name, meta.uid, meta.deleting, {}});
      if (const json::value* held = find_path(item, "metadata", "finalizers"); held && held->is_array())
        for (const json::value& finalizer : held->get_array())
          out.items.back().finalizers.emplace_back(as_string(&finalizer));
    }
  if (const json::value* more = find_path(*listed, "metadata", "remainingItemCount");
      more && more->is_int64())
    out.more = static_cast<size_t>(std::max<int64_t>(0, more->get_int64()));
  co_return out;
}

base::Task<> NamespaceController::remove(std::string ns, const NamespacePlan& plan,
                                         const std::vector<api::Resource>& kinds, NamespaceContent& content) {
  std::vector<Step> steps;
  for (const NamespacePlan::Act& act : plan.acts)
    steps.push_back([&, act](auto done) {
      const NamespaceContent::Item& item = content.kinds[act.kind].items[act.item];
      account_.client.remove(
          kinds[act.kind], ns, item.name,
          json::object{{"preconditions", {{"uid", item.uid}}}, {"propagationPolicy", "Background"}},
          [&content, done](base::Result<json::value> result) {
            if (!result.ok() && result.error().kind != base::Kind::kNotFound &&
                result.error().kind != base::Kind::kConflict)
              content.failures.push_back(result.error().message());
            done({});
          });
    });
  co_await base::later<base::Status>([&](auto done) { all(std::move(steps), done); });
}

base::Task<base::Status> NamespaceController::finalize(std::string name, std::string uid) {
  auto current = co_await base::later<base::Result<json::value>>(
      [&](auto done) { account_.client.get(api::resources::namespaces, "", name, done); });
  if (!current.ok() && current.error().kind == base::Kind::kNotFound) co_return {};
  if (!current.ok()) co_return current.error();
  if (read_meta(*current).uid != uid) co_return {};
  json::array kept;
  if (const json::value* list = find_path(*current, "spec", "finalizers"); list && list->is_array())
    for (const json::value& item : list->get_array())
      if (as_string(&item) != "kubernetes") kept.push_back(item);
  json::object object = current->is_object() ? current->get_object() : json::object();
  base::object_at(object, "spec")["finalizers"] = std::move(kept);
  auto written = co_await base::later<base::Result<json::value>>([&](auto done) {
    account_.client.update(api::resources::namespaces, "", name, std::move(object), done, "finalize");
  });
  if (!written.ok() && written.error().kind != base::Kind::kNotFound) co_return written.error();
  co_return {};
}

}  // namespace master::controllers
