#include "master/store/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "base/sys.h"
#include "master/store/store_identity.h"

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
    std::string dir = ::testing::TempDir(), stem = "sampan-store-" + std::to_string(::getpid()) + ".";
    auto names = base::sys::list_dir(dir).value();
    for (const std::string& name : names)
      if (name.starts_with(stem)) ::unlink((dir + name).c_str());
  }
  base::Result<int64_t> write(base::Loop& loop, Store& store, std::string key, std::string value,
                              int64_t expected) {
    base::Result<int64_t> out = int64_t{-1};
    bool done = false;
    store.submit({std::move(key), std::move(value), expected}, [&](base::Result<int64_t> r) {
      out = std::move(r);
      done = true;
    });
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

// What a callback holds (a request, its connection) belongs to the loop's thread, and its end does, too.
TEST_F(StoreTest, GivesUpWhatCallbacksHoldOnTheLoopsThread) {
  struct Held {
    std::thread::id owner = std::this_thread::get_id();
    std::atomic<int>& strangers;
    explicit Held(std::atomic<int>& count) : strangers(count) {}
    ~Held() { strangers += std::this_thread::get_id() != owner; }
  };
  base::Loop loop;
  std::atomic<int> strangers = 0;
  auto store = open_sqlite_store(loop, path_).value();
  ASSERT_TRUE(store->load(nothing).ok());
  int64_t revision = 0;
  for (int i = 0; i < 1000; ++i) {
    bool done = false;
    store->submit({"k", std::to_string(i), revision},
                  [&, held = std::make_shared<Held>(strangers)](base::Result<int64_t> result) {
                    revision = result.ok() ? *result : 0;
                    done = true;
                  });
    for (int turn = 0; turn < 1000 && !done; ++turn) loop.run_once(std::chrono::milliseconds(10));
    ASSERT_TRUE(done);
  }
  store.reset();
  EXPECT_EQ(strangers, 0);
}

TEST_F(StoreTest, TakesAStoreOfTheFormerLayout) {
  auto execute = [&](const char* sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  };
  execute(
      "CREATE TABLE object(key TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT "
      "ROWID;"
      "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL); INSERT INTO meta VALUES('revision', "
      "9);"
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
  for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((path_ + suffix).c_str());
  ::unlink((path_.substr(0, path_.size() - 3) + ".identity").c_str());
  execute(
      "CREATE TABLE object(id INTEGER PRIMARY KEY, key TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB "
      "NOT NULL);"
      "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL); INSERT INTO meta VALUES('revision', "
      "9); PRAGMA user_version=2;"
      "INSERT INTO object(key, revision, value) VALUES('b', 7, 'two'), ('a', 8, 'one')");
  EXPECT_EQ(contents(), (Contents{{"a", "one"}, {"b", "two"}}));
  EXPECT_EQ(contents(), (Contents{{"a", "one"}, {"b", "two"}}));
  execute("PRAGMA user_version=99");
  base::Loop loop;
  auto newer = open_sqlite_store(loop, path_);
  ASSERT_FALSE(newer.ok());
  EXPECT_NE(newer.error().message().find("its layout 99 is newer than this program's 3"), std::string::npos)
      << newer.error().message();
}

TEST_F(StoreTest, VolatileRevisionsNeverComeTwice) {
  int64_t last;
  {
    base::Loop loop;
    auto store = open_sqlite_store(loop, path_).value();
    ASSERT_TRUE(store->load(nothing).ok());
    for (int i = 0; i < 10; ++i) last = store->next_volatile_revision().value();
    int64_t durable = write(loop, *store, "k", "a", 0).value();
    EXPECT_GT(durable, last);
    last = durable;
  }
  base::Loop loop;
  auto store = open_sqlite_store(loop, path_).value();
  ASSERT_TRUE(store->load(nothing).ok());
  EXPECT_GT(store->next_volatile_revision().value(), last);
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
    struct stat status {};
    EXPECT_EQ(::stat((path_ + "-wal").c_str(), &status), 0);
    return status.st_size;
  };
  auto before = log_bytes();
  std::vector<int64_t> revisions;
  for (int i = 0; i < 100; ++i)
    store->submit({"k" + std::to_string(i), "v", 0},
                  [&](const base::Result<int64_t>& r) { revisions.push_back(r.ok() ? *r : 0); });
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
      store->submit({"k" + std::to_string(wanted), std::string(4000, 'v'), 0},
                    [&](base::Result<int64_t> r) { done += r.ok(); });
    for (int i = 0; i < 1000 && done < wanted; ++i) loop.run_once(std::chrono::milliseconds(10));
  }
  ASSERT_EQ(done, 4000);
  struct stat status {};
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
    for (size_t at = 0, end; (end = acknowledged.find('\n', at)) != std::string::npos;
         at = end + 1, ++count) {
      std::string key = acknowledged.substr(at, end - at);
      EXPECT_EQ(stored[key], "value of " + key);
    }
    EXPECT_GT(count, 10u);
  }
}

// What becomes of a store between two starts.
class DamagedStore : public StoreTest {
 protected:
  using Contents = std::map<std::string, std::string>;
  struct Opened {
    std::string refusal;  // empty: it opened
    Contents contents, damaged;
    int64_t next = 0;
  };
  Opened open(bool accept = false) {
    Opened out;
    base::Loop loop;
    StoreOptions options;
    options.accept_data_loss = accept;
    auto store = open_sqlite_store(loop, path_, options);
    base::Status status =
        store.ok()
            ? (*store)->load([&](std::string key, std::string value, int64_t) { out.contents[key] = value; },
                             [&](const std::string& key, int64_t, const base::Error& why) {
                               out.damaged[key] = why.message();
                             })
            : base::Status(store.error());
    if (status.ok()) out.next = (*store)->next_volatile_revision().value();
    else out.refusal = status.error().message();
    return out;
  }
  // Writes a to j and deletes the last, in a process that ends without a word, so that the log stays.
  int64_t crash_with_log() {
    auto pipe = base::sys::pipe().value();
    pid_t child = ::fork();
    if (child == 0) {
      base::Loop loop;
      auto store = open_sqlite_store(loop, path_).value();
      int64_t last = 0;
      if (store->load(nothing).ok())
        for (char key = 'a'; key <= 'j'; ++key)
          last = write(loop, *store, std::string(1, key), std::string(100, key), 0).value_or(0);
      last = write(loop, *store, "j", "", last).value_or(0);
      (void)base::sys::write_all(pipe.write.get(), std::to_string(last));
      ::_exit(0);
    }
    pipe.write.reset();
    int64_t last = std::atoll(base::sys::read_all(pipe.read.get()).value_or("").c_str());
    ::waitpid(child, nullptr, 0);
    EXPECT_GT(last, 10);
    return last;
  }
  // Flips a bit of the byte `at` behind where `text` stands in a file.
  void flip(const std::string& file, const std::string& text, size_t at = 0) {
    std::string bytes = base::sys::read_file(file).value();
    size_t found = bytes.find(text);
    ASSERT_NE(found, std::string::npos);
    bytes[found + at] ^= 4;
    overwrite(file, bytes);
  }
  static void overwrite(const std::string& file, const std::string& bytes) {
    auto fd = base::sys::open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600).value();
    ASSERT_TRUE(base::sys::write_all(fd.get(), bytes).ok());
  }
  static void expect_in(const std::string& part, const std::string& whole) {
    EXPECT_NE(whole.find(part), std::string::npos) << whole;
  }
  std::string identity() { return path_.substr(0, path_.size() - 3) + ".identity"; }
  // Refused, and then accepted: nothing it tells afterwards has a revision that was told before.
  Contents loses(const std::string& why, int64_t last) {
    Opened refused = open();
    expect_in(why, refused.refusal);
    expect_in("--accept-data-loss", refused.refusal);
    expect_in(why, open().refusal);  // looking changed nothing
    Opened accepted = open(true);
    EXPECT_EQ(accepted.refusal, "");
    EXPECT_GT(accepted.next, last);
    EXPECT_EQ(open().refusal, "");  // said once
    return accepted.contents;
  }
};

TEST_F(DamagedStore, ACrashIsNoLoss) {
  int64_t last = crash_with_log();
  Opened opened = open();
  EXPECT_EQ(opened.refusal, "");
  EXPECT_EQ(opened.contents.size(), 9u);
  EXPECT_GT(opened.next, last);
  EXPECT_EQ(open().refusal, "");
}
TEST_F(DamagedStore, AFileThatIsGoneOrEmptyIsMissed) {
  int64_t last = crash_with_log();
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  EXPECT_TRUE(
      loses("the file is missing, but a store of revision " + std::to_string(last) + " was here", last)
          .empty());
  last = open().next;
  overwrite(path_, "");
  loses("the file is empty, but a store of revision", last);
}
TEST_F(DamagedStore, AFileThatIsGoneBesideItsLog) {
  int64_t last = crash_with_log();
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  ASSERT_EQ(::unlink(identity().c_str()), 0);  // as a master of before left it
  Opened refused = open();
  expect_in("the file is missing, but its log " + path_ + "-wal is there", refused.refusal);
  EXPECT_EQ(open(true).refusal, "");
  (void)last;
}
TEST_F(DamagedStore, ALogThatIsGoneOrDamagedIsMissed) {
  int64_t last = crash_with_log();
  ASSERT_EQ(::unlink((path_ + "-wal").c_str()), 0);
  loses("writes up to " + std::to_string(last) + " were acknowledged", last);
  clean();
  last = crash_with_log();
  flip(path_ + "-wal", std::string(100, 'e'));  // in the middle: what follows is not read
  Contents left = loses("writes up to " + std::to_string(last) + " were acknowledged", last);
  EXPECT_TRUE(left.contains("a"));
  EXPECT_FALSE(left.contains("i"));
}
TEST_F(DamagedStore, AnotherStoreIsNoticed) {
  open();
  std::string other = base::sys::read_file(path_).value();
  clean();
  int64_t last = crash_with_log();
  open();  // takes the log in
  overwrite(path_, other);
  loses("another store", last);
}
TEST_F(DamagedStore, TheSecondPlaceMayBeLost) {
  for (const char* text : {"", "nonsense", "store 0000000000000000 revision 0000000000000000000x\n"}) {
    crash_with_log();
    overwrite(identity(), text);
    EXPECT_EQ(open().contents.size(), 9u);
    EXPECT_TRUE(parse_identity(base::sys::read_file(identity()).value()).has_value());
    clean();
  }
}
TEST_F(DamagedStore, ADamagedRecordIsSetAsideAlone) {
  crash_with_log();
  open();
  flip(path_, std::string(100, 'e'), 50);
  for (int start = 0; start < 2; ++start) {
    Opened opened = open();
    EXPECT_EQ(opened.refusal, "");
    EXPECT_EQ(opened.contents.size(), 8u);
    EXPECT_FALSE(opened.contents.contains("e"));
    expect_in("its bytes are damaged", opened.damaged["e"]);
  }
  base::Loop loop;
  auto store = open_sqlite_store(loop, path_).value();
  ASSERT_TRUE(store->load(nothing).ok());
  EXPECT_EQ(write(loop, *store, "e", "another", 0).error().kind,
            base::Kind::kConflict);  // its record is not lost
}
TEST_F(DamagedStore, WhatCanBeReadOfADamagedFileIsKept) {
  {
    base::Loop loop;
    auto store = open_sqlite_store(loop, path_).value();
    ASSERT_TRUE(store->load(nothing).ok());
    for (int i = 0; i < 200; ++i)
      ASSERT_TRUE(write(loop, *store, "k" + std::to_string(1000 + i),
                        std::string(1000, static_cast<char>('a' + i % 26)), 0)
                      .ok());
  }
  std::string bytes = base::sys::read_file(path_).value();
  size_t page = bytes.size() / 4096 / 2 * 4096;  // of records, in the middle
  std::string damaged = bytes;
  damaged.replace(page, 64, std::string(64, '\xff'));
  overwrite(path_, damaged);
  Opened refused = open();
  expect_in("malformed", refused.refusal);
  expect_in("--accept-data-loss", refused.refusal);
  Opened accepted = open(true);
  EXPECT_EQ(accepted.refusal, "");
  EXPECT_GT(accepted.contents.size(), 150u);
  EXPECT_LT(accepted.contents.size(), 200u);
  EXPECT_EQ(open().contents, accepted.contents);
  auto names = base::sys::list_dir(::testing::TempDir()).value();
  EXPECT_TRUE(std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.find(".db.damaged-") != std::string::npos;
  }));
  overwrite(path_, "this is no store at all, but some text that somebody put there" + std::string(4096, 'x'));
  expect_in("not a database", open().refusal);
  EXPECT_TRUE(open(true).contents.empty());
}

TEST(StoreIdentity, IsOneLine) {
  StoreIdentity one{0x1234, 987, 100000};
  EXPECT_EQ(to_text(one),
            "store 0000000000001234 revision 00000000000000000987 reserved 00000000000000100000\n");
  EXPECT_EQ(parse_identity(to_text(one)), one);
  for (const char* text :
       {"", "store", "store 000000000000123g revision 00000000000000000987 reserved 00000000000000100000\n",
        "store 0000000000001234 revision 00000000000000000987 reserved 0000000000000010000-\n",
        "store 0000000000001234 revision-00000000000000000987 reserved 00000000000000100000\n"})
    EXPECT_FALSE(parse_identity(text)) << text;
}

}  // namespace
}  // namespace master
