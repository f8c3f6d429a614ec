// Who asks, and may they. Clients prove who they are by a certificate of the cluster's CA: the
// common name is the user, the organizations are groups, as in Kubernetes. Pure.
#pragma once

#include "master/request.h"

namespace master {

// The user behind a connection; name "system:anonymous" when nothing was proved.
User authenticate(const base::http::Request& request);

// Fixed rules: system:masters everything; nodes and proxies what their work needs, a node only on
// itself where the object says whose it is; controllers and scheduler run as masters in process.
bool allowed(const User& user, const RequestInfo& request);
std::string forbidden_text(const User& user, const RequestInfo& request);

}  // namespace master
