#include <gtest/gtest.h>

#include "base/sys.h"
#include "runtime/runtime.h"

namespace runtime {
namespace {

TEST(CgroupControllers, AreFoundWhereTheyAreMounted) {
  auto found = cgroup_controllers();
  if (!found.ok()) GTEST_SKIP() << "no cgroup controllers on this machine: " << found.error().message();
  ASSERT_FALSE(found->empty());
  for (const auto& [name, where] : *found)
    EXPECT_TRUE(base::sys::exists(where + "/cgroup.procs")) << name << " " << where;
}

TEST(CgroupControllers, WhatIsMissingIsNamed) {
  if (!cgroup_controllers().ok()) GTEST_SKIP() << "no cgroup controllers on this machine";
  auto status = require_cgroup_controllers({"memory", "teleport", "levitate"});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, base::Kind::kUnsupported);
  EXPECT_EQ(status.error().subject, "teleport, levitate");
}
}  // namespace
}  // namespace runtime
