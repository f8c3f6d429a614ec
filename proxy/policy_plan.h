// NetworkPolicies as a table of nftables: pure. A Pod of this node leads to a chain of its own only by the
// rules that hold for it: Pods with the same rules share a chain, rules with the same peers or ports share a
// set. So one Pod's change is a change of elements; sets and chains change when policies do, or when a Pod
// comes that other policies select than any before. An address of this node's Pods that is not known yet is
// denied everything.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/policy.h"

namespace proxy {

// In nf_conntrack's mark, on connections that were established and are not allowed any more.
constexpr uint32_t kDeniedConnection = 0x8000;

struct PolicyElement {
  std::string set;
  base::Ip ip;
  uint8_t protocol = 0;  // of the sets of named ports
  uint16_t port = 0;
  auto operator<=>(const PolicyElement&) const = default;
  std::string text() const;  // "pods_1 10.244.0.5"
};
struct PolicyAction {
  bool add = true;
  PolicyElement element;
  std::string verdict;  // of the maps: "return" or "goto in_1"
  std::string text() const;
};

struct PolicyMatch {  // a rule of a chain; "" matches everything
  std::string peers, ports, names;
  auto operator<=>(const PolicyMatch&) const = default;
};
// What is not elements. Sets and chains are numbered; who means the same gets the same number.
struct PolicyStructure {
  std::map<std::string, std::vector<PodTerm>> pods;        // pods_1
  std::map<std::string, std::vector<AddressSpan>> blocks;  // block_1
  std::map<std::string, std::vector<PortRange>> ports;     // ports_1
  std::map<std::string, std::vector<PortName>> names;      // named_1
  std::map<std::string, std::vector<PolicyMatch>> chains;  // in_1, out_1
};

struct Packet {
  base::Ip source, destination;
  uint8_t protocol = 0;
  uint16_t port = 0;  // at the destination
};

class PolicyTable {
 public:
  void set_policy(NetworkPolicy policy);
  void remove_policy(const std::string& key);
  void set_namespace(const std::string& name, std::optional<Labels> labels);
  void set_pod(const std::string& key, std::optional<PolicyPod> pod);
  void set_node(std::string name, std::optional<base::Cidr> pods);
  // Address by link (netns::host_link_name of a Pod's uid): what the Pods of this node really have.
  void set_links(std::map<std::string, base::Ip> links);
  void forget_pods();  // and namespaces

  struct Changes {
    bool structure = false;             // the table is to be loaded anew: text()
    std::vector<PolicyAction> actions;  // else these
    bool takes_away = false;            // what was allowed may not be any more
  };
  Changes converge();
  // Of the last converge(): for `nft -f -`, one transaction.
  std::string text(const std::string& table) const;
  bool allows(const Packet& packet) const;

  bool empty() const { return policies_.empty(); }
  size_t policies() const { return policies_.size(); }
  size_t elements() const { return elements_.size(); }

 private:
  struct Member {
    PolicyPod pod;
    std::vector<std::pair<PolicyElement, std::string>> has;  // elements and their verdicts
  };
  struct Held {
    std::string verdict;
    uint32_t count = 0;
    bool operator==(const Held&) const = default;
  };
  bool is_local(const PolicyPod& pod) const { return !node_.empty() && pod.node == node_; }
  std::optional<base::Ip> local_address(const PolicyPod& pod) const;
  bool matches(const PodTerm& term, const PolicyPod& pod) const;
  std::string chain_of(const PolicyPod& pod, bool ingress, PolicyStructure& into);
  std::string name_of(const char* prefix, const std::string& meaning);
  PolicyStructure compile();
  std::vector<std::pair<PolicyElement, std::string>> elements_of(const PolicyPod& pod);
  bool allows(const Packet& packet, bool ingress) const;
  bool has(const PolicyElement& element) const { return elements_.contains(element); }

  std::string node_;
  std::optional<base::Cidr> cidr_;
  std::map<std::string, NetworkPolicy> policies_;             // by key
  std::map<std::string, std::set<std::string>> policies_of_;  // by namespace
  std::map<std::string, Labels> namespaces_;
  std::map<std::string, Member> members_;  // by key
  std::set<std::shared_ptr<const Labels>,
           bool (*)(const std::shared_ptr<const Labels>&, const std::shared_ptr<const Labels>&)>
      labels_{[](const auto& a, const auto& b) { return *a < *b; }};
  std::map<std::string, base::Ip> links_;               // those whose address is theirs alone
  std::set<std::string> local_;                         // keys of the Pods of this node
  std::unordered_map<std::string, std::string> names_;  // "pods " and what is meant -> "pods_1"
  unsigned next_ = 1;
  PolicyStructure structure_;
  std::map<PolicyElement, Held> elements_;
  std::set<std::string> dirty_;  // keys of Pods
  bool dirty_all_ = true, dirty_locals_ = true, loaded_ = false;
};

}  // namespace proxy
