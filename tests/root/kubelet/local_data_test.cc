// Local volumes on a real disk: made, full, found again, removed, and what a crash leaves of them.
#include "kubelet/volumes/local_data.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
    EXPECT_TRUE(remove_local_data(root_, "v", "u1").ok());
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
  auto made = open_local_data({root_, "v", "u1", 1 << 20}, {});
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_TRUE(made->is_new);
  EXPECT_EQ(made->path, root_ + "/v/data");
  ASSERT_TRUE(write(made->path + "/file", 10).ok());
  auto again = open_local_data({root_, "v", "u1", 1 << 20}, {});
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(sys::read_file(again->path + "/file").value_or(""), std::string(10, 'x'));
  ASSERT_TRUE(remove_local_data(root_, "v", "u1").ok());
  EXPECT_EQ(sys::list_dir(root_).value(), std::vector<std::string>());
  EXPECT_TRUE(remove_local_data(root_, "v", "u1").ok()) << "nothing is left to remove";
}

TEST_F(LocalDataTest, WhatACrashLeftGoesAndNothingElse) {
  ASSERT_TRUE(open_local_data({root_, "v", "u1", 1 << 20}, {}).ok());
  for (const char* name : {"/half.new/data", "/gone.deleted/data"})
    ASSERT_TRUE(sys::mkdir_all(root_ + name).ok());
  ASSERT_TRUE(write(root_ + "/gone.deleted/data/file", 10).ok());
  ASSERT_TRUE(remove_unfinished_data(root_).ok());
  EXPECT_EQ(sys::list_dir(root_).value(), std::vector<std::string>{"v"});
}

TEST_F(LocalDataTest, AnImageHoldsNoMoreThanItsSizeAndIsFoundAgain) {
  const HostStorage host = probe_storage();
  if (choose_backing(host) != Backing::kImage) GTEST_SKIP() << "loop devices, or mkfs.ext4";
  auto made = open_local_data({root_, "v", "u1", 16 << 20}, host);
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
  auto again = open_local_data({root_, "v", "u1", 16 << 20}, host);
  ASSERT_TRUE(again.ok()) << again.error().message();
  ASSERT_EQ(::stat(again->path.c_str(), &at), 0);
  EXPECT_EQ(at.st_dev, device);
  EXPECT_EQ(sys::read_file(again->path + "/file").value_or("").size(), size_t{1} << 20);
  *elsewhere = base::UniqueFd();
  ASSERT_TRUE(remove_local_data(root_, "v", "u1").ok());
  EXPECT_EQ(sys::list_dir(root_).value(), std::vector<std::string>());
}

bool can_grow_in_use() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  return ::syscall(SYS_capget, &header, data) == 0 && data[0].effective & 1u << CAP_SYS_RESOURCE;
}

TEST_F(LocalDataTest, AnImageGrowsWhileItIsInUse) {
  const HostStorage host = probe_storage();
  if (choose_backing(host) != Backing::kImage) GTEST_SKIP() << "loop devices, or mkfs.ext4";
  if (!can_grow_in_use()) GTEST_SKIP() << "CAP_SYS_RESOURCE";
  auto made = open_local_data({root_, "v", "u1", 16 << 20}, host);
  ASSERT_TRUE(made.ok()) << made.error().message();
  auto open = sys::open(made->path + "/file", O_RDWR | O_CREAT, 0644);
  ASSERT_TRUE(open.ok());
  ASSERT_TRUE(sys::write_all(open->get(), "before").ok());
  ASSERT_FALSE(write(made->path + "/large", 24 << 20).ok());
  for (int time : {1, 2}) {  // once more, as after a crash before it was told
    auto grown = grow_local_data({root_, "v", "u1", 64 << 20}, host);
    ASSERT_TRUE(grown.ok()) << time << ": " << grown.error().message();
  }
  EXPECT_TRUE(write(made->path + "/large", 24 << 20).ok());
  ASSERT_TRUE(sys::write_all(open->get(), " after").ok());
  *open = base::UniqueFd();
  EXPECT_EQ(sys::read_file(made->path + "/file").value_or(""), "before after");
}

TEST_F(LocalDataTest, AnImageGrowsWhileItIsNotInUse) {
  const HostStorage host = probe_storage();
  if (choose_backing(host) != Backing::kImage) GTEST_SKIP() << "loop devices, or mkfs.ext4";
  const LocalVolume small{root_, "v", "u1", 16 << 20}, large{root_, "v", "u1", 64 << 20};
  auto made = open_local_data(small, host);
  ASSERT_TRUE(made.ok()) << made.error().message();
  ASSERT_TRUE(write(made->path + "/file", 3).ok());
  auto pod = sys::open(made->path + "/file", O_RDONLY);  // as a Pod that uses it
  ASSERT_TRUE(pod.ok());
  if (auto grown = grow_local_data(large, host); !grown.ok()) {
    EXPECT_FALSE(can_grow_in_use());
    EXPECT_EQ(grown.error().kind, base::Kind::kUnavailable) << grown.error().message();
    EXPECT_TRUE(sys::exists(root_ + "/v/resizing"));
  }
  EXPECT_EQ(sys::read_file(made->path + "/file").value_or(""), "xxx") << "meanwhile it is as it was";
  *pod = base::UniqueFd();
  // A Pod that is about to bind what is mounted must never find it gone.
  const LocalVolume its{root_ + "/local-volumes", "v", "u1", 64 << 20};
  ASSERT_EQ(::umount2(made->path.c_str(), 0), 0);
  ASSERT_TRUE(sys::mkdir_all(its.directory).ok());
  ASSERT_EQ(::rename((root_ + "/v").c_str(), (its.directory + "/v").c_str()), 0);
  const std::string volumes = Layout{root_, ""}.volumes("p1"), data = its.directory + "/v/data";
  ASSERT_TRUE(sys::mkdir_all(volumes).ok());
  ASSERT_EQ(::symlink(data.c_str(), (volumes + "/d").c_str()), 0);
  ASSERT_TRUE(open_local_data(its, host).ok());
  EXPECT_EQ(grow_local_data(its, host).ok(), can_grow_in_use());
  EXPECT_EQ(sys::read_file(data + "/file").value_or(""), "xxx");
  LocalVolume next = its;
  next.user = volumes + "/d";
  ASSERT_TRUE(open_local_data(next, host).ok()) << "the only Pod's own";
  EXPECT_FALSE(sys::exists(its.directory + "/v/resizing")) << "though it was mounted still";
  ASSERT_EQ(::umount2(data.c_str(), 0), 0);
  ASSERT_EQ(::rename((its.directory + "/v").c_str(), (root_ + "/v").c_str()), 0);
  ASSERT_TRUE(open_local_data(large, host).ok());
  EXPECT_FALSE(sys::exists(root_ + "/v/resizing"));
  EXPECT_TRUE(write(made->path + "/large", 24 << 20).ok());
  EXPECT_EQ(sys::read_file(made->path + "/file").value_or(""), "xxx");
  ASSERT_TRUE(grow_local_data(large, host).ok()) << "done already: it is told";
  ASSERT_TRUE(grow_local_data(small, host).ok()) << "smaller: it stays";
  // As a crash leaves it that came between the file and the file system.
  ASSERT_TRUE(sys::write_file_atomic(root_ + "/v/resizing", "").ok());
  ASSERT_EQ(::truncate((root_ + "/v/image").c_str(), 128 << 20), 0);
  ASSERT_EQ(::umount2(made->path.c_str(), 0), 0);
  ASSERT_TRUE(open_local_data(large, host).ok());
  EXPECT_TRUE(write(made->path + "/larger", 80 << 20).ok());
  struct stat at {};
  ASSERT_EQ(::stat((made->path + "/large").c_str(), &at), 0);
  EXPECT_EQ(at.st_size, 24 << 20);
}

TEST_F(LocalDataTest, WhatGrowsBeforeAnybodyMountsItIsMadeSoLarge) {
  const HostStorage host = probe_storage();
  if (choose_backing(host) != Backing::kImage) GTEST_SKIP() << "loop devices, or mkfs.ext4";
  ASSERT_TRUE(grow_local_data({root_, "v", "u1", 64 << 20}, host).ok());
  auto made = open_local_data({root_, "v", "u1", 16 << 20}, host);  // as was known before
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_TRUE(write(made->path + "/large", 24 << 20).ok());
}

TEST_F(LocalDataTest, ABlockVolumeIsADeviceWhileSomebodyUsesIt) {
  const HostStorage host = probe_storage();
  if (!host.has_loop_devices) GTEST_SKIP() << "loop devices";
  const Layout layout{root_, root_ + "/run"};
  ClaimedVolume volume;
  volume.is_local = volume.is_block = true;
  volume.path = layout.local_volumes() + "/v";
  volume.uid = "u1";
  volume.size_bytes = 1 << 20;
  for (const char* uid : {"p1", "p2"}) {
    ASSERT_TRUE(sys::mkdir_all(layout.volumes(uid)).ok());
    auto linked = link_claimed(layout.volume(uid, "data"), volume, 2000, false);
    ASSERT_TRUE(linked.ok()) << linked.error().message();
  }
  auto device = device_path(layout.volume("p1", "data"));
  ASSERT_TRUE(device.ok()) << device.error().message();
  EXPECT_EQ(device_path(layout.volume("p2", "data")).value_or(""), *device);
  auto fd = sys::open(*device, O_RDWR);
  ASSERT_TRUE(fd.ok());
  ASSERT_TRUE(sys::write_all(fd->get(), "bytes").ok());
  EXPECT_EQ(::lseek(fd->get(), 0, SEEK_END), 1 << 20);
  *fd = base::UniqueFd();
  const std::string backing = "/sys/block" + device->substr(4) + "/loop/backing_file";
  EXPECT_TRUE(sys::exists(backing)) << "nobody has it open, and yet it stays";
  ASSERT_TRUE(grow_local_data({layout.local_volumes(), "v", "u1", 2 << 20, true}, host).ok());
  fd = sys::open(*device, O_RDWR);
  ASSERT_TRUE(fd.ok());
  EXPECT_EQ(::lseek(fd->get(), 0, SEEK_END), 2 << 20);
  *fd = base::UniqueFd();
  ASSERT_TRUE(remove_pod_directory(layout, "p1", true).ok());
  EXPECT_TRUE(sys::exists(backing)) << "the other Pod's";
  ASSERT_TRUE(remove_pod_directory(layout, "p2", true).ok());
  EXPECT_EQ(sys::read_file(layout.local_volumes() + "/v/image").value_or("").substr(0, 5), "bytes");
  auto gone = [&] {  // udev may look at it for a moment
    for (int i = 0; i < 500 && sys::exists(backing); ++i) ::usleep(10000);
    return !sys::exists(backing);
  };
  EXPECT_TRUE(gone());
  ASSERT_TRUE(device_path(root_ + "/none").ok() == false);
  ASSERT_TRUE(remove_local_data(layout.local_volumes(), "v", "u1").ok());
}

// A PersistentVolume may be made anew with the name of one that is on its way out.
TEST_F(LocalDataTest, TheDataOfAnotherOfTheNameStays) {
  auto made = open_local_data({root_, "v", "u1", 1 << 20}, {});
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(write(made->path + "/file", 3).ok());
  ASSERT_TRUE(open_local_data({root_, "v", "u2", 1 << 20}, {}).ok());
  ASSERT_TRUE(remove_local_data(root_, "v", "u1").ok());
  EXPECT_EQ(sys::read_file(made->path + "/file").value_or(""), "xxx");
  ASSERT_TRUE(remove_local_data(root_, "v", "u2").ok());
  EXPECT_FALSE(sys::exists(root_ + "/v"));
}

TEST_F(LocalDataTest, AHostPathVolumeIsOfItsType) {
  ClaimedVolume volume;
  volume.path = root_ + "/there";
  volume.is_host_path = true;
  volume.host_type = "Directory";
  auto refused = link_claimed(root_ + "/link", volume, {}, false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, "hostPath type check failed: " + volume.path + " is not a directory");
  volume.host_type = "DirectoryOrCreate";
  ASSERT_TRUE(link_claimed(root_ + "/link", volume, {}, false).ok());
  EXPECT_TRUE(sys::exists(volume.path));
  volume.host_type = "Socket";
  EXPECT_FALSE(link_claimed(root_ + "/link", volume, {}, false).ok());
}

TEST_F(LocalDataTest, AllBelowIsTheGroups) {
  auto made = open_local_data({root_, "v", "u1", 1 << 20}, {});
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
  volume.claimed.path = root_ + "/elsewhere";
  volume.claimed.takes_group = true;
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
