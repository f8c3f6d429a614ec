#include "master/server/proxy_answer.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/http/encoding.h"

namespace master {
namespace {

const ProxiedAt kAt{"/proxy/p", "10.0.0.1:80", "api:6443"};

std::string rewritten(const std::string& html, size_t piece = std::string::npos) {
  LinkRewriter rewriter(kAt);
  std::string out;
  for (size_t at = 0; at < html.size(); at += std::min(piece, html.size() - at))
    out += rewriter.take(std::string_view(html).substr(at, piece), false);
  return out + rewriter.take({}, true);
}

TEST(ProxyAnswer, LinksToItselfGetThePrefix) {
  const std::pair<const char*, const char*> kLinks[] = {
      {"/a", "/proxy/p/a"},
      {"/a/", "/proxy/p/a/"},
      {"/", "/proxy/p/"},
      {"/a?b=/c#d", "/proxy/p/a?b=/c#d"},
      {"/x/../y//z", "/proxy/p/y/z"},
      {"http://10.0.0.1:80/a", "/proxy/p/a"},
      {"//10.0.0.1:80/a", "/proxy/p/a"},
      {"https://api:6443/a", "https://api:6443/proxy/p/a"},
      {"/proxy/p/a", "/proxy/p/a"},
      // Relative ones, those to others, and what is no address of a page.
      {"a/b", "a/b"},
      {"", ""},
      {"#top", "#top"},
      {"?q=1", "?q=1"},
      {"http://example.com/a", "http://example.com/a"},
      {"//example.com/a", "//example.com/a"},
      {"mailto:a@b", "mailto:a@b"},
      {"javascript:go('/a')", "javascript:go('/a')"},
      {"/a\nb", "/a\nb"}};
  for (auto [link, wanted] : kLinks) EXPECT_EQ(proxied_link(kAt, link), wanted) << link;
}

TEST(ProxyAnswer, OfTheAttributesThatHoldLinks) {
  const std::pair<const char*, const char*> kPages[] = {
      {R"(<pre><a href="kubelet.log">kubelet.log</a><a href="/google.log">google.log</a></pre>)",
       R"(<pre><a href="kubelet.log">kubelet.log</a><a href="/proxy/p/google.log">google.log</a></pre>)"},
      {"<A HREF='/a' title=/b>", "<A HREF='/proxy/p/a' title=/b>"},
      {"<img src=/a/b.png alt=x>", "<img src=\"/proxy/p/a/b.png\" alt=x>"},
      {"<form action = \"/go\"/>", "<form action = \"/proxy/p/go\"/>"},
      {"<p href=\"/a\">1 < 2 <3 <a>", "<p href=\"/a\">1 < 2 <3 <a>"},
      {"<a data-x=\">\" href=\"/a\">", "<a data-x=\">\" href=\"/proxy/p/a\">"},
      // No markup inside: comments, scripts, titles.
      {"<!-- <a href=\"/a\"> --><a href=\"/a\">", "<!-- <a href=\"/a\"> --><a href=\"/proxy/p/a\">"},
      {"<script src=\"/s.js\">if (a<b) x='<a href=\"/a\">'</SCRIPT><a href=\"/a\">",
       "<script src=\"/proxy/p/s.js\">if (a<b) x='<a href=\"/a\">'</SCRIPT><a "
       "href=\"/proxy/p/a\">"},
      {"<a href=\"/unfinished", "<a href=\"/unfinished"},
      {"<", "<"},
      {"<!-", "<!-"},
      {"<a =\"/x\" href=/a>", "<a =\"/x\" href=\"/proxy/p/a\">"}};
  for (auto [page, wanted] : kPages) {
    EXPECT_EQ(rewritten(page), wanted);
    for (size_t piece : {1, 2, 3, 7}) EXPECT_EQ(rewritten(page, piece), wanted) << "in pieces of " << piece;
  }
}

TEST(ProxyAnswer, AnEndlessTagIsNotHeldBack) {
  LinkRewriter rewriter(kAt);
  std::string page = "<a href=\"/" + std::string(200 << 10, 'x'), out;
  out = rewriter.take(page, false);
  EXPECT_GT(out.size(), 100u << 10);
  EXPECT_EQ(out + rewriter.take({}, true), page);
}

TEST(ProxyAnswer, HeadsAndCompressedPages) {
  base::http::Response head;
  head.headers.list = {{"Content-Type", "text/plain"}, {"Access-Control-Allow-Origin", "*"}};
  EXPECT_FALSE(change_proxied(kAt, head));
  EXPECT_EQ(head.headers.list.size(), 1u);
  head.headers.list = {{"Location", "/login?to=/a"}, {"Content-Type", "text/html"}};
  EXPECT_FALSE(change_proxied(kAt, head));
  EXPECT_EQ(head.headers.get("Location"), "/proxy/p/login?to=/a");
  head.headers.list = {{"Content-Type", "text/html ; charset=utf-8"}, {"Content-Encoding", "gzip"}};
  auto filter = change_proxied(kAt, head);
  ASSERT_TRUE(filter);
  EXPECT_EQ(head.headers.get("Content-Encoding"), "");
  std::string packed = *base::http::gzip({base::http::bytes("<a href=\"/a\">")}), out;
  for (char c : packed) out += filter(std::string_view(&c, 1), false);
  EXPECT_EQ(out + filter({}, true), "<a href=\"/proxy/p/a\">");
  auto broken = change_proxied(
      kAt, head = {200, {{{"Content-Type", "text/html"}, {"Content-Encoding", "deflate"}}}, {}});
  EXPECT_EQ(broken("no such stream", false) + broken({}, true), "");
  head.headers.list = {{"Content-Type", "text/html"}, {"Content-Encoding", "br"}};
  EXPECT_FALSE(change_proxied(kAt, head));
}

}  // namespace
}  // namespace master
