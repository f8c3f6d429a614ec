#include "runtime/image/manifest.h"

#include <gmock/gmock.h>

#include "runtime/image/digest.h"

namespace runtime {
namespace {

using base::Kind;
std::string digest(char c) { return "sha256:" + std::string(64, c); }
std::string descriptor(const std::string& of, const std::string& more = "") {
  return R"({"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":")" + of + R"(","size":7)" +
         more + "}";
}

TEST(ImageManifest, DockerAndOciFormsAreTheSame) {
  for (std::string type : {"application/vnd.oci.image.manifest.v1+json",
                           "application/vnd.docker.distribution.manifest.v2+json"}) {
    auto manifest = parse_manifest(R"({"schemaVersion":2,"mediaType":")" + type + R"(","config":)" +
                                       descriptor(digest('c')) + R"(,"layers":[)" + descriptor(digest('1')) +
                                       "," + descriptor(digest('2')) + "]}",
                                   "x");
    ASSERT_TRUE(manifest.ok()) << manifest.error().message();
    EXPECT_EQ(manifest->config.digest, digest('c'));
    ASSERT_EQ(manifest->layers.size(), 2u);
    EXPECT_EQ(manifest->layers[1].digest, digest('2'));
    EXPECT_EQ(manifest->layers[1].size, 7u);
  }
}

TEST(ImageManifest, ItsOwnTextParses) {
  Manifest manifest;
  manifest.config = {std::string(media::kOciConfig), digest('c'), 5, {}, {}, {}};
  manifest.layers = {{std::string(media::kOciLayer), digest('1'), 6, {}, {}, {}}};
  auto again = parse_manifest(manifest_text(manifest), "x");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(manifest_text(*again), manifest_text(manifest));
  EXPECT_FALSE(is_index(manifest_text(manifest)));
}

TEST(ImageManifest, BrokenOnesSayWhat) {
  std::string many = "[";
  for (int i = 0; i < 501; ++i) many += (i ? "," : "") + descriptor(digest('1'));
  many += "]";
  const std::tuple<std::string, Kind, std::string> cases[] = {
      {"", Kind::kInvalid, "parse JSON"},
      {"[]", Kind::kInvalid, "no config"},
      {R"({"schemaVersion":1,"fsLayers":[]})", Kind::kUnsupported, "schema 1"},
      {R"({"config":{},"layers":[]})", Kind::kInvalid, "is no digest"},
      {R"({"config":)" + descriptor("sha256:../../../etc/passwd") + R"(,"layers":[]})", Kind::kInvalid,
       "is no digest"},
      {R"({"config":)" + descriptor("sha512:00") + R"(,"layers":[]})", Kind::kUnsupported, "sha512"},
      {R"({"config":{"digest":")" + digest('c') + R"(","size":-1},"layers":[]})", Kind::kInvalid, "no size"},
      {R"({"config":{"digest":")" + digest('c') + R"(","size":99999999},"layers":[]})", Kind::kInvalid,
       "8 MiB"},
      {R"({"config":)" + descriptor(digest('c')) + R"(,"layers":)" + many + "}", Kind::kInvalid,
       "500 layers"},
      {R"({"config":)" + descriptor(digest('c')) +
           R"(,"layers":[{"mediaType":"application/vnd.in-toto+json","digest":")" + digest('1') +
           R"(","size":1}]})",
       Kind::kUnsupported, "no tar"},
  };
  for (const auto& [text, kind, words] : cases) {
    auto got = parse_manifest(text, "the-image");
    ASSERT_FALSE(got.ok()) << text.substr(0, 200);
    EXPECT_EQ(got.error().kind, kind) << got.error().message();
    EXPECT_THAT(got.error().message(), testing::HasSubstr(words));
    EXPECT_THAT(got.error().message(), testing::HasSubstr("the-image"));
  }
}

std::string platform(const std::string& os, const std::string& arch, const std::string& variant = "") {
  return R"(,"platform":{"os":")" + os + R"(","architecture":")" + arch + R"(","variant":")" + variant +
         "\"}";
}

TEST(ImageManifest, NestedOnesAreRefused) {
  auto manifest = [](const std::string& annotation) {
    return R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":)" +
           descriptor(digest('c')) + R"(,"layers":[],"annotations":{"a":)" + annotation + "}}";
  };
  auto lists = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_manifest(manifest("\"b\""), "x").ok());
  for (const std::string& text :
       {manifest(lists(127)), lists(129), std::string(1 << 20, '['), std::string(1 << 20, '{')}) {
    EXPECT_EQ(parse_manifest(text, "x").error().kind, Kind::kInvalid);
    EXPECT_FALSE(is_index(text));
  }
}

TEST(ImageManifest, ThePlatformIsChosenByVariantToo) {
  auto index = parse_index(R"({"manifests":[)" + descriptor(digest('0'), platform("unknown", "unknown")) +
                               "," + descriptor(digest('1'), platform("linux", "arm", "v6")) + "," +
                               descriptor(digest('2'), platform("linux", "arm", "v7")) + "," +
                               descriptor(digest('3'), platform("linux", "amd64")) + "]}",
                           "x");
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(choose_platform(*index, {"linux", "arm", "v7"}, "x")->digest, digest('2'));
  EXPECT_EQ(choose_platform(*index, {"linux", "amd64", ""}, "x")->digest, digest('3'));
  auto none = choose_platform(*index, {"linux", "riscv64", ""}, "demo/x");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().kind, Kind::kNotFound);
  EXPECT_EQ(none.error().message(),
            "choose platform of demo/x: none for linux/riscv64, only unknown/unknown, linux/arm/v6, "
            "linux/arm/v7, linux/amd64: build and push the image for this architecture");
}

TEST(ImageManifest, ConfigsNeedDiffIds) {
  EXPECT_EQ(parse_config(R"({"rootfs":{"diff_ids":[")" + digest('1') + R"("]}})", "x")->diff_ids.size(), 1u);
  for (std::string text :
       {R"({})", R"({"rootfs":{"diff_ids":["sha256:x"]}})", R"({"rootfs":{"diff_ids":[1]}})", "nul"})
    EXPECT_FALSE(parse_config(text, "x").ok()) << text;
}

TEST(ImageDigest, KnownVectors) {
  EXPECT_EQ(sha256_digest(""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_digest("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace runtime
