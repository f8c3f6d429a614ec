// What a CustomResourceDefinition must satisfy: names, versions, conversion. Schemas:
// validate_custom_schema.cc.
#include <algorithm>
#include <set>

#include "api/structural.h"
#include "api/validate/custom.h"
#include "api/validate/webhooks.h"

namespace api {
namespace {

using custom::at;
using custom::map_at;
using custom::text_at;
using rules::Errors;

void simple_path(Errors& e, const std::string& field, std::string_view path) {
  if (path.empty()) e.invalid(field, path, "must not be empty");
  else if (path[0] != '.') e.invalid(field, path, "must be a simple json path starting with .");
  else if (auto parsed = JsonPath::parse(path); !parsed.ok())
    e.invalid(field, path, parsed.error().message());
}

void columns(Errors& e, const std::string& field, const json::array& list) {
  for (size_t i = 0; i < list.size(); ++i) {
    std::string here = rules::at(field, i);
    std::string_view type = text_at(list[i], "type"), format = text_at(list[i], "format");
    if (!type.empty() && type != "integer" && type != "number" && type != "string" && type != "boolean" &&
        type != "date")
      e.invalid(here + ".type", type, "must be one of boolean,date,integer,number,string");
    static const std::set<std::string_view> kFormats = {"",     "int32", "int64",     "float",   "double",
                                                        "byte", "date",  "date-time", "password"};
    if (!kFormats.contains(format))
      e.invalid(here + ".format", format,
                "must be one of byte,date,date-time,double,float,int32,int64,password");
    if (std::string_view path = text_at(list[i], "jsonPath"); !path.empty())
      simple_path(e, here + ".JSONPath", path);
  }
}

void scale(Errors& e, const std::string& field, const json::value& scale) {
  if (!scale.is_object()) return;
  auto path = [&](const char* name, std::vector<std::string> under, const char* why) {
    std::string_view value = text_at(scale, name);
    if (value.empty()) return;  // the table requires what is required
    size_t before = e.list.size();
    simple_path(e, field + "." + name, value);
    if (e.list.size() != before) return;
    for (const std::string& prefix : under)
      if (value.starts_with(prefix)) return;
    e.invalid(field + "." + name, value, why);
  };
  path("specReplicasPath", {".spec."}, "should be a json path under .spec");
  path("statusReplicasPath", {".status."}, "should be a json path under .status");
  path("labelSelectorPath", {".spec.", ".status."}, "should be a json path under either .spec or .status");
}

void selectable_fields(Errors& e, const std::string& field, const json::value& version) {
  const json::array& list = custom::list_at(version, "selectableFields");
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    std::string here = rules::at(field, i) + ".jsonPath";
    std::string_view path = text_at(list[i], "jsonPath");
    if (path.empty()) continue;  // required by the table
    auto parsed = JsonPath::parse(path);
    std::vector<std::string> names = parsed.ok() ? parsed->plain_names() : std::vector<std::string>();
    if (names.empty() || !path.starts_with('.')) {
      e.invalid(here, path, "is an invalid path: it must name one member after the other, as in .spec.color");
      continue;
    }
    const json::value* schema = base::find_path(version, "schema", "openAPIV3Schema");
    for (const std::string& name : names)
      schema = schema ? map_at(*schema, "properties").if_contains(name) : nullptr;
    if (names[0] == "metadata") e.invalid(here, path, "must not point to fields in metadata");
    else if (!schema) e.invalid(here, path, "is an invalid path: does not refer to a valid field");
    else if (std::string_view type = text_at(*schema, "type");
             type != "string" && type != "boolean" && type != "integer")
      e.invalid(here, path,
                "must point to a field of type string, boolean or integer. Enum string fields and strings "
                "with formats are allowed.");
    if (!seen.insert(std::string(path)).second) e.duplicate(here, path);
  }
  if (seen.size() > 8) e.too_many(field, seen.size(), 8);
}

void names(Errors& e, const std::string& field, const json::value& names) {
  auto lower = [](std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
    return out;
  };
  for (const char* name : {"plural", "singular"})
    if (std::string_view text = text_at(names, name); !text.empty())
      if (auto wrong = check_dns1035_label(text); !wrong.empty())
        e.invalid(field + "." + name, text, custom::joined(wrong));
  for (const char* name : {"kind", "listKind"})
    if (std::string_view text = text_at(names, name); !text.empty())
      if (auto wrong = check_dns1035_label(lower(text)); !wrong.empty())
        e.invalid(field + "." + name, text,
                  "may have mixed case, but should otherwise match: " + custom::joined(wrong));
  for (const char* name : {"shortNames", "categories"})
    for (size_t i = 0; i < custom::list_at(names, name).size(); ++i) {
      std::string_view text = base::as_string(&custom::list_at(names, name)[i]);
      if (auto wrong = check_dns1035_label(text); !wrong.empty())
        e.invalid(rules::at(field + "." + name, i), text, custom::joined(wrong));
    }
  if (std::string_view kind = text_at(names, "kind"); !kind.empty() && kind == text_at(names, "listKind"))
    e.invalid(field + ".listKind", kind, "kind and listKind may not be the same");
}

void versions(Errors& e, const json::array& list) {
  std::set<std::string_view> seen;
  int stored = 0;
  bool unique = true, same_schemas = true;
  for (const json::value& version : list) same_schemas &= at(version, "schema") == at(list[0], "schema");
  for (size_t i = 0; i < list.size(); ++i) {
    const json::value& version = list[i];
    std::string here = rules::at("spec.versions", i);
    stored += custom::flag(version, "storage");
    unique &= seen.insert(text_at(version, "name")).second;
    if (std::string_view name = text_at(version, "name"); !name.empty())
      if (auto wrong = check_dns1035_label(name); !wrong.empty())
        e.invalid(here + ".name", name, custom::joined(wrong));
    if (const json::value* warning = base::find(version, "deprecationWarning");
        warning && warning->is_string()) {
      std::string_view text = base::as_string(warning);
      if (!custom::flag(version, "deprecated"))
        e.invalid(here + ".deprecationWarning", text, "can only be set for deprecated versions");
      if (text.size() > 256) e.invalid(here + ".deprecationWarning", text, "must be <= 256 characters long");
      if (text.empty()) e.invalid(here + ".deprecationWarning", text, "must not be an empty string");
    }
    const json::value* schema = base::find_path(version, "schema", "openAPIV3Schema");
    // One schema for all versions counts as the definition's own.
    if (!schema || !schema->is_object()) e.required(here + ".schema.openAPIV3Schema");
    else if (!same_schemas || i == 0)
      custom::schema(e, same_schemas ? "spec.validation.openAPIV3Schema" : here + ".schema.openAPIV3Schema",
                     *schema);
    columns(e, here + ".additionalPrinterColumns", custom::list_at(version, "additionalPrinterColumns"));
    scale(e, here + ".subresources.scale", at(at(version, "subresources"), "scale"));
    selectable_fields(e, here + ".selectableFields", version);
  }
  if (!unique) e.invalid("spec.versions", json::value(list), "must contain unique version names");
  if (stored != 1)
    e.invalid("spec.versions", json::value(list), "must have exactly one version marked as storage version");
}

void conversion(Errors& e, const json::value& conversion) {
  if (!conversion.is_object()) return;
  std::string_view strategy = text_at(conversion, "strategy");
  const std::string config = "spec.conversion.webhookClientConfig",
                    versions = "spec.conversion.conversionReviewVersions";
  if (!strategy.empty() && strategy != "None" && strategy != "Webhook")
    e.not_supported("spec.conversion.strategy", strategy, {"None", "Webhook"});
  rules::View webhook(&at(conversion, "webhook")), reviews = webhook["conversionReviewVersions"];
  if (strategy != "Webhook") {
    if (webhook.has()) e.forbidden(config, "should not be set when strategy is not set to Webhook");
    return;
  }
  if (!webhook["clientConfig"].has()) e.required(config, "required when strategy is set to Webhook");
  else rules::webhook_client_config(e, webhook["clientConfig"], config);
  if (!reviews.filled()) return e.required(versions);
  rules::review_versions(e, reviews, versions);
}

bool is_protected(std::string_view group) {
  return group == "k8s.io" || group.ends_with(".k8s.io") || group == "kubernetes.io" ||
         group.ends_with(".kubernetes.io");
}
void approval(Errors& e, const json::value& definition, const json::value* before) {
  if (!is_protected(base::string_at(definition, "spec", "group"))) return;
  auto read = [](const json::value& in) {
    return base::string_at(in, "metadata", "annotations", "api-approved.kubernetes.io");
  };
  std::string_view text = read(definition);
  if (before && read(*before) == text) return;
  std::string field = "metadata.annotations[api-approved.kubernetes.io]",
              see = "see https://github.com/kubernetes/enhancements/pull/1111";
  if (text.empty())
    e.required(field,
               "protected groups must have approval annotation \"api-approved.kubernetes.io\", " + see);
  else if (!text.starts_with("unapproved") && text.find("://") == text.npos)
    e.invalid(field, text,
              "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a "
              "URL or a reason starting with \"unapproved\", " +
                  see);
}

void updated(Errors& e, const json::value& definition, const json::value& before) {
  auto same = [&](const char* first, const char* second, const std::string& field) {
    const json::value *now = &at(at(definition, "spec"), first), *was = &at(at(before, "spec"), first);
    if (second) now = &at(*now, second), was = &at(*was, second);
    if (*now != *was) e.invalid(field, *now, "field is immutable");
  };
  bool established = false;
  for (const json::value& condition : custom::list_at(at(before, "status"), "conditions"))
    established |= text_at(condition, "type") == "Established" && text_at(condition, "status") == "True";
  if (established) same("scope", nullptr, "spec.scope"), same("names", "kind", "spec.names.kind");
  same("group", nullptr, "spec.group");
  same("names", "plural", "spec.names.plural");
  std::set<std::string_view> served;
  for (const json::value& version : custom::list_at(at(definition, "spec"), "versions"))
    served.insert(text_at(version, "name"));
  const json::array& stored = custom::list_at(at(before, "status"), "storedVersions");
  for (size_t i = 0; i < stored.size(); ++i) {
    std::string name(base::as_string(&stored[i]));
    if (!served.contains(name))
      e.invalid(rules::at("status.storedVersions", i), std::string_view(name),
                "missing from spec.versions; " + name +
                    " was previously a storage version, and must remain in spec.versions until a storage "
                    "migration ensures no data remains persisted in " +
                    name + " and removes " + name + " from status.storedVersions");
  }
}

}  // namespace

FieldErrors validate_custom_resource_definition(const json::value& definition, const json::value* before) {
  Errors e;
  const json::value& spec = at(definition, "spec");
  std::string_view group = text_at(spec, "group"), scope = text_at(spec, "scope");
  std::string name(base::string_at(spec, "names", "plural"));
  if (name + "." + std::string(group) != base::string_at(definition, "metadata", "name"))
    e.invalid("metadata.name", base::string_at(definition, "metadata", "name"),
              "must be spec.names.plural+\".\"+spec.group");
  if (!group.empty()) {
    if (auto wrong = check_dns1123_subdomain(group); !wrong.empty())
      e.invalid("spec.group", group, custom::joined(wrong));
    else if (group.find('.') == group.npos)
      e.invalid("spec.group", group, "should be a domain with at least one dot");
  }
  if (!scope.empty() && scope != "Cluster" && scope != "Namespaced")
    e.not_supported("spec.scope", scope, {"Cluster", "Namespaced"});
  versions(e, custom::list_at(spec, "versions"));
  names(e, "spec.names", at(spec, "names"));
  conversion(e, at(spec, "conversion"));
  approval(e, definition, before);
  if (custom::flag(spec, "preserveUnknownFields"))
    e.invalid("spec.preserveUnknownFields", json::value(true),
              "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
              "spec.versions[*].schema instead");
  if (before) updated(e, definition, *before);
  return std::move(e.list);
}

}  // namespace api
