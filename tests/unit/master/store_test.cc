#include "master/store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/sys.h"

namespace master {
namespace {

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "sampan-store-" + std::to_string(::getpid()) + ".db";
    clean();
  }
  void TearDown() override { clean(); }
  void clean() {
    for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((path_ + suffix).c_str());
  }
  base::Result<int64_t> write(base::Loop& loop, Store& store, std::string key, std::string value, int64_t expected) {
    base::Result<int64_t> out = int64_t{-1};
    bool done = false;
    store.submit({std::move(key), std::move(value), expected}, [&](base::Result<int64_t> r) { out = std::move(r); done = true; });
    for (int i = 0; i < 1000 && !done; ++i) loop.run_once(std::chrono::milliseconds(10));
    EXPECT_TRUE(done);
    return out;
  }
  std::map<std::string, std::string> contents() {
    base::Loop loop;
    auto store = open_sqlite_store(loop, path_).value();
    std::map<std::string, std::string> out;
    EXPECT_TRUE(store->load([&](std::string key, std::string value, int64_t) { out[key] = value; }).ok());
    return out;
  }
  static void nothing(std::string, std::string, int64_t) {}
  std::string path_;
};

TEST_F(StoreTest, ComparesRevisions) {
  base::Loop loop;
  auto store = open_sqlite_store(loop, path_).value();
  ASSERT_TRUE(store->load(nothing).ok());
  int64_t one = write(loop, *store, "k", "a", 0).value();
  EXPECT_EQ(write(loop, *store, "k", "b", 0).error().kind, base::Kind::kConflict);
  int64_t two = write(loop, *store, "k", "b", one).value();
  EXPECT_GT(two, one);
  EXPECT_EQ(write(loop, *store, "k", "c", one).error().kind, base::Kind::kConflict);
  EXPECT_EQ(write(loop, *store, "k", "", one).error().kind, base::Kind::kConflict);
  EXPECT_GT(write(loop, *store, "k", "", two).value(), two);
  store.reset();
  EXPECT_TRUE(contents().empty());
}

TEST_F(StoreTest, TakesAStoreOfTheFormerLayout) {
  auto execute = [&](const char* sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  };
  execute("CREATE TABLE object(key TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;"
          "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL); INSERT INTO meta VALUES('revision', 9);"
          "INSERT INTO object VALUES('b', 7, 'two'), ('a', 8, 'one')");
  using Contents = std::map<std::string, std::string>;
  EXPECT_EQ(contents(), (Contents{{"a", "one"}, {"b", "two"}}));
  {
    base::Loop loop;
    auto store = open_sqlite_store(loop, path_).value();
    ASSERT_TRUE(store->load(nothing).ok());
    EXPECT_GT(write(loop, *store, "a", "new", 8).value(), 9);
  }
  EXPECT_EQ(contents(), (Contents{{"a", "new"}, {"b", "two"}}));
  execute("PRAGMA user_version=99");
  base::Loop loop;
  auto newer = open_sqlite_store(loop, path_);
  ASSERT_FALSE(newer.ok());
  EXPECT_NE(newer.error().message().find("its layout 99 is newer than this program's 2"), std::string::npos) << newer.error().message();
}

TEST_F(StoreTest, VolatileRevisionsNeverComeTwice) {
  int64_t last;
  {
    base::Loop loop;
    auto store = open_sqlite_store(loop, path_).value();
    ASSERT_TRUE(store->load(nothing).ok());
    for (int i = 0; i < 10; ++i) last = store->next_volatile_revision();
    int64_t durable = write(loop, *store, "k", "a", 0).value();
    EXPECT_GT(durable, last);
    last = durable;
  }
  base::Loop loop;
  auto store = open_sqlite_store(loop, path_).value();
  ASSERT_TRUE(store->load(nothing).ok());
  EXPECT_GT(store->next_volatile_revision(), last);
}

TEST_F(StoreTest, ASecondOwnerIsRefused) {
  base::Loop loop;
  auto store = open_sqlite_store(loop, path_).value();
  ASSERT_TRUE(store->load(nothing).ok());
  EXPECT_FALSE(open_sqlite_store(loop, path_).ok());
}

// The log holds a page for each that a transaction changed, so its size tells how many there were.
TEST_F(StoreTest, ARoundOfTheLoopIsOneTransaction) {
  base::Loop loop;
  auto store = open_sqlite_store(loop, path_).value();
  ASSERT_TRUE(store->load(nothing).ok());
  auto log_bytes = [&] {
    struct stat status{};
    EXPECT_EQ(::stat((path_ + "-wal").c_str(), &status), 0);
    return status.st_size;
  };
  auto before = log_bytes();
  std::vector<int64_t> revisions;
  for (int i = 0; i < 100; ++i)
    store->submit({"k" + std::to_string(i), "v", 0}, [&](const base::Result<int64_t>& r) { revisions.push_back(r.ok() ? *r : 0); });
  for (int i = 0; i < 1000 && revisions.size() < 100; ++i) loop.run_once(std::chrono::milliseconds(10));
  ASSERT_EQ(revisions.size(), 100u);
  EXPECT_TRUE(std::is_sorted(revisions.begin(), revisions.end()));
  EXPECT_LT(log_bytes() - before, 20 * 4096);
}

TEST_F(StoreTest, TheLogStaysSmall) {
  base::Loop loop;
  auto store = open_sqlite_store(loop, path_).value();
  ASSERT_TRUE(store->load(nothing).ok());
  int done = 0, wanted = 0;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 100; ++i, ++wanted)
      store->submit({"k" + std::to_string(wanted), std::string(4000, 'v'), 0}, [&](base::Result<int64_t> r) { done += r.ok(); });
    for (int i = 0; i < 1000 && done < wanted; ++i) loop.run_once(std::chrono::milliseconds(10));
  }
  ASSERT_EQ(done, 4000);
  struct stat status{};
  ASSERT_EQ(::stat((path_ + "-wal").c_str(), &status), 0);
  EXPECT_LT(status.st_size, 12 << 20);  // of 16 MB written at least twice
  store.reset();
  EXPECT_EQ(contents().size(), 4000u);
}

// kill -9 in the middle of a stream of writes: what was acknowledged is there.
TEST_F(StoreTest, NothingAcknowledgedIsLost) {
  for (int round = 0; round < 5; ++round) {
    clean();
    auto pipe = base::sys::pipe().value();
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      base::Loop loop;
      auto store = open_sqlite_store(loop, path_).value();
      if (!store->load(nothing).ok()) ::_exit(1);
      int next = 0;
      std::function<void()> more = [&] {
        std::string key = "key" + std::to_string(next++);
        store->submit({key, "value of " + key, 0}, [&, key](base::Result<int64_t> r) {
          if (r.ok()) (void)base::sys::write_all(pipe.write.get(), key + "\n");
          more();
        });
      };
      for (int i = 0; i < 8; ++i) more();
      loop.run();
      ::_exit(0);
    }
    pipe.write.reset();
    std::string acknowledged;
    char buffer[256];
    while (acknowledged.size() < static_cast<size_t>(400 + round * 731)) {
      ssize_t n = ::read(pipe.read.get(), buffer, sizeof buffer);
      ASSERT_GT(n, 0);
      acknowledged.append(buffer, static_cast<size_t>(n));
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    acknowledged += base::sys::read_all(pipe.read.get()).value_or("");
    auto stored = contents();
    size_t count = 0;
    for (size_t at = 0, end; (end = acknowledged.find('\n', at)) != std::string::npos; at = end + 1, ++count) {
      std::string key = acknowledged.substr(at, end - at);
      EXPECT_EQ(stored[key], "value of " + key);
    }
    EXPECT_GT(count, 10u);
  }
}

}  // namespace
}  // namespace master
