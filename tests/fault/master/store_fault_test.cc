// The store on a disk that takes no more writes, and its end in the middle of that.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"
#include "master/store/store.h"

namespace master {
namespace {

class StoreFault : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = ::testing::TempDir() + "sampan-store-fault-" + std::to_string(::getpid());
    ASSERT_TRUE(base::sys::remove_all(dir_).ok());
    ASSERT_TRUE(base::sys::mkdir_all(dir_).ok());
  }
  void TearDown() override { ASSERT_TRUE(base::sys::remove_all(dir_).ok()); }
  std::string path() const { return dir_ + "/store.db"; }
  // As a full disk: no file of ours may grow. (The limit's signal is ignored, so that writes fail.)
  void fill() const {
    ::signal(SIGXFSZ, SIG_IGN);
    struct stat log {};
    ::stat((path() + "-wal").c_str(), &log);
    struct rlimit limit {
      static_cast<rlim_t>(log.st_size), RLIM_INFINITY
    };
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  static void empty() {
    struct rlimit limit {
      RLIM_INFINITY, RLIM_INFINITY
    };
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  static base::Result<int64_t> write(base::Loop& loop, Store& store, std::string key, std::string value,
                                     int64_t expected = 0) {
    base::Result<int64_t> out = int64_t{-1};
    bool done = false;
    store.submit({std::move(key), std::move(value), expected},
                 [&](base::Result<int64_t> r) { out = std::move(r), done = true; });
    for (int i = 0; i < 1000 && !done; ++i) loop.run_once(std::chrono::milliseconds(10));
    return out;
  }
  static void nothing(std::string, std::string, int64_t) {}
  std::string dir_;
};

TEST_F(StoreFault, NoRevisionIsGivenTwiceWhenReservingFails) {
  auto pipe = base::sys::pipe().value();
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    base::Loop loop;
    auto store = open_sqlite_store(loop, path()).value();
    if (!store->load(nothing).ok() || !write(loop, *store, "before", "v").ok()) ::_exit(1);
    fill();
    // Whoever takes revisions slowly gives the writer time to try for more: each of its commits
    // fails.
    int64_t last = 0;
    bool refused = false;
    for (int i = 0; i < 400'000 && !refused; ++i) {
      auto next = store->next_volatile_revision();
      refused = !next.ok();
      if (!refused) last = *next;
      if (i % 20'000 == 0)
        base::ignore(write(loop, *store, "during" + std::to_string(i), "v"), "the disk is full");
    }
    (void)base::sys::write_all(pipe.write.get(),
                               std::to_string(last) + (refused ? " refused" : " never refused"));
    ::_exit(0);  // as killed: nothing is closed
  }
  pipe.write.reset();
  std::string told = base::sys::read_all(pipe.read.get()).value_or("");
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(told.ends_with(" refused")) << told;
  base::Loop loop;
  auto store = open_sqlite_store(loop, path()).value();
  ASSERT_TRUE(store->load(nothing).ok());
  EXPECT_GT(store->next_volatile_revision().value(), std::atoll(told.c_str()));
}

TEST_F(StoreFault, GoesOnWhenTheDiskHasRoomAgain) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    base::Loop loop;
    auto store = open_sqlite_store(loop, path()).value();
    if (!store->load(nothing).ok()) ::_exit(1);
    std::vector<int64_t> given;
    auto take = [&](base::Result<int64_t> revision) {
      if (revision.ok()) given.push_back(*revision);
      return revision.ok();
    };
    if (!take(write(loop, *store, "a", "1"))) ::_exit(2);
    fill();
    if (take(write(loop, *store, "b", "1")) || take(write(loop, *store, "a", "", given[0]))) ::_exit(3);
    while (take(store->next_volatile_revision())) {
    }
    empty();
    if (!take(write(loop, *store, "b", "2")) || !take(store->next_volatile_revision()) ||
        !take(write(loop, *store, "a", "2", given[0])))
      ::_exit(4);
    ::_exit(std::is_sorted(given.begin(), given.end()) &&
                    std::adjacent_find(given.begin(), given.end()) == given.end()
                ? 0
                : 5);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
  base::Loop loop;
  auto store = open_sqlite_store(loop, path()).value();
  std::map<std::string, std::string> contents;
  ASSERT_TRUE(store->load([&](std::string key, std::string value, int64_t) { contents[key] = value; }).ok());
  EXPECT_EQ(contents, (std::map<std::string, std::string>{{"a", "2"}, {"b", "2"}}));
}

}  // namespace
}  // namespace master
