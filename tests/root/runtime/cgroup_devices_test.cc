// The devices controller of cgroup v1, which counts children for a moment after they were removed.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "runtime/cgroup/cgroup.h"

namespace {

class CgroupDevices : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
    auto layout = runtime::cgroup_layout();
    if (layout.ok())
      for (const auto& hierarchy : (*layout)->v1)
        if (::access((hierarchy.mount + "/devices.deny").c_str(), W_OK) == 0)
          directory_ = hierarchy.mount + "/sampan-devices-" + std::to_string(::getpid());
    if (directory_.empty()) GTEST_SKIP() << "skip: the devices controller of cgroup v1";
    ASSERT_EQ(::mkdir(directory_.c_str(), 0755), 0);
  }
  void TearDown() override {
    if (directory_.empty()) return;
    ::rmdir((directory_ + "/child").c_str());
    EXPECT_EQ(::rmdir(directory_.c_str()), 0);
  }
  base::Status deny_all() {
    runtime::CgroupPlan plan;
    plan.actions.push_back({runtime::CgroupAction::Kind::kWrite, directory_ + "/devices.deny", "a"});
    return runtime::act_cgroup(plan);
  }
  std::string directory_;
};

TEST_F(CgroupDevices, ARemovedChildIsWaitedFor) {
  std::string child = directory_ + "/child";
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(::mkdir(child.c_str(), 0755), 0);
    ASSERT_EQ(::rmdir(child.c_str()), 0);
    auto denied = deny_all();
    ASSERT_TRUE(denied.ok()) << denied.error().message();
  }
}

TEST_F(CgroupDevices, AChildThatStaysIsAnErrorAtOnce) {
  ASSERT_EQ(::mkdir((directory_ + "/child").c_str(), 0755), 0);
  auto began = std::chrono::steady_clock::now();
  auto denied = deny_all();
  ASSERT_FALSE(denied.ok());
  EXPECT_EQ(denied.error().errno_value, EINVAL);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
}

}  // namespace
