// What is known about registries: which addresses serve a name, over what, as whom; and the
// challenges they answer with. Pure: text in, values out.
//
// The registries file is JSON; every member is optional, unknown ones are refused:
//   {"registries": {
//     "docker.io":      {"mirrors": ["mirror.example:5000"], "mirrorsOnly": false},
//     "mirror.example:5000": {"caFile": "/etc/sampan/mirror-ca.pem", "username": "u",
//                             "passwordFile": "/etc/sampan/mirror-password"},
//     "10.0.0.1:5000":  {"plainHTTP": true},
//     "lab.example":    {"insecure": true, "username": "u", "password": "p"}}}
// Mirrors are tried in order before the registry itself; each has settings under its own name.
// A registry on localhost or 127.0.0.0/8 without an entry is spoken to over plain HTTP.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/image/reference.h"

namespace runtime {

struct RegistrySettings {
  bool plain_http = false;
  bool insecure = false;  // TLS without verification
  std::string ca_file;    // besides the system's roots
  std::string username, password;
  std::vector<std::string> mirrors;  // hosts
  bool mirrors_only = false;
};

class Registries {
 public:
  // `read_file` fetches a passwordFile. kInvalid names the member that is wrong.
  using ReadFile = std::function<base::Result<std::string>(const std::string&)>;
  static base::Result<Registries> parse(std::string_view text, const std::string& subject,
                                        const ReadFile& read_file);
  // Adds the credentials of a Docker config.json (also a Secret's .dockerconfigjson).
  base::Status add_docker_config(std::string_view text, const std::string& subject);
  RegistrySettings settings(const std::string& host) const;
  // The same, but for one registry as somebody else.
  Registries with_login(const std::string& host, const std::string& username,
                        const std::string& password) const;

  struct Endpoint {
    std::string host;  // as configured: "docker.io"
    std::string url;   // "https://registry-1.docker.io"
    RegistrySettings settings;
  };
  std::vector<Endpoint> endpoints(const ImageReference& reference) const;

 private:
  std::map<std::string, RegistrySettings> hosts_;
};

// One challenge of a WWW-Authenticate header.
struct Challenge {
  std::string scheme;                             // lower case
  std::map<std::string, std::string> parameters;  // names in lower case
};
std::vector<Challenge> parse_challenges(std::string_view header);

}  // namespace runtime
