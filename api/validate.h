// What an object must satisfy to be stored, and what is filled in before: Kubernetes' rules for
// the kinds we serve, in Kubernetes' words. Pure; knows no store, no other object.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/schema.h"

namespace api {

struct FieldError {
  enum class Type {
    required,
    invalid,
    duplicate,
    not_supported,
    forbidden,
    too_long,
    too_many,
    not_found,
    type_invalid,
    internal,
  };
  Type type = Type::invalid;
  std::string field;       // "spec.containers[0].name"
  std::string value_text;  // as printed: "\"x\"", "5"; empty: not shown
  std::string detail;

  std::string_view reason() const;  // StatusCause.reason: "FieldValueInvalid"
  std::string body() const;         // StatusCause.message: "Invalid value: \"x\": must be …"
  std::string message() const;      // "spec.foo: Invalid value: …"
};
using FieldErrors = std::vector<FieldError>;
json::array causes(const FieldErrors& errors);

// The marks of the tables: required, enum=, rule=. Objects have passed check_types().
FieldErrors validate_schema(const Type& type, const json::value& object);

// How metadata.name of a kind may look.
enum class NameRule { kDns1123Subdomain, kDns1123Label, kDns1035Label, kPathSegment };
NameRule name_rule(std::string_view gvk);
FieldErrors validate_metadata(const json::value& object, bool namespaced, NameRule rule);

// gvk: "v1/Pod", "apps/v1/Deployment". Everything (schema, metadata and the kind's own rules);
// a kind without rules of its own gets the general ones. Run after defaults().
FieldErrors validate_create(std::string_view gvk, const json::value& object, bool namespaced);
// Also what may not change. `before` and `after` are whole objects; metadata that the registry
// owns (uid, creationTimestamp, …) is already copied into `after`.
FieldErrors validate_update(std::string_view gvk, const json::value& after, const json::value& before,
                            bool namespaced);
// For the status subresource: types of the status part only.
FieldErrors validate_status_update(std::string_view gvk, const json::value& after, const json::value& before);

// By the part that is written: "" all, "status", or a Pod's "ephemeralcontainers" and "resize".
FieldErrors validate_subresource_update(std::string_view gvk, std::string_view subresource,
                                        const json::value& after, const json::value& before, bool namespaced);

// Everything that is set when absent: apply_defaults() and the kind's own defaulting. Not here:
// what needs the registry (cluster IPs, node ports, uid, service account, priority).
void defaults(std::string_view gvk, json::value& object);

// What a kind does to an object before it is stored: Secret's stringData into data, Namespace's
// finalizers and name label. For create and update.
void normalize(std::string_view gvk, json::value& object);
// status.qosClass: "Guaranteed", "Burstable" or "BestEffort".
std::string qos_class(const json::value& pod);

// Single checks; each returns the sentences that are wrong with `value`, none when it is right.
std::vector<std::string> check_dns1123_label(std::string_view value);
std::vector<std::string> check_dns1123_subdomain(std::string_view value);
std::vector<std::string> check_wildcard_subdomain(std::string_view value);  // "*.example.com"
std::vector<std::string> check_dns1035_label(std::string_view value);
std::vector<std::string> check_qualified_name(std::string_view value);  // a label's key
std::vector<std::string> check_label_value(std::string_view value);
std::vector<std::string> check_port_name(std::string_view value);
std::vector<std::string> check_path_segment(std::string_view value);

}  // namespace api
