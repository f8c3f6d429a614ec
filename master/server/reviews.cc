// Reviews: questions about identities and rights that are answered and never stored.
#include <algorithm>

#include "api/status.h"
#include "base/fiber.h"
#include "base/json_lists.h"
#include "master/auth/authorizer.h"
#include "master/server/handlers.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;
using base::find;
using base::find_path;
using base::string_at;

namespace {

User read_user(const json::value& spec) {
  User user;
  user.name = string_at(spec, "user");
  user.uid = string_at(spec, "uid");
  if (const json::value* groups = find(spec, "groups"); groups && groups->is_array())
    for (const json::value& group : groups->get_array()) user.groups.emplace_back(base::as_string(&group));
  return user;
}

// Views into `spec`.
Access read_access(const json::value& spec) {
  Access access;
  if (const json::value* path = find(spec, "nonResourceAttributes"); path && path->is_object()) {
    access.is_resource = false;
    access.verb = string_at(*path, "verb");
    access.path = string_at(*path, "path");
    return access;
  }
  const json::value* attributes = find(spec, "resourceAttributes");
  if (!attributes) return access;
  access.verb = string_at(*attributes, "verb");
  access.ns = string_at(*attributes, "namespace");
  access.group = string_at(*attributes, "group");
  access.resource = string_at(*attributes, "resource");
  access.subresource = string_at(*attributes, "subresource");
  access.name = string_at(*attributes, "name");
  access.field_selector = string_at(*attributes, "fieldSelector", "rawSelector");
  return access;
}

api::FieldErrors check_spec(const json::value& spec, bool names_user) {
  api::FieldErrors errors;
  auto given = [&](const char* field) {
    const json::value* value = find(spec, field);
    return value && value->is_object();
  };
  bool resource = given("resourceAttributes"), path = given("nonResourceAttributes");
  if (resource == path)
    errors.push_back({api::FieldError::Type::invalid, "spec.resourceAttributes", "null",
                      resource
                          ? "cannot be specified in combination with nonResourceAttributes"
                          : "exactly one of nonResourceAttributes or resourceAttributes must be specified"});
  const json::value* groups = find(spec, "groups");
  bool has_groups = groups && groups->is_array() && !groups->get_array().empty();
  if (names_user && string_at(spec, "user").empty() && !has_groups)
    errors.push_back({api::FieldError::Type::invalid, "spec.user", "\"\"",
                      "at least one of user or group must be specified"});
  return errors;
}

}  // namespace

json::object user_info(const User& user) {
  json::object out{{"username", user.name}};
  if (!user.uid.empty()) out["uid"] = user.uid;
  if (!user.groups.empty()) out["groups"] = base::list_of(user.groups);
  if (!user.extra.empty()) {
    json::object extra;
    for (const auto& [key, values] : user.extra) extra[key] = base::list_of(values);
    out["extra"] = std::move(extra);
  }
  return out;
}

// SubjectAccessReview, LocalSubjectAccessReview, SelfSubjectAccessReview.
static void review_access(const ApiServer& server, const RequestPtr& request) {
  const ResourceInfo& resource = *request->resource;
  json::value review;
  if (!decode_body(*request, *resource.type, resource.kind, &review)) return;
  bool self = resource.plural == "selfsubjectaccessreviews";
  static const json::value kNoSpec = json::object();
  const json::value* given = find(review, "spec");
  const json::value& spec = given ? *given : kNoSpec;  // until `review` gets its status
  api::FieldErrors errors = check_spec(spec, !self);
  if (resource.namespaced && string_at(spec, "resourceAttributes", "namespace") != request->ns)
    errors.push_back({api::FieldError::Type::invalid, "spec.resourceAttributes.namespace",
                      base::to_json(json::value(string_at(spec, "resourceAttributes", "namespace"))),
                      "must match metadata.namespace"});
  if (!errors.empty()) return request->reply_status(api::invalid(resource.group, resource.kind, "", errors));
  std::string reason;
  bool allowed = false;
  if (self) {
    allowed = server.authorizer().allows(request->user, read_access(spec), &reason);
  } else {
    // Whoever is in one of the groups may what the group may, so many groups are asked about in parts.
    constexpr size_t kPart = 1000;
    User user;
    base::compute([&] { user = read_user(spec); });
    std::vector<std::string> groups = std::move(user.groups);
    for (size_t from = 0; !allowed && (from == 0 || from < groups.size()); from += kPart) {
      auto first = groups.begin() + static_cast<std::ptrdiff_t>(from);
      user.groups.assign(first, first + static_cast<std::ptrdiff_t>(std::min(kPart, groups.size() - from)));
      reason.clear();
      allowed = server.authorizer().allows(user, read_access(spec), &reason);
      base::give_way();
    }
  }
  json::object status{{"allowed", allowed}};
  if (!reason.empty()) status["reason"] = reason;
  review.get_object()["status"] = std::move(status);
  base::object_at(review.get_object(), "metadata");
  request->reply(201, review);
}

static void review_rules(const ApiServer& server, const RequestPtr& request) {
  const ResourceInfo& resource = *request->resource;
  json::value review;
  if (!decode_body(*request, *resource.type, resource.kind, &review)) return;
  std::string ns(string_at(review, "spec", "namespace"));
  if (ns.empty()) return request->reply_status(api::bad_request("no namespace on request"));
  json::array resources, paths;
  auto add = [&](const PolicyRule& rule) {
    json::value item = to_json(std::vector<PolicyRule>{rule})[0];
    (rule.non_resource_urls.empty() ? resources : paths).push_back(std::move(item));
  };
  if (request->user.in_group("system:masters")) {
    add({{"*"}, {"*"}, {"*"}, {}, {}});
    add({{"*"}, {}, {}, {}, {"*"}});
  }
  server.authorizer().rbac().each_rule(request->user, ns,
                                       [&](const RbacIndex::Grant&, const PolicyRule& rule) {
                                         add(rule);
                                         return true;
                                       });
  bool node = !node_of(request->user).empty();
  json::object status{
      {"resourceRules", std::move(resources)}, {"nonResourceRules", std::move(paths)}, {"incomplete", node}};
  if (node) status["evaluationError"] = "node authorizer does not support user rule resolution";
  review.get_object()["status"] = std::move(status);
  base::object_at(review.get_object(), "metadata");
  request->reply(201, review);
}

static void review_self(const ApiServer&, const RequestPtr& request) {
  const ResourceInfo& resource = *request->resource;
  json::value review;
  if (!decode_body(*request, *resource.type, resource.kind, &review)) return;
  review.get_object()["status"] = json::object{{"userInfo", user_info(request->user)}};
  base::object_at(review.get_object(), "metadata")["creationTimestamp"] = base::format_time(base::wall_now());
  request->reply(201, review);
}

void add_review_handlers(ApiServer& server) {
  auto add = [&server](std::string_view group, const char* review,
                       void (*handler)(const ApiServer&, const RequestPtr&)) {
    server.handle_with(group, review, "",
                       [&server, handler](const RequestPtr& request) { handler(server, request); });
  };
  constexpr std::string_view kAuthorization = "authorization.k8s.io";
  for (const char* review : {"subjectaccessreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews"})
    add(kAuthorization, review, review_access);
  add(kAuthorization, "selfsubjectrulesreviews", review_rules);
  add("authentication.k8s.io", "selfsubjectreviews", review_self);
}

}  // namespace master
