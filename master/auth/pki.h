// The cluster's certificates and keys below <data-dir>/pki, made at the first start and kept. The
// server's certificate is made anew when its names no longer fit or it nears its end.
#pragma once

#include <string>
#include <vector>

#include "base/tls.h"

namespace master {

struct Pki {
  base::tls::KeyPair ca, server, node_client, admin;
  base::tls::KeyPair front_proxy_ca, front_proxy;  // what servers behind APIServices know us by
};
base::Result<Pki> load_or_make_pki(const std::string& data_dir, const std::vector<std::string>& dns_names,
                                   const std::vector<std::string>& addresses);

}  // namespace master
