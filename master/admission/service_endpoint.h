// Where a Service's ready endpoints are, by the objects in the caches: for whoever in this process
// calls one (webhooks, API servers behind APIServices, services/NAME/proxy). Loop thread only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace master {

class Registry;

struct ServiceEndpoint {
  std::string address;
  int port = 0;
  std::string node, pod;  // "" when it is no Pod's
};
struct ServiceLookup {
  std::vector<ServiceEndpoint> endpoints;
  // Why there are none, as the condition of an APIService names it: "" when there are some,
  // "ServiceNotFound", "ServicePortError", "EndpointsNotFound" or "MissingEndpoints".
  std::string_view reason;
  std::string port_name;
  // In the words of kube-apiserver's service resolver.
  std::string text(std::string_view service, std::string_view port) const;
};
// One of some, each as likely as the others: no counter that is shared with something else steers a caller
// to the same one each time.
const ServiceEndpoint& any_of(const std::vector<ServiceEndpoint>& endpoints);
// `port` is the number or the name of one of the Service's ports; "": the port without a name.
ServiceLookup look_up_service(Registry& registry, const std::string& ns, const std::string& service,
                              std::string_view port);

}  // namespace master
