#include "master/controllers/hub.h"

#include "base/log.h"

namespace master::controllers {
using namespace std::chrono_literals;
using base::as_bool;
using base::find_path;
using base::string_at;

namespace {
constexpr base::Duration kPatience = 30s;            // with a kind that cannot be listed
constexpr base::Duration kGatherDefinitions = 50ms;  // definitions come in dozens

const api::Resource kDefinitions{"apiextensions.k8s.io", "v1", "customresourcedefinitions",
                                 "CustomResourceDefinition", false};
const api::Resource kApiServices{"apiregistration.k8s.io", "v1", "apiservices", "APIService", false};

std::string source_key(std::string_view group, std::string_view plural) {
  return fmt::format("{}/{}", group, plural);
}
}  // namespace

Hub::Hub(base::Loop& loop_in, std::shared_ptr<api::Transport> transport_in, const Options& options_in)
    : loop(loop_in), options(options_in), transport(std::move(transport_in)) {}
Hub::~Hub() = default;

Hub::Account& Hub::account(const std::string& name) {
  auto& account = accounts_[name];
  if (!account)
    account =
        std::make_unique<Account>(options.transport_of ? options.transport_of(name) : transport, options);
  return *account;
}

StoreBase& Hub::followed(const api::Resource& resource,
                         const std::function<std::unique_ptr<StoreBase>()>& make) {
  auto& source = sources_[source_key(resource.group, resource.plural)];
  if (!source) {
    source = std::make_unique<Source>();
    source->resource = resource;
  }
  if (!source->store) source->store = make();
  return *source->store;
}

void Hub::follow_everything(GoneHandler gone) { gone_ = std::move(gone); }

bool Hub::saw_everything() const {
  if (gone_ && !discovered_) return false;
  for (const auto& [key, source] : sources_)
    if (source->informer && !source->synced && now() - source->since < kPatience) return false;
  return true;
}

const api::Resource* Hub::find(std::string_view group, std::string_view kind) const {
  for (const auto& [key, source] : sources_)
    if (source->informer && source->resource.kind == kind && source->resource.group == group)
      return &source->resource;
  return nullptr;
}

void Hub::tell_synced() {
  for (const auto& handler : synced_handlers_) handler();
}

void Hub::start() {
  if (gone_) {
    discovery_ = std::make_unique<api::Client>(transport, "kube-controller-manager");
    rediscover_ = std::make_unique<api::WorkQueue>(loop, [this](const std::string&) { discover(); });
    for (const api::Resource* resource : {&kDefinitions, &kApiServices})
      if (auto& source = sources_[source_key(resource->group, resource->plural)]; !source) {
        source = std::make_unique<Source>();
        source->resource = *resource;
      }
  }
  for (const auto& [key, source] : sources_) start(*source);
}

void Hub::start(Source& source) {
  api::Informer::Options of;
  of.resource = source.resource;
  source.synced = false;
  source.since = now();
  source.informer = std::make_unique<api::Informer>(
      loop, *transport, of,
      [this, &source](api::Informer::Change change, const json::value& object) {
        if (source.store) source.store->apply(change, object);
        if (is_definition(source)) definition_changed(object);
        for (const auto& handler : any_) handler(source.resource, change, object);
      },
      [this, &source] {
        source.synced = true;
        if (source.store) source.store->synced = true;
        if (is_definition(source)) rediscover_->add("kinds");
        tell_synced();
      });
  source.informer->start();
}

// What changes which kinds there are.
bool Hub::is_definition(const Source& source) const {
  if (!gone_) return false;
  for (const api::Resource* resource : {&kDefinitions, &kApiServices})
    if (source.resource.plural == resource->plural && source.resource.group == resource->group) return true;
  return false;
}

void Hub::definition_changed(const json::value& object) {
  std::string_view stored;
  if (const json::value* versions = find_path(object, "spec", "versions"); versions && versions->is_array())
    for (const json::value& version : versions->get_array())
      if (as_bool(base::find(version, "storage")) && as_bool(base::find(version, "served")))
        stored = string_at(version, "name");
  if (!stored.empty())
    stored_versions_[source_key(string_at(object, "spec", "group"),
                                string_at(object, "spec", "names", "plural"))] = stored;
  rediscover_->add_after("kinds", kGatherDefinitions);
}

void Hub::discover() {
  for (const api::Resource* resource : {&kDefinitions, &kApiServices})
    if (!sources_.at(source_key(resource->group, resource->plural))->synced)
      return;  // the list brings us back
  discover_kinds(*discovery_, [this](base::Result<ServedKinds> served) {
    if (!served.ok() || !served->trouble.ok()) {
      base::log::warning("find out which kinds are served: {}",
                         (served.ok() ? served->trouble.error() : served.error()).message());
      rediscover_->failed("kinds");
      if (!served.ok()) return;
    } else {
      rediscover_->succeeded("kinds");
    }
    settle(std::move(*served));
  });
}

// What is served and not followed is followed; what is no longer served is let go.
void Hub::settle(ServedKinds served) {
  std::map<std::string, const ServedKind*> wanted;
  for (const ServedKind& kind : served.kinds)
    // Events come in masses, end by themselves, and own nothing.
    if (kind.can_list && kind.can_watch && kind.resource.plural != "events")
      wanted[source_key(kind.resource.group, kind.resource.plural)] = &kind;
  for (const auto& [key, source] : sources_) {
    auto at = wanted.find(key);
    const api::Resource& had = source->resource;
    if (source->store || !source->informer) continue;
    if (at != wanted.end() && at->second->resource.namespaced == had.namespaced &&
        at->second->resource.kind == had.kind)
      continue;
    if (at == wanted.end() && served.unavailable.count(had.group))
      continue;  // its server is away, its objects are not
    source->informer.reset();
    gone_(had);
  }
  bool fresh = false;
  for (const auto& [key, kind] : wanted) {
    auto& source = sources_[key];
    if (source && source->informer) continue;
    if (!source) source = std::make_unique<Source>();
    source->resource = kind->resource;
    // Of a custom resource the stored version, so that no webhook has to convert it.
    if (auto stored = stored_versions_.find(key); stored != stored_versions_.end() && !stored->second.empty())
      source->resource.version = stored->second;
    fresh = true;
    start(*source);
  }
  discovered_ = true;
  if (fresh) patience_ = loop.after(kPatience + 1s, [this] { tell_synced(); });
  tell_synced();
}

}  // namespace master::controllers
