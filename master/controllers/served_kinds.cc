#include "master/controllers/served_kinds.h"

#include "base/json.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

namespace {

std::string group_of(std::string_view group_version) {
  size_t slash = group_version.find('/');
  return std::string(slash == group_version.npos ? std::string_view() : group_version.substr(0, slash));
}

void add_kinds(const json::value& list, std::vector<ServedKind>& out) {
  std::string_view group_version = string_at(list, "groupVersion");
  std::string version(group_version.substr(group_version.find('/') + 1));  // npos + 1 is 0
  const json::value* resources = find(list, "resources");
  if (!resources || !resources->is_array()) return;
  for (const json::value& item : resources->get_array()) {
    std::string plural(string_at(item, "name"));
    if (plural.empty() || plural.find('/') != plural.npos) continue;  // a subresource
    ServedKind kind{{group_of(group_version), version, plural, std::string(string_at(item, "kind")),
                     base::as_bool(find(item, "namespaced"))}};
    if (const json::value* verbs = find(item, "verbs"); verbs && verbs->is_array())
      for (const json::value& verb : verbs->get_array()) {
        kind.can_list |= as_string(&verb) == "list";
        kind.can_watch |= as_string(&verb) == "watch";
        kind.can_delete |= as_string(&verb) == "delete";
      }
    out.push_back(std::move(kind));
  }
}

// Group versions ("metrics.k8s.io/v1beta1") of other API servers that do not answer now.
std::set<std::string, std::less<>> unavailable_versions(const json::value& api_services) {
  std::set<std::string, std::less<>> out;
  const json::value* items = find(api_services, "items");
  if (!items || !items->is_array()) return out;
  for (const json::value& item : items->get_array()) {
    const json::value* service = find_path(item, "spec", "service");
    if (!service || service->is_null()) continue;
    bool available = false;
    if (const json::value* conditions = find_path(item, "status", "conditions");
        conditions && conditions->is_array())
      for (const json::value& condition : conditions->get_array())
        available |= string_at(condition, "type") == "Available" && string_at(condition, "status") == "True";
    if (!available)
      out.insert(std::string(string_at(item, "spec", "group")) + "/" +
                 std::string(string_at(item, "spec", "version")));
  }
  return out;
}

}  // namespace

void discover_kinds(api::Client& client, std::function<void(base::Result<ServedKinds>)> done) {
  struct Found {
    ServedKinds served;
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
          auto failed = [found, version, step_done](base::Error error) {
            found->served.unavailable.insert(group_of(version));
            if (found->served.trouble.ok()) found->served.trouble = std::move(error);
            step_done(base::Status());
          };
          get("/apis/" + version, failed, [found, step_done](const json::value& list) {
            add_kinds(list, found->served.kinds);
            step_done(base::Status());
          });
        });
      }
    for (const std::string& version : found->unavailable) found->served.unavailable.insert(group_of(version));
    all(std::move(steps), [found, done](base::Status) { done(std::move(found->served)); });
  };
  get("/api/v1", done, [found, get, done, ask_groups](const json::value& core) {
    add_kinds(core, found->served.kinds);
    get("/apis/apiregistration.k8s.io/v1/apiservices", done,
        [found, get, done, ask_groups](const json::value& services) {
          found->unavailable = unavailable_versions(services);
          get("/apis", done, ask_groups);
        });
  });
}

}  // namespace master::controllers
