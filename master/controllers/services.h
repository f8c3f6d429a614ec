// What controllers keep of Services and of the objects that say where they go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

struct ServicePort {
  std::string name, protocol, app_protocol, target_name;  // target_name: a named targetPort
  int port = 0, target = 0;
};

// What a Service of type LoadBalancer asks for, and what its status says that it has.
struct Balancer {
  bool served =
      false;  // ours to serve: without a class or with one of sampan.io, and no address of another's
  std::vector<std::string> requested;  // addresses as they were written
  std::string pool, share;             // annotations address-pool and allow-shared-ip
  std::string backend;  // who share an address go to the same Pods: "" where any node is as good
  bool local = false;   // externalTrafficPolicy
  std::vector<std::string> ingress;
  bool vip = false;  // all of ipMode VIP
  json::array conditions;
  std::string condition_reason, condition_message;  // of ours; "": there is none
};

// The addresses and ports that a Service claims of the cluster and of the world outside.
struct ServiceClaims {
  struct Port {
    std::string protocol;
    int port = 0, node_port = 0;
    bool operator==(const Port&) const = default;
  };
  std::string ns, name, uid, created;  // creationTimestamp as it stands: they sort by time
  std::string cluster_ip;              // "": headless, or no proxy's
  std::vector<std::string> external_ips, ingress_ips;
  std::vector<Port> ports;
  std::string key() const { return ns + "/" + name; }
  bool operator==(const ServiceClaims&) const = default;
};
ServiceClaims read_claims(const json::value& service);

struct Service {
  Meta meta;
  Labels labels;
  Selector selector;
  bool external_name = false, headless = false, publish_not_ready = false;
  std::vector<std::string> families;  // IPv4, IPv6
  std::string distribution;           // spec.trafficDistribution: "PreferSameNode"…
  std::vector<ServicePort> ports;
  std::shared_ptr<const Balancer> balancer;  // null: no load balancer, and was none of ours
  ServiceClaims claims;

  static Store<Service>::Reader reader(const api::Resource& resource);
};

// Whole: an Endpoints or EndpointSlice that we write ourselves.
struct Whole {
  Meta meta;
  Labels labels;
  json::value object;

  static Store<Whole>::Reader reader(const api::Resource& resource);
  // Of a slice: its Service.
  static std::vector<std::string> terms(const Whole& object);
};

}  // namespace master::controllers
