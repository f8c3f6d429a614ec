// Who asks: clients prove who they are by a certificate of the cluster's CA: the common name is the
// user, the organizations are groups, as in Kubernetes. Pure.
#pragma once

#include "master/request.h"

namespace master {

// The user behind a connection; name "system:anonymous" when nothing was proved.
User authenticate(const base::http::Request& request);

}  // namespace master
