#include "kubelet/node/events.h"

#include <gtest/gtest.h>

namespace kubelet {
namespace {

const base::Time kNow = *base::parse_time("2026-01-01T00:00:00Z");

TEST(EventBudget, ABurstThenOneInFiveMinutes) {
  EventBudget budget;
  for (int i = 0; i < 25; ++i) EXPECT_TRUE(budget.take("a", kNow));
  EXPECT_FALSE(budget.take("a", kNow));
  EXPECT_TRUE(budget.take("b", kNow)) << "of another object";
  EXPECT_FALSE(budget.take("a", kNow + std::chrono::seconds(290)));
  EXPECT_TRUE(budget.take("a", kNow + std::chrono::seconds(301)));
  EXPECT_FALSE(budget.take("a", kNow + std::chrono::seconds(302)));
}

TEST(EventBudget, StaysOnHoweverManyObjectsThereWere) {
  EventBudget budget;
  for (int i = 0; i < 25; ++i) budget.take("loud", kNow);
  for (int i = 0; i < 10000; ++i) {
    EXPECT_TRUE(budget.take("pod-" + std::to_string(i), kNow + std::chrono::milliseconds(i)));
    EXPECT_FALSE(budget.take("loud", kNow + std::chrono::milliseconds(i)));
  }
  EXPECT_EQ(budget.size(), EventBudget::kMaxObjects);
}

}  // namespace
}  // namespace kubelet
