// The admission plugins that every cluster has, in kube-apiserver's order.
#pragma once

namespace master {

class ApiServer;

// After the server's objects were loaded.
void add_admission_plugins(ApiServer& server);

}  // namespace master
