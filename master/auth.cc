#include "master/auth.h"

namespace master {
namespace {

constexpr std::string_view kNodePrefix = "system:node:";

bool one_of(std::string_view text, std::initializer_list<std::string_view> values) {
  for (std::string_view value : values)
    if (text == value) return true;
  return false;
}
bool reads(std::string_view verb) { return one_of(verb, {"get", "list", "watch"}); }

bool node_allowed(const User& user, const RequestInfo& request) {
  std::string_view node = std::string_view(user.name).substr(kNodePrefix.size());
  std::string_view plural = request.resource->plural, verb = request.verb;
  if (plural == "nodes") {
    if (reads(verb) || (verb == "create" && request.name.empty())) return true;
    return one_of(verb, {"update", "patch"}) && request.name == node;
  }
  if (plural == "leases") {
    if (request.ns != "kube-node-lease") return false;
    return request.name == node ||
           (request.name.empty() && one_of(verb, {"create", "get", "list", "watch"}));
  }
  if (plural == "pods") {
    if (reads(verb)) return true;
    return verb == "delete" || (request.subresource == "status" && one_of(verb, {"update", "patch"}));
  }
  if (plural == "events") return one_of(verb, {"create", "update", "patch"});
  return reads(verb) && one_of(plural, {"services", "endpoints", "endpointslices", "configmaps", "secrets",
                                        "namespaces", "serviceaccounts"});
}

bool proxy_allowed(const RequestInfo& request) {
  std::string_view plural = request.resource->plural;
  if (plural == "events") return one_of(request.verb, {"create", "update", "patch"});
  return reads(request.verb) && one_of(plural, {"services", "endpoints", "endpointslices", "nodes", "namespaces", "pods"});
}

}  // namespace

User authenticate(const base::http::Request& request) {
  User user;
  if (!request.peer.has_certificate || request.peer.common_name.empty()) {
    user.name = "system:anonymous";
    user.groups = {"system:unauthenticated"};
    return user;
  }
  user.name = request.peer.common_name;
  user.groups = request.peer.organizations;
  user.groups.push_back("system:authenticated");
  return user;
}

bool allowed(const User& user, const RequestInfo& request) {
  if (user.in_group("system:masters")) return true;
  if (!request.resource) return user.in_group("system:authenticated");  // discovery, version, OpenAPI
  if (user.in_group("system:nodes") && user.name.starts_with(kNodePrefix)) return node_allowed(user, request);
  if (user.in_group("system:node-proxier") || user.name == "system:kube-proxy") return proxy_allowed(request);
  return false;
}

std::string forbidden_text(const User& user, const RequestInfo& request) {
  std::string text = "User \"" + user.name + "\" cannot " + request.verb;
  if (!request.resource) return text + " path \"" + std::string(request.http().path()) + "\"";
  std::string resource = request.resource->plural;
  if (!request.subresource.empty()) resource += "/" + request.subresource;
  text += " resource \"" + resource + "\" in API group \"" + request.resource->group + "\"";
  if (request.resource->namespaced && !request.ns.empty()) return text + " in the namespace \"" + request.ns + "\"";
  return text + " at the cluster scope";
}

}  // namespace master
