// What an administrator adds to the cluster's DNS by the ConfigMap kube-system/sampan-dns: pure. Its members,
// a line an entry, '#' begins a comment:
//   hosts:    "192.0.2.7 registry.example.com registry"        as in hosts(5); IPv4
//   forward:  "corp.example.com 192.0.2.53 192.0.2.54"         who answers for a domain; "." for all others,
//                                                              in place of the host's resolv.conf
//   rewrite:  "db.example.com db.shop.svc.cluster.local"       a name is another's (a CNAME)
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proxy/dns_zone.h"

namespace proxy::dns {

struct Settings {
  std::map<std::string, std::vector<std::string>> hosts;    // addresses by name
  std::map<std::string, std::vector<std::string>> forward;  // servers by domain; "" is "."
  std::map<std::string, std::string> rewrite;
  std::vector<std::string> errors;  // lines that say nothing are left out, and told

  // What stands here of a name in lower case; nothing: it is not named here.
  std::optional<Answer> answer(std::string_view name, uint16_t type) const;
  // The servers of the narrowest domain that holds the name; null: those of resolv.conf.
  const std::vector<std::string>* servers_of(std::string_view name) const;
};
// `own` is the cluster's DNS address: to forward there would go round for ever.
Settings read_settings(const std::map<std::string, std::string>& data, const std::string& own);

}  // namespace proxy::dns
