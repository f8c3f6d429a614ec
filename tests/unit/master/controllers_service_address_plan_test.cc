#include "master/controllers/service_address_plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sstream>

namespace master::controllers {
namespace {
using api::ClusterAddresses;

ClusterAddresses cluster() {
  return {"10.96.0.0/16",      "10.244.0.0/16",
          "10.96.0.10",        {"192.0.2.1"},
          {{"192.0.2.11", 1}}, {{"10.96.0.1", "default/kubernetes"}, {"10.96.0.10", "kube-system/kube-dns"}}};
}
// "tenant/web 10.96.0.5 created=202526 port=80:30080 external=203.0.113.7 ingress=…".
ServiceClaims service(const std::string& line) {
  ServiceClaims s;
  std::istringstream in(line);
  std::string word;
  in >> word >> s.cluster_ip;
  s.ns = word.substr(0, word.find('/'));
  s.name = word.substr(word.find('/') + 1);
  s.uid = "uid-" + word;
  while (in >> word) {
    std::string key = word.substr(0, word.find('=')), value = word.substr(word.find('=') + 1);
    if (key == "created") s.created = value + "-01-01T00:00:00Z";
    if (key == "external") s.external_ips.push_back(value);
    if (key == "ingress") s.ingress_ips.push_back(value);
    if (key != "port") continue;
    size_t colon = value.find(':');
    s.ports.push_back(
        {"TCP", std::stoi(value), colon == value.npos ? 0 : std::stoi(value.substr(colon + 1))});
  }
  return s;
}
std::string joined(const std::set<std::string>& keys) {
  std::string out;
  for (const std::string& key : keys) out += (out.empty() ? "" : " ") + key;
  return out;
}
struct Book : AddressBook {
  std::string add(const std::string& line) { return joined(set(service(line))); }
  std::string said(const std::string& line) const {
    std::string out;
    for (const AddressEvent& event : refused(service(line), cluster())) out += event.text() + "\n";
    return out;
  }
};

TEST(ServiceAddressPlan, TheOlderHasIt) {
  Book book;
  const std::string older = "a/web 10.96.0.5 created=2025 port=80:30080 external=203.0.113.7",
                    younger = "b/web 10.96.0.5 created=2026 port=80:30080 ingress=203.0.113.7";
  EXPECT_EQ(book.add(younger), "b/web");
  EXPECT_EQ(book.said(younger), "");
  EXPECT_EQ(book.add(older), "a/web b/web");
  EXPECT_EQ(book.said(older), "");
  EXPECT_EQ(book.said(younger),
            "ClusterIPAlreadyAllocated Cluster IP [IPv4]:10.96.0.5 was assigned to multiple services; please "
            "recreate service\n"
            "ExternalAddressInUse 203.0.113.7:80/TCP belongs to an older Service: nothing sent there reaches "
            "this one\n"
            "PortAlreadyAllocated Port 30080 was assigned to multiple services; please recreate service\n");
  EXPECT_EQ(joined(book.remove("a/web")), "b/web");
  EXPECT_EQ(book.said(younger), "");
}
TEST(ServiceAddressPlan, OfOneSecondTheUidDecides) {
  Book book;
  book.add("b/web 10.96.0.5 created=2026 port=80");
  book.add("a/web 10.96.0.5 created=2026 port=80");
  EXPECT_EQ(book.said("a/web 10.96.0.5 created=2026 port=80"), "");
  EXPECT_NE(book.said("b/web 10.96.0.5 created=2026 port=80"), "");
}
TEST(ServiceAddressPlan, OtherPortsOfOneExternalAddressAreOthers) {
  Book book;
  book.add("a/web 10.96.0.5 created=2025 port=80 external=203.0.113.7");
  book.add("b/web 10.96.0.6 created=2026 port=81 external=203.0.113.7");
  EXPECT_EQ(book.said("b/web 10.96.0.6 created=2026 port=81 external=203.0.113.7"), "");
  EXPECT_EQ(book.with_external(), (std::set<std::string>{"a/web", "b/web"}));
}
TEST(ServiceAddressPlan, RangesThatShareAnAddress) {
  EXPECT_TRUE(api::ranges_overlap("10.96.0.0/16", "10.96.0.0/16"));
  EXPECT_TRUE(api::ranges_overlap("10.0.0.0/8", "10.96.0.0/16"));
  EXPECT_TRUE(api::ranges_overlap("10.96.3.0/24", "10.96.0.0/16"));
  EXPECT_FALSE(api::ranges_overlap("10.96.0.0/16", "10.97.0.0/16"));
  EXPECT_FALSE(api::ranges_overlap("10.96.0.0/16", "fd00::/64"));
}

TEST(ServiceAddressPlan, AddressesGivenByName) {
  Book book;
  const std::string thief = "tenant/thief 10.96.0.1 created=2020 port=443",
                    dns = "tenant/dns 10.96.0.10 created=2020 port=53";
  for (const std::string& line :
       {thief, dns, std::string("default/kubernetes 10.96.0.1 created=2024 port=443")})
    book.add(line);
  EXPECT_NE(book.said(thief).find("ClusterIPAlreadyAllocated"), std::string::npos);
  EXPECT_NE(book.said(dns).find("ClusterIPAlreadyAllocated"), std::string::npos);
  EXPECT_EQ(book.said("default/kubernetes 10.96.0.1 created=2024 port=443"), "");
  EXPECT_EQ(book.said("kube-system/kube-dns 10.96.0.10 created=2024 port=53"), "");
}
TEST(ServiceAddressPlan, PartsOfTheClusterAreNobodys) {
  Book book;
  for (auto [ip, why] : std::initializer_list<std::pair<const char*, const char*>>{
           {"10.96.0.1", "may not be in the range of Services (10.96.0.0/16)"},
           {"10.244.3.7", "may not be in the range of Pods (10.244.0.0/16)"},
           {"192.0.2.1", "may not be an address of the API server"},
           {"192.0.2.11", "may not be an address of a node"}}) {
    EXPECT_EQ(book.said("a/web 10.96.0.5 port=80 external=" + std::string(ip)),
              std::string("ExternalAddressNotAllowed spec.externalIPs: ") + ip + " " + why +
                  ": it is not served\n");
    EXPECT_EQ(cluster().refusal(ip), why);
  }
  EXPECT_EQ(cluster().refusal("203.0.113.7"), "");
  EXPECT_EQ(cluster().refusal("2001:db8::1"), "");
  auto headless = base::parse_json(
      R"({"metadata":{"namespace":"a","name":"web"},"spec":{"clusterIP":"None","externalIPs":["10.96.0.1"],"ports":[{"port":80}]}})");
  EXPECT_TRUE(book.refused(read_claims(*headless), cluster()).empty()) << "nothing is served there";
}
TEST(ServiceAddressPlan, ReadsWhatAProxyServes) {
  auto read = [](const char* rest) {
    auto object = base::parse_json(
        R"({"metadata":{"namespace":"a","name":"web","uid":"u","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"clusterIP":"10.96.0.5",
        "externalIPs":["203.0.113.7"],"ports":[{"port":80,"nodePort":30080},{"port":53,"protocol":"UDP"}],)" +
        std::string(rest));
    AddressBook book;
    ServiceClaims claims = read_claims(*object);
    return fmt::format("{} {} {} external={} ingress={} {}:{} {}", claims.key(), claims.cluster_ip,
                       claims.created, fmt::join(claims.external_ips, ","),
                       fmt::join(claims.ingress_ips, ","), claims.ports[0].node_port, claims.ports[1].port,
                       claims.ports[1].protocol);
  };
  EXPECT_EQ(
      read(
          R"("type":"LoadBalancer"},"status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.1"},{"ip":"198.51.100.2","ipMode":"Proxy"},{"hostname":"x"}]}}})"),
      "a/web 10.96.0.5 2026-01-01T00:00:00Z external=203.0.113.7 ingress=198.51.100.1 30080:53 UDP");
  EXPECT_EQ(read(R"("type":"ClusterIP"},"status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.1"}]}}})"),
            "a/web 10.96.0.5 2026-01-01T00:00:00Z external=203.0.113.7 ingress= 30080:53 UDP");
}

}  // namespace
}  // namespace master::controllers
