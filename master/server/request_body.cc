// What a request brings: its body decoded, and the options of a write.
#include "api/protobuf.h"
#include "api/status.h"
#include "api/structural.h"
#include "api/validate/validate.h"
#include "api/walk.h"
#include "api/yaml.h"
#include "base/fiber.h"
#include "master/server/handlers.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

std::string_view media_type(const RequestInfo& request) {
  std::string_view type = request.http().headers.get("Content-Type");
  return type.substr(0, type.find(';'));
}

// CreateOptions, UpdateOptions or PatchOptions: the query of a write.
json::value check_write_options(const RequestInfo& request) {
  using Type = api::FieldError::Type;
  api::FieldErrors errors;
  if (std::string_view dry = request.param("dryRun"); !dry.empty() && dry != "All")
    errors.push_back(
        {Type::not_supported, "dryRun", "[\"" + std::string(dry) + "\"]", "supported values: \"All\""});
  if (std::string_view mode = request.param("fieldValidation");
      !mode.empty() && mode != "Strict" && mode != "Warn" && mode != "Ignore")
    errors.push_back({Type::not_supported, "fieldValidation", "\"" + std::string(mode) + "\"",
                      "supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""});
  std::string_view manager = request.param("fieldManager");
  if (manager.size() > kMaxManagerName)
    errors.push_back({Type::too_long, "fieldManager", "",
                      "may not be more than " + std::to_string(kMaxManagerName) + " bytes"});
  if (std::any_of(manager.begin(), manager.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    errors.push_back({Type::invalid, "fieldManager", "\"" + std::string(manager) + "\"",
                      "should only contain printable characters"});
  bool applies = request.http().headers.get("Content-Type").starts_with("application/apply-patch+");
  if (applies && manager.empty())
    errors.push_back({Type::required, "fieldManager", "", "is required for apply patch"});
  if (!applies && !request.param("force").empty())
    errors.push_back({Type::forbidden, "force", "", "may not be specified for non-apply patch"});
  const char* kind = request.verb == "create"   ? "CreateOptions"
                     : request.verb == "update" ? "UpdateOptions"
                                                : "PatchOptions";
  return errors.empty() ? json::value(nullptr) : api::invalid("meta.k8s.io", kind, "", errors);
}

namespace {
// One object written as YAML (of which JSON is a part).
base::Result<json::value> one_from_yaml(std::string_view text, std::vector<std::string>* duplicates) {
  std::vector<json::value> documents = TRY(api::parse_yaml(text, duplicates));
  if (documents.size() != 1)
    return base::make_error(base::Kind::kInvalid, "parse YAML", "",
                            "expected one document, found " + std::to_string(documents.size()));
  return std::move(documents[0]);
}

}  // namespace

std::string check_fields(RequestInfo& request, const api::Type& type, json::value& object,
                         const std::vector<std::string>& duplicates) {
  if (auto status = api::check_types(type, object); !status.ok()) return status.error().message();
  std::vector<std::string> unknown;
  api::prune(type, object, &unknown);
  std::string_view mode = request.param("fieldValidation");
  if (mode == "Ignore") return {};
  if (mode == "Strict" && (!unknown.empty() || !duplicates.empty()))
    return api::strict_decoding_text(unknown, duplicates);
  for (const std::string& field : unknown) request.warnings.push_back("unknown field \"" + field + "\"");
  for (const std::string& field : duplicates) request.warnings.push_back("duplicate field \"" + field + "\"");
  return {};
}

bool decode_body(RequestInfo& request, const api::Type& type, std::string_view kind, json::value* out) {
  const ResourceInfo& resource = *request.resource;
  if (json::value refusal = check_write_options(request); !refusal.is_null()) {
    request.reply_status(refusal);
    return false;
  }
  std::string_view media = media_type(request);
  bool is_protobuf = media == api::kProtobufMediaType && !type.custom, is_yaml = media == "application/yaml";
  if (!media.empty() && media != "application/json" && !is_protobuf && !is_yaml) {
    request.reply_status(api::unsupported_media_type(
        type.custom ? "application/json, application/yaml"
                    : "application/json, application/yaml, application/vnd.kubernetes.protobuf"));
    return false;
  }
  std::string_view mode = request.param("fieldValidation");
  std::vector<std::string> duplicates;
  base::Result<json::value> parsed = json::value();
  base::compute([&] {
    std::string_view body = request.http().body;
    parsed = is_protobuf ? api::protobuf_to_json(type, body)
             : is_yaml   ? one_from_yaml(body, &duplicates)
                         : base::parse_json(body, mode == "Ignore" ? nullptr : &duplicates);
  });
  if (!parsed.ok() || !parsed->is_object()) {
    request.reply_status(
        api::cannot_decode(resource.group_version(), kind,
                           parsed.ok() ? "the body is not a JSON object" : parsed.error().message()));
    return false;
  }
  json::object& object = parsed->get_object();
  std::string_view sent_kind = base::string_at(*parsed, "kind"),
                   sent_version = base::string_at(*parsed, "apiVersion");
  // A subresource's body may be of another group: a Scale, a TokenRequest.
  std::string expected_version(resource.group_version());
  if (!request.subresource.empty())
    for (const Subresource& sub : subresources_of(resource))
      if (sub.name == request.subresource && sub.kind == kind)
        expected_version = (sub.group.empty() ? "" : std::string(sub.group) + "/") + std::string(sub.version);
  // Evictions of both versions are taken (kube-apiserver too, though it serves nothing else of v1beta1).
  if (kind == "Eviction" && sent_version == "policy/v1beta1") sent_version = expected_version;
  if ((!sent_kind.empty() && sent_kind != kind) ||
      (!sent_version.empty() && sent_version != expected_version)) {
    request.reply_status(api::bad_request(
        std::string(sent_kind) + " in version \"" + std::string(sent_version) + "\" cannot be handled as a " +
        std::string(kind) + ": the request is for " + expected_version + " " + std::string(kind)));
    return false;
  }
  object["kind"] = kind;
  object["apiVersion"] = expected_version;
  std::string why;
  base::compute([&] { why = check_fields(request, type, *parsed, duplicates); });
  if (!why.empty()) {
    request.reply_status(api::cannot_decode(expected_version, kind, why));
    return false;
  }
  *out = std::move(*parsed);
  return true;
}

}  // namespace master
