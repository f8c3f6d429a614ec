// Who has the addresses that Services claim: pure. The proxies decide the same for their rules
// (proxy/service_plan.h); this is who says so, once for the cluster.
#pragma once

#include <map>
#include <set>
#include <string>

#include "api/cluster_addresses.h"
#include "master/controllers/services.h"

namespace master::controllers {

struct AddressEvent {
  std::string reason, message;
  auto operator<=>(const AddressEvent&) const = default;
  std::string text() const { return reason + " " + message; }
};

// Cluster IPs, node ports and external address . port . protocol of all Services, oldest first.
class AddressBook {
 public:
  // Both return the keys of the Services for which something may be different now.
  std::set<std::string> set(const ServiceClaims& service);
  std::set<std::string> remove(const std::string& key);
  const ServiceClaims* find(const std::string& key) const;
  // What `service` claims and does not have.
  std::set<AddressEvent> refused(const ServiceClaims& service, const api::ClusterAddresses& cluster) const;
  // Those that name addresses outside of the Service range.
  const std::set<std::string>& with_external() const { return with_external_; }

 private:
  struct Place {
    std::string created, uid, key;
    auto operator<=>(const Place&) const = default;
  };
  void neighbours(const std::string& claim, std::set<std::string>& concerned) const;
  std::map<std::string, std::set<Place>> claims_;  // "ip 10.96.0.5", "port 30080", "to 203.0.113.7:80/TCP"
  std::map<std::string, ServiceClaims> known_;
  std::set<std::string> with_external_;
};

}  // namespace master::controllers
