// NetworkPolicies and whom they concern, as plain values, and how they are read from API objects: pure.
// What is absent or of a wrong type reads as the API's default; what can't be read allows nobody.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/selector.h"
#include "base/ip.h"
#include "base/json.h"

namespace proxy {

using Labels = std::map<std::string, std::string>;

struct PortRange {
  uint8_t protocol = 0;  // IPPROTO_*
  uint16_t first = 0, last = 0;
  auto operator<=>(const PortRange&) const = default;
};
struct PortName {
  uint8_t protocol = 0;
  std::string name;
  auto operator<=>(const PortName&) const = default;
};
struct AddressSpan {
  base::Ip first, last;
  auto operator<=>(const AddressSpan&) const = default;
};
// Sorted, apart, and as few as can be.
std::vector<AddressSpan> joined(std::vector<AddressSpan> spans);
std::vector<PortRange> joined(std::vector<PortRange> ranges);

struct PodTerm {
  std::optional<std::string> ns;   // of this namespace, or else of those …
  api::Selector namespaces, pods;  // … with such labels
  std::string text() const;
};
struct PolicyRule {
  bool any_peer = false, any_port = false;
  std::vector<PodTerm> pods;
  std::vector<AddressSpan> blocks;  // joined
  std::vector<PortRange> ports;     // joined
  std::vector<PortName> names;      // of ports, sorted
};
struct NetworkPolicy {
  std::string ns, name;
  api::Selector pods;
  bool isolates_ingress = false, isolates_egress = false;
  std::vector<PolicyRule> ingress, egress;
  std::string key() const { return ns + "/" + name; }
};

struct NamedPort {
  PortName name;
  uint16_t port = 0;
  bool operator==(const NamedPort&) const = default;
};
struct PolicyPod {
  std::string ns, name, uid, node;
  std::shared_ptr<const Labels> labels;  // shared by the Pods of one template
  std::vector<base::Ip> addresses;       // IPv4
  std::vector<NamedPort> ports;
  std::string key() const { return ns + "/" + name; }
  bool operator==(const PolicyPod& other) const {
    return uid == other.uid && node == other.node && *labels == *other.labels &&
           addresses == other.addresses && ports == other.ports;
  }
};

NetworkPolicy policy_from(const base::json::value& object);
// nullopt: one of the host's network, which no policy concerns, or one that has ended.
std::optional<PolicyPod> policy_pod_from(const base::json::value& object);
Labels labels_from(const base::json::value& object);

}  // namespace proxy
