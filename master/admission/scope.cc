#include "master/admission/scope.h"

#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

WriteScope::WriteScope(Registry& registry, const AdmissionAttributes& attributes)
    : registry_(registry), attributes_(attributes) {
  const ResourceInfo& resource = *attributes.resource;
  bool is_namespace = resource.is("", "namespaces");
  namespaced_ = resource.namespaced || is_namespace;
  if (is_namespace) {
    namespace_object_ = attributes.object.is_null() ? attributes.old : attributes.object;
  } else if (resource.namespaced) {
    if (ObjectRef ns = registry.cache("", "namespaces").find(object_key("", attributes.ns)))
      namespace_object_ = parse_object(*ns->text);
  }
}

ResourcePtr WriteScope::shown(const Webhook& hook, bool any_rule) const {
  const ResourcePtr& asked = attributes_.request->resource;
  auto matches = [&](const ResourcePtr& version) {
    if (any_rule && hook.rules.empty()) return true;
    WriteSubject subject{version->group,          version->version, version->plural,
                         attributes_.subresource, attributes_.name, attributes_.resource->namespaced,
                         attributes_.operation};
    for (const Webhook::Rule& rule : hook.rules)
      if (rule_matches(rule, subject)) return true;
    return false;
  };
  ResourcePtr found;
  if (matches(asked)) found = asked;
  if (!found && !hook.exact)
    for (const ResourcePtr& version : registry_.resources().all())
      if (!found && version->served && version->is(asked->group, asked->plural) && matches(version))
        found = version;
  const json::value* labels = base::find_path(namespace_object_, "metadata", "labels");
  return found && selectors_match(hook, labels, namespaced_, attributes_.object, attributes_.old) ? found
                                                                                                  : nullptr;
}

}  // namespace master
