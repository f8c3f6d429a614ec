#include "master/auth/rbac_admission.h"

#include <algorithm>

#include "api/status.h"
#include "api/validate/validate.h"

namespace master {

namespace json = base::json;
using api::FieldError;
using base::find;
using base::string_at;

namespace {

api::FieldErrors check_rules(const json::value& object, bool namespaced) {
  api::FieldErrors errors;
  std::vector<PolicyRule> rules = read_rules(find(object, "rules"));
  for (size_t i = 0; i < rules.size(); ++i) {
    const PolicyRule& rule = rules[i];
    std::string path = "rules[" + std::to_string(i) + "].";
    auto required = [&](const char* field, const char* text) {
      errors.push_back({FieldError::Type::required, path + field, "", text});
    };
    if (rule.verbs.empty()) required("verbs", "verbs must contain at least one value");
    if (!rule.non_resource_urls.empty()) {
      std::string urls = base::to_json(json::value_from(rule.non_resource_urls));
      auto invalid = [&](const char* text) {
        errors.push_back({FieldError::Type::invalid, path + "nonResourceURLs", urls, text});
      };
      if (namespaced) invalid("namespaced rules cannot apply to non-resource URLs");
      if (!rule.api_groups.empty() || !rule.resources.empty() || !rule.resource_names.empty())
        invalid("rules cannot apply to both regular resources and non-resource URLs");
      continue;
    }
    if (rule.api_groups.empty()) required("apiGroups", "resource rules must supply at least one api group");
    if (rule.resources.empty()) required("resources", "resource rules must supply at least one resource");
  }
  return errors;
}

void check_subject(const json::value& subject, const std::string& path, bool namespaced,
                   api::FieldErrors& errors) {
  std::string_view kind = string_at(subject, "kind"), group = string_at(subject, "apiGroup");
  auto quoted = [](std::string_view text) { return base::to_json(json::value(text)); };
  if (kind == "ServiceAccount") {
    if (!group.empty())
      errors.push_back(
          {FieldError::Type::not_supported, path + "apiGroup", quoted(group), "supported values: \"\""});
    if (!namespaced && string_at(subject, "namespace").empty())
      errors.push_back({FieldError::Type::required, path + "namespace", "", ""});
  } else if (kind == "User" || kind == "Group") {
    if (group != kRbacGroup)
      errors.push_back({FieldError::Type::not_supported, path + "apiGroup", quoted(group),
                        "supported values: " + quoted(kRbacGroup)});
  } else {
    errors.push_back({FieldError::Type::not_supported, path + "kind", quoted(kind),
                      "supported values: \"Group\", \"ServiceAccount\", \"User\""});
  }
}

api::FieldErrors check_binding(const json::value& object, const json::value& old, bool namespaced) {
  api::FieldErrors errors;
  std::string_view kind = string_at(object, "roleRef", "kind"),
                   group = string_at(object, "roleRef", "apiGroup");
  if (group != kRbacGroup)
    errors.push_back({FieldError::Type::not_supported, "roleRef.apiGroup", base::to_json(json::value(group)),
                      "supported values: \"" + std::string(kRbacGroup) + "\""});
  if (kind != "ClusterRole" && !(namespaced && kind == "Role"))
    errors.push_back(
        {FieldError::Type::not_supported, "roleRef.kind", base::to_json(json::value(kind)),
         namespaced ? "supported values: \"ClusterRole\", \"Role\"" : "supported values: \"ClusterRole\""});
  if (const json::value* before = find(old, "roleRef"))
    if (const json::value* after = find(object, "roleRef"); !after || *after != *before)
      errors.push_back({FieldError::Type::invalid, "roleRef", after ? base::to_json(*after) : "null",
                        "cannot change roleRef"});
  if (const json::value* subjects = find(object, "subjects"); subjects && subjects->is_array())
    for (size_t i = 0; i < subjects->get_array().size(); ++i)
      check_subject(subjects->get_array()[i], "subjects[" + std::to_string(i) + "].", namespaced, errors);
  return errors;
}

class RbacAdmission final : public AdmissionPlugin {
 public:
  explicit RbacAdmission(const Authorizer& authorizer) : authorizer_(authorizer) {}
  std::string_view name() const override { return "RBAC"; }
  using AdmissionPlugin::mutate;
  using AdmissionPlugin::validate;

  json::value mutate(AdmissionAttributes& attributes) override {
    if (!is_binding(attributes) || !attributes.object.is_object()) return nullptr;
    json::object& object = attributes.object.get_object();
    auto set_group = [](json::object& in) {
      if (base::as_string(in.if_contains("apiGroup")).empty()) in["apiGroup"] = kRbacGroup;
    };
    if (json::value* ref = object.if_contains("roleRef"); ref && ref->is_object())
      set_group(ref->get_object());
    if (json::value* subjects = object.if_contains("subjects"); subjects && subjects->is_array())
      for (json::value& subject : subjects->get_array()) {
        std::string_view kind = string_at(subject, "kind");
        if (kind == "User" || kind == "Group") set_group(subject.get_object());
      }
    return nullptr;
  }

  json::value validate(AdmissionAttributes& attributes) override {
    if (attributes.resource->group != kRbacGroup || !attributes.object.is_object()) return nullptr;
    const ResourceInfo& resource = *attributes.resource;
    bool binding = is_binding(attributes);
    api::FieldErrors errors = binding ? check_binding(attributes.object, attributes.old, resource.namespaced)
                                      : check_rules(attributes.object, resource.namespaced);
    if (!errors.empty()) return api::invalid(resource.group, resource.kind, attributes.name, errors);
    if (attributes.request->user.in_group("system:masters")) return nullptr;
    return binding ? check_bind(attributes) : check_role(attributes);
  }

 private:
  static bool is_binding(const AdmissionAttributes& attributes) {
    return attributes.resource->group == kRbacGroup && attributes.resource->plural.ends_with("rolebindings");
  }
  static bool same(const AdmissionAttributes& attributes, std::string_view field) {
    const json::value *before = find(attributes.old, field), *after = find(attributes.object, field);
    return before && after ? *before == *after : !before && !after;
  }
  bool may(const AdmissionAttributes& attributes, std::string_view verb, std::string_view plural,
           std::string_view role) const {
    Access access{true, verb, attributes.ns, kRbacGroup, plural, "", role, {}, {}};
    return authorizer_.allows(attributes.request->user, access);
  }
  // Null when the user holds all of `wanted`; else a refusal that names what is missing.
  json::value check_held(const AdmissionAttributes& attributes, const std::vector<PolicyRule>& wanted,
                         const char* prefix) const {
    const User& user = attributes.request->user;
    std::vector<PolicyRule> held;
    authorizer_.rbac().each_rule(user, attributes.ns, [&](const RbacIndex::Grant&, const PolicyRule& rule) {
      held.push_back(rule);
      return true;
    });
    std::vector<PolicyRule> missing = not_covered(held, wanted);
    if (missing.empty()) return nullptr;
    std::string text = prefix + ("user " + base::to_json(json::value(user.name))) +
                       " (groups=" + quoted_list(user.groups) +
                       ") is attempting to grant RBAC permissions not currently held:\n" + describe(missing);
    return api::forbidden(attributes.resource->named(), attributes.name, text);
  }

  json::value check_role(const AdmissionAttributes& attributes) const {
    if (same(attributes, "rules") && same(attributes, "aggregationRule") && !attributes.old.is_null())
      return nullptr;
    if (may(attributes, "escalate", attributes.resource->plural, attributes.name)) return nullptr;
    auto aggregates = [](const json::value& object) {
      const json::value* rule = find(object, "aggregationRule");
      return rule && !rule->is_null();
    };
    // Whoever sets what is aggregated sets rules that are not written yet.
    if (aggregates(attributes.object) || aggregates(attributes.old)) {
      std::vector<PolicyRule> everything{{{"*"}, {"*"}, {"*"}, {}, {}}, {{"*"}, {}, {}, {}, {"*"}}};
      return check_held(attributes, everything,
                        "must have cluster-admin privileges to use the aggregationRule: ");
    }
    return check_held(attributes, read_rules(find(attributes.object, "rules")), "");
  }

  json::value check_bind(const AdmissionAttributes& attributes) const {
    if (!attributes.old.is_null() && same(attributes, "subjects") && same(attributes, "roleRef"))
      return nullptr;
    std::string_view kind = string_at(attributes.object, "roleRef", "kind"),
                     role_name = string_at(attributes.object, "roleRef", "name");
    std::string_view plural = kind == "Role" ? "roles" : "clusterroles";
    if (may(attributes, "bind", plural, role_name)) return nullptr;
    const RbacIndex::Role* role = authorizer_.rbac().find_role(kind, attributes.ns, role_name);
    if (!role) return api::not_found({kRbacGroup, plural}, role_name);
    return check_held(attributes, role->rules, "");
  }

  const Authorizer& authorizer_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_rbac_admission(const Authorizer& authorizer) {
  return std::make_unique<RbacAdmission>(authorizer);
}

}  // namespace master
