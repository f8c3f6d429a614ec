// The lines of the ConfigMap, and what they answer.
#include "proxy/dns_settings.h"

#include <gtest/gtest.h>

namespace proxy::dns {
namespace {

std::string shown(const std::optional<Answer>& answer) {
  if (!answer) return "none";
  std::string out;
  for (const Record& record : answer->answers) out += std::to_string(record.type) + " " + record.data + " ";
  return out + (answer->continue_at.empty() ? "" : "-> " + answer->continue_at);
}

TEST(DnsSettings, AreReadByLine) {
  const Settings s = read_settings(
      {{"hosts",
        "# ours\n192.0.2.7 Registry.example.com registry # both\n192.0.2.8\tregistry.\n192.0.2.7 registry"},
       {"forward",
        "corp.example.com 192.0.2.53 192.0.2.54\r\n. 198.51.100.53\n\nlab.corp.example.com. 192.0.2.55"},
       {"rewrite", "db.example.com DB.shop.svc.cluster.local."},
       {"unknown", "whatever"}},
      "10.96.0.10");
  EXPECT_EQ(s.errors, std::vector<std::string>());
  EXPECT_EQ(shown(s.answer("registry.example.com", kA)), "1 192.0.2.7 ");
  EXPECT_EQ(shown(s.answer("registry", kA)), "1 192.0.2.7 1 192.0.2.8 ");
  EXPECT_EQ(shown(s.answer("registry", kAaaa)), "");  // it is there, and has none
  EXPECT_EQ(shown(s.answer("other", kA)), "none");
  EXPECT_EQ(shown(s.answer("db.example.com", kA)),
            "5 db.shop.svc.cluster.local -> db.shop.svc.cluster.local");
  EXPECT_EQ(shown(s.answer("db.example.com", kCname)), "5 db.shop.svc.cluster.local ");
  EXPECT_EQ(s.servers_of("a.corp.example.com")->size(), 2u);
  EXPECT_EQ(s.servers_of("corp.example.com")->at(1), "192.0.2.54");
  EXPECT_EQ(s.servers_of("x.lab.corp.example.com")->at(0), "192.0.2.55");
  EXPECT_EQ(s.servers_of("notcorp.example.com")->at(0), "198.51.100.53");
  EXPECT_EQ(Settings().servers_of("a.b"), nullptr);
}

TEST(DnsSettings, WhatSaysNothingIsTold) {
  auto why = [](const char* member, const std::string& line) {
    const Settings s = read_settings({{member, line}}, "10.96.0.10");
    EXPECT_TRUE(s.hosts.empty() && s.rewrite.size() < 2) << line;
    return s.errors.empty() ? "" : s.errors[0];
  };
  EXPECT_EQ(why("hosts", "registry 192.0.2.7"),
            "hosts: \"registry 192.0.2.7\": it does not begin with an IPv4 address");
  EXPECT_EQ(why("hosts", "192.0.2.7"), "hosts: \"192.0.2.7\": an address and its names are needed");
  EXPECT_EQ(why("hosts", "192.0.2.7 a..b"), "hosts: \"192.0.2.7 a..b\": a..b is no name");
  EXPECT_EQ(why("forward", "corp 10.96.0.10"),
            "forward: \"corp 10.96.0.10\": 10.96.0.10 is this server itself");
  EXPECT_EQ(why("forward", "corp"), "forward: \"corp\": a domain has one to three servers");
  EXPECT_EQ(why("forward", "corp ns.corp"), "forward: \"corp ns.corp\": ns.corp is no IPv4 address");
  EXPECT_EQ(why("forward", "a 192.0.2.1\nA. 192.0.2.2"),
            "forward: \"A. 192.0.2.2\": the domain has servers already");
  EXPECT_EQ(why("rewrite", "a b c"), "rewrite: \"a b c\": two names are needed");
  EXPECT_EQ(why("rewrite", "a b\na c"), "rewrite: \"a c\": the name is rewritten already");
  EXPECT_EQ(why("rewrite", std::string("\xff\x01 b")).substr(0, 9), "rewrite: ");
  EXPECT_EQ(
      read_settings({{"rewrite", std::string(1000, '\n') + std::string(64, 'a') + " b"}}, "").errors.size(),
      1u);
}

}  // namespace
}  // namespace proxy::dns
