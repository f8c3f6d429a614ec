#include "master/extensions/custom_resources.h"

#include <set>

#include "api/custom/custom.h"
#include "api/structural.h"
#include "api/walk.h"
#include "base/log.h"
#include "master/admission/webhook_plan.h"
#include "master/extensions/custom_conversion.h"
#include "master/registry/custom_strategy.h"
#include "master/registry/heavy_requests.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

namespace {

const api::Resource kDefinitions{"apiextensions.k8s.io", "v1", "customresourcedefinitions",
                                 "CustomResourceDefinition", false};

std::string joined_texts(const json::value* list) {
  std::string out;
  if (list && list->is_array())
    for (const json::value& one : list->get_array())
      out.append(out.empty() ? "" : ",").append(base::as_string(&one));
  return out;
}

// One version's row, without what ties it to the others.
base::Result<ResourceInfo> row_of(const json::value& definition, const json::value& version, bool terminating,
                                  const std::shared_ptr<CustomConversion>& conversion) {
  auto kind = TRY(api::compile_custom_kind(definition, base::string_at(version, "name")));
  ResourceInfo row;
  row.group = kind->group;
  row.version = kind->version;
  row.plural = base::string_at(definition, "spec", "names", "plural");
  row.singular = base::string_at(definition, "status", "acceptedNames", "singular");
  row.kind = kind->kind;
  row.list_kind = kind->list_kind;
  row.short_names = joined_texts(base::find_path(definition, "status", "acceptedNames", "shortNames"));
  row.categories = joined_texts(base::find_path(definition, "status", "acceptedNames", "categories"));
  row.namespaced = base::string_at(definition, "spec", "scope") == "Namespaced";
  row.has_status = kind->has_status;
  row.has_scale = !kind->spec_replicas_path.empty();
  if (const json::value* fields = base::find(version, "selectableFields"); fields && fields->is_array())
    for (const json::value& field : fields->get_array())
      if (std::string_view path = base::string_at(field, "jsonPath"); path.starts_with('.'))
        row.field_selectors.append(row.field_selectors.empty() ? "" : ",").append(path.substr(1));
  if (terminating) row.verbs = "delete,deletecollection,get,list,patch,update,watch";
  row.served = base::as_bool(base::find(version, "served"));
  row.type = &kind->type;
  row.type_owner = kind;
  row.conversion = conversion;
  return row;
}

// Collections are deleted namespace by namespace.
void remove_instances(const std::string& group, const std::string& version, const std::string& plural,
                      const ObjectCache& objects, api::Client& client,
                      std::function<void(const base::Status&)> done) {
  std::set<std::string> namespaces;
  for (const auto& [key, object] : objects.objects()) namespaces.emplace(object->ns());
  struct Progress {
    size_t left;
    base::Status failure;
  };
  auto progress = std::make_shared<Progress>(Progress{namespaces.size(), {}});
  for (const std::string& ns : namespaces)
    client.call("DELETE",
                "/apis/" + group + "/" + version + (ns.empty() ? "/" : "/namespaces/" + ns + "/") + plural,
                "", "", [progress, done](base::Result<json::value> result) {
                  if (!result.ok() && result.error().kind != base::Kind::kNotFound)
                    progress->failure = result.error();
                  if (--progress->left == 0) done(progress->failure);
                });
}

}  // namespace

CustomResources::CustomResources(Registry& registry)
    : registry_(registry), transport_(registry.transport({"system:apiserver", {"system:masters"}})),
      client_(transport_, "kube-apiserver"),
      queue_(registry.loop(), [this](const std::string& name) { reconcile(name); }),
      webhooks_(std::make_shared<WebhookClient>(registry)),
      definitions_(
          registry.resources().find_stored("apiextensions.k8s.io", "customresourcedefinitions")->objects) {}

CustomResources::~CustomResources() {
  if (listener_) definitions_->unsubscribe(listener_);
  for (auto& [name, served] : served_) served.objects->unsubscribe(served.listener);
}

void CustomResources::load() {
  for (const auto& [key, object] : definitions_->objects()) {
    json::value definition = parse_object(*object->text);
    if (!is_established(definition)) continue;
    if (auto status = serve(std::string(object->name()), definition); !status.ok())
      base::log::error("serve {}: {}: its objects are left alone", object->name(), status.error().message());
  }
}

void CustomResources::start() {
  listener_ = definitions_->subscribe(
      [this](const WatchEvent& event) { queue_.add(std::string(event.object->name())); });
  for (const auto& [key, object] : definitions_->objects()) queue_.add(std::string(object->name()));
}

TakenNames CustomResources::taken_by_others(const std::string& name, std::string_view group) const {
  TakenNames out;
  for (const auto& [key, object] : definitions_->objects()) {
    if (object->name() == name || !object->name().ends_with("." + std::string(group))) continue;
    json::value definition = parse_object(*object->text);
    if (base::string_at(definition, "spec", "group") != group) continue;
    if (const json::value* names = base::find_path(definition, "status", "acceptedNames")) out.add(*names);
  }
  for (const ResourcePtr& row : registry_.resources().all()) {
    if (row->type->custom || row->group != group) continue;
    out.resources.insert({row->plural, row->singular});
    out.kinds.insert({row->kind, row->list_kind});
  }
  return out;
}

void CustomResources::wake_group(std::string_view group) {
  for (const auto& [key, object] : definitions_->objects())
    if (object->name().ends_with("." + std::string(group))) queue_.add(std::string(object->name()));
}

void CustomResources::conclude(const std::string& name, const base::Status& status) {
  if (status.ok() || status.error().kind == base::Kind::kNotFound) return queue_.succeeded(name);
  // A conflict means that somebody wrote: that event brings the name back.
  if (status.error().kind != base::Kind::kConflict)
    base::log::warning("custom resource definition {}: {}", name, status.error().message());
  queue_.failed(name);
}

void CustomResources::reconcile(const std::string& name) {
  // One at a time for each name: what comes meanwhile is looked at afterwards.
  if (auto [at, fresh] = busy_.try_emplace(name, false); !fresh) {
    at->second = true;
    return;
  }
  // What is compiled and made anew does not hold the loop.
  run_aside(registry_.loop(), "custom resources", [this, name] {
    look(name);
    auto at = busy_.find(name);
    bool again = at->second;
    busy_.erase(at);
    if (again) queue_.add(name);
  });
}

void CustomResources::look(const std::string& name) {
  ObjectRef object = definitions_->find(object_key("", name));
  if (!object) {
    withdraw(name);
    return wake_group(std::string_view(name).substr(name.find('.') + 1));  // its names are free
  }
  json::value definition;
  base::compute([&] { definition = parse_object(*object->text); });
  auto served = served_.find(name);
  bool has_instances = served != served_.end() && !served->second.objects->objects().empty();
  DefinitionPlan plan =
      plan_definition(definition, taken_by_others(name, base::string_at(definition, "spec", "group")),
                      has_instances, base::wall_now());
  base::log::debug("custom resource definition {}: {}", name, plan.text());
  act(name, definition, plan);
}

void CustomResources::act(const std::string& name, const json::value& definition,
                          const DefinitionPlan& plan) {
  json::value wanted = definition;
  if (!plan.status.is_null()) wanted.get_object()["status"] = plan.status;
  // Served first: whoever reads "Established" can use it.
  if (plan.serve)
    if (auto status = serve(name, wanted); !status.ok()) return conclude(name, status);
  if (!plan.status.is_null())
    return client_.update(
        kDefinitions, "", name, std::move(wanted),
        [this, name](base::Result<json::value> result) {
          conclude(name, result.ok() ? base::Status() : base::Status(result.error()));
        },
        "status");  // its event brings us back for the rest
  if (plan.empties && served_.at(name).objects->objects().empty())
    return queue_.add(name);  // they went meanwhile
  if (plan.empties)
    return remove_instances(served_.at(name).group, served_.at(name).versions.front(),
                            served_.at(name).plural, *served_.at(name).objects, client_,
                            [this, name](const base::Status& status) { conclude(name, status); });
  if (!plan.drops_finalizer) return queue_.succeeded(name);
  json::array kept;
  if (const json::value* list = base::find_path(definition, "metadata", "finalizers");
      list && list->is_array())
    for (const json::value& one : list->get_array())
      if (base::as_string(&one) != kCleanupFinalizer) kept.push_back(one);
  wanted.at("metadata").get_object()["finalizers"] = std::move(kept);
  client_.update(kDefinitions, "", name, std::move(wanted), [this, name](base::Result<json::value> result) {
    conclude(name, result.ok() ? base::Status() : base::Status(result.error()));
  });
}

base::Status CustomResources::serve(const std::string& name, const json::value& definition) {
  ResourceTable& table = registry_.resources();
  std::string uid(base::string_at(definition, "metadata", "uid"));
  int64_t generation = base::as_int(base::find_path(definition, "metadata", "generation"));
  bool terminating = base::find_path(definition, "metadata", "deletionTimestamp") != nullptr;
  if (auto it = served_.find(name); it != served_.end()) {
    if (it->second.uid != uid) withdraw(name);  // another of the same name
    else if (it->second.generation == generation && it->second.terminating == terminating) return {};
  }
  std::shared_ptr<CustomConversion> conversion;
  if (base::string_at(definition, "spec", "conversion", "strategy") == "Webhook")
    if (const json::value* config =
            base::find_path(definition, "spec", "conversion", "webhook", "clientConfig"))
      conversion = std::make_shared<CustomConversion>(
          webhooks_, *config,
          known_review_version(
              base::find_path(definition, "spec", "conversion", "webhook", "conversionReviewVersions")));
  std::vector<ResourceInfo> rows;
  const json::value* versions = base::find_path(definition, "spec", "versions");
  if (versions && versions->is_array())
    for (const json::value& version : versions->get_array()) {
      base::Result<ResourceInfo> made = ResourceInfo();
      base::compute([&] { made = row_of(definition, version, terminating, conversion); });
      ResourceInfo row = TRY(std::move(made));
      bool stored = base::as_bool(base::find(version, "storage"));
      row.served |= stored && terminating;  // its instances are deleted through it
      if (stored || row.served) rows.insert(stored ? rows.begin() : rows.end(), std::move(row));
    }
  if (rows.empty()) return base::make_error(base::Kind::kInvalid, "serve", name, "no version is stored");
  // Validated when it was written; a row of another name might take the place of a built-in one.
  if (rows[0].group.empty() || name != rows[0].plural + "." + rows[0].group)
    return base::make_error(base::Kind::kInvalid, "serve", name,
                            "its name is not <spec.names.plural>.<spec.group>");

  Served& served = served_[name];
  std::shared_ptr<ObjectCache> objects = served.objects;
  for (const std::string& version : served.versions) table.remove(served.group, version, served.plural);
  served.versions.clear();
  ResourcePtr stored;
  for (ResourceInfo& row : rows) {
    if (row.served) served.versions.push_back(row.version);
    if (!stored) row.objects = objects;
    else row.stored_as = std::string(stored->group_version());
    ResourcePtr made = table.add(std::move(row));
    if (!stored) stored = made;
  }
  if (!stored->served) served.versions.push_back(stored->version);  // last: no path leads to it
  served.uid = uid;
  served.generation = generation;
  served.terminating = terminating;
  served.group = stored->group;
  served.plural = stored->plural;
  served.objects = stored->objects;
  if (objects) {  // what is cached was made with the schema before
    for (const auto& [key, object] : ObjectCache::Map(objects->objects())) {
      if (objects->find(key) == object)
        objects->load(reform_custom(*stored, key, parse_object(*object->text), object->revision));
      base::give_way();
    }
    registry_.withdraw(*objects);
    return {};
  }
  served.objects->set_loaded(registry_.durable_revision());
  served.listener = served.objects->subscribe([this, name](const WatchEvent& event) {
    auto it = served_.find(name);
    if (it != served_.end() && it->second.terminating && event.type == WatchEvent::Type::kDeleted &&
        it->second.objects->objects().empty())
      queue_.add(name);
  });
  return {};
}

void CustomResources::withdraw(const std::string& name) {
  auto it = served_.find(name);
  if (it == served_.end()) return;
  Served served = std::move(it->second);
  served_.erase(it);
  for (const std::string& version : served.versions)
    registry_.resources().remove(served.group, version, served.plural);
  served.objects->unsubscribe(served.listener);
  registry_.withdraw(*served.objects);
}

}  // namespace master
