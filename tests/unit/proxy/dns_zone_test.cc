#include "proxy/dns_zone.h"

#include <gtest/gtest.h>

#include "proxy/dns_wire.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::dns {
namespace {

Config config() {
  return {"cluster.local", *netns::parse_cidr("10.96.0.0/16"), *netns::parse_cidr("10.244.0.0/16")};
}
Cluster cluster() {
  Cluster c;
  c.set_service(service("web 10.96.0.5 http:80/tcp metrics:9090/tcp"));
  c.set_slice(slice("web-1 web http:8080/tcp | 10.244.0.5@n1"));
  c.set_service(service("db None sql:5432/tcp"));
  c.set_slice(slice("db-1 db sql:5432/tcp | 10.244.0.7@n1,host=db-0 10.244.1.8@n2,host=db-1 10.244.1.9@n2 "
                    "10.244.1.10@n2,unready"));
  Service ext = service("ext None");
  ext.type = "ExternalName";
  ext.cluster_ip = "";
  ext.external_name = "www.example.org";
  c.set_service(ext);
  c.set_service(service("empty None a:1/tcp"));
  return c;
}
std::string ask(const std::string& name, uint16_t type) {
  Answer a = answer(cluster(), config(), name, type);
  if (!a.ours) return "not ours";
  std::string out = a.code == kNxDomain ? "NXDOMAIN" : a.answers.empty() ? "NODATA" : "";
  for (const Record& r : a.answers)
    out += (out.empty() ? "" : ", ") + r.data + (r.type == kSrv ? ":" + std::to_string(r.srv_port) : "");
  for (const Record& r : a.additional) out += " +" + r.name + "=" + r.data;
  if (!a.continue_at.empty()) out += " -> " + a.continue_at;
  return out;
}

TEST(DnsZone, PodsByTheirAddress) {
  EXPECT_EQ(ask("10-244-0-5.default.pod.cluster.local", kA), "10.244.0.5");
  EXPECT_EQ(ask("10-244-0-5.default.pod.cluster.local", kAaaa), "NODATA");
  EXPECT_EQ(ask("default.pod.cluster.local", kA), "NODATA");
  EXPECT_EQ(ask("web-1.default.pod.cluster.local", kA), "NXDOMAIN");
  EXPECT_EQ(ask("10-244-0-256.default.pod.cluster.local", kA), "NXDOMAIN");
  EXPECT_EQ(ask("x.10-244-0-5.default.pod.cluster.local", kA), "NXDOMAIN");
}

TEST(DnsZone, Services) {
  EXPECT_EQ(ask("web.default.svc.cluster.local", kA), "10.96.0.5");
  EXPECT_EQ(ask("web.default.svc.cluster.local", kAaaa), "NODATA");
  EXPECT_EQ(ask("nope.default.svc.cluster.local", kA), "NXDOMAIN");
  EXPECT_EQ(ask("web.other.svc.cluster.local", kA), "NXDOMAIN");
  EXPECT_EQ(ask("x.web.default.svc.cluster.local", kA), "NXDOMAIN");
  EXPECT_EQ(ask("ext.default.svc.cluster.local", kA), "www.example.org -> www.example.org");
  EXPECT_EQ(ask("ext.default.svc.cluster.local", kCname), "www.example.org");
}
TEST(DnsZone, Headless) {
  EXPECT_EQ(ask("db.default.svc.cluster.local", kA), "10.244.0.7, 10.244.1.8, 10.244.1.9");
  EXPECT_EQ(ask("db-1.db.default.svc.cluster.local", kA), "10.244.1.8");
  EXPECT_EQ(ask("10-244-1-9.db.default.svc.cluster.local", kA), "10.244.1.9");
  EXPECT_EQ(ask("10-244-1-10.db.default.svc.cluster.local", kA), "NXDOMAIN") << "not ready";
  EXPECT_EQ(ask("empty.default.svc.cluster.local", kA), "NXDOMAIN");
}
TEST(DnsZone, Srv) {
  EXPECT_EQ(ask("_http._tcp.web.default.svc.cluster.local", kSrv),
            "web.default.svc.cluster.local:80 +web.default.svc.cluster.local=10.96.0.5");
  EXPECT_EQ(ask("_sql._tcp.db.default.svc.cluster.local", kSrv),
            "db-0.db.default.svc.cluster.local:5432, db-1.db.default.svc.cluster.local:5432, "
            "10-244-1-9.db.default.svc.cluster.local:5432"
            " +10-244-1-9.db.default.svc.cluster.local=10.244.1.9"
            " +db-0.db.default.svc.cluster.local=10.244.0.7"
            " +db-1.db.default.svc.cluster.local=10.244.1.8");
  EXPECT_EQ(ask("_http._tcp.web.default.svc.cluster.local", kA), "NODATA");
  EXPECT_EQ(ask("_http._udp.web.default.svc.cluster.local", kSrv), "NXDOMAIN");
  EXPECT_EQ(ask("_nope._tcp.web.default.svc.cluster.local", kSrv), "NXDOMAIN");
  EXPECT_EQ(ask("_tcp.web.default.svc.cluster.local", kA), "NODATA");
}
TEST(DnsZone, Reverse) {
  EXPECT_EQ(ask("5.0.96.10.in-addr.arpa", kPtr), "web.default.svc.cluster.local");
  EXPECT_EQ(ask("8.1.244.10.in-addr.arpa", kPtr), "db-1.db.default.svc.cluster.local");
  EXPECT_EQ(ask("5.0.244.10.in-addr.arpa", kPtr), "NXDOMAIN") << "no headless Service";
  EXPECT_EQ(ask("9.9.96.10.in-addr.arpa", kPtr), "NXDOMAIN");
  EXPECT_EQ(ask("1.2.0.192.in-addr.arpa", kPtr), "not ours");
}
TEST(DnsZone, TheRest) {
  EXPECT_EQ(ask("www.example.org", kA), "not ours");
  EXPECT_EQ(ask("notcluster.local", kA), "not ours");
  EXPECT_EQ(ask("www.example.org.default.svc.cluster.local", kA), "NXDOMAIN") << "search path";
  EXPECT_EQ(ask("www.example.org.cluster.local", kA), "NXDOMAIN");
  EXPECT_EQ(ask("cluster.local", kA), "NODATA");
  EXPECT_EQ(ask("svc.cluster.local", kA), "NODATA");
  EXPECT_EQ(ask("default.svc.cluster.local", kA), "NODATA");
  EXPECT_EQ(ask("other.svc.cluster.local", kA), "NXDOMAIN");
  EXPECT_EQ(ask("dns-version.cluster.local", kTxt), "1.1.0");
}

// ---- wire format ----
std::string wire_query(const std::string& name, uint16_t type) {
  std::string q("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  for (size_t at = 0; at < name.size();) {
    size_t dot = std::min(name.find('.', at), name.size());
    q += static_cast<char>(dot - at);
    q += name.substr(at, dot - at);
    at = dot + 1;
  }
  q += '\0';
  q += static_cast<char>(type >> 8);
  q += static_cast<char>(type);
  return q + std::string("\0\1", 2);
}
uint16_t word(const std::string& wire, size_t at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(wire[at]) << 8 | static_cast<uint8_t>(wire[at + 1]));
}

TEST(DnsWire, KeepsCaseAndId) {
  auto query = parse_query(wire_query("WeB.Default.svc.cluster.LOCAL", kA));
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->lower_name, "web.default.svc.cluster.local");
  std::string reply = encode_answer(*query, answer(cluster(), config(), query->lower_name, kA), config(), 512);
  EXPECT_EQ(reply.substr(0, 2), "\x12\x34");
  EXPECT_NE(reply.find("\3WeB\7Default\3svc\7cluster\5LOCAL"), std::string::npos);
  EXPECT_EQ(word(reply, 6), 1) << "one answer";
  EXPECT_EQ(reply.substr(reply.size() - 4), std::string("\x0a\x60\x00\x05", 4));
}
TEST(DnsWire, NegativeAnswersCarryTheSoa) {
  auto query = parse_query(wire_query("no.default.svc.cluster.local", kA));
  ASSERT_TRUE(query.ok());
  std::string reply = encode_answer(*query, answer(cluster(), config(), query->lower_name, kA), config(), 512);
  EXPECT_EQ(word(reply, 2) & 0xf, kNxDomain);
  EXPECT_EQ(word(reply, 8), 1) << "authority";
  EXPECT_EQ(reply.substr(reply.size() - 4), std::string("\0\0\0\5", 4)) << "negative TTL";
}
TEST(DnsWire, TruncatesAndRotates) {
  Answer many{true, kNoError, {}, {}, {}};
  for (int i = 0; i < 60; ++i) many.answers.push_back({"", kA, "10.244.0." + std::to_string(i), 0});
  auto query = parse_query(wire_query("db.default.svc.cluster.local", kA));
  ASSERT_TRUE(query.ok());
  std::string cut = encode_answer(*query, many, config(), 512);
  EXPECT_TRUE(word(cut, 2) & 0x0200) << "TC";
  EXPECT_EQ(word(cut, 6), 0);
  std::string whole = encode_answer(*query, many, config(), 65535);
  EXPECT_EQ(word(whole, 6), 60);
  EXPECT_NE(whole, encode_answer(*query, many, config(), 65535, 1));
}
TEST(DnsWire, BadBytesAreErrors) {
  EXPECT_FALSE(parse_query("").ok());
  EXPECT_FALSE(parse_query(std::string(11, '\0')).ok());
  std::string good = wire_query("web.default.svc.cluster.local", kA);
  for (size_t n = 0; n < good.size(); ++n) (void)parse_query(good.substr(0, n)).ok();
  std::string loop = good.substr(0, 12) + std::string("\xc0\x0c\0\1\0\1", 6);  // a pointer to itself
  EXPECT_FALSE(parse_query(loop).ok());
  EXPECT_EQ(encode_format_error(loop).size(), 12u);
  EXPECT_EQ(encode_format_error("x"), "");
}

}  // namespace
}  // namespace proxy::dns
