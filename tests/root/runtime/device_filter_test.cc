// The BPF program that stands for the devices controller on cgroup v2.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/sys.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/launch/devices.h"

namespace {

class DeviceFilter : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
    auto layout = runtime::cgroup_layout();
    if (!layout.ok() || (*layout)->unified.empty()) GTEST_SKIP() << "skip: cgroup2";
    directory_ = (*layout)->unified + "/sampan-filter-" + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(directory_.c_str(), 0755), 0);
  }
  void TearDown() override {
    if (!directory_.empty()) ::rmdir(directory_.c_str());
  }
  // 0 or errno of opening the device from inside the cgroup.
  int open_inside(const char* path, int flags) {
    pid_t pid = ::fork();
    if (pid == 0) {
      int procs = ::open((directory_ + "/cgroup.procs").c_str(), O_WRONLY);
      if (::write(procs, "0", 1) != 1) ::_exit(255);
      ::_exit(::open(path, flags) >= 0 ? 0 : errno);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
  }
  std::string directory_;
};

TEST_F(DeviceFilter, DeniesWhatNoRuleAllows) {
  std::vector<runtime::DeviceRule> rules{
      {false, 'a', -1, -1, "rwm"}, {true, 'c', 1, 3, "rw"}, {true, 'c', 1, 5, "r"}};
  auto attached = runtime::attach_device_filter(directory_, rules);
  ASSERT_TRUE(attached.ok()) << attached.error().message();
  EXPECT_EQ(open_inside("/dev/null", O_RDWR), 0);
  EXPECT_EQ(open_inside("/dev/zero", O_RDONLY), 0);
  EXPECT_EQ(open_inside("/dev/zero", O_RDWR), EPERM);
  EXPECT_EQ(open_inside("/dev/urandom", O_RDONLY), EPERM);
}

TEST_F(DeviceFilter, TheLastRuleThatMatchesWins) {
  std::vector<runtime::DeviceRule> rules{{true, 'a', -1, -1, "rwm"}, {false, 'c', 1, 9, "w"}};
  auto attached = runtime::attach_device_filter(directory_, rules);
  ASSERT_TRUE(attached.ok()) << attached.error().message();
  EXPECT_EQ(open_inside("/dev/null", O_RDWR), 0);
  EXPECT_EQ(open_inside("/dev/urandom", O_RDONLY), 0);
  EXPECT_EQ(open_inside("/dev/urandom", O_WRONLY), EPERM);
}

TEST_F(DeviceFilter, TheDefaultsOfAContainer) {
  std::vector<runtime::DeviceRule> rules{{false, 'a', -1, -1, "rwm"}};
  for (const runtime::DeviceRule& rule : runtime::default_device_rules()) rules.push_back(rule);
  ASSERT_TRUE(runtime::attach_device_filter(directory_, rules).ok());
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/full"})
    EXPECT_EQ(open_inside(path, O_RDWR), 0) << path;
  EXPECT_EQ(open_inside("/dev/kmsg", O_RDONLY), EPERM);
}

}  // namespace
