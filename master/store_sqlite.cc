// The embedded store: one SQLite file in WAL mode with synchronous=FULL and one writer thread.
// Group commit: whatever waits when the thread comes round goes into one transaction and one
// fsync; nothing is acknowledged before it. Only the writer thread touches the connection after
// load(); it must never touch the loop's data.
#include <sqlite3.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/sys.h"
#include "master/store.h"

namespace master {
namespace {

using base::Kind;
using base::Result;
using base::Status;

// Volatile revisions are taken from a range that was reserved on disk before, so that a crash can
// never hand one out twice.
constexpr int64_t kReserve = 100'000;
constexpr size_t kMaxBatch = 1024;

base::Error sqlite_error(sqlite3* db, const char* operation, const std::string& path) {
  int code = sqlite3_errcode(db);
  Kind kind = code == SQLITE_FULL || code == SQLITE_NOMEM ? Kind::kExhausted
              : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? Kind::kCorrupt
                                                               : Kind::kUnavailable;
  const char* hint = code == SQLITE_FULL     ? "free disk space"
                     : code == SQLITE_BUSY   ? "another master runs on this directory"
                     : code == SQLITE_CANTOPEN ? "is the directory there and writable?"
                                             : "";
  return base::make_error(kind, operation, path, sqlite3_errmsg(db), hint);
}

class SqliteStore final : public Store {
 public:
  SqliteStore(base::Loop& loop, std::string path) : loop_(loop), path_(std::move(path)) {}
  ~SqliteStore() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
    for (sqlite3_stmt* statement : {insert_, update_, remove_, meta_}) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }

  Status open() {
    mode_t old = ::umask(0077);
    int code = sqlite3_open_v2(path_.c_str(), &db_,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    ::umask(old);
    if (code != SQLITE_OK) return sqlite_error(db_, "open store", path_);
    // One process owns the file: exclusive locking makes a second master fail at once, and spares
    // the shared-memory index.
    for (const char* sql :
         {"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
          "PRAGMA cache_size=-2048", "PRAGMA wal_autocheckpoint=4000",
          "CREATE TABLE IF NOT EXISTS object(key TEXT PRIMARY KEY, revision INTEGER NOT NULL, "
          "value BLOB NOT NULL) WITHOUT ROWID",
          "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
          "INSERT OR IGNORE INTO meta VALUES('revision', 0)"}) {
      if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
        return sqlite_error(db_, "prepare store", path_);
    }
    struct {
      const char* sql;
      sqlite3_stmt** statement;
    } statements[] = {
        {"INSERT INTO object(key, revision, value) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING", &insert_},
        {"UPDATE object SET revision=?2, value=?3 WHERE key=?1 AND revision=?4", &update_},
        {"DELETE FROM object WHERE key=?1 AND revision=?4", &remove_},
        {"UPDATE meta SET value=?1 WHERE name='revision'", &meta_},
    };
    for (auto& s : statements)
      if (sqlite3_prepare_v3(db_, s.sql, -1, SQLITE_PREPARE_PERSISTENT, s.statement, nullptr) != SQLITE_OK)
        return sqlite_error(db_, "prepare store", path_);
    sqlite3_stmt* query = nullptr;
    if (sqlite3_prepare_v2(db_, "SELECT value FROM meta WHERE name='revision'", -1, &query, nullptr) != SQLITE_OK ||
        sqlite3_step(query) != SQLITE_ROW) {
      sqlite3_finalize(query);
      return sqlite_error(db_, "read revision of store", path_);
    }
    loaded_revision_ = revision_ = sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    if (!reserve()) return sqlite_error(db_, "reserve revisions in store", path_);
    return {};
  }

  Status load(const std::function<void(std::string, std::string, int64_t)>& each) override {
    sqlite3_stmt* query = nullptr;
    if (sqlite3_prepare_v2(db_, "SELECT key, revision, value FROM object ORDER BY key", -1, &query, nullptr) !=
        SQLITE_OK)
      return sqlite_error(db_, "read store", path_);
    int code;
    while ((code = sqlite3_step(query)) == SQLITE_ROW) {
      auto text = [&](int column) {
        return std::string(static_cast<const char*>(sqlite3_column_blob(query, column)),
                           static_cast<size_t>(sqlite3_column_bytes(query, column)));
      };
      each(text(0), text(2), sqlite3_column_int64(query, 1));
    }
    sqlite3_finalize(query);
    if (code != SQLITE_DONE) return sqlite_error(db_, "read store", path_);
    thread_ = std::thread([this] { write_loop(); });
    return {};
  }

  void submit(StoreWrite write, std::function<void(Result<int64_t>)> done) override {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back({std::move(write), std::move(done)});
    }
    wake_.notify_one();
  }

  int64_t next_volatile_revision() override {
    int64_t next = ++revision_;
    if (next >= reserved_.load() - kReserve / 2) wake_for_reserve();
    SAMPAN_CHECK(next < reserved_.load());  // the writer is half a reserve behind: it is dead
    return next;
  }
  int64_t loaded_revision() const override { return loaded_revision_; }

 private:
  struct Pending {
    StoreWrite write;
    std::function<void(Result<int64_t>)> done;
  };
  struct Outcome {
    std::function<void(Result<int64_t>)> done;
    Result<int64_t> result;
  };

  void wake_for_reserve() {
    {
      std::lock_guard lock(mutex_);
      want_reserve_ = true;
    }
    wake_.notify_one();
  }
  bool reserve() {
    int64_t limit = revision_.load() + kReserve;
    sqlite3_reset(meta_);
    sqlite3_bind_int64(meta_, 1, limit);
    bool ok = sqlite3_step(meta_) == SQLITE_DONE;
    sqlite3_reset(meta_);
    if (ok) reserved_ = limit;
    return ok;
  }
  bool execute(const char* sql) { return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK; }

  // One write inside the batch's transaction: its revision, 0 when the compare failed, -1 on error.
  int64_t apply(const StoreWrite& write) {
    sqlite3_stmt* statement = write.value.empty() ? remove_ : write.expected_revision == 0 ? insert_ : update_;
    int64_t next = revision_.load() + 1;
    sqlite3_bind_text(statement, 1, write.key.data(), static_cast<int>(write.key.size()), SQLITE_STATIC);
    if (statement != remove_) {
      sqlite3_bind_int64(statement, 2, next);
      sqlite3_bind_blob(statement, 3, write.value.data(), static_cast<int>(write.value.size()), SQLITE_STATIC);
    }
    if (statement != insert_) sqlite3_bind_int64(statement, 4, write.expected_revision);
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) return -1;
    if (sqlite3_changes(db_) != 1) return 0;
    // The loop may have taken `next` for a volatile object meanwhile; then this row says a number
    // that is not unique, which only matters for its own compare: take a fresh one and say so.
    int64_t expected = next - 1;
    if (revision_.compare_exchange_strong(expected, next)) return next;
    if (statement == remove_) return ++revision_;
    int64_t fresh = ++revision_;
    sqlite3_bind_text(update_, 1, write.key.data(), static_cast<int>(write.key.size()), SQLITE_STATIC);
    sqlite3_bind_int64(update_, 2, fresh);
    sqlite3_bind_blob(update_, 3, write.value.data(), static_cast<int>(write.value.size()), SQLITE_STATIC);
    sqlite3_bind_int64(update_, 4, next);
    code = sqlite3_step(update_);
    sqlite3_reset(update_);
    return code == SQLITE_DONE ? fresh : -1;
  }

  void write_loop() {
    std::vector<Pending> batch;
    for (;;) {
      bool want_reserve;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || want_reserve_ || !queue_.empty(); });
        if (queue_.empty() && stopping_) return;
        want_reserve = std::exchange(want_reserve_, false);
        size_t count = std::min(queue_.size(), kMaxBatch);
        batch.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.begin() + static_cast<long>(count)));
        queue_.erase(queue_.begin(), queue_.begin() + static_cast<long>(count));
      }
      commit(batch, want_reserve);
      batch.clear();
    }
  }

  void commit(std::vector<Pending>& batch, bool want_reserve) {
    auto outcomes = std::make_shared<std::vector<Outcome>>();
    outcomes->reserve(batch.size());
    bool ok = execute("BEGIN IMMEDIATE");
    if (ok && (want_reserve || revision_.load() + static_cast<int64_t>(kMaxBatch) * 2 > reserved_.load())) ok = reserve();
    for (Pending& pending : batch) {
      int64_t revision = ok ? apply(pending.write) : -1;
      if (revision < 0) ok = false;
      Result<int64_t> result = revision;
      if (revision == 0)
        result = base::make_error(Kind::kConflict, "write", pending.write.key, "changed meanwhile");
      outcomes->push_back({std::move(pending.done), std::move(result)});
    }
    if (ok) ok = execute("COMMIT");
    if (!ok) {
      base::Error error = sqlite_error(db_, "commit to store", path_);
      execute("ROLLBACK");
      for (Outcome& outcome : *outcomes) outcome.result = error;
    }
    // The loop may outlive us, and the callbacks are their owner's, who outlives us no more.
    loop_.post([outcomes, alive = std::weak_ptr<bool>(alive_)] {
      if (alive.expired()) return;
      for (Outcome& outcome : *outcomes) outcome.done(std::move(outcome.result));
    });
  }

  base::Loop& loop_;
  const std::string path_;
  sqlite3* db_ = nullptr;
  sqlite3_stmt *insert_ = nullptr, *update_ = nullptr, *remove_ = nullptr, *meta_ = nullptr;
  int64_t loaded_revision_ = 0;
  std::atomic<int64_t> revision_{0};
  std::atomic<int64_t> reserved_{0};  // on disk: revisions below it may be given out
  std::mutex mutex_;                  // guards the next four
  std::condition_variable wake_;
  std::vector<Pending> queue_;
  bool want_reserve_ = false;
  bool stopping_ = false;
  std::thread thread_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(base::Loop& loop, const std::string& path) {
  auto store = std::make_unique<SqliteStore>(loop, path);
  TRY(store->open());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace master
