// The embedded store: one SQLite file in WAL mode with synchronous=FULL and one writer thread.
// Group commit: what a round of the loop submits, and whatever else waits when the thread comes round,
// goes into one transaction and one fsync; nothing is acknowledged before it. Only the writer thread
// touches the connection after load(); it must never touch the loop's data.
// A new object goes to the end of its table, and where each lies is kept in memory, 40 bytes an object: a
// write then touches one page of the file whatever its key, where an index on keys would touch and split
// others.
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

#include "base/log.h"
#include "base/sys.h"
#include "master/store/store.h"
#include "master/store/store_file.h"
#include "master/store/store_identity.h"

namespace master {
namespace {

using base::Kind;
using base::Result;
using base::Status;

// Volatile revisions are taken from a range that was reserved on disk before, so that a crash can
// never hand one out twice.
constexpr int64_t kReserve = 100'000;
constexpr size_t kMaxBatch = 1024;
constexpr int kMaxWalPages = 1000;  // 4 MiB are copied from the log into the database at a time

class SqliteStore final : public Store {
 public:
  SqliteStore(base::Loop& loop, std::string path, StoreOptions options)
      : loop_(loop), path_(std::move(path)), options_(options) {}
  ~SqliteStore() override {
    hand_over();
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
    close();
  }

  Status open() {
    StoreFacts facts = observe_store(path_);
    known_ = facts.known;
    if (Status present = check_present(path_, facts); !present.ok()) {
      if (!options_.accept_data_loss) return present;
      base::log::error("{}: it begins empty", present.error().message());
      TRY(put_away_rest());
      facts.bytes.reset();
    }
    if (!facts.bytes && options_.only_look)
      return base::make_error(Kind::kNotFound, "open store", path_, "there is none");
    if (!facts.bytes) TRY(create_store_file(path_));
    Status opened = open_file();
    if (opened.ok() || opened.error().kind != Kind::kCorrupt || !options_.accept_data_loss) return opened;
    base::log::error("{}", opened.error().message());
    TRY(rebuild());
    return {};
  }

  Status load(const Each& each, const Damaged& damaged) override {
    std::string told;
    bool any = false;
    auto once = [&](std::string key, std::string value,
                    int64_t revision) {  // in order of the keys, also after a second start
      if (any && key <= told) return;
      any = true;
      told = key;
      each(std::move(key), std::move(value), revision);
    };
    Status read = read_all(once, damaged);
    if (!read.ok() && read.error().kind == Kind::kCorrupt && options_.accept_data_loss) {
      base::log::error("{}", read.error().message());
      TRY(rebuild());
      read = read_all(once, damaged);
    }
    if (!read.ok()) return read;
    StoreIdentity found{query_number(db_.get(), "SELECT value FROM meta WHERE name='id'", 0), last_, 0};
    if (Status whole = check_whole(path_, found, known_); !whole.ok()) {
      if (!options_.accept_data_loss) return whole;
      base::log::error("{}: it goes on from there", whole.error().message());
      TRY(keep_log());
    }
    if (options_.only_look) return {};
    // Clients know revisions that are lost: those to come are greater.
    loaded_revision_ = std::max({query_number(db_.get(), "SELECT value FROM meta WHERE name='revision'", 0),
                                 last_, known_ ? std::max(known_->revision, known_->reserved) : 0});
    revision_ = told_ = loaded_revision_;
    int64_t limit = reserve();
    if (limit == 0) return sqlite_error(db_.get(), "reserve revisions in store", path_);
    found.reserved = reserved_ = limit;
    sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
    TRY(identity_.open(path_, found));
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

  Result<int64_t> next_volatile_revision() override {
    int64_t limit = reserved_.load(), last = revision_.load();
    if (last >= limit - kReserve / 2) wake_for_reserve();
    do {
      if (last + 1 >= limit)
        return base::make_error(Kind::kExhausted, "reserve revisions in store", path_,
                                "the disk takes no writes", "free disk space");
    } while (!revision_.compare_exchange_weak(last, last + 1));
    return last + 1;
  }
  int64_t loaded_revision() const override { return loaded_revision_; }

  // No change is kept: whoever watches does so from the last one on.
  std::unique_ptr<Watch> watch(int64_t after, Told told, std::function<void(base::Error)> lost) override {
    auto watcher = std::make_shared<Watcher>(Watcher{after, std::move(told)});
    if (after >= told_) watchers_.push_back(watcher);
    else
      loop_.post([lost = std::move(lost), after, weak = std::weak_ptr<Watcher>(watcher)] {
        if (!weak.expired())
          lost(base::make_error(Kind::kConflict, "watch store", {},
                                "changes after revision " + std::to_string(after) + " are forgotten"));
      });
    return std::make_unique<Watching>(std::move(watcher));
  }
  void compact(int64_t) override {}
  // Whoever has the file leads: nobody else can open it.
  void campaign(std::function<void(bool)> told) override {
    loop_.post([told = std::move(told), alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) told(true);
    });
  }
  bool leads() const override { return thread_.joinable(); }

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
    StoreChange change;
  };
  struct Watcher {
    int64_t after;
    Told told;
  };
  struct Watching final : Watch {
    explicit Watching(std::shared_ptr<Watcher> w) : watcher(std::move(w)) {}
    std::shared_ptr<Watcher> watcher;
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
  // Puts away what is left of a store whose file is gone: SQLite would take a log as its own, or delete it.
  Status put_away_rest() {
    for (const char* end : {"", "-wal", "-shm"})
      if (std::string from = path_ + end;
          base::sys::exists(from) &&
          ::rename(from.c_str(), (from + ".lost-" + std::to_string(::time(nullptr))).c_str()) != 0)
        return base::sys::last_error("rename", from);
    return {};
  }
  // The log as it is now, before the next write goes over the part of it that nobody could read.
  Status keep_log() {
    std::string from = path_ + "-wal", to = from + ".lost-" + std::to_string(::time(nullptr));
    if (!base::sys::exists(from)) return {};
    base::UniqueFd in = TRY(base::sys::open(from, O_RDONLY)),
                   out = TRY(base::sys::open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    std::vector<char> piece(1 << 20);
    for (ssize_t n; (n = ::read(in.get(), piece.data(), piece.size())) != 0;) {
      if (n < 0) return base::sys::last_error("read", from);
      TRY(base::sys::write_all(out.get(), {piece.data(), static_cast<size_t>(n)}));
    }
    return {};
  }
  Status rebuild() {
    close();
    TRY(rebuild_store_file(path_));
    return open_file();
  }
  void close() {
    for (SqliteStatement* statement : {&insert_, &update_, &remove_, &is_row_, &meta_}) statement->reset();
    db_.reset();
    rows_.clear();
    last_id_ = last_ = 0;
  }
  Status open_file() {
    db_ = TRY(open_store_file(path_));
    // Until it was found whole, nothing is changed: closing would copy a log into the file and delete it.
    sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    if (options_.only_look) execute(db_.get(), "PRAGMA query_only=1");
    // One process owns the file: exclusive locking makes a second master fail at once, and spares
    // the shared-memory index.
    for (const char* sql :
         {"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
          "PRAGMA cache_size=-2048", "PRAGMA wal_autocheckpoint=0"})
      if (!execute(db_.get(), sql)) return sqlite_error(db_.get(), "prepare store", path_);
    if (options_.only_look && query_number(db_.get(), "PRAGMA user_version", kStoreLayout) < kStoreLayout)
      return base::make_error(Kind::kUnsupported, "open store", path_, "it is of a former layout",
                              "start sampan-master on it once");
    TRY(bring_up_to_layout(db_.get(), path_));
    struct {
      const char* sql;
      SqliteStatement* statement;
    } statements[] = {
        {"INSERT INTO object(id, revision, value, key, sum) VALUES(?1, ?2, ?3, ?5, ?6)", &insert_},
        {"UPDATE object SET revision=?2, value=?3, sum=?6 WHERE id=?1 AND revision=?4", &update_},
        {"DELETE FROM object WHERE id=?1 AND revision=?4", &remove_},
        {"SELECT 1 FROM object WHERE id=?1 AND key=?2", &is_row_},
        {"UPDATE meta SET value=?1 WHERE name=?2", &meta_},
    };
    for (auto& s : statements)
      if (!(*s.statement = prepare(db_.get(), s.sql))) return sqlite_error(db_.get(), "prepare store", path_);
    sqlite3_wal_hook(
        db_.get(),
        [](void* self, sqlite3*, const char*, int pages) {
          static_cast<SqliteStore*>(self)->wal_pages_ = pages;
          return SQLITE_OK;
        },
        this);
    return {};
  }

  // Sets rows_, last_id_ and last_: the last revision that a write got, which the greatest of a record is
  // unless that one was deleted.
  Status read_all(const Each& each, const Damaged& damaged) {
    std::vector<std::pair<std::string, int64_t>> keys;
    SqliteStatement list = prepare(db_.get(), "SELECT key, id FROM object");
    SqliteStatement row = prepare(db_.get(), "SELECT value, revision, sum FROM object WHERE id=?1");
    if (!list || !row) return sqlite_error(db_.get(), "read store", path_);
    int code;
    while ((code = sqlite3_step(list.get())) == SQLITE_ROW) {
      keys.emplace_back(column_bytes(list.get(), 0), sqlite3_column_int64(list.get(), 1));
      last_id_ = std::max(last_id_, keys.back().second);
    }
    if (code != SQLITE_DONE) return sqlite_error(db_.get(), "read store", path_);
    last_ = query_number(db_.get(), "SELECT value FROM meta WHERE name='deleted'", 0);
    std::sort(keys.begin(), keys.end());
    rows_.reserve(keys.size());
    const std::string* before = nullptr;
    for (auto& [key, id] : keys) {
      sqlite3_bind_int64(row.get(), 1, id);
      if (sqlite3_step(row.get()) != SQLITE_ROW) return sqlite_error(db_.get(), "read store", path_);
      std::string_view value = column_bytes(row.get(), 0);
      int64_t revision = sqlite3_column_int64(row.get(), 1);
      bool checks_out = sqlite3_column_int64(row.get(), 2) == record_sum(key, revision, value),
           again = before && *before == key;
      before = &key;
      if (!again) rows_.emplace(std::hash<std::string>()(key), id);
      // A damaged number may be any; one that was acknowledged is likely the record's.
      if (checks_out || (known_ && revision <= known_->revision)) last_ = std::max(last_, revision);
      if (checks_out && !again) each(key, std::string(value), revision);
      else if (damaged)
        damaged(key, revision,
                base::make_error(Kind::kCorrupt, "read record of " + path_, {},
                                 again ? "another record has its key" : "its bytes are damaged"));
      sqlite3_reset(row.get());
    }
    return {};
  }

  // Revisions below what it returns are reserved once what it wrote is durable; 0 on error.
  int64_t reserve() {
    int64_t limit = revision_.load() + kReserve;
    return set_meta("revision", limit) ? limit : 0;
  }
  bool set_meta(const char* name, int64_t value) {
    sqlite3_bind_int64(meta_.get(), 1, value);
    sqlite3_bind_text(meta_.get(), 2, name, -1, SQLITE_STATIC);
    bool ok = sqlite3_step(meta_.get()) == SQLITE_DONE;
    sqlite3_reset(meta_.get());
    return ok;
  }

  // One write inside the batch's transaction: its revision, 0 when the compare failed, -1 on error.
  int64_t apply(const StoreWrite& write) {
    bool inserts = write.expected_revision == 0 && !write.value.empty();
    auto row = rows_.end();
    if (!find_row(write.key, &row)) return -1;
    if (inserts != (row == rows_.end())) return 0;
    sqlite3_stmt* statement = (inserts ? insert_ : write.value.empty() ? remove_ : update_).get();
    int64_t id = inserts ? ++last_id_ : row->second, next = ++revision_;
    sqlite3_bind_int64(statement, 1, id);
    if (statement != remove_.get()) {
      sqlite3_bind_int64(statement, 2, next);
      sqlite3_bind_blob(statement, 3, write.value.data(), static_cast<int>(write.value.size()),
                        SQLITE_STATIC);
      sqlite3_bind_int64(statement, 6, record_sum(write.key, next, write.value));
    }
    if (inserts)
      sqlite3_bind_text(statement, 5, write.key.data(), static_cast<int>(write.key.size()), SQLITE_STATIC);
    else sqlite3_bind_int64(statement, 4, write.expected_revision);
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) return -1;
    if (sqlite3_changes(db_.get()) != 1) return 0;
    if (statement == update_.get()) return next;
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
      sqlite3_bind_int64(is_row_.get(), 1, it->second);
      sqlite3_bind_text(is_row_.get(), 2, key.data(), static_cast<int>(key.size()), SQLITE_STATIC);
      code = sqlite3_step(is_row_.get());
      sqlite3_reset(is_row_.get());
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
        batch.assign(std::make_move_iterator(queue_.begin()),
                     std::make_move_iterator(queue_.begin() + static_cast<long>(count)));
        queue_.erase(queue_.begin(), queue_.begin() + static_cast<long>(count));
      }
      commit(batch, want_reserve);
      batch.clear();
      // After the answers, and often, so that the next commit waits for little. What fails leaves a longer
      // log, and is tried again behind the next commit.
      if (wal_pages_ > kMaxWalPages)
        sqlite3_wal_checkpoint_v2(db_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    }
  }

  void commit(std::vector<Pending>& batch, bool want_reserve) {
    auto outcomes = std::make_shared<std::vector<Outcome>>();
    outcomes->reserve(batch.size());
    bool ok = execute(db_.get(), "BEGIN IMMEDIATE"), deleted_last = false;
    int64_t limit = 0, last = 0;
    auto reserve_more = [&] { ok = (limit = reserve()) != 0; };
    if (ok && (want_reserve || revision_.load() + static_cast<int64_t>(kMaxBatch) * 2 > reserved_.load()))
      reserve_more();
    for (Pending& pending : batch) {
      int64_t revision = ok ? apply(pending.write) : -1;
      if (revision < 0) ok = false;
      Result<int64_t> result = revision;
      if (revision == 0)
        result = base::make_error(Kind::kConflict, "write", pending.write.key, "changed meanwhile");
      if (revision > 0) last = revision, deleted_last = pending.write.value.empty();
      outcomes->push_back(
          {std::move(pending.done),
           std::move(result),
           {std::move(pending.write.key), std::move(pending.write.value), std::max<int64_t>(revision, 0)}});
    }
    // The loop's thread took from the old range meanwhile.
    if (ok && revision_.load() >= std::max(limit, reserved_.load())) reserve_more();
    if (ok && deleted_last) ok = set_meta("deleted", last);  // no record tells of it
    if (ok) ok = execute(db_.get(), "COMMIT");
    if (ok) {
      if (limit > 0) reserved_ = limit;  // only now is it true after a crash
      if (last > 0 || limit > 0) identity_.note(last, limit);
    } else {
      base::Error error = sqlite_error(db_.get(), "commit to store", path_);
      execute(db_.get(), "ROLLBACK");
      undo();
      for (Outcome& outcome : *outcomes) outcome.result = error;
    }
    changes_.clear();
    // The loop may outlive us, and the callbacks are their owner's, who outlives us no more. What they hold
    // is given up on the loop's thread: nothing of it stays behind here.
    loop_.post([this, outcomes = std::move(outcomes), alive = std::weak_ptr<bool>(alive_)] {
      for (Outcome& outcome : *outcomes) {
        if (alive.expired()) return;
        if (outcome.result.ok()) tell(outcome.change);
        outcome.done(std::move(outcome.result));
      }
    });
  }
  void tell(const StoreChange& change) {
    told_ = change.revision;
    for (size_t i = 0; i < watchers_.size();) {
      auto watcher = watchers_[i].lock();
      if (!watcher) {
        watchers_.erase(watchers_.begin() + static_cast<long>(i));
        continue;
      }
      if (change.revision > watcher->after) watcher->told(change);
      ++i;
    }
  }

  base::Loop& loop_;
  const std::string path_;
  const StoreOptions options_;
  std::optional<StoreIdentity> known_;  // from the last run
  IdentityFile identity_;
  Sqlite db_;
  SqliteStatement insert_, update_, remove_, is_row_, meta_;
  Rows rows_;
  std::vector<Change> changes_;     // of rows_ by this transaction
  int64_t last_id_ = 0, last_ = 0;  // last_: what read_all() found
  int64_t loaded_revision_ = 0;
  std::vector<std::weak_ptr<Watcher>> watchers_;
  int64_t told_ = 0;   // the last change that watchers were told
  int wal_pages_ = 0;  // in the log after the last commit
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

Result<std::unique_ptr<Store>> open_sqlite_store(base::Loop& loop, const std::string& path,
                                                 StoreOptions options) {
  auto store = std::make_unique<SqliteStore>(loop, path, options);
  TRY(store->open());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace master
