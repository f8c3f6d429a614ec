// hosts, resolv.conf and hostname of a Pod, in the kubelet's usual form. Pure.
#include "kubelet/pod/files.h"

#include <algorithm>
#include <sstream>

#include "kubelet/pod/plan.h"

namespace kubelet {

namespace {

struct Resolv {
  std::vector<std::string> nameservers, searches, options;
};
Resolv parse_resolv(const std::string& text) {
  Resolv out;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string key, word;
    words >> key;
    if (key == "nameserver" && words >> word) out.nameservers.push_back(word);
    if (key == "search" || key == "domain") {
      out.searches.clear();
      while (words >> word) out.searches.push_back(word);
    }
    if (key == "options")
      while (words >> word) out.options.push_back(word);
  }
  return out;
}

void add_once(std::vector<std::string>& list, const std::string& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

// One word of a line of words: what has spaces, breaks or a comment sign in it is none, and would be others'
// lines.
bool is_word(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f && c != '#' && c != ';';
  });
}

std::string aliases(const api::Pod& pod) {
  const auto& list = spec_of(pod).host_aliases;
  if (list.empty()) return {};
  std::string out = "\n# Entries added by HostAliases.\n";
  for (const auto& alias : list) {
    if (!is_word(alias.ip)) continue;
    out += alias.ip;
    for (const auto& name : alias.hostnames)
      if (is_word(name)) out += "\t" + name;
    out += "\n";
  }
  return out;
}

}  // namespace

std::string pod_hostname(const api::Pod& pod, const std::string& node_name) {
  const api::PodSpec& spec = spec_of(pod);
  if (spec.host_network.value_or(false)) return node_name;
  std::string name = spec.hostname.empty() ? pod.metadata.name : spec.hostname;
  // The kernel takes 64 bytes; Kubernetes cuts at 63 and drops what may not end a name.
  if (name.size() > 63) name.resize(63);
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  return name;
}

std::string pod_hosts(const api::Pod& pod, const std::string& ip, const DnsFacts& dns,
                      const std::string& node_name) {
  const api::PodSpec& spec = spec_of(pod);
  if (spec.host_network.value_or(false))
    return "# Kubernetes-managed hosts file (host network).\n" + dns.host_hosts + aliases(pod);
  const std::string host = pod_hostname(pod, node_name);
  std::string out =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
  if (!ip.empty()) {
    out += ip + "\t";
    if (!spec.subdomain.empty())
      out +=
          host + "." + spec.subdomain + "." + pod.metadata.namespace_ + ".svc." + dns.cluster_domain + "\t";
    out += host + "\n";
  }
  return out + aliases(pod);
}

std::string pod_resolv_conf(const api::Pod& pod, const DnsFacts& dns) {
  const api::PodSpec& spec = spec_of(pod);
  std::string policy = spec.dns_policy.empty() ? "ClusterFirst" : spec.dns_policy;
  if (policy == "ClusterFirst" && spec.host_network.value_or(false)) policy = "Default";
  if (policy == "ClusterFirstWithHostNet") policy = "ClusterFirst";
  const Resolv host = parse_resolv(dns.host_resolv_conf);
  Resolv out;
  if (policy == "Default") {
    out = host;
  } else if (policy != "None") {
    out.nameservers = {dns.cluster_dns};
    out.searches = {pod.metadata.namespace_ + ".svc." + dns.cluster_domain, "svc." + dns.cluster_domain,
                    dns.cluster_domain};
    for (const auto& search : host.searches) add_once(out.searches, search);
    out.options = {"ndots:5"};
  }
  if (spec.dns_config) {
    for (const auto& server : spec.dns_config->nameservers)
      if (is_word(server)) add_once(out.nameservers, server);
    for (const auto& search : spec.dns_config->searches)
      if (is_word(search)) add_once(out.searches, search);
    for (const auto& option : spec.dns_config->options) {
      if (!is_word(option.name) || (!option.value.empty() && !is_word(option.value))) continue;
      std::erase_if(out.options, [&](const auto& o) { return o.substr(0, o.find(':')) == option.name; });
      out.options.push_back(option.value.empty() ? option.name : option.name + ":" + option.value);
    }
  }
  // resolv.conf(5): more than three name servers are not looked at.
  if (out.nameservers.size() > 3) out.nameservers.resize(3);
  std::string text;
  auto line = [&](const char* key, const std::vector<std::string>& words) {
    if (words.empty()) return;
    text += key;
    for (const auto& word : words) text += " " + word;
    text += "\n";
  };
  line("search", out.searches);
  for (const auto& server : out.nameservers) text += "nameserver " + server + "\n";
  line("options", out.options);
  return text;
}

}  // namespace kubelet
