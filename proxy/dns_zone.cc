// See dns_zone.h.
#include "proxy/dns_zone.h"

namespace proxy::dns {
namespace {

std::vector<std::string_view> labels_of(std::string_view name) {
  std::vector<std::string_view> labels;
  while (!name.empty()) {
    size_t dot = name.find('.');
    labels.push_back(name.substr(0, dot));
    name = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
  }
  return labels;
}
// "a.b.cluster.local" under "cluster.local" -> "a.b"; the domain itself -> "".
bool strip_suffix(std::string_view& name, std::string_view suffix) {
  if (name == suffix) return name = {}, true;
  if (name.size() <= suffix.size() || !name.ends_with(suffix) || name[name.size() - suffix.size() - 1] != '.')
    return false;
  name.remove_suffix(suffix.size() + 1);
  return true;
}

// An endpoint without a hostname is called by its address: 10-244-0-5.
std::string dashed(std::string address) {
  std::replace(address.begin(), address.end(), '.', '-');
  return address;
}
std::string endpoint_name(const Endpoint& endpoint) {
  if (!endpoint.hostname.empty()) return endpoint.hostname;
  return endpoint.addresses.empty() ? "" : dashed(endpoint.addresses[0]);
}
// The address that a name like 10-244-0-5 stands for; "" when it is none.
std::string undashed(std::string_view name) {
  std::string address(name);
  std::replace(address.begin(), address.end(), '-', '.');
  return Ip::parse_v4(address) ? address : std::string();
}
template <typename Each>  // each(slice, endpoint) for those that may be named
void each_endpoint(const Cluster& cluster, const std::string& key, Each each) {
  for (const EndpointSlice* slice : cluster.slices(key))
    for (const Endpoint& endpoint : slice->endpoints)
      if (endpoint.ready && !endpoint.addresses.empty() && Ip::parse_v4(endpoint.addresses[0]))
        each(*slice, endpoint);
}

class Zone {
 public:
  Zone(const Cluster& cluster, const Config& config, uint16_t type)
      : cluster_(cluster), config_(config), type_(type) {}

  Answer forward(std::string_view below_domain) {
    std::vector<std::string_view> labels = labels_of(below_domain);
    if (labels.empty()) return found({});
    if (labels.size() == 1 && labels[0] == "dns-version") return found({{"", kTxt, "1.1.0", 0}});
    if (labels.back() == "pod") return pod(labels);
    if (labels.back() != "svc") return no_such_name();
    labels.pop_back();
    if (labels.empty()) return found({});
    std::string ns(labels.back());
    labels.pop_back();
    if (labels.empty()) return has_namespace(ns) ? found({}) : no_such_name();
    std::string name(labels.back());
    labels.pop_back();
    const Service* service = cluster_.service(ns + "/" + name);
    if (!service) return no_such_name();
    key_ = ns + "/" + name;
    base_ = name + "." + ns + ".svc." + config_.domain;
    if (labels.empty()) return whole(*service);
    if (labels.size() == 1 && labels[0][0] != '_') return endpoint(*service, labels[0]);
    if (labels.size() == 1) return protocol(*service, labels[0]);
    if (labels.size() == 2 && labels[0][0] == '_') return port(*service, labels[0], labels[1]);
    return no_such_name();
  }

  Answer reverse(Ip ip) {
    std::vector<Record> names;
    auto add = [&](const std::string& host, const Service& service) {
      names.push_back({"", kPtr, host + service.name + "." + service.ns + ".svc." + config_.domain, 0});
    };
    if (config_.service_cidr.contains(ip)) {
      const Service* first = nullptr;  // of two with one address, the one that has it
      for (const std::string& key : cluster_.with_cluster_ip(ip)) {
        const Service* service = cluster_.service(key);
        if (!first || service->rank() < first->rank()) first = service;
      }
      if (first) add("", *first);
      return first ? found(std::move(names)) : no_such_name();
    }
    for (const std::string& key : cluster_.headless_with(ip)) {
      const Service& service = *cluster_.service(key);
      each_endpoint(cluster_, key, [&](const EndpointSlice&, const Endpoint& endpoint) {
        if (Ip::parse_v4(endpoint.addresses[0]) == ip) add(endpoint_name(endpoint) + ".", service);
      });
    }
    return names.empty() ? no_such_name() : found(std::move(names));
  }

 private:
  Answer no_such_name() { return {true, kNxDomain, {}, {}, {}}; }
  // Of the records that the name has, those that were asked for.
  Answer found(std::vector<Record> records) {
    Answer result{true, kNoError, {}, {}, {}};
    for (Record& record : records)
      if (record.type == type_ || type_ == kAny) result.answers.push_back(std::move(record));
    return result;
  }
  // 10-244-0-5.default.pod: a name that says its address, whoever has it (CoreDNS' `pods insecure`).
  Answer pod(const std::vector<std::string_view>& labels) {
    if (labels.size() < 3) return found({});
    std::string address = labels.size() == 3 ? undashed(labels[0]) : "";
    return address.empty() ? no_such_name() : found({{"", kA, address, 0}});
  }
  bool has_namespace(const std::string& ns) {
    auto it = cluster_.services().lower_bound(ns + "/");
    return it != cluster_.services().end() && it->second.ns == ns;
  }

  Answer whole(const Service& service) {
    if (service.type == "ExternalName") {
      Answer result{true, kNoError, {{"", kCname, service.external_name, 0}}, {}, {}};
      if (type_ != kCname && type_ != kAny) result.continue_at = service.external_name;
      return result;
    }
    if (!service.headless()) {
      if (!Ip::parse_v4(service.cluster_ip)) return found({});
      Answer result = found({{"", kA, service.cluster_ip, 0}});
      if (type_ == kSrv) add_ports(service, {}, {}, result);
      return result;
    }
    std::set<std::string> addresses;
    each_endpoint(cluster_, key_, [&](const EndpointSlice&, const Endpoint& endpoint) {
      addresses.insert(endpoint.addresses[0]);
    });
    // The specification: a headless Service without ready endpoints has no name.
    if (addresses.empty()) return no_such_name();
    std::vector<Record> records;
    for (const std::string& address : addresses) records.push_back({"", kA, address, 0});
    Answer result = found(std::move(records));
    if (type_ == kSrv) add_ports(service, {}, {}, result);
    return result;
  }

  Answer endpoint(const Service& service, std::string_view host) {
    if (!service.headless()) return no_such_name();
    std::set<std::string> addresses;
    std::string address = undashed(host);
    each_endpoint(cluster_, key_, [&](const EndpointSlice&, const Endpoint& e) {
      if (e.hostname.empty() ? e.addresses[0] == address : e.hostname == host)
        addresses.insert(e.addresses[0]);
    });
    if (addresses.empty()) return no_such_name();
    std::vector<Record> records;
    for (const std::string& address : addresses) records.push_back({"", kA, address, 0});
    return found(std::move(records));
  }

  Answer protocol(const Service& service, std::string_view label) {
    Answer all{true, kNoError, {}, {}, {}};
    add_ports(service, {}, label.substr(1), all);
    return all.answers.empty() ? no_such_name() : Answer{true, kNoError, {}, {}, {}};
  }
  Answer port(const Service& service, std::string_view name, std::string_view proto) {
    if (proto.size() < 2 || proto[0] != '_') return no_such_name();
    Answer all{true, kNoError, {}, {}, {}};
    add_ports(service, name.substr(1), proto.substr(1), all);
    if (all.answers.empty()) return no_such_name();
    if (type_ != kSrv && type_ != kAny) return {true, kNoError, {}, {}, {}};
    return all;
  }

  // SRV records of the ports with this name and protocol (empty: any), targets' addresses beside.
  void add_ports(const Service& service, std::string_view name, std::string_view proto, Answer& out) {
    auto matches = [&](const std::string& port_name, uint8_t protocol) {
      return (name.empty() || port_name == name) && (proto.empty() || protocol_name(protocol) == proto);
    };
    if (!service.headless()) {
      for (const ServicePort& p : service.ports)
        if (matches(p.name, p.protocol)) out.answers.push_back({"", kSrv, base_, p.port});
      if (!out.answers.empty()) out.additional.push_back({base_, kA, service.cluster_ip, 0});
      return;
    }
    std::set<std::pair<std::string, std::string>> targets;
    each_endpoint(cluster_, key_, [&](const EndpointSlice& slice, const Endpoint& e) {
      std::string target = endpoint_name(e) + "." + base_;
      for (const EndpointPort& p : slice.ports) {
        if (!matches(p.name, p.protocol)) continue;
        out.answers.push_back({"", kSrv, target, p.port});
        targets.insert({target, e.addresses[0]});
      }
    });
    for (const auto& [target, address] : targets) out.additional.push_back({target, kA, address, 0});
  }

  const Cluster& cluster_;
  const Config& config_;
  uint16_t type_;
  std::string key_, base_;
};

}  // namespace

Answer answer(const Cluster& cluster, const Config& config, std::string_view name, uint16_t type) {
  Zone zone(cluster, config, type);
  if (strip_suffix(name, config.domain)) return zone.forward(name);
  if (strip_suffix(name, "in-addr.arpa")) {
    std::vector<std::string_view> labels = labels_of(name);
    std::string text;
    for (auto it = labels.rbegin(); it != labels.rend(); ++it)
      text += (text.empty() ? "" : ".") + std::string(*it);
    auto ip = Ip::parse_v4(text);
    if (ip && (config.service_cidr.contains(*ip) || config.cluster_cidr.contains(*ip)))
      return zone.reverse(*ip);
  }
  return {};
}

}  // namespace proxy::dns
