#include "master/auth.h"

namespace master {

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

}  // namespace master
