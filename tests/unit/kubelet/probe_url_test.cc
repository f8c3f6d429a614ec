#include "kubelet/pod/probe_url.h"

#include <gtest/gtest.h>

namespace kubelet {
namespace {

std::string target(std::string_view path) {
  auto url = probe_url(false, "10.0.0.1", 8080, path);
  return url.ok() ? url->target : url.error().reason;
}

TEST(ProbeUrl, PathsThatAreUrlsGoAsTheyAre) {
  EXPECT_EQ(target(""), "/");
  EXPECT_EQ(target("/healthz"), "/healthz");
  EXPECT_EQ(target("healthz"), "/healthz");
  EXPECT_EQ(target("/a?b=c&d=%20e"), "/a?b=c&d=%20e");
  EXPECT_EQ(target("/a%2Fb"), "/a%2Fb");
  EXPECT_EQ(target("/a b"), "/a%20b");
  EXPECT_EQ(target("/a#part"), "/a");
  EXPECT_EQ(target("//other/x"), "/x");  // its host is not asked
  EXPECT_EQ(target("http://other:1/x?y"), "/x?y");
  EXPECT_EQ(target("/ä"), "/%C3%A4");
  EXPECT_EQ(target("?x"), "/?x");
}

TEST(ProbeUrl, WhatIsNoUrlIsAPathAsAWhole) {
  EXPECT_EQ(target("/100%"), "/100%25");
  EXPECT_EQ(target("/x%zz?y"), "/x%25zz%3Fy");
  EXPECT_EQ(target("1:2"), "/1:2");
}

// A Pod's author writes no second request, and no header, into the node's.
TEST(ProbeUrl, NothingOfAPathEndsTheRequestLine) {
  EXPECT_EQ(target("/ HTTP/1.1\r\nHost: victim\r\n\r\nDELETE /x"),
            "/%20HTTP/1.1%0D%0AHost:%20victim%0D%0A%0D%0ADELETE%20/x");
  EXPECT_EQ(target("/?q=a b"), "/?q=a%20b");
  for (int c = 0; c < 256; ++c) {
    for (const char* place : {"/", "/p?", "", "/p#"}) {
      const std::string out = target(std::string(place) + static_cast<char>(c) + "x");
      for (char d : out) EXPECT_TRUE(d > 0x20 && d < 0x7f) << place << " " << c << ": " << out;
      EXPECT_TRUE(out.starts_with('/')) << out;
    }
  }
}

TEST(ProbeUrl, HostsThatMayStandInAUrl) {
  EXPECT_EQ(probe_url(true, "fd00::1", 443, "/x")->text(), "https://[fd00::1]:443/x");
  EXPECT_EQ(probe_url(false, "name.example", 80, "")->text(), "http://name.example:80/");
  for (const char* bad :
       {"", "a b", "a\r\nX: y", "a/b", "unix:/run/x", "unix:x", "a@b", "a?b", "[::1]", "10.0.0.1:80", "a%b"})
    EXPECT_FALSE(probe_url(false, bad, 80, "/").ok()) << bad;
}

std::string redirected(std::string_view location, std::string_view from = "/a/b?q=1") {
  auto url = redirect_url(*probe_url(false, "10.0.0.1", 8080, from), location);
  return url.ok() ? url->text() : url.error().reason;
}

TEST(ProbeUrl, Redirects) {
  EXPECT_EQ(redirected("/x?y"), "http://10.0.0.1:8080/x?y");
  EXPECT_EQ(redirected("c"), "http://10.0.0.1:8080/a/c");
  EXPECT_EQ(redirected("../c"), "http://10.0.0.1:8080/c");
  EXPECT_EQ(redirected("../../../c/."), "http://10.0.0.1:8080/c/");
  EXPECT_EQ(redirected("?z"), "http://10.0.0.1:8080/a/b?z");
  EXPECT_EQ(redirected("#z"), "http://10.0.0.1:8080/a/b?q=1");
  EXPECT_EQ(redirected("//10.0.0.1/x"), "http://10.0.0.1:80/x");
  EXPECT_EQ(redirected("https://10.0.0.1/x"), "https://10.0.0.1:443/x");
  EXPECT_EQ(redirected("HTTP://u:p@other:81"), "http://other:81/");
  EXPECT_EQ(redirected("http://[fd00::1]:9/x"), "http://[fd00::1]:9/x");
  EXPECT_EQ(redirected("ftp://10.0.0.1/"), "unsupported protocol scheme \"ftp\"");
  EXPECT_NE(redirected("http://10.0.0.1:99999/").find("failed to parse Location header"), std::string::npos);
  EXPECT_NE(redirected("http://[::1/").find("failed to parse"), std::string::npos);
  EXPECT_NE(redirected("/%zz").find("invalid URL escape"), std::string::npos);
  EXPECT_NE(redirected("/x\r\ny").find("invalid control character"), std::string::npos);
}

std::string headers(const HeaderList& given) {
  auto list = probe_headers(*probe_url(false, "10.0.0.1", 8080, "/"), given, "probe");
  if (!list.ok()) return list.error().reason;
  std::string out;
  for (const auto& [name, value] : *list) out += name + "=" + value + ";";
  return out;
}

TEST(ProbeUrl, Headers) {
  EXPECT_EQ(headers({}), "Host=10.0.0.1:8080;User-Agent=kube-probe/1.36;Accept=*/*;Connection=close;");
  EXPECT_EQ(headers({{"host", "web.example"}, {"x-own", " v "}, {"X-Own", "w"}}),
            "Host=web.example;X-Own=v;X-Own=w;User-Agent=kube-probe/1.36;Accept=*/*;Connection=close;");
  EXPECT_EQ(headers({{"User-Agent", ""}, {"accept", ""}}), "Host=10.0.0.1:8080;Connection=close;");
  EXPECT_EQ(headers({{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}),
            "Host=10.0.0.1:8080;User-Agent=kube-probe/1.36;Accept=*/*;Connection=close;");
  EXPECT_EQ(headers({{"X", "a\r\nY: b"}}), "net/http: invalid header field value for \"X\"");
  EXPECT_EQ(headers({{"Host", "a\r\nY: b"}}), "net/http: invalid header field value for \"Host\"");
  EXPECT_EQ(headers({{"Host", "a b"}}), "http: invalid Host header");
  EXPECT_EQ(headers({{"X: y\r\nZ", "v"}}), "net/http: invalid header field name \"X: y\\r\\nZ\"");
}

}  // namespace
}  // namespace kubelet
