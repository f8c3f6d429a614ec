// What every store does, whatever lies behind it: the same cases over each.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/simulated.h"
#include "base/sys.h"
#include "master/store/store.h"
#include "tests/sim/memory_store.h"

namespace master {
namespace {

// A place where a store lasts, and how one is opened over it.
struct Place {
  virtual ~Place() = default;
  virtual base::Result<std::unique_ptr<Store>> open(base::Loop& loop) = 0;
};
struct FilePlace final : Place {
  FilePlace() {
    EXPECT_TRUE(base::sys::remove_all(dir).ok());
    EXPECT_TRUE(base::sys::mkdir_all(dir).ok());
  }
  ~FilePlace() override { EXPECT_TRUE(base::sys::remove_all(dir).ok()); }
  base::Result<std::unique_ptr<Store>> open(base::Loop& loop) override {
    return open_sqlite_store(loop, dir + "/store.db");
  }
  const std::string dir = ::testing::TempDir() + "sampan-conformance-" + std::to_string(::getpid());
};
struct MemoryPlace final : Place {
  base::Result<std::unique_ptr<Store>> open(base::Loop& loop) override {
    return simulated::MemoryStore::open(loop, disk);
  }
  std::shared_ptr<simulated::MemoryDisk> disk = std::make_shared<simulated::MemoryDisk>(7);
};

struct Kind {
  const char* name;
  std::unique_ptr<Place> (*make)();
};
class StoreConformance : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    place_ = GetParam().make();
    start();
  }
  void TearDown() override { store_.reset(); }
  void start() {
    store_.reset();
    store_ = place_->open(*loop_).value();
    loaded_.clear();
    ASSERT_TRUE(store_
                    ->load([this](std::string key, std::string value, int64_t revision) {
                      loaded_.push_back({std::move(key), std::move(value), revision});
                    })
                    .ok());
  }
  void wait_for(const std::function<bool()>& done) {
    for (int i = 0; i < 1000 && !done(); ++i) loop_->run_once(std::chrono::milliseconds(10));
    ASSERT_TRUE(done());
  }
  // Everything that was posted or written up to here.
  void settle() {
    bool done = false;
    store_->submit({"settle" + std::to_string(++settled_), "x", 0},
                   [&](base::Result<int64_t>) { done = true; });
    wait_for([&] { return done; });
  }
  base::Result<int64_t> write(std::string key, std::string value, int64_t expected) {
    base::Result<int64_t> out = int64_t{-1};
    bool done = false;
    store_->submit({std::move(key), std::move(value), expected}, [&](base::Result<int64_t> r) {
      out = std::move(r);
      done = true;
    });
    EXPECT_FALSE(done) << "answered within the call";
    wait_for([&] { return done; });
    return out;
  }
  std::string text() const {
    std::string out;
    for (const StoreChange& each : loaded_) out += each.key + "=" + each.value + " ";
    return out;
  }
  static std::string line(const StoreChange& change) {
    return change.key + (change.value.empty() ? " gone" : "=" + change.value);
  }

  std::unique_ptr<base::Loop> loop_ = std::make_unique<base::Loop>();
  std::unique_ptr<Place> place_;
  std::unique_ptr<Store> store_;
  std::vector<StoreChange> loaded_;
  int settled_ = 0;
};

TEST_P(StoreConformance, AWriteComparesRevisions) {
  const int64_t one = write("k", "a", 0).value();
  EXPECT_GT(one, store_->loaded_revision());
  EXPECT_EQ(write("k", "b", 0).error().kind, base::Kind::kConflict);
  const int64_t two = write("k", "b", one).value();
  EXPECT_GT(two, one);
  EXPECT_EQ(write("k", "c", one).error().kind, base::Kind::kConflict);
  EXPECT_EQ(write("k", "", one).error().kind, base::Kind::kConflict);
  EXPECT_EQ(write("absent", "", 0).error().kind, base::Kind::kConflict);
  EXPECT_EQ(write("absent", "", two).error().kind, base::Kind::kConflict);
  EXPECT_EQ(write("absent", "x", two).error().kind, base::Kind::kConflict);
  const int64_t gone = write("k", "", two).value();
  EXPECT_GT(gone, two);
  EXPECT_EQ(write("k", "c", two).error().kind, base::Kind::kConflict);
  EXPECT_GT(write("k", "d", 0).value(), gone);
}

TEST_P(StoreConformance, OfTwoWritesThatExpectTheSameOneIsMade) {
  const int64_t first = write("k", "0", 0).value();
  std::vector<std::string> said;
  for (const char* value : {"a", "b", "c"})
    store_->submit({"k", value, first}, [&said, value](base::Result<int64_t> result) {
      said.push_back(std::string(value) + (result.ok()                                    ? " made"
                                           : result.error().kind == base::Kind::kConflict ? " conflict"
                                                                                          : " failed"));
    });
  wait_for([&] { return said.size() == 3; });
  EXPECT_EQ(said, (std::vector<std::string>{"a made", "b conflict", "c conflict"}));
}

TEST_P(StoreConformance, ARangeHasAllInTheOrderOfKeys) {
  EXPECT_EQ(text(), "");
  for (const char* key : {"/b/x", "/a/z", "/a/y", "/c"}) ASSERT_TRUE(write(key, key, 0).ok());
  const int64_t y = write("/d", "1", 0).value();
  ASSERT_TRUE(write("/d", "", y).ok());
  start();
  EXPECT_EQ(text(), "/a/y=/a/y /a/z=/a/z /b/x=/b/x /c=/c ");
  for (const StoreChange& each : loaded_) EXPECT_LE(each.revision, store_->loaded_revision());
  EXPECT_GE(store_->loaded_revision(), y + 1) << "the deletion had a revision, too";
}

TEST_P(StoreConformance, AnswersComeInTheOrderOfRevisions) {
  std::vector<int64_t> revisions;
  size_t conflicts = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 50; ++i)
      store_->submit({"k" + std::to_string(round * 40 + i), "v", 0}, [&](base::Result<int64_t> result) {
        if (result.ok()) revisions.push_back(*result);
        else ++conflicts;
      });
    loop_->run_once(std::chrono::milliseconds(1));
  }
  wait_for([&] { return revisions.size() + conflicts == 1000; });
  EXPECT_EQ(conflicts, 190u);
  EXPECT_TRUE(std::is_sorted(revisions.begin(), revisions.end(), std::less_equal<>()));
}

TEST_P(StoreConformance, AWatchTellsEachChangeBeforeItsAnswer) {
  std::vector<std::string> said;
  auto watch = store_->watch(
      store_->loaded_revision(), [&](const StoreChange& change) { said.push_back("told " + line(change)); },
      [&](const base::Error& why) { said.push_back("lost " + why.message()); });
  auto submit = [&](std::string key, std::string value, int64_t expected, int64_t* revision = nullptr) {
    store_->submit({key, value, expected}, [&said, key, revision](base::Result<int64_t> result) {
      said.push_back("done " + key + (result.ok() ? "" : " refused"));
      if (revision && result.ok()) *revision = *result;
    });
  };
  int64_t at = 0;
  submit("a", "1", 0, &at);
  submit("a", "2", 0);
  submit("b", "3", 0);
  wait_for([&] { return said.size() >= 5; });
  submit("a", "", at);
  wait_for([&] { return said.size() >= 7; });
  EXPECT_EQ(said, (std::vector<std::string>{"told a=1", "done a", "done a refused", "told b=3", "done b",
                                            "told a gone", "done a"}));
  watch.reset();
  submit("c", "4", 0);
  wait_for([&] { return said.size() >= 8; });
  EXPECT_EQ(said.back(), "done c");
}

TEST_P(StoreConformance, AWatchBeginsBehindARevisionWithoutAGap) {
  std::vector<int64_t> revisions;
  for (int i = 0; i < 5; ++i) revisions.push_back(write("k" + std::to_string(i), "v", 0).value());
  auto follow = [&](int64_t after) {
    auto said = std::make_shared<std::vector<int64_t>>();
    auto lost = std::make_shared<bool>(false);
    auto watch = store_->watch(
        after, [said](const StoreChange& change) { said->push_back(change.revision); },
        [lost](const base::Error& why) {
          *lost = true;
          EXPECT_EQ(why.kind, base::Kind::kConflict) << why.message();
        });
    settle();
    return std::tuple(*lost, *said, std::move(watch));
  };
  // From the last one on there is never a gap; from before it all of them, or word that they are forgotten.
  auto [lost, said, watch] = follow(revisions.back());
  EXPECT_FALSE(lost);
  EXPECT_EQ(said.size(), 1u);
  auto [lost_before, said_before, watch_before] = follow(revisions[1]);
  if (lost_before) EXPECT_TRUE(said_before.empty());
  else EXPECT_EQ(said_before.size(), 3u + 2u);
  EXPECT_TRUE(std::is_sorted(said_before.begin(), said_before.end()));
  store_->compact(revisions[3]);
  auto [lost_compacted, said_compacted, watch_compacted] = follow(revisions[1]);
  EXPECT_TRUE(lost_compacted);
  EXPECT_TRUE(said_compacted.empty());
}

TEST_P(StoreConformance, ACompactedStoreStillHasItsObjects) {
  const int64_t first = write("k", "a", 0).value(), last = write("k", "b", first).value();
  store_->compact(last);
  EXPECT_GT(write("k", "c", last).value(), last);
  start();
  EXPECT_EQ(text(), "k=c ");
}

TEST_P(StoreConformance, RevisionsOfMemoryAndOfTheStoreAreOneRow) {
  std::vector<int64_t> given{store_->loaded_revision()};
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 1500; ++i) given.push_back(store_->next_volatile_revision().value());
    given.push_back(write("k" + std::to_string(round), "v", 0).value());
    given.push_back(store_->next_volatile_revision().value());
    if (round == 1) {
      start();
      EXPECT_GE(store_->loaded_revision(), given.back());
    }
  }
  EXPECT_TRUE(std::is_sorted(given.begin(), given.end(), std::less_equal<>())) << "rising, none twice";
}

TEST_P(StoreConformance, WhoHasTheStoreLeads) {
  std::vector<bool> said;
  store_->campaign([&](bool leads) { said.push_back(leads); });
  EXPECT_TRUE(said.empty()) << "answered within the call";
  wait_for([&] { return !said.empty(); });
  EXPECT_EQ(said, std::vector<bool>{true});
  EXPECT_TRUE(store_->leads());
  // A second master of a store with one owner never comes to it; it does not follow one either.
  base::Loop other;
  EXPECT_FALSE(place_->open(other).ok());
}

TEST_P(StoreConformance, NothingIsCalledOnceItIsGone) {
  int called = 0;
  auto watch = store_->watch(
      store_->loaded_revision(), [&](const StoreChange&) { ++called; },
      [&](const base::Error&) { ++called; });
  store_->campaign([&](bool) { ++called; });
  for (int i = 0; i < 10; ++i)
    store_->submit({"k" + std::to_string(i), "v", 0}, [&](base::Result<int64_t>) { ++called; });
  store_.reset();
  for (int i = 0; i < 20; ++i) loop_->run_once(std::chrono::milliseconds(1));
  EXPECT_EQ(called, 0);
  watch.reset();
  start();  // and what was submitted is there or not, whole
  for (const StoreChange& each : loaded_) EXPECT_EQ(each.value, "v");
}

INSTANTIATE_TEST_SUITE_P(
    Stores, StoreConformance,
    ::testing::Values(Kind{"Sqlite", [] { return std::unique_ptr<Place>(std::make_unique<FilePlace>()); }},
                      Kind{"Memory", [] { return std::unique_ptr<Place>(std::make_unique<MemoryPlace>()); }}),
    [](const auto& info) { return info.param.name; });

// What the store in memory is unkind in, which a file is only where the machine is.
TEST(MemoryStore, ACrashKeepsWhatWasAcknowledgedAndOfTheRestWholeTransactions) {
  int lost = 0, kept = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    base::Simulated simulated(seed);
    auto disk = std::make_shared<simulated::MemoryDisk>(seed);
    std::vector<std::string> acknowledged, submitted;
    {
      base::Loop loop;
      auto store = simulated::MemoryStore::open(loop, disk).value();
      ASSERT_TRUE(store->load([](std::string, std::string, int64_t) {}).ok());
      for (int round = 0; round < 5; ++round) {
        for (int i = 0; i < 3; ++i) {
          submitted.push_back(std::to_string(round * 3 + i));
          store->submit({submitted.back(), "v", 0},
                        [&, key = submitted.back()](const base::Result<int64_t>& r) {
                          if (r.ok()) acknowledged.push_back(key);
                        });
        }
        simulated.advance(std::chrono::milliseconds(2));
        while (loop.run_ready()) {
        }
      }
    }
    for (const std::string& key : acknowledged) EXPECT_TRUE(disk->records.contains(key));
    EXPECT_GE(disk->records.size(), acknowledged.size());
    kept += disk->records.size() > acknowledged.size();
    lost += disk->records.size() < submitted.size();
  }
  EXPECT_GT(lost, 50);
  EXPECT_GT(kept, 50) << "durable before anybody was told";
}

TEST(MemoryStore, AFullDiskTakesNothingAndGoesOnLater) {
  base::Simulated simulated(1);
  auto disk = std::make_shared<simulated::MemoryDisk>(1);
  base::Loop loop;
  auto store = simulated::MemoryStore::open(loop, disk).value();
  ASSERT_TRUE(store->load([](std::string, std::string, int64_t) {}).ok());
  auto write = [&](const char* key) {
    base::Result<int64_t> out = int64_t{0};
    store->submit({key, "v", 0}, [&](base::Result<int64_t> r) { out = std::move(r); });
    simulated.advance(std::chrono::seconds(1));
    for (int i = 0; i < 4; ++i) {
      while (loop.run_ready()) {
      }
      simulated.advance(std::chrono::seconds(1));
    }
    return out;
  };
  disk->full = true;
  EXPECT_EQ(write("a").error().kind, base::Kind::kExhausted);
  EXPECT_TRUE(disk->records.empty());
  disk->full = false;
  EXPECT_GT(write("a").value(), 0);
  disk->failures = 1;
  EXPECT_EQ(write("b").error().kind, base::Kind::kUnavailable);
}

}  // namespace
}  // namespace master
