// Volumes: what they shall hold (pure), and files that change all at once.
#include "kubelet/volumes/plan.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "kubelet/node/images.h"
#include "kubelet/volumes/exec.h"

namespace kubelet {
namespace {

api::Pod pod_of(const std::string& volumes) {
  auto pod = api::decode_text<api::Pod>(
      R"({"metadata":{"name":"p","namespace":"n","uid":"u"},"spec":{"containers":[{"name":"c","envFrom":[{"secretRef":{"name":"e"}}]}],"volumes":[)" +
      volumes + "]}}");
  EXPECT_TRUE(pod.ok()) << (pod.ok() ? "" : pod.error().message());
  return *pod;
}
const std::map<std::string, std::string> kData{{"a", "1"}, {"b", "2"}};
VolumeSources sources() {
  VolumeSources s;
  s.env.data = [](ObjectKind, const std::string& name) { return name == "there" ? &kData : nullptr; };
  s.tokens[{"aud", 600}] = "tok";
  return s;
}
std::string plan(const std::string& volume) {
  const api::Pod pod = pod_of(volume);
  auto out = plan_volume(pod, spec_of(pod).volumes.at(0), sources());
  if (!out.ok()) return out.error().reason;
  std::string text = out->name + (out->in_memory ? " memory" : "");
  for (const auto& f : out->files) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%o", f.mode);
    text += " " + f.path + "=" + f.data + "/" + mode;
  }
  return text;
}

TEST(VolumesPlan, Files) {
  EXPECT_EQ(plan(R"({"name":"v","configMap":{"name":"there"}})"), "v a=1/644 b=2/644");
  EXPECT_EQ(
      plan(
          R"({"name":"v","secret":{"secretName":"there","defaultMode":256,"items":[{"key":"b","path":"x/y","mode":292}]}})"),
      "v memory x/y=2/444");
  EXPECT_EQ(
      plan(R"({"name":"v","downwardAPI":{"items":[{"path":"n","fieldRef":{"fieldPath":"metadata.name"}}]}})"),
      "v n=p/644");
  EXPECT_EQ(
      plan(
          R"({"name":"v","projected":{"sources":[{"configMap":{"name":"there","items":[{"key":"a","path":"a"}]}},{"serviceAccountToken":{"audience":"aud","expirationSeconds":600,"path":"t"}}]}})"),
      "v memory a=1/644 t=tok/644");
  EXPECT_EQ(plan(R"({"name":"v","configMap":{"name":"no","optional":true}})"), "v");
  EXPECT_EQ(plan(R"({"name":"v"})"), "v");
}

TEST(VolumesPlan, SaysWhatIsWrong) {
  EXPECT_EQ(plan(R"({"name":"v","configMap":{"name":"no"}})"),
            "MountVolume.SetUp failed for volume \"v\" : configmap \"no\" not found");
  EXPECT_EQ(plan(R"({"name":"v","secret":{"secretName":"there","items":[{"key":"z","path":"z"}]}})"),
            "MountVolume.SetUp failed for volume \"v\" : secret references non-existent config key: z");
  EXPECT_NE(
      plan(R"({"name":"v","configMap":{"name":"there","items":[{"key":"a","path":"../../etc/passwd"}]}})")
          .find("leaves the volume"),
      std::string::npos);
  EXPECT_NE(plan(R"({"name":"v","nfs":{"server":"s","path":"/"}})").find("not supported"), std::string::npos);
}

TEST(VolumesPlan, TokensAreForWhoRunsThere) {
  auto mode = [](const std::string& pod_context, const std::string& containers) {
    auto pod = api::decode_text<api::Pod>(
        R"({"metadata":{"name":"p","namespace":"n","uid":"u"},"spec":{"securityContext":)" + pod_context +
        R"(,"containers":)" + containers + R"(,"volumes":[{"name":"v","projected":{"sources":[
            {"configMap":{"name":"there","items":[{"key":"a","path":"a"}]}},
            {"serviceAccountToken":{"audience":"aud","expirationSeconds":600,"path":"t"}}]}}]}})");
    auto out = plan_volume(*pod, spec_of(*pod).volumes.at(0), sources());
    EXPECT_EQ(out->files.at(0).mode, 0644u) << "of tokens alone";
    const VolumeFile& token = out->files.at(1);
    char text[32];
    std::snprintf(text, sizeof text, "%o %d", token.mode, token.user ? static_cast<int>(*token.user) : -1);
    return std::string(text);
  };
  EXPECT_EQ(mode("{}", R"([{"name":"a"}])"), "644 -1");
  EXPECT_EQ(mode(R"({"runAsUser":1000})", R"([{"name":"a"},{"name":"b"}])"), "600 1000");
  EXPECT_EQ(mode("{}", R"([{"name":"a","securityContext":{"runAsUser":7}}])"), "600 7");
  EXPECT_EQ(mode("{}", R"([{"name":"a","securityContext":{"runAsUser":7}},{"name":"b"}])"), "644 -1");
  EXPECT_EQ(mode(R"({"runAsUser":1000})", R"([{"name":"a"},{"name":"b","securityContext":{"runAsUser":7}}])"),
            "644 -1");
  EXPECT_EQ(mode(R"({"fsGroup":5})", R"([{"name":"a"}])"), "600 -1");
}

TEST(Tokens, AreRenewedInTime) {
  using std::chrono::hours, std::chrono::seconds;
  EXPECT_EQ(token_renewal(seconds(600)), seconds(480));
  EXPECT_EQ(token_renewal(hours(24 * 365)), hours(24));
  EXPECT_EQ(token_retry(0), seconds(1));
  EXPECT_EQ(token_retry(3), seconds(8));
  EXPECT_EQ(token_retry(1000), seconds(60));
}

TEST(VolumesPlan, References) {
  auto found = references(pod_of(
      R"({"name":"v","configMap":{"name":"m"}},{"name":"w","projected":{"sources":[{"secret":{"name":"s"}}]}})"));
  EXPECT_EQ(found,
            (std::vector<Reference>{
                {ObjectKind::kConfigMap, "m"}, {ObjectKind::kSecret, "e"}, {ObjectKind::kSecret, "s"}}));
}

class Directory : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/kubelet-unit-XXXXXX";
    dir_ = ::mkdtemp(path);
  }
  void TearDown() override { EXPECT_TRUE(base::sys::remove_all(dir_).ok()); }
  std::string dir_;
};

TEST_F(Directory, FilesChangeBehindOneLink) {
  ASSERT_TRUE(
      write_files(dir_,
                  {{.path = "a", .data = "1", .mode = 0644}, {.path = "d/x", .data = "2", .mode = 0600}},
                  std::nullopt)
          .ok());
  EXPECT_EQ(*base::sys::read_file(dir_ + "/a"), "1");
  EXPECT_EQ(*base::sys::read_file(dir_ + "/d/x"), "2");
  char first[256], second[256];
  ssize_t n = ::readlink((dir_ + "/..data").c_str(), first, sizeof first);
  ASSERT_TRUE(
      write_files(dir_,
                  {{.path = "a", .data = "1", .mode = 0644}, {.path = "d/x", .data = "2", .mode = 0600}},
                  std::nullopt)
          .ok());
  ASSERT_EQ(::readlink((dir_ + "/..data").c_str(), second, sizeof second), n);
  EXPECT_EQ(std::string(first, static_cast<size_t>(n)), std::string(second, static_cast<size_t>(n)))
      << "nothing changed, nothing is written";
  ASSERT_TRUE(write_files(dir_, {{.path = "a", .data = "3", .mode = 0644}}, std::nullopt).ok());
  EXPECT_EQ(*base::sys::read_file(dir_ + "/a"), "3");
  EXPECT_FALSE(base::sys::exists(dir_ + "/d"));
  auto left = base::sys::list_dir(dir_);
  EXPECT_EQ(left->size(), 3u) << "a, ..data and one directory";
}

TEST_F(Directory, MountPointsAreMadeAndStay) {
  const std::string volume = dir_ + "/volume", source = dir_ + "/source", file = dir_ + "/file";
  ASSERT_TRUE(base::sys::mkdir_all(volume, 0755).ok());
  ASSERT_TRUE(base::sys::mkdir_all(source, 0755).ok());
  ASSERT_TRUE(base::sys::write_file_atomic(file, "x", 0644).ok());
  ASSERT_EQ(::symlink("/etc", (volume + "/out").c_str()), 0);
  EXPECT_TRUE(
      make_mount_point({.volume = volume, .relative = "kubernetes.io//serviceaccount/", .source = source})
          .ok());
  EXPECT_TRUE(make_mount_point({.volume = volume, .relative = "hosts", .source = file}).ok());
  EXPECT_TRUE(make_mount_point({.volume = volume, .relative = "hosts", .source = file}).ok())
      << "there already";
  EXPECT_FALSE(make_mount_point({.volume = volume, .relative = "out/sampan", .source = file}).ok());
  EXPECT_FALSE(base::sys::exists("/etc/sampan"));
  struct stat st {};
  ASSERT_EQ(::stat((volume + "/hosts").c_str(), &st), 0);
  EXPECT_TRUE(S_ISREG(st.st_mode));
  ASSERT_TRUE(write_files(volume, {{.path = "a", .data = "1", .mode = 0644}}, std::nullopt).ok());
  ASSERT_TRUE(write_files(volume, {{.path = "b", .data = "2", .mode = 0644}}, std::nullopt).ok());
  EXPECT_FALSE(base::sys::exists(volume + "/a"));
  ASSERT_EQ(::stat((volume + "/kubernetes.io/serviceaccount").c_str(), &st), 0);
  EXPECT_TRUE(S_ISDIR(st.st_mode));
  EXPECT_TRUE(base::sys::exists(volume + "/hosts"));
}

TEST_F(Directory, SubPathsStayInside) {
  ASSERT_EQ(::symlink("/etc", (dir_ + "/out").c_str()), 0);
  ASSERT_EQ(::symlink("in", (dir_ + "/link").c_str()), 0);
  EXPECT_TRUE(open_sub_path(dir_, "in/deep").ok());
  EXPECT_TRUE(base::sys::exists(dir_ + "/in/deep"));
  EXPECT_TRUE(open_sub_path(dir_, "link/deep").ok());
  EXPECT_FALSE(open_sub_path(dir_, "out/passwd").ok());
  EXPECT_FALSE(open_sub_path(dir_, "out/new").ok());
  EXPECT_FALSE(open_sub_path(dir_, "../x").ok());
  EXPECT_FALSE(open_sub_path(dir_, "in/../../x").ok());
}

TEST(PullAnswer, GoodBadAndNone) {
  EXPECT_EQ(parse_pull_answer("x", R"({"name":"n","digest":"sha256:1"})", {.code = 0, .signal = 0})->digest,
            "sha256:1");
  auto bad = parse_pull_answer(
      "x",
      R"({"error":"e","kind":"not found","message":"pull image docker.io/library/x:1: GET http://r/x: no such tag"})",
      {.code = 1, .signal = 0});
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().kind, base::Kind::kNotFound);
  EXPECT_EQ(bad.error().message(), "GET http://r/x: no such tag");  // an Event says the rest once
  EXPECT_FALSE(parse_pull_answer("x", "", {.code = 0, .signal = 9}).ok());
  EXPECT_FALSE(parse_pull_answer("x", "{}", {.code = 0, .signal = 0}).ok());
}

}  // namespace
}  // namespace kubelet
