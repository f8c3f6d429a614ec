#include "base/task.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace base {
namespace {

// Answers when the test says so; keeps its callbacks like a client keeps its calls.
struct Asked {
  std::vector<std::function<void(int)>> calls;
  void ask(std::function<void(int)> done) { calls.push_back(std::move(done)); }
  void answer(int value) {
    auto call = std::move(calls.front());
    calls.erase(calls.begin());
    call(value);
  }
};

Task<int> sum(Asked& asked, int times) {
  int total = 0;
  for (int i = 0; i < times; ++i) total += co_await later<int>([&](auto done) { asked.ask(done); });
  co_return total;
}
Task<> two_sums(Asked& asked, std::string& log) {
  log += "begin;";
  const int first = co_await sum(asked, 2);
  log += std::to_string(first) + ";";
  const int second = co_await sum(asked, 1);
  log += std::to_string(second) + ";";
}

TEST(Task, GoesOnWhereItWaited) {
  Asked asked;
  std::string log;
  Tasks tasks;
  tasks.start(two_sums(asked, log));
  EXPECT_EQ(log, "begin;");
  EXPECT_EQ(tasks.running(), 1u);
  asked.answer(3);
  asked.answer(4);
  EXPECT_EQ(log, "begin;7;");
  asked.answer(5);
  EXPECT_EQ(log, "begin;7;5;");
  EXPECT_EQ(tasks.running(), 0u);
}

TEST(Task, AnAnswerAtOnceCostsNoDepth) {
  Tasks tasks;
  int total = 0;
  tasks.start([](int& out) -> Task<> {
    for (int i = 0; i < 200'000; ++i) out += co_await later<int>([](auto done) { done(1); });
  }(total));
  EXPECT_EQ(total, 200'000);
}

TEST(Task, SeveralRunSideBySide) {
  Asked asked;
  std::string a, b;
  Tasks tasks;
  tasks.start(two_sums(asked, a));
  tasks.start(two_sums(asked, b));
  EXPECT_EQ(tasks.running(), 2u);
  for (int i = 0; i < 6; ++i) asked.answer(1);
  EXPECT_EQ(a, "begin;2;1;");
  EXPECT_EQ(b, "begin;2;1;");
}

struct Noted {
  std::string& log;
  ~Noted() { log += "freed;"; }
};

TEST(Task, WhoOwnsItEndsItAndALateAnswerFindsNobody) {
  Asked asked;
  std::string log;
  {
    Tasks tasks;
    tasks.start([](Asked& who, std::string& out) -> Task<> {
      Noted noted{out};
      (void)co_await sum(who, 1);
      out += "went on;";
    }(asked, log));
    ASSERT_EQ(asked.calls.size(), 1u);
  }
  EXPECT_EQ(log, "freed;");
  asked.answer(1);
  EXPECT_EQ(log, "freed;");
}

TEST(Task, ASecondAnswerIsIgnored) {
  Asked asked;
  std::string log;
  Tasks tasks;
  tasks.start(two_sums(asked, log));
  auto twice = asked.calls.front();
  asked.answer(1);
  twice(100);
  asked.answer(2);
  EXPECT_EQ(log, "begin;3;");
}

TEST(Task, AnAnswerMayEndTheOwner) {
  Asked asked;
  std::string log;
  auto tasks = std::make_unique<Tasks>();
  tasks->start([](Asked& who, std::string& out) -> Task<> {
    Noted noted{out};
    (void)co_await later<int>([&](auto done) { who.ask(done); });
    (void)co_await later<int>([&](auto done) { who.ask(done); });
  }(asked, log));
  asked.answer(1);
  tasks.reset();
  EXPECT_EQ(log, "freed;");
}

TEST(Task, CarriesWhatCanOnlyBeMoved) {
  Tasks tasks;
  Result<std::string> got = make_error(Kind::kInternal, "nothing");
  tasks.start([](Result<std::string>& out) -> Task<> {
    out = co_await later<Result<std::string>>([](auto done) { done(std::string("text")); });
  }(got));
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(*got, "text");
}

}  // namespace
}  // namespace base
