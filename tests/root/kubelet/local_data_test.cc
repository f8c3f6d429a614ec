// Local volumes on a real disk: made, full, found again, removed, and what a crash leaves of them.
#include "kubelet/volumes/local_data.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "kubelet/volumes/exec.h"

namespace kubelet {
namespace sys = base::sys;
namespace {

class LocalDataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "root";
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    char name[] = "/tmp/sampan-local-data-XXXXXX";
    root_ = ::mkdtemp(name);
  }
  void TearDown() override {
    if (root_.empty()) return;
    EXPECT_TRUE(remove_local_data(root_, "v").ok());
    EXPECT_TRUE(sys::remove_all(root_).ok());
  }
  static base::Status write(const std::string& path, size_t bytes) {
    auto fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    return sys::write_all(fd.get(), std::string(bytes, 'x'));
  }
  std::string root_;
};

}  // namespace

TEST(LocalData, WhatTheHostHasDecides) {
  EXPECT_EQ(choose_backing({true, true}), Backing::kImage);
  EXPECT_EQ(choose_backing({true, false}), Backing::kDirectory);
  EXPECT_EQ(choose_backing({false, true}), Backing::kDirectory);
}

TEST_F(LocalDataTest, APlainDirectoryIsMadeOnceAndRemovedWhole) {
  auto made = open_local_data(root_, "v", 1 << 20, {});
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_TRUE(made->is_new);
  EXPECT_EQ(made->path, root_ + "/v/data");
  ASSERT_TRUE(write(made->path + "/file", 10).ok());
  auto again = open_local_data(root_, "v", 1 << 20, {});
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(sys::read_file(again->path + "/file").value_or(""), std::string(10, 'x'));
  ASSERT_TRUE(remove_local_data(root_, "v").ok());
  EXPECT_EQ(sys::list_dir(root_).value(), std::vector<std::string>());
  EXPECT_TRUE(remove_local_data(root_, "v").ok()) << "nothing is left to remove";
}

TEST_F(LocalDataTest, WhatACrashLeftGoesAndNothingElse) {
  ASSERT_TRUE(open_local_data(root_, "v", 1 << 20, {}).ok());
  for (const char* name : {"/half.new/data", "/gone.deleted/data"})
    ASSERT_TRUE(sys::mkdir_all(root_ + name).ok());
  ASSERT_TRUE(write(root_ + "/gone.deleted/data/file", 10).ok());
  ASSERT_TRUE(remove_unfinished_data(root_).ok());
  EXPECT_EQ(sys::list_dir(root_).value(), std::vector<std::string>{"v"});
}

TEST_F(LocalDataTest, AnImageHoldsNoMoreThanItsSizeAndIsFoundAgain) {
  const HostStorage host = probe_storage();
  if (choose_backing(host) != Backing::kImage) GTEST_SKIP() << "loop devices, or mkfs.ext4";
  auto made = open_local_data(root_, "v", 16 << 20, host);
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(made->backing, Backing::kImage);
  EXPECT_EQ(sys::list_dir(made->path).value(), std::vector<std::string>()) << "as an emptyDir";
  struct stat at {};
  ASSERT_EQ(::stat(made->path.c_str(), &at), 0);
  EXPECT_EQ(at.st_mode & 07777, 0777u);
  ASSERT_TRUE(write(made->path + "/file", 1 << 20).ok());
  auto full = write(made->path + "/more", 32 << 20);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().errno_value, ENOSPC) << full.error().message();
  // As a kubelet that was started again in a mount namespace of its own, while Pods hold the mount in theirs:
  // a second device of the same file would not have what the first one has not yet written.
  const dev_t device = at.st_dev;
  auto elsewhere = sys::open(made->path, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(elsewhere.ok());
  ASSERT_EQ(::umount2(made->path.c_str(), MNT_DETACH), 0);
  auto again = open_local_data(root_, "v", 16 << 20, host);
  ASSERT_TRUE(again.ok()) << again.error().message();
  ASSERT_EQ(::stat(again->path.c_str(), &at), 0);
  EXPECT_EQ(at.st_dev, device);
  EXPECT_EQ(sys::read_file(again->path + "/file").value_or("").size(), size_t{1} << 20);
  *elsewhere = base::UniqueFd();
  ASSERT_TRUE(remove_local_data(root_, "v").ok());
  EXPECT_EQ(sys::list_dir(root_).value(), std::vector<std::string>());
}

TEST_F(LocalDataTest, AllBelowIsTheGroups) {
  auto made = open_local_data(root_, "v", 1 << 20, {});
  ASSERT_TRUE(made.ok());
  const std::string data = made->path;
  ASSERT_TRUE(sys::mkdir_all(data + "/d", 0700).ok());
  ASSERT_TRUE(write(data + "/d/file", 1).ok());
  ASSERT_EQ(::symlink("/etc/passwd", (data + "/link").c_str()), 0);
  ASSERT_TRUE(give_to_group(data, 2000, false).ok());
  struct stat at {};
  ASSERT_EQ(::stat((data + "/d").c_str(), &at), 0);
  EXPECT_EQ(at.st_gid, 2000u);
  EXPECT_EQ(at.st_mode & 07777, 02770u);
  ASSERT_EQ(::stat((data + "/d/file").c_str(), &at), 0);
  EXPECT_EQ(at.st_gid, 2000u);
  EXPECT_EQ(at.st_mode & 07777, 0664u);
  ASSERT_EQ(::stat("/etc/passwd", &at), 0);
  EXPECT_EQ(at.st_gid, 0u) << "no link leads out";
  ASSERT_EQ(::chown((data + "/d/file").c_str(), 0, 0), 0);
  ASSERT_TRUE(give_to_group(data, 2000, true).ok());
  ASSERT_EQ(::stat((data + "/d/file").c_str(), &at), 0);
  EXPECT_EQ(at.st_gid, 0u) << "the root is right: nothing is walked";
  ASSERT_TRUE(give_to_group(data, 2001, true).ok());
  ASSERT_EQ(::stat((data + "/d/file").c_str(), &at), 0);
  EXPECT_EQ(at.st_gid, 2001u);
}

// The data of a claim is not the Pod's: what removes the Pod's directory never reaches it.
TEST_F(LocalDataTest, APodsDirectoryGoesAndTheDataStays) {
  const Layout layout{root_ + "/kubelet", root_ + "/run"};
  PodDirectory content;
  content.shm = false;
  VolumeContent volume;
  volume.name = "data";
  volume.kind = VolumeContent::Kind::kClaimed;
  ASSERT_TRUE(sys::mkdir_all(root_ + "/elsewhere").ok());
  volume.claimed = {"pv", false, root_ + "/elsewhere", 0, true};
  ASSERT_TRUE(make_pod_directory(layout, "u1", content).ok());
  ASSERT_TRUE(make_pod_volume(layout, "u1", volume, {}).ok());
  EXPECT_EQ(link_target(layout.volume("u1", "data")).value_or(""), root_ + "/elsewhere");
  ASSERT_TRUE(write(layout.volume("u1", "data") + "/file", 3).ok());
  ASSERT_TRUE(make_pod_volume(layout, "u1", volume, {}).ok()) << "once more, as after a restart";
  ASSERT_TRUE(remove_pod_directory(layout, "u1", true).ok());
  EXPECT_FALSE(sys::exists(layout.pod("u1")));
  EXPECT_EQ(sys::read_file(root_ + "/elsewhere/file").value_or(""), "xxx");
}

}  // namespace kubelet
