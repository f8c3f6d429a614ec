#include "runtime/image/registry.h"

#include <gmock/gmock.h>

namespace runtime {
namespace {

using base::Kind;
using testing::HasSubstr;

base::Result<Registries> parse(std::string_view text) {
  return Registries::parse(text, "registries.json", [](const std::string& path) -> base::Result<std::string> {
    if (path == "/secret") return std::string("from-file\n");
    return base::make_error(Kind::kNotFound, "open", path);
  });
}
std::vector<std::string> urls(const Registries& registries, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& endpoint : registries.endpoints(*parse_image_reference(name))) out.push_back(endpoint.url);
  return out;
}

TEST(Registries, EndpointsInOrder) {
  auto registries = parse(R"({"registries":{
    "docker.io":{"mirrors":["m1:5000","m2.example"]},
    "m1:5000":{"plainHTTP":true},
    "only.example":{"mirrors":["m1:5000"],"mirrorsOnly":true}}})");
  ASSERT_TRUE(registries.ok()) << registries.error().message();
  EXPECT_THAT(urls(*registries, "nginx"),
              testing::ElementsAre("http://m1:5000", "https://m2.example", "https://registry-1.docker.io"));
  EXPECT_THAT(urls(*registries, "only.example/a"), testing::ElementsAre("http://m1:5000"));
  EXPECT_THAT(urls(*registries, "quay.io/a/b"), testing::ElementsAre("https://quay.io"));
}

TEST(Registries, LoopbackIsPlainUnlessConfigured) {
  Registries none;
  EXPECT_THAT(urls(none, "localhost:5000/a"), testing::ElementsAre("http://localhost:5000"));
  EXPECT_THAT(urls(none, "127.0.0.5:5000/a"), testing::ElementsAre("http://127.0.0.5:5000"));
  EXPECT_THAT(urls(none, "[::1]:5000/a"), testing::ElementsAre("http://[::1]:5000"));
  EXPECT_THAT(urls(none, "10.0.0.1:5000/a"), testing::ElementsAre("https://10.0.0.1:5000"));
  auto configured = parse(R"({"registries":{"localhost:5000":{"insecure":true}}})");
  EXPECT_THAT(urls(*configured, "localhost:5000/a"), testing::ElementsAre("https://localhost:5000"));
}

TEST(Registries, CredentialsFromFilesAndDockerConfig) {
  auto registries =
      parse(R"({"registries":{"a.example":{"username":"u","passwordFile":"/secret","caFile":"/ca"}}})");
  ASSERT_TRUE(registries.ok()) << registries.error().message();
  EXPECT_EQ(registries->settings("a.example").password, "from-file");
  ASSERT_TRUE(
      registries
          ->add_docker_config(
              R"({"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnA6dw=="},"a.example":{"username":"x","password":"y"},"helper.example":{}}})",
              "c")
          .ok());
  EXPECT_EQ(registries->settings("docker.io").username, "hub");
  EXPECT_EQ(registries->settings("docker.io").password, "p:w") << "only the first colon separates";
  EXPECT_EQ(registries->settings("a.example").username, "x");
  EXPECT_EQ(registries->settings("a.example").ca_file, "/ca") << "what is not a credential stays";
  EXPECT_FALSE(registries->add_docker_config(R"({"auths":{"a":{"auth":"!"}}})", "c").ok());
  EXPECT_FALSE(registries->add_docker_config(R"({"auths":{"a":{"auth":"YWJj"}}})", "c").ok());
}

TEST(Registries, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "parse JSON"},
      {"[]", "is no object"},
      {R"({"registry":{}})", "only an object 'registries'"},
      {R"({"registries":{"a":[]}})", "a: is no object"},
      {R"({"registries":{"a":{"plainHttp":true}}})", "a.plainHttp: unknown; known are mirrors"},
      {R"({"registries":{"a":{"plainHTTP":"yes"}}})", "a.plainHTTP: is neither true nor false"},
      {R"({"registries":{"a":{"caFile":""}}})", "a.caFile: is no text"},
      {R"({"registries":{"a":{"mirrors":["http://x"]}}})", "'http://x' is no host"},
      {R"({"registries":{"a":{"mirrors":"x"}}})", "is no list"},
      {R"({"registries":{"a":{"passwordFile":"/nowhere","username":"u"}}})", "/nowhere"},
      {R"({"registries":{"a":{"password":"p"}}})", "a password without a username"},
      {R"({"registries":{"a":{"plainHTTP":true,"insecure":true}}})", "no TLS"},
  };
  for (const auto& [text, words] : cases) {
    auto got = parse(text);
    ASSERT_FALSE(got.ok()) << text;
    EXPECT_THAT(got.error().message(), HasSubstr(words));
    EXPECT_THAT(got.error().message(), HasSubstr("registries.json"));
  }
  EXPECT_TRUE(parse("{}").ok());
}

TEST(Challenges, AsRegistriesSendThem) {
  auto docker = parse_challenges(
      R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push")");
  ASSERT_EQ(docker.size(), 1u);
  EXPECT_EQ(docker[0].scheme, "bearer");
  EXPECT_EQ(docker[0].parameters["realm"], "https://auth.docker.io/token");
  EXPECT_EQ(docker[0].parameters["scope"], "repository:a/b:pull,push");
  auto two = parse_challenges(R"(Basic realm="a \"quoted\" one", Bearer Realm = token , negotiate)");
  ASSERT_EQ(two.size(), 3u);
  EXPECT_EQ(two[0].parameters["realm"], "a \"quoted\" one");
  EXPECT_EQ(two[1].parameters["realm"], "token");
  EXPECT_EQ(two[2].scheme, "negotiate");
}

TEST(Challenges, NonsenseDoesNotHang) {
  unsigned seed = 1;
  const std::string_view alphabet = "aB=\",\\ \t/";
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (unsigned n = (seed = seed * 1664525 + 1013904223) >> 27; n > 0; --n)
      text += alphabet[((seed = seed * 1664525 + 1013904223) >> 8) % alphabet.size()];
    parse_challenges(text);
  }
}

}  // namespace
}  // namespace runtime
