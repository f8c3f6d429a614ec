// Services and slices in one line each, for text-in, text-out tests.
#pragma once

#include <sstream>

#include "proxy/service_plan.h"

namespace proxy {

// "web 10.96.0.5 http:80/tcp:30080 udp:53/udp"; then fields are set by the test.
inline Service service(const std::string& line) {
  std::istringstream in(line);
  Service s;
  s.ns = "default";
  in >> s.name >> s.cluster_ip;
  s.type = "ClusterIP";
  for (std::string port; in >> port;) {
    ServicePort p;
    size_t colon = port.find(':'), slash = port.find('/');
    p.name = port.substr(0, colon);
    p.port = static_cast<uint16_t>(std::stoi(port.substr(colon + 1)));
    std::string rest = port.substr(slash + 1);
    p.protocol = rest.starts_with("udp") ? 17 : 6;
    if (size_t node = rest.find(':'); node != std::string::npos) {
      p.node_port = static_cast<uint16_t>(std::stoi(rest.substr(node + 1)));
      s.type = "NodePort";
    }
    s.ports.push_back(p);
  }
  return s;
}
// "web-1 web http:8080/tcp | 10.244.0.5@n1 10.244.1.6@n2,terminating 10.244.1.7@n2,unready":
// a terminating endpoint still serves; "dead" terminates and does not.
inline EndpointSlice slice(const std::string& line) {
  std::istringstream in(line);
  EndpointSlice s;
  s.ns = "default";
  in >> s.name >> s.service;
  std::string word;
  while (in >> word && word != "|") {
    size_t colon = word.find(':'), slash = word.find('/');
    s.ports.push_back({word.substr(0, colon), static_cast<uint8_t>(word.substr(slash + 1) == "udp" ? 17 : 6),
                       static_cast<uint16_t>(std::stoi(word.substr(colon + 1)))});
  }
  while (in >> word) {
    Endpoint e;
    e.addresses = {word.substr(0, word.find('@'))};
    std::string rest = word.substr(word.find('@') + 1);
    e.node = rest.substr(0, rest.find(','));
    if (rest.ends_with(",unready")) e.ready = e.serving = false;
    if (rest.ends_with(",terminating")) e.ready = false, e.terminating = true;
    if (rest.ends_with(",dead")) e.ready = e.serving = false, e.terminating = true;
    if (size_t host = rest.find(",host="); host != std::string::npos) e.hostname = rest.substr(host + 6);
    s.endpoints.push_back(e);
  }
  return s;
}
inline Node node_one() { return {"n1", {"192.0.2.11"}}; }

}  // namespace proxy
