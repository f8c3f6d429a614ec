// ServiceAllocator: cluster IPs and node ports in use, and by which Services. Pure bookkeeping in
// memory; the Services in the store are the truth, and are read at start. Two addresses are given by
// name: the first of the range to default/kubernetes, that of DNS to kube-system/kube-dns (who runs
// the cluster's DNS in Pods calls its Service so). A stored Service that has one of them, or that
// shares an address with another, keeps it in its spec, and frees nothing when it goes.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/json.h"
#include "base/result.h"

namespace master {

class ServiceAllocator {
 public:
  // cidr like "10.96.0.0/16"; `dns` is the address of the cluster's DNS or "".
  ServiceAllocator(std::string_view cidr, std::string_view dns);

  // Sets spec.clusterIP(s), spec.ports[].nodePort where the Service's type wants them and they are
  // absent, and takes what is given. kInvalid names the field in `subject`, kExhausted when nothing
  // is free. `before` is the stored Service or null: what it has stays taken, and is kept when
  // `service` leaves it out.
  base::Status allocate(base::json::value& service, const base::json::value& before);
  void take(const base::json::value& service);  // a stored Service, at start
  // What `before` had and `after` has no more; null for no Service.
  void release_difference(const base::json::value& before, const base::json::value& after);
  std::string first_address() const;                    // of the Service "kubernetes"
  std::map<std::string, std::string> reserved() const;  // address -> "ns/name"

 private:
  using Owners = std::set<std::string, std::less<>>;  // "ns/name"
  std::optional<base::Ip> free_address();
  std::optional<int> free_port();
  std::string_view reserved_for(base::Ip address) const;

  base::Cidr range_;
  uint64_t size_ = 0, next_ = 0;
  int next_port_ = 30000;
  std::optional<base::Ip> dns_;
  std::map<base::Ip, Owners> addresses_;
  std::map<int, Owners> ports_;
};

}  // namespace master
