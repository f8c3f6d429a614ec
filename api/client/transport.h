// Transport over TLS to a remote API server, set up from a kubeconfig file.
#pragma once

#include <memory>
#include <string>

#include "api/client/client.h"
#include "base/tls.h"

namespace api {

// The parts of a kubeconfig's current context that we use; files it names are read in.
struct KubeConfig {
  std::string server;  // "https://192.0.2.1:6443"
  std::string ca_pem;
  base::tls::KeyPair client;  // may be empty
  std::string token;          // may be empty
  std::string ns = "default";
};
base::Result<KubeConfig> parse_kubeconfig(const std::string& text, const std::string& directory);
base::Result<KubeConfig> load_kubeconfig(const std::string& path);
std::string write_kubeconfig(const KubeConfig& config, const std::string& user);

base::Result<std::shared_ptr<Transport>> connect(base::Loop& loop, const KubeConfig& config);

}  // namespace api
