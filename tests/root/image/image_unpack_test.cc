// Needs root: owners, devices, trusted xattrs and an overlay mount.
#include "runtime/image/unpack.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cerrno>

#include "base/sys.h"
#include "runtime/image/digest.h"
#include "tests/unit/image/tar_builder.h"

namespace runtime {
namespace {

namespace sys = base::sys;
using testing::HasSubstr;

class Unpack : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "skip: needs root";
    char path[] = "/tmp/images-unpack-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    top_ = path;
    // What an escape would reach.
    ASSERT_TRUE(sys::mkdir_all(top_ + "/outside").ok());
    ASSERT_TRUE(sys::write_file_atomic(top_ + "/outside/secret", "untouched").ok());
  }
  void TearDown() override {
    if (top_.empty()) return;
    EXPECT_EQ(*sys::read_file(top_ + "/outside/secret"), "untouched");
    EXPECT_EQ(*sys::list_dir(top_ + "/outside"), std::vector<std::string>{"secret"});
    EXPECT_TRUE(sys::remove_all(top_).ok());
  }
  base::Result<Unpacked> unpack(const std::string& bytes, const std::string& name = "fs",
                                TarLimits limits = {}) {
    base::ignore(sys::mkdir_all(top_ + "/" + name), "unpack_layer reports it");
    base::UniqueFd fd(::memfd_create("layer.tar", MFD_CLOEXEC));  // thousands of them: no fsync
    EXPECT_TRUE(sys::write_all(fd.get(), bytes).ok());
    EXPECT_EQ(::lseek(fd.get(), 0, SEEK_SET), 0);
    return unpack_layer(fd.get(), "layer.tar", top_ + "/" + name, limits);
  }
  base::Result<Unpacked> unpack(const TarBuilder& tar, const std::string& name = "fs") {
    return unpack(tar.finish(), name);
  }
  struct stat stat_of(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(::lstat((top_ + "/fs/" + path).c_str(), &info), 0) << path;
    return info;
  }
  std::string read(const std::string& path) { return sys::read_file(top_ + "/" + path).value_or("<absent>"); }
  bool opaque(const std::string& path) {
    char value = 0;
    return ::lgetxattr((top_ + "/fs/" + path).c_str(), "trusted.overlay.opaque", &value, 1) == 1 &&
           value == 'y';
  }
  std::string top_;
};

TEST_F(Unpack, KeepsWhatTarKnows) {
  TarEntry suid;
  suid.name = "bin/su";
  suid.data = "x";
  suid.mode = 04755;
  suid.uid = 12;
  suid.gid = 34;
  TarEntry cap = suid;
  cap.name = "bin/ping";
  cap.mode = 0755;
  cap.uid = cap.gid = 0;
  cap.xattr_name = "security.capability";
  cap.xattr_value =
      std::string("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  TarEntry dir;
  dir.name = "tmp/";
  dir.type = '5';
  dir.mode = 01777;
  dir.mtime = 1'234'567'890;
  std::string long_name = "d/" + std::string(150, 'n');
  auto got = unpack(TarBuilder()
                        .dir("./", 0711)
                        .dir("bin")
                        .add(dir)
                        .add(suid)
                        .add(cap)
                        .symlink("l", "/etc/../x")
                        .hardlink("bin/su2", "bin/su")
                        .device("null", '3', 1, 3)
                        .device("pipe", '6', 0, 0)
                        .file("tmp/f", "late")
                        .file(long_name, "long")
                        .file("caf\xc3\xa9", "utf8")
                        .file("latin\xe9", "raw"));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got->entries, 13u);
  EXPECT_EQ(stat_of("").st_mode & 07777, 0711u);
  EXPECT_EQ(stat_of("bin/su").st_mode & 07777, 04755u);
  EXPECT_EQ(stat_of("bin/su").st_uid, 12u);
  EXPECT_EQ(stat_of("bin/su").st_gid, 34u);
  EXPECT_EQ(stat_of("bin/su").st_mtime, 1'600'000'000);
  EXPECT_EQ(stat_of("bin/su").st_ino, stat_of("bin/su2").st_ino);
  EXPECT_EQ(stat_of("tmp").st_mode & 07777, 01777u);
  EXPECT_EQ(stat_of("tmp").st_mtime, 1'234'567'890) << "a child made later must not change it";
  EXPECT_EQ(stat_of("null").st_rdev, makedev(1, 3));
  EXPECT_TRUE(S_ISFIFO(stat_of("pipe").st_mode));
  char value[64];
  EXPECT_EQ(::lgetxattr((top_ + "/fs/bin/ping").c_str(), "security.capability", value, sizeof value), 20);
  EXPECT_EQ(read("fs/" + long_name), "long");
  EXPECT_EQ(read("fs/caf\xc3\xa9"), "utf8");
  EXPECT_EQ(read("fs/latin\xe9"), "raw");
  char target[64] = {};
  EXPECT_GT(::readlink((top_ + "/fs/l").c_str(), target, sizeof target), 0);
  EXPECT_STREQ(target, "/etc/../x");
}

TEST_F(Unpack, TheDiffIdCoversPaddingAndIsTheSameCompressed) {
  std::string plain = TarBuilder().file("a", std::string(100'000, 'a')).finish() + std::string(9000, '\0');
  EXPECT_EQ(unpack(plain, "fs")->diff_id, sha256_digest(plain));
  for (std::string program : {"gzip", "zstd"}) {
    ASSERT_TRUE(sys::write_file_atomic(top_ + "/plain", plain).ok());
    ASSERT_EQ(::system((program + " -c " + top_ + "/plain > " + top_ + "/packed").c_str()), 0);
    auto got = unpack(*sys::read_file(top_ + "/packed"), "fs-" + program);
    ASSERT_TRUE(got.ok()) << program << got.error().message();
    EXPECT_EQ(got->diff_id, sha256_digest(plain)) << program;
    EXPECT_EQ(read("fs-" + program + "/a").size(), 100'000u);
  }
}

TEST_F(Unpack, AttacksStayInside) {
  const std::string out = top_ + "/outside";
  struct {
    const char* what;
    TarBuilder tar;
    bool refused;
  } cases[] = {
      {"dot-dot", TarBuilder().file("../outside/secret", "evil"), true},
      {"dot-dot inside", TarBuilder().dir("a").file("a/../../outside/secret", "evil"), true},
      {"absolute name lands inside", TarBuilder().file(out + "/secret", "evil"), false},
      {"symlink directory, absolute", TarBuilder().symlink("d", out).file("d/secret", "evil"), true},
      {"symlink directory, relative", TarBuilder().symlink("d", "../outside").file("d/secret", "evil"), true},
      {"symlink chain",
       TarBuilder()
           .dir("x")
           .symlink("x/up", "..")
           .symlink("d", "x/up/../../outside")
           .file("d/secret", "evil"),
       true},
      {"file replaced by symlink", TarBuilder().symlink("f", out + "/secret").file("f", "evil"), false},
      {"hard link out", TarBuilder().hardlink("f", "../outside/secret").file("f", "evil"), true},
      {"hard link absolute", TarBuilder().hardlink("f", out + "/secret"), true},
      {"hard link through symlink", TarBuilder().symlink("d", out).hardlink("f", "d/secret"), true},
      {"hard link to symlink then write",
       TarBuilder().symlink("s", out + "/secret").hardlink("f", "s").file("f", "evil"), false},
      {"directory over symlink", TarBuilder().symlink("d", out).dir("d", 0777).file("d/new", "evil"), false},
      {"device through symlink", TarBuilder().symlink("d", out).device("d/dev", '4', 8, 0), true},
      {"whiteout through symlink", TarBuilder().symlink("d", out).file("d/.wh.secret", ""), true},
      {"opaque through symlink", TarBuilder().symlink("d", out).file("d/.wh..wh..opq", ""), true},
      {"whiteout of dot-dot", TarBuilder().dir("a").file("a/.wh...", ""), true},
      {"whiteout of dot", TarBuilder().file(".wh..", ""), true},
      {"whiteout of nothing", TarBuilder().file(".wh.", ""), true},
      {"root as a file", TarBuilder().file("./", "x").file(".", "evil"), true},
      {"device 0:0", TarBuilder().device("f", '3', 0, 0), true},
      {"hard link to itself", TarBuilder().file("f", "x").hardlink("f", "f"), true},
      {"hard link to a directory", TarBuilder().dir("d").hardlink("f", "d"), true},
      {"symlink loop", TarBuilder().symlink("a", "b").symlink("b", "a").file("a/x", "evil"), true},
      {"magic link", TarBuilder().symlink("p", "/proc/self/cwd").file("p/outside/secret", "evil"), true},
  };
  int i = 0;
  for (auto& [what, tar, refused] : cases) {
    auto got = unpack(tar, "case" + std::to_string(i++));
    EXPECT_EQ(got.ok(), !refused) << what << (got.ok() ? "" : ": " + got.error().message());
    EXPECT_EQ(read("outside/secret"), "untouched") << what;
    EXPECT_EQ(sys::list_dir(out)->size(), 1u) << what;
  }
}

TEST_F(Unpack, SymlinkedDirectoriesOfTheLayerAreFollowedInside) {
  auto got = unpack(TarBuilder().dir("run").dir("var").symlink("var/run", "/run").file("var/run/pid", "1"));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(read("fs/run/pid"), "1");
}

TEST_F(Unpack, OverlayAttributesOfTheArchiveAreDropped) {
  TarEntry entry;
  entry.name = "d/";
  entry.type = '5';
  entry.mode = 0755;
  entry.xattr_value = "y";
  for (std::string name :
       {"trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.opaque", "security.selinux"}) {
    entry.xattr_name = name;
    ASSERT_TRUE(unpack(TarBuilder().add(entry)).ok());
    EXPECT_LT(::lgetxattr((top_ + "/fs/d").c_str(), name.c_str(), nullptr, 0), 0) << name;
  }
  entry.xattr_name = "user.kept";
  ASSERT_TRUE(unpack(TarBuilder().add(entry)).ok());
  EXPECT_EQ(::lgetxattr((top_ + "/fs/d").c_str(), "user.kept", nullptr, 0), 1);
}

TEST_F(Unpack, WhiteoutsHideLowerLayersOnlyInARealOverlay) {
  ASSERT_TRUE(unpack(TarBuilder()
                         .file("gone", "1")
                         .file("kept", "1")
                         .dir("opaque")
                         .file("opaque/old", "1")
                         .dir("redone")
                         .file("redone/old", "1")
                         .file("deep/a/b", "1")
                         .file("replaced", "1"),
                     "low")
                  .ok());
  ASSERT_TRUE(unpack(TarBuilder()
                         .file(".wh.gone", "")
                         .file("opaque/.wh..wh..opq", "")
                         .file("opaque/new", "2")
                         .file(".wh.redone", "")
                         .dir("redone")
                         .file("redone/new", "2")
                         .file("deep/a/.wh.b", "")
                         .file(".wh.replaced", "")
                         .file("replaced", "2")
                         .file(".wh..wh.plnk", "")
                         .file(".wh.later", "")
                         .file("later/x", "2"),
                     "fs")
                  .ok());
  EXPECT_TRUE(S_ISCHR(stat_of("gone").st_mode));
  EXPECT_TRUE(opaque("opaque"));
  EXPECT_TRUE(opaque("redone"));
  EXPECT_TRUE(opaque("later"));
  EXPECT_FALSE(opaque("deep"));
  ASSERT_TRUE(sys::mkdir_all(top_ + "/merged").ok());
  // In a child with a mount namespace of its own: nothing is left mounted, whatever happens.
  pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      ::_exit(10);
    std::string data = "lowerdir=" + top_ + "/fs:" + top_ + "/low";
    if (::mount("overlay", (top_ + "/merged").c_str(), "overlay", MS_RDONLY, data.c_str()) != 0) ::_exit(11);
    if (sys::exists(top_ + "/merged/gone")) ::_exit(1);
    if (read("merged/kept") != "1") ::_exit(2);
    if (*sys::list_dir(top_ + "/merged/opaque") != std::vector<std::string>{"new"}) ::_exit(3);
    if (*sys::list_dir(top_ + "/merged/redone") != std::vector<std::string>{"new"}) ::_exit(4);
    if (!sys::list_dir(top_ + "/merged/deep/a")->empty()) ::_exit(5);
    if (read("merged/replaced") != "2") ::_exit(6);
    if (read("merged/later/x") != "2") ::_exit(7);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Unpack, LimitsHold) {
  std::string bomb = TarBuilder().file("a", std::string(1 << 20, 'a')).finish();
  auto big = unpack(bomb, "fs", TarLimits{1000, 100});
  ASSERT_FALSE(big.ok());
  EXPECT_EQ(big.error().kind, base::Kind::kExhausted);
  TarBuilder many;
  for (int i = 0; i < 20; ++i) many.file("f" + std::to_string(i), "");
  auto entries = unpack(many.finish(), "fs2", TarLimits{1 << 20, 10});
  ASSERT_FALSE(entries.ok());
  EXPECT_THAT(entries.error().message(), HasSubstr("more than 10 entries"));
}

TEST_F(Unpack, DamagedArchivesAreErrors) {
  std::string good = TarBuilder().dir("d").file("d/f", std::string(5000, 'x')).symlink("s", "d/f").finish();
  for (std::string bad :
       {std::string("hello, this is no tar archive at all"), good.substr(0, 700), good.substr(0, 3000),
        std::string("\x1f\x8b\x08\x00garbage", 11), std::string("\x28\xb5\x2f\xfdgarbage", 11)}) {
    auto got = unpack(bad, "bad");
    EXPECT_FALSE(got.ok()) << bad.size() << " bytes were accepted";
    if (!got.ok()) {
      EXPECT_EQ(got.error().kind, base::Kind::kCorrupt) << got.error().message();
    }
  }
  ASSERT_TRUE(sys::write_file_atomic(top_ + "/plain", good).ok());
  ASSERT_EQ(::system(("gzip -c " + top_ + "/plain > " + top_ + "/packed").c_str()), 0);
  std::string packed = *sys::read_file(top_ + "/packed");
  EXPECT_FALSE(unpack(packed.substr(0, packed.size() / 2), "half").ok());
}

// Every single-byte change and every cut of a small archive: never a crash, never an escape.
TEST_F(Unpack, FuzzedHeaders) {
  std::string good = TarBuilder()
                         .dir("d")
                         .symlink("d/out", "../../outside")
                         .file("d/f", "data")
                         .hardlink("h", "d/f")
                         .finish();
  unsigned seed = 12345;
  auto random = [&] { return seed = seed * 1664525 + 1013904223, seed >> 8; };
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    for (unsigned n = random() % 4 + 1; n > 0; --n) {
      size_t header = random() % 4 * 512;
      size_t at = header + random() % 400;
      bytes[at] = static_cast<char>(random());
      // A right checksum lets the change through to us.
      if (random() % 4) {
        std::memset(&bytes[header + 148], ' ', 8);
        unsigned sum = 0;
        for (size_t j = 0; j < 512; ++j) sum += static_cast<unsigned char>(bytes[header + j]);
        std::snprintf(&bytes[header + 148], 8, "%06o", sum);
      }
    }
    base::ignore(unpack(bytes, "fuzz"), "either way is fine");
    ASSERT_TRUE(sys::remove_all(top_ + "/fuzz").ok());
  }
}

}  // namespace
}  // namespace runtime
