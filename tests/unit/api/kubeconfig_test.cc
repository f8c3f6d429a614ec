#include "api/client/transport.h"

#include <gtest/gtest.h>

#include "base/base64.h"

namespace api {
namespace {

TEST(KubeConfig, WhatWeWriteWeRead) {
  KubeConfig config;
  config.server = "https://[fd00::1]:6443";
  config.ca_pem = "CA\n";
  config.client = {"CERT\n", "KEY\n"};
  config.token = "t: \"x\"";
  auto read = parse_kubeconfig(write_kubeconfig(config, "system:node:a"), ".");
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->server, config.server);
  EXPECT_EQ(read->ca_pem, "CA\n");
  EXPECT_EQ(read->client.certificate_pem, "CERT\n");
  EXPECT_EQ(read->client.key_pem, "KEY\n");
  EXPECT_EQ(read->token, config.token);
}
TEST(KubeConfig, SaysWhatIsMissing) {
  auto message = [](const char* text) { return parse_kubeconfig(text, ".").error().message(); };
  EXPECT_EQ(message("a: b"),
            "read kubeconfig: current-context is not set: run kubectl config use-context NAME");
  EXPECT_EQ(message("current-context: c"), "read kubeconfig: no context \"c\"");
  EXPECT_NE(message("a: [1").find("line "), std::string::npos) << message("a: [1");
}

TEST(Base64, RoundTrips) {
  for (std::string text : {std::string(), std::string("a"), std::string("ab"), std::string("\0\xff\n", 3)})
    EXPECT_EQ(base::base64_decode(base::base64_encode(text)), text);
  EXPECT_EQ(base::base64_encode("hello"), "aGVsbG8=");
  EXPECT_EQ(base::base64_decode("aGVs\nbG8="), "hello");
  for (const char* bad : {"a", "aGVsbG8", "aGVsbG8=x", "a===", "a b=", "aGV$bG8="})
    EXPECT_FALSE(base::base64_decode(bad)) << bad;
}

}  // namespace
}  // namespace api
