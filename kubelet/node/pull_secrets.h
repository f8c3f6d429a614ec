// The credentials that a Pod's imagePullSecrets hold for an image, matched as the kubelet's keyring matches
// them: by host (with globs in its parts), port and a prefix of the path, the most specific first, several
// for one place in the order of the secrets. Pure. A password leaves this only for the pull child's stdin.
// Source: https://kubernetes.io/docs/concepts/containers/images/#config-json
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kubelet {

struct SecretRef {
  std::string ns, name, uid;
  bool operator==(const SecretRef&) const = default;
};
struct PullCredential {
  std::string username, password;
  SecretRef secret;
  std::string hash;  // SHA-256 of the login, in hex: what may be kept of it
};

class PullKeyring {
 public:
  // Data of a Secret with .dockerconfigjson (kubernetes.io/dockerconfigjson) or .dockercfg
  // (kubernetes.io/dockercfg). kInvalid: not to be read; says where, never what stands there.
  base::Status add(const SecretRef& secret, const std::string& type,
                   const std::map<std::string, std::string>& data);
  // `repository`: "docker.io/library/nginx", without tag or digest.
  std::vector<PullCredential> find(std::string_view repository) const;

 private:
  std::map<std::string, std::vector<PullCredential>, std::greater<>> by_place_;  // longer paths first
};

// "registry.example:5000/team/app" of "registry.example:5000/team/app:v1@sha256:…".
std::string repository_of(std::string_view image);

}  // namespace kubelet
