// Authorizer: may this user do that? system:masters may everything; a node what NodeAuthorizer
// says; everybody what RBAC grants. Parses nothing per request. Loop thread only.
#pragma once

#include <memory>
#include <string>

#include "master/auth/node_authorizer.h"
#include "master/auth/rbac_index.h"

namespace master {

// What a request asks for. Views into the request.
Access access_of(const RequestInfo& request);

class Authorizer {
 public:
  // Follows the caches of the RBAC kinds and of Pods. They must outlive it.
  explicit Authorizer(const ResourceTable& resources);
  // *reason: what allows it, or why not; may be empty either way.
  bool allows(const User& user, const Access& access, std::string* reason = nullptr) const;
  const RbacIndex& rbac() const { return rbac_; }

 private:
  RbacIndex rbac_;
  NodeAuthorizer nodes_;
};

// UserInfo of group authentication.
base::json::object user_info(const User& user);

// User "x" cannot list resource "pods" in API group "" in the namespace "y"
std::string forbidden_text(const User& user, const Access& access);
// The Status that refuses, with the reason behind the text.
base::json::value forbidden(const User& user, const Access& access, std::string_view reason);

// Replaces request.user as the Impersonate- headers ask, checked by the verb "impersonate".
// Null, or the Status that refuses.
base::json::value impersonate(const Authorizer& authorizer, RequestInfo& request);

}  // namespace master
