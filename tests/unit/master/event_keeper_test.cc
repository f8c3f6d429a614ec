#include "master/registry/event_keeper.h"

#include <gtest/gtest.h>

namespace master {
namespace {
using namespace std::chrono_literals;

TEST(EventKeeper, RemovesTheOldAndTheSurplus) {
  base::Time now(1'000'000s);
  EventLimits limits{2, 1h};
  std::map<std::string, base::Time> written{
      {"a", now - 2h}, {"b", now - 30min}, {"c", now - 20min}, {"d", now - 10min}};
  EXPECT_EQ(events_to_remove(written, limits, now), (std::vector<std::string>{"a", "b"}));
  written.erase("a");
  written.erase("b");
  EXPECT_TRUE(events_to_remove(written, limits, now).empty());
}

TEST(EventKeeper, CutsAFloodThroughTheCache) {
  base::Loop loop;
  ResourcePtr events = ResourceTable().find("", "v1", "events");
  ObjectCache cache;
  base::Time now(1'000'000s);
  int64_t revision = 0;
  std::vector<std::string> removed;
  EventKeeper keeper(
      loop, cache, EventLimits{10, 1h},
      [&](const ObjectRef& event) {
        removed.push_back(event->key);
        cache.erase(event->key, ++revision);
      },
      [&] { return now; });
  auto add = [&](int i) {
    std::string text = R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"e"},"lastTimestamp":")" +
                       base::format_time(now - std::chrono::seconds(100 - i)) + "\"}";
    cache.put(make_object(*events, "default/e" + std::to_string(i), text, ++revision));
  };
  for (int i = 0; i < 10; ++i) add(i);
  loop.run_once(0ms);
  EXPECT_TRUE(removed.empty());
  for (int i = 10; i < 20; ++i) add(i);
  loop.run_once(10ms);
  loop.run_once(10ms);
  EXPECT_EQ(cache.objects().size(), 10u);
  EXPECT_EQ(removed.front(), "default/e0");
}
}  // namespace
}  // namespace master
