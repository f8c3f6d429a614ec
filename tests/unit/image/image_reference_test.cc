#include "runtime/image/reference.h"

#include <gmock/gmock.h>

#include "runtime/runtime.h"

namespace runtime {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(ImageReference, ShortFormsAreCompleted) {
  const std::pair<std::string, std::string> cases[] = {
      {"nginx", "docker.io/library/nginx:latest"},
      {"nginx:1.22", "docker.io/library/nginx:1.22"},
      {"demo/nginx:1", "docker.io/demo/nginx:1"},
      {"docker.io/nginx", "docker.io/library/nginx:latest"},
      {"index.docker.io/a/b", "docker.io/a/b:latest"},
      {"localhost/a", "localhost/a:latest"},
      {"localhost:5000/a:b", "localhost:5000/a:b"},
      {"10.0.0.1:5000/a/b/c:v1.2-rc_3", "10.0.0.1:5000/a/b/c:v1.2-rc_3"},
      {"[::1]:5000/a", "[::1]:5000/a:latest"},
      {"registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"},
      {"Host/a", "Host/a:latest"},
      {"a__b/c-d--e.f", "docker.io/a__b/c-d--e.f:latest"},
      {"nginx@" + kDigest, "docker.io/library/nginx@" + kDigest},
      {"nginx:1@" + kDigest, "docker.io/library/nginx:1@" + kDigest},
  };
  for (const auto& [from, to] : cases) {
    auto got = normalize_image_name(from);
    ASSERT_TRUE(got.ok()) << from << ": " << got.error().message();
    EXPECT_EQ(*got, to);
    EXPECT_EQ(*normalize_image_name(*got), to) << "not a fixed point";
  }
}

TEST(ImageReference, WhatNoRegistryAcceptsIsRefused) {
  for (std::string name : {std::string(""),
                           std::string(":"),
                           std::string("a:"),
                           std::string("a:b:c"),
                           std::string("NGINX"),
                           std::string("a/B"),
                           std::string("a//b"),
                           std::string("/a"),
                           std::string("a/"),
                           std::string("a/../b"),
                           std::string("../../etc/passwd"),
                           std::string("a..b"),
                           std::string("a___b"),
                           std::string("-a"),
                           std::string("a-"),
                           std::string("a b"),
                           std::string("a\nb"),
                           std::string("a:b/c"),
                           std::string("a:-x"),
                           "a:" + std::string(129, 'x'),
                           std::string(256, 'a'),
                           std::string("a@sha256:abc"),
                           "a@sha512:" + std::string(128, 'a'),
                           "a@sha256:" + std::string(64, 'A'),
                           std::string(64, 'a'),
                           std::string("host:port/a"),
                           std::string("host:/a"),
                           std::string("ho_st.x/a"),
                           std::string("[::1/a"),
                           std::string("a\0b", 3)}) {
    auto got = normalize_image_name(name);
    EXPECT_FALSE(got.ok()) << "'" << name << "' became " << *got;
    if (!got.ok()) {
      EXPECT_EQ(got.error().kind, base::Kind::kInvalid);
    }
  }
}

TEST(ImageReference, OnlyWholeSha256DigestsAreDigests) {
  EXPECT_TRUE(is_digest(kDigest));
  for (std::string text : {std::string(""), std::string("sha256:"), kDigest + "a", kDigest.substr(1),
                           "sha256:" + std::string(62, 'a') + "..", "sha256:../" + std::string(61, 'a')})
    EXPECT_FALSE(is_digest(text)) << text;
}

}  // namespace
}  // namespace runtime
