#include "base/http/http.h"

#include <gtest/gtest.h>

namespace base::http {
namespace {

TEST(Headers, AreFoundWithoutCaseAndByToken) {
  Headers headers;
  headers.add("Connection", "keep-alive, Upgrade");
  headers.add("X-Stream-Protocol-Version", "v4.channel.k8s.io");
  headers.add("x-stream-protocol-version", "v3.channel.k8s.io");
  EXPECT_EQ(headers.get("CONNECTION"), "keep-alive, Upgrade");
  EXPECT_TRUE(headers.has_token("connection", "upgrade"));
  EXPECT_FALSE(headers.has_token("connection", "up"));
  EXPECT_TRUE(headers.has_token("X-Stream-Protocol-Version", "v3.channel.k8s.io"));
  EXPECT_EQ(headers.get("absent"), "");
  headers.set("X-STREAM-PROTOCOL-VERSION", "v5");
  EXPECT_EQ(headers.list.size(), 2u);
  EXPECT_EQ(headers.get("x-stream-protocol-version"), "v5");
  headers.set("New", "1");
  EXPECT_EQ(headers.get("new"), "1");
}

TEST(Query, DecodesInOrder) {
  auto pairs = parse_query("command=ls&command=-l+%2Ftmp&&stdin&x=%zz&e=");
  ASSERT_EQ(pairs.size(), 5u);
  EXPECT_EQ(pairs[0].second, "ls");
  EXPECT_EQ(pairs[1].second, "-l /tmp");
  EXPECT_EQ(pairs[2], (std::pair<std::string, std::string>("stdin", "")));
  EXPECT_EQ(pairs[3].second, "%zz");
  EXPECT_EQ(pairs[4].second, "");
}

TEST(Escape, ThereAndBack) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  EXPECT_EQ(unescape(escape(all)).value(), all);
  EXPECT_EQ(escape("a b/c"), "a%20b%2Fc");
  EXPECT_EQ(unescape("a+b").value(), "a+b");
  EXPECT_FALSE(unescape("%g0").ok());
  EXPECT_FALSE(unescape("%4").ok());
}

TEST(Request, SplitsItsTarget) {
  Request request;
  request.target = "/api/v1/pods?limit=5?x";
  EXPECT_EQ(request.path(), "/api/v1/pods");
  EXPECT_EQ(request.query(), "limit=5?x");
  request.target = "/api";
  EXPECT_EQ(request.path(), "/api");
  EXPECT_EQ(request.query(), "");
}
}  // namespace
}  // namespace base::http
