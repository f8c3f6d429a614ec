#include "master/scheduler/queue_plan.h"

#include "master/scheduler/rule.h"

#include "tests/unit/master/scheduler_text.h"

namespace master::scheduler {
namespace {

struct QueueTest : ::testing::Test {
  static base::Time at(int seconds) { return base::Time(std::chrono::seconds(seconds)); }
  std::shared_ptr<const Ask> ask(int priority = 0, const char* labels = "app=web") {
    return picture.share(text_ask(cpu_spec("1", priority), labels));
  }
  std::string take(int seconds) { return queue.take(at(seconds)).value_or("nothing"); }
  static uint32_t bit(const char* name) { return 1u << static_cast<unsigned>(rule(name) - rules().data()); }
  Change removed() { return {Change::kPodRemoved, nullptr, gone.get()}; }

  Picture picture;
  Queue queue;
  std::shared_ptr<const Ask> gone = picture.share(text_ask(""));
};

TEST_F(QueueTest, PrioritiesThenAge) {
  queue.add("a", ask(1));
  queue.add("b", ask(5));
  queue.add("c", ask(5));
  queue.add("d", ask(-3));
  for (const char* next : {"b", "c", "a", "d"}) EXPECT_EQ(take(0), next);
  EXPECT_EQ(take(0), "nothing");
  EXPECT_EQ(queue.due(), std::nullopt);
}
TEST_F(QueueTest, OnlyWhatMayHelpWakesAPod) {
  queue.add("fit", ask());
  queue.add("taint", ask());
  take(0), take(0);
  queue.unschedulable("fit", bit("NodeResourcesFit"), at(0));
  queue.unschedulable("taint", bit("TaintToleration"), at(0));
  EXPECT_EQ(queue.text(at(0)), "fit unschedulable\ntaint unschedulable\n");
  queue.changed({Change::kPodPlaced, nullptr, gone.get()}, at(0));
  EXPECT_EQ(take(0), "nothing");
  queue.changed(removed(), at(0));
  EXPECT_EQ(queue.text(at(0)), "fit backoff 1s\ntaint unschedulable\n");
  EXPECT_EQ(take(0), "fit") << "nobody else is there: not only when its back-off is over";
  queue.unschedulable("fit", bit("NodeResourcesFit"), at(0));
  const Node clean = text_node("n");
  queue.changed({Change::kNodeTaints, &clean, nullptr}, at(1));
  EXPECT_EQ(queue.text(at(1)), "fit unschedulable\ntaint active\n");
}
TEST_F(QueueTest, BackoffDoublesToTenSecondsAndIsBehindTheActive) {
  queue.add("p", ask());
  for (int expected : {1, 2, 4, 8, 10, 10}) {
    EXPECT_EQ(take(0), "p");
    queue.unschedulable("p", bit("NodeResourcesFit"), at(0));
    queue.changed(removed(), at(0));
    EXPECT_EQ(queue.text(at(0)), fmt::format("p backoff {}s\n", expected));
  }
  queue.add("q", ask());
  EXPECT_EQ(take(9), "q");
  queue.add("r", ask());
  EXPECT_EQ(take(10), "p") << "older, and its time has come";
}
TEST_F(QueueTest, AFailedBindingWaitsItsTime) {
  queue.add("p", ask());
  take(0);
  queue.failed("p", at(0));
  EXPECT_EQ(take(0), "nothing");
  EXPECT_EQ(queue.due(), at(1));
  queue.changed(removed(), at(0));
  EXPECT_EQ(queue.text(at(0)), "p failed 1s\n");
  EXPECT_EQ(take(1), "p");
}
TEST_F(QueueTest, AfterFiveMinutesItIsTriedAnyhow) {
  queue.add("p", ask());
  take(0);
  queue.unschedulable("p", bit("TaintToleration"), at(0));
  EXPECT_EQ(queue.due(), at(300));
  EXPECT_EQ(take(299), "nothing");
  EXPECT_EQ(take(300), "p");
}
TEST_F(QueueTest, WithoutAnyNodeANodeHelps) {
  queue.add("p", ask());
  take(0);
  queue.unschedulable("p", 0, at(0));
  queue.changed(removed(), at(0));
  EXPECT_EQ(queue.text(at(0)), "p unschedulable\n");
  const Node node = text_node("n");
  queue.changed({Change::kNodeAdded, &node, nullptr}, at(0));
  EXPECT_EQ(take(0), "p");
}
TEST_F(QueueTest, AnotherAskIsTriedAtOnceAndTheRemovedNever) {
  queue.add("p", ask());
  take(0);
  queue.unschedulable("p", bit("NodeResourcesFit"), at(0));
  queue.add("p", ask(7));
  EXPECT_EQ(queue.text(at(0)), "p active\n");
  queue.remove("p");
  EXPECT_EQ(take(0), "nothing");
  queue.unschedulable("p", 1, at(0));
  queue.failed("p", at(0));
  EXPECT_EQ(queue.text(at(0)), "");
}

}  // namespace
}  // namespace master::scheduler
