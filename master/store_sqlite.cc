// The embedded store: one SQLite file in WAL mode with synchronous=FULL and one writer thread.
// Group commit: what a round of the loop submits, and whatever else waits when the thread comes round,
// goes into one transaction and one fsync; nothing is acknowledged before it. Only the writer thread
// touches the connection after load(); it must never touch the loop's data.
// A new object goes to the end of its table, and where each lies is kept in memory, 40 bytes an object: a
// write then touches one page of the file whatever its key, where an index on keys would touch and split
// others.
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

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
// 1: objects by key. 2: objects in the order in which they came. Kept in the file as user_version.
constexpr int kLayout = 2;
constexpr int kMaxWalPages = 1000;  // 4 MiB are copied from the log into the database at a time

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
    hand_over();
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
    for (sqlite3_stmt* statement : {insert_, update_, remove_, is_row_, meta_}) sqlite3_finalize(statement);
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
          "PRAGMA cache_size=-2048", "PRAGMA wal_autocheckpoint=0"})
      if (!execute(sql)) return sqlite_error(db_, "prepare store", path_);
    if (Status layout = bring_up_to_layout(); !layout.ok()) return layout;
    struct {
      const char* sql;
      sqlite3_stmt** statement;
    } statements[] = {
        {"INSERT INTO object(id, revision, value, key) VALUES(?1, ?2, ?3, ?5)", &insert_},
        {"UPDATE object SET revision=?2, value=?3 WHERE id=?1 AND revision=?4", &update_},
        {"DELETE FROM object WHERE id=?1 AND revision=?4", &remove_},
        {"SELECT 1 FROM object WHERE id=?1 AND key=?2", &is_row_},
        {"UPDATE meta SET value=?1 WHERE name='revision'", &meta_},
    };
    for (auto& s : statements)
      if (sqlite3_prepare_v3(db_, s.sql, -1, SQLITE_PREPARE_PERSISTENT, s.statement, nullptr) != SQLITE_OK)
        return sqlite_error(db_, "prepare store", path_);
    sqlite3_wal_hook(db_, [](void* self, sqlite3*, const char*, int pages) {
      static_cast<SqliteStore*>(self)->wal_pages_ = pages;
      return SQLITE_OK;
    }, this);
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

  // The first column of the first row; `fallback` when there is none.
  int64_t number(const char* sql, int64_t fallback) {
    sqlite3_stmt* query = nullptr;
    int64_t out = fallback;
    if (sqlite3_prepare_v2(db_, sql, -1, &query, nullptr) == SQLITE_OK && sqlite3_step(query) == SQLITE_ROW) out = sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    return out;
  }
  // Makes the tables, or those of a former layout into today's: in one transaction, so that a crash
  // leaves the one or the other.
  Status bring_up_to_layout() {
    int64_t layout = number("PRAGMA user_version", 0);
    if (layout > kLayout)
      return base::make_error(Kind::kUnsupported, "open store", path_, "its layout " + std::to_string(layout) + " is newer than this program's " + std::to_string(kLayout),
                              "start the sampan-master that wrote it");
    bool former = number("SELECT COUNT(*) FROM pragma_table_info('object')", 0) > 0 &&
                  number("SELECT COUNT(*) FROM pragma_table_info('object') WHERE name='id'", 0) == 0;
    std::vector<std::string> steps = {"BEGIN IMMEDIATE"};
    if (former) steps.push_back("ALTER TABLE object RENAME TO former_object");
    steps.push_back("CREATE TABLE IF NOT EXISTS object(id INTEGER PRIMARY KEY, key TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL)");
    steps.push_back("CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL)");
    steps.push_back("INSERT OR IGNORE INTO meta VALUES('revision', 0)");
    if (former) {
      steps.push_back("INSERT INTO object(key, revision, value) SELECT key, revision, value FROM former_object ORDER BY revision");
      steps.push_back("DROP TABLE former_object");
    }
    steps.push_back("PRAGMA user_version=" + std::to_string(kLayout));
    steps.push_back("COMMIT");
    if (layout == kLayout) return {};
    for (const std::string& sql : steps)
      if (!execute(sql.c_str())) {
        base::Error error = sqlite_error(db_, former ? "bring store to today's layout" : "prepare store", path_);
        execute("ROLLBACK");
        return error;
      }
    return {};
  }

  Status load(const std::function<void(std::string, std::string, int64_t)>& each) override {
    std::vector<std::pair<std::string, int64_t>> keys;
    sqlite3_stmt *list = nullptr, *row = nullptr;
    sqlite3_prepare_v2(db_, "SELECT key, id FROM object", -1, &list, nullptr);
    sqlite3_prepare_v2(db_, "SELECT value, revision FROM object WHERE id=?1", -1, &row, nullptr);
    int code;
    while ((code = sqlite3_step(list)) == SQLITE_ROW) {
      keys.emplace_back(text(list, 0), sqlite3_column_int64(list, 1));
      last_id_ = std::max(last_id_, keys.back().second);
    }
    std::sort(keys.begin(), keys.end());
    rows_.reserve(keys.size());
    for (size_t i = 0; code == SQLITE_DONE && i < keys.size(); ++i) {
      sqlite3_bind_int64(row, 1, keys[i].second);
      if ((code = sqlite3_step(row)) != SQLITE_ROW) break;
      each(keys[i].first, text(row, 0), sqlite3_column_int64(row, 1));
      rows_.emplace(std::hash<std::string>()(keys[i].first), keys[i].second);
      code = SQLITE_DONE;
      sqlite3_reset(row);
    }
    std::optional<base::Error> error;
    if (code != SQLITE_DONE) error = sqlite_error(db_, "read store", path_);
    sqlite3_finalize(list);
    sqlite3_finalize(row);
    if (error) return std::move(*error);
    thread_ = std::thread([this] { write_loop(); });
    return {};
  }

  // The thread gets what a round of the loop submits in one piece: it is the faster of the two, and would
  // else pay a transaction and an fsync for each write.
  void submit(StoreWrite write, std::function<void(Result<int64_t>)> done) override {
    round_.push_back({std::move(write), std::move(done)});
    if (round_.size() > 1) return;
    loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) hand_over();
    });
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
  using Rows = std::unordered_multimap<uint64_t, int64_t>;  // ids by the hashes of their keys
  struct Change {
    uint64_t hash;
    int64_t id;
    bool inserted;
  };
  struct Outcome {
    std::function<void(Result<int64_t>)> done;
    Result<int64_t> result;
  };

  void hand_over() {
    {
      std::lock_guard lock(mutex_);
      std::move(round_.begin(), round_.end(), std::back_inserter(queue_));
    }
    round_.clear();
    wake_.notify_one();
  }
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
  static std::string text(sqlite3_stmt* row, int column) {
    return std::string(static_cast<const char*>(sqlite3_column_blob(row, column)),
                       static_cast<size_t>(sqlite3_column_bytes(row, column)));
  }
  bool execute(const char* sql) { return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK; }

  // One write inside the batch's transaction: its revision, 0 when the compare failed, -1 on error.
  int64_t apply(const StoreWrite& write) {
    bool inserts = write.expected_revision == 0 && !write.value.empty();
    auto row = rows_.end();
    if (!find_row(write.key, &row)) return -1;
    if (inserts != (row == rows_.end())) return 0;
    sqlite3_stmt* statement = inserts ? insert_ : write.value.empty() ? remove_ : update_;
    int64_t id = inserts ? ++last_id_ : row->second, next = ++revision_;
    sqlite3_bind_int64(statement, 1, id);
    if (statement != remove_) {
      sqlite3_bind_int64(statement, 2, next);
      sqlite3_bind_blob(statement, 3, write.value.data(), static_cast<int>(write.value.size()), SQLITE_STATIC);
    }
    if (inserts) sqlite3_bind_text(statement, 5, write.key.data(), static_cast<int>(write.key.size()), SQLITE_STATIC);
    else sqlite3_bind_int64(statement, 4, write.expected_revision);
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) return -1;
    if (sqlite3_changes(db_) != 1) return 0;
    if (statement == update_) return next;
    changes_.push_back({std::hash<std::string>()(write.key), id, inserts});
    if (inserts) rows_.emplace(changes_.back().hash, id);
    else rows_.erase(row);
    return next;
  }
  // rows_.end() when there is none; false on error.
  bool find_row(const std::string& key, Rows::iterator* out) {
    auto [it, end] = rows_.equal_range(std::hash<std::string>()(key));
    int code = SQLITE_DONE;
    for (; it != end && code == SQLITE_DONE; ++it) {
      sqlite3_bind_int64(is_row_, 1, it->second);
      sqlite3_bind_text(is_row_, 2, key.data(), static_cast<int>(key.size()), SQLITE_STATIC);
      code = sqlite3_step(is_row_);
      sqlite3_reset(is_row_);
      if (code == SQLITE_ROW) *out = it;
    }
    return code == SQLITE_DONE || code == SQLITE_ROW;
  }
  // The transaction was rolled back: the latest of its changes first.
  void undo() {
    for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) {
      if (!change->inserted) {
        rows_.emplace(change->hash, change->id);
        continue;
      }
      auto [it, end] = rows_.equal_range(change->hash);
      it = std::find_if(it, end, [&](const auto& row) { return row.second == change->id; });
      if (it != end) rows_.erase(it);
    }
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
      // After the answers, and often, so that the next commit waits for little. What fails leaves a longer
      // log, and is tried again behind the next commit.
      if (wal_pages_ > kMaxWalPages) sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
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
      undo();
      for (Outcome& outcome : *outcomes) outcome.result = error;
    }
    changes_.clear();
    // The loop may outlive us, and the callbacks are their owner's, who outlives us no more.
    loop_.post([outcomes, alive = std::weak_ptr<bool>(alive_)] {
      if (alive.expired()) return;
      for (Outcome& outcome : *outcomes) outcome.done(std::move(outcome.result));
    });
  }

  base::Loop& loop_;
  const std::string path_;
  sqlite3* db_ = nullptr;
  sqlite3_stmt *insert_ = nullptr, *update_ = nullptr, *remove_ = nullptr, *is_row_ = nullptr, *meta_ = nullptr;
  Rows rows_;
  std::vector<Change> changes_;       // of rows_ by this transaction
  int64_t last_id_ = 0;
  int64_t loaded_revision_ = 0;
  int wal_pages_ = 0;                 // in the log after the last commit
  std::atomic<int64_t> revision_{0};
  std::atomic<int64_t> reserved_{0};  // on disk: revisions below it may be given out
  std::vector<Pending> round_;        // submitted in this round of the loop; its thread's alone
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
