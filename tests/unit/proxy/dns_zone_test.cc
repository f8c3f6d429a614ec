#include "proxy/dns_zone.h"

#include <gtest/gtest.h>

#include "proxy/dns_wire.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::dns {
namespace {

Config config() {
  return {"cluster.local", *base::Cidr::parse_v4("10.96.0.0/16"), *base::Cidr::parse_v4("10.244.0.0/16")};
}
Cluster cluster() {
  Cluster c;
  c.set_service(service("web 10.96.0.5 http:80/tcp metrics:9090/tcp"));
  c.set_slice(slice("web-1 web http:8080/tcp | 10.244.0.5@n1"));
  c.set_service(service("db None sql:5432/tcp"));
  c.set_slice(
      slice("db-1 db sql:5432/tcp | 10.244.0.7@n1,host=db-0 10.244.1.8@n2,host=db-1 10.244.1.9@n2 "
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
TEST(DnsZone, ReverseFollowsChanges) {
  Cluster c = cluster();
  auto ptr = [&](const char* name) {
    Answer a = answer(c, config(), name, kPtr);
    return a.answers.empty() ? std::string() : a.answers[0].data;
  };
  Service thief = service("thief 10.96.0.5 http:80/tcp");
  thief.created = "2026-01-02T00:00:00Z";
  c.set_service(thief);
  EXPECT_EQ(ptr("5.0.96.10.in-addr.arpa"), "web.default.svc.cluster.local") << "the older";
  c.remove_service("default", "web");
  EXPECT_EQ(ptr("5.0.96.10.in-addr.arpa"), "thief.default.svc.cluster.local");
  c.remove_slice("default", "db-1");
  EXPECT_EQ(ptr("8.1.244.10.in-addr.arpa"), "");
  c.set_slice(slice("web-1 web http:8080/tcp | 10.244.0.5@n1"));
  c.set_service(service("web None http:80/tcp"));  // made anew, headless
  EXPECT_EQ(ptr("5.0.244.10.in-addr.arpa"), "10-244-0-5.web.default.svc.cluster.local");
}
TEST(DnsZone, PodsByAddress) {
  EXPECT_EQ(ask("10-244-1-9.default.pod.cluster.local", kA), "10.244.1.9");
  EXPECT_EQ(ask("10-244-1-9.empty-ns.pod.cluster.local", kA), "10.244.1.9");
  EXPECT_EQ(ask("10-244-1-9.default.pod.cluster.local", kAaaa), "NODATA");
  for (const char* bad : {"10-244-1.default.pod.cluster.local", "10-244-1-999.default.pod.cluster.local",
                          "web.default.pod.cluster.local", "x.10-244-1-9.default.pod.cluster.local"})
    EXPECT_EQ(ask(bad, kA), "NXDOMAIN") << bad;
  EXPECT_EQ(ask("default.pod.cluster.local", kA), "NODATA");
  EXPECT_EQ(ask("pod.cluster.local", kA), "NODATA");
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
  std::string reply =
      encode_answer(*query, answer(cluster(), config(), query->lower_name, kA), config(), 512);
  EXPECT_EQ(reply.substr(0, 2), "\x12\x34");
  EXPECT_NE(reply.find("\3WeB\7Default\3svc\7cluster\5LOCAL"), std::string::npos);
  EXPECT_EQ(word(reply, 6), 1) << "one answer";
  EXPECT_EQ(reply.substr(reply.size() - 4), std::string("\x0a\x60\x00\x05", 4));
}
TEST(DnsWire, NegativeAnswersCarryTheSoa) {
  auto query = parse_query(wire_query("no.default.svc.cluster.local", kA));
  ASSERT_TRUE(query.ok());
  std::string reply =
      encode_answer(*query, answer(cluster(), config(), query->lower_name, kA), config(), 512);
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

TEST(DnsWire, AQueryIsOneQuestion) {
  std::string good = wire_query("web.default.svc.cluster.local", kA);
  auto with_counts = [&](std::string_view counts, const std::string& more = {}) {
    std::string wire = good + more;
    return wire.replace(4, counts.size(), counts);
  };
  EXPECT_FALSE(parse_query(with_counts(std::string_view("\0\2", 2))).ok());
  EXPECT_FALSE(
      parse_query(with_counts(std::string_view("\0\1\0\1", 4), good.substr(12) + std::string(6, '\0'))).ok());
  EXPECT_FALSE(parse_query(with_counts(std::string_view("\0\1\0\0\0\0\0\3", 8))).ok());
  EXPECT_FALSE(parse_query(good + std::string(5000, 'x')).ok());
  std::string update = good;
  update[2] = '\x28';
  ASSERT_TRUE(parse_query(update).ok());
  EXPECT_EQ(word(encode_error(*parse_query(update), kNotImp), 2), 0xa880 | kNotImp);
}
// The longest name there is, in the question and as the owner of the answer; one record's name is the
// question's, as a pointer.
TEST(DnsWire, LongNamesAndPointers) {
  std::string name = "a";
  for (int i = 1; i < 127; ++i) name += ".a";
  auto query = parse_query(wire_query(name, kA));
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->lower_name, name);
  Answer one{true,
             kNoError,
             {{"", kA, "10.0.0.1", 0}, {"x.y", kA, "10.0.0.2", 0}, {"x.y", kA, "10.0.0.3", 0}},
             {},
             {}};
  std::string wire = encode_answer(*query, one, config(), 1232);
  EXPECT_EQ(wire.size(), 12 + 255 + 4 + (2 + 14) + (5 + 14) + (2 + 14)) << "the second owner is written once";
  EXPECT_EQ(word(wire, 12 + 255 + 4), 0xc00c);
  EXPECT_TRUE(check_upstream(wire, query->id, name, kA, 1).has_value()) << "ldns reads it";
  EXPECT_EQ(encode_upstream_query(*query, name, 7).size(), 12u + 255 + 4 + 11);
}
std::string record(std::string owner, uint16_t type, std::string data, uint8_t ttl = 60) {
  std::string out = std::move(owner) + std::string("\0", 1) + static_cast<char>(type) +
                    std::string("\0\1\0\0\0", 5) + static_cast<char>(ttl);
  return out + std::string("\0", 1) + static_cast<char>(data.size()) + data;
}
TEST(DnsWire, OfAnAnswerOnlyWhatTheQuestionLeadsTo) {
  const std::string www("\3www\7example\3org\0", 17), cdn("\3CDN\7example\3org\0", 17),
      bank("\4bank\7example\3org\0", 18);
  auto query = parse_query(wire_query("www.example.org", kA));
  ASSERT_TRUE(query.ok());
  std::string answer = wire_query("www.example.org", kA);
  answer[2] = '\x81';
  answer[7] = 4;
  answer[11] = 1;
  answer += record(bank, kA, "\x01\x02\x03\x04", 1) +
            record("\xc0\x0c", kCname, std::string("\3cdn\7example\3org\0", 17)) +
            record(cdn, kA, "\x0a\x0b\x0c\x0d", 30) + record(bank, kA, "\x01\x02\x03\x04") +
            record(bank, kA, "\x01\x02\x03\x04");
  auto checked = check_upstream(answer, query->id, "WWW.example.org", kA, 1);
  ASSERT_TRUE(checked.has_value());
  EXPECT_EQ(checked->keep_seconds, 30u) << "the least TTL of what is kept";
  std::string told = adapt_upstream(answer, *query, 10, 512, {});
  EXPECT_EQ(word(told, 6), 2);
  EXPECT_EQ(word(told, 10), 0);
  EXPECT_EQ(told.find("bank"), std::string::npos);
  EXPECT_NE(told.find("\x0a\x0b\x0c\x0d"), std::string::npos);
  // Not the answer: another id, name, type, class; a query; more records than anybody sends.
  EXPECT_FALSE(check_upstream(answer, query->id + 1, "www.example.org", kA, 1).has_value());
  EXPECT_FALSE(check_upstream(answer, query->id, "ww.example.org", kA, 1).has_value());
  EXPECT_FALSE(check_upstream(answer, query->id, "www.example.org", kAaaa, 1).has_value());
  EXPECT_FALSE(check_upstream(answer, query->id, "www.example.org", kA, 3).has_value());
  EXPECT_FALSE(
      check_upstream(wire_query("www.example.org", kA), query->id, "www.example.org", kA, 1).has_value());
  for (size_t n = 0; n < answer.size(); ++n) {
    (void)check_upstream(std::string_view(answer).substr(0, n), query->id, "www.example.org", kA, 1);
    (void)adapt_upstream(std::string_view(answer).substr(0, n), *query, 10, 512, {});
  }
  std::string many = answer;
  many[6] = 16;  // 4096 records
  EXPECT_FALSE(check_upstream(many, query->id, "www.example.org", kA, 1).has_value());
}

}  // namespace
}  // namespace proxy::dns
