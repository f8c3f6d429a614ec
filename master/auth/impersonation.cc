// Impersonation: kubectl --as and --as-group. Every part of the identity is allowed by itself.
// Source: kubernetes.io, "User impersonation".
#include <algorithm>

#include "api/status.h"
#include "base/http/http.h"
#include "master/auth/authorizer.h"

namespace master {

namespace json = base::json;

namespace {

constexpr std::string_view kImpersonate = "Impersonate-", kAccount = "system:serviceaccount:";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

struct Wanted {
  bool any = false;
  User user;
};
Wanted read_headers(const base::http::Headers& headers) {
  Wanted out;
  for (const auto& [name, value] : headers.list) {
    if (!base::http::starts_with_nocase(name, kImpersonate)) continue;
    std::string what = lower(std::string_view(name).substr(kImpersonate.size()));
    out.any = true;
    if (what == "user") out.user.name = value;
    else if (what == "group") out.user.groups.push_back(value);
    else if (what == "uid") out.user.uid = value;
    else if (what.starts_with("extra-"))
      if (auto key = base::http::unescape(std::string_view(what).substr(6)); key.ok())
        out.user.extra[lower(*key)].push_back(value);
  }
  return out;
}

// "system:serviceaccount:NS:NAME" in its two parts.
bool split_account(std::string_view user, std::string_view* ns, std::string_view* name) {
  if (!user.starts_with(kAccount)) return false;
  user.remove_prefix(kAccount.size());
  size_t colon = user.find(':');
  if (colon == user.npos || colon == 0 || colon + 1 == user.size() || user.find(':', colon + 1) != user.npos)
    return false;
  *ns = user.substr(0, colon);
  *name = user.substr(colon + 1);
  return true;
}

}  // namespace

json::value impersonate(const Authorizer& authorizer, RequestInfo& request) {
  Wanted wanted = read_headers(request.http().headers);
  if (!wanted.any) return nullptr;
  User& user = wanted.user;
  if (user.name.empty())
    return api::internal_error("requested groups, uid or extra without impersonating a user");
  json::value refusal;
  auto check = [&](std::string_view group, std::string_view resource, std::string_view subresource,
                   std::string_view ns, std::string_view name) {
    Access access{true, "impersonate", ns, group, resource, subresource, name, {}, {}};
    std::string reason;
    if (!refusal.is_null() || authorizer.allows(request.user, access, &reason)) return;
    refusal = forbidden(request.user, access, reason);
  };
  std::string_view ns, name;
  bool account = split_account(user.name, &ns, &name);
  if (account) check("", "serviceaccounts", "", ns, name);
  else check("", "users", "", "", user.name);
  for (const std::string& group : user.groups) check("", "groups", "", "", group);
  constexpr std::string_view kGroup = "authentication.k8s.io";
  for (const auto& [key, values] : user.extra)
    for (const std::string& value : values) check(kGroup, "userextras", key, "", value);
  if (!user.uid.empty()) check(kGroup, "uids", "", "", user.uid);
  if (!refusal.is_null()) return refusal;

  if (account && user.groups.empty())
    user.groups = {"system:serviceaccounts", "system:serviceaccounts:" + std::string(ns)};
  bool anonymous = user.name == "system:anonymous";
  const char* own = anonymous ? "system:unauthenticated" : "system:authenticated";
  if (!user.in_group("system:authenticated") && !user.in_group("system:unauthenticated"))
    user.groups.emplace_back(own);
  request.impersonator = std::make_shared<const User>(std::move(request.user));
  request.user = std::move(user);
  return nullptr;
}

}  // namespace master
