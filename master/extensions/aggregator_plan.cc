#include "master/extensions/aggregator_plan.h"

#include <map>

#include "base/base64.h"
#include "base/json_lists.h"

namespace master {

namespace json = base::json;
using base::list_at;

namespace {

constexpr std::string_view kAvailable = "Available";

void copy_if(const json::value& from, const char* name, json::object& to, const char* as) {
  if (const json::value* value = base::find(from, name)) to[as] = *value;
}
json::object kind_of(const RemoteService& remote, const json::value& row) {
  std::string_view group = base::string_at(row, "group"), version = base::string_at(row, "version");
  return {{"group", version.empty() ? std::string_view(remote.group) : group},
          {"version", version.empty() ? std::string_view(remote.version) : version},
          {"kind", base::string_at(row, "kind")}};
}

}  // namespace

std::optional<RemoteService> read_remote(const json::value& api_service) {
  const json::value* spec = base::find(api_service, "spec");
  const json::value* service = spec ? base::find(*spec, "service") : nullptr;
  if (!service || !service->is_object()) return std::nullopt;
  RemoteService out;
  out.group = base::string_at(*spec, "group");
  out.version = base::string_at(*spec, "version");
  out.ns = base::string_at(*service, "namespace");
  out.service = base::string_at(*service, "name");
  out.port = static_cast<int>(base::as_int(base::find(*service, "port"), 443));
  out.insecure = base::as_bool(base::find(*spec, "insecureSkipTLSVerify"));
  out.group_priority = base::as_int(base::find(*spec, "groupPriorityMinimum"));
  out.version_priority = base::as_int(base::find(*spec, "versionPriority"));
  if (auto ca = base::base64_decode(base::string_at(*spec, "caBundle"))) out.ca_pem = std::move(*ca);
  return out;
}

bool is_available(const json::value& api_service) {
  const json::value* status = base::find(api_service, "status");
  if (!status) return false;
  for (const json::value& one : list_at(*status, "conditions"))
    if (base::string_at(one, "type") == kAvailable) return base::string_at(one, "status") == "True";
  return false;
}

std::optional<Availability> unreachable(const RemoteService& remote, const ServiceLookup& found) {
  std::string where = "service/" + remote.service + " in \"" + remote.ns + "\"";
  auto because = [&](std::string message) {
    return Availability{false, std::string(found.reason), std::move(message)};
  };
  if (found.reason == "ServiceNotFound") return because(where + " is not present");
  if (found.reason == "ServicePortError")
    return because(where + " is not listening on port " + std::to_string(remote.port));
  if (found.reason == "EndpointsNotFound") return because("cannot find endpointslices for " + where);
  if (found.reason == "MissingEndpoints")
    return because("endpointslices for " + where + " have no addresses with port name \"" + found.port_name +
                   "\"");
  return std::nullopt;
}

json::value with_availability(const json::value& api_service, const Availability& now_is, base::Time now) {
  json::object fresh{{"type", kAvailable},
                     {"status", now_is.available ? "True" : "False"},
                     {"reason", now_is.reason},
                     {"message", now_is.message},
                     {"lastTransitionTime", base::format_time(now)}};
  json::value out = api_service;
  json::value& list = base::object_at(out.get_object(), "status")["conditions"];
  if (!list.is_array()) list = json::array();
  for (json::value& one : list.get_array()) {
    if (base::string_at(one, "type") != kAvailable) continue;
    if (base::string_at(one, "status") == base::as_string(&fresh["status"]))
      copy_if(one, "lastTransitionTime", fresh, "lastTransitionTime");
    if (one == json::value(fresh)) return nullptr;
    one = std::move(fresh);
    return out;
  }
  list.get_array().push_back(std::move(fresh));
  return out;
}

void name_user(base::http::Headers& headers, const User& user, std::string_view client_address) {
  std::string passed_by;
  std::erase_if(headers.list, [&](const auto& header) {
    if (base::http::starts_with_nocase(header.first, "X-Forwarded-For")) {
      passed_by.append(passed_by.empty() ? "" : ", ").append(header.second);
      return true;
    }
    return base::http::starts_with_nocase(header.first, "X-Remote-") ||
           base::http::starts_with_nocase(header.first, "Impersonate-") ||
           base::http::starts_with_nocase(header.first, "Authorization");
  });
  if (size_t colon = client_address.rfind(':'); colon != client_address.npos)
    client_address = client_address.substr(0, colon);
  if (!client_address.empty()) passed_by.append(passed_by.empty() ? "" : ", ").append(client_address);
  if (!passed_by.empty()) headers.add("X-Forwarded-For", std::move(passed_by));
  headers.add("X-Remote-User", user.name);
  if (!user.uid.empty()) headers.add("X-Remote-Uid", user.uid);
  for (const std::string& group : user.groups) headers.add("X-Remote-Group", group);
  for (const auto& [key, values] : user.extra)
    for (const std::string& value : values) headers.add("X-Remote-Extra-" + base::http::escape(key), value);
}

json::array aggregated_resources(const RemoteService& remote, const json::value& resource_list) {
  json::array out;
  std::map<std::string, size_t, std::less<>> by_name;
  for (const json::value& row : list_at(resource_list, "resources")) {
    std::string_view name = base::string_at(row, "name");
    size_t slash = name.find('/');
    std::string parent(name.substr(0, slash));
    auto [known, is_new] = by_name.try_emplace(parent, out.size());
    if (is_new)  // also for a subresource without its resource, as "pods/exec" alone
      out.push_back(
          json::object{{"resource", parent},
                       {"scope", base::as_bool(base::find(row, "namespaced")) ? "Namespaced" : "Cluster"},
                       {"singularResource", ""},
                       {"verbs", json::array()}});
    json::object& resource = out[known->second].get_object();
    if (slash != name.npos) {
      json::value& subs = resource["subresources"];
      if (!subs.is_array()) subs = json::array();
      json::object sub{{"subresource", name.substr(slash + 1)}, {"responseKind", kind_of(remote, row)}};
      copy_if(row, "verbs", sub, "verbs");
      subs.get_array().push_back(std::move(sub));
      continue;
    }
    resource["responseKind"] = kind_of(remote, row);
    copy_if(row, "verbs", resource, "verbs");
    copy_if(row, "singularName", resource, "singularResource");
    copy_if(row, "shortNames", resource, "shortNames");
    copy_if(row, "categories", resource, "categories");
  }
  return out;
}

void merge_openapi_v2(const RemoteService& remote, const json::value& from, json::value& into) {
  std::string group = "/apis/" + remote.group + "/", prefix = group + remote.version + "/";
  auto merge = [&](const char* part, auto wanted) {
    const json::value* in = base::find(from, part);
    if (!in || !in->is_object()) return;
    json::object& out = base::object_at(into.get_object(), part);
    for (const auto& item : in->get_object())
      if (wanted(std::string_view(item.key().data(), item.key().size())) && !out.contains(item.key()))
        out[item.key()] = item.value();
  };
  merge("paths", [&](std::string_view path) { return path == group || path.starts_with(prefix); });
  merge("definitions", [](std::string_view) { return true; });
}

json::object authentication_config_map(const std::string& client_ca_pem,
                                       const std::string& front_proxy_ca_pem) {
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata",
           json::object{{"name", "extension-apiserver-authentication"}, {"namespace", "kube-system"}}},
          {"data", json::object{{"client-ca-file", client_ca_pem},
                                {"requestheader-allowed-names", R"(["front-proxy-client"])"},
                                {"requestheader-client-ca-file", front_proxy_ca_pem},
                                {"requestheader-extra-headers-prefix", R"(["X-Remote-Extra-"])"},
                                {"requestheader-group-headers", R"(["X-Remote-Group"])"},
                                {"requestheader-uid-headers", R"(["X-Remote-Uid"])"},
                                {"requestheader-username-headers", R"(["X-Remote-User"])"}}}};
}

}  // namespace master
