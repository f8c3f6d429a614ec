// The default roles and bindings of 1.36 as text; rbac_defaults.cc reads it. A table of lines:
// role [NAMESPACE/]NAME, then its lines:
//   label KEY, aggregate LABEL
//   VERBS GROUPS RESOURCES [NAMES]   VERBS url PATHS
// bind [NAMESPACE/]NAME ROLE KIND=SUBJECT…
// Comma lists; read, write, all and events stand for what is usual; "core" is the group "".
#pragma once

#include <string_view>

namespace master {

// What a binding names comes before it, in this order.
extern const std::string_view
    kControllerRoles;                         // system:controller:*; each is bound to the account of its name
extern const std::string_view kDefaultRoles;  // everybody else's, and the bindings

}  // namespace master
