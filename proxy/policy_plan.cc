// See policy_plan.h.
#include "proxy/policy_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "netns/netns.h"
#include "proxy/table.h"

namespace proxy {
namespace {

constexpr const char *kIngress = "ingress", *kEgress = "egress", *kSelf = "self";

template <typename Map>
bool has_keys(const Map& all, const Map& some) {
  return std::all_of(some.begin(), some.end(), [&](const auto& one) { return all.contains(one.first); });
}
bool covers(const PolicyStructure& all, const PolicyStructure& some) {
  return has_keys(all.pods, some.pods) && has_keys(all.blocks, some.blocks) &&
         has_keys(all.ports, some.ports) && has_keys(all.names, some.names) &&
         has_keys(all.chains, some.chains);
}

// "10.0.0.0-10.255.255.255, 192.0.2.1"
std::string list_of(const std::vector<AddressSpan>& spans) {
  std::string out;
  for (const AddressSpan& span : spans) {
    out += (out.empty() ? "" : ", ") + span.first.text();
    if (span.last != span.first) out += "-" + span.last.text();
  }
  return out;
}
std::string list_of(const std::vector<PortRange>& ranges) {
  std::string out;
  for (const PortRange& range : ranges) {
    out += fmt::format("{}{} . {}", out.empty() ? "" : ", ", range.protocol, range.first);
    if (range.last != range.first) out += fmt::format("-{}", range.last);
  }
  return out;
}

}  // namespace

std::string PolicyElement::text() const {
  std::string out = set + " " + ip.text();
  if (set == kSelf) out += " . " + ip.text();
  if (protocol) out += " . " + protocol_name(protocol) + " . " + std::to_string(port);
  return out;
}
std::string PolicyAction::text() const {
  return (add ? "add " : "delete ") + element.text() + (add && !verdict.empty() ? " : " + verdict : "");
}

void PolicyTable::set_policy(NetworkPolicy policy) {
  std::string key = policy.key();
  policies_of_[policy.ns].insert(key);
  policies_[std::move(key)] = std::move(policy);
  dirty_locals_ = true;
}
void PolicyTable::remove_policy(const std::string& key) {
  auto found = policies_.find(key);
  if (found == policies_.end()) return;
  auto of = policies_of_.find(found->second.ns);
  of->second.erase(key);
  if (of->second.empty()) policies_of_.erase(of);
  policies_.erase(found);
  dirty_locals_ = true;
}
void PolicyTable::set_namespace(const std::string& name, std::optional<Labels> labels) {
  auto found = namespaces_.find(name);
  if (labels ? found != namespaces_.end() && found->second == *labels : found == namespaces_.end()) return;
  if (labels) namespaces_[name] = *std::move(labels);
  else namespaces_.erase(found);
  for (auto it = members_.lower_bound(name + "/"); it != members_.end() && it->second.pod.ns == name; ++it)
    dirty_.insert(it->first);
}
void PolicyTable::set_pod(const std::string& key, std::optional<PolicyPod> pod) {
  auto found = members_.find(key);
  if (!pod && found == members_.end()) return;
  if (pod && !is_local(*pod)) pod->uid.clear();  // told apart by nothing but what counts
  if (pod && found != members_.end() && found->second.pod == *pod) return;
  auto release = [this](std::shared_ptr<const Labels>& labels) {
    if (labels.use_count() == 2) labels_.erase(labels);
    labels.reset();
  };
  const bool was_local = local_.erase(key) > 0;
  if (pod) {
    pod->labels = *labels_.insert(std::move(pod->labels)).first;
    if (is_local(*pod)) local_.insert(key);
    Member& member = found == members_.end() ? members_[key] : found->second;
    if (member.pod.labels) release(member.pod.labels);
    member.pod = *std::move(pod);
  } else {
    // Its elements go in the next round.
    release(found->second.pod.labels);
    found->second.pod = {};
  }
  dirty_locals_ |= was_local || local_.contains(key);
  dirty_.insert(key);
}
void PolicyTable::set_node(std::string name, std::optional<base::Cidr> pods) {
  if (pods == cidr_ && name == node_) return;
  if (name != node_) {
    local_.clear();
    for (const auto& [key, member] : members_)
      if (member.pod.labels && !name.empty() && member.pod.node == name) local_.insert(key);
  }
  node_ = std::move(name);
  cidr_ = pods ? std::optional(pods->canonical()) : std::nullopt;
  loaded_ = false;
  dirty_locals_ = true;
}
void PolicyTable::set_links(std::map<std::string, base::Ip> links) {
  // An address on two links is one of a Pod that is not known: nobody's.
  std::map<base::Ip, int> users;
  for (const auto& [link, ip] : links) ++users[ip];
  std::erase_if(links, [&](const auto& one) { return users[one.second] > 1; });
  if (links == links_) return;
  links_ = std::move(links);
  for (const std::string& key : local_) dirty_.insert(key);
}
void PolicyTable::forget_pods() {
  members_.clear();
  local_.clear();
  labels_.clear();
  namespaces_.clear();
  links_.clear();
  elements_.clear();
  structure_ = {};
  names_.clear();
  dirty_.clear();
  dirty_all_ = dirty_locals_ = true;
  loaded_ = false;
}

std::optional<base::Ip> PolicyTable::local_address(const PolicyPod& pod) const {
  auto found = links_.find(netns::host_link_name(pod.uid));
  if (found == links_.end()) return std::nullopt;
  return found->second;
}
bool PolicyTable::matches(const PodTerm& term, const PolicyPod& pod) const {
  static const Labels kNone;
  if (term.ns) {
    if (*term.ns != pod.ns) return false;
  } else {
    auto found = namespaces_.find(pod.ns);
    if (!term.namespaces.matches(found == namespaces_.end() ? kNone : found->second)) return false;
  }
  return term.pods.matches(*pod.labels);
}

// The same number for the same meaning, as long as that is in the table.
std::string PolicyTable::name_of(const char* prefix, const std::string& meaning) {
  auto [at, added] = names_.try_emplace(std::string(prefix) + " " + meaning);
  if (added) at->second = fmt::format("{}_{}", prefix, next_++);
  return at->second;
}

// The chain for the Pod's traffic in one direction, put into the structure with all that it needs; "" where
// no policy isolates it.
std::string PolicyTable::chain_of(const PolicyPod& pod, bool ingress, PolicyStructure& into) {
  auto of = policies_of_.find(pod.ns);
  if (of == policies_of_.end()) return {};
  bool isolated = false;
  std::set<PolicyMatch> matches;
  for (const std::string& key : of->second) {
    const NetworkPolicy& policy = policies_.at(key);
    if (!(ingress ? policy.isolates_ingress : policy.isolates_egress) || !policy.pods.matches(*pod.labels))
      continue;
    isolated = true;
    for (const PolicyRule& rule : ingress ? policy.ingress : policy.egress) {
      std::vector<std::string> peers;
      if (rule.any_peer) peers.emplace_back();
      if (!rule.pods.empty()) {
        std::string meaning;
        for (const PodTerm& term : rule.pods) meaning += term.text() + "\n";
        into.pods[peers.emplace_back(name_of("pods", meaning))] = rule.pods;
      }
      if (!rule.blocks.empty())
        into.blocks[peers.emplace_back(name_of("block", list_of(rule.blocks)))] = rule.blocks;
      std::string ports, names;
      if (!rule.ports.empty()) into.ports[ports = name_of("ports", list_of(rule.ports))] = rule.ports;
      if (!rule.names.empty()) {
        std::string meaning;
        for (const PortName& name : rule.names) meaning += fmt::format("{} {}\n", name.protocol, name.name);
        into.names[names = name_of("named", meaning)] = rule.names;
      }
      for (const std::string& peer : peers) {
        if (rule.any_port) matches.insert({peer, "", ""});
        if (!ports.empty()) matches.insert({peer, ports, ""});
        if (!names.empty()) matches.insert({peer, "", names});
      }
    }
  }
  if (!isolated) return {};
  std::string meaning;
  for (const PolicyMatch& match : matches)
    meaning += fmt::format("{},{},{}\n", match.peers, match.ports, match.names);
  std::string name = name_of(ingress ? "in" : "out", meaning);
  into.chains[name] = {matches.begin(), matches.end()};
  return name;
}

PolicyStructure PolicyTable::compile() {
  PolicyStructure out;
  for (const std::string& key : local_) {
    const PolicyPod& pod = members_.at(key).pod;
    for (bool ingress : {false, true}) (void)chain_of(pod, ingress, out);
  }
  return out;
}

std::vector<std::pair<PolicyElement, std::string>> PolicyTable::elements_of(const PolicyPod& pod) {
  std::vector<std::pair<PolicyElement, std::string>> out;
  if (!pod.labels) return out;
  std::vector<base::Ip> addresses = pod.addresses;
  if (is_local(pod)) {
    // What its link says, and nothing but that.
    auto ip = local_address(pod);
    if (!ip) return out;
    addresses = {*ip};
    PolicyStructure scratch;
    const std::string in = chain_of(pod, true, scratch), from = chain_of(pod, false, scratch);
    auto verdict = [](const std::string& chain) { return chain.empty() ? "return" : "goto " + chain; };
    out.push_back({{kEgress, *ip}, verdict(from)});
    out.push_back({{kIngress, *ip}, verdict(in)});
    if (!in.empty() || !from.empty()) out.push_back({{kSelf, *ip}, ""});
  }
  for (base::Ip ip : addresses) {
    for (const auto& [set, terms] : structure_.pods)
      if (std::any_of(terms.begin(), terms.end(), [&](const PodTerm& term) { return matches(term, pod); }))
        out.push_back({{set, ip}, ""});
    for (const auto& [set, names] : structure_.names)
      for (const NamedPort& port : pod.ports)
        if (std::binary_search(names.begin(), names.end(), port.name))
          out.push_back({{set, ip, port.name.protocol, port.port}, ""});
  }
  return out;
}

PolicyTable::Changes PolicyTable::converge() {
  Changes out;
  if (dirty_locals_) {
    PolicyStructure wanted = compile();
    if (!loaded_ || !covers(structure_, wanted)) {
      structure_ = std::move(wanted);
      std::erase_if(names_, [&](const auto& name) {
        const std::string& used = name.second;
        return !structure_.pods.contains(used) && !structure_.blocks.contains(used) &&
               !structure_.ports.contains(used) && !structure_.names.contains(used) &&
               !structure_.chains.contains(used);
      });
      out.structure = loaded_ = true;
      dirty_all_ = true;
    }
    dirty_.insert(local_.begin(), local_.end());
  }
  if (dirty_all_) {
    elements_.clear();
    for (auto& [key, member] : members_) {
      member.has.clear();
      dirty_.insert(key);
    }
  }
  std::map<PolicyElement, std::optional<Held>> before;
  auto change = [&](const PolicyElement& element) -> Held& {
    auto found = elements_.find(element);
    if (!out.structure)
      before.try_emplace(element, found == elements_.end() ? std::nullopt : std::optional(found->second));
    return found == elements_.end() ? elements_[element] : found->second;
  };
  // What goes before what comes, so that an address that went from one Pod to another is the other's.
  for (const std::string& key : dirty_) {
    auto found = members_.find(key);
    if (found == members_.end()) continue;
    for (const auto& [element, verdict] : found->second.has)
      if (--change(element).count == 0) elements_.erase(element);
    found->second.has.clear();
  }
  for (const std::string& key : dirty_) {
    auto found = members_.find(key);
    if (found == members_.end()) continue;
    if (!found->second.pod.labels) {
      members_.erase(found);
      continue;
    }
    found->second.has = elements_of(found->second.pod);
    for (const auto& [element, verdict] : found->second.has) {
      Held& held = change(element);
      ++held.count;
      held.verdict = verdict;
    }
  }
  dirty_.clear();
  dirty_all_ = dirty_locals_ = false;
  std::vector<PolicyAction> added;
  for (const auto& [element, was] : before) {
    auto now = elements_.find(element);
    const bool is = now != elements_.end();
    if (is && was && now->second.verdict == was->verdict) continue;
    if (was) out.actions.push_back({false, element, {}});
    if (is) added.push_back({true, element, now->second.verdict});
  }
  out.takes_away = out.structure || !out.actions.empty();
  out.actions.insert(out.actions.end(), added.begin(), added.end());
  return out;
}

std::string PolicyTable::text(const std::string& table) const {
  std::map<std::string, std::string> lists;  // elements by set
  for (const auto& [element, held] : elements_) {
    std::string& list = lists[element.set];
    list += (list.empty() ? "" : ", ") + element.text().substr(element.set.size() + 1);
    if (!held.verdict.empty()) list += " : " + held.verdict;
  }
  auto elements = [&](const std::string& set) {
    auto list = lists.find(set);
    return list == lists.end() ? std::string() : " elements = { " + list->second + " }";
  };
  std::string out = fmt::format("add table ip {0}\ndelete table ip {0}\ntable ip {0} {{\n", table);
  auto line = [&](const std::string& text) { out += "  " + text + "\n"; };
  line("map egress { type ipv4_addr : verdict;" + elements(kEgress) + " }");
  line("map ingress { type ipv4_addr : verdict;" + elements(kIngress) + " }");
  line("set self { type ipv4_addr . ipv4_addr;" + elements(kSelf) + " }");
  for (const auto& [name, terms] : structure_.pods)
    line("set " + name + " { type ipv4_addr;" + elements(name) + " }");
  for (const auto& [name, spans] : structure_.blocks)
    line("set " + name + " { type ipv4_addr; flags interval; elements = { " + list_of(spans) + " } }");
  for (const auto& [name, ranges] : structure_.ports)
    line("set " + name + " { type inet_proto . inet_service; flags interval; elements = { " +
         list_of(ranges) + " } }");
  for (const auto& [name, names] : structure_.names)
    line("set " + name + " { type ipv4_addr . inet_proto . inet_service;" + elements(name) + " }");
  for (const auto& [name, matches] : structure_.chains) {
    line("chain " + name + " {");
    const char* peer = name.starts_with("in") ? "ip saddr @" : "ip daddr @";
    for (const PolicyMatch& match : matches) {
      std::string rule;
      if (!match.peers.empty()) rule += peer + match.peers + " ";
      if (!match.ports.empty()) rule += "meta l4proto . th dport @" + match.ports + " ";
      if (!match.names.empty()) rule += "ip daddr . meta l4proto . th dport @" + match.names + " ";
      line("  " + rule + "return");
    }
    line("  drop");
    line("}");
  }
  line("chain egress_of {\n    ip saddr vmap @egress\n    drop\n  }");
  line("chain ingress_of {\n    ip daddr vmap @ingress\n    drop\n  }");
  line("chain forward {");
  line("  type filter hook forward priority 10; policy accept;");
  line(fmt::format("  ct mark & {0:#x} == {0:#x} drop", kDeniedConnection));
  line("  ct state established,related accept");
  line("  ip saddr . ip daddr @self accept");
  if (cidr_) {
    line("  ip saddr " + cidr_->text() + " jump egress_of");
    line("  ip daddr " + cidr_->text() + " jump ingress_of");
  }
  line("}");
  return out + "}\n";
}

bool PolicyTable::allows(const Packet& packet) const {
  if (packet.source == packet.destination && has({kSelf, packet.source})) return true;
  if (cidr_ && cidr_->contains(packet.source) && !allows(packet, false)) return false;
  return !cidr_ || !cidr_->contains(packet.destination) || allows(packet, true);
}
bool PolicyTable::allows(const Packet& packet, bool ingress) const {
  auto subject = elements_.find({ingress ? kIngress : kEgress, ingress ? packet.destination : packet.source});
  if (subject == elements_.end()) return false;
  if (subject->second.verdict == "return") return true;
  const base::Ip peer = ingress ? packet.source : packet.destination;
  auto chain = structure_.chains.find(subject->second.verdict.substr(5));  // "goto "
  if (chain == structure_.chains.end()) return false;
  for (const PolicyMatch& match : chain->second) {
    if (!match.peers.empty()) {
      auto block = structure_.blocks.find(match.peers);
      const bool is_peer =
          block == structure_.blocks.end()
              ? has({match.peers, peer})
              : std::any_of(block->second.begin(), block->second.end(),
                            [&](const auto& span) { return span.first <= peer && peer <= span.last; });
      if (!is_peer) continue;
    }
    if (!match.names.empty() && !has({match.names, packet.destination, packet.protocol, packet.port}))
      continue;
    if (match.ports.empty()) return true;
    const auto& ranges = structure_.ports.at(match.ports);
    if (std::any_of(ranges.begin(), ranges.end(), [&](const PortRange& range) {
          return range.protocol == packet.protocol && range.first <= packet.port && packet.port <= range.last;
        }))
      return true;
  }
  return false;
}

}  // namespace proxy
