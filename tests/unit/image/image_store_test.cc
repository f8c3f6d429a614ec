#include "runtime/image/store.h"

#include <gmock/gmock.h>

#include "base/sys.h"
#include "runtime/runtime.h"

namespace runtime {
namespace {

using base::Kind;
namespace sys = base::sys;
using testing::ElementsAre;

std::string digest(char c) { return "sha256:" + std::string(64, c); }

class Store : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/images-store-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    root_ = path;
  }
  void TearDown() override { EXPECT_TRUE(sys::remove_all(root_).ok()); }
  void write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(sys::mkdir_all(root_ + "/" + path.substr(0, path.rfind('/'))).ok());
    ASSERT_TRUE(sys::write_file_atomic(root_ + "/" + path, text).ok());
  }
  void write_index(const ImageIndex& index) { write("/images.json", image_index_text(index)); }
  void write_config(char c, const std::string& text) { write("blobs/sha256/" + std::string(64, c), text); }
  // Layers for resolve_user: highest last.
  Image image(std::vector<std::string> layers) {
    Image out;
    out.name = "test";
    for (const std::string& layer : layers) {
      EXPECT_TRUE(sys::mkdir_all(root_ + "/" + layer).ok());
      out.layers.push_back(root_ + "/" + layer);
    }
    return out;
  }
  std::string root_;
};

TEST_F(Store, AbsentIsEmpty) {
  EXPECT_TRUE(list_images(root_ + "/nowhere")->empty());
  auto found = find_image(root_ + "/nowhere", "nginx");
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().kind, Kind::kNotFound);
}

TEST_F(Store, FindsByEveryKindOfName) {
  write_index({{"docker.io/library/nginx:1", {digest('a'), digest('c'), digest('e'), 1234}}});
  write_config(
      'c',
      R"({"config":{"Entrypoint":["/e"],"Cmd":["a","b"],"Env":["X=y"],"User":"www","WorkingDir":"/w","StopSignal":"SIGQUIT"},
                        "rootfs":{"diff_ids":[")" +
          digest('1') + R"("]}})");
  ASSERT_TRUE(sys::mkdir_all(layer_path(root_, digest('1')) + "/fs").ok());
  for (std::string name :
       {std::string("nginx:1"), std::string("docker.io/library/nginx:1"), digest('a'), digest('c'),
        digest('e'), "nginx@" + digest('a'), "nginx@" + digest('e'), "nginx:7@" + digest('a')}) {
    auto found = find_image(root_, name);
    ASSERT_TRUE(found.ok()) << name << ": " << found.error().message();
    EXPECT_EQ(found->name, "docker.io/library/nginx:1");
    EXPECT_EQ(found->digest, digest('a'));
    EXPECT_EQ(found->size_bytes, 1234u);
    EXPECT_THAT(found->layers, ElementsAre(root_ + "/layers/" + std::string(64, '1') + "/fs"));
    EXPECT_THAT(found->entrypoint, ElementsAre("/e"));
    EXPECT_THAT(found->cmd, ElementsAre("a", "b"));
    EXPECT_THAT(found->env, ElementsAre("X=y"));
    EXPECT_EQ(found->user + found->working_dir + found->stop_signal, "www/wSIGQUIT");
  }
  for (std::string name : {std::string("nginx"), std::string("other:1"), "other@" + digest('a'), digest('0')})
    EXPECT_EQ(find_image(root_, name).error().kind, Kind::kNotFound) << name;
  EXPECT_EQ(find_image(root_, "No Name").error().kind, Kind::kInvalid);
}

TEST_F(Store, DamageIsCorruptAndSaysWhatToDo) {
  write_index({{"docker.io/library/nginx:1", {digest('a'), digest('c'), "", 1}}});
  auto no_config = find_image(root_, "nginx:1");
  EXPECT_EQ(no_config.error().kind, Kind::kCorrupt);
  EXPECT_THAT(no_config.error().message(), testing::HasSubstr("pull or load it again"));
  write_config('c', R"({"rootfs":{"diff_ids":[")" + digest('1') + R"("]}})");
  EXPECT_EQ(find_image(root_, "nginx:1").error().kind, Kind::kCorrupt);
  write_config('c', R"({"rootfs":{"diff_ids":["sha256:../../etc"]}})");
  EXPECT_EQ(find_image(root_, "nginx:1").error().kind, Kind::kCorrupt);
  write("/images.json", "{\"images\":{\"x\":{\"manifest\":\"../../x\"}}}");
  EXPECT_EQ(find_image(root_, "nginx:1").error().kind, Kind::kCorrupt);
}

TEST_F(Store, PinsAreFiles) {
  ASSERT_TRUE(sys::mkdir_all(root_ + "/pins").ok());
  EXPECT_TRUE(pin_image(root_, "c1", digest('a')).ok());
  EXPECT_EQ(*sys::read_file(root_ + "/pins/c1"), digest('a') + "\n");
  EXPECT_TRUE(unpin_image(root_, "c1").ok());
  EXPECT_TRUE(unpin_image(root_, "c1").ok());
  for (std::string bad : {"", "..", "a/b", "../x"})
    EXPECT_FALSE(pin_image(root_, bad, digest('a')).ok()) << bad;
  EXPECT_FALSE(pin_image(root_, "c1", "x").ok());
}

const char* kPasswd =
    "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\n# c\nbroken\nneg:x:-1:0::/:\n";
const char* kGroup = "root:x:0:\nweb:x:34:\nadm:x:4:web,root\ndocker:x:99:root,web\n";

TEST_F(Store, UsersAndGroups) {
  Image test = image({"l0"});
  write("l0/etc/passwd", kPasswd);
  write("l0/etc/group", kGroup);
  struct {
    const char* text;
    uint32_t uid, gid;
    std::vector<uint32_t> groups;
    const char* home;
  } cases[] = {{"", 0, 0, {4, 99}, "/root"},        {"web", 33, 34, {4, 99}, "/var/www"},
               {"33", 33, 34, {4, 99}, "/var/www"}, {"web:adm", 33, 4, {}, "/var/www"},
               {"33:7", 33, 7, {}, "/var/www"},     {"1000", 1000, 0, {}, "/"},
               {"1000:1000", 1000, 1000, {}, "/"},  {"0:34", 0, 34, {}, "/root"}};
  for (const auto& item : cases) {
    auto user = resolve_user(test, item.text);
    ASSERT_TRUE(user.ok()) << item.text << ": " << user.error().message();
    EXPECT_EQ(user->uid, item.uid) << item.text;
    EXPECT_EQ(user->gid, item.gid) << item.text;
    EXPECT_EQ(user->groups, item.groups) << item.text;
    EXPECT_EQ(user->home, item.home) << item.text;
  }
  for (const char* text : {"nobody", "web:nogroup", "neg", "-1", "99999999999", "4294967295", "we"}) {
    auto user = resolve_user(test, text);
    ASSERT_FALSE(user.ok()) << text;
    EXPECT_EQ(user.error().kind, Kind::kNotFound);
    EXPECT_THAT(user.error().message(), testing::HasSubstr("runAsUser"));
  }
}

TEST_F(Store, UsersThroughLayersAndSymlinks) {
  Image test = image({"l0", "l1", "l2"});
  write("l0/etc/passwd", kPasswd);
  write("l1/etc/passwd", "only:x:7:8::/only:\n");
  EXPECT_EQ(resolve_user(test, "only")->uid, 7u) << "the highest layer has it";
  EXPECT_FALSE(resolve_user(test, "web").ok());
  // A symlink in the highest layer, its target in the lowest, by an absolute and a relative path.
  ASSERT_TRUE(sys::mkdir_all(root_ + "/l2/etc").ok());
  write("l0/nix/store/passwd", "nix:x:70:80::/nix:\n");
  ASSERT_EQ(::symlink("/nix/store/passwd", (root_ + "/l2/etc/passwd").c_str()), 0);
  EXPECT_EQ(resolve_user(test, "nix")->uid, 70u);
  ::unlink((root_ + "/l2/etc/passwd").c_str());
  ASSERT_EQ(::symlink("../../../../nix/../nix/store/passwd", (root_ + "/l2/etc/passwd").c_str()), 0);
  EXPECT_EQ(resolve_user(test, "nix")->uid, 70u);
  // Out of the image, in circles, to a directory: not there, never the host's.
  for (std::string target : {root_ + "/host-passwd", std::string("passwd"), std::string("/etc"),
                             std::string("/proc/self/root/etc/passwd")}) {
    write("/host-passwd", "nix:x:666:666::/:\n");
    ::unlink((root_ + "/l2/etc/passwd").c_str());
    ASSERT_EQ(::symlink(target.c_str(), (root_ + "/l2/etc/passwd").c_str()), 0);
    EXPECT_FALSE(resolve_user(test, "nix").ok()) << target;
    EXPECT_EQ(resolve_user(test, "5")->uid, 5u) << target;
  }
  // A directory turned into a symlink further up the path.
  Image linked = image({"m0"});
  write("m0/real/passwd", "in:x:9:9::/:\n");
  ASSERT_EQ(::symlink("/real", (root_ + "/m0/etc").c_str()), 0);
  EXPECT_EQ(resolve_user(linked, "in")->uid, 9u);
}

}  // namespace
}  // namespace runtime
