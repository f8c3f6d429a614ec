// The registry's start, its records, and the one way into the store.
#include "master/registry/registry.h"

#include "api/status.h"
#include "api/structural.h"
#include "api/walk.h"
#include "base/fiber.h"
#include "base/log.h"
#include "master/registry/heavy_requests.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;

Registry::Registry(base::Loop& loop, std::unique_ptr<Store> store, Network network, Around around)
    : loop_(loop), store_(std::move(store)), network_(std::move(network)), around_(std::move(around)),
      service_addresses_(network_.service_cidr, network_.cluster_dns) {}

ObjectRef reform_custom(const ResourceInfo& stored, std::string key, json::value object, int64_t revision) {
  // Where a webhook converts, an object stays in the version it was written in, until it is written again.
  if (stored.conversion && base::string_at(object, "apiVersion") != stored.group_version())
    return make_object(stored, std::move(key), to_stored_text(object), revision);
  object.get_object()["apiVersion"] = stored.group_version();
  api::prune(*stored.type, object);
  api::apply_defaults(*stored.type, object);
  return make_object(stored, std::move(key), to_stored_text(object), revision);
}

base::Status Registry::load(const std::function<void()>& definitions_loaded) {
  std::vector<Unclaimed> unclaimed;
  TRY(store_->load(
      [&](std::string key, std::string value, int64_t revision) {
        StoredPlace place = place_of(key);
        ResourcePtr resource = resources_.find_stored(place.group, place.plural);
        if (resource && resource->objects)
          load_object(*resource, key, place.key, value, revision, &ObjectCache::load);
        else unclaimed.push_back({std::move(key), std::move(value), revision});
      },
      [this](const std::string& record, int64_t revision, const base::Error& why) {
        set_aside(record, revision, why);
      }));
  durable_revision_ = store_->loaded_revision();
  definitions_loaded();
  load_custom(std::move(unclaimed));
  for (const ResourcePtr& resource : resources_.all())
    if (resource->objects) resource->objects->set_loaded(durable_revision_);
  return {};
}

void Registry::start() {
  watch_ = store_->watch(
      store_->loaded_revision(), [this](const StoreChange& change) { take(change); },
      [this](base::Error why) {
        store_failed_ = true;
        if (around_.store_lost) around_.store_lost(why);
      });
  ResourceInfo& events = *resources_.find("", "v1", "events");
  event_keeper_ = std::make_unique<EventKeeper>(
      loop_, cache(events), EventLimits{}, [this, &events](const ObjectRef& event) {
        commit(events, event->key, nullptr, event, [](base::Result<ObjectRef> result) {
          base::ignore(result, "changed or gone meanwhile: the next sweep sees it again");
        });
      });
  event_keeper_->sweep();
}

int64_t Registry::current_revision(const ResourceInfo& resource) const {
  int64_t last = resource.objects->last_revision();
  return resource.is_volatile ? last : std::max(durable_revision_, last);
}

// Definitions may stand behind their objects in the store, so those wait for all of it.
void Registry::load_custom(std::vector<Unclaimed> unclaimed) {
  for (Unclaimed& each : unclaimed) {
    StoredPlace place = place_of(each.key);
    ResourcePtr resource = resources_.find_stored(place.group, place.plural);
    if (resource && resource->type->custom)
      load_object(*resource, each.key, place.key, each.value, each.revision, &ObjectCache::load);
    else
      set_aside(each.key, each.revision,
                base::make_error(base::Kind::kUnsupported, "serve", {}, "nothing here serves such objects"));
  }
}

void Registry::load_object(ResourceInfo& resource, const std::string& record, std::string_view key,
                           std::string_view text, int64_t revision, Into into) {
  auto object = read_stored(resource, key, text);
  if (!object.ok()) return set_aside(record, revision, object.error());
  if (resource.type->custom)
    return (cache(resource).*into)(reform_custom(resource, std::string(key), std::move(*object), revision));
  std::string version(base::string_at(*object, "apiVersion"));
  if (version != resource.group_version()) {  // by a master that stored another
    size_t slash = version.find('/');
    ResourcePtr written = resources_.find(
        resource.group, slash == version.npos ? version : version.substr(slash + 1), resource.plural);
    if (!written || written->remote)
      return set_aside(record, revision,
                       base::make_error(base::Kind::kUnsupported, "read stored object", std::string(key),
                                        "its version " + version + " is not known here"));
    object = stored_form(*written, std::move(*object));
    (cache(resource).*into)(make_object(resource, std::string(key), to_stored_text(*object), revision));
  } else {
    (cache(resource).*
     into)(make_object(std::string(key), text, revision, selector_values(resource, *object)));
  }
  if (resource.strategy->loaded) resource.strategy->loaded(*this, *object);
}

// It stays in the store as it is, for the master that can read it. Nothing else takes its key, and nobody is
// told that it is not there: its dependents would be taken for orphans.
void Registry::set_aside(const std::string& record, int64_t revision, const base::Error& why) {
  constexpr size_t kNamed = 100;
  if (set_aside_.size() == kNamed)
    base::log::error(
        "store: further records are set aside: `sampan store check` lists them while no master runs");
  if (set_aside_.size() < kNamed)
    base::log::error(
        "store: record {} is set aside and not served: {}: it stays in the store: start the sampan-master "
        "that wrote it, "
        "or restore the store from a backup; `sampan store check` lists all",
        shown_record(record), why.message());
  set_aside_.emplace(record, SetAside{revision, why.message()});
}

json::value Registry::absent(const ResourceInfo& resource, std::string_view key) const {
  auto aside = set_aside_.find(record_key(resource, key));
  if (aside == set_aside_.end()) return api::not_found(resource.named(), key.substr(key.find('/') + 1));
  return api::internal_error("the record of " + resource.qualified() + " \"" +
                             std::string(key.substr(key.find('/') + 1)) +
                             "\" in the store can't be served: " + aside->second.why);
}

void Registry::remove_record(const std::string& record, std::function<void(base::Status)> done) {
  auto aside = set_aside_.find(record);
  if (aside == set_aside_.end()) return done({});
  store_->submit({record, "", aside->second.revision},
                 [done = std::move(done)](base::Result<int64_t> result) {
                   if (!result.ok()) return done(result.error());
                   done({});
                 });
}

void Registry::commit(ResourceInfo& resource, std::string key, const json::value& object, ObjectRef current,
                      Committed done) {
  ObjectCache& objects = cache(resource);
  bool removes = object.is_null();
  std::string text;
  SelectorValues values;
  base::Status unfit;
  if (!removes)
    base::compute([&] {
      auto storable = to_storable_text(key, object);
      if (!storable.ok()) {
        unfit = storable.error();
        return;
      }
      text = std::move(*storable);
      values = selector_values(resource, object);
    });
  if (!unfit.ok()) return done(unfit.error());
  if (text.size() > kMaxObjectBytes) {
    done(base::make_error(base::Kind::kExhausted, "", "", kTooLarge));
    return;
  }
  if (resource.is_volatile) {
    ObjectRef now = objects.find(key);
    if ((now ? now->revision : 0) != (current ? current->revision : 0)) {
      done(base::make_error(base::Kind::kConflict, "write", key, "changed meanwhile"));
      return;
    }
    auto revision = store_->next_volatile_revision();
    if (!revision.ok()) return done(revision.error());
    if (removes) {
      objects.erase(key, *revision);
      done(std::move(current));
      return;
    }
    ObjectRef made = make_object(key, text, *revision, std::move(values));
    objects.put(made);
    done(std::move(made));
    return;
  }
  StoreWrite write{record_key(resource, key), text, current ? current->revision : 0};
  if (auto aside = set_aside_.find(write.key); !current && aside != set_aside_.end())
    return done(
        base::make_error(base::Kind::kCorrupt, "write", key,
                         "the store holds a record of this name that can't be served: " + aside->second.why));
  auto under_way = std::make_shared<UnderWay>(UnderWay{objects, std::move(key), text, std::move(values)});
  auto at = under_way_.emplace(write.key, under_way);
  store_->submit(std::move(write), [this, &resource, at, current, done = std::move(done),
                                    began = base::steady_now()](base::Result<int64_t> result) mutable {
    const std::shared_ptr<UnderWay> own = std::move(at->second);
    under_way_.erase(at);
    around_.stored(own->text.empty() ? "delete"
                   : current         ? "update"
                                     : "create",
                   resource.qualified(), std::chrono::duration<double>(base::steady_now() - began).count());
    store_failed_ = !result.ok() && result.error().kind != base::Kind::kConflict;
    if (!result.ok()) return done(result.error());
    if (own->text.empty()) return done(current);
    // The store has told it before, unless it has lost its place.
    if (!own->made) own->made = make_object(own->key, own->text, *result, std::move(own->values));
    done(own->made);
  });
}

void Registry::take(const StoreChange& change) {
  if (change.revision <= durable_revision_) return;
  durable_revision_ = change.revision;
  for (auto [at, end] = under_way_.equal_range(change.key); at != end; ++at) {
    UnderWay& own = *at->second;
    if (own.text != change.value) continue;
    if (!own.text.empty()) {
      own.made = make_object(own.key, own.text, change.revision, std::move(own.values));
      own.objects.put(own.made);
    } else if (own.objects.find(own.key)) {
      own.objects.erase(own.key, change.revision);
    }
    return;
  }
  // Another master's, or of a record that was set aside.
  set_aside_.erase(change.key);
  StoredPlace place = place_of(change.key);
  ResourcePtr resource = resources_.find_stored(place.group, place.plural);
  const bool served = resource && resource->objects;
  if (change.value.empty()) {
    if (served && cache(*resource).find(place.key)) cache(*resource).erase(place.key, change.revision);
  } else if (served) {
    load_object(*resource, change.key, place.key, change.value, change.revision, &ObjectCache::put);
  } else {
    set_aside(change.key, change.revision,
              base::make_error(base::Kind::kUnsupported, "serve", {}, "nothing here serves such objects"));
  }
}

}  // namespace master
